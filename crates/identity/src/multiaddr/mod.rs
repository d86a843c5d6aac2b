//! Addresses. Spec: multiformats/multiaddr.
//!
//! Left out on purpose: resolving names, and any opinion on which transports
//! can be dialled; [`Scope`] says how far an address reaches.

mod packed;
mod protocol;
mod scope;
mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

pub use protocol::Protocol;
pub use scope::Scope;

use self::packed::Packed;
use crate::PeerId;
use crate::limits::{MULTIADDR_MAX_BYTES, MULTIADDR_MAX_COMPONENTS, MULTIADDR_TEXT_MAX_CHARS};

/// Why bytes or text are no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultiaddrError {
    /// No component at all.
    #[error("an empty address")]
    Empty,
    /// Longer than [`MULTIADDR_MAX_BYTES`] as bytes.
    #[error("an address of over {MULTIADDR_MAX_BYTES} bytes")]
    TooLong,
    /// More than [`MULTIADDR_MAX_COMPONENTS`].
    #[error("an address of over {MULTIADDR_MAX_COMPONENTS} components")]
    TooManyComponents,
    /// Text that does not start with a slash.
    #[error("an address starts with `/`, e.g. /ip4/192.0.2.7/tcp/4001")]
    NoSlash,
    /// A name that the table does not have, escaped and cut.
    #[error("unknown address component `{0}`")]
    UnknownName(String),
    /// A code that the table does not have.
    #[error("unknown address component of code {0}")]
    UnknownCode(u64),
    /// Text that ends where the value of this component should be.
    #[error("nothing after `/{0}`")]
    MissingValue(&'static str),
    /// A value that this component cannot have.
    #[error("wrong value after `/{0}`")]
    Value(&'static str),
    /// Something follows `/unix`, whose path takes all the rest.
    #[error("nothing can follow the path of `/unix`")]
    AfterPath,
    /// Bytes that end inside a component, or a length that is no varint.
    #[error("an address cut short")]
    Truncated,
}

impl MultiaddrError {
    fn unknown_name(name: &str) -> Self {
        Self::UnknownName(name.chars().take(32).collect::<String>().escape_debug().to_string())
    }
}

/// Which transport protocol a socket address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An address of known components. Cheap to clone; ordered by its bytes.
///
/// What comes from outside is bounded by
/// [`MULTIADDR_MAX_BYTES`] and [`MULTIADDR_MAX_COMPONENTS`]; what the program
/// puts together with [`with`](Self::with) or [`with_peer`](Self::with_peer) is not.
///
/// ```
/// use peerage_identity::{Multiaddr, Protocol};
/// let addr: Multiaddr = "/dns4/example.com/tcp/443/tls/ws".parse()?;
/// let mut parts = addr.iter();
/// assert_eq!(parts.next(), Some(Protocol::Dns4("example.com")));
/// assert_eq!(parts.next(), Some(Protocol::Tcp(443)));
/// assert_eq!(Multiaddr::from_bytes(addr.as_bytes())?, addr);
/// assert_eq!(addr.to_string(), "/dns4/example.com/tcp/443/tls/ws");
/// # Ok::<(), peerage_identity::MultiaddrError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Multiaddr(Packed);

impl Multiaddr {
    /// The address of no components, to put others behind. Never read from outside.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the binary form, checking every component.
    ///
    /// # Errors
    /// See [`MultiaddrError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MultiaddrError> {
        if bytes.is_empty() {
            return Err(MultiaddrError::Empty);
        }
        if bytes.len() > MULTIADDR_MAX_BYTES {
            return Err(MultiaddrError::TooLong);
        }
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            let part = Protocol::take(&mut rest)?;
            if matches!(part, Protocol::Unix(_)) && !rest.is_empty() {
                return Err(MultiaddrError::AfterPath);
            }
            count += 1;
            if count > MULTIADDR_MAX_COMPONENTS {
                return Err(MultiaddrError::TooManyComponents);
            }
        }
        Ok(Self(bytes.into()))
    }

    /// The binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The binary form, owned.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// True for [`Multiaddr::empty`] only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, in order.
    #[must_use]
    pub fn iter(&self) -> Protocols<'_> {
        Protocols(&self.0)
    }

    /// This address with `protocol` behind it.
    ///
    /// # Errors
    /// [`MultiaddrError::Value`] if the component's value is not allowed,
    /// [`MultiaddrError::AfterPath`] if nothing can follow.
    pub fn with(&self, protocol: Protocol<'_>) -> Result<Self, MultiaddrError> {
        if self.ends_in_path() {
            return Err(MultiaddrError::AfterPath);
        }
        let mut bytes = self.to_bytes();
        protocol.put(&mut bytes);
        Protocol::take(&mut &bytes[self.0.len()..])?;
        Ok(Self(bytes[..].into()))
    }

    /// Takes the last component off; false if there was none.
    pub fn pop(&mut self) -> bool {
        let Some((offset, _)) = self.iter().with_offset().last() else { return false };
        *self = self.cut(offset);
        true
    }

    /// The peer that this address leads to: the last `/p2p`, of a relayed
    /// address the one behind the relay.
    ///
    /// ```
    /// # use peerage_identity::Multiaddr;
    /// let through = "/ip4/1.2.3.4/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN/p2p-circuit";
    /// assert_eq!(through.parse::<Multiaddr>()?.peer_id(), None);
    /// # Ok::<(), peerage_identity::MultiaddrError>(())
    /// ```
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.iter().fold(None, |found, part| match part {
            Protocol::P2p(id) => Some(id),
            Protocol::P2pCircuit => None,
            _ => found,
        })
    }

    /// This address without the `/p2p` at its end, if there is one. Empty if
    /// there is nothing else.
    #[must_use]
    pub fn without_peer(&self) -> Self {
        match self.iter().with_offset().last() {
            Some((offset, Protocol::P2p(_))) => self.cut(offset),
            _ => self.clone(),
        }
    }

    /// This address ending in `/p2p/peer`, instead of the one that it may end
    /// in. One with a `/unix` path, which nothing can follow, stays as it is.
    #[must_use]
    pub fn with_peer(&self, peer: PeerId) -> Self {
        if self.ends_in_path() {
            return self.clone();
        }
        let mut bytes = self.without_peer().to_bytes();
        Protocol::P2p(peer).put(&mut bytes);
        Self(bytes[..].into())
    }

    /// The socket address at the front: `/ip4|ip6/../tcp|udp/N`, whatever
    /// follows. An IPv6 zone before it counts if it is a number.
    #[must_use]
    pub fn to_socket_addr(&self) -> Option<(SocketAddr, IpProtocol)> {
        self.socket_addr_and_rest().map(|(addr, protocol, _)| (addr, protocol))
    }

    /// The socket address if this is plain TCP: `/ip4|ip6/../tcp/N` with at
    /// most `/p2p/..` behind it; none for WebSocket, TLS, relayed addresses.
    #[must_use]
    pub fn to_tcp_addr(&self) -> Option<SocketAddr> {
        let (addr, protocol, mut rest) = self.socket_addr_and_rest()?;
        let plain = match (rest.next(), rest.next()) {
            (None, _) | (Some(Protocol::P2p(_)), None) => protocol == IpProtocol::Tcp,
            _ => false,
        };
        plain.then_some(addr)
    }

    fn socket_addr_and_rest(&self) -> Option<(SocketAddr, IpProtocol, Protocols<'_>)> {
        let mut parts = self.iter();
        let mut first = parts.next()?;
        let mut zone = 0;
        if let Protocol::Ip6Zone(name) = first {
            zone = value::number(name)?;
            first = parts.next()?;
        }
        let ip = match first {
            Protocol::Ip4(ip) if zone == 0 => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip),
            _ => return None,
        };
        let (port, protocol) = match parts.next()? {
            Protocol::Tcp(port) => (port, IpProtocol::Tcp),
            Protocol::Udp(port) => (port, IpProtocol::Udp),
            _ => return None,
        };
        let addr = match ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, zone)),
        };
        Some((addr, protocol, parts))
    }

    /// `/ip4|ip6/../tcp|udp/N`; an IPv6 scope id becomes a zone before it.
    ///
    /// ```
    /// # use peerage_identity::{IpProtocol, Multiaddr};
    /// let addr = Multiaddr::from_socket_addr("[::1]:4001".parse()?, IpProtocol::Tcp);
    /// assert_eq!(addr.to_string(), "/ip6/::1/tcp/4001");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn from_socket_addr(addr: SocketAddr, protocol: IpProtocol) -> Self {
        let mut bytes = Vec::with_capacity(24);
        match addr {
            SocketAddr::V4(addr) => Protocol::Ip4(*addr.ip()).put(&mut bytes),
            SocketAddr::V6(addr) => {
                if addr.scope_id() != 0 {
                    Protocol::Ip6Zone(&addr.scope_id().to_string()).put(&mut bytes);
                }
                Protocol::Ip6(*addr.ip()).put(&mut bytes);
            }
        }
        match protocol {
            IpProtocol::Tcp => Protocol::Tcp(addr.port()).put(&mut bytes),
            IpProtocol::Udp => Protocol::Udp(addr.port()).put(&mut bytes),
        }
        Self(bytes[..].into())
    }

    /// `/ip4|ip6/../tcp/N`.
    #[must_use]
    pub fn from_tcp_addr(addr: SocketAddr) -> Self {
        Self::from_socket_addr(addr, IpProtocol::Tcp)
    }

    /// The first component if it is a name to resolve: `dns`, `dns4`, `dns6`
    /// or `dnsaddr`.
    #[must_use]
    pub fn dns(&self) -> Option<Protocol<'_>> {
        self.iter().next().filter(|part| {
            matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
        })
    }

    /// This address with `ip` in place of its first component: what becomes of
    /// a name once it is resolved.
    #[must_use]
    pub fn with_resolved(&self, ip: IpAddr) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 17);
        match ip {
            IpAddr::V4(ip) => Protocol::Ip4(ip).put(&mut bytes),
            IpAddr::V6(ip) => Protocol::Ip6(ip).put(&mut bytes),
        }
        let mut rest = self.iter();
        rest.next();
        bytes.extend_from_slice(rest.0);
        Self(bytes[..].into())
    }

    /// True if the address goes through a relay.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.iter().any(|part| part == Protocol::P2pCircuit)
    }

    /// How far the address reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(self)
    }

    fn ends_in_path(&self) -> bool {
        matches!(self.iter().last(), Some(Protocol::Unix(_)))
    }

    /// The components before `offset`, which is a boundary.
    fn cut(&self, offset: usize) -> Self {
        Self(self.0[..offset].into())
    }
}

