//! Finding sources with nothing but a CID: the DHT, routers, the local network.

use std::sync::Arc;
use std::time::Duration;

use peerage_dht::{Network, PeerInfo, Request};

use peerage_content::Profile;

use super::dag::{Dag, Tree, build};
use super::world::{Fault, World, addr, hint, hints, peer_id};
use crate::*;

/// A network of servers, each knowing the first.
fn network(seed: u64, count: usize, config: Config) -> World {
    let mut world = World::with(seed, count, config);
    world.join(0..count);
    for n in 1..count {
        world.bootstrap(n, 0);
    }
    world.run_for(30);
    world
}

/// A file of random bytes.
fn file(seed: u64, len: usize) -> Dag {
    let mut rng = peerage_base::Rng::new(seed);
    let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
    build(&Tree::File(bytes), &Profile::default())
}

fn anywhere() -> Sources {
    Sources { find: true, ..Sources::default() }
}

fn provide(world: &mut World, n: usize, dag: &Dag) {
    let now = world.clock();
    world.peers[n].engine.provide_once(FindId(900), dag.root, now);
    world.perform_all(n);
    world.run_for(5);
    let finished = world.peers[n].found.iter().find_map(|(find, event)| match event {
        FindEvent::Finished(reports) if *find == FindId(900) => Some(reports.clone()),
        _ => None,
    });
    let reports = finished.expect("the announcement is over");
    let lan = reports[&Network::Lan].as_ref().expect("announced");
    assert!(lan.stored > 0, "{lan:?}");
}

/// True if a request of someone's names this root.
fn names(world: &World, n: usize, dag: &Dag) -> bool {
    let key = dag.root.hash().to_bytes();
    world.peers[n].asked.iter().any(|(_, request)| match request {
        Request::FindNode { key: asked }
        | Request::GetProviders { key: asked }
        | Request::GetValue { key: asked }
        | Request::AddProvider { key: asked, .. } => *asked == key,
        Request::PutValue { .. } | Request::Ping => false,
    })
}

#[test]
fn a_cid_and_one_address_are_enough() {
    for seed in 0..10 {
        let mut world = network(seed, 12, Config::default());
        let dag = file(seed, 300_000);
        world.share(5, &dag);
        provide(&mut world, 5, &dag);
        // One that has just come and knows one address, not the provider's.
        let getter = world.add(seed);
        world.join([getter]);
        let began = world.now;
        world.bootstrap(getter, 3);
        world.fetch(getter, 1, dag.root, anywhere());
        let done = world.run(getter, 1, 60).clone().expect("found");
        assert_eq!(done.received.keys().collect::<Vec<_>>(), [&peer_id(5)], "seed {seed}");
        let took = world.now - began;
        assert!(took < Duration::from_secs(2), "{took:?}: nothing waits for a fixed time");
        assert!(!world.peers[getter].asked.is_empty());
    }
}

#[test]
fn those_who_drop_us_for_coming_too_often_are_asked_a_little_later() {
    for seed in 0..10 {
        let mut world = network(seed, 6, Config::default());
        let dag = file(seed, 100_000);
        world.share(5, &dag);
        provide(&mut world, 5, &dag);
        world.peers.iter_mut().for_each(|peer| peer.drops = 2);
        let getter = world.add(seed);
        world.join([getter]);
        world.bootstrap(getter, 3);
        world.fetch(getter, 1, dag.root, anywhere());
        let done = world.run(getter, 1, 60).clone().expect("found");
        assert_eq!(done.received.keys().collect::<Vec<_>>(), [&peer_id(5)], "seed {seed}");
    }
}

#[test]
fn what_may_not_be_looked_for_is_named_to_no_dht() {
    let mut world = network(3, 12, Config::default());
    let dag = file(3, 300_000);
    world.share(5, &dag);
    let getter = world.add(3);
    world.join([getter]);
    world.bootstrap(getter, 3);
    world.run_for(5);
    world.fetch(getter, 1, dag.root, hints([5]));
    world.run(getter, 1, 60).clone().expect("by its hint");
    // Nor when the hint leads nowhere.
    let dag2 = file(4, 1_000);
    world.fetch(getter, 2, dag2.root, hints([77]));
    world.run(getter, 2, 60).clone().expect_err("nobody is there");
    world.run_for(3600);
    for n in 0..world.peers.len() {
        assert!(!names(&world, n, &dag) && !names(&world, n, &dag2), "peer {n} asked the DHT for it");
    }
}

