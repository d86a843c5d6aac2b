//! What is fetched is what was shared, whatever it is.

use std::time::Duration;

use peerage_base::Rng;
use peerage_content::{Chunker, Cid, Multihash, Prefix, Profile, codec};

use super::dag::{Dag, Tree, build, small, small_v0};
use super::world::{Fault, Input, World, hints, peer_id};
use crate::*;

fn noise(len: usize, seed: u64) -> Tree {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    Tree::File(bytes)
}

/// Peer 0 shares, peer 1 fetches; what it took.
fn moves(tree: &Tree, profile: &Profile) -> World {
    let dag = build(tree, profile);
    let mut world = World::new(1, 2);
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    let progress = world.run(1, 1, 60).clone().expect("it is all there");
    assert_eq!(world.export(1, 1).flat(), tree.flat());
    assert_eq!((progress.fetch.bytes, progress.fetch.total), (tree.bytes(), tree.bytes()));
    assert_eq!(progress.received.values().sum::<u64>(), dag.bytes(), "each block once");
    assert_eq!(world.peers[1].store, dag.blocks, "all blocks are kept, to be served on");
    assert!(world.peers[1].came.values().all(|times| *times == 1));
    world
}

#[test]
fn files_of_all_sizes_arrive() {
    for profile in [small(), small_v0()] {
        for len in [0, 1, 63, 64, 65, 192, 193, 64 * 9, 64 * 9 + 1, 5_000] {
            moves(&noise(len, 3), &profile);
        }
    }
}

#[test]
fn folders_arrive_with_all_that_is_in_them() {
    let many = (0..200).map(|n| (format!("file {n}"), noise(n, n as u64)));
    let tree = Tree::dir([
        ("empty folder", Tree::dir::<&str>([])),
        ("empty file", Tree::File(Vec::new())),
        ("ünï", Tree::Link("../there".to_owned())),
        ("sharded", Tree::dir(many)),
        ("deep", Tree::dir([("er", Tree::dir([("still", noise(700, 1))]))])),
    ]);
    for profile in [small(), small_v0()] {
        moves(&tree, &profile);
    }
    moves(&Tree::dir::<&str>([]), &small());
    moves(&Tree::Link("a".to_owned()), &small());
}

#[test]
fn a_block_is_wanted_once_however_many_places_need_it() {
    // 64 leaves of zeros under 1,024 places, and the same file twenty times.
    let profile = Profile { chunker: Chunker::Size(64), max_links: 1024, ..small() };
    let zeros = Tree::File(vec![0; 64 * 1024]);
    let world = moves(&zeros, &profile);
    assert_eq!(world.peers[0].sent_blocks, 2);
    let tree = Tree::dir((0..20).map(|n| (format!("{n}"), noise(1_000, 9))));
    moves(&tree, &small());
}

#[test]
fn a_block_that_is_just_being_written_is_not_asked_for_again() {
    let profile = Profile { chunker: Chunker::Size(64), max_links: 2, ..small() };
    let zeros = Tree::File(vec![0; 64 * 64]);
    let dag = build(&zeros, &profile);
    let config = Config { live_items: 3, ..Config::default() };
    let mut world = World::with(5, 2, config);
    world.peers[1].disk = Duration::from_millis(400);
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    world.run(1, 1, 300).clone().unwrap();
    assert_eq!(world.export(1, 1).flat(), zeros.flat());
    assert!(world.peers[1].came.values().all(|times| *times == 1), "{:?}", world.peers[1].came.values());
}

#[test]
fn what_lies_here_already_needs_nobody() {
    let tree = Tree::dir([("a", noise(3_000, 1)), ("b", noise(40, 2))]);
    let dag = build(&tree, &small());
    let mut world = World::new(2, 2);
    world.peers[1].store = dag.blocks.clone();
    world.fetch(1, 1, dag.root, Sources::default());
    world.run(1, 1, 10).clone().unwrap();
    assert_eq!(world.export(1, 1).flat(), tree.flat());
    assert!(world.export(1, 1).kept > 0, "inner nodes become part of what this root serves");
}

#[test]
fn a_fetch_goes_on_from_what_an_earlier_one_left() {
    let tree = noise(20_000, 4);
    let dag = build(&tree, &small());
    let mut world = World::new(3, 2);
    world.peers[0].pace = 50_000;
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    world.run_for(1);
    let before = world.peers[1].store.len();
    assert!(before > 20 && before < dag.blocks.len(), "{before}");
    let now = world.clock();
    world.peers[1].engine.cancel(JobId(1), now);
    world.perform_all(1);
    world.fetch(1, 2, dag.root, hints([0]));
    let progress = world.run(1, 2, 60).clone().unwrap();
    assert_eq!(world.export(1, 2).flat(), tree.flat());
    assert!(progress.received.values().sum::<u64>() < dag.bytes());
}

