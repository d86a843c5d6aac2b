//! Who speaks for an address, counted by network: whoever has one address of a
//! network can have many, and identities cost nothing.

use std::net::IpAddr;

use peerage_identity::{Multiaddr, PeerId, Scope};

/// Peers that count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Witness {
    /// An IPv4 /16.
    V4([u8; 2]),
    /// An IPv6 /32.
    V6([u8; 4]),
    /// One peer on a private network or this machine, in tests.
    Peer(PeerId),
}

impl Witness {
    /// Whom `peer`, connected by `via`, counts as.
    pub(super) fn of(peer: PeerId, via: &Multiaddr) -> Self {
        match public_ip(via) {
            Some(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Self::V4([a, b])
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Self::V6([a, b, c, d])
            }
            None => Self::Peer(peer),
        }
    }
}

/// The IP address at the front of an address.
pub(super) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    addr.to_socket_addr().map(|(socket, _)| socket.ip().to_canonical())
}

/// The IP address of a public address that leads there by itself.
pub(super) fn public_ip(addr: &Multiaddr) -> Option<IpAddr> {
    ip_of(addr).filter(|_| addr.scope() == Scope::Public)
}

/// True if what is known over a connection of scope `via` speaks for, or may
/// dial, addresses of scope `addr`: public ones over the public network, and
/// private ones, if tests want them, over a connection at least as near.
pub(super) fn suits(addr: Scope, via: Scope, private_addresses: bool) -> bool {
    match (addr, via) {
        (Scope::Public, Scope::Public) => true,
        (Scope::Loopback, Scope::Loopback) => private_addresses,
        (Scope::Private | Scope::LinkLocal, Scope::Loopback | Scope::Private | Scope::LinkLocal) => {
            private_addresses
        }
        _ => false,
    }
}

/// `/ip4|ip6/../tcp/N` and no more; none if this is not an address of plain TCP.
pub(super) fn plain(addr: &Multiaddr) -> Option<Multiaddr> {
    let socket = addr.to_tcp_addr().filter(|socket| socket.port() != 0)?;
    (!addr.is_relayed()).then(|| Multiaddr::from_tcp_addr(socket))
}
