//! Who is connected: handles, identify, and the writers of each peer.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use peerage_base::Now;
use peerage_dht::Network;
use peerage_engine::{Connected, Engine, Protocols};
use peerage_exchange::{Outgoing, Version};
use peerage_identity::{Multiaddr, PeerId, Scope};
use peerage_transport::Control;
use peerage_transport::yamux::GoAwayCode;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::{Input, PeerInfo};
use crate::config::Limits;
use crate::net::Net;
use crate::net::bitswap_out::{PeerWriters, Queued};
use crate::net::told::Told;
use crate::served::SentAll;

/// How long the last words may take at the end, together.
const CLOSE_ALL: Duration = Duration::from_millis(600);

struct Live {
    control: Control,
    addr: Multiaddr,
    outbound: bool,
}

#[derive(Default)]
struct Entry {
    /// By number, which grows: the first is the oldest.
    connections: BTreeMap<u64, Live>,
    agent: Option<String>,
    /// The number of the record in what it last told; none before that.
    seq: Option<u64>,
    bitswap: Option<Version>,
    writers: Option<PeerWriters>,
}

/// What is lost with a connection.
pub(super) enum Lost {
    /// Nothing: it was gone already.
    Nothing,
    /// One of several connections, by this address; nothing was on its way there.
    Link(Multiaddr),
    /// One by which something was on its way to the peer.
    Way(Multiaddr),
    /// The peer.
    Peer,
}

/// All connections.
#[derive(Default)]
pub(super) struct Registry {
    peers: HashMap<PeerId, Entry>,
}

