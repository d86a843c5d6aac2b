//! A host: the machine on which a peer runs, and what is known of it by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use peerage_base::{Instant, Rng};
use peerage_dht::{Key, PeerInfo};
use peerage_engine::DialId;
use peerage_identity::{Multiaddr, PeerId};

use crate::draw;
use crate::hostile::Behaviour;
use crate::node::{Asked, Node};
use crate::place::{Region, home_kbps};
use crate::world::Shelf;

/// Names a host for the whole of a run.
pub(crate) type HostId = u32;

/// Who can begin a connection to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    /// Anyone: its address is its own.
    Open,
    /// Anyone, by the address of its router, which passes on one port. The host
    /// does not know of that until others have dialled it.
    Forwarded,
    /// Nobody from outside, though its mapping is the same for all.
    Cone,
    /// Nobody, and each peer sees it at another port.
    Symmetric,
}

impl Nat {
    /// Others can dial it.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Forwarded)
    }
}

/// A connection, as one of its two hosts has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) other: HostId,
    /// Tells a connection from a later one of the same two.
    pub(crate) generation: u32,
    /// What this host sent arrives no earlier than what it sent before.
    pub(crate) arrived: Instant,
}

/// A machine and its peer.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) peer: PeerId,
    pub(crate) key: Key,
    /// Where it listens, or from where it comes.
    pub(crate) addr: Multiaddr,
    pub(crate) region: Region,
    /// What its line adds to a message, one way.
    pub(crate) line_micros: u64,
    /// Kilobits a second.
    pub(crate) up_kbps: u64,
    pub(crate) down_kbps: u64,
    pub(crate) nat: Nat,
    pub(crate) behaviour: Behaviour,
    /// Seconds by which its calendar is off.
    pub(crate) skew: i64,
    /// Of which part of a divided world.
    pub(crate) side: u8,

    /// It answers in the public DHT.
    pub(crate) serves: bool,

    /// Running now; a hostile one may run without a node.
    pub(crate) alive: bool,
    /// Of its sessions; what belongs to an earlier one is void.
    pub(crate) session: u32,
    pub(crate) node: Option<Box<Node>>,
    /// When the events are that wake the node, the next one last.
    pub(crate) wakes: Vec<Instant>,
    /// By number of the other.
    pub(crate) links: Vec<Link>,
    /// Requests that wait for an answer, and from whom.
    pub(crate) open: BTreeMap<Asked, HostId>,
    /// Attempts to connect that were not given up.
    pub(crate) dialing: BTreeSet<DialId>,
    /// When its line is free to send, and to receive, more.
    pub(crate) up_free: Instant,
    pub(crate) down_free: Instant,
    /// Blocks, if it has any.
    pub(crate) shelf: Option<Box<Shelf>>,
    /// Peers that it remembers on disk.
    pub(crate) remembered: Vec<HostId>,
}

impl Host {
    pub(crate) fn info(&self) -> PeerInfo {
        PeerInfo { peer: self.peer, addrs: vec![self.addr.clone()] }
    }

    /// The network that its address is of, as tables count them: the /16.
    pub(crate) fn group(&self) -> [u8; 2] {
        match self.addr.to_tcp_addr().map(|addr| addr.ip()) {
            Some(IpAddr::V4(ip)) => [ip.octets()[0], ip.octets()[1]],
            _ => [0, 0],
        }
    }

    /// What it says of its addresses: a client has none that others could use.
    pub(crate) fn advertised(&self) -> Vec<Multiaddr> {
        if self.nat == Nat::Open { vec![self.addr.clone()] } else { Vec::new() }
    }

    pub(crate) fn link(&self, other: HostId) -> Option<&Link> {
        self.links.binary_search_by_key(&other, |link| link.other).ok().map(|index| &self.links[index])
    }

    pub(crate) fn link_mut(&mut self, other: HostId) -> Option<&mut Link> {
        let index = self.links.binary_search_by_key(&other, |link| link.other).ok()?;
        Some(&mut self.links[index])
    }

    /// Adds a connection, in the place of an earlier one with the same host.
    pub(crate) fn set_link(&mut self, link: Link) {
        match self.links.binary_search_by_key(&link.other, |link| link.other) {
            Ok(index) => self.links[index] = link,
            Err(index) => {
                if self.links.len() == self.links.capacity() {
                    self.links.reserve_exact(8);
                }
                self.links.insert(index, link);
            }
        }
    }

    pub(crate) fn remove_link(&mut self, other: HostId) -> Option<Link> {
        let index = self.links.binary_search_by_key(&other, |link| link.other).ok()?;
        let link = self.links.remove(index);
        if self.links.capacity() > 2 * self.links.len() + 8 {
            self.links.shrink_to(self.links.len() + 8);
        }
        Some(link)
    }
}

/// Lines of homes in per cent of their region's median, and how many of a hundred
/// hosts have them: a fifth slow ones, a seventh as fast as can be had. A judgement;
/// the medians ([`home_kbps`]) are published.
const HOME_PERCENT: [u64; 4] = [20, 100, 200, 900];
const HOME_SHARES: [u64; 4] = [20, 40, 25, 15];

/// What is sold as a gigabit a second carries at most, without headers.
const HOME_MAX_KBPS: u64 = 940_000;

/// Draws the line of a host: what it adds, its speed up and down.
pub(crate) fn line(cloud: bool, region: Region, rng: &mut Rng) -> (u64, u64, u64) {
    if cloud {
        return (200 + rng.below(400), 1_000_000, 1_000_000);
    }
    let percent = HOME_PERCENT[draw::share(&HOME_SHARES, rng)];
    let (down, up) = home_kbps(region);
    let speed = |median: u64| (median * percent / 100).min(HOME_MAX_KBPS);
    (draw::home_micros(rng), speed(up), speed(down))
}

/// The id of the `n`th host. Its number lies in it, so that no map is needed to
/// find the host again; ids are hashed before they are compared, so that this
/// places nobody.
pub(crate) fn peer_id(n: HostId, rng: &mut Rng) -> PeerId {
    let mut id = [0; 34];
    id[..2].copy_from_slice(&[0x12, 0x20]);
    id[2..6].copy_from_slice(&n.to_be_bytes());
    rng.fill(&mut id[6..]);
    PeerId::from_bytes(&id).expect("a sha2-256 multihash of 32 bytes")
}

/// The number in such an id.
pub(crate) fn number(peer: &PeerId) -> Option<HostId> {
    let bytes = peer.as_bytes().get(2..6)?;
    Some(HostId::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_line_of_a_region_is_as_published() {
        let mut rng = Rng::new(1);
        for region in Region::all() {
            let mut lines: Vec<(u64, u64)> = (0..2_000)
                .map(|_| {
                    let (_, up, down) = line(false, region, &mut rng);
                    (down, up)
                })
                .collect();
            lines.sort_unstable();
            assert_eq!(lines[1_000], home_kbps(region), "{region:?}");
            assert!(lines[0] < lines[1_000] && lines[1_999] > lines[1_000]);
            assert!(lines.iter().all(|&(down, up)| up <= down && down <= HOME_MAX_KBPS));
        }
    }
}
