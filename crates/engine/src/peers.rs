//! Who is connected, and what they speak.

use peerage_base::{Instant, PackedMap};
use peerage_dht::Network;
use peerage_exchange::Version;
use peerage_identity::{Multiaddr, PeerId, Scope};

use crate::output::DialId;
use crate::swarm;

/// Whom we ask whether we can be dialled, by the older protocol and the newer one.
const AUTONAT_V1: &str = "/libp2p/autonat/1.0.0";
const AUTONAT_V2: &str = "/libp2p/autonat/2/dial-request";

/// A connection, as the shell reports it.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Who it is; the handshake has proved it.
    pub peer: PeerId,
    /// The address of the other side.
    pub addr: Multiaddr,
    /// The attempt of the engine's that led here, if one did.
    pub dial: Option<DialId>,
    /// True if the user asked for this connection.
    pub by_user: bool,
    /// True if we dialled.
    pub outbound: bool,
}

/// What a peer speaks of what the engine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    /// The newest Bitswap, if any.
    pub bitswap: Option<Version>,
    /// `/peerage/swarm/1.0.0`.
    pub swarm: bool,
    /// `/ipfs/kad/1.0.0`: it is a server of the public DHT.
    pub wan_dht: bool,
    /// `/ipfs/lan/kad/1.0.0`.
    pub lan_dht: bool,
    /// `/libp2p/autonat/1.0.0`.
    pub autonat_v1: bool,
    /// `/libp2p/autonat/2/dial-request`.
    pub autonat_v2: bool,
}

impl Protocols {
    /// Reads the list that identify brings.
    ///
    /// ```
    /// use peerage_engine::Protocols;
    /// let known = Protocols::of(["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/other"]);
    /// assert!(known.bitswap.is_some() && !known.swarm);
    /// ```
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        ids.into_iter().fold(Self::default(), |known, id| Self {
            bitswap: known.bitswap.max(Version::of_protocol(id)),
            swarm: known.swarm || id == swarm::PROTOCOL,
            wan_dht: known.wan_dht || id == Network::Wan.protocol(),
            lan_dht: known.lan_dht || id == Network::Lan.protocol(),
            autonat_v1: known.autonat_v1 || id == AUTONAT_V1,
            autonat_v2: known.autonat_v2 || id == AUTONAT_V2,
        })
    }

    pub(crate) const fn serves(&self, network: Network) -> bool {
        match network {
            Network::Wan => self.wan_dht,
            Network::Lan => self.lan_dht,
        }
    }
}

/// What a peer says of itself, by identify.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identified {
    /// What it speaks.
    pub protocols: Protocols,
    /// Where it listens, as it says.
    pub addrs: Vec<Multiaddr>,
    /// Where it sees us.
    pub observed: Option<Multiaddr>,
}

/// Connections of one peer whose addresses are remembered: more than the shell
/// allows it.
const LINKS_MAX: usize = 16;

/// One connection with a peer.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// The address of the other side.
    pub(crate) addr: Multiaddr,
    /// We dialled it.
    pub(crate) outbound: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) by_user: bool,
    /// Its connections, the oldest first; never empty.
    links: Vec<Link>,
    /// `None` until identify has told.
    pub(crate) protocols: Option<Protocols>,
    /// Since when it is connected.
    pub(crate) since: Instant,
    /// When it was last of use to us, or was sent a block. What it asks for does
    /// not count: anybody could keep his place by asking.
    pub(crate) used: Instant,
    /// Requests of the DHT that it may make before it has to wait.
    pub(crate) allowance: Allowance,
}

impl Peer {
    /// The oldest connection: the one that the shell uses if any will do.
    pub(crate) fn link(&self) -> &Link {
        self.links.first().expect("a peer is forgotten with its last connection")
    }

    /// Where we dialled it, if we did.
    pub(crate) fn dialled(&self) -> Option<&Multiaddr> {
        self.links.iter().find(|link| link.outbound).map(|link| &link.addr)
    }

    /// The address that says what the peer is to a DHT: that of a connection
    /// which suits it, if there is one, as deployed peers look at all of them.
    pub(crate) fn via(&self, network: Network) -> &Multiaddr {
        let near = |link: &&Link| is_near(&link.addr);
        let suits = match network {
            Network::Wan => self.links.iter().find(|link| link.addr.scope() == Scope::Public),
            Network::Lan => self.links.iter().find(near),
        };
        &suits.unwrap_or(self.link()).addr
    }
}

/// True if an address leads into a private network, or to this machine.
pub(crate) fn is_near(addr: &Multiaddr) -> bool {
    matches!(addr.scope(), Scope::Private | Scope::LinkLocal | Scope::Loopback)
}

/// A bucket of tokens: how much a peer may ask of us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    tokens: u32,
    filled: Instant,
}

impl Allowance {
    /// Takes one of `most` tokens, which come back at `per_second`; false if there is none.
    pub(crate) fn take(&mut self, most: u32, per_second: u32, now: Instant) -> bool {
        let elapsed = now.since(self.filled).as_millis().min(u128::from(u32::MAX));
        let back = elapsed * u128::from(per_second) / 1000;
        if back > 0 {
            self.tokens = u32::try_from(u128::from(self.tokens) + back).unwrap_or(most).min(most);
            self.filled = now;
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }
}

/// The connected peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connected: PackedMap<PeerId, Peer>,
}

impl Peers {
    /// Adds a connection; `burst` is how many requests it may make at once.
    pub(crate) fn connect(&mut self, connected: &Connected, burst: u32, now: Instant) {
        let peer = self.connected.or_insert_with(connected.peer, || Peer {
            by_user: false,
            // Hardly anyone has a second.
            links: Vec::with_capacity(1),
            protocols: None,
            since: now,
            used: now,
            allowance: Allowance { tokens: burst, filled: now },
        });
        peer.by_user |= connected.by_user;
        if peer.links.len() < LINKS_MAX {
            peer.links.push(Link { addr: connected.addr.clone(), outbound: connected.outbound });
        }
    }

    /// One of several connections with a peer is gone.
    pub(crate) fn lose_link(&mut self, peer: &PeerId, addr: &Multiaddr) {
        let Some(peer) = self.connected.get_mut(peer).filter(|peer| peer.links.len() > 1) else { return };
        if let Some(lost) = peer.links.iter().position(|link| link.addr == *addr) {
            peer.links.remove(lost);
        }
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<Peer> {
        self.connected.remove(peer)
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.connected.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.connected.get_mut(peer)
    }

    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.connected.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> + Clone {
        self.connected.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.connected.len()
    }

    /// The peer was of use just now.
    pub(crate) fn touch(&mut self, peer: &PeerId, now: Instant) {
        if let Some(peer) = self.connected.get_mut(peer) {
            peer.used = now;
        }
    }

    /// Peers that the user connected to.
    pub(crate) fn by_user(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().filter(|(_, peer)| peer.by_user).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_allowance_comes_back_with_time_and_no_further() {
        let mut allowance = Allowance { tokens: 2, filled: Instant::START };
        let mut now = Instant::START;
        assert!(allowance.take(2, 10, now) && allowance.take(2, 10, now) && !allowance.take(2, 10, now));
        now += Duration::from_millis(99);
        assert!(!allowance.take(2, 10, now));
        now += Duration::from_millis(1);
        assert!(allowance.take(2, 10, now) && !allowance.take(2, 10, now));
        now += Duration::from_secs(3600);
        assert!(allowance.take(2, 10, now) && allowance.take(2, 10, now) && !allowance.take(2, 10, now));
    }
}
