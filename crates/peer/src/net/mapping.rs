//! The home router is asked to pass connections on to us; what it grants is
//! told to the brain, which has it tested.

use std::sync::Arc;

use peerage_identity::Multiaddr;
use peerage_transport::portmap::{self, PortMapper};
use tokio::sync::watch;

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

/// Ports are mapped while this lives.
pub(crate) struct Mapping {
    mapper: PortMapper,
}

impl Mapping {
    /// Has the ports mapped that we listen at, if the router is needed for them.
    pub(crate) fn start(net: &Arc<Net>, config: portmap::Config) -> Self {
        let mapper = PortMapper::start(config, net.local.listening());
        tokio::spawn(tell(Arc::clone(net), mapper.external()));
        Self { mapper }
    }

    /// How it goes.
    pub(crate) fn status(&self) -> MappingStatus {
        MappingStatus { external: self.mapper.external().borrow().clone(), failure: self.mapper.failure() }
    }

    /// Takes back what was granted. At most a second.
    pub(crate) async fn close(self) {
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
}
