//! Packs against cuts and flipped bytes, at every byte.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::active::Source;
use super::file::path_of;
use super::open::{Checkpoint, open};
use super::record::{Kind, Record};
use super::rewrite::Selection;
use super::set::PackSet;
use crate::config::Config;
use crate::disk;
use crate::key::RepoKey;
use crate::{Multihash, OpenReport};

const KEY: RepoKey = RepoKey([9; 16]);

fn block(n: u8) -> (Multihash, Vec<u8>) {
    let bytes = vec![n; 3 + usize::from(n) * 5];
    (peerage_content::hash::digest(0x12, &bytes).unwrap(), bytes)
}

fn open_at(dir: &Path, config: &Config) -> (PackSet, OpenReport) {
    let mut report = OpenReport::default();
    let (set, _) = open(dir, KEY, config, None, &mut report).unwrap();
    (set, report)
}

fn get(set: &PackSet, mh: &Multihash) -> Option<Vec<u8>> {
    set.find(KEY.of(mh)).unwrap().0.into_iter().find_map(|at| {
        let bytes = match at.source {
            Source::File(file) => {
                disk::read_up_to(&*file, u64::from(at.entry.offset), at.entry.read_len(mh)).unwrap()
            }
            Source::Memory(bytes) => bytes.to_vec(),
        };
        let record = Record::decode(&bytes)?;
        (record.mh == *mh).then(|| record.body.to_vec())
    })
}

fn put(set: &PackSet, n: u8) {
    let (mh, bytes) = block(n);
    set.put(Kind::Block, &mh, &bytes, u32::try_from(bytes.len()).unwrap()).unwrap();
}

fn small() -> Config {
    Config { pack_records: 6, write_buffer: 64, merge_fan: 3, ..Config::default() }
}

#[test]
fn a_cut_at_any_byte_keeps_every_whole_record() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &Config::default());
    (0..8).for_each(|n| put(&set, n));
    set.flush().unwrap();
    drop(set);
    let path = path_of(temp.path(), 1, "active");
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..8)
        .scan(40, |end, n| Some(std::mem::replace(end, *end + 48 + block(n).1.len()) + 48 + block(n).1.len()))
        .collect();
    assert_eq!(ends.last(), Some(&bytes.len()));
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (set, report) = open_at(temp.path(), &Config::default());
        for (n, end) in (0..8).zip(&ends) {
            let (mh, want) = block(n);
            assert_eq!(get(&set, &mh), (*end <= cut).then_some(want), "block {n}, cut at {cut}");
        }
        assert!(report.rebuilt_packs.is_empty() && report.damaged_bytes == 0);
        put(&set, 9);
        set.flush().unwrap();
        drop(set);
        let (set, report) = open_at(temp.path(), &Config::default());
        assert_eq!(get(&set, &block(9).0), Some(block(9).1), "after a cut at {cut}");
        assert_eq!(report.cut_bytes, 0);
    }
}

#[test]
fn a_flipped_byte_costs_at_most_its_own_record() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &small());
    (0..7).for_each(|n| put(&set, n));
    drop(set);
    let path = path_of(temp.path(), 1, "pack");
    let bytes = fs::read(&path).unwrap();
    let records_end = 40 + (0..6).map(|n| 48 + block(n).1.len()).sum::<usize>();
    // The padding before and inside the index page is long and all alike.
    let interesting = |at: &usize| *at < records_end + 8 || at.is_multiple_of(97) || *at + 700 > bytes.len();
    for at in (0..bytes.len()).filter(interesting) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x21;
        fs::write(&path, &bad).unwrap();
        let (set, _) = open_at(temp.path(), &small());
        let lost = (0..6).filter(|n| {
            let (mh, want) = block(*n);
            let got = get(&set, &mh);
            assert!(got.is_none() || got == Some(want), "wrong bytes with byte {at} flipped");
            got.is_none()
        });
        let lost = lost.count();
        let in_record = (40..records_end).contains(&at);
        assert!(lost <= usize::from(in_record), "{lost} blocks lost with byte {at} flipped");
        assert!(lost == 1 || !in_record, "a flip at {at} went unnoticed");
    }
}

#[test]
fn a_damaged_pack_is_rewritten_whole() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &small());
    (0..7).for_each(|n| put(&set, n));
    drop(set);
    let path = path_of(temp.path(), 1, "pack");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (set, report) = open_at(temp.path(), &small());
    assert_eq!(report.rebuilt_packs, std::slice::from_ref(&path));
    assert_eq!(report.scanned_records, 6 + 1);
    let pack = set.packs()[0].clone();
    assert!(pack.needs_rewrite());
    set.rewrite(&[pack], Selection::all()).unwrap();
    assert!(!path.exists());
    drop(set);
    let (set, report) = open_at(temp.path(), &small());
    assert!(report.rebuilt_packs.is_empty());
    assert!((0..6).all(|n| get(&set, &block(n).0).is_some()));
}

