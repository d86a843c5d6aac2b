//! Whole networks in virtual time: what look-ups find, how far they walk, what
//! survives churn, loss and liars, and that a seed replays.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_dht::sweep::{self, Sweep};
use peerage_dht::{Config, End, Network, PeerInfo, SweepConfig};
use world::{Kind, World};

/// Multihashes as they stand on the wire.
fn multihash(n: u64) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend(n.to_be_bytes());
    bytes
}

/// What many look-ups found.
#[derive(Debug, Default)]
struct Figures {
    lookups: u32,
    exact: u32,
    found: usize,
    wanted: usize,
    hops: u32,
    asked: u32,
    millis: u128,
}

fn measure(world: &mut World, count: u64) -> Figures {
    let mut figures = Figures::default();
    for n in 0..count {
        let key = multihash(1_000_000 + n);
        let from = world.random_server().unwrap();
        let asker = world.nodes[from].info.peer;
        let lookup = world.act(from, |dht, now| dht.find_closest(&key, now)).unwrap();
        let report = world.finish(from, lookup);
        let mut truth = world.nearest(&key, |node| node.kind.is_honest() && node.info.peer != asker);
        truth.truncate(20);
        let hit = truth.iter().filter(|info| report.closest.contains(info)).count();
        figures.lookups += 1;
        figures.exact += u32::from(report.closest == truth);
        figures.found += hit;
        figures.wanted += truth.len();
        figures.hops += report.hops;
        figures.asked += report.progress.asked;
        figures.millis += report.took.as_millis();
    }
    figures
}

#[test]
fn lookups_find_the_true_closest_in_few_hops() {
    let mut means = Vec::new();
    for count in [40, 256] {
        let mut world = World::of_servers(count as u64, count);
        let figures = measure(&mut world, 100);
        println!("{count} servers: {figures:?}");
        assert!(figures.exact >= 97, "{count}: {figures:?}");
        assert!(figures.found * 1000 >= figures.wanted * 998, "{count}: {figures:?}");
        // log2 n is what a table of one peer a bucket would take at most.
        assert!(figures.hops * 2 <= figures.lookups * count.ilog2(), "{count}: {figures:?}");
        means.push(figures.asked / figures.lookups);
    }
    assert!(means[1] <= means[0] + 20, "messages grow slowly: {means:?}");
}

#[test]
fn a_lookup_bears_loss_and_peers_that_are_gone() {
    let mut world = World::of_servers(7, 120);
    // A fifth leaves without a word, and one message in a hundred is lost.
    for node in (0..120).step_by(5) {
        world.leave(node);
    }
    world.loss = 10;
    let figures = measure(&mut world, 100);
    println!("a fifth gone, 1 % lost: {figures:?}");
    // Nobody has found out yet who is gone: of the 20 that a server names a
    // fifth is, so that some of the furthest of the closest are not named.
    assert!(figures.found * 100 >= figures.wanted * 94, "{figures:?}");
    // Refreshes find out who is gone.
    world.loss = 0;
    world.run_for(Duration::from_secs(1500));
    let gone = |world: &World| {
        let alive = |info: &PeerInfo| world.nodes.iter().any(|node| node.alive && node.info == *info);
        let nodes = world.nodes.iter().filter(|node| node.alive);
        nodes.flat_map(|node| node.dht.peers()).filter(|info| !alive(info)).count()
    };
    assert_eq!(gone(&world), 0, "no table holds anybody who left 25 minutes ago");
    let figures = measure(&mut world, 50);
    println!("25 minutes later: {figures:?}");
    assert!(figures.exact >= 48, "{figures:?}");
}

#[test]
fn providers_are_found_after_churn() {
    let mut world = World::of_servers(11, 120);
    let keys: Vec<Vec<u8>> = (0..30).map(multihash).collect();
    let mut providers = Vec::new();
    for key in &keys {
        let node = world.random_server().unwrap();
        let lookup = world.act(node, |dht, now| dht.provide(key, now)).unwrap();
        let report = world.finish(node, lookup);
        assert_eq!((report.end, report.stored), (End::Complete, 20));
        providers.push(node);
    }
    // In 20 minutes half of the others leave, and as many come.
    let mut leavers: Vec<usize> = (0..120).filter(|node| !providers.contains(node)).collect();
    for _ in 0..leavers.len() / 2 {
        let index = usize::try_from(world.rng.below(leavers.len() as u64)).unwrap();
        world.leave(leavers.swap_remove(index));
        world.join(Kind::Server);
        world.run_for(Duration::from_secs(30));
    }
    let mut found = 0;
    for (key, provider) in keys.iter().zip(&providers) {
        // Those who only just came find it too.
        let getter = world.join(Kind::Client);
        let lookup = world.act(getter, |dht, now| dht.find_providers(key, now)).unwrap();
        world.finish(getter, lookup);
        let told = world.nodes[getter].providers.get(&lookup);
        found += usize::from(told.is_some_and(|told| told.contains(&world.nodes[*provider].info.peer)));
    }
    println!("{found} of {} providers found after half of the peers were replaced", keys.len());
    assert_eq!(found, keys.len());
}

