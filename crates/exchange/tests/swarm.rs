//! Whole fetches between machines in virtual time: every wanted block comes
//! exactly once as long as any source has it, whatever the others do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod world;

use std::time::Duration;

use peerage_base::Rng;
use peerage_content::Cid;
use peerage_exchange::{Holding, Order, Version};
use world::{Kind, SESSION, World, cid, peer};

const MIB: u64 = 1 << 20;

fn file(blocks: u64, len: u32) -> Vec<(Cid, u32)> {
    (0..blocks).map(|n| (cid(n), len)).collect()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn one_source_is_used_fully_and_never_twice() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let mut world = World::new(1);
        let blocks = file(64, 1 << 20);
        let source = world.node(Kind::Honest, 20 * MIB, blocks.clone());
        let getter = world.node(Kind::Honest, MIB, []);
        world.connect(source, getter, version);
        world.fetch(getter, Order::InOrder, &[source], &blocks);
        let took = world.run_until(getter, 64, seconds(60));
        assert!(took < Duration::from_millis(4000), "64 MiB at 20 MiB/s took {took:?}");
        assert_eq!(world.bytes_sent, 64 * MIB, "nothing is sent twice");
        let stats = world.nodes[getter].exchange.session_stats(SESSION).unwrap();
        assert_eq!((stats.wants, stats.asked, stats.blocks, stats.duplicates), (0, 0, 64, 0));
    }
}

#[test]
fn twenty_thousand_small_blocks() {
    let mut world = World::new(2);
    let blocks = file(20_000, 4096);
    let source = world.node(Kind::Honest, 100 * MIB, blocks.clone());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(source, getter, Version::V1_2);
    world.fetch(getter, Order::InOrder, &[source], &blocks);
    let took = world.run_until(getter, 20_000, seconds(60));
    assert!(took < seconds(5), "20,000 blocks took {took:?}");
    assert_eq!(world.bytes_sent, 20_000 * 4096);
}

#[test]
fn sources_share_by_rate() {
    let mut world = World::new(3);
    let blocks = file(128, 1 << 20);
    let getter = world.node(Kind::Honest, MIB, []);
    let rates = [20, 10, 2];
    let sources = rates.map(|rate| world.node(Kind::Honest, rate * MIB, blocks.clone()));
    for source in sources {
        world.connect(source, getter, Version::V1_2);
    }
    world.fetch(getter, Order::RarestFirst, &sources, &blocks);
    let took = world.run_until(getter, 128, seconds(60));
    assert!(took < seconds(7), "128 MiB at 32 MiB/s took {took:?}");
    let stats = world.nodes[getter].exchange.session_stats(SESSION).unwrap();
    assert!(stats.duplicates <= 4, "{} duplicates", stats.duplicates);
    let given = sources.map(|s| world.nodes[getter].exchange.peer_stats(&peer(s)).received_blocks);
    assert!(given[0] > given[1] && given[1] > given[2], "{given:?}");
}

#[test]
fn parts_come_together_and_the_missing_is_told() {
    let mut world = World::new(4);
    let blocks = file(300, 64 << 10);
    let getter = world.node(Kind::Honest, MIB, []);
    // Each holds a third; nobody holds the last block.
    let sources: Vec<usize> = (0..3)
        .map(|part| {
            let held = blocks[..299].iter().enumerate().filter(|(n, _)| n % 3 == part).map(|(_, b)| *b);
            world.node(Kind::Honest, 10 * MIB, held)
        })
        .collect();
    for &source in &sources {
        world.connect(source, getter, Version::V1_2);
    }
    world.fetch(getter, Order::RarestFirst, &sources, &blocks);
    world.run_until(getter, 299, seconds(30));
    let until = world.now + seconds(60);
    while world.now < until && world.step() {}
    assert_eq!(world.nodes[getter].stalls, 1, "told once");
    assert_eq!(world.nodes[getter].delivered.len(), 299);
    // A source that has it comes, and it is fetched at once.
    let late = world.node(Kind::Honest, MIB, [blocks[299]]);
    world.connect(late, getter, Version::V1_2);
    world.add_source(getter, late);
    world.run_until(getter, 300, seconds(2));
}

