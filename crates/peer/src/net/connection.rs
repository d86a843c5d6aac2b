//! One connection, from its first stream to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peerage_engine::{Connected, DialId};
use peerage_identity::Multiaddr;
use peerage_transport::{Connection, Control, identify};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Net, streams};
use crate::brain::Input;

/// Numbers connections over the life of the process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Runs a connection that someone opened to us.
pub(super) async fn run(
    net: Arc<Net>,
    made: Connection<TcpStream>,
    addr: Multiaddr,
    dial: Option<DialId>,
    by_user: bool,
) {
    run_either(net, made, addr, dial, by_user, false).await;
}

/// Runs a connection that we opened.
pub(super) async fn run_dialled(
    net: Arc<Net>,
    made: Connection<TcpStream>,
    addr: Multiaddr,
    dial: Option<DialId>,
    by_user: bool,
) {
    run_either(net, made, addr, dial, by_user, true).await;
}

async fn run_either(
    net: Arc<Net>,
    made: Connection<TcpStream>,
    addr: Multiaddr,
    dial: Option<DialId>,
    by_user: bool,
    outbound: bool,
) {
    let Connection { peer, control, mut incoming, driver, .. } = made;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, %addr, outbound, "connected");
    let connected = Connected { peer, addr: addr.clone(), dial, by_user, outbound };
    net.tell(Input::Connected { connected, number, control: control.clone() });
    let driver = tokio::spawn(driver);
    let identifying = tokio::spawn(identify_peer(Arc::clone(&net), control.clone()));
    let pings = Arc::new(Semaphore::new(net.limits.ping_streams));
    while let Some(stream) = incoming.next().await {
        tokio::spawn(streams::serve(Arc::clone(&net), peer, addr.clone(), stream, Arc::clone(&pings)));
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
    let info = match asked.await {
        Ok(info) => Some(info),
        Err(error) => {
            tracing::debug!(%peer, error, "identify failed");
            None
        }
    };
    net.tell(Input::Identified { peer, info });
}
