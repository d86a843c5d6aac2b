//! The ledger beside a model that holds all files in memory, on journals of
//! any history: old formats, cuts, damage, reopening and rewriting in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use peerage_content::Cid;
use proptest::prelude::*;

use super::Ledger;
use crate::Multihash;
use crate::codec::put_varint;
use crate::config::MAX_ENDED_TREES;
use crate::disk;
use crate::facts::{Fact, FileId, Seen, TreeId};
use crate::files::Tuning;
use crate::key::RepoKey;
use crate::notice::OpenReport;
use crate::stat::Stat;

const KEY: RepoKey = RepoKey([5; 16]);
const TREES: u64 = 4;
const PATHS: usize = 4;
/// Ids of files in histories; some are in pages of their own.
const IDS: [u64; 12] = [5, 6, 7, 8, 9, 10, 170, 171, 400, 700, 1000, 1 << 40];

/// Little in memory, so that all is on disk soon.
fn tuning(paths: usize) -> Tuning {
    let all_alike = |_, _, _: &Path| 7;
    let usual = Tuning::default();
    Tuning { pages: 1 + paths % 2, paths, fan: 2, key_of: if paths > 2 { all_alike } else { usual.key_of } }
}

#[derive(Debug, Clone, Default)]
struct Model {
    trees: BTreeMap<TreeId, PathBuf>,
    files: BTreeMap<FileId, (TreeId, PathBuf, Option<Seen>)>,
    any_removed: bool,
}

impl Model {
    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::TreeAdded(id, base) => drop(self.trees.insert(id, base)),
            Fact::TreeRemoved(id) => {
                self.any_removed = true;
                self.trees.remove(&id);
                self.files.retain(|_, file| file.0 != id);
            }
            Fact::FileAdded(id, tree, path, seen) => drop(self.files.insert(id, (tree, path, seen))),
            Fact::FileSeen(id, seen) => {
                if let Some(file) = self.files.get_mut(&id) {
                    file.2 = Some(seen);
                }
            }
            Fact::FileRemoved(id) => {
                self.any_removed = true;
                self.files.remove(&id);
            }
            _ => {}
        }
    }

    fn of(facts: &[Fact]) -> Self {
        let mut model = Self::default();
        facts.iter().for_each(|fact| model.apply(fact.clone()));
        model
    }

    fn assert_is(&self, ledger: &mut Ledger) {
        assert_eq!(ledger.trees(), self.trees.clone().into_iter().collect::<Vec<_>>());
        assert_eq!((ledger.files(), ledger.any_removed()), (self.files.len(), self.any_removed));
        for id in IDS.map(FileId) {
            let file = self.files.get(&id);
            assert_eq!(ledger.has_file(id).unwrap(), file.is_some(), "{id:?}");
            assert_eq!(ledger.seen(id).unwrap(), file.and_then(|file| file.2), "{id:?}");
            let at = file.and_then(|(tree, path, _)| Some((self.trees.get(tree)?.clone(), path.clone())));
            assert_eq!(ledger.file(id).unwrap(), at, "{id:?}");
        }
        for tree in (0..TREES).map(TreeId) {
            let files: Vec<(FileId, PathBuf)> = self
                .files
                .iter()
                .filter(|(_, file)| file.0 == tree)
                .map(|(id, file)| (*id, file.1.clone()))
                .collect();
            assert_eq!(ledger.has_files_in(tree), !files.is_empty());
            assert_eq!(ledger.files_of(tree, FileId(0), usize::MAX).unwrap(), files);
            let some = files.iter().skip(1).take(2).cloned().collect::<Vec<_>>();
            if let Some((from, _)) = some.first() {
                assert_eq!(ledger.files_of(tree, *from, 2).unwrap(), some);
            }
            for path in (0..PATHS).map(path) {
                let youngest = files.iter().rfind(|file| file.1 == path).map(|file| file.0);
                assert_eq!(ledger.file_by_path(tree, &path).unwrap(), youngest, "{path:?} in {tree:?}");
            }
        }
    }
}

fn path(n: usize) -> PathBuf {
    // One has two spellings, one is long, one is empty: the base itself.
    [PathBuf::from("sub/file"), "sub//file".into(), "x".repeat(3000).into(), PathBuf::new()][n].clone()
}

