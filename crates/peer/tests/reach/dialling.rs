//! Whether others can dial us, and dialling for them.

use std::sync::Arc;
use std::time::Duration;

use peerage_identity::Multiaddr;
use peerage_peer::{Config, DhtStatus, Mode, Network, Peer, Reach, Reachability, Verdict};
use peerage_transport::autonat::{v1, v2};

use crate::bare::{Bare, DHTS};
use crate::common::Host;

/// Loopback counts as the public network does.
fn outside(config: &mut Config) {
    config.engine.reachability.private_addresses = true;
    Arc::make_mut(&mut config.engine.routing.wan).private_addresses = true;
    config.engine.reachability.probe_gap = Duration::ZERO;
}

async fn until_reach(peer: &Peer, wanted: impl Fn(&Reach) -> bool) -> Reachability {
    loop {
        let known = peer.reachability().await;
        if wanted(&known.reach) {
            return known;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until the public DHT is as wanted.
async fn until_wan(peer: &Peer, wanted: impl Fn(&DhtStatus) -> bool) {
    loop {
        let status = peer.dht_status().await;
        if status.iter().any(|status| status.network == Network::Wan && wanted(status)) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn own(host: &Host) -> Multiaddr {
    host.addr().without_peer()
}

fn is_public(host: &Host) -> impl Fn(&Reach) -> bool {
    let addr = own(host);
    move |reach| matches!(reach, Reach::Public(addrs) if addrs[..] == [addr.clone()])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_find_out_from_each_other_and_serve_the_public_dht() {
    let a = Host::with(outside).await;
    let seed = a.addr();
    let b = Host::with(|config| {
        outside(config);
        config.seeds = vec![seed];
    })
    .await;
    for host in [&a, &b] {
        let known = until_reach(&host.peer, is_public(host)).await;
        assert!(known.addrs.contains(&(own(host), Verdict::Reachable)), "{known:?}");
        // Each has been told that the other serves by now.
        until_wan(&host.peer, |wan| wan.mode == Mode::Server && wan.stats.table_peers == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_protocol_is_enough() {
    let host = Host::with(|config| {
        outside(config);
        config.engine.reachability.vouchers = 2;
    })
    .await;
    let servers = [Bare::start(&[v1::PROTOCOL]), Bare::start(&[v1::PROTOCOL])];
    let _first = servers[0].connect(&host.addr()).await;
    let _second = servers[1].connect(&host.addr()).await;
    until_reach(&host.peer, is_public(&host)).await;
    until_wan(&host.peer, |wan| wan.mode == Mode::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_dialled_any_more_serves_no_longer_and_says_so() {
    let host = Host::with(|config| {
        outside(config);
        let reachability = &mut config.engine.reachability;
        reachability.refresh_interval = Duration::from_millis(20);
        reachability.doubt_interval = Duration::from_millis(5);
        reachability.server_pause = Duration::from_millis(5);
    })
    .await;
    let server = Bare::start(&[v2::DIAL_PROTOCOL]);
    let mut told = server.told();
    let _connection = server.connect(&host.addr()).await;
    until_reach(&host.peer, is_public(&host)).await;
    until_wan(&host.peer, |wan| wan.mode == Mode::Server).await;
    let serves = |protocols: &Vec<String>| protocols.iter().any(|name| name == DHTS[0]);
    told.wait_for(serves).await.unwrap();

    server.fail();
    let known = until_reach(&host.peer, |reach| *reach == Reach::Private).await;
    assert_eq!(known.addrs, [(own(&host), Verdict::Unreachable)]);
    until_wan(&host.peer, |wan| wan.mode == Mode::Client).await;
    let stopped = |protocols: &Vec<String>| {
        let v1 = protocols.iter().any(|name| name == v1::PROTOCOL);
        let v2 = protocols.iter().any(|name| name == v2::DIAL_PROTOCOL);
        !serves(protocols) && !v1 && v2
    };
    told.wait_for(stopped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_dials_those_that_ask_by_connections_of_their_own() {
    let host = Host::with(outside).await;
    let asker = Bare::start(&[]);
    let control = asker.connect(&host.addr()).await;
    let stream = control.open(v2::DIAL_PROTOCOL).await.unwrap();
    let outcome = v2::ask(stream, &[asker.addr()], 7, asker.backs()).await.unwrap();
    assert_eq!(outcome, v2::Outcome::Reached(0));

    let stream = control.open(v1::PROTOCOL).await.unwrap();
    let outcome = v1::ask(stream, asker.id(), &[asker.addr()]).await.unwrap();
    assert_eq!(outcome, v1::Outcome::Reached(asker.addr()));

    // Nobody is there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stream = control.open(v2::DIAL_PROTOCOL).await.unwrap();
    let addrs = [Multiaddr::from_tcp_addr(gone)];
    let outcome = v2::ask(stream, &addrs, 8, asker.backs()).await.unwrap();
    assert_eq!(outcome, v2::Outcome::Unreached(0));

    // Somebody else is.
    let other = Bare::start(&[]);
    let stream = control.open(v2::DIAL_PROTOCOL).await.unwrap();
    let outcome = v2::ask(stream, &[other.addr()], 9, asker.backs()).await.unwrap();
    assert_eq!(outcome, v2::Outcome::Unreached(0));

    let peers = host.peer.peers().await;
    let known: Vec<_> = peers.iter().map(|info| (info.peer, info.addrs.len())).collect();
    assert_eq!(known, [(asker.id(), 1)], "those connections are nobody else's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_dialled_on_this_machine_by_default() {
    let host = Host::start().await;
    let asker = Bare::start(&[]);
    let control = asker.connect(&host.addr()).await;
    for protocol in [v1::PROTOCOL, v2::DIAL_PROTOCOL] {
        control.open_any(&[protocol]).await.unwrap_err();
    }
    assert_eq!(host.peer.reachability().await, Reachability::default());
}
