//! Opens connections.

use std::sync::Arc;
use std::time::Duration;

use peerage_engine::DialId;
use peerage_identity::{Multiaddr, PeerId, Scope};
use peerage_transport::dns::{self, SystemResolver};
use peerage_transport::{Connection, Control, Role, tcp, upgrade};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Net, connection};
use crate::brain::Input;

/// All of one attempt: resolving, connecting, handshakes, over all addresses.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an address is alone before the next one is tried as well (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one peer that are tried. A judgement: more than hosts have,
/// and all of them have begun within 4 s.
const ADDRS_MAX: usize = 16;

/// Why nobody could be reached; for the user.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address was given.
    #[error("no address to dial")]
    NoAddr,
    /// A name does not resolve.
    #[error(transparent)]
    Resolve(#[from] dns::ResolveError),
    /// No TCP connection came about.
    #[error(transparent)]
    Tcp(#[from] tcp::DialError),
    /// The handshake failed, or someone else answered.
    #[error(transparent)]
    Upgrade(#[from] peerage_transport::UpgradeError),
    /// It all took too long.
    #[error("no answer within {LIMIT:?}")]
    Timeout,
}

/// Dials for the engine or the user, and hands the connection to the brain.
pub(crate) async fn dial(
    net: Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addrs: Vec<Multiaddr>,
    by_user: bool,
) {
    let why = match connect(&net, dial, peer, &addrs, by_user).await {
        Ok(_) => return,
        Err(error) => error.to_string(),
    };
    tracing::debug!(?peer, why, "a dial failed");
    if let Some(dial) = dial {
        net.tell(Input::DialFailed { dial, why });
    }
}

/// Connects to whoever of the addresses first answers as `peer`.
pub(crate) async fn connect(
    net: &Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addrs: &[Multiaddr],
    by_user: bool,
) -> Result<Control, DialError> {
    match timeout(LIMIT, connect_unlimited(net, dial, peer, addrs, by_user)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout),
    }
}

/// Tries the addresses side by side, each a little after the one before it or
/// when that has failed (as RFC 8305 has it); the first that answers is taken
/// and the others are dropped.
async fn connect_unlimited(
    net: &Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addrs: &[Multiaddr],
    by_user: bool,
) -> Result<Control, DialError> {
    let mut last = DialError::NoAddr;
    let mut waiting = in_order(addrs).into_iter();
    let mut trying = JoinSet::new();
    loop {
        if let Some(addr) = waiting.next() {
            let net = Arc::clone(net);
            trying.spawn(async move { establish(&net, peer.or(addr.peer_id()), &addr).await });
        }
        let ended = if waiting.len() > 0 {
            match timeout(STAGGER, trying.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            trying.join_next().await
        };
        match ended {
            Some(Ok(Ok((made, addr)))) => {
                let control = made.control.clone();
                let addr = addr.without_peer();
                tokio::spawn(connection::run_dialled(Arc::clone(net), made, addr, dial, by_user));
                return Ok(control);
            }
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => tracing::error!(%error, "a dial panicked"),
            None => return Err(last),
        }
    }
}

/// Those that reach furthest first; of each kind in the given order.
fn in_order(addrs: &[Multiaddr]) -> Vec<Multiaddr> {
    let rank = |addr: &Multiaddr| match addr.scope() {
        Scope::Public | Scope::Dns => 0,
        Scope::Private => 1,
        Scope::LinkLocal => 2,
        Scope::Loopback => 3,
        Scope::Relay | Scope::Undialable => 4,
    };
    let mut list: Vec<Multiaddr> = Vec::new();
    for addr in addrs {
        if !list.contains(addr) && list.len() < ADDRS_MAX {
            list.push(addr.clone());
        }
    }
    list.sort_by_key(rank);
    list
}

/// One address, as far as a connection whose peer has proved who it is.
async fn establish(
    net: &Arc<Net>,
    peer: Option<PeerId>,
    addr: &Multiaddr,
) -> Result<(Connection<TcpStream>, Multiaddr), DialError> {
    let resolved = match addr.dns() {
        Some(_) => dns::resolve(resolver().await, addr).await?,
        None => vec![addr.clone()],
    };
    let (socket, addr) = tcp::dial(&resolved).await?;
    let made =
        upgrade(socket, Role::Dialer, &net.keypair, peer, net.transport.clone(), net.inbound.clone()).await?;
    Ok((made, addr))
}

/// Made at the first name: reading the system's configuration waits for nobody at the start.
async fn resolver() -> &'static SystemResolver {
    static RESOLVER: OnceCell<SystemResolver> = OnceCell::const_new();
    RESOLVER.get_or_init(|| async { SystemResolver::new() }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_furthest_is_tried_first_and_no_more_than_some() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let given =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1"];
        let tried = in_order(&given.map(parse));
        assert_eq!(tried, [given[2], given[1], given[0]].map(parse));
        let many: Vec<_> = (1..99).map(|port| parse(&format!("/ip4/8.8.8.8/tcp/{port}"))).collect();
        assert_eq!(in_order(&many), many[..ADDRS_MAX]);
    }
}