fn seen(n: u64) -> Seen {
    let stat = Stat { device: 1, inode: n, size: n * 1000, mtime: -1, ctime: 1 << 60 };
    let root = || Cid::new_v1(0x55, Multihash::wrap(0x12, &[7; 32]).unwrap());
    Seen { stat, root: n.is_multiple_of(2).then(root) }
}

fn open(dir: &Path, paths: usize) -> (Ledger, OpenReport) {
    let mut report = OpenReport::default();
    let (ledger, key) = Ledger::open(&disk::lazy(), dir, tuning(paths), || Ok(KEY), &mut report).unwrap();
    assert_eq!(key, KEY);
    (ledger, report)
}

/// A journal of format 1 or 2.
fn journal(format: u32, facts: &[Fact]) -> Vec<u8> {
    with_facts([&b"PRGJRNL\n"[..], &format.to_le_bytes(), &KEY.0].concat(), facts)
}

/// One of the present format that was rewritten so often.
fn current(generation: u64, facts: &[Fact]) -> Vec<u8> {
    let head = [&b"PRGJRNL\n"[..], &3u32.to_le_bytes(), &KEY.0, &generation.to_le_bytes()].concat();
    with_facts(head, facts)
}

/// The only journal in the folder, without a twin.
fn write_alone(dir: &Path, bytes: &[u8]) {
    drop(fs::remove_file(dir.join("journal.mirror")));
    fs::write(dir.join("journal"), bytes).unwrap();
}

fn with_facts(mut out: Vec<u8>, facts: &[Fact]) -> Vec<u8> {
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    for fact in facts {
        let start = out.len();
        let payload = fact.encode();
        put_varint(&mut out, payload.len() as u64);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), &payload);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&payload);
    }
    out
}

fn highest_id(facts: &[Fact]) -> u64 {
    let ids = facts.iter().map(|fact| match fact {
        Fact::FileAdded(id, ..) => id.0,
        Fact::TreeAdded(id, _) => id.0,
        _ => 0,
    });
    ids.max().unwrap_or(0)
}