#[test]
fn two_jobs_with_one_root_get_it_once_over_the_wire() {
    let tree = noise(10_000, 4);
    let dag = build(&tree, &small());
    let mut world = World::new(3, 2);
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    world.fetch(1, 2, dag.root, hints([0]));
    for job in [1, 2] {
        world.run(1, job, 60).clone().unwrap();
        assert_eq!(world.export(1, job).flat(), tree.flat());
    }
    assert!(world.peers[1].came.values().all(|times| *times == 1));
}

#[test]
fn cancelling_at_any_time_leaves_nothing_behind() {
    let tree = Tree::dir([("a", noise(9_000, 1)), ("b", Tree::dir([("c", noise(900, 2))]))]);
    let dag = build(&tree, &small());
    for steps in (0..400).step_by(13) {
        let mut world = World::new(3, 2);
        world.share(0, &dag);
        world.fetch(1, 1, dag.root, hints([0]));
        for _ in 0..steps {
            world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        }
        let now = world.clock();
        world.peers[1].engine.cancel(JobId(1), now);
        world.perform_all(1);
        world.peers[1].exports.clear();
        assert_eq!(world.peers[1].engine.credit_used(), 0, "after {steps} steps");
        world.run_for(30);
        assert_eq!(world.peers[1].engine.progress(JobId(1)), None);
        // And it can begin anew.
        world.fetch(1, 2, dag.root, hints([0]));
        world.run(1, 2, 60).clone().unwrap();
    }
}

#[test]
fn many_sources_share_the_work_and_serve_while_they_fetch() {
    let tree = noise(64 * 600, 6);
    let dag = build(&tree, &small());
    // Few wants at a time, or all would be asked of the sharer at once.
    let config = Config { live_items: 16, ..Config::default() };
    let mut world = World::with(8, 5, config);
    for n in 0..5 {
        world.peers[n].pace = 300_000;
    }
    world.share(0, &dag);
    for n in 1..5 {
        world.fetch(n, 1, dag.root, hints([0]));
    }
    for n in 1..5 {
        world.run(n, 1, 300).clone().unwrap();
        assert_eq!(world.export(n, 1).flat(), tree.flat());
    }
    let from_others: u64 = world.peers[1..].iter().map(|peer| peer.sent_bytes).sum();
    assert!(from_others > dag.bytes() / 2, "getters gave each other {from_others} of {}", dag.bytes());
}

#[test]
fn the_right_bytes_under_another_codec_are_read_as_what_was_asked_for() {
    // Bitswap 1.0 says no codec, so all of its blocks come as dag-pb.
    let tree = noise(3_000, 7);
    let dag = build(&tree, &small_v0());
    let mut world = World::new(1, 3);
    world.share(0, &dag);
    world.peers[0].fault = Fault::CallsAllRaw;
    world.fetch(1, 1, dag.root, hints([0]));
    // A folder's block taken for raw bytes would be a file of garbage.
    assert!(matches!(world.run(1, 1, 60), Err(JobError::Unverified(_))));
    assert_eq!(world.export(1, 1).flat().len(), 0);
    world.share(2, &dag);
    world.fetch(1, 2, dag.root, hints([0, 2]));
    world.run(1, 2, 60).clone().unwrap();
    assert_eq!(world.export(1, 2).flat(), tree.flat());
}

#[test]
fn one_block_may_be_a_folder_here_and_raw_bytes_there() {
    let inner = build(&Tree::dir([("x", noise(10, 1))]), &small());
    let raw = Dag { root: Cid::new_v1(codec::RAW, *inner.root.hash()), ..inner.clone() };
    let both = Dag::folder([("as bytes".to_owned(), &raw), ("as folder".to_owned(), &inner)]);
    for seed in 0..5 {
        let mut world = World::new(seed, 2);
        world.share(0, &both);
        world.fetch(1, 1, both.root, hints([0]));
        world.run(1, 1, 60).clone().unwrap();
        let flat = world.export(1, 1).flat();
        let bytes = inner.blocks[inner.root.hash()].to_vec();
        assert_eq!(flat[&vec!["as bytes".to_owned()]], Tree::File(bytes));
        assert_eq!(flat[&vec!["as folder".to_owned(), "x".to_owned()]], noise(10, 1));
    }
}

