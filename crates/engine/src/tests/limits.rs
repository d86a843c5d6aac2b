//! What a stranger's DAG can cost, and that credit is a bound and never a dead end.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use peerage_base::{Now, UnixTime};
use peerage_content::{Chunker, Profile};
use peerage_exchange::SessionId;

use super::dag::{Blocks, Dag, Tree, build, small};
use super::world::{World, hints};
use crate::*;

fn fetch(dag: &Dag, config: Config, seconds: u64) -> (World, Result<JobProgress, JobError>) {
    let mut world = World::with(1, 2, config);
    world.share(0, dag);
    world.fetch(1, 1, dag.root, hints([0]));
    let outcome = world.run(1, 1, seconds).clone();
    (world, outcome)
}

/// Runs a fetch and says how many items were known at most.
fn widest(dag: &Dag, config: Config) -> (usize, World, Result<JobProgress, JobError>) {
    let mut world = World::with(1, 2, config);
    world.share(0, dag);
    world.fetch(1, 1, dag.root, hints([0]));
    let mut most = 0;
    while world.outcome(1, 1).is_none() && world.seconds() < 3_000 {
        world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        most = most.max(world.peers[1].engine.weights().iter().map(|w| w.0 + w.2).max().unwrap_or(0));
    }
    let outcome = world.outcome(1, 1).expect("it ends").clone();
    (most, world, outcome)
}

#[test]
fn less_credit_than_a_block_is_slow_but_no_dead_end() {
    let tree = Tree::dir([("a", Tree::File((0..200).collect())), ("b", Tree::File(vec![1; 300]))]);
    let dag = build(&tree, &small());
    let (world, outcome) = fetch(&dag, Config { fetch_credit: 10, ..Config::default() }, 300);
    outcome.unwrap();
    assert_eq!(world.export(1, 1).flat(), tree.flat());
}

#[test]
fn a_full_frontier_goes_on_one_node_at_a_time() {
    let file = |n: u8| {
        (format!("{n}"), Tree::File((0..=255).map(|b: u8| b.wrapping_mul(n)).cycle().take(900).collect()))
    };
    let tree = Tree::dir([("x", Tree::dir((0..20).map(file))), ("y", Tree::dir((20..40).map(file)))]);
    let dag = build(&tree, &Profile { max_links: 4, ..small() });
    for frontier_items in [1, 2, 5, 30] {
        let (most, world, outcome) = widest(&dag, Config { frontier_items, ..Config::default() });
        outcome.unwrap();
        assert_eq!(world.export(1, 1).flat(), tree.flat());
        assert!(most < frontier_items + 90, "{most} with {frontier_items}");
        assert!(world.peers[1].came.values().all(|times| *times == 1));
    }
}

#[test]
fn few_blocks_with_many_paths_cost_no_memory() {
    // 32,768 times the same leaf under five nodes of eight links: a sparse file.
    let profile = Profile { chunker: Chunker::Size(1), max_links: 8, ..small() };
    let tree = Tree::File(vec![0; 8 * 8 * 8 * 8 * 8]);
    let dag = build(&tree, &profile);
    assert_eq!(dag.blocks.len(), 6);
    let (most, world, outcome) =
        widest(&dag, Config { frontier_items: 64, live_items: 128, ..Config::default() });
    assert_eq!(outcome.unwrap().fetch.bytes, tree.bytes());
    assert_eq!(world.export(1, 1).flat(), tree.flat());
    assert!(most < 200, "{most}");
}

/// `levels` nodes, each of which names the one below it twice.
fn doubled(mut dag: Dag, levels: usize) -> Dag {
    for _ in 0..levels {
        dag = Dag::folder([("a".to_owned(), &dag), ("b".to_owned(), &dag)]);
    }
    dag
}

