//! Asks all routers of the configuration one question, side by side.

use std::sync::Arc;

use peerage_dht::PeerInfo;
use peerage_engine::{RouterQuestion, Target};
use tokio::task::JoinSet;

use super::Net;
use crate::brain::Input;
use crate::router::{Answers, Router, RouterError};

/// Tells the brain of each peer as it comes, and when there are no more.
pub(crate) async fn ask(net: Arc<Net>, ask: RouterQuestion, target: Target) {
    let mut routers = JoinSet::new();
    for router in net.routers.clone() {
        routers.spawn(tell(Arc::clone(&net), ask, answers(&router, target)));
    }
    while routers.join_next().await.is_some() {}
    net.tell(Input::RoutersDone { ask });
}

fn answers(router: &Router, target: Target) -> Answers {
    match target {
        Target::Providers(cid) => router.providers(&cid),
        Target::Peer(peer) => router.peers(peer),
    }
}

async fn tell(net: Arc<Net>, ask: RouterQuestion, mut answers: Answers) {
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(found) => {
                let peers = vec![PeerInfo::new(found.peer, found.addrs)];
                net.tell(Input::Routed { ask, peers });
            }
            // Known since it was asked last.
            Err(RouterError::Paused(_)) => {}
            Err(error) => tracing::info!(%error, "a router is of no use"),
        }
    }
}
