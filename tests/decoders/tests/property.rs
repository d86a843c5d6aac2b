//! Inputs that nobody made: arbitrary bytes, and kept inputs that were changed. Few
//! of each, as this runs on every change; `cargo xtask fuzz` makes as many as it is
//! given time for.

use std::fs;

use peerage_decoders::{Decoder, corpus, decoders};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Inputs of each kind for each decoder.
const CASES: u32 = 256;

fn each(check: impl Fn(&Decoder, &mut TestRunner)) {
    for decoder in decoders() {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        check(decoder, &mut TestRunner::new(config));
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    each(|decoder, runner| {
        let bytes = vec(any::<u8>(), 0..300);
        let ran = runner.run(&bytes, |bytes| {
            (decoder.run)(&bytes);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{}: {error}", decoder.name));
    });
}

/// One change of an input.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        prop_oneof![
            4 => (at(), 1u8..).prop_map(|(at, bits)| Self::Flip(at, bits)),
            1 => at().prop_map(Self::Cut),
            2 => (at(), 1usize..8).prop_map(|(at, len)| Self::Remove(at, len)),
            2 => (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => (at(), 1usize..40).prop_map(|(at, len)| Self::Repeat(at, len)),
        ]
    }

    fn make(&self, input: &mut Vec<u8>) {
        let len = input.len();
        let place = |at: &Index, len: usize| if len == 0 { 0 } else { at.index(len) };
        match self {
            Self::Flip(at, bits) if len > 0 => input[at.index(len)] ^= bits,
            Self::Flip(..) => {}
            Self::Cut(at) => input.truncate(place(at, len)),
            Self::Remove(at, count) => {
                let from = place(at, len);
                drop(input.drain(from..(from + count).min(len)));
            }
            Self::Insert(at, bytes) => {
                let from = place(at, len);
                drop(input.splice(from..from, bytes.iter().copied()));
            }
            Self::Repeat(at, count) => {
                let from = place(at, len);
                input.extend_from_within(from..(from + count).min(len));
            }
        }
    }
}

#[test]
fn kept_inputs_that_are_changed_never_panic() {
    each(|decoder, runner| {
        let files = fs::read_dir(corpus(decoder.name)).unwrap();
        let kept: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        let input = (any::<Index>(), vec(Change::any(), 0..6)).prop_map(move |(which, changes)| {
            let mut input = which.get(&kept).clone();
            changes.iter().for_each(|change| change.make(&mut input));
            input
        });
        let ran = runner.run(&input, |input| {
            (decoder.run)(&input);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{}: {error}", decoder.name));
    });
}

#[test]
fn seeds_are_decoded() {
    for decoder in decoders() {
        let meant = (decoder.seeds)().iter().filter(|seed| (decoder.run)(seed)).count();
        assert!(meant > 0, "no seed of {} means anything", decoder.name);
    }
}
