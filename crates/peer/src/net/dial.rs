//! Opens connections.

use std::sync::Arc;
use std::time::Duration;

use peerage_engine::DialId;
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::dns::{self, SystemResolver};
use peerage_transport::{Control, Role, tcp, upgrade};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{Net, connection};
use crate::brain::Input;

/// All of one attempt: resolving, connecting, handshakes, over all addresses.
const LIMIT: Duration = Duration::from_secs(30);

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

/// Connects to whoever of the addresses answers as `peer`, one after the other.
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

async fn connect_unlimited(
    net: &Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addrs: &[Multiaddr],
    by_user: bool,
) -> Result<Control, DialError> {
    let mut last = DialError::NoAddr;
    for addr in addrs {
        match connect_one(net, dial, peer.or(addr.peer_id()), addr, by_user).await {
            Ok(control) => return Ok(control),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_one(
    net: &Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addr: &Multiaddr,
    by_user: bool,
) -> Result<Control, DialError> {
    let resolved = match addr.dns() {
        Some(_) => dns::resolve(resolver().await, addr).await?,
        None => vec![addr.clone()],
    };
    let (socket, addr) = tcp::dial(&resolved).await?;
    let made =
        upgrade(socket, Role::Dialer, &net.keypair, peer, net.transport.clone(), net.inbound.clone()).await?;
    let control = made.control.clone();
    let net = Arc::clone(net);
    let addr = addr.without_peer();
    tokio::spawn(connection::run_dialled(net, made, addr, dial, by_user));
    Ok(control)
}

/// Made at the first name: reading the system's configuration waits for nobody at the start.
async fn resolver() -> &'static SystemResolver {
    static RESOLVER: OnceCell<SystemResolver> = OnceCell::const_new();
    RESOLVER.get_or_init(|| async { SystemResolver::new() }).await
}