#[test]
fn queries_bring_single_blocks_under_every_name_they_were_asked_by() {
    let inner = build(&Tree::dir([("x", noise(10, 1))]), &small());
    let raw = Cid::new_v1(codec::RAW, *inner.root.hash());
    let mut world = World::new(2, 2);
    world.share(0, &inner);
    let now = world.clock();
    world.peers[1].engine.start_query(JobId(1), inner.root, hints([0]), now);
    world.peers[1].engine.query(JobId(1), inner.root, now);
    world.peers[1].engine.query(JobId(1), raw, now);
    world.perform_all(1);
    world.run_for(5);
    let mut answers = world.peers[1].answers.clone();
    answers.sort_by_key(|(_, cid, _)| cid.codec());
    assert_eq!(answers, [(JobId(1), raw, true), (JobId(1), inner.root, true)]);
    // A query that waits for nothing does not end because its source does.
    world.cut(0, 1);
    world.peers[0].listens = false;
    world.run_for(200);
    assert_eq!(world.outcome(1, 1), None);
    let missing = Cid::new_v1(codec::RAW, Multihash::wrap(0x12, &[9; 32]).unwrap());
    let now = world.clock();
    world.peers[1].engine.query(JobId(1), missing, now);
    world.perform_all(1);
    assert!(matches!(world.run(1, 1, 100), Err(JobError::NotFound(_))));
}

#[test]
fn queries_bring_first_what_was_asked_for_first() {
    let leaves: Vec<Dag> = (0..40).map(|n| build(&noise(50, 100 + n), &small())).collect();
    let dag = Dag::folder(leaves.iter().enumerate().map(|(n, dag)| (n.to_string(), dag)));
    let asked: Vec<Cid> = leaves.iter().map(|dag| dag.root).collect();
    for seed in 0..5 {
        let mut world = World::new(seed, 2);
        world.share(0, &dag);
        let now = world.clock();
        world.peers[1].engine.start_query(JobId(1), dag.root, hints([0]), now);
        for cid in &asked {
            let now = world.clock();
            world.peers[1].engine.query(JobId(1), *cid, now);
            world.perform_all(1);
            // It is looked for here, and then wanted.
            while world.looking(1) > 0 {
                world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
            }
        }
        world.run_for(60);
        let came: Vec<Cid> = world.peers[1].answers.iter().map(|(_, cid, _)| *cid).collect();
        assert_eq!(came.len(), asked.len());
        // Lookups at the sharer end in any order, of a window at a time.
        let place = |cid| asked.iter().position(|asked| asked == cid).unwrap();
        let late = came.iter().enumerate().map(|(nth, cid)| place(cid).abs_diff(nth)).max();
        assert!(late < Some(8), "{late:?}");
    }
}

#[test]
fn blocks_asked_for_by_an_earlier_process_are_no_crime() {
    let blocks = |seed| (0..3_u64).map(move |n| noise(50, seed + n));
    let send = |world: &mut World, tree: &Tree| {
        let dag = build(tree, &small());
        let data = dag.blocks[dag.root.hash()].clone();
        world.send(0, 1, Duration::ZERO, Input::Block(0, Prefix::of(&dag.root), data));
    };
    let mut world = World::new(1, 2);
    world.connect(0, 1, None);
    world.run_for(2);
    blocks(1).for_each(|tree| send(&mut world, &tree));
    world.run_for(20);
    assert!(world.peers[1].banned.is_empty());
    // Long after that, they are.
    blocks(10).for_each(|tree| send(&mut world, &tree));
    world.run_for(1);
    assert!(world.peers[1].banned.contains(&peer_id(0)));

    // What a fetch will want is none at any time.
    let files: Vec<Tree> = blocks(1).chain(blocks(10)).chain(blocks(20)).collect();
    let tree = Tree::dir(files.iter().enumerate().map(|(n, file)| (n.to_string(), file.clone())));
    let dag = build(&tree, &Profile { shard_above: 1 << 20, ..small() });
    let mut world = World::with(1, 2, Config { live_items: 1, ..Config::default() });
    world.share(0, &dag);
    world.peers[0].pace = 100_000_000;
    world.connect(0, 1, None);
    world.run_for(20);
    world.fetch(1, 1, dag.root, hints([0]));
    while world.peers[1].came.is_empty() {
        world.run_for(1);
    }
    files[4..8].iter().for_each(|tree| send(&mut world, tree));
    world.run(1, 1, 600).clone().unwrap();
    assert!(world.peers[1].banned.is_empty());
}