#[test]
fn providers_that_are_gone_do_not_hide_the_one_that_is_there() {
    for seed in 0..10 {
        let mut world = network(seed, 14, Config::default());
        let dag = file(seed, 100_000);
        for n in [4, 5, 6, 7] {
            world.share(n, &dag);
            provide(&mut world, n, &dag);
        }
        for n in [4, 5, 6] {
            world.vanish(n);
        }
        let getter = world.add(seed);
        world.join([getter]);
        world.bootstrap(getter, 0);
        world.fetch(getter, 1, dag.root, anywhere());
        let done = world.run(getter, 1, 60).clone().expect("found");
        assert_eq!(done.received.keys().collect::<Vec<_>>(), [&peer_id(7)], "seed {seed}");
    }
}

#[test]
fn a_search_ends_when_nobody_has_it() {
    let mut world = network(1, 8, Config::default());
    let dag = file(1, 1_000);
    let began = world.now;
    world.fetch(2, 1, dag.root, anywhere());
    let error = world.run(2, 1, 60).clone().expect_err("nobody has it");
    assert!(matches!(&error, JobError::NotFound(found) if found.providers.found == 0), "{error}");
    assert!(world.now - began < Duration::from_secs(5), "{:?}", world.now - began);
    // Alone, there is nothing to wait for at all.
    let mut world = World::new(1, 1);
    world.join([0]);
    world.fetch(0, 1, dag.root, anywhere());
    world.run(0, 1, 1).clone().expect_err("nobody is there");
}

#[test]
fn with_time_to_wait_a_provider_that_comes_later_is_found() {
    let mut world = network(2, 10, Config::default());
    let dag = file(2, 100_000);
    let wait = Some(Duration::from_secs(600));
    world.fetch(2, 1, dag.root, Sources { wait, ..anywhere() });
    world.run_for(100);
    assert!(world.outcome(2, 1).is_none());
    world.share(5, &dag);
    provide(&mut world, 5, &dag);
    world.run(2, 1, 100).clone().expect("found when it came");
}

#[test]
fn a_peer_of_the_local_network_is_asked_and_looked_for() {
    let near = Routing { near: true, ..Routing::default() };
    let mut world = World::with(1, 3, Config { routing: near, ..Config::default() });
    let dag = file(1, 10_000);
    world.share(1, &dag);
    // Somebody may still make himself known: the search does not end at once.
    world.fetch(0, 1, dag.root, anywhere());
    world.run_for(1);
    assert!(world.outcome(0, 1).is_none());
    world.discover(0, 1);
    world.run(0, 1, 5).clone().expect("found on the local network");
    // A link's own peer is found there by its id alone, whatever its address was.
    let moved = format!("/ip4/10.0.0.99/tcp/1/p2p/{}", peer_id(1)).parse().expect("an address");
    let dag = file(2, 10_000);
    world.share(1, &dag);
    world.cut(0, 1);
    world.fetch(0, 2, dag.root, Sources { hints: vec![moved], ..Sources::default() });
    world.run(0, 2, 5).clone().expect("found by its id");
    // Others are not asked for what is found only by its link.
    let dag = file(3, 10_000);
    world.share(2, &dag);
    world.discover(0, 2);
    world.fetch(0, 3, dag.root, hints([77]));
    world.run(0, 3, 10).clone().expect_err("the link names somebody else");
}