/// With `percent` of such liars among 120 servers: how many of so many
/// searches find the provider, and how many in a thousand of the ten closest
/// honest peers.
fn among_liars(kind: Kind, percent: u64, paths: usize, searches: u64) -> (u64, usize) {
    let mut world = World::new(5, Config { paths, ..Config::default() });
    for _ in 0..120 {
        let liar = !world.nodes.is_empty() && world.rng.below(100) < percent;
        world.join(if liar { kind } else { Kind::Server });
        world.run_for(Duration::from_millis(500));
    }
    world.run_for(Duration::from_secs(60));
    let (mut found, mut closest, mut wanted) = (0, 0, 0);
    for n in 0..searches {
        let key = multihash(n);
        let provider = world.random_server().unwrap();
        let provide = world.act(provider, |dht, now| dht.provide(&key, now)).unwrap();
        world.finish(provider, provide);
        let getter = world.random_server().unwrap();
        let asker = world.nodes[getter].info.peer;
        let lookup = world.act(getter, |dht, now| dht.find_providers(&key, now)).unwrap();
        let report = world.finish(getter, lookup);
        let told = world.nodes[getter].providers.get(&lookup);
        let sought = world.nodes[provider].info.peer;
        found += u64::from(provider == getter || told.is_some_and(|told| told.contains(&sought)));
        let honest = world.nearest(&key, |node| node.kind.is_honest() && node.info.peer != asker);
        let honest = &honest[..10];
        closest += honest.iter().filter(|info| report.closest.contains(info)).count();
        wanted += honest.len();
    }
    let closest = closest * 1000 / wanted;
    println!("{percent} % {kind:?}, {paths} paths: {found} of {searches} found, closest {closest} of 1000");
    (found, closest)
}

#[test]
fn providers_are_found_among_the_silent() {
    assert_eq!(among_liars(Kind::Silent, 20, 1, 30), (30, 1000));
}

#[test]
fn providers_are_found_among_hostile_peers() {
    for paths in [1, 4] {
        let (found, closest) = among_liars(Kind::Hostile, 30, paths, 60);
        assert!(found >= 59 && closest >= 950, "{paths} paths: {found}, {closest}");
    }
}

#[test]
fn providers_are_found_among_those_who_invent_peers() {
    let (found, _) = among_liars(Kind::Inventor, 10, 1, 15);
    assert!(found >= 14, "{found}");
}

#[test]
fn clients_are_in_no_table_and_are_found_while_connected() {
    let mut world = World::of_servers(3, 60);
    let clients: Vec<usize> = (0..20).map(|_| world.join(Kind::Client)).collect();
    world.run_for(Duration::from_secs(30));
    let peers: Vec<_> = clients.iter().map(|&node| world.nodes[node].info.peer).collect();
    for node in &world.nodes {
        assert!(node.dht.peers().iter().all(|info| !peers.contains(&info.peer)));
    }
    // Its lookup of itself has left it connected to its closest servers.
    for &client in &clients {
        let seeker = world.random_server().unwrap();
        let info = world.nodes[client].info.clone();
        let lookup = world.act(seeker, |dht, now| dht.find_peer(info.peer, now)).unwrap();
        world.finish(seeker, lookup);
        let found = world.nodes[seeker].found.get(&lookup);
        assert!(found.is_some_and(|addrs| addrs.contains(&info.addrs[0])), "{client}");
    }
    // One that becomes a client is taken out by whom it tells.
    let told: Vec<usize> = (0..60).collect();
    let info = world.nodes[5].info.clone();
    for node in told {
        world.act(node, |dht, now| {
            dht.handle_identified(info.peer, false, &info.addrs, &info.addrs[0], now);
        });
        assert!(!world.nodes[node].dht.peers().contains(&info));
    }
}

/// What a test on one machine needs, on either network.
#[test]
fn a_few_on_one_machine_find_each_other_at_once() {
    let lan = Config { loopback_addresses: true, ..Config::new(Network::Lan) };
    let wan = Config { private_addresses: true, ..Config::default() };
    for config in [lan, wan] {
        let mut world = World::new(1, config);
        world.loopback = true;
        for _ in 0..5 {
            world.join(Kind::Server);
        }
        world.run_for(Duration::from_secs(2));
        for node in 0..5 {
            assert_eq!(world.nodes[node].dht.peers().len(), 4, "{node}");
            let key = multihash(node as u64);
            let lookup = world.act(node, |dht, now| dht.provide(&key, now)).unwrap();
            let report = world.finish(node, lookup);
            assert_eq!((report.end, report.stored), (End::Complete, 4));
            assert!(report.took < Duration::from_secs(2), "nothing is waited for: {report:?}");
        }
        for getter in 0..5 {
            for provider in (0..5).filter(|&provider| provider != getter) {
                let sought = world.nodes[provider].info.clone();
                let key = multihash(provider as u64);
                let lookup = world.act(getter, |dht, now| dht.find_providers(&key, now)).unwrap();
                world.finish(getter, lookup);
                assert!(world.nodes[getter].providers[&lookup].contains(&sought.peer));
                let lookup = world.act(getter, |dht, now| dht.find_peer(sought.peer, now)).unwrap();
                world.finish(getter, lookup);
                assert!(world.nodes[getter].found[&lookup].contains(&sought.addrs[0]));
            }
        }
    }
    // Without leave, loopback is nobody's network.
    let mut world = World::new(1, Config::default());
    world.loopback = true;
    world.join(Kind::Server);
    world.join(Kind::Server);
    world.run_for(Duration::from_secs(60));
    assert!(world.nodes.iter().all(|node| node.dht.peers().is_empty()));
}

