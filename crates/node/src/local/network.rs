//! `id`, `ping`, `connect` and `peers`.

use std::time::Duration;

use peerage_identity::{Multiaddr, PeerId};
use peerage_peer::Peer;

use super::failure::Fails as _;
use crate::api::{self, Event, Failure, Kind, NoticeKind, PeerLine};
use crate::backend::Sink;

/// Between two pings, as `ping` does.
const PAUSE: Duration = Duration::from_secs(1);

/// How long `connect` waits for the other side to say who it is. 2 s: a few
/// round trips around the world; some never say.
const IDENTIFY_TIME: Duration = Duration::from_secs(2);

/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(super) async fn id(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    let key = peer.id().public_key().map(|key| data_encoding::BASE64.encode(&key.to_protobuf()));
    out.send(Event::Identity {
        peer_id: peer.id().to_string(),
        public_key: key.unwrap_or_default(),
        addrs: peer.listen_addrs().iter().map(ToString::to_string).collect(),
        agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
    .await;
    Ok(())
}

pub(super) async fn ping(peer: &Peer, request: api::Ping, out: &Sink) -> Result<(), Failure> {
    let addr: Option<Multiaddr> = request.target.parse().ok();
    let id: Option<PeerId> = request.target.parse().ok();
    if addr.is_none() && id.is_none() {
        let message = format!(
            "{} is neither a peer id nor a multiaddr",
            peerage_content::name::escape(&request.target)
        );
        return Err(Failure::usage(message));
    }
    let mut pinger = peer.pinger(id, addr.as_ref()).await.map_err(|error| error.failure())?;
    let shown = addr.map(|addr| addr.to_string()).unwrap_or_default();
    let mut answered = 0;
    for seq in 1..=request.count {
        if seq > 1 {
            tokio::time::sleep(PAUSE).await;
        }
        match pinger.ping().await {
            Ok(rtt) => {
                answered += 1;
                let peer_id = pinger.peer().to_string();
                out.send(Event::Pong { peer_id, addr: shown.clone(), seq, seconds: rtt.as_secs_f64() }).await;
            }
            Err(error) => {
                out.send(Event::PingFailed { seq, message: error.to_string() }).await;
                break;
            }
        }
    }
    if answered == 0 {
        return Err(Failure::new(Kind::Network, "no answer"));
    }
    Ok(())
}

pub(super) async fn connect(peer: &Peer, address: &str, out: &Sink) -> Result<(), Failure> {
    let addr: Multiaddr = address.parse().map_err(|error| Failure::usage(format!("{address}: {error}")))?;
    let id = peer.connect(&addr).await.map_err(|error| error.failure())?;
    let agent = tokio::time::timeout(IDENTIFY_TIME, agent_of(peer, id)).await.unwrap_or_default();
    out.send(Event::Connected { peer_id: id.to_string(), addr: addr.to_string(), agent }).await;
    Ok(())
}

/// What a connected peer calls itself, once it has said so.
async fn agent_of(peer: &Peer, id: PeerId) -> Option<String> {
    let mut tick = tokio::time::interval(LOOK_AGAIN);
    loop {
        tick.tick().await;
        let info = peer.peers().await.into_iter().find(|info| info.peer == id)?;
        if info.agent.is_some() {
            return info.agent;
        }
    }
}

pub(super) async fn peers(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    let peers = peer.peers().await;
    if peers.is_empty() {
        out.send(Event::notice(NoticeKind::Other, "connected to nobody")).await;
    }
    for info in peers {
        out.send(Event::Peer(PeerLine {
            peer_id: info.peer.to_string(),
            addr: info.addrs.first().map(ToString::to_string).unwrap_or_default(),
            direction: if info.outbound { "outbound" } else { "inbound" }.to_owned(),
            agent: info.agent,
            rtt_seconds: info.rtt.map(|rtt| rtt.as_secs_f64()),
            score: info.score,
            sent_bytes: info.stats.map_or(0, |stats| stats.sent_bytes),
            received_bytes: info.stats.map_or(0, |stats| stats.received_bytes),
        }))
        .await;
    }
    Ok(())
}
