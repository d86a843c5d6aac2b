//! Roots that are added and removed together: their sets lie in one file.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peerage_content::Cid;
use peerage_store::disk::{Access, Disk, DiskFile, File, SystemDisk};
use peerage_store::{Config, Durability, Multihash, OpenReport, Root, RootId, RootKind, Store};

fn mh(n: u32) -> Multihash {
    peerage_content::hash::digest(0x12, &n.to_le_bytes()).unwrap()
}

fn root(cid: Cid) -> Root {
    Root {
        cid,
        kind: RootKind::Pin,
        path: None,
        name: "x".into(),
        announce: false,
        keep: true,
        size: 0,
        tree: None,
        added: 0,
    }
}

#[test]
fn roots_that_are_added_together_come_and_go_as_others_do() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    let sets: Vec<_> = (0..20u32)
        .map(|n| {
            let set = store.root_set_builder();
            (n * 100..n * 100 + 3).for_each(|block| set.insert(&mh(block)).unwrap());
            set
        })
        .collect();
    let roots: Vec<_> = (0..20).map(|n| root(Cid::new_v1(0x55, mh(n)))).collect();
    let pairs: Vec<_> = roots.iter().zip(&sets).collect();
    let files = || {
        let names = fs::read_dir(dir.join("roots")).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let alone = store.add_root(&roots[0], &sets[0]).unwrap();
    let ids = store.add_roots(&pairs).unwrap();
    assert!(store.add_roots(&[]).unwrap().is_empty());
    let one = store.add_roots(&pairs[..1]).unwrap();
    assert_eq!(files().len(), 3, "20 of them are in one file: {:?}", files());
    drop(sets);
    let check = |store: &Store, left: &[usize]| {
        let entries = store.roots();
        assert_eq!(entries.len(), left.len());
        for (entry, n) in entries.iter().zip(left) {
            let (set, n) = (entry.set.as_ref().unwrap(), u32::try_from(*n).unwrap());
            assert_eq!((entry.root.cid, set.len()), (Cid::new_v1(0x55, mh(n)), 3));
            assert!((n * 100..n * 100 + 3).all(|block| set.contains(&mh(block))));
            assert!(!set.contains(&mh(n * 100 + 3)));
        }
    };
    let all: Vec<usize> = [0].into_iter().chain(0..20).chain([0]).collect();
    check(&store, &all);
    store.commit(Durability::Durable).unwrap();
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!(report, OpenReport::default());
    check(&store, &all);
    // The first of the file, one alone, one that is not there, and one twice.
    assert_eq!(store.remove_roots(&[ids[0], alone, RootId(u64::MAX), alone]).unwrap(), 2);
    assert_eq!(files().len(), 2);
    check(&store, &(1..20).chain([0]).collect::<Vec<_>>());
    assert_eq!(store.remove_roots(&ids[1..19]).unwrap(), 18);
    assert!(store.remove_root(one[0]).unwrap() && !store.remove_root(one[0]).unwrap());
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!(report, OpenReport::default());
    check(&store, &[19]);
    assert_eq!(files().len(), 1);
    assert!(store.remove_root(ids[19]).unwrap());
    assert!(files().is_empty(), "{:?}", files());
}

/// A file of sets that is damaged: only those roots are told as lost that it cost.
#[test]
fn a_damaged_set_among_others_is_lost_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    let sets: Vec<_> = (0..3u32)
        .map(|n| {
            let set = store.root_set_builder();
            set.insert(&mh(n)).unwrap();
            set
        })
        .collect();
    let roots: Vec<_> = (0..3).map(|n| root(Cid::new_v1(0x55, mh(n)))).collect();
    store.add_roots(&roots.iter().zip(&sets).collect::<Vec<_>>()).unwrap();
    drop(sets);
    drop(store);
    let entry = fs::read_dir(dir.join("roots")).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(entry.path()).unwrap();
    // Each set is a head of 32 bytes and one page.
    let second = bytes.len() - 2 * (32 + 4096);
    bytes[second + 40] ^= 1;
    fs::write(entry.path(), &bytes).unwrap();
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!(report.lost_root_sets, [roots[1].cid]);
    let held = |store: &Store| store.roots().iter().map(|entry| entry.set.is_some()).collect::<Vec<_>>();
    assert_eq!(held(&store), [true, false, true]);
    // It is made again in a file of its own.
    let (lost, set) = (store.roots()[1].id, store.root_set_builder());
    set.insert(&mh(1)).unwrap();
    assert!(store.remake_set(lost, &set).unwrap());
    assert_eq!(held(&store), [true; 3]);
    assert!(!store.remake_set(lost, &set).unwrap(), "it is there");
    assert!(!store.remake_set(RootId(u64::MAX), &set).unwrap(), "no such root");
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!((report, held(&store)), (OpenReport::default(), vec![true; 3]));
    assert!(store.roots()[1].set.as_ref().unwrap().contains(&mh(1)));
    assert!(store.remove_root(lost).unwrap());
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!((report, held(&store)), (OpenReport::default(), vec![true; 2]));
}

/// A disk that counts the syncs of files and folders.
#[derive(Debug, Default)]
struct Counting(Arc<AtomicU64>);

#[derive(Debug)]
struct CountingFile(File, Arc<AtomicU64>);

impl Disk for Counting {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        Ok(Arc::new(CountingFile(SystemDisk.open(path, access)?, Arc::clone(&self.0))))
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
        self.0.fetch_add(1, Ordering::Relaxed);
        SystemDisk.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_space(dir)
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
}

#[test]
fn many_roots_take_the_syncs_of_one() {
    let temp = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicU64::new(0));
    let config = Config { disk: Arc::new(Counting(Arc::clone(&syncs))), ..Config::default() };
    let (store, _) = Store::open(&temp.path().join("repo"), config).unwrap();
    let set = store.root_set_builder();
    set.insert(&mh(0)).unwrap();
    let roots: Vec<_> = (0..300).map(|n| root(Cid::new_v1(0x55, mh(n)))).collect();
    let mut added = Vec::new();
    // What only the first time takes: ids are reserved, a pack is begun.
    added.extend(store.add_roots(&[(&roots[0], &set), (&roots[0], &set)]).unwrap());
    store.remove_roots(&std::mem::take(&mut added)).unwrap();
    let mut counted = |count: usize| {
        let before = syncs.load(Ordering::Relaxed);
        let pairs: Vec<_> = roots[..count].iter().map(|root| (root, &set)).collect();
        added.extend(store.add_roots(&pairs).unwrap());
        let between = syncs.load(Ordering::Relaxed);
        store.remove_roots(&std::mem::take(&mut added)).unwrap();
        (between - before, syncs.load(Ordering::Relaxed) - between)
    };
    assert_eq!(counted(1), counted(300));
}
