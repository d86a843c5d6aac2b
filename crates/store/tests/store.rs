//! The store as a whole: a model to compare with, threads, damage, collection.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of our own")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peerage_content::Cid;
use peerage_store::disk::{Access, Disk, File, SystemDisk};
use peerage_store::{
    Checked, CollectionStep, Config, Download, Durability, Multihash, Notice, Pin, PinKind, Reference, Root,
    RootKind, Seen, Store, WriteError,
};
use proptest::prelude::*;

fn hash(bytes: &[u8]) -> Multihash {
    peerage_content::hash::digest(0x12, bytes).unwrap()
}

fn block(n: u32) -> Vec<u8> {
    let len = 1 + (n as usize * 37) % 300;
    n.to_le_bytes().iter().copied().cycle().take(len.max(4)).collect()
}

fn small() -> Config {
    Config { pack_records: 20, write_buffer: 1000, merge_fan: 3, ..Config::default() }
}

/// For what is only so while the index cache answers in time, on any machine.
fn patient() -> Config {
    Config { index_deadline: Duration::from_secs(600), ..Config::default() }
}

fn open(dir: &Path) -> Store {
    let (store, report) = Store::open(dir, small()).unwrap();
    assert!(!report.is_notable(), "{report:?}");
    store
}

fn put_all(store: &Store, numbers: std::ops::Range<u32>) {
    for n in numbers {
        store.put_block(&hash(&block(n)), &block(n)).unwrap();
    }
}

/// Collects all but these; returns the bytes of disk that were given back.
fn collect(store: &Store, live: &[Multihash]) -> u64 {
    let set = store.root_set_builder();
    live.iter().for_each(|mh| set.insert(mh).unwrap());
    let mut collection = store.collect().unwrap().unwrap();
    let mut given_back = 0;
    while let Some(step) = collection.step().unwrap() {
        if let CollectionStep::Sweeping { freed, .. } = step {
            given_back += freed;
        }
    }
    given_back
}

#[derive(Debug, Clone)]
enum Op {
    Put(u32),
    PutMany(u32),
    Refer(u32),
    Sync,
    Reopen,
    ReopenWithoutIndex,
    Maintain,
    Collect(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..200u32).prop_map(Op::Put),
        4 => (0..180u32).prop_map(Op::PutMany),
        3 => (0..200u32).prop_map(Op::Refer),
        1 => Just(Op::Sync),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenWithoutIndex),
        2 => Just(Op::Maintain),
        1 => (2..5u32).prop_map(Op::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map(ops in proptest::collection::vec(op(), 1..40)) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("repo");
        let file_path = temp.path().join("file");
        // Block n is in the file at offset 400 n.
        let whole: Vec<u8> = (0..200).flat_map(|n| { let mut b = block(n); b.resize(400, 0); b }).collect();
        fs::write(&file_path, whole).unwrap();
        let mut store = open(&dir);
        let tree = store.add_tree(&file_path).unwrap();
        let file = store.add_file(tree, Path::new(""), None).unwrap();
        let mut model: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put(n) => {
                    store.put_block(&hash(&block(n)), &block(n)).unwrap();
                    model.insert(n, block(n));
                }
                Op::PutMany(from) => for n in from..from + 20 {
                    store.put_block(&hash(&block(n)), &block(n)).unwrap();
                    model.insert(n, block(n));
                },
                Op::Refer(n) => {
                    let len = block(n).len() as u32;
                    let reference = Reference { file, offset: u64::from(n) * 400, len, head: vec![], tail: vec![] };
                    store.put_reference(&hash(&block(n)), &reference).unwrap();
                    model.insert(n, block(n));
                }
                Op::Sync => store.commit(Durability::Durable).unwrap(),
                Op::Reopen => {
                    drop(store);
                    store = open(&dir);
                }
                Op::ReopenWithoutIndex => {
                    drop(store);
                    fs::remove_dir_all(dir.join("index")).unwrap();
                    store = open(&dir);
                }
                Op::Maintain => while store.maintain().unwrap() {},
                Op::Collect(keep) => {
                    model.retain(|n, _| n % keep == 0);
                    let live: Vec<Multihash> = model.values().map(|b| hash(b)).collect();
                    collect(&store, &live);
                    // What is dead may stay; what is live must.
                    for n in 0..200 {
                        if let Some(got) = store.read(&hash(&block(n))).unwrap() {
                            model.insert(n, got.to_vec());
                        }
                    }
                }
            }
            for n in 0..200 {
                let got = store.read(&hash(&block(n))).unwrap();
                prop_assert_eq!(got.as_deref(), model.get(&n).map(Vec::as_slice));
                let len = store.len_of(&hash(&block(n))).unwrap();
                prop_assert_eq!(len, model.get(&n).map(|b| b.len() as u32));
            }
        }
        prop_assert_eq!(store.drain_notices(), vec![]);
        let verified = store.verify_all(&mut |_| ControlFlow::Continue(())).unwrap();
        prop_assert_eq!(verified.bad, 0);
    }
}

