//! What a restart remembers.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::SystemTime;

use peerage_identity::{Keypair, Multiaddr, PeerId};
use peerage_peer::{Network, Peer};

use crate::common::{Host, config_at};

/// A server as an earlier run noted it: unix time, and one address with its length.
fn noted(addr: &Multiaddr) -> Vec<u8> {
    let seen = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let addr = addr.to_bytes();
    let len = u16::try_from(addr.len()).unwrap();
    [&seen.to_le_bytes()[..], &len.to_le_bytes(), &addr].concat()
}

/// A port at which anybody who comes is noticed.
fn trap() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    (listener, addr.parse().unwrap())
}

fn nobody_came(trap: &TcpListener) -> bool {
    trap.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

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

    let config = config_at(&dir);
    assert!(config.seeds.is_empty() && config.bootstrap.is_empty());
    let again = Peer::start(config).await.unwrap();
    knows(&again, stays.peer.id()).await;
    again.shutdown().await;
}

/// They are of no use to it, and nothing is to leave this machine.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_this_machine_alone_leaves_public_servers_alone() {
    let stays = Host::start().await;
    let seed = stays.addr();
    let Host { peer, dir } = Host::with(|config| config.seeds = vec![seed]).await;
    knows(&peer, stays.peer.id()).await;
    let (trap, addr) = trap();
    let server = Keypair::from_seed([7; 32]).peer_id();
    peer.store().table_put("servers-wan", server.as_bytes(), &noted(&addr)).unwrap();
    peer.shutdown().await;
    drop(peer);

    let mut config = config_at(&dir);
    let again = Peer::start(config.clone()).await.unwrap();
    // All that are remembered are dialled at once.
    knows(&again, stays.peer.id()).await;
    assert!(nobody_came(&trap));
    again.shutdown().await;
    drop(again);
    // Where such addresses are public ones, it is one of them.
    Arc::make_mut(&mut config.engine.routing.wan).private_addresses = true;
    let again = Peer::start(config).await.unwrap();
    while nobody_came(&trap) {
        tokio::task::yield_now().await;
    }
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_peer_meets_others_when_it_is_told_to() {
    let stays = Host::start().await;
    let seed = stays.addr();
    let (trap, addr) = trap();
    let host = Host::with(|config| {
        config.seeds = vec![seed.clone()];
        config.bootstrap = vec![addr];
        config.quiet = true;
    })
    .await;
    std::fs::write(host.path("file"), crate::common::random(1 << 20, 1)).unwrap();
    let _share = host.share("file").await;
    assert!(nobody_came(&trap) && host.peer.peers().await.is_empty());
    host.peer.join();
    knows(&host.peer, stays.peer.id()).await;
    while nobody_came(&trap) {
        tokio::task::yield_now().await;
    }
}
