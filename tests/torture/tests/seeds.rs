//! Some hundreds of histories and some tens of kills; `cargo xtask torture` plays thousands.

use std::path::Path;
use std::process::Command;

use peerage_torture::history::{Outcome, play};
use peerage_torture::kills;
use peerage_torture::operations::write_user_files;

/// Histories. 150: some seconds of a slow machine.
const SEEDS: u64 = 150;
/// Kills of a real store. 40: the same.
const ROUNDS: u64 = 40;

#[test]
fn nothing_that_was_promised_is_lost_whatever_a_disk_does() {
    let files = tempfile::tempdir().expect("a temporary folder");
    write_user_files(files.path()).expect("some files");
    let mut sum = Outcome::default();
    for seed in 0..SEEDS {
        match play(seed, files.path()) {
            Ok(outcome) => sum = sum.plus(outcome),
            Err(error) => panic!("{error:#}"),
        }
    }
    // What is played is what is meant to be played.
    assert!(sum.kills > SEEDS / 2 && sum.cuts > SEEDS / 2 && sum.compared > 100 * SEEDS, "{sum:?}");
    assert!(sum.failures > SEEDS && sum.failures * 4 < sum.operations, "{sum:?}");
}

#[test]
fn nothing_that_was_promised_is_lost_by_a_kill() {
    let program = |dir: &Path, user_files: &Path, seed: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerage-torture"));
        command.arg("live").arg(dir).arg(user_files).arg(seed.to_string());
        command
    };
    match kills::play(ROUNDS, 1, &program, &mut |_| {}) {
        Ok(report) => assert!(report.lines > 100 * ROUNDS && report.compared > 100 * ROUNDS, "{report:?}"),
        Err(error) => panic!("{error:#}"),
    }
}