#[test]
fn a_source_that_comes_to_have_it_is_asked_again() {
    let mut world = World::new(5);
    let blocks = file(40, 64 << 10);
    let source = world.node(Kind::Honest, 10 * MIB, blocks[..20].to_vec());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(source, getter, Version::V1_2);
    world.fetch(getter, Order::InOrder, &[source], &blocks);
    world.run_until(getter, 20, seconds(10));
    world.nodes[source].held.extend(blocks);
    world.run_until(getter, 40, seconds(70));
}

#[test]
fn silence_costs_time_and_nothing_else() {
    for version in [Version::V1_1, Version::V1_2] {
        let mut world = World::new(6);
        let blocks = file(32, 256 << 10);
        let silent = world.node(Kind::Silent, MIB, blocks.clone());
        let honest = world.node(Kind::Honest, 10 * MIB, blocks.clone());
        let getter = world.node(Kind::Honest, MIB, []);
        world.connect(silent, getter, version);
        world.connect(honest, getter, version);
        world.fetch(getter, Order::InOrder, &[silent, honest], &blocks);
        let took = world.run_until(getter, 32, seconds(60));
        assert!(took < seconds(20), "took {took:?}");
    }
}

/// A getter of 12 blocks that has eight sources of this kind beside an honest one of
/// 1 MiB/s, which sends nothing for a while when so many blocks have come: how long the
/// rest takes from then on.
fn rest_beside(kind: Kind, holding: Holding, came: usize, pause: Duration) -> Duration {
    let mut world = World::new(11);
    let blocks = file(12, 1 << 20);
    let honest = world.node(Kind::Honest, MIB, blocks.clone());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(honest, getter, Version::V1_2);
    world.fetch(getter, Order::RarestFirst, &[honest], &blocks);
    for _ in 0..8 {
        let other = world.node(kind, MIB, blocks.clone());
        world.connect(other, getter, Version::V1_2);
        world.add_holder(getter, other, holding);
    }
    world.run_until(getter, came, seconds(60));
    world.hold_up(honest, pause);
    world.run_until(getter, blocks.len(), seconds(1_000))
}

#[test]
fn one_that_is_late_is_not_given_up_for_those_that_are_silent() {
    for holding in [Holding::Unknown, Holding::Part] {
        let took = rest_beside(Kind::Silent, holding, 8, seconds(30));
        assert!(took < seconds(30 + 4 + 10), "{holding:?}: {took:?}");
    }
}

#[test]
fn what_is_promised_and_not_sent_comes_from_others() {
    for holding in [Holding::Unknown, Holding::Part] {
        let took = rest_beside(Kind::Promising, holding, 0, seconds(0));
        assert!(took < seconds(12 + 20), "{holding:?}: {took:?}");
        // The last block is not kept by those who have nothing but promised it.
        let took = rest_beside(Kind::Promising, holding, 11, seconds(5));
        assert!(took < seconds(5 + 1 + 5), "{holding:?}: {took:?}");
    }
}

#[test]
fn liars_are_banned_and_the_fetch_completes() {
    let mut world = World::new(7);
    let blocks = file(200, 256 << 10);
    let liar = world.node(Kind::Corrupt(10), 20 * MIB, blocks.clone());
    let honest = world.node(Kind::Honest, 10 * MIB, blocks.clone());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(liar, getter, Version::V1_2);
    world.connect(honest, getter, Version::V1_2);
    world.fetch(getter, Order::InOrder, &[liar, honest], &blocks);
    world.run_until(getter, 200, seconds(120));
    assert!(world.nodes[getter].banned.contains(&peer(liar)));
    assert!(!world.nodes[getter].banned.contains(&peer(honest)));
}

#[test]
fn a_liar_alone_is_banned_and_the_session_stalls() {
    let mut world = World::new(8);
    let blocks = file(100, 256 << 10);
    let liar = world.node(Kind::Corrupt(10), 20 * MIB, blocks.clone());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(liar, getter, Version::V1_2);
    world.fetch(getter, Order::InOrder, &[liar], &blocks);
    let until = world.now + seconds(120);
    while world.now < until && world.step() {}
    let node = &mut world.nodes[getter];
    assert!(node.banned.contains(&peer(liar)));
    assert_eq!(node.stalls, 1);
    assert!(node.delivered.len() < 100);
}

