//! Streams that a peer opens: which protocol, and who serves it.

use std::sync::Arc;

use peerage_dht::Network;
use peerage_engine::SWARM_PROTOCOL;
use peerage_exchange::Version;
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::yamux::{ResetCode, StreamClass};
use peerage_transport::{Stream, identify, perf, ping};
use tokio::sync::Semaphore;

use super::{Net, bitswap_in, dht, swarm};
use crate::brain::Input;

enum Protocol {
    Identify,
    IdentifyPush,
    Ping,
    Bitswap(Version),
    Swarm,
    Dht(Network),
    Perf,
}

impl Protocol {
    /// What `name` is, if we serve it.
    fn of(name: &str, net: &Net) -> Option<Self> {
        let dhts = [Network::Wan, Network::Lan];
        let dht = dhts.into_iter().find(|network| network.protocol() == name);
        if let Some(network) = dht {
            return net.local.serves(network).then_some(Self::Dht(network));
        }
        Some(match name {
            identify::PROTOCOL => Self::Identify,
            identify::PUSH_PROTOCOL => Self::IdentifyPush,
            ping::PROTOCOL => Self::Ping,
            SWARM_PROTOCOL => Self::Swarm,
            perf::PROTOCOL if net.perf => Self::Perf,
            other => Self::Bitswap(Version::of_protocol(other)?),
        })
    }
}

/// Negotiates and serves one stream.
pub(super) async fn serve(
    net: Arc<Net>,
    peer: PeerId,
    addr: Multiaddr,
    mut stream: Stream,
    pings: Arc<Semaphore>,
) {
    let protocol = match stream.accept(|name| Protocol::of(name, &net)).await {
        Ok(protocol) => protocol,
        Err(error) => {
            tracing::debug!(%peer, %error, "a stream was not negotiated");
            return stream.reset(ResetCode::NEGOTIATION_FAILED);
        }
    };
    let class =
        if matches!(protocol, Protocol::Bitswap(_)) { StreamClass::Bitswap } else { StreamClass::Ordinary };
    if let Err(error) = stream.classify(class) {
        tracing::debug!(%peer, %error, "too many streams");
        return;
    }
    match protocol {
        Protocol::Identify => {
            if identify::send(&mut stream, &net.local.identify(&addr)).await.is_ok() {
                stream.finish();
            }
        }
        Protocol::IdentifyPush => {
            stream.finish();
            if let Ok(info) = identify::receive(&mut stream, net.limits.answer_timeout).await {
                net.tell(Input::Identified { peer, info: Some(info) });
            }
        }
        Protocol::Ping => match pings.try_acquire() {
            Ok(_permit) => drop(ping::serve(&mut stream).await),
            Err(_) => stream.reset(ResetCode::RESOURCE_LIMIT_EXCEEDED),
        },
        Protocol::Bitswap(version) => {
            net.tell(Input::Spoke { peer, version });
            bitswap_in::read(net, peer, stream).await;
        }
        Protocol::Swarm => swarm::serve(net, peer, addr.scope(), stream).await,
        Protocol::Dht(network) => dht::serve(net, peer, network, stream).await,
        Protocol::Perf => match perf::serve(&mut stream).await {
            Ok(_) => stream.finish(),
            Err(error) => tracing::debug!(%peer, %error, "a perf run ended"),
        },
    }
}