#[test]
fn a_network_that_was_cut_off_comes_back() {
    let mut world = World::of_servers(9, 40);
    world.loss = 1000;
    world.run_for(Duration::from_secs(3 * 3600));
    assert!(
        world.nodes.iter().all(|node| node.dht.stats().table_peers == 0),
        "nobody has answered for hours"
    );
    world.loss = 0;
    world.run_for(Duration::from_secs(300));
    let figures = measure(&mut world, 20);
    println!("after an outage: {figures:?}");
    assert!(figures.exact >= 19, "{figures:?}");
}

/// Runs a sweep over a node's own machine.
fn sweep_for(world: &mut World, node: usize, sweep: &mut Sweep, span: Duration) {
    let (mut lookups, mut servers) = (BTreeMap::new(), BTreeMap::new());
    let end = world.now + span;
    while world.now < end {
        let now = world.clock();
        let at = &mut world.nodes[node];
        lookups.retain(|lookup, task| match at.reports.remove(lookup) {
            Some(report) => {
                sweep.handle_closest(*task, &report, now);
                false
            }
            None => true,
        });
        servers.retain(|id, task| match at.announced.remove(id) {
            Some(told) => {
                sweep.handle_announced(*task, told, now);
                false
            }
            None => true,
        });
        sweep.handle_timeout(now);
        while let Some(output) = sweep.poll_output() {
            match output {
                sweep::Output::FindClosest { id, key } => {
                    let lookup = world.act(node, |dht, now| dht.find_closest(&key, now)).unwrap();
                    lookups.insert(lookup, id);
                }
                sweep::Output::Announce { id, peer, multihashes } => {
                    let told = world.act(node, |dht, now| dht.announce(peer, multihashes, now)).unwrap();
                    servers.insert(told, id);
                }
                sweep::Output::ListKeys { .. } => panic!("the sweep holds the keys"),
            }
        }
        world.run_for(Duration::from_millis(200));
    }
}

#[test]
fn a_sweep_provides_many_blocks_by_few_lookups() {
    let keys = 400;
    let mut world = World::of_servers(11, 150);
    for node in (0..150).step_by(10) {
        world.leave(node);
    }
    let provider = 1;
    let interval = Duration::from_secs(1200);
    let mut sweep = Sweep::new(SweepConfig { interval, ..SweepConfig::default() }, 3, world.clock());
    for n in 0..keys {
        sweep.insert(&multihash(n), world.clock()).unwrap();
    }
    sweep.set_online(true, world.clock());
    sweep_for(&mut world, provider, &mut sweep, interval + Duration::from_secs(60));
    let stats = sweep.stats(world.clock());
    println!("{stats:?}");
    assert!(stats.lookups <= 80, "{stats:?}");
    assert!(stats.records >= keys * 19, "{stats:?}");
    let (mut known, mut wanted) = (0, 0);
    for n in (0..keys).step_by(9) {
        let truth = world.nearest(&multihash(n), |node| node.info.peer != world.nodes[provider].info.peer);
        wanted += truth.len();
        for info in truth {
            let server = world.nodes.iter().position(|node| node.info.peer == info.peer).unwrap();
            let key = bytes::Bytes::from(multihash(n));
            let asker = world.nodes[2].info.clone();
            let request = peerage_dht::Request::GetProviders { key };
            let answer =
                world.act(server, |dht, now| dht.handle_request(asker.peer, &asker.addrs[0], &request, now));
            let peerage_dht::Answer::Respond(peerage_dht::Response::Providers { providers, .. }) = answer
            else {
                panic!("no answer")
            };
            known += usize::from(!providers.is_empty());
        }
        let getter = world.random_server().unwrap();
        let lookup = world.act(getter, |dht, now| dht.find_providers(&multihash(n), now)).unwrap();
        world.finish(getter, lookup);
        let found = world.nodes[getter].providers.get(&lookup);
        let told = found.is_some_and(|found| found.contains(&world.nodes[provider].info.peer));
        assert!(told || getter == provider, "{n}");
    }
    assert!(known * 100 >= wanted * 97, "{known} of {wanted} of the closest have the record");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, Config::default());
        world.trace = Some(0xcbf2_9ce4_8422_2325);
        world.loss = 20;
        for n in 0..40 {
            world.join(if n % 9 == 8 { Kind::Hostile } else { Kind::Server });
            world.run_for(Duration::from_secs(1));
        }
        measure(&mut world, 5);
        (world.trace, world.requests)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}