/// Anything that may stand in a journal, whether or not we would write it:
/// files of trees that are not there, ids that come twice.
fn fact() -> impl Strategy<Value = Fact> {
    let id = || (0..IDS.len()).prop_map(|n| FileId(IDS[n]));
    let tree = || (0..TREES).prop_map(TreeId);
    let seen = || (0..4u64).prop_map(seen);
    prop_oneof![
        3 => (tree(), "[a-c]").prop_map(|(tree, base)| Fact::TreeAdded(tree, base.into())),
        1 => tree().prop_map(Fact::TreeRemoved),
        8 => (id(), tree(), 0..PATHS, proptest::option::of(seen()))
            .prop_map(|(id, tree, n, seen)| Fact::FileAdded(id, tree, path(n), seen)),
        4 => (id(), seen()).prop_map(|(id, seen)| Fact::FileSeen(id, seen)),
        2 => id().prop_map(Fact::FileRemoved),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Add(Box<Fact>),
    NewId,
    Flush,
    Reopen,
    Compact,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => fact().prop_map(|fact| Op::Add(fact.into())),
        1 => Just(Op::NewId),
        1 => Just(Op::Flush),
        1 => Just(Op::Reopen),
        1 => Just(Op::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_is_a_map(
        format in 1..3u32,
        paths in 1..4usize,
        before in proptest::collection::vec(fact(), 0..40),
        ops in proptest::collection::vec(op(), 0..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journal"), journal(format, &before)).unwrap();
        let mut model = Model::of(&before);
        let (mut ledger, report) = open(dir.path(), paths);
        prop_assert_eq!(report, OpenReport::default());
        model.assert_is(&mut ledger);
        let mut given = highest_id(&before);
        let mut compaction = None;
        for op in ops {
            // What comes while the journal is rewritten is in the new one, too.
            if let Some(mut running) = compaction.take() {
                if ledger.step(&mut running).unwrap() {
                    compaction = Some(running);
                } else {
                    ledger.finish(running).unwrap();
                }
            }
            match op {
                Op::Add(fact) => {
                    ledger.add(Fact::clone(&fact)).unwrap();
                    model.apply(*fact);
                }
                Op::NewId => {
                    let id = ledger.new_id().unwrap();
                    prop_assert!(id > given, "{id} after {given}");
                    given = id;
                }
                Op::Flush => ledger.flush().unwrap(),
                Op::Reopen => {
                    ledger.flush().unwrap();
                    compaction = None;
                    let (again, report) = open(dir.path(), paths);
                    prop_assert_eq!(report, OpenReport::default());
                    ledger = again;
                }
                Op::Compact if compaction.is_none() => compaction = Some(ledger.begin_compaction().unwrap()),
                // The one that runs is of no use then.
                Op::Compact => ledger.compact().unwrap(),
            }
            model.assert_is(&mut ledger);
        }
        drop(compaction);
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        prop_assert_eq!(names, ["journal", "journal.mirror"], "scratch files stay behind");
    }

    #[test]
    fn what_a_compaction_writes_is_no_more_than_what_lives(facts in proptest::collection::vec(fact(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("journal");
        fs::write(&at, journal(2, &facts)).unwrap();
        let (mut ledger, _) = open(dir.path(), 2);
        ledger.compact().unwrap();
        let model = Model::of(&facts);
        let removed = model.any_removed.then_some(Fact::FileRemoved(FileId(u64::MAX)));
        let trees = model.trees.into_iter().map(|(id, base)| Fact::TreeAdded(id, base));
        let files = model.files.into_iter().map(|(id, (tree, path, seen))| Fact::FileAdded(id, tree, path, seen));
        let all: Vec<Fact> =
            [Fact::IdsReserved(highest_id(&facts) + 1)].into_iter().chain(removed).chain(trees).chain(files).collect();
        prop_assert_eq!(fs::read(&at).unwrap(), current(2, &all));
        prop_assert_eq!(fs::read(dir.path().join("journal.mirror")).unwrap(), current(2, &all));
        prop_assert_eq!(ledger.bytes(), fs::metadata(&at).unwrap().len());
    }
}

/// A history as a share and a download leave it.
fn history() -> Vec<Fact> {
    let added = |id, tree, n, seen| Fact::FileAdded(FileId(id), TreeId(tree), path(n), seen);
    vec![
        Fact::IdsReserved(4097),
        Fact::TreeAdded(TreeId(1), "a".into()),
        added(5, 1, 0, None),
        added(6, 1, 1, Some(seen(1))),
        Fact::FileSeen(FileId(5), seen(2)),
        Fact::TreeAdded(TreeId(2), "b".into()),
        added(7, 2, 0, None),
        added(8, 2, 3, Some(seen(3))),
        Fact::FileSeen(FileId(8), seen(2)),
        Fact::TreeAdded(TreeId(1), "c".into()),
        Fact::FileRemoved(FileId(6)),
        added(9, 1, 1, Some(seen(2))),
        Fact::TreeRemoved(TreeId(2)),
        added(400, 1, 3, None),
        Fact::FileSeen(FileId(9), seen(1)),
    ]
}

#[test]
fn a_journal_cut_at_any_byte_is_what_stands_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = journal(2, &history());
    let ends: Vec<usize> = (0..=history().len()).map(|n| journal(2, &history()[..n]).len()).collect();
    for cut in 0..=bytes.len() {
        write_alone(dir.path(), &bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        let (mut ledger, report) = open(dir.path(), 2);
        Model::of(&history()[..whole]).assert_is(&mut ledger);
        let torn = if cut < ends[0] { 0 } else { cut - ends[whole] };
        assert_eq!((report.journal_cut_bytes, report.journal_copied_to), (torn as u64, None), "cut at {cut}");
        assert!(ledger.new_id().unwrap() > highest_id(&history()[..whole]));
    }
}

#[test]
fn a_flipped_byte_costs_one_fact_and_no_id_is_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = journal(2, &history());
    let without = |n: usize| {
        let facts = history();
        Model::of(&[&facts[..n], &facts[n + 1..]].concat())
    };
    let end_of = |n: usize| journal(2, &history()[..=n]).len();
    for flipped in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[flipped] ^= 0x10;
        write_alone(dir.path(), &bad);
        let lost = (flipped >= 32).then(|| (0..).find(|n| flipped < end_of(*n)).unwrap());
        let model = lost.map_or_else(|| Model::of(&history()), without);
        let last = lost == Some(history().len() - 1);
        for again in [false, true] {
            let (mut ledger, report) = open(dir.path(), 2);
            model.assert_is(&mut ledger);
            assert_eq!(report.journal_copied_to.is_some(), !again && !last, "byte {flipped}");
            assert!(ledger.new_id().unwrap() > 400, "byte {flipped}");
        }
        if !last {
            assert_eq!(fs::read(dir.path().join("journal.bad")).unwrap(), bad);
        }
    }
}

/// Writes the two files as given and opens them. What they were before is told by
/// whether anything is reported.
fn open_both(dir: &Path, files: [&[u8]; 2]) -> (Ledger, OpenReport) {
    for (name, bytes) in ["journal", "journal.mirror"].into_iter().zip(files) {
        fs::write(dir.join(name), bytes).unwrap();
    }
    open(dir, 2)
}

#[test]
fn what_one_file_lost_comes_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let good = current(0, &history());
    let whole = Model::of(&history());
    let check = |files: [&[u8]; 2], what: &str| {
        let (mut ledger, report) = open_both(dir.path(), files);
        whole.assert_is(&mut ledger);
        assert_eq!(
            report,
            OpenReport { journal_restored: report.journal_restored, ..OpenReport::default() },
            "{what}"
        );
        drop(ledger);
        let (mut ledger, again) = open(dir.path(), 2);
        whole.assert_is(&mut ledger);
        assert_eq!(again, OpenReport::default(), "{what}");
        report.journal_restored
    };
    assert!(!check([&good, &good], "both whole"));
    for flipped in 0..good.len() {
        let mut bad = good.clone();
        bad[flipped] ^= 0x10;
        // Wherever the other one is cut, or flipped somewhere else.
        let last = flipped >= current(0, &history()[..history().len() - 1]).len();
        let told = check([&bad, &good], "the first one");
        assert!(told || last, "byte {flipped}");
        // Each costs some syncs, so of the rest only some.
        if flipped % 6 > 0 {
            continue;
        }
        check([&good, &bad], "the twin");
        let mut other = good.clone();
        let elsewhere = if flipped < good.len() / 2 { good.len() - 1 } else { 41 };
        other[elsewhere] ^= 1;
        // Without its head a file does not say which rewrite it is.
        if flipped >= current(0, &[]).len() {
            check([&bad, &other], "each somewhere else");
        }
    }
    for cut in (0..good.len()).step_by(37) {
        check([&good[..cut], &good], "the first one is cut");
        check([&good, &good[..cut]], "the twin is cut");
    }
}

#[test]
fn a_gap_of_any_length_costs_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let names = || (10..60_000).map(|id| Fact::FileAdded(FileId(id), TreeId(1), "x".repeat(40).into(), None));
    let mut facts = vec![Fact::IdsReserved(70_000), Fact::TreeAdded(TreeId(1), "a".into())];
    facts.extend(names());
    let before = current(0, &facts).len();
    facts.push(Fact::FileAdded(FileId(6), TreeId(1), path(0), None));
    let mut bytes = current(0, &facts);
    assert!(before > 2 << 20);
    bytes[1000..before - 5000].fill(0);
    let (mut ledger, report) = open_both(dir.path(), [&bytes, &bytes]);
    assert!(ledger.has_file(FileId(6)).unwrap() && ledger.has_file(FileId(59_999)).unwrap());
    assert!(report.journal_copied_to.is_some() && report.is_notable());
    // Nothing but the end is lost: that is told as well, and kept.
    let mut bytes = current(0, &facts);
    bytes.truncate(before);
    bytes[1000..].fill(0);
    let (_, report) = open_both(dir.path(), [&bytes, &bytes]);
    assert!(report.journal_cut_bytes > 1 << 20 && report.is_notable());
    assert_eq!(fs::read(dir.path().join("journal.bad")).unwrap(), bytes);
}

#[test]
fn damage_after_opening_is_an_error_and_nothing_is_lost_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("journal");
    fs::write(&at, current(0, &history())).unwrap();
    let (mut ledger, _) = open(dir.path(), 2);
    let mut bad = fs::read(&at).unwrap();
    bad[current(1, &history()[..2]).len() + 8] ^= 1;
    fs::write(&at, &bad).unwrap();
    assert_eq!(ledger.file(FileId(5)).unwrap(), Some(("c".into(), path(0))), "the twin has it");
    drop(ledger);
    fs::remove_file(dir.path().join("journal.mirror")).unwrap();
    fs::write(&at, current(1, &history())).unwrap();
    let (mut ledger, _) = open(dir.path(), 2);
    let mut bad = fs::read(&at).unwrap();
    bad[current(2, &history()[..2]).len() + 8] ^= 1;
    for name in ["journal", "journal.mirror"] {
        fs::write(dir.path().join(name), &bad).unwrap();
    }
    assert!(ledger.has_file(FileId(5)).unwrap());
    assert_eq!(ledger.file(FileId(5)).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(ledger.seen(FileId(5)).is_err() && ledger.files_of(TreeId(1), FileId(0), 9).is_err());
    assert!(ledger.compact().is_err());
    assert_eq!(fs::read(&at).unwrap(), bad, "a journal that could not be read was rewritten");
    assert_eq!(ledger.file(FileId(9)).unwrap(), Some(("c".into(), path(1))));
    drop(ledger);
    let (mut ledger, report) = open(dir.path(), 2);
    assert!(report.journal_copied_to.is_some());
    assert!(!ledger.has_file(FileId(5)).unwrap() && ledger.has_file(FileId(9)).unwrap());
}

#[test]
fn what_cannot_be_indexed_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("files.tmp");
    let (mut ledger, _) = open(dir.path(), 2);
    ledger.add(Fact::TreeAdded(TreeId(1), "a".into())).unwrap();
    let name = |n: u64| PathBuf::from(n.to_string());
    let add = |ledger: &mut Ledger, n: u64| ledger.add(Fact::FileAdded(FileId(n), TreeId(1), name(n), None));
    (1..500).for_each(|n| add(&mut ledger, n).unwrap());
    // No file can be created there.
    fs::create_dir(&scratch).unwrap();
    let refused = (500..).find(|n| add(&mut ledger, *n).is_err()).unwrap();
    for n in 1..refused + 2 {
        assert_eq!(ledger.has_file(FileId(n)).unwrap(), n < refused);
        let found = ledger.file_by_path(TreeId(1), &name(n)).unwrap();
        assert_eq!(found, (n < refused).then_some(FileId(n)));
    }
    ledger.flush().unwrap();
    // Who only opens it is not kept from that.
    let (mut again, report) = open(dir.path(), 2);
    assert_eq!((again.files() as u64, report), (refused - 1, OpenReport::default()));
    assert!((1..refused).all(|n| again.file_by_path(TreeId(1), &name(n)).unwrap() == Some(FileId(n))));
    fs::remove_dir(&scratch).unwrap();
    (refused..2 * refused).for_each(|n| add(&mut ledger, n).unwrap());
    assert_eq!(ledger.files() as u64, 2 * refused - 1);
}