#[test]
fn what_was_found_and_cannot_be_used_is_told() {
    let routing = Routing { routers: true, mode: DhtMode::Off, ..Routing::default() };
    let config = Config { routing, ..Config::default() };
    let mut engine =
        Engine::new(peer_id(0), config, peerage_exchange::Config::default(), 1, peerage_base::Now::default());
    let now = peerage_base::Now::default();
    let dag = file(1, 10);
    engine.start_fetch(JobId(1), dag.root, anywhere(), false, Order::RarestFirst, now);
    let item = loop {
        match engine.poll_output().expect("something to do") {
            Output::TakeLocal { item, .. } => break item,
            _ => continue,
        }
    };
    engine.handle_local(JobId(1), item, dag.root, None, now);
    engine.handle_timeout(now);
    let ask = loop {
        match engine.poll_output().expect("a question to the routers") {
            Output::AskRouters { ask, target: Target::Providers(cid) } if cid == dag.root => break ask,
            _ => continue,
        }
    };
    let info = |n: usize, addrs: &[&str]| PeerInfo {
        peer: peer_id(n),
        addrs: addrs.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let relayed = format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", peer_id(9));
    let quic = "/ip4/8.8.8.8/udp/1/quic-v1";
    let answer = vec![info(1, &[quic]), info(2, &[quic, &relayed]), info(3, &[&relayed]), info(4, &[])];
    engine.handle_router_answer(ask, answer, now);
    engine.handle_router_done(ask, RouterReport { asked: 2, failures: vec!["a\nb: broke off".into()] }, now);
    let error = loop {
        match engine.poll_output().expect("the end") {
            Output::JobFailed { error, .. } => break error.to_string(),
            _ => continue,
        }
    };
    let told = "4 providers: 2 by QUIC only, 1 behind relays, 1 without an address";
    assert!(error.contains(told) && error.contains(r"; a\nb: broke off"), "{error}");
}

#[test]
fn peers_and_providers_are_found_for_the_user() {
    let mut world = network(4, 12, Config::default());
    let dag = file(4, 1_000);
    world.share(5, &dag);
    provide(&mut world, 5, &dag);
    let now = world.clock();
    world.peers[9].engine.find(FindId(1), Target::Providers(dag.root), now);
    world.peers[9].engine.find(FindId(2), Target::Peer(peer_id(7)), now);
    world.perform_all(9);
    world.run_for(20);
    let found = |find: u64| {
        let events = world.peers[9].found.iter().filter(move |(id, _)| *id == FindId(find));
        events.flat_map(|(_, event)| match event {
            FindEvent::Found(_, infos) => infos.clone(),
            _ => Vec::new(),
        })
    };
    assert!(found(1).any(|info| info.peer == peer_id(5) && info.addrs == [addr(5)]));
    assert!(found(2).any(|info| info.peer == peer_id(7) && info.addrs == [addr(7)]));
    for find in [1, 2] {
        let over = |(id, event): &(FindId, FindEvent)| {
            *id == FindId(find) && matches!(event, FindEvent::Finished(_))
        };
        assert!(world.peers[9].found.iter().any(over), "look-up {find} is over");
    }
}

#[test]
fn surplus_connections_are_closed_and_those_in_use_are_not() {
    let limits = Config { connections_high: 8, connections_low: 4, ..Config::default() };
    let mut world = network(5, 30, limits);
    world.run_for(120);
    for n in 0..30 {
        let open = (0..30).filter(|other| world.links.contains_key(&(n.min(*other), n.max(*other))));
        assert!(open.count() <= 9, "peer {n} holds too many");
    }
    assert!(world.peers.iter().any(|peer| peer.trimmed > 0));
    // A transfer that takes long keeps its connection, however many others there are.
    let dag = file(9, 4_000_000);
    world.share(11, &dag);
    world.peers[11].pace = 20_000;
    let before = world.peers[11].trimmed;
    world.fetch(12, 1, dag.root, Sources { hints: vec![hint(11)], ..Sources::default() });
    for other in (13..30).chain(0..8) {
        world.connect(11, other, None);
        world.connect(12, other, None);
    }
    let done = world.run(12, 1, 600).clone().expect("it comes");
    assert!(world.seconds() > 60 && done.duplicates == 0, "{done:?}");
    assert!(world.peers[11].trimmed > before, "others were closed meanwhile");
}

#[test]
fn what_is_announced_is_found_a_second_after_the_first_peer() {
    let mut world = network(6, 12, Config::default());
    let dag = file(6, 100_000);
    let sharer = world.add(6);
    world.share(sharer, &dag);
    let now = world.clock();
    world.peers[sharer].engine.announce(&dag.root, &[], now).expect("room");
    world.perform_all(sharer);
    world.join([sharer]);
    world.run_for(100);
    assert!(world.peers[sharer].asked.is_empty(), "there is nobody to tell");
    world.bootstrap(sharer, 4);
    let known = |world: &World| world.peers[sharer].engine.servers(Network::Lan).len();
    while known(&world) == 0 {
        assert!(world.step(world.now + Duration::from_secs(10)));
    }
    world.run_for(1);
    let told = |world: &World| {
        let key = dag.root.hash().to_bytes();
        let told = |(_, request): &&(usize, Request)| matches!(request, Request::AddProvider { key: told, .. } if *told == key);
        world.peers[sharer].asked.iter().filter(told).count()
    };
    assert!(told(&world) >= 12, "{} of 12 servers", told(&world));
    world.fetch(9, 1, dag.root, anywhere());
    world.run(9, 1, 10).clone().expect("found");
    // Again within a day, and not once it is not wanted any more.
    world.run_for(23 * 3600);
    let twice = told(&world);
    assert!(twice >= 24, "{twice}");
    world.peers[sharer].engine.unannounce(&dag.root);
    world.run_for(30 * 3600);
    assert_eq!(told(&world), twice);
}

#[test]
fn who_tells_more_than_it_may_waits_and_loses_nothing() {
    let mut world = network(9, 2, Config::default());
    let keys: u32 = 2_000;
    for n in 0..keys {
        let hash = peerage_content::hash::digest(0x12, &n.to_le_bytes()).unwrap();
        let now = world.clock();
        let cid = peerage_content::Cid::new_v1(0x55, hash);
        world.peers[0].engine.announce(&cid, &[], now).expect("room");
    }
    world.perform_all(0);
    world.run_for(5);
    let held = |world: &World| world.peers[1].engine.dht_stats(Network::Lan).unwrap().provider_records;
    let soon = held(&world);
    assert!((512..1_500).contains(&soon), "{soon}: at a pace");
    world.run_for(60);
    assert_eq!(held(&world), keys as usize);
    // Nor does it take the one that had it wait for broken.
    assert_eq!(world.peers[0].engine.servers(Network::Lan).len(), 1);
}

#[test]
fn another_provider_is_looked_for_when_the_first_falls_silent() {
    for seed in 0..5 {
        let mut world = network(seed, 14, Config::default());
        let dag = file(seed, 40 << 20);
        for n in [4, 5] {
            world.share(n, &dag);
        }
        provide(&mut world, 4, &dag);
        world.fetch(9, 1, dag.root, anywhere());
        while world.peers[4].sent_blocks < 5 {
            assert!(world.step(world.now + Duration::from_secs(10)));
        }
        // It takes every want from now on and sends nothing.
        world.peers[4].fault = Fault::Mute;
        provide(&mut world, 5, &dag);
        world.run(9, 1, 120).clone().expect("the other one is found");
    }
}

#[test]
fn another_provider_is_looked_for_when_the_only_one_known_lies() {
    for seed in 0..5 {
        let mut world = network(seed, 14, Config::default());
        let dag = file(seed, 40 << 20);
        for n in [4, 5] {
            world.share(n, &dag);
        }
        provide(&mut world, 4, &dag);
        world.peers[4].pace = 500;
        world.fetch(9, 1, dag.root, anywhere());
        // The look-up ends with its first block.
        while world.peers[4].sent_blocks < 5 {
            assert!(world.step(world.now + Duration::from_secs(10)));
        }
        provide(&mut world, 5, &dag);
        world.peers[4].fault = Fault::Corrupt(1);
        let done = world.run(9, 1, 60).clone().expect("the other one is found");
        assert!(done.wrong.contains_key(&peer_id(4)) && done.received.contains_key(&peer_id(5)), "{done:?}");
    }
}

#[test]
fn look_ups_beyond_those_that_may_run_wait_for_their_turn() {
    let mut config = Config::default();
    Arc::make_mut(&mut config.routing.lan).lookups_max = 1;
    let mut world = network(7, 12, config);
    let dags = [1, 2, 3].map(|seed| file(seed, 1_000));
    for (n, dag) in dags.iter().enumerate() {
        world.share(n + 1, dag);
        provide(&mut world, n + 1, dag);
    }
    let now = world.clock();
    for (n, dag) in dags.iter().enumerate() {
        world.peers[9].engine.find(FindId(n as u64), Target::Providers(dag.root), now);
    }
    world.perform_all(9);
    world.fetch(9, 1, dags[0].root, anywhere());
    world.run_for(10);
    world.outcome(9, 1).expect("over").clone().expect("found");
    for n in 0..dags.len() {
        let events = || world.peers[9].found.iter().filter(|(find, _)| *find == FindId(n as u64));
        let found = |(_, event): &(FindId, FindEvent)| match event {
            FindEvent::Found(_, infos) => infos.iter().any(|info| info.peer == peer_id(n + 1)),
            _ => false,
        };
        assert!(events().any(found), "look-up {n}");
        let over = |(_, event): &(FindId, FindEvent)| matches!(event, FindEvent::Finished(reports) if reports[&Network::Lan].is_ok());
        assert!(events().any(over), "look-up {n}");
    }
}
