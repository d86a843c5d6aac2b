//! One connection, from its first stream to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peerage_engine::{Connected, DialId};
use peerage_identity::Multiaddr;
use peerage_transport::{Connection, Control, identify};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Net;
use super::streams::{self, Origin};
use super::told::Told;
use crate::brain::Input;

/// Numbers connections over the life of the process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Which connection it is.
pub(super) struct Made {
    /// The address of the other side.
    pub(super) addr: Multiaddr,
    /// Our own, if the other side opened it.
    pub(super) local: Option<Multiaddr>,
    /// The engine's attempt that led here.
    pub(super) dial: Option<DialId>,
    /// The user asked for it.
    pub(super) by_user: bool,
    /// We opened it.
    pub(super) outbound: bool,
}

/// Runs a connection.
pub(super) async fn run(net: Arc<Net>, connection: Connection<TcpStream>, made: Made) {
    let Made { addr, local, dial, by_user, outbound } = made;
    let Connection { peer, control, mut incoming, driver, .. } = connection;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, %addr, outbound, "connected");
    let connected = Connected { peer, addr: addr.clone(), dial, by_user, outbound };
    net.tell(Input::Connected { connected, number, control: control.clone() });
    let driver = tokio::spawn(driver);
    let identifying = tokio::spawn(identify_peer(Arc::clone(&net), control.clone()));
    let pings = Arc::new(Semaphore::new(net.limits.ping_streams));
    let pushes = Arc::new(Semaphore::new(1));
    let origin = Origin { control: control.clone(), addr: addr.clone(), local, pings, pushes };
    while let Some(stream) = incoming.next().await {
        tokio::spawn(streams::serve(Arc::clone(&net), origin.clone(), stream));
    }
    let end = control.ended().await;
    tracing::debug!(%peer, %addr, %end, "disconnected");
    identifying.abort();
    drop(driver.await);
    net.tell(Input::Disconnected { peer, number });
}

/// Asks what the peer speaks. A peer that does not say speaks nothing that we know.
pub(crate) async fn identify_peer(net: Arc<Net>, control: Control) {
    let peer = control.peer();
    let limit = net.limits.answer_timeout;
    let asked = async {
        let opened =
            timeout(limit, control.open(identify::PROTOCOL)).await.map_err(|late| late.to_string())?;
        let mut stream = opened.map_err(|error| error.to_string())?;
        stream.finish();
        // No limit around this: what was said within its own counts.
        identify::receive(&mut stream, limit).await.map_err(|error| error.to_string())
    };
    let told = match asked.await {
        Ok(info) => Some(Told::check(info, &peer)),
        Err(error) => {
            tracing::debug!(%peer, error, "identify failed");
            None
        }
    };
    net.tell(Input::Identified { peer, told, handled: None });
}
