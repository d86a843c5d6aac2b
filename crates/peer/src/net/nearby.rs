//! Peers of the local network: mDNS, told to the brain.

use std::sync::Arc;

use peerage_transport::mdns::{self, Mdns, News};
use tokio::sync::mpsc;

use super::Net;
use crate::brain::Input;

/// mDNS while this lives.
pub(crate) struct Nearby {
    mdns: Mdns,
}

impl Nearby {
    /// Tells others where we listen, and the brain where others do.
    pub(crate) fn start(net: &Arc<Net>) -> Self {
        let (mdns, news) = Mdns::start(mdns::Config::default(), net.keypair.peer_id(), net.local.listening());
        tokio::spawn(tell(Arc::clone(net), news));
        Self { mdns }
    }

    /// How it goes.
    pub(crate) fn status(&self) -> mdns::Status {
        self.mdns.status()
    }

    /// Tells the network that we leave.
    pub(crate) async fn close(self) {
        self.mdns.close().await;
    }
}

async fn tell(net: Arc<Net>, mut news: mpsc::Receiver<News>) {
    while let Some(news) = news.recv().await {
        net.tell(match news {
            News::Discovered { peer, addrs } => Input::Discovered { peer, addrs },
            News::Expired { peer } => Input::Undiscovered { peer },
        });
    }
}