impl Registry {
    /// True if there are as many connections as may be.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.len() >= limits.connections
    }

    fn len(&self) -> usize {
        self.peers.values().map(|entry| entry.connections.len()).sum()
    }

    /// Takes a new connection; false if a limit closes it. Those on what others
    /// may open do not count for what we did.
    pub(super) fn connect(
        &mut self,
        connected: &Connected,
        number: u64,
        control: Control,
        limits: &Limits,
    ) -> bool {
        let from = |entry: &Entry| entry.connections.values().filter(|live| !live.outbound).count();
        let here = self.peers.get(&connected.peer);
        let crowd = match connected.outbound {
            true => here.is_some_and(|entry| entry.connections.len() >= 2 * limits.connections_per_peer),
            false => {
                here.is_some_and(|entry| from(entry) >= limits.connections_per_peer)
                    || self.count_at_address(&connected.addr) >= limits.connections_per_address
            }
        };
        if crowd || self.is_full(limits) {
            tracing::debug!(peer = %connected.peer, addr = %connected.addr, "too many connections");
            control.close(GoAwayCode::NORMAL);
            return false;
        }
        let live = Live { control, addr: connected.addr.clone(), outbound: connected.outbound };
        self.peers.entry(connected.peer).or_default().connections.insert(number, live);
        true
    }

    /// Connections from the address's IPv4 address or IPv6 /64; loopback is not counted.
    fn count_at_address(&self, addr: &Multiaddr) -> usize {
        let Some(group) = group(addr) else { return 0 };
        let all = self.peers.values().flat_map(|entry| entry.connections.values());
        all.filter(|live| group_matches(&live.addr, group)).count()
    }

    /// Keeps what identify told; false if the peer is not connected, or told
    /// more or later things before: a connection that says nothing, as one that
    /// is made only to find out whether we can be dialled, takes nothing back. Starts its
    /// writers the first time that it turns out to speak Bitswap.
    pub(super) fn identify(
        &mut self,
        net: &Arc<Net>,
        peer: PeerId,
        told: Option<&Told>,
        protocols: Protocols,
    ) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        match (told, entry.seq) {
            (None, Some(_)) => return false,
            // What it pushed has overtaken what it was asked for before.
            (Some(told), Some(known)) if told.seq < known => return false,
            (None, None) => {}
            (Some(told), _) => {
                entry.seq = Some(told.seq);
                entry.agent.clone_from(&told.agent);
            }
        }
        entry.bitswap = protocols.bitswap.or(entry.bitswap);
        entry.start_writers(net);
        true
    }

    /// The peer speaks Bitswap to us; true if that is news.
    pub(super) fn hear(&mut self, net: &Arc<Net>, peer: PeerId, version: Version) -> bool {
        let Some(entry) = self.peers.get_mut(&peer).filter(|entry| entry.bitswap.is_none()) else {
            return false;
        };
        entry.bitswap = Some(version);
        entry.start_writers(net);
        true
    }

    /// One connection has ended, or is of no use and is closed.
    pub(super) fn disconnect(&mut self, net: &Arc<Net>, peer: PeerId, number: u64) -> Lost {
        let Some(entry) = self.peers.get_mut(&peer) else { return Lost::Nothing };
        let Some(live) = entry.connections.remove(&number) else { return Lost::Nothing };
        live.control.close(GoAwayCode::NORMAL);
        if entry.connections.is_empty() {
            self.peers.remove(&peer);
            return Lost::Peer;
        }
        if entry.writers.as_ref().is_none_or(|writers| writers.number != number) {
            return Lost::Link(live.addr);
        }
        // What they held is reported as failed.
        entry.writers = None;
        entry.start_writers(net);
        Lost::Way(live.addr)
    }

    pub(super) fn control(&self, peer: &PeerId) -> Option<&Control> {
        self.peers.get(peer)?.connections.values().next().map(|live| &live.control)
    }

    /// A connection for requests of a DHT: one that suits it, or the oldest.
    pub(super) fn control_in(&self, peer: &PeerId, network: Network) -> Option<&Control> {
        let suits = |live: &&Live| match (network, live.addr.scope()) {
            (Network::Wan, scope) => scope == Scope::Public,
            (Network::Lan, scope) => matches!(scope, Scope::Private | Scope::LinkLocal | Scope::Loopback),
        };
        let mut all = self.peers.get(peer)?.connections.values();
        let first = all.clone().next();
        all.find(suits).or(first).map(|live| &live.control)
    }

    pub(super) fn scope(&self, peer: &PeerId) -> Option<Scope> {
        self.peers.get(peer)?.connections.values().next().map(|live| live.addr.scope())
    }

    /// Every connection, with the address of the other side.
    pub(super) fn connections(&self) -> impl Iterator<Item = (&Control, &Multiaddr)> {
        let all = self.peers.values().flat_map(|entry| entry.connections.values());
        all.map(|live| (&live.control, &live.addr))
    }

    /// Says on each connection how many bytes may come from the peer.
    pub(super) fn expect(&self, peer: &PeerId, bytes: u64) {
        for live in self.peers.get(peer).into_iter().flat_map(|entry| entry.connections.values()) {
            live.control.set_expected(bytes);
        }
    }

    /// Sends a message; a connection on which the peer does not read is given up.
    pub(super) fn send(&self, net: &Net, peer: &PeerId, message: Outgoing) {
        let Some(writers) = self.peers.get(peer).and_then(|entry| entry.writers.as_ref()) else { return };
        if !writers.send(message) {
            tracing::debug!(%peer, "does not read Bitswap messages");
            net.tell(Input::WriterFailed { peer: *peer, number: writers.number });
        }
    }

    /// The queue of the peer's block stream.
    pub(super) fn blocks(&self, peer: &PeerId) -> Option<UnboundedSender<Queued>> {
        Some(self.peers.get(peer)?.writers.as_ref()?.blocks.clone())
    }

    /// Finds out whether what the peer was sent has come there. If it is gone,
    /// nobody knows.
    pub(super) fn confirm(&self, sent: SentAll) {
        if let Some(queue) = self.blocks(&sent.peer) {
            drop(queue.send(Queued::Confirm(sent)));
        }
    }

    /// Closes all connections with a peer and forgets it at once.
    pub(super) fn drop_peer(&mut self, peer: &PeerId) {
        self.close(peer);
        self.peers.remove(peer);
    }

    pub(super) fn close(&self, peer: &PeerId) {
        for live in self.peers.get(peer).into_iter().flat_map(|entry| entry.connections.values()) {
            live.control.close(GoAwayCode::NORMAL);
        }
    }

    /// Says goodbye to everyone, and waits a little for that to be sent.
    pub(super) async fn close_all(&mut self) {
        let peers = std::mem::take(&mut self.peers);
        let controls: Vec<Control> = peers
            .values()
            .flat_map(|entry| entry.connections.values().map(|live| live.control.clone()))
            .collect();
        drop(peers);
        for control in &controls {
            control.close(GoAwayCode::NORMAL);
        }
        let all = async {
            for control in &controls {
                control.ended().await;
            }
        };
        drop(timeout(CLOSE_ALL, all).await);
    }

    pub(super) fn list(&self, engine: &Engine, now: Now) -> Vec<PeerInfo> {
        let mut list: Vec<PeerInfo> = self
            .peers
            .iter()
            .map(|(peer, entry)| {
                let first = entry.connections.values().next();
                PeerInfo {
                    peer: *peer,
                    addrs: entry.connections.values().map(|live| live.addr.clone()).collect(),
                    outbound: first.is_some_and(|live| live.outbound),
                    agent: entry.agent.clone(),
                    rtt: first.and_then(|live| live.control.rtt()),
                    stats: entry.bitswap.is_some().then(|| engine.exchange().peer_stats(peer)),
                    score: engine.score(peer, now),
                }
            })
            .collect();
        list.sort_by_key(|info| info.peer);
        list
    }
}

impl Entry {
    fn start_writers(&mut self, net: &Arc<Net>) {
        if self.writers.is_some() {
            return;
        }
        if let (Some(version), Some((&number, live))) = (self.bitswap, self.connections.first_key_value()) {
            self.writers = Some(PeerWriters::start(net, &live.control, number, version));
        }
    }
}

/// What counts as one address: an IPv4 address or an IPv6 /64.
fn group(addr: &Multiaddr) -> Option<u64> {
    match addr.to_tcp_addr()?.ip() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(u64::from(u32::from(ip))),
        IpAddr::V6(ip) => Some(u64::try_from(u128::from(ip) >> 64).unwrap_or(u64::MAX)),
    }
}

fn group_matches(addr: &Multiaddr, wanted: u64) -> bool {
    group(addr) == Some(wanted)
}
