//! Whom a job asks, and when it gives up.

use std::time::Duration;

use super::dag::{Dag, Tree, build, small};
use super::world::{Fault, World, hint, hints, peer_id};
use crate::*;

fn some_dag() -> Dag {
    build(&Tree::File((0..=255).cycle().take(8_000).collect()), &small())
}

/// Runs the fetch of peer 1 to its failure: why, and after how many seconds.
fn failure(world: &mut World, sources: Sources) -> (JobError, u64) {
    let dag = some_dag();
    world.fetch(1, 1, dag.root, sources);
    let error = world.run(1, 1, 900).clone().unwrap_err();
    (error, world.seconds())
}

#[test]
fn nobody_to_ask_is_known_at_once() {
    let (error, seconds) = failure(&mut World::new(1, 2), Sources::default());
    assert_eq!((error, seconds), (JobError::NotFound(NotFound::default()), 0));
}

#[test]
fn hints_that_all_fail_end_it_at_once_and_are_named() {
    let mut world = World::new(1, 2);
    // More than may be dialled at a time.
    let (error, seconds) = failure(&mut world, hints(20..40));
    let JobError::NotFound(found) = error else { panic!("{error}") };
    assert_eq!((found.unreachable.len(), found.partly, seconds), (20, false, 0));
    assert_eq!(world.peers[1].dials, 20, "each once");
}

#[test]
fn a_peer_that_does_not_have_it_ends_it_at_once() {
    let (error, seconds) = failure(&mut World::new(1, 2), hints([0]));
    let JobError::NotFound(found) = error else { panic!("{error}") };
    assert_eq!((found.without, seconds), (vec![(peer_id(0), "does not have it".to_owned())], 0));
}

#[test]
fn a_peer_without_bitswap_and_our_own_address_are_of_no_use() {
    let mut world = World::new(1, 2);
    world.peers[0].protocols = Protocols::default();
    let (error, _) = failure(&mut world, hints([0, 1]));
    let JobError::NotFound(found) = error else { panic!("{error}") };
    let why: Vec<&str> = found.without.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(why, ["does not say that it speaks Bitswap", "is this peer itself"]);
    assert_eq!(world.peers[1].dials, 1);
}

#[test]
fn with_wait_a_source_may_come_late() {
    let dag = some_dag();
    let mut world = World::new(1, 2);
    world.peers[0].listens = false;
    let wait = Some(Duration::from_secs(100));
    world.fetch(1, 1, dag.root, Sources { wait, ..hints([0]) });
    world.run_for(50);
    assert_eq!(world.outcome(1, 1), None);
    assert!(world.peers[1].dials < 15, "{} dials: no back-off", world.peers[1].dials);
    world.share(0, &dag);
    world.peers[0].listens = true;
    world.run(1, 1, 20).clone().unwrap();
    let (_, seconds) = failure(&mut World::new(1, 2), Sources { wait, ..hints([7]) });
    assert_eq!(seconds, 100);
}

#[test]
fn a_lost_source_is_searched_for_a_minute() {
    let dag = some_dag();
    let mut world = World::new(1, 2);
    world.peers[0].pace = 1_000_000;
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    world.run_for(2);
    world.peers[0].listens = false;
    world.cut(0, 1);
    let error = world.run(1, 1, 100).clone().unwrap_err();
    let JobError::NotFound(found) = error else { panic!("{error}") };
    assert_eq!((found.partly, world.seconds()), (true, 62));
    assert!(!found.unreachable.is_empty());
}

#[test]
fn a_source_that_comes_back_goes_on_where_it_was() {
    let dag = some_dag();
    let mut world = World::new(1, 2);
    world.peers[0].pace = 500_000;
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    for away in [1, 5, 30] {
        world.run_for(1);
        world.peers[0].listens = false;
        world.cut(0, 1);
        world.run_for(away);
        world.peers[0].listens = true;
        world.run_for(8);
    }
    world.run(1, 1, 60).clone().unwrap();
}

#[test]
fn a_source_that_hangs_up_all_the_time_still_gives_all() {
    let dag = some_dag();
    let mut world = World::new(1, 2);
    world.peers[0].fault = Fault::HangsUp(20);
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    world.run(1, 1, 200).clone().unwrap();
}

#[test]
fn a_peer_that_stays_silent_is_not_waited_for_forever() {
    let mut world = World::new(1, 2);
    world.peers[0].fault = Fault::Mute;
    let (error, seconds) = failure(&mut world, hints([0]));
    let JobError::NotFound(found) = error else { panic!("{error}") };
    assert_eq!(found.without, [(peer_id(0), "does not answer".to_owned())]);
    assert_eq!(seconds, 300);
}

