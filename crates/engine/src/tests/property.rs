//! Random trees, random peers, random faults: a fetch ends with the right
//! bytes, or with an error that is true.

use std::time::Duration;

use peerage_base::Rng;
use proptest::prelude::*;

use super::dag::{Tree, build, small, small_v0};
use super::world::{Fault, World, hints};
use crate::*;

fn check(seed: u64) {
    let mut rng = Rng::new(seed);
    let tree = Tree::random(&mut rng, 3);
    let profile = if rng.below(2) == 0 { small() } else { small_v0() };
    let dag = build(&tree, &profile);
    let config = Config {
        fetch_credit: 200 + rng.below(20_000),
        frontier_items: 1 + usize::try_from(rng.below(60)).unwrap(),
        live_items: 1 + usize::try_from(rng.below(60)).unwrap(),
        ..Config::default()
    };
    let peers = 3 + usize::try_from(rng.below(3)).unwrap();
    let mut world = World::with(rng.next_u64(), peers, config);
    // Peer 1 fetches; peer 0 is honest half the time, the others are as they come.
    let honest = rng.below(2) == 0;
    let mut whole = honest;
    for n in (0..peers).filter(|n| *n != 1) {
        let fault = match rng.below(6) {
            _ if n == 0 && honest => Fault::None,
            0 => Fault::Corrupt(1 + rng.below(12)),
            1 => Fault::Mute,
            2 => Fault::CallsAllRaw,
            3 => Fault::HangsUp(1 + rng.below(30)),
            _ => Fault::None,
        };
        world.peers[n].fault = fault;
        world.peers[n].pace = 10 + rng.below(100_000);
        world.peers[n].disk = Duration::from_micros(100 + rng.below(20_000));
        world.peers[n].listens = (n == 0 && honest) || rng.below(5) > 0;
        let part = if n == 0 && honest { 100 } else { rng.below(150) };
        whole |= fault == Fault::None && part >= 100 && world.peers[n].listens;
        for (hash, block) in &dag.blocks {
            if rng.below(100) < part {
                world.peers[n].store.insert(*hash, block.clone());
            }
        }
    }
    world.fetch(1, 1, dag.root, hints((0..peers).filter(|n| *n != 1)));
    if rng.below(3) == 0 {
        world.fetch(1, 2, dag.root, hints([0]));
    }
    for _ in 0..rng.below(6) {
        world.run_for(1);
        let other = usize::try_from(rng.below(peers as u64)).unwrap();
        world.cut(1, other);
    }
    match world.run(1, 1, 4_000).clone() {
        Ok(progress) => {
            assert_eq!(world.export(1, 1).flat(), tree.flat());
            assert_eq!((progress.fetch.bytes, progress.fetch.total), (tree.bytes(), tree.bytes()));
        }
        Err(error) => {
            assert!(!whole, "an honest peer has everything: {error}");
            assert!(matches!(error, JobError::NotFound(_) | JobError::Unverified(_)), "{error}");
        }
    }
    // Blocks that are kept are what they are said to be.
    assert!(world.peers[1].store.iter().all(|(hash, block)| dag.blocks.get(hash) == Some(block)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fetch_ends_with_the_right_bytes_or_a_true_error(seed: u64) {
        check(seed);
    }
}

#[test]
fn one_that_hangs_up_before_anything_has_come_is_not_redialled_forever() {
    check(7743803059152943068);
}
