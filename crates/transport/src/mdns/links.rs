//! The sockets: one for each interface and family, so that what comes tells
//! which interface it came by, and what goes leaves by one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::{IfAddr, Interface};
use peerage_identity::{Multiaddr, Scope};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::limits::PORT;
use super::machine::{LinkId, Nets};

/// The group of IPv4 (RFC 6762 section 3).
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The group of IPv6.
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// What packets of mDNS carry as their hop limit (RFC 6762 section 11).
const HOPS: u32 = 255;

/// The interfaces that carry one of our addresses, with all addresses they
/// have. So those that nobody is told of (bridges to containers, loopback) are
/// silent, and a peer that listens on loopback alone is. Point-to-point links
/// have nobody to find, and lead out of the house.
pub(super) fn choose(interfaces: &[Interface], addrs: &[Multiaddr]) -> BTreeMap<LinkId, Nets> {
    let told: BTreeSet<IpAddr> = addrs
        .iter()
        .filter(|addr| matches!(addr.scope(), Scope::Private | Scope::Public))
        .filter_map(|addr| Some(addr.to_socket_addr()?.0.ip()))
        .collect();
    let mut nets: BTreeMap<u32, Nets> = BTreeMap::new();
    for found in interfaces.iter().filter(|found| !found.is_p2p() && !found.is_loopback()) {
        let prefix = match &found.addr {
            IfAddr::V4(addr) => addr.prefixlen,
            IfAddr::V6(addr) => addr.prefixlen,
        };
        if let Some(index) = found.index {
            nets.entry(index).or_default().push((found.ip(), prefix));
        }
    }
    let mut links = BTreeMap::new();
    for (interface, mut nets) in nets {
        nets.sort_unstable();
        if nets.iter().any(|(ip, _)| told.contains(ip)) {
            for v6 in [false, true].into_iter().filter(|v6| nets.iter().any(|(ip, _)| ip.is_ipv6() == *v6)) {
                links.insert(LinkId { interface, v6 }, nets.clone());
            }
        }
    }
    links
}

/// Where packets to all go on this link.
pub(super) fn group(link: LinkId) -> SocketAddr {
    if link.v6 { SocketAddrV6::new(GROUP6, PORT, 0, link.interface).into() } else { (GROUP4, PORT).into() }
}

/// A socket that hears the group on this link and no other.
///
/// # Errors
/// If the operating system refuses: no multicast there, or the port is taken
/// by a program that does not share it.
pub(super) fn open(link: LinkId, nets: &Nets) -> io::Result<UdpSocket> {
    let domain = if link.v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // The system's own responder, and other peers, have the port as well.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if link.v6 {
        socket.set_only_v6(true)?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
        socket.join_multicast_v6(&GROUP6, link.interface)?;
        socket.set_multicast_if_v6(link.interface)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_unicast_hops_v6(HOPS)?;
    } else {
        let own = nets.iter().find_map(|(ip, _)| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        let own = own.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        socket.join_multicast_v4_n(&GROUP4, &InterfaceIndexOrAddress::Index(link.interface))?;
        socket.set_multicast_if_v4(&own)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        socket.set_ttl_v4(HOPS)?;
    }
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, index: u32, ip: &str, prefixlen: u8, is_p2p: bool) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: ip, prefixlen, broadcast: None }),
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr { ip, netmask: ip, prefixlen, broadcast: None }),
        };
        let oper_status = IfOperStatus::Up;
        Interface { name: name.to_owned(), addr, index: Some(index), oper_status, is_p2p }
    }

    #[test]
    fn speaks_where_one_of_our_addresses_is() {
        let interfaces = [
            interface("lo", 1, "127.0.0.1", 8, false),
            interface("eth0", 2, "192.168.1.5", 24, false),
            interface("eth0", 2, "fe80::5", 64, false),
            interface("docker0", 3, "172.17.0.1", 16, false),
            interface("tun0", 4, "10.8.0.2", 24, true),
        ];
        let chosen = |addrs: &[&str]| {
            let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
            let ids = choose(&interfaces, &addrs).into_keys();
            ids.map(|id| (id.interface, id.v6)).collect::<Vec<_>>()
        };
        let told = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip4/10.8.0.2/tcp/1"];
        assert_eq!(chosen(&told), [(2, false), (2, true)]);
        assert_eq!(chosen(&told[..1]), []);
        assert_eq!(chosen(&["/ip4/172.17.0.1/tcp/1"]), [(3, false)]);
    }
}