#[test]
fn few_blocks_with_endless_paths_fail() {
    let config = Config { items_max: 3_000, entries_max: 1_000, noted_max: 20_000, ..Config::default() };
    let file = build(&Tree::File(vec![1]), &small());
    let link = build(&Tree::Link("x".repeat(4_000)), &small());
    // 2^20 files of one byte each, as pieces of one file.
    let bytes =
        build(&Tree::File(vec![0; 1 << 20]), &Profile { chunker: Chunker::Size(1), max_links: 2, ..small() });
    let many = "than one download may have";
    for (dag, why) in [
        (doubled(Dag::folder([]), 40), many),
        (doubled(file.clone(), 40), many),
        (doubled(link.clone(), 4), many),
        (bytes, many),
        (empty_pieces(2, 40), "more than one piece without bytes"),
    ] {
        let (_, outcome) = fetch(&dag, config.clone(), 600);
        let Err(error @ JobError::Malformed { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains(why), "{error}");
    }
    // What others write for an empty file.
    for levels in [1, 3] {
        assert_eq!(fetch(&empty_pieces(1, levels), config.clone(), 60).1.unwrap().fetch.files, 1);
    }
    for fits in [doubled(file, 5), doubled(link, 1)] {
        fetch(&fits, config.clone(), 60).1.unwrap();
    }
}

#[test]
fn claims_of_no_size_do_not_fill_the_memory_with_what_is_here() {
    // 1,000 files in a folder that says of each that it is nothing.
    let files: Vec<Dag> =
        (0..1_000_u32).map(|n| build(&Tree::File(n.to_be_bytes().repeat(4)), &small())).collect();
    let nothing = |(n, dag): (usize, &Dag)| (n.to_string(), Dag { tsize: 0, ..dag.clone() });
    let entries: Vec<(String, Dag)> = files.iter().enumerate().map(nothing).collect();
    let dag = Dag::folder(entries.iter().map(|(name, dag)| (name.clone(), dag)));
    let mut world = World::new(1, 2);
    world.share(0, &dag);
    world.peers[1].store.extend(dag.blocks.clone());
    world.peers[1].disk = std::time::Duration::from_secs(1);
    world.fetch(1, 1, dag.root, hints([0]));
    let (mut looking, mut live) = (0, 0);
    while world.outcome(1, 1).is_none() {
        world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        looking = looking.max(world.looking(1));
        live = live.max(world.peers[1].engine.weights()[..].first().map_or(0, |weight| weight.1));
    }
    world.outcome(1, 1).unwrap().clone().unwrap();
    assert_eq!(looking, Config::default().local_items);

    // Of others, no more is asked than would fit if each were 64 KiB.
    let mut world = World::new(1, 2);
    world.share(0, &dag);
    world.fetch(1, 1, dag.root, hints([0]));
    let mut most = 0;
    while world.outcome(1, 1).is_none() {
        world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        if world.peers[1].came.len() == 1 {
            let stats = world.peers[1].engine.exchange().session_stats(SessionId(1));
            most = most.max(stats.map_or(0, |stats| stats.asked as u64));
        }
    }
    assert!((2..=Config::default().fetch_credit >> 16).contains(&most), "{most}");
}

/// An empty file of several levels, whose nodes have so many pieces each.
fn empty_pieces(pieces: usize, levels: usize) -> Dag {
    let mut dag = build(&Tree::File(Vec::new()), &small());
    for _ in 0..levels {
        let sizes: Vec<u8> = [0x20, 0].repeat(pieces);
        let unixfs = [&[0x08, 2, 0x18, 0][..], &sizes].concat();
        let cid = dag.root.to_bytes();
        let link = [&[0x0a, u8::try_from(cid.len()).unwrap()], &cid[..], &[0x12, 0, 0x18, 0]].concat();
        let link = [&[0x12, u8::try_from(link.len()).unwrap()], &link[..]].concat();
        let block =
            [&link.repeat(pieces)[..], &[0x0a, u8::try_from(unixfs.len()).unwrap()], &unixfs].concat();
        let hash = peerage_content::hash::digest(0x12, &block).unwrap();
        dag.blocks.insert(hash, block.into());
        dag.root = peerage_content::Cid::new_v1(0x70, hash);
    }
    dag
}

#[test]
fn folders_that_are_done_are_forgotten() {
    let mut dag = build(&Tree::dir([("f", Tree::File(vec![1]))]), &small());
    for _ in 0..4 {
        dag = Dag::folder((0..6).map(|n| (n.to_string(), &dag)));
    }
    let (most, world, outcome) = widest(&dag, Config { frontier_items: 50, ..Config::default() });
    outcome.unwrap();
    assert_eq!(
        world.export(1, 1).flat().len(),
        (0..=4).map(|n| 6_usize.pow(n)).sum::<usize>() + 6_usize.pow(4)
    );
    assert!(most < 400, "{most} of 2,851");
}

#[test]
fn a_dag_that_is_deep_and_wide_fails() {
    let mut dag = build(&Tree::File(vec![1]), &small());
    for level in 0..40 {
        let others: Vec<Dag> = (0..30).map(|n| build(&Tree::File(vec![level, n, 2]), &small())).collect();
        let folders: Vec<Dag> = others.iter().map(|other| Dag::folder([("f".to_owned(), other)])).collect();
        let first = std::iter::once(("0".to_owned(), &dag));
        dag = Dag::folder(first.chain(folders.iter().enumerate().map(|(n, other)| (format!("x{n}"), other))));
    }
    let config = Config { frontier_items: 20, frontier_max: 100, ..Config::default() };
    let (most, _, outcome) = widest(&dag, config);
    assert!(most <= 200, "{most}");
    // Depth first it is refused; had the width come first, it might have fitted.
    assert!(matches!(outcome, Ok(_) | Err(JobError::Malformed { .. })), "{outcome:?}");
}

#[test]
fn a_dag_that_is_too_deep_fails_with_its_place() {
    let mut dag = build(&Tree::File(vec![1]), &small());
    for _ in 0..30 {
        dag = Dag::folder([("d".to_owned(), &dag)]);
    }
    let (_, outcome) = fetch(&dag, Config { dag_depth: 20, ..Config::default() }, 60);
    let Err(JobError::TooDeep { path, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(path.len(), 21);
    fetch(&dag, Config::default(), 60).1.unwrap();
}

#[test]
fn names_that_are_no_names_fail_before_anything_is_written_there() {
    for name in ["tab\t", "bell\u{7}", "esc\u{1b}[2J", "...", "a\\b"] {
        let file = build(&Tree::File(vec![1]), &small());
        let dag = Dag::folder([(name.to_owned(), &file)]);
        let (world, outcome) = fetch(&dag, Config::default(), 60);
        if name == "..." || name == "a\\b" && !std::path::is_separator('\\') {
            outcome.unwrap();
            continue;
        }
        let Err(error @ JobError::Name { .. }) = outcome else { panic!("{outcome:?}") };
        // Escaped, once.
        let shown = format!("\"{}\": ", peerage_content::name::escape(name));
        assert!(error.to_string().contains(&shown), "{error}");
        assert!(world.export(1, 1).flat().values().all(|tree| matches!(tree, Tree::Dir(_))));
    }
}

#[test]
fn a_block_that_means_nothing_is_its_makers_fault() {
    let garbage = bytes::Bytes::from_static(b"\xff\xff\xff");
    let hash = peerage_content::hash::digest(0x12, &garbage).unwrap();
    let root = peerage_content::Cid::new_v1(0x70, hash);
    let mut world = World::new(1, 2);
    world.peers[0].store = Blocks::from([(hash, garbage)]);
    world.fetch(1, 1, root, hints([0]));
    assert!(matches!(world.run(1, 1, 60), Err(JobError::Malformed { .. })));
}

#[test]
fn twenty_thousand_files_take_steps_in_proportion() {
    let steps = |count: u32| {
        let files = (0..count).map(|n| (format!("file number {n}"), Tree::File(n.to_be_bytes().to_vec())));
        let profile = Profile { chunker: Chunker::Size(64), ..Profile::default() };
        let dag = build(&Tree::Dir(files.collect::<BTreeMap<_, _>>()), &profile);
        let mut world = World::new(1, 2);
        world.share(0, &dag);
        world.fetch(1, 1, dag.root, hints([0]));
        let mut steps = 0_u64;
        while world.outcome(1, 1).is_none() {
            world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
            steps += 1;
        }
        let progress = world.outcome(1, 1).unwrap().clone().unwrap();
        assert_eq!((progress.fetch.files, progress.fetch.bytes), (u64::from(count), 4 * u64::from(count)));
        assert!(world.peers[1].came.values().all(|times| *times == 1));
        steps
    };
    let (some, many) = (steps(2_000), steps(20_000));
    assert!(many < some * 12, "{some} for 2,000, {many} for 20,000");
}

/// What a getter has asked for at most, of 20 MB, at such a rate of its own.
fn asked_ahead_of(rate: u64) -> u64 {
    let bytes: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
    let dag = build(&Tree::File(bytes), &Profile { chunker: Chunker::Size(1 << 20), ..small() });
    let mut world = World::new(1, 2);
    world.share(0, &dag);
    let now = Now::new(world.now, UnixTime(0));
    world.peers[1].engine.limit_receiving(NonZeroU64::new(rate), None, now);
    world.fetch(1, 1, dag.root, hints([0]));
    let mut most = 0;
    while world.outcome(1, 1).is_none() && world.seconds() < 3_000 {
        world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        most = most.max(world.peers[1].engine.credit_used());
    }
    world.outcome(1, 1).expect("it ends").as_ref().unwrap();
    most
}

#[test]
fn little_is_asked_for_ahead_of_a_rate_of_ours() {
    let (slow, faster, free) = (asked_ahead_of(16_000), asked_ahead_of(3 << 20), asked_ahead_of(0));
    assert!(slow <= 5 << 20 && slow < faster, "{slow} bytes were asked for, or unwritten");
    assert!(faster <= 7 << 20 && faster < free, "{faster} bytes, and {free} without a rate");
}

/// How many files are open at most while 60 of them come from two peers, one of which
/// has a part: blocks then come in any order.
fn open_at_most(open_files: usize) -> usize {
    let file = |n: u8| (format!("{n}"), Tree::File((0..180).map(|byte| byte ^ n.wrapping_mul(71)).collect()));
    let dag = build(&Tree::dir((0..60).map(file)), &small());
    let mut world = World::with(1, 3, Config { open_files, ..Config::default() });
    world.share(0, &dag);
    world.share(2, &dag);
    let mut nth = 0;
    world.peers[2].store.retain(|_, block| {
        nth += 1;
        block.len() != 64 || nth % 2 == 0
    });
    world.fetch(1, 1, dag.root, hints([0, 2]));
    let mut most = 0;
    while world.outcome(1, 1).is_none() && world.seconds() < 3_000 {
        world.step(peerage_base::Instant::from_nanos(u64::MAX / 2));
        most = most.max(world.peers[1].engine.open_files());
    }
    world.outcome(1, 1).expect("it ends").as_ref().unwrap();
    assert_eq!(world.export(1, 1).flat().len(), 61);
    most
}

#[test]
fn few_files_are_open_in_whichever_order_blocks_come() {
    let (few, more) = (open_at_most(4), open_at_most(256));
    assert!((1..=4).contains(&few), "{few}");
    assert!(more > 10, "{more}");
}