#[test]
fn readers_see_every_block_while_a_writer_seals_merges_and_collects() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(&temp.path().join("repo"));
    const KEPT: u32 = 60;
    put_all(&store, 0..KEPT);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for start in 0..3 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut n = start;
                while !done.load(Ordering::Relaxed) {
                    n = (n + 1) % KEPT;
                    let got = store.read(&hash(&block(n))).unwrap();
                    assert_eq!(got.as_deref(), Some(&block(n)[..]), "block {n}");
                }
            });
        }
        let live: Vec<Multihash> = (0..KEPT).map(|n| hash(&block(n))).collect();
        for round in 0..12 {
            for n in KEPT + round * 40..KEPT + round * 40 + 40 {
                store.put_block(&hash(&block(n)), &block(n)).unwrap();
            }
            store.maintain().unwrap();
            if round % 4 == 3 {
                assert!(collect(&store, &live) > 0);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.drain_notices(), []);
}

#[test]
fn what_is_put_during_a_collection_stays() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(&temp.path().join("repo"));
    put_all(&store, 0..50);
    let mut collection = store.collect().unwrap().unwrap();
    assert!(store.collect().unwrap().is_none(), "one at a time");
    // Already there, and dead by all that the collection is told.
    assert!(store.put_block(&hash(&block(7)), &block(7)).unwrap());
    while collection.step().unwrap().is_some() {}
    drop(collection);
    for n in 0..50 {
        assert_eq!(store.read(&hash(&block(n))).unwrap().is_some(), n == 7, "block {n}");
    }
    assert!(store.collect().unwrap().is_some());
}

#[test]
fn what_roots_reach_stays_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    put_all(&store, 0..400);
    let set_of = |numbers: std::ops::Range<u32>| {
        let set = store.root_set_builder();
        numbers.for_each(|n| set.insert(&hash(&block(n))).unwrap());
        set
    };
    let named = |name: &[u8]| root(Cid::new_v1(0x55, hash(name)));
    let first = store.add_root(&named(b"first"), &set_of(0..100)).unwrap();
    store.add_root(&named(b"second"), &set_of(50..120)).unwrap();
    let building = set_of(200..210);
    let mut counting = store.count_dead().unwrap();
    let mut dead_bytes = 0;
    while let Some(step) = counting.step().unwrap() {
        if let CollectionStep::Sweeping { dead, freed, .. } = step {
            dead_bytes += dead;
            assert_eq!(freed, 0);
        }
    }
    drop(counting);
    // 120 to 400, without 200 to 210: 148 bytes each, and a prefix of 48.
    let expected: usize = (120..400).filter(|n| !(200..210).contains(n)).map(|n| block(n).len() + 48).sum();
    assert_eq!(dead_bytes, expected as u64);
    let mut collection = store.collect().unwrap().unwrap();
    let mut steps = Vec::new();
    while let Some(step) = collection.step().unwrap() {
        // While it goes on, a root begins to count on what is here, and one is added.
        if matches!(step, CollectionStep::Marking { done: 2, .. }) {
            building.insert(&hash(&block(300))).unwrap();
            store.add_root(&named(b"third"), &set_of(350..360)).unwrap();
        }
        steps.push(step);
    }
    drop(collection);
    let lives = |n: u32| n < 120 || (200..210).contains(&n) || n == 300 || (350..360).contains(&n);
    let here = |store: &Store| -> Vec<u32> {
        (0..400).filter(|n| store.read(&hash(&block(*n))).unwrap().is_some()).collect()
    };
    let found = here(&store);
    assert!((0..400).filter(|n| lives(*n)).all(|n| found.contains(&n)));
    // Of a pack of which almost all lives the rest may stay.
    let dead = found.iter().filter(|n| !lives(**n)).count();
    assert!(dead < 10, "{dead} dead blocks are here");
    assert!(matches!(
        steps[..3],
        [CollectionStep::Marking { roots: 2, .. }, CollectionStep::Marking { done: 2, .. }, _]
    ));
    assert!(store.remove_root(first).unwrap());
    drop(building);
    assert!(collect(&store, &[]) > 0);
    let found = here(&store);
    assert!((50..120).chain(350..360).all(|n| found.contains(&n)) && found.len() < 90);
    // A root whose set was lost: nobody knows what it needs.
    let sets = fs::read_dir(dir.join("roots")).unwrap().map(|entry| entry.unwrap().path());
    let set = sets.filter(|path| path.extension().is_some_and(|it| it == "root")).max().unwrap();
    drop(store);
    fs::remove_file(set).unwrap();
    let (store, _) = Store::open(&dir, small()).unwrap();
    assert!(store.collect().unwrap_err().to_string().contains("set of blocks of a root"));
    for entry in store.roots() {
        store.remove_root(entry.id).unwrap();
    }
    collect(&store, &[]);
    assert_eq!((here(&store), store.sizes().packs), (vec![], 1), "packs without records are gone");
}

