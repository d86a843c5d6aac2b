//! TCP sockets: listening on multiaddrs, and dialling them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerage_identity::{Multiaddr, Scope};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::interfaces;

/// How long connecting to one address may take, as go-libp2p.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// The same for addresses of this machine and network, as go-libp2p.
pub const DIAL_TIMEOUT_LOCAL: Duration = Duration::from_secs(5);
/// Connections that the kernel holds for us until they are accepted. A
/// judgement: room for a burst while the accepting task waits its turn; the
/// system cuts it to its own limit.
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not `/ip4|ip6/../tcp/N`.
    #[error("{0} is no TCP address to listen on; use /ip4/0.0.0.0/tcp/0 or the like")]
    NotTcp(Multiaddr),
    /// The operating system refused.
    #[error("cannot listen on {addr}: {source}")]
    Io {
        /// The address.
        addr: Multiaddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Listens on `addr`; port 0 picks a free one. An IPv6 socket takes IPv6
    /// only, so that the same port can be had for both families. Call within
    /// a runtime.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(addr: &Multiaddr) -> Result<Self, ListenError> {
        let socket_addr = match addr.to_tcp_addr() {
            Some(socket_addr) if addr.peer_id().is_none() => socket_addr,
            _ => return Err(ListenError::NotTcp(addr.clone())),
        };
        Self::bind_socket(socket_addr).map_err(|source| ListenError::Io { addr: addr.clone(), source })
    }

    fn bind_socket(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // On Windows this would let another program take the port over.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let inner = TcpListener::from_std(socket.into())?;
        let local = inner.local_addr()?;
        Ok(Self { inner, local })
    }

    /// The address as bound: the port is the real one, the IP may be unspecified.
    #[must_use]
    pub fn bound_addr(&self) -> Multiaddr {
        Multiaddr::from_tcp_addr(self.local)
    }

    /// Addresses that others can dial: an unspecified IP becomes those of the
    /// network interfaces that are there now, without those that others
    /// cannot use (`interfaces.rs`).
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn addrs(&self) -> io::Result<Vec<Multiaddr>> {
        if !self.local.ip().is_unspecified() {
            return Ok(vec![self.bound_addr()]);
        }
        let ips = interfaces::addrs()?;
        let same_family = |ip: &IpAddr| ip.is_ipv4() == self.local.is_ipv4();
        let port = self.local.port();
        Ok(ips
            .into_iter()
            .filter(same_family)
            .map(|ip| Multiaddr::from_tcp_addr(SocketAddr::new(ip, port)))
            .collect())
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// When the operating system is short of something (files, memory): wait
    /// a little and accept again. Connections that broke before they were
    /// accepted are passed over.
    pub async fn accept(&self) -> io::Result<(TcpStream, Multiaddr)> {
        loop {
            match self.inner.accept().await {
                Ok((stream, from)) => {
                    if stream.set_nodelay(true).is_ok() {
                        return Ok((stream, Multiaddr::from_tcp_addr(from)));
                    }
                }
                Err(error) if is_connection_error(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Why an address could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It is not plain TCP with an IP.
    #[error("{0} cannot be dialled by TCP")]
    NotTcp(Multiaddr),
    /// The attempt failed.
    #[error("cannot connect to {addr}: {source}")]
    Io {
        /// The address.
        addr: Multiaddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to {addr} within {limit:?}")]
    Timeout {
        /// The address.
        addr: Multiaddr,
        /// The limit.
        limit: Duration,
    },
}

/// Connects to `addr`, which has no name in it (see [`dns`](crate::dns)).
///
/// # Errors
/// See [`DialError`].
pub async fn dial(addr: &Multiaddr) -> Result<TcpStream, DialError> {
    let socket_addr = addr.to_tcp_addr().ok_or_else(|| DialError::NotTcp(addr.clone()))?;
    let limit = match addr.scope() {
        Scope::Loopback | Scope::Private => DIAL_TIMEOUT_LOCAL,
        _ => DIAL_TIMEOUT,
    };
    match timeout(limit, connect(socket_addr)).await {
        Ok(connected) => connected.map_err(|source| DialError::Io { addr: addr.clone(), source }),
        Err(_) => Err(DialError::Timeout { addr: addr.clone(), limit }),
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
