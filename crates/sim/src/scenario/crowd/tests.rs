//! Small plays, to the same promises as large ones.

use super::stage::Size;
use super::{PLAYS, churn, flash, leaving, lines, sources};
use crate::figures::Figures;

/// As many getters as the issue of a real swarm has, and a file that takes CI seconds.
const SMALL: Size = Size { getters: 16, leaves: 48 };

fn kept(figures: &Figures) {
    assert!(figures.failures.is_empty(), "{:?}", figures.failures);
    assert!(figures.events > 1_000, "{} events", figures.events);
}

#[test]
fn a_flash_crowd() {
    kept(&flash::play(SMALL, 1));
}

#[test]
fn the_seeder_leaves() {
    kept(&leaving::play(SMALL, 1));
}

#[test]
fn slow_sources() {
    kept(&sources::slow(SMALL, 1));
}

#[test]
fn lying_sources() {
    kept(&sources::lying(SMALL, 1));
}

#[test]
fn asymmetric_lines() {
    kept(&lines::play(SMALL, 1));
}

#[test]
fn getters_that_come_and_go() {
    kept(&churn::play(SMALL, 1));
}

#[test]
fn the_first_play_is_played_unless_another_is_named() {
    let size = Size { getters: 8, leaves: 8 };
    assert_eq!(PLAYS[0].name, "flash");
    assert_eq!((PLAYS[0].play)(8, 3).trace, super::play(8, 3).trace);
    assert_ne!(flash::play(size, 3).trace, flash::play(size, 4).trace);
}