#[test]
fn damage_to_the_index_cache_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    put_all(&store, 0..10);
    store.table_put("peers", b"a", b"b").unwrap();
    store.commit(Durability::Durable).unwrap();
    drop(store);
    let db = dir.join("index/db");
    let good = fs::read(&db).unwrap();
    for at in (0..good.len()).step_by(good.len() / 12 + 1) {
        let mut bad = good.clone();
        bad[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        fs::write(&db, &bad).unwrap();
        let (store, _) = Store::open(&dir, small()).unwrap();
        for n in 0..10 {
            assert_eq!(store.read(&hash(&block(n))).unwrap().as_deref(), Some(&block(n)[..]), "byte {at}");
        }
        let table = store.table_get("peers", b"a");
        assert!(table.is_none() || table.as_deref() == Some(b"b"), "byte {at}");
    }
}

#[test]
fn an_index_cache_that_will_not_open_is_moved_aside() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    store.put_block(&hash(&block(1)), &block(1)).unwrap();
    drop(store);
    fs::remove_dir_all(dir.join("index")).unwrap();
    fs::write(dir.join("index"), b"not a folder").unwrap();
    let (store, report) = Store::open(&dir, small()).unwrap();
    assert_eq!(report.index_moved_to, Some(dir.join("index.bad")));
    assert!(report.is_notable());
    assert!(store.read(&hash(&block(1))).unwrap().is_some());
    assert!(store.table_put("peers", b"a", b"b").unwrap());
    assert_eq!(store.table_get("peers", b"a").as_deref(), Some(&b"b"[..]));
    drop(store);
    let store = open(&dir);
    assert_eq!(store.table_iter("peers", 10), [(b"a".to_vec(), b"b".to_vec())]);
    store.table_remove("peers", b"a");
    assert_eq!(store.table_get("peers", b"a"), None);
    assert!(store.table_put("peers", b"a", &[0; 1025]).is_err());
}

#[test]
fn a_flipped_byte_in_a_block_is_found_and_only_that_block() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    put_all(&store, 0..30);
    store.commit(Durability::Buffered).unwrap();
    let pack = dir.join("packs/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(8).position(|w| w == &block(5)[..8]).unwrap();
    bytes[at] ^= 1;
    // In place, so that the open handle sees it.
    fs::write(&pack, &bytes).unwrap();
    let mut bad = Vec::new();
    let mut progress = 0;
    let verified = store.verify_all(&mut |found| {
        match found {
            Checked::Progress { done, total } => progress = done * 100 / total,
            other => bad.push(other),
        }
        ControlFlow::Continue(())
    });
    assert_eq!((verified.unwrap().bad, progress), (1, 100));
    match &bad[..] {
        [Checked::BadRecord { pack: found, block: Some(mh), .. }] => {
            assert_eq!((found, *mh), (&pack, hash(&block(5))));
        }
        other => panic!("{other:?}"),
    }
    for n in 0..30 {
        assert_eq!(store.read(&hash(&block(n))).unwrap().is_some(), n != 5, "block {n}");
    }
    // It is remembered, and mended by putting the block again.
    store.commit(Durability::Buffered).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(store.len_of(&hash(&block(5))).unwrap(), None);
    assert!(store.put_block(&hash(&block(5)), &block(5)).unwrap());
    assert!(store.read(&hash(&block(5))).unwrap().is_some());
    assert_eq!(store.drain_notices(), []);
}

