//! What a restart remembers.

use peerage_identity::PeerId;
use peerage_peer::{Config, Network, Peer};

use crate::common::Host;

/// Waits until a peer has that one in its table.
async fn knows(peer: &Peer, other: PeerId) {
    loop {
        let servers = peer.dht_servers().await;
        if servers[&Network::Lan].iter().any(|info| info.peer == other) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_needs_nobody_to_begin_with() {
    let stays = Host::start().await;
    let seed = stays.addr();
    let Host { peer, dir } = Host::with(|config| config.seeds = vec![seed]).await;
    knows(&peer, stays.peer.id()).await;
    peer.shutdown().await;
    drop(peer);

    let mut config = Config::new(dir.path().join("repo"));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    assert!(config.seeds.is_empty() && config.bootstrap.is_empty());
    let again = Peer::start(config).await.unwrap();
    knows(&again, stays.peer.id()).await;
    again.shutdown().await;
}
