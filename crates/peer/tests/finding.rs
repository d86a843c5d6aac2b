//! Peers that find each other in the DHT, over loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Host, random};
use peerage_identity::Multiaddr;
use peerage_peer::{Config, Find, FindEvent, FoundPeer, Mode, Network, Peer, Report, Sources};

/// Peers of which each knows the first. The others are small, as there may be many.
async fn network(count: usize) -> Vec<Host> {
    let small = |config: &mut Config| {
        config.workers = 1;
        (config.engine.connections_high, config.engine.connections_low) = (8, 4);
    };
    let mut hosts = vec![Host::start().await];
    for _ in 1..count {
        let seed = hosts[0].addr();
        let host = Host::with(|config| {
            small(config);
            config.seeds = vec![seed];
        });
        hosts.push(host.await);
    }
    for host in &hosts {
        joined(&host.peer).await;
    }
    hosts
}

/// Waits until a peer knows another one on the local network.
async fn joined(peer: &Peer) {
    loop {
        let status = peer.dht_status().await;
        let lan = status.iter().find(|status| status.network == Network::Lan).unwrap();
        assert_eq!(lan.mode, Mode::Server);
        if lan.stats.table_peers > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What a look-up found, to its end.
async fn all(mut find: Find) -> (Vec<FoundPeer>, FindEvent) {
    let mut found = Vec::new();
    loop {
        match find.next().await.unwrap() {
            FindEvent::Found(_, peers) => found.extend(peers),
            FindEvent::Progress(..) | FindEvent::Routers(_) => {}
            end @ FindEvent::Finished(_) => return (found, end),
        }
    }
}

/// What came of a look-up on the local network.
fn lan(end: FindEvent) -> Report {
    let FindEvent::Finished(mut reports) = end else { panic!("{end:?} is no end") };
    reports.remove(&Network::Lan).unwrap().unwrap()
}

fn names(found: &[FoundPeer], host: &Host) -> bool {
    let addr: Multiaddr = host.addr().without_peer();
    found.iter().any(|info| info.peer == host.peer.id() && info.addrs.contains(&addr))
}

// On one thread, so that a peer that joins has met nobody yet when its look-up begins.
#[tokio::test(flavor = "current_thread")]
async fn a_bare_cid_is_found_two_hops_away() {
    let hosts = network(60).await;
    let sharer = &hosts[3];
    let bytes = random(3_000_000, 1);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    let (_, end) = all(sharer.peer.provide(root)).await;
    let told = lan(end);
    assert_eq!(told.stored, 20, "{told:?}");

    // New ones know one peer, which can only name others that may have been told.
    let told: BTreeSet<_> = told.closest.iter().map(|info| info.peer).chain([sharer.peer.id()]).collect();
    let seed = hosts.iter().rfind(|host| !told.contains(&host.peer.id())).unwrap().addr();
    let finder = Host::with(|config| (config.quiet, config.seeds) = (true, vec![seed.clone()])).await;
    finder.peer.join();
    let (found, end) = all(finder.peer.find_providers(root)).await;
    assert!(names(&found, sharer), "{found:?}");
    let report = lan(end);
    assert!(report.hops >= 2, "{report:?}");

    let getter = Host::with(|config| config.seeds = vec![seed]).await;
    let done = getter
        .get_with(root, "copy", &[], |options| {
            options.sources = Sources { find: true, ..Sources::default() };
        })
        .await
        .unwrap();
    assert!(fs::read(getter.path("copy")).unwrap() == bytes);
    assert_eq!(done.progress.received.keys().collect::<Vec<_>>(), [&sharer.peer.id()]);

    // Whoever has its address needs no look-up.
    hosts[4].get(root, "copy", &[sharer.addr()]).await.unwrap();

    let (found, _) = all(getter.peer.find_peer(hosts[5].peer.id())).await;
    assert!(names(&found, &hosts[5]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_not_found_and_the_search_ends() {
    let hosts = network(4).await;
    let root = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
    let sources = Sources { find: true, ..Sources::default() };
    let error = hosts[2].get_with(root, "copy", &[], |options| options.sources = sources).await.unwrap_err();
    assert!(error.to_string().contains("not"), "{error}");
    let (found, end) = all(hosts[2].peer.find_providers(root)).await;
    assert!(found.is_empty() && matches!(end, FindEvent::Finished(_)));
}