#[test]
fn a_damaged_index_is_told_and_got_around() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    put_all(&store, 0..30);
    store.commit(Durability::Buffered).unwrap();
    let pack = dir.join("packs/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    // The one page stands before a fence, a line of filter, the footer.
    let page = bytes.len() - 96 - 64 - 8 - 4096;
    bytes[page] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let mut told = Vec::new();
    let verified = store.verify_all(&mut |found| {
        told.extend(Some(found).filter(|found| !matches!(found, Checked::Progress { .. })));
        ControlFlow::Continue(())
    });
    assert_eq!(told, [Checked::BadIndex { pack: pack.clone() }]);
    assert_eq!((verified.unwrap().good, store.sizes().blocks), (30, 30));
    assert!((0..30).all(|n| store.read(&hash(&block(n))).unwrap().is_some()));
    while store.maintain().unwrap() {}
    assert!(!pack.exists());
    let verified = store.verify_all(&mut |found| {
        assert!(matches!(found, Checked::Progress { .. }), "{found:?}");
        ControlFlow::Continue(())
    });
    assert_eq!(verified.unwrap().good, 30);
}

#[test]
fn a_read_reports_a_flipped_byte_too() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    store.put_block(&hash(&block(5)), &block(5)).unwrap();
    store.commit(Durability::Buffered).unwrap();
    let pack = dir.join("packs/00000001.active");
    let mut bytes = fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pack, &bytes).unwrap();
    assert_eq!(store.read(&hash(&block(5))).unwrap(), None);
    let told = store.drain_notices();
    assert_eq!(told, [Notice::RecordDamaged { pack, offset: 40, block: Some(hash(&block(5))) }]);
    assert_eq!(store.len_of(&hash(&block(5))).unwrap(), None);
}

fn root(cid: Cid) -> Root {
    Root {
        cid,
        kind: RootKind::Shared,
        path: Some("/home/user/x".into()),
        name: "x".into(),
        announce: true,
        keep: true,
        size: 99,
        tree: None,
        added: 1_700_000_000,
    }
}

