//! The home router is asked to pass connections on to us; what it grants is
//! told to the brain, which has it tested.

use std::sync::{Arc, Mutex, PoisonError};

use peerage_identity::Multiaddr;
use peerage_transport::portmap::{self, PortMapper};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Net;
use crate::brain::Input;

/// How port mapping goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingStatus {
    /// Where the router says that others reach us; empty as long as nothing is mapped.
    pub external: Vec<Multiaddr>,
    /// Why the last attempt failed, if nothing succeeded since.
    pub failure: Option<portmap::Failure>,
}

/// Ports are mapped as long as somebody wants that.
pub(crate) struct Ports {
    net: Arc<Net>,
    config: Option<portmap::Config>,
    now: Mutex<Wanted>,
}

#[derive(Default)]
struct Wanted {
    /// How many want it.
    by: usize,
    mapping: Option<Mapping>,
    /// Mappings that are being removed.
    ending: Vec<JoinHandle<()>>,
    closed: bool,
}

/// Ports are mapped while this lives: see [`Peer::map_ports`](crate::Peer::map_ports).
pub struct MappedPorts(Arc<Ports>);

impl Ports {
    /// None are mapped yet; without a configuration none ever are.
    pub(crate) fn new(net: Arc<Net>, config: Option<portmap::Config>) -> Arc<Self> {
        Arc::new(Self { net, config, now: Mutex::default() })
    }

    /// One more wants it. Within a runtime.
    pub(crate) fn want(self: &Arc<Self>) -> MappedPorts {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.by += 1;
        if now.mapping.is_none() && !now.closed {
            now.mapping = self.config.map(|config| Mapping::start(&self.net, config));
        }
        MappedPorts(Arc::clone(self))
    }

    /// How it goes; `None` if nobody wants it, or it makes no sense.
    pub(crate) fn status(&self) -> Option<MappingStatus> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.mapping.as_ref().map(Mapping::status)
    }

    /// Takes back what was granted, for good. At most a second.
    pub(crate) async fn close(&self) {
        let (mapping, ending) = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.closed = true;
            (now.mapping.take(), std::mem::take(&mut now.ending))
        };
        if let Some(mapping) = mapping {
            mapping.close().await;
        }
        for task in ending {
            drop(task.await);
        }
    }
}

impl Drop for MappedPorts {
    fn drop(&mut self) {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.by -= 1;
        let last = now.by == 0;
        let Some(mapping) = now.mapping.take_if(|_| last) else { return };
        // Without a runtime it is dropped, and ends by itself.
        if let Ok(runtime) = Handle::try_current() {
            now.ending.retain(|task| !task.is_finished());
            now.ending.push(runtime.spawn(mapping.close()));
        }
    }
}

/// Ports are mapped while this lives.
struct Mapping {
    mapper: PortMapper,
}

impl Mapping {
    /// Has the ports mapped that we listen at, if the router is needed for them.
    fn start(net: &Arc<Net>, config: portmap::Config) -> Self {
        let mapper = PortMapper::start(config, net.local.mapping_secret(), net.local.listening());
        tokio::spawn(tell(Arc::clone(net), mapper.external()));
        Self { mapper }
    }

    /// How it goes.
    fn status(&self) -> MappingStatus {
        MappingStatus { external: self.mapper.external().borrow().clone(), failure: self.mapper.failure() }
    }

    /// Takes back what was granted. At most a second.
    async fn close(self) {
        self.mapper.close().await;
    }
}

async fn tell(net: Arc<Net>, mut external: watch::Receiver<Vec<Multiaddr>>) {
    while external.changed().await.is_ok() {
        let addrs = external.borrow_and_update().clone();
        if !addrs.is_empty() {
            tracing::info!(?addrs, "the router passes connections on to us");
        }
        net.tell(Input::Mapped { addrs });
    }
    // Nobody maps any more.
    net.tell(Input::Mapped { addrs: Vec::new() });
}
