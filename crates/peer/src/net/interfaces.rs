//! Where we listen, followed as network interfaces come, go and get addresses.
//!
//! They are looked at again and again, as go-libp2p does: that costs a few
//! system calls, works the same on all systems, and needs no further crate; a
//! notice by the kernel would come some seconds earlier, to no use.

use std::io;
use std::sync::Arc;

use peerage_identity::Multiaddr;
use peerage_transport::tcp::Listener;

use super::Net;
use crate::brain::Input;

/// What we can be dialled at now.
///
/// # Errors
/// If the operating system does not tell.
pub(crate) fn addrs(listeners: &[Arc<Listener>]) -> io::Result<Vec<Multiaddr>> {
    let each: Vec<Vec<Multiaddr>> =
        listeners.iter().map(|listener| listener.addrs()).collect::<Result<_, _>>()?;
    Ok(each.concat())
}

/// Tells of changes until it is aborted: the local network, the router, the
/// DHTs, and connected peers.
pub(crate) async fn follow(net: Arc<Net>, listeners: Vec<Arc<Listener>>) {
    if listeners.iter().all(|listener| is_fixed(listener)) {
        return;
    }
    loop {
        tokio::time::sleep(net.limits.interfaces).await;
        match addrs(&listeners) {
            Ok(addrs) => {
                if net.local.set_listen(&addrs) {
                    tracing::info!(?addrs, "network addresses have changed");
                    net.tell(Input::Listen { addrs });
                }
            }
            // Those of before are the best guess.
            Err(error) => tracing::debug!(%error, "network interfaces"),
        }
    }
}

/// Whether it listens at one address, whatever interfaces there are.
fn is_fixed(listener: &Listener) -> bool {
    listener.bound_addr().to_tcp_addr().is_none_or(|addr| !addr.ip().is_unspecified())
}
