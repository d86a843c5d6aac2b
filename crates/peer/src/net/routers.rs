//! Asks all routers of the configuration one question, side by side.

use std::sync::Arc;

use peerage_dht::PeerInfo;
use peerage_engine::{RouterQuestion, RouterReport, Target};
use tokio::task::JoinSet;

use super::Net;
use crate::brain::Input;
use crate::router::{Router, RouterError};

/// Tells the brain of each peer as it comes, and when there are no more.
pub(crate) async fn ask(net: Arc<Net>, ask: RouterQuestion, target: Target) {
    let mut routers = JoinSet::new();
    for router in net.routers.clone() {
        let net = Arc::clone(&net);
        routers.spawn(async move {
            let trouble = tell(net, ask, &router, target).await;
            trouble.map(|error| format!("{router}: {error}"))
        });
    }
    let mut report = RouterReport { asked: routers.len(), failures: Vec::new() };
    while let Some(done) = routers.join_next().await {
        report.failures.extend(done.ok().flatten());
    }
    net.tell(Input::RoutersDone { ask, report });
}

/// Why the router is of no use, if that is so.
async fn tell(net: Arc<Net>, ask: RouterQuestion, router: &Router, target: Target) -> Option<RouterError> {
    let mut answers = match target {
        Target::Providers(cid) => router.providers(&cid),
        Target::Peer(peer) => router.peers(peer),
    };
    let mut trouble = None;
    while let Some(answer) = answers.next().await {
        match answer {
            // Of no use as a source, but a peer like any other.
            Ok(found) if matches!(target, Target::Providers(_)) && !found.may_speak_bitswap() => {}
            Ok(found) => {
                let peers = vec![PeerInfo::new(found.peer, found.addrs)];
                net.tell(Input::Routed { ask, peers });
            }
            Err(error) => {
                // That it is left alone is known since it was asked last.
                if !matches!(error, RouterError::Paused(_)) {
                    tracing::info!(%error, "a router is of no use");
                }
                trouble = Some(error);
            }
        }
    }
    trouble
}
