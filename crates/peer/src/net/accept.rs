//! Takes connections that others open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peerage_identity::Multiaddr;
use peerage_transport::tcp::Listener;
use peerage_transport::{Role, upgrade};
use tokio::task::AbortHandle;

use super::Net;
use super::connection::{self, Made};

/// Pause after the system refused a socket (too many open files), so that the
/// loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Handshakes that others have begun, the oldest first.
///
/// When there are too many the oldest gives way: an honest handshake takes a
/// few round trips, so those that linger are the idle ones, and a flood of
/// silent connections keeps nobody out.
#[derive(Clone)]
pub(crate) struct Handshakes(Arc<Mutex<Pending>>);

struct Pending {
    limit: usize,
    next: u64,
    queue: VecDeque<(u64, AbortHandle)>,
}

impl Handshakes {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Pending { limit: limit.max(1), next: 0, queue: VecDeque::new() })))
    }

    /// The number of the handshake that begins now.
    fn number(&self) -> u64 {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.next += 1;
        pending.next
    }

    /// Notes a handshake under way, in the place of the oldest if there is none left.
    fn begin(&self, number: u64, task: AbortHandle) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.queue.push_back((number, task));
        if pending.queue.len() > pending.limit
            && let Some((_, oldest)) = pending.queue.pop_front()
        {
            oldest.abort();
        }
    }

    /// The handshake is over; false if it had given way.
    fn end(&self, number: u64) -> bool {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pending.queue.iter().position(|(known, _)| *known == number);
        found.and_then(|at| pending.queue.remove(at)).is_some()
    }
}

/// Accepts until its task is aborted.
pub(crate) async fn accept(net: Arc<Net>, listener: Arc<Listener>, handshakes: Handshakes) {
    loop {
        let (socket, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let number = handshakes.number();
        let (net, ours) = (Arc::clone(&net), handshakes.clone());
        let (noted, begun) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let local = socket.local_addr().ok().map(Multiaddr::from_tcp_addr);
            // Not before it is noted, or it could end unseen.
            drop(begun.await);
            let upgraded = upgrade(
                socket,
                Role::Listener,
                &net.keypair,
                None,
                net.transport.clone(),
                net.inbound.clone(),
            )
            .await;
            if !ours.end(number) {
                return;
            }
            match upgraded {
                // A task of its own: no handshake's fate is the connection's.
                Ok(connection) => {
                    let made = Made { addr, local, dial: None, by_user: false, outbound: false };
                    tokio::spawn(connection::run(net, connection, made));
                }
                Err(error) => tracing::debug!(%addr, %error, "a handshake failed"),
            }
        });
        handshakes.begin(number, task.abort_handle());
        noted.send(()).ok(); // Failing means that it has been aborted.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_handshake_gives_way() {
        let handshakes = Handshakes::new(2);
        let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        for task in &tasks {
            handshakes.begin(handshakes.number(), task.abort_handle());
        }
        let mut tasks = tasks.into_iter();
        assert!(tasks.next().unwrap().await.unwrap_err().is_cancelled());
        assert!(!handshakes.end(1), "it gave way");
        assert!(handshakes.end(2));
        assert!(handshakes.end(3));
        assert!(!handshakes.end(3));
    }
}