#[test]
fn a_source_whose_message_arrives_slowly_is_not_silent() {
    let mut world = World::new(1, 2);
    world.peers[0].fault = Fault::Mute;
    let dag = some_dag();
    world.fetch(1, 1, dag.root, hints([0]));
    for _ in 0..400 {
        world.run_for(1);
        let now = world.clock();
        world.peers[1].engine.handle_progress(peer_id(0), now);
    }
    assert_eq!(world.outcome(1, 1), None);
    world.run(1, 1, 400).clone().unwrap_err();
    assert_eq!(world.seconds(), 1 + 346 + 300, "it may be one largest message, and no more");
}

#[test]
fn a_peer_that_only_lies_is_banned_and_named() {
    let mut world = World::new(1, 2);
    let dag = some_dag();
    world.share(0, &dag);
    world.peers[0].fault = Fault::Corrupt(1);
    let (error, seconds) = failure(&mut world, hints([0]));
    assert_eq!((error, seconds), (JobError::Unverified(vec![peer_id(0)]), 0));
    assert!(world.peers[1].banned.contains(&peer_id(0)));
    assert!(world.export(1, 1).flat().is_empty());
    // It comes back by itself: that changes nothing for a job that goes on.
    world.run_for(5);
    world.fetch(1, 2, dag.root, hints([0]));
    assert!(world.run(1, 2, 60).is_err());
}

#[test]
fn every_tenth_block_wrong_is_made_good_by_a_second_source() {
    let dag = some_dag();
    for seed in 0..4 {
        let mut world = World::new(seed, 3);
        world.share(0, &dag);
        world.share(2, &dag);
        world.peers[0].fault = Fault::Corrupt(10);
        world.peers[2].pace = 200_000;
        world.fetch(1, 1, dag.root, hints([0, 2]));
        world.run(1, 1, 120).clone().unwrap();
        let tree: Vec<u8> = (0..=255).cycle().take(8_000).collect();
        assert_eq!(world.export(1, 1).flat(), Tree::File(tree).flat());
    }
}

#[test]
fn holders_of_parts_make_a_whole_together() {
    let dag = some_dag();
    let mut world = World::new(4, 4);
    for (nth, (hash, block)) in dag.blocks.iter().enumerate() {
        for n in [0, 2, 3].into_iter().filter(|n| (nth + n) % 3 > 0) {
            world.peers[n].store.insert(*hash, block.clone());
        }
    }
    world.fetch(1, 1, dag.root, hints([0, 2, 3]));
    world.run(1, 1, 120).clone().unwrap();
}

#[test]
fn a_peer_that_comes_back_with_other_protocols_is_a_source_then() {
    let dag = some_dag();
    let mut world = World::new(1, 2);
    world.share(0, &dag);
    world.peers[0].protocols = Protocols::of([SWARM_PROTOCOL]);
    let wait = Some(Duration::from_secs(60));
    world.fetch(1, 1, dag.root, Sources { wait, ..hints([0]) });
    world.run_for(5);
    world.cut(0, 1);
    world.peers[0].protocols = Protocols::of(["/ipfs/bitswap/1.0.0"]);
    world.run_for(1);
    world.connect(0, 1, None);
    world.run(1, 1, 30).clone().unwrap();
}

#[test]
fn an_old_peer_without_presences_serves_too() {
    for version in ["/ipfs/bitswap/1.0.0", "/ipfs/bitswap/1.1.0"] {
        let dag = some_dag();
        let mut world = World::new(1, 2);
        world.share(0, &dag);
        world.peers[0].protocols = Protocols::of([version]);
        world.fetch(1, 1, dag.root, hints([0]));
        world.run(1, 1, 60).clone().unwrap();
    }
}

#[test]
fn one_who_waits_for_a_lost_source_does_not_stop_the_other() {
    let (lost, other) = (some_dag(), build(&Tree::File(vec![5; 4_000]), &small()));
    let config = Config { fetch_credit: 2_000, ..Config::default() };
    let mut world = World::with(1, 3, config);
    world.share(0, &lost);
    world.share(2, &other);
    world.peers[0].pace = 3_000_000;
    world.fetch(1, 1, lost.root, Sources { wait: Some(Duration::from_secs(800)), ..hints([0]) });
    world.run_for(3);
    world.peers[0].listens = false;
    world.cut(0, 1);
    world.fetch(1, 2, other.root, hints([2]));
    world.run(1, 2, 60).clone().unwrap();
    assert_eq!(world.outcome(1, 1), None);
}

#[test]
fn the_same_seed_replays_exactly() {
    let run = |seed| {
        let dag = some_dag();
        let mut world = World::new(seed, 4);
        world.share(0, &dag);
        world.share(2, &dag);
        world.peers[2].fault = Fault::Corrupt(7);
        world.fetch(1, 1, dag.root, hints([0, 2]));
        world.fetch(3, 1, dag.root, Sources { hints: vec![hint(0)], ..Sources::default() });
        world.run_for(30);
        world.trace
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
