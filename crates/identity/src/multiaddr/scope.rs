//! How far an address reaches, by the IANA special-purpose registries
//! (RFC 6890) and RFC 4291.
//!
//! A peer record is signed for the scope of the connection that it came by and
//! passed on only within that scope; a private or loopback address that came
//! from a wider one is not dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Multiaddr, Protocol};

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nothing that can be dialled: unspecified, multicast, broadcast, or no
    /// network address at all.
    Undialable,
    /// This machine.
    Loopback,
    /// This link only.
    LinkLocal,
    /// This site: RFC 1918, the shared space of carriers (100.64/10), fc00::/7.
    Private,
    /// The internet.
    Public,
    /// A name. What it resolves to has a scope of its own, to be asked then:
    /// anyone can give a name the address 127.0.0.1.
    Dns,
    /// Through a relay, whatever the relay's own address.
    Relay,
}

impl Scope {
    /// The scope of an address.
    ///
    /// ```
    /// use peerage_identity::{Multiaddr, Scope};
    /// let scope = |text: &str| text.parse::<Multiaddr>().map(|addr| addr.scope());
    /// assert_eq!(scope("/ip4/192.168.1.5/tcp/4001"), Ok(Scope::Private));
    /// assert_eq!(scope("/ip6/::1/tcp/4001"), Ok(Scope::Loopback));
    /// assert_eq!(scope("/dns4/example.com/tcp/443/wss"), Ok(Scope::Dns));
    /// ```
    #[must_use]
    pub fn of(addr: &Multiaddr) -> Self {
        if addr.is_relayed() {
            return Self::Relay;
        }
        let mut parts = addr.iter();
        let first = match parts.next() {
            Some(Protocol::Ip6Zone(_)) => parts.next(),
            first => first,
        };
        match first {
            Some(Protocol::Ip4(ip)) => Self::of_ip4(ip),
            Some(Protocol::Ip6(ip)) => Self::of_ip6(ip),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => Self::of_name(name),
            Some(Protocol::Dnsaddr(_)) => Self::Dns,
            _ => Self::Undialable,
        }
    }

    /// The scope of an IP address.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_ip4(ip),
            IpAddr::V6(ip) => Self::of_ip6(ip),
        }
    }

    /// `localhost` is this machine by RFC 6761, whatever a resolver would say.
    fn of_name(name: &str) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name);
        let last = name.rsplit('.').next().unwrap_or(name);
        if last.eq_ignore_ascii_case("localhost") { Self::Loopback } else { Self::Dns }
    }

    const fn of_ip4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0, ..] | [224..=255, ..] => Self::Undialable,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            // 198.18/15 is for benchmarks of networks, so at home in laboratories.
            // The documentation ranges count as public: nothing answers there
            // but a test that plays the internet.
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [198, 18..=19, ..]
            | [192, 0, 0, _] => Self::Private,
            _ => Self::Public,
        }
    }

    const fn of_ip6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Mapped, translated (64:ff9b::/96) and 6to4 addresses lead to the
            // IPv4 address inside.
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
            [0x2002, high, low, ..] => embedded(high, low),
            // Unspecified and the obsolete IPv4-compatible ones.
            [0, 0, 0, 0, 0, 0, ..] => Self::Undialable,
            [0xff00..=0xffff, ..] => Self::Undialable,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Unique local, the obsolete site-local, and local translation.
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Self::Private,
            _ => Self::Public,
        }
    }
}

const fn embedded(high: u16, low: u16) -> Scope {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Scope::of_ip4(Ipv4Addr::new(a, b, c, d))
}
