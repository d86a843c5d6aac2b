//! Streams that a peer opens: which protocol, and who serves it.

use std::sync::Arc;
use std::time::Duration;

use peerage_dht::Network;
use peerage_engine::{AutonatVersion, SWARM_PROTOCOL};
use peerage_exchange::Version;
use peerage_identity::Multiaddr;
use peerage_transport::autonat::{v1, v2};
use peerage_transport::yamux::{ResetCode, StreamClass};
use peerage_transport::{Control, Stream, identify, perf, ping};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::told::Told;
use super::{Net, autonat, bitswap_in, dht, swarm};
use crate::brain::Input;

enum Protocol {
    Identify,
    IdentifyPush,
    Ping,
    Bitswap(Version),
    Swarm,
    Dht(Network),
    Autonat(AutonatVersion),
    DialBack,
    Perf,
}

/// The connection on which a stream was opened.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) control: Control,
    /// The address of the other side.
    pub(super) addr: Multiaddr,
    /// Our address, if the peer opened the connection.
    pub(super) local: Option<Multiaddr>,
    /// Answers to pings that may run at once.
    pub(super) pings: Arc<Semaphore>,
    /// What the peer says of itself is taken in piece by piece.
    pub(super) pushes: Arc<Semaphore>,
}

/// Between two messages in which one peer says what it is now: a judgement, as
/// each may take a check of a signature, and an address changes rarely.
const PUSH_PAUSE: Duration = Duration::from_millis(100);

impl Protocol {
    /// What `name` is, if we serve it.
    fn of(name: &str, net: &Net, origin: &Origin) -> Option<Self> {
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
            v1::PROTOCOL if net.local.dials(AutonatVersion::V1) => Self::Autonat(AutonatVersion::V1),
            v2::DIAL_PROTOCOL if net.local.dials(AutonatVersion::V2) => Self::Autonat(AutonatVersion::V2),
            // Over a connection of our own making it would show nothing.
            v2::BACK_PROTOCOL if origin.local.is_some() => Self::DialBack,
            perf::PROTOCOL if net.perf => Self::Perf,
            other => Self::Bitswap(Version::of_protocol(other)?),
        })
    }
}

/// Negotiates and serves one stream.
pub(super) async fn serve(net: Arc<Net>, origin: Origin, mut stream: Stream) {
    let protocol = stream.accept(|name| Protocol::of(name, &net, &origin)).await;
    let Origin { control, addr, local, pings, pushes } = origin;
    let peer = control.peer();
    let protocol = match protocol {
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
            let Ok(_turn) = pushes.acquire().await else { return };
            stream.finish();
            if let Ok(info) = identify::receive(&mut stream, net.limits.answer_timeout).await {
                let (handled, taken_in) = oneshot::channel();
                let told = Some(Told::check(info, &peer));
                net.tell(Input::Identified { peer, told, handled: Some(handled) });
                // Its end is the answer.
                drop(taken_in.await);
                sleep(PUSH_PAUSE).await;
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
        Protocol::Autonat(version) => tokio::select! {
            () = autonat::serve(net, peer, addr, version, stream) => {}
            // Nobody waits for the answer any more.
            _ = control.ended() => {}
        },
        Protocol::DialBack => {
            if let Some(local) = local {
                autonat::take_number(net, peer, local, stream).await;
            }
        }
        Protocol::Perf => match perf::serve(&mut stream).await {
            Ok(_) => stream.finish(),
            Err(error) => tracing::debug!(%peer, %error, "a perf run ended"),
        },
    }
}