#[test]
fn disconnects_lose_nothing() {
    let mut world = World::new(9);
    let blocks = file(100, 256 << 10);
    let a = world.node(Kind::Honest, 5 * MIB, blocks.clone());
    let b = world.node(Kind::Honest, 5 * MIB, blocks.clone());
    let getter = world.node(Kind::Honest, MIB, []);
    world.connect(a, getter, Version::V1_2);
    world.connect(b, getter, Version::V1_2);
    world.fetch(getter, Order::InOrder, &[a, b], &blocks);
    for round in 0..6 {
        let gone = if round % 2 == 0 { a } else { b };
        world.run_until(getter, 10 * (round + 1), seconds(60));
        world.disconnect(gone, getter);
        world.run_until(getter, 10 * (round + 1) + 5, seconds(60));
        world.connect(gone, getter, Version::V1_2);
        world.add_source(getter, gone);
    }
    world.run_until(getter, 100, seconds(60));
}

#[test]
fn getters_serve_each_other_while_they_fetch() {
    let mut world = World::new(10);
    let blocks = file(64, 256 << 10);
    let source = world.node(Kind::Honest, 2 * MIB, blocks.clone());
    let getters: Vec<usize> = (0..4).map(|_| world.node(Kind::Honest, 20 * MIB, [])).collect();
    for (i, &a) in getters.iter().enumerate() {
        world.nodes[a].reshares = true;
        world.connect(source, a, Version::V1_2);
        for &b in &getters[..i] {
            world.connect(b, a, Version::V1_2);
        }
    }
    for &a in &getters {
        let mut sources: Vec<usize> = getters.iter().copied().filter(|b| *b != a).collect();
        sources.push(source);
        world.fetch(a, Order::RarestFirst, &sources, &blocks);
    }
    for &a in &getters {
        world.run_until(a, 64, seconds(120));
    }
    let from_source: u64 =
        getters.iter().map(|g| world.nodes[source].exchange.peer_stats(&peer(*g)).sent_blocks).sum();
    assert!(from_source < 64 * 3, "the source sent {from_source} blocks for four getters");
}

/// A world drawn from a seed: parts, rates, liars, silence, disconnects.
fn random_world(seed: u64) -> (u64, Duration) {
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let lens = [900, 5_000, 70_000, 262_144, 1 << 20];
    let blocks: Vec<(Cid, u32)> =
        (0..40 + rng.below(120)).map(|n| (cid(n), *rng.pick(&lens).unwrap())).collect();
    let getter = world.node(Kind::Honest, MIB, []);
    let mut sources = Vec::new();
    for n in 0..2 + rng.below(5) {
        let kind = match rng.below(6) {
            _ if n == 0 => Kind::Honest,
            0 => Kind::Silent,
            1 => Kind::Corrupt(2 + rng.below(8)),
            _ => Kind::Honest,
        };
        let share = if n == 0 { 100 } else { rng.below(101) };
        let held: Vec<_> = blocks.iter().copied().filter(|_| rng.below(100) < share).collect();
        let node = world.node(kind, (1 + rng.below(20)) * MIB, held);
        let version = *rng.pick(&[Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_2]).unwrap();
        world.connect(node, getter, version);
        sources.push((node, version));
    }
    let order = *rng.pick(&[Order::InOrder, Order::RarestFirst]).unwrap();
    let nodes: Vec<usize> = sources.iter().map(|(node, _)| *node).collect();
    world.fetch(getter, order, &nodes, &blocks);
    let mut steps = 0u64;
    while world.nodes[getter].delivered.len() < blocks.len() {
        assert!(world.step(), "seed {seed}: all is quiet");
        assert!(world.now < peerage_base::Instant::START + seconds(600), "seed {seed}: too late");
        steps += 1;
        if steps.is_multiple_of(97) && rng.below(4) == 0 {
            let (node, version) = *rng.pick(&sources).unwrap();
            if !world.nodes[getter].banned.contains(&peer(node)) {
                world.disconnect(node, getter);
                world.connect(node, getter, version);
                world.add_source(getter, node);
            }
        }
    }
    (world.trace, world.now - peerage_base::Instant::START)
}

#[test]
fn every_block_comes_once_in_any_world() {
    for seed in 0..60 {
        random_world(seed);
    }
}

#[test]
fn a_seed_replays() {
    assert_eq!(random_world(17), random_world(17));
    assert_ne!(random_world(17).0, random_world(18).0);
}