#[test]
fn the_journal_brings_everything_back() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let cid = Cid::new_v1(0x55, hash(b"root"));
    let pin = Pin { cid, kind: PinKind::Recursive, name: "mine".into() };
    let download = Download {
        cid,
        dest: "/home/user/dest".into(),
        staging: "/home/user/.dest.part".into(),
        tree: None,
        note: vec![1, 2, 3],
    };
    let store = open(&dir);
    store.add_pin(&pin).unwrap();
    store.add_pin(&Pin { kind: PinKind::Direct, ..pin.clone() }).unwrap();
    assert!(store.remove_pin(&cid, PinKind::Direct).unwrap());
    assert!(!store.remove_pin(&cid, PinKind::Direct).unwrap());
    let set = store.root_set_builder();
    (0..1000).for_each(|n| set.insert(&hash(&block(n))).unwrap());
    let id = store.add_root(&root(cid), &set).unwrap();
    let gone = store.add_root(&root(cid), &set).unwrap();
    assert!(store.remove_root(gone).unwrap());
    assert!(!store.remove_root(gone).unwrap());
    store.update_root(id, &Root { announce: false, ..root(cid) }).unwrap();
    let first = store.start_download(&download).unwrap();
    let second = store.start_download(&download).unwrap();
    let changed = Download { note: vec![], ..download };
    store.update_download(second, &changed).unwrap();
    store.end_download(first).unwrap();
    for _ in 0..2 {
        // As after a kill: nothing is flushed by a destructor.
        let copy = temp.path().join("copy");
        drop(fs::remove_dir_all(&copy));
        copy_dir(&dir, &copy);
        let store = open(&copy);
        assert_eq!(store.pins(), std::slice::from_ref(&pin));
        assert_eq!(store.downloads(), [(second, changed.clone())]);
        let [entry] = &store.roots()[..] else { panic!("{:?}", store.roots()) };
        assert_eq!((entry.id, &entry.root), (id, &Root { announce: false, ..root(cid) }));
        let set = entry.set.as_ref().unwrap();
        assert!((0..1000).all(|n| set.contains(&hash(&block(n)))));
        assert!(!set.contains(&hash(b"other")));
    }
    drop(store);
    let sets: Vec<PathBuf> = fs::read_dir(dir.join("roots")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
    fs::remove_file(&sets[0]).unwrap();
    let (store, report) = Store::open(&dir, small()).unwrap();
    assert_eq!(report.lost_root_sets, [cid]);
    assert!(store.roots()[0].set.is_none());
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn without_the_journal_the_blocks_are_still_found() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    put_all(&store, 0..50);
    let pin = Pin { cid: Cid::new_v1(0x55, hash(b"pin")), kind: PinKind::Direct, name: "kept".into() };
    store.add_pin(&pin).unwrap();
    drop(store);
    // One of its two files is enough for all.
    for gone in ["journal", "journal.mirror"] {
        fs::remove_file(dir.join(gone)).unwrap();
        let (store, report) = Store::open(&dir, small()).unwrap();
        assert!(report.journal_restored && report.is_notable(), "{report:?}");
        assert_eq!(store.pins(), std::slice::from_ref(&pin));
    }
    fs::remove_file(dir.join("journal")).unwrap();
    fs::remove_file(dir.join("journal.mirror")).unwrap();
    let store = open(&dir);
    assert_eq!(store.pins(), []);
    assert!((0..50).all(|n| store.read(&hash(&block(n))).unwrap().is_some()));
}

#[test]
fn many_removed_files_leave_a_small_journal() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let store = open(&dir);
    let mut last = None;
    for _ in 0..3 {
        let tree = store.add_tree(Path::new("/nowhere")).unwrap();
        for n in 0..3000 {
            last = Some(store.add_file(tree, Path::new(&format!("file{n}")), None).unwrap());
        }
        store.remove_tree(tree).unwrap();
    }
    let before = store.sizes().journal_bytes;
    while store.maintain().unwrap() {}
    let after = store.sizes().journal_bytes;
    assert!(after * 50 < before, "{before} to {after}");
    drop(store);
    let store = open(&dir);
    let tree = store.add_tree(Path::new("/nowhere")).unwrap();
    assert!(tree.0 > last.unwrap().0);
}

#[test]
fn many_syncs_leave_a_small_index_cache() {
    let temp = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&temp.path().join("repo"), Config::default()).unwrap();
    for n in 0..300 {
        put_all(&store, n * 10..n * 10 + 10);
        store.commit(Durability::Durable).unwrap();
    }
    let bytes = store.sizes().index_bytes;
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

#[test]
fn small_repositories_are_small() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    store.table_put("peers", b"a", b"b").unwrap();
    store.commit(Durability::Durable).unwrap();
    let disk = |path: &Path| disk_bytes(path);
    let fresh = disk(&dir);
    assert!(fresh < 1 << 20, "{fresh} bytes of a fresh repository");
    // A folder of small files: reference, file record with its stat, root set, checkpoint.
    const FILES: u32 = 5000;
    let tree = store.add_tree(temp.path()).unwrap();
    let set = store.root_set_builder();
    let stat = peerage_store::Stat::of(&fs::metadata(temp.path()).unwrap());
    for n in 0..FILES {
        let file =
            store.add_file(tree, Path::new(&format!("folder{}/file-number-{n}", n / 100)), None).unwrap();
        let reference = Reference { file, offset: 0, len: 4096, head: vec![], tail: vec![] };
        store.put_reference(&hash(&block(n)), &reference).unwrap();
        set.insert(&hash(&block(n))).unwrap();
        store.set_seen(file, Seen { stat, root: Some(Cid::new_v1(0x55, hash(&block(n)))) }).unwrap();
    }
    store.add_root(&root(Cid::new_v1(0x55, hash(b"root"))), &set).unwrap();
    store.commit(Durability::Durable).unwrap();
    let each = (disk(&dir) - fresh) / u64::from(FILES);
    // The journal, of which there are two, takes most of it.
    assert!(each < 400, "{each} bytes a file");
}

fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        fs::read_dir(path).unwrap().map(|entry| disk_bytes(&entry.unwrap().path())).sum()
    } else {
        meta.blocks() * 512
    }
}

/// Descriptors that lead to root sets of this store.
#[cfg(target_os = "linux")]
fn open_sets(dir: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let leads = |link: &PathBuf| link.starts_with(dir.join("roots"));
    links.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(leads).count()
}

#[cfg(target_os = "linux")]
#[test]
fn kept_roots_take_no_descriptors() {
    const ROOTS: u32 = 100;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().canonicalize().unwrap().join("repo");
    let config = || Config { open_root_sets: 3, ..Config::default() };
    let mh = |n: u32| hash(&n.to_le_bytes());
    let has_all = |store: &Store| {
        for (n, entry) in (0..ROOTS).zip(store.roots()) {
            let set = entry.set.unwrap();
            assert!(set.contains(&mh(n)) && !set.contains(&mh(n + 1)));
        }
        let open = open_sets(&dir);
        assert!((1..=3).contains(&open), "{open} sets are open");
    };
    let (store, _) = Store::open(&dir, config()).unwrap();
    for n in 0..ROOTS {
        let set = store.root_set_builder();
        set.insert(&mh(n)).unwrap();
        store.add_root(&root(Cid::new_v1(0x55, mh(n))), &set).unwrap();
    }
    assert_eq!(open_sets(&dir), 0);
    has_all(&store);
    drop(store);
    let (store, _) = Store::open(&dir, config()).unwrap();
    assert_eq!(open_sets(&dir), 0);
    has_all(&store);
    let last = store.roots().pop().unwrap();
    assert!(store.remove_root(last.id).unwrap());
    assert!(!last.set.unwrap().contains(&mh(ROOTS - 1)), "a removed set is read");
}

/// The machine's disk, with little room left.
#[derive(Debug)]
struct Crowded;

impl Disk for Crowded {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        SystemDisk.open(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        SystemDisk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }
    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(64 << 20)
    }
}

#[test]
fn what_is_over_the_limit_is_refused_unless_room_can_be_made() {
    let temp = tempfile::tempdir().unwrap();
    let limit = 200_000;
    let config = Config { max_bytes: Some(limit), ..small() };
    let (store, _) = Store::open(&temp.path().join("repo"), config).unwrap();
    let big = |n: u32| [&n.to_le_bytes()[..], &[7; 10_000]].concat();
    let put = |n: u32| store.put_block(&hash(&big(n)), &big(n));
    let first_refused = (0..).find(|n| put(*n).is_err()).unwrap();
    assert!(store.sizes().used_bytes <= limit && store.sizes().max_bytes == Some(limit));
    match put(first_refused) {
        Err(WriteError::Full { missing, limit: of }) => {
            assert!(of == limit && (1..=10_500).contains(&missing), "{missing} bytes are missing");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.read(&hash(&big(first_refused))).unwrap(), None);
    // What is here already needs no room; a pin, which is small, finds some.
    assert!(!put(0).unwrap());
    // Who makes room: half of what is here is dead.
    let set = store.root_set_builder();
    (0..first_refused / 2).for_each(|n| set.insert(&hash(&big(n))).unwrap());
    store.add_root(&root(Cid::new_v1(0x55, hash(b"half"))), &set).unwrap();
    drop(set);
    store.on_full(Box::new(|store| {
        collect(store, &[]);
    }));
    assert!(put(first_refused).unwrap());
    assert!((0..first_refused / 2).all(|n| store.read(&hash(&big(n))).unwrap().is_some()));
    assert!(store.sizes().used_bytes <= limit * 3 / 4);
}

#[test]
fn packs_are_merged_only_if_there_is_room() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let full = Config { disk: Arc::new(Crowded), ..small() };
    let (store, _) = Store::open(&dir, full).unwrap();
    put_all(&store, 0..200);
    let packs = store.sizes().packs;
    assert!(!store.maintain().unwrap(), "there is nothing that can be done");
    assert_eq!(store.sizes().packs, packs);
    drop(store);
    let store = open(&dir);
    while store.maintain().unwrap() {}
    assert!(store.sizes().packs < packs);
}

