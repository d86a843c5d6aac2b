//! Some hundreds of histories; `cargo xtask torture doubles` plays thousands.

use peerage_torture::history::{Outcome, UserFiles, play};

/// Seeds of each test. 150: some seconds of a slow machine.
const SEEDS: u64 = 150;

#[test]
fn nothing_that_was_promised_is_lost() {
    let files = UserFiles::new().expect("a temporary folder");
    let mut sum = Outcome::default();
    for seed in 0..SEEDS {
        match play(seed, &files) {
            Ok(outcome) => sum = sum.plus(outcome),
            Err(error) => panic!("{error:#}"),
        }
    }
    // What is played is what is meant to be played.
    assert!(sum.kills > SEEDS / 2 && sum.cuts > SEEDS / 2 && sum.compared > 100 * SEEDS, "{sum:?}");
    assert!(sum.failures > SEEDS && sum.failures * 4 < sum.operations, "{sum:?}");
}
