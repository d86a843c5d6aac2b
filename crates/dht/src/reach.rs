//! Which addresses count in which DHT, and which IP group a peer is of.
//!
//! On the WAN only public addresses are taken, stored, told or dialled: nobody
//! learns of another's private network, and no record makes us dial into our
//! own. On the LAN a peer counts that was reached by a private address, or by a
//! global one of our own network: where there is IPv6, hosts meet by that.
//!
//! Groups are those of go-libp2p-kbucket `peerdiversity`: an IPv4 /16, or /8
//! where one old owner has it all, an IPv6 /32. Left out: IPv6 by autonomous
//! system, which takes a database; /32 is what go falls back to.

use std::net::IpAddr;

use peerage_identity::{Multiaddr, PeerId, Scope};

use crate::limits::{ADDRS_KEPT_BYTES, ADDRS_KEPT_MAX, Config, Network};
use crate::message::PeerInfo;

/// First octets of IPv4 networks that one owner has whole since the days of
/// classes, and so with no meaning in their second octet.
const LEGACY_A: [u8; 8] = [12, 17, 19, 38, 48, 53, 56, 73];

/// Networks of one owner, as far as that shows: whoever has one address of a
/// group can have many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// An IPv4 /8 that one owner has whole.
    V4Class(u8),
    /// An IPv4 /16.
    V4([u8; 2]),
    /// An IPv6 /32.
    V6([u8; 4]),
}

impl Group {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => match ip.octets() {
                [a, ..] if LEGACY_A.contains(&a) => Self::V4Class(a),
                [a, b, ..] => Self::V4([a, b]),
            },
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// What a connection's address says of a peer's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It cannot be in the table of this DHT.
    Outside,
    /// It can; no limits on its group.
    Exempt,
    /// It can, within the limits of its group.
    Grouped(Group),
}

/// The rules of one DHT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    network: Network,
    private: bool,
    loopback: bool,
    dials: fn(&Multiaddr) -> bool,
}

impl Reach {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            network: config.network,
            private: config.private_addresses,
            loopback: config.private_addresses || config.loopback_addresses,
            dials: config.dials,
        }
    }

    /// True if this address may be stored, told and dialled in this DHT.
    pub(crate) fn admits(self, addr: &Multiaddr) -> bool {
        match (self.network, addr.scope()) {
            (_, Scope::Undialable) => false,
            (_, Scope::Public | Scope::Dns) => true,
            // The relay's own address may be anything; it is public if the
            // whole of it is what a stranger may be told.
            (_, Scope::Relay) => relay_scope(addr) == Scope::Public,
            (_, Scope::Loopback) => self.loopback,
            (Network::Lan, Scope::Private | Scope::LinkLocal) => true,
            (Network::Wan, Scope::Private | Scope::LinkLocal) => self.private,
        }
    }

    /// The addresses that count, at most [`ADDRS_KEPT_MAX`] of together
    /// [`ADDRS_KEPT_BYTES`], without repeats.
    pub(crate) fn filter(self, addrs: &[Multiaddr]) -> Vec<Multiaddr> {
        // Mostly all are kept, and for long: there is to be no room for more.
        let mut kept: Vec<Multiaddr> = Vec::with_capacity(addrs.len().min(ADDRS_KEPT_MAX));
        let mut bytes = 0;
        for addr in addrs {
            let more = bytes + addr.as_bytes().len();
            let room = kept.len() < ADDRS_KEPT_MAX && more <= ADDRS_KEPT_BYTES;
            if room && self.admits(addr) && !kept.contains(addr) {
                kept.push(addr.clone());
                bytes = more;
            }
        }
        kept
    }

    /// The same of a peer: what a stranger says of it, cut to what counts.
    pub(crate) fn filter_peer(self, info: &PeerInfo) -> PeerInfo {
        PeerInfo { peer: info.peer, addrs: self.filter(&info.addrs) }
    }

    /// True if a peer with these addresses can be asked, if need be.
    pub(crate) fn is_askable(self, addrs: &[Multiaddr]) -> bool {
        addrs.iter().any(self.dials)
    }

    /// The group of a peer that a connection with this address leads to, or
    /// would; none where groups do not matter.
    pub(crate) fn group(self, via: &Multiaddr) -> Option<Group> {
        match self.standing(via) {
            Standing::Grouped(group) => Some(group),
            Standing::Outside | Standing::Exempt => None,
        }
    }

    /// The group of a sender that asks us over a connection with this remote
    /// address to keep something; none where groups do not matter. Unlike the
    /// table, what is kept is not for those alone who belong in this DHT.
    pub(crate) fn sender_group(self, via: &Multiaddr) -> Option<Group> {
        match self.standing(via) {
            Standing::Grouped(group) => Some(group),
            Standing::Exempt => None,
            Standing::Outside => via.to_socket_addr().map(|(addr, _)| Group::of(addr.ip())),
        }
    }

    /// The standing of a peer that a connection with this remote address leads
    /// to. Taken from the connection, since what a peer says of itself costs
    /// it nothing.
    pub(crate) fn standing(self, via: &Multiaddr) -> Standing {
        match (self.network, via.scope()) {
            (_, Scope::Undialable | Scope::Dns | Scope::Relay) => Standing::Outside,
            (_, Scope::Loopback) if self.loopback => Standing::Exempt,
            (_, Scope::Loopback) => Standing::Outside,
            (Network::Lan, Scope::Public) => Standing::Outside,
            (Network::Lan, _) => Standing::Exempt,
            (Network::Wan, Scope::Public) => via
                .to_socket_addr()
                .map_or(Standing::Outside, |(addr, _)| Standing::Grouped(Group::of(addr.ip()))),
            (Network::Wan, _) if self.private => Standing::Exempt,
            (Network::Wan, _) => Standing::Outside,
        }
    }
}