#[test]
fn merging_keeps_the_number_of_packs_small_and_every_block() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &small());
    for n in 0..100 {
        put(&set, n);
        let group = set.merge_candidates();
        if !group.is_empty() {
            set.rewrite(&group, Selection::all()).unwrap();
        }
    }
    assert!(set.packs().len() < 8, "{} packs", set.packs().len());
    set.flush().unwrap();
    let check = |set: &PackSet| {
        for n in 0..100 {
            assert_eq!(get(set, &block(n).0), Some(block(n).1), "block {n}");
        }
    };
    check(&set);
    drop(set);
    check(&open_at(temp.path(), &small()).0);
}

#[test]
fn a_rewrite_that_is_stopped_leaves_everything_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &small());
    (0..20).for_each(|n| put(&set, n));
    let group = set.packs().to_vec();
    assert!(group.len() > 1);
    // Somebody closes the store while records are copied.
    let stopping = |_: &Record<'_>| {
        set.stopped.store(true, Ordering::Relaxed);
        true
    };
    let selection = Selection { useful: &stopping, ..Selection::all() };
    assert_eq!(set.rewrite(&group, selection).unwrap_err().kind(), io::ErrorKind::Interrupted);
    set.stop_rewriting();
    assert!(set.rewrite(&group, Selection::all()).is_err(), "it is for good");
    let files = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(files.into_iter().all(|path| path.extension().is_some_and(|extension| extension != "tmp")));
    assert!((0..20).all(|n| get(&set, &block(n).0).is_some()));
}

#[test]
fn a_kill_between_the_rename_and_the_deletion_leaves_one_of_each() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &small());
    (0..19).for_each(|n| put(&set, n));
    set.flush().unwrap();
    let old: Vec<_> = set.packs().iter().map(|pack| path_of(temp.path(), pack.id, "pack")).collect();
    let saved: Vec<_> = old.iter().map(|path| fs::read(path).unwrap()).collect();
    let long = |record: &Record<'_>| record.body.len() > 20;
    set.rewrite(&set.packs(), Selection { useful: &long, ..Selection::all() }).unwrap();
    drop(set);
    old.iter().zip(saved).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    fs::write(temp.path().join("00000fff.tmp"), b"half").unwrap();
    let (set, report) = open_at(temp.path(), &small());
    // They go when the name of the new one is safe, and not before.
    assert!(old.iter().all(|path| path.exists()));
    set.remove_replaced().unwrap();
    assert!(!old.iter().any(|path| path.exists()) && !temp.path().join("00000fff.tmp").exists());
    assert_eq!(report, OpenReport { scanned_records: 1, ..OpenReport::default() });
    for n in 0..19 {
        assert_eq!(get(&set, &block(n).0).is_some(), n > 3, "block {n}");
    }
}

#[test]
fn a_checkpoint_spares_the_scan_and_a_wrong_one_does_no_harm() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &Config::default());
    (0..5).for_each(|n| put(&set, n));
    set.flush().and_then(|()| set.sync()).unwrap();
    let (pack, end, from, entries) = set.checkpoint(0, 0);
    assert_eq!((from, entries.len()), (0, 5));
    (5..8).for_each(|n| put(&set, n));
    set.flush().unwrap();
    drop(set);
    let good = Checkpoint { pack, end, entries };
    let long = Checkpoint { end: 1 << 20, ..good.clone() };
    let other = Checkpoint { pack: 77, ..good.clone() };
    for (checkpoint, scanned) in [(good, 3), (long, 8), (other, 8)] {
        let mut report = OpenReport::default();
        let (set, _) = open(temp.path(), KEY, &Config::default(), Some(checkpoint), &mut report).unwrap();
        assert_eq!(report.scanned_records, scanned);
        assert!((0..8).all(|n| get(&set, &block(n).0) == Some(block(n).1)));
    }
}

#[test]
fn a_block_that_looks_like_a_record_is_not_taken_for_one() {
    let temp = tempfile::tempdir().unwrap();
    let (set, _) = open_at(temp.path(), &Config::default());
    let (victim, _) = block(200);
    // A stranger's block that contains a whole record with wrong bytes for `victim`.
    let mut fake = super::record::encode_prefix(Kind::Block, &victim, b"wrong");
    fake.extend_from_slice(b"wrong");
    let mh = peerage_content::hash::digest(0x12, &fake).unwrap();
    set.put(Kind::Block, &mh, &fake, u32::try_from(fake.len()).unwrap()).unwrap();
    put(&set, 1);
    set.flush().unwrap();
    drop(set);
    let path = path_of(temp.path(), 1, "active");
    let mut bytes = fs::read(&path).unwrap();
    bytes[45] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (set, report) = open_at(temp.path(), &Config::default());
    assert!(report.damaged_bytes > 0);
    assert_eq!(get(&set, &victim), None);
    assert_eq!(get(&set, &mh), None);
    assert_eq!(get(&set, &block(1).0), Some(block(1).1));
}
