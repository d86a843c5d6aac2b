//! When a peer begins to meet others, and to be met: at its start, or when someone first has
//! a use for them. Who only reads or changes the store needs nobody, and
//! nobody needs to hear of it.

use std::sync::{Arc, Mutex, PoisonError};

use peerage_identity::Multiaddr;

use crate::brain::Input;
use crate::net::Net;
use crate::net::mapping::MappedPorts;
use crate::net::nearby::Nearby;
use crate::peer::Peer;

/// The local network, and whom to begin with.
pub(crate) struct Meeting {
    /// What is to be done at the beginning; nothing once it was.
    ahead: Mutex<Option<Ahead>>,
    pub(crate) nearby: Mutex<Option<Nearby>>,
}

/// What [`Peer::join`] does.
pub(crate) struct Ahead {
    /// Peers that the user named.
    pub(crate) bootstrap: Vec<Multiaddr>,
    /// Servers of the DHTs.
    pub(crate) seeds: Vec<Multiaddr>,
    pub(crate) mdns: bool,
}

impl Meeting {
    pub(crate) fn new(ahead: Ahead) -> Self {
        Self { ahead: Mutex::new(Some(ahead)), nearby: Mutex::default() }
    }

    /// Begins, if that has not happened. Within a runtime.
    pub(crate) fn begin(&self, net: &Arc<Net>) {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ahead { bootstrap, seeds, mdns }) = ahead else { return };
        net.tell(Input::Bootstrap { addrs: bootstrap, by_user: true });
        // In one, as each begins with whom it is given.
        net.tell(Input::Bootstrap { addrs: seeds, by_user: false });
        if mdns {
            *self.nearby.lock().unwrap_or_else(PoisonError::into_inner) = Some(Nearby::start(net));
        }
    }

    /// Says goodbye to the local network; nothing begins after that.
    pub(crate) async fn end(&self) {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let nearby = self.nearby.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(nearby) = nearby {
            nearby.close().await;
        }
    }
}

impl Peer {
    /// Begins to meet others, as the configuration says whom and where, if the
    /// peer was started [quiet](crate::Config::quiet); else it has begun
    /// already. Needs a tokio runtime, and waits for nothing.
    pub fn join(&self) {
        self.inner().meeting.begin(&self.inner().net);
    }

    /// Has the home router pass connections on to us, by PCP, NAT-PMP or UPnP,
    /// until what this returns is dropped, or the peer stops: for who serves
    /// for long. Only where we listen on its network, and have no public
    /// address of our own. Needs a tokio runtime, and waits for nothing.
    #[must_use]
    pub fn map_ports(&self) -> MappedPorts {
        self.inner().ports.want()
    }
}