fn compact_if_dead(ledger: &mut Ledger) -> bool {
    let dead = ledger.is_mostly_dead();
    if dead {
        ledger.compact().unwrap();
    }
    dead
}

#[test]
fn removed_trees_are_remembered_until_they_are_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = OpenReport::default();
    let (mut ledger, _) =
        Ledger::open(&disk::lazy(), dir.path(), Tuning::default(), || Ok(KEY), &mut report).unwrap();
    let few = MAX_ENDED_TREES as u64 - 1;
    let file = |ledger: &mut Ledger, tree| {
        let id = FileId(ledger.new_id().unwrap());
        ledger.add(Fact::FileAdded(id, tree, PathBuf::new(), None)).unwrap();
    };
    let remove = |ledger: &mut Ledger| {
        let tree = TreeId(ledger.new_id().unwrap());
        ledger.add(Fact::TreeAdded(tree, "b".into())).unwrap();
        file(ledger, tree);
        ledger.add(Fact::TreeRemoved(tree)).unwrap();
    };
    (0..few).for_each(|_| remove(&mut ledger));
    // More that lives than what is dead, which would be a reason of its own.
    let tree = TreeId(ledger.new_id().unwrap());
    ledger.add(Fact::TreeAdded(tree, "a".into())).unwrap();
    (0..4 * few).for_each(|_| file(&mut ledger, tree));
    assert!(!compact_if_dead(&mut ledger));
    let tree = TreeId(ledger.new_id().unwrap());
    ledger.add(Fact::TreeAdded(tree, "b".into())).unwrap();
    ledger.add(Fact::TreeRemoved(tree)).unwrap();
    assert!(!compact_if_dead(&mut ledger), "a tree without files is not remembered");
    let before = ledger.bytes();
    remove(&mut ledger);
    assert!(compact_if_dead(&mut ledger) && !compact_if_dead(&mut ledger));
    assert_eq!((ledger.files() as u64, ledger.state.files.ended()), (4 * few, 0));
    assert!(ledger.bytes() < before);
}