/// A power cut takes the name of the pack that took new records, and gives one that was
/// merged its first name again.
#[test]
fn a_pack_that_was_replaced_takes_no_new_records() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let actives = || {
        let files = fs::read_dir(dir.join("packs")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == "active")).collect::<Vec<_>>()
    };
    let store = open(&dir);
    put_all(&store, 0..10);
    store.commit(Durability::Durable).unwrap();
    let (first, bytes) = (actives().remove(0), fs::read(&actives()[0]).unwrap());
    put_all(&store, 10..200);
    while store.maintain().unwrap() {}
    assert!(!first.with_extension("pack").exists(), "it was merged");
    drop(store);
    actives().iter().for_each(|path| fs::remove_file(path).unwrap());
    fs::write(&first, bytes).unwrap();
    for round in 0..3 {
        let (store, _) = Store::open(&dir, small()).unwrap();
        put_all(&store, 1000 + 30 * round..1030 + 30 * round);
        store.commit(Durability::Durable).unwrap();
        for n in (0..100).chain(1000..1030 + 30 * round) {
            assert_eq!(store.read(&hash(&block(n))).unwrap().as_deref(), Some(&block(n)[..]), "{n}");
        }
    }
    assert!(!first.exists());
}

/// After a power cut the pack is shorter than the checkpoint says. What is put
/// then must not be looked up by the entries of what was lost.
#[test]
fn a_checkpoint_that_was_of_no_use_is_written_anew() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, _) = Store::open(&dir, patient()).unwrap();
    put_all(&store, 0..1500);
    store.commit(Durability::Durable).unwrap();
    drop(store);
    let active = fs::read_dir(dir.join("packs")).unwrap().map(|entry| entry.unwrap().path());
    let active = active.filter(|path| path.extension().is_some_and(|e| e == "active")).max().unwrap();
    fs::File::options().write(true).open(&active).unwrap().set_len(10_000).unwrap();
    let (store, _) = Store::open(&dir, patient()).unwrap();
    put_all(&store, 10_000..14_000);
    store.commit(Durability::Durable).unwrap();
    drop(store);
    let (store, report) = Store::open(&dir, patient()).unwrap();
    assert_eq!(report.scanned_records, 0, "the checkpoint was not used");
    for n in 10_000..14_000 {
        assert_eq!(store.read(&hash(&block(n))).unwrap().as_deref(), Some(&block(n)[..]), "block {n}");
    }
}

/// A share that was not kept is no one's any more, and its files may go.
#[test]
fn only_what_a_root_reaches_is_judged() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(&temp.path().join("repo"));
    let refer = |name: &str| {
        let path = temp.path().join(name);
        fs::write(&path, name).unwrap();
        let file = store.add_file(store.add_tree(&path).unwrap(), Path::new(""), None).unwrap();
        let len = name.len() as u32;
        let reference = Reference { file, offset: 0, len, head: vec![], tail: vec![] };
        store.put_reference(&hash(name.as_bytes()), &reference).unwrap();
    };
    ["kept", "not kept", "kept elsewhere"].into_iter().for_each(refer);
    let set = store.root_set_builder();
    ["kept", "kept elsewhere"].into_iter().for_each(|name| set.insert(&hash(name.as_bytes())).unwrap());
    store.add_root(&root(Cid::new_v1(0x55, hash(b"kept"))), &set).unwrap();
    store.put_block(&hash(b"kept elsewhere"), b"kept elsewhere").unwrap();
    ["not kept", "kept elsewhere"]
        .into_iter()
        .for_each(|name| fs::remove_file(temp.path().join(name)).unwrap());
    let mut bad = Vec::new();
    let mut verify = || {
        store.verify_all(&mut |checked| {
            bad.extend(Some(checked).filter(|checked| !matches!(checked, Checked::Progress { .. })));
            ControlFlow::Continue(())
        })
    };
    let verified = verify().unwrap();
    assert_eq!((verified.good, verified.bytes, verified.bad), (2, 4 + 14, 0));
    fs::write(temp.path().join("kept"), "kapt").unwrap();
    assert_eq!(verify().unwrap().bad, 1);
    assert!(matches!(&bad[..], [Checked::BadFile { path, .. }] if path.ends_with("kept")), "{bad:?}");
}