/// True if a connection with this remote address leads to our own network,
/// though the address is global: to one of our own IP addresses (a router that
/// turns back what is for itself), or into the /64 of one, if the rest of the
/// address was made of a hardware address, as go-libp2p-kad-dht has it; others
/// may be of hosts that only share a provider.
pub(crate) fn is_of_our_network(via: &Multiaddr, local: &[Multiaddr]) -> bool {
    let ip = |addr: &Multiaddr| match addr.scope() {
        Scope::Public => addr.to_socket_addr().map(|(addr, _)| addr.ip().to_canonical()),
        _ => None,
    };
    let Some(theirs) = ip(via) else { return false };
    local.iter().filter_map(ip).any(|ours| match (ours, theirs) {
        _ if ours == theirs => true,
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
            let (ours, theirs) = (ours.octets(), theirs.octets());
            ours[..8] == theirs[..8] && theirs[11..13] == [0xff, 0xfe]
        }
        _ => false,
    })
}

/// The scope of the relay in an address that goes through one.
fn relay_scope(addr: &Multiaddr) -> Scope {
    addr.to_socket_addr().map_or(Scope::Dns, |(addr, _)| Scope::of_ip(addr.ip()))
}

/// Addresses as they are kept: `/p2p` taken off.
pub(crate) fn normal(peer: PeerId, addrs: &[Multiaddr]) -> PeerInfo {
    PeerInfo::new(peer, addrs.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn reach(network: Network) -> Reach {
        Reach::new(&Config::new(network))
    }

    #[test]
    fn the_wan_knows_no_private_address() {
        let wan = reach(Network::Wan);
        assert!(wan.admits(&addr("/ip4/8.8.8.8/tcp/4001")));
        assert!(wan.admits(&addr("/dns4/example.com/tcp/443")));
        for text in
            ["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/0.0.0.0/tcp/1"]
        {
            assert!(!wan.admits(&addr(text)), "{text}");
            assert_eq!(wan.standing(&addr(text)), Standing::Outside, "{text}");
        }
        let relay = "p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN/p2p-circuit";
        assert!(wan.admits(&addr(&format!("/ip4/8.8.8.8/tcp/1/{relay}"))));
        assert!(!wan.admits(&addr(&format!("/ip4/10.0.0.1/tcp/1/{relay}"))));
        assert!(!wan.is_askable(&[addr(&format!("/ip4/8.8.8.8/tcp/1/{relay}"))]));
        let test = Reach::new(&Config { private_addresses: true, ..Config::default() });
        assert!(test.admits(&addr("/ip4/127.0.0.1/tcp/1")));
        assert_eq!(test.standing(&addr("/ip4/127.0.0.1/tcp/1")), Standing::Exempt);
    }

    #[test]
    fn the_lan_is_who_is_near() {
        let lan = reach(Network::Lan);
        assert!(lan.admits(&addr("/ip4/10.0.0.1/tcp/1")));
        assert!(!lan.admits(&addr("/ip4/127.0.0.1/tcp/1")));
        assert_eq!(lan.standing(&addr("/ip4/192.168.0.9/tcp/1")), Standing::Exempt);
        assert_eq!(lan.standing(&addr("/ip4/8.8.8.8/tcp/1")), Standing::Outside);
        let local = Reach::new(&Config { loopback_addresses: true, ..Config::new(Network::Lan) });
        assert_eq!(local.standing(&addr("/ip4/127.0.0.1/tcp/1")), Standing::Exempt);
    }

    #[test]
    fn hosts_of_one_network_may_meet_by_ipv6() {
        let local = [
            addr("/ip6/2001:db8::1/tcp/1"),
            addr("/ip6/2a01:4f8:1:2::9/tcp/4001"),
            addr("/ip4/9.1.2.3/tcp/1"),
        ];
        let ours = |text: &str| is_of_our_network(&addr(text), &local);
        assert!(ours("/ip6/2a01:4f8:1:2:211:22ff:fe33:4455/tcp/7"));
        assert!(ours("/ip6/2a01:4f8:1:2::9/tcp/7") && ours("/ip4/9.1.2.3/tcp/7"), "ourselves");
        assert!(!ours("/ip6/2a01:4f8:1:3:211:22ff:fe33:4455/tcp/7"), "another network");
        assert!(!ours("/ip6/2a01:4f8:1:2::10/tcp/7"), "perhaps another customer");
        assert!(!ours("/ip4/9.1.2.4/tcp/7") && !ours("/ip4/10.0.0.1/tcp/1"));
    }

    #[test]
    fn groups() {
        let group = |text: &str| reach(Network::Wan).standing(&addr(text));
        let grouped = Standing::Grouped;
        assert_eq!(group("/ip4/8.8.4.4/tcp/1"), grouped(Group::V4([8, 8])));
        assert_eq!(group("/ip4/17.1.2.3/tcp/1"), grouped(Group::V4Class(17)));
        assert_eq!(group("/ip6/2a01:4f8:1::2/tcp/1"), grouped(Group::V6([0x2a, 0x01, 0x04, 0xf8])));
    }

    #[test]
    fn who_cannot_be_in_the_table_has_a_group_all_the_same() {
        let group = |network, text: &str| reach(network).sender_group(&addr(text));
        assert_eq!(group(Network::Wan, "/ip4/8.8.4.4/tcp/1"), Some(Group::V4([8, 8])));
        assert_eq!(group(Network::Wan, "/ip4/192.168.0.9/tcp/1"), Some(Group::V4([192, 168])));
        assert_eq!(group(Network::Lan, "/ip4/192.168.0.9/tcp/1"), None);
    }

    #[test]
    fn addresses_are_cut_and_lose_their_repeats() {
        let mut addrs = vec![addr("/ip4/10.0.0.1/tcp/1")];
        addrs.extend((1..100).map(|port| addr(&format!("/ip4/8.8.8.8/tcp/{}", port / 2 + 1))));
        let kept = reach(Network::Wan).filter(&addrs);
        assert_eq!(kept.len(), ADDRS_KEPT_MAX);
        assert_eq!(kept[..2], [addr("/ip4/8.8.8.8/tcp/1"), addr("/ip4/8.8.8.8/tcp/2")]);
    }
}