impl FromStr for Multiaddr {
    type Err = MultiaddrError;

    /// Reads the text form. Slashes at the end are tolerated.
    fn from_str(text: &str) -> Result<Self, MultiaddrError> {
        if text.len() > MULTIADDR_TEXT_MAX_CHARS {
            return Err(MultiaddrError::TooLong);
        }
        let text = text.trim_end_matches('/');
        if text.is_empty() {
            return Err(MultiaddrError::Empty);
        }
        let mut rest = Some(text.strip_prefix('/').ok_or(MultiaddrError::NoSlash)?);
        let mut bytes = Vec::with_capacity(64);
        while let Some(left) = rest {
            let (name, tail) = left.split_once('/').map_or((left, None), |(name, tail)| (name, Some(tail)));
            rest = tail;
            protocol::parse_into(&mut bytes, name, &mut rest)?;
        }
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|part| write!(f, "{part}"))
    }
}

impl fmt::Debug for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<&[u8]> for Multiaddr {
    type Error = MultiaddrError;
    fn try_from(bytes: &[u8]) -> Result<Self, MultiaddrError> {
        Self::from_bytes(bytes)
    }
}

impl<'a> IntoIterator for &'a Multiaddr {
    type Item = Protocol<'a>;
    type IntoIter = Protocols<'a>;
    fn into_iter(self) -> Protocols<'a> {
        self.iter()
    }
}

/// The components of an address, in order.
#[derive(Debug, Clone)]
pub struct Protocols<'a>(&'a [u8]);

impl<'a> Protocols<'a> {
    /// Each component with the offset of its first byte.
    fn with_offset(mut self) -> impl Iterator<Item = (usize, Protocol<'a>)> {
        let len = self.0.len();
        std::iter::from_fn(move || {
            let offset = len - self.0.len();
            self.next().map(|part| (offset, part))
        })
    }
}

impl<'a> Iterator for Protocols<'a> {
    type Item = Protocol<'a>;

    fn next(&mut self) -> Option<Protocol<'a>> {
        if self.0.is_empty() {
            return None;
        }
        // Checked when the address was made.
        Protocol::take(&mut self.0).ok()
    }
}
