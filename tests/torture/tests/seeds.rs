//! Some hundreds of histories, some tens of kills of a store and some of the program;
//! `cargo xtask torture` plays thousands.

use std::path::Path;
use std::process::Command;

use peerage_tests::Place;
use peerage_torture::history::{Outcome, play};
use peerage_torture::operations::write_user_files;
use peerage_torture::{kills, program};

/// Histories. 150: some seconds of a slow machine.
const SEEDS: u64 = 150;
/// Kills of a real store. 40: the same.
const ROUNDS: u64 = 40;
/// Commands of the program, most of them killed. 24: the same.
const COMMANDS: u64 = 24;

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

#[test]
fn nothing_that_a_user_was_told_is_lost_by_a_kill_of_the_program() {
    let place = Place::new().expect("the program");
    match program::play(&place, COMMANDS, 1, &mut |_| {}) {
        Ok(report) => {
            // What is played is what is meant to be played.
            assert!(report.kills > COMMANDS / 4 && report.acknowledged > COMMANDS / 8, "{report:?}");
            assert!(report.whole > 0 && report.blocks > 0, "{report:?}");
        }
        Err(error) => panic!("{error:#}"),
    }
}
