//! Takes connections that others open.

use std::sync::Arc;
use std::time::Duration;

use peerage_transport::tcp::Listener;
use peerage_transport::{Role, upgrade};
use tokio::sync::Semaphore;

use super::{Net, connection};

/// Pause after the system refused a socket (too many open files), so that the
/// loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the listener is dropped with its task.
pub(crate) async fn accept(net: Arc<Net>, listener: Listener, handshakes: Arc<Semaphore>) {
    loop {
        let (socket, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // More at once wait in the kernel's backlog no longer than this: they are dropped.
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            tracing::debug!(%addr, "too many handshakes at once");
            continue;
        };
        let net = Arc::clone(&net);
        tokio::spawn(async move {
            let upgraded = upgrade(
                socket,
                Role::Listener,
                &net.keypair,
                None,
                net.transport.clone(),
                net.inbound.clone(),
            )
            .await;
            drop(permit);
            match upgraded {
                Ok(made) => connection::run(net, made, addr, None, false).await,
                Err(error) => tracing::debug!(%addr, %error, "a handshake failed"),
            }
        });
    }
}
