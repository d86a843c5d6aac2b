//! Names of files and folders under power cuts, the order of what is synced, and a
//! disk that cannot read.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

use peerage_content::Cid;
use peerage_store::disk::{Access, Disk, File};
use peerage_store::{Config, Durability, Root, RootKind, Store, WriteError};
use peerage_torture::disk::{Faults, FaultyDisk};
use peerage_torture::index::FaultyIndex;
use peerage_torture::model::{block, multihash};

/// Power cuts of each kind: whatever one of them leaves, a few leave another thing.
const CUTS: u64 = 40;

fn open(disk: &Arc<dyn Disk>, dir: &str) -> Store {
    let index = Arc::new(FaultyIndex::new(1));
    let config = Config { pack_records: 20, disk: Arc::clone(disk), index, ..Config::default() };
    Store::open(Path::new(dir), config).expect("a disk that works").0
}

fn put(store: &Store, n: u32) {
    store.put_block(&multihash(&block(n)), &block(n)).expect("room");
}

fn has(store: &Store, n: u32) -> bool {
    store.read(&multihash(&block(n))).expect("a disk that works").is_some()
}

fn add_root(store: &Store, of: std::ops::Range<u32>) -> Result<(), WriteError> {
    let set = store.root_set_builder();
    of.for_each(|n| set.insert(&multihash(&block(n))).expect("memory"));
    let root = Root {
        cid: Cid::new_v1(0x55, multihash(b"root")),
        kind: RootKind::Kept,
        path: None,
        name: String::new(),
        announce: false,
        keep: true,
        size: 0,
        tree: None,
        added: 0,
    };
    store.add_root(&root, &set).map(drop)
}

#[test]
fn a_new_repository_stays_where_it_was_made_with_all_folders_above_it() {
    for seed in 0..CUTS {
        let disk = FaultyDisk::new(seed);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = open(&shared, "/home/user/new/repository");
        put(&store, 1);
        store.commit(Durability::Durable).expect("a disk that works");
        disk.cut_power();
        drop(store);
        assert!(has(&open(&shared, "/home/user/new/repository"), 1), "seed {seed}");
    }
}

/// Does something just before a pack gets its final name.
struct Interrupted(FaultyDisk, Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Disk for Interrupted {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.0.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.extension().is_some_and(|extension| extension == "tmp")
            && let Some(act) = self.1.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            act();
        }
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        self.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }
}

#[test]
fn what_is_asked_for_while_its_pack_is_collected_survives_a_power_cut() {
    for seed in 0..CUTS {
        let disk = FaultyDisk::new(seed);
        let interrupted = Arc::new(Interrupted(disk.clone(), Mutex::default()));
        let shared: Arc<dyn Disk> = Arc::clone(&interrupted) as Arc<dyn Disk>;
        let store = open(&shared, "/repository");
        (0..15).for_each(|n| put(&store, n));
        store.commit(Durability::Durable).expect("a disk that works");
        add_root(&store, 0..2).expect("room");
        let mut collection = store.collect().expect("a collection").expect("only one");
        while collection.step().is_ok_and(|step| {
            matches!(step, Some(peerage_store::CollectionStep::Marking { done, roots }) if done < roots)
        }) {}
        // What is copied is chosen by now; block 7 is not.
        let asked = store.clone();
        *interrupted.1.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Box::new(move || assert!(has(&asked, 7))));
        collection.step().expect("a disk that works");
        assert!(interrupted.1.lock().unwrap_or_else(PoisonError::into_inner).is_none(), "nobody asked");
        disk.cut_power();
        drop((collection, store));
        let store = open(&shared, "/repository");
        assert!(has(&store, 7) && has(&store, 0), "seed {seed}");
    }
}

#[test]
fn a_folder_that_could_not_be_synced_is_not_believed_the_next_time() {
    for seed in 0..CUTS {
        let disk = FaultyDisk::new(seed);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = open(&shared, "/repository");
        put(&store, 1);
        store.commit(Durability::Durable).expect("a disk that works");
        // Every change of a name fails, and the kernel forgets.
        let set = store.root_set_builder();
        set.insert(&multihash(&block(1))).expect("memory");
        let failing = Arc::new(FailingSyncs(disk.clone(), AtomicBool::new(false)));
        drop((set, store));
        let watched: Arc<dyn Disk> = Arc::clone(&failing) as Arc<dyn Disk>;
        let store = open(&watched, "/repository");
        failing.1.store(true, SeqCst);
        let failed = add_root(&store, 1..2);
        assert!(matches!(failed, Err(WriteError::Unsynced(_))), "{failed:?}");
        failing.1.store(false, SeqCst);
        // The next sync would not fail, but has nothing to tell of what was lost.
        let again = add_root(&store, 1..2);
        assert!(matches!(again, Err(WriteError::Unsynced(_))), "{again:?}");
        let committed = store.commit(Durability::Durable);
        assert!(matches!(committed, Err(WriteError::Unsynced(_))), "{committed:?}");
        disk.kill();
        drop(store);
        // The next process writes anew what is seen, and then promises again.
        let (store, report) = {
            let index = Arc::new(FaultyIndex::new(1));
            let config = Config { disk: Arc::clone(&shared), index, ..Config::default() };
            Store::open(Path::new("/repository"), config).expect("a disk that works")
        };
        assert!(report.settled);
        add_root(&store, 1..2).expect("a disk that works");
        store.commit(Durability::Durable).expect("a disk that works");
        disk.cut_power();
        drop(store);
        let store = open(&shared, "/repository");
        assert!(has(&store, 1) && store.roots().iter().all(|root| root.set.is_some()), "seed {seed}");
        assert_eq!(store.roots().len(), 1);
    }
}

/// Fails syncs of folders while it is told to.
#[derive(Debug)]
struct FailingSyncs(FaultyDisk, AtomicBool);

impl Disk for FailingSyncs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.0.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        self.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let fails = self.1.load(SeqCst);
        self.0.set_faults(Faults { name: u64::from(fails), ..Faults::default() });
        let synced = self.0.sync_dir(dir);
        self.0.set_faults(Faults::default());
        synced
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }
}

#[test]
fn what_the_disk_cannot_read_is_an_error_and_nothing_goes_for_it() {
    let disk = FaultyDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = open(&shared, "/repository");
    (0..100).for_each(|n| put(&store, n));
    add_root(&store, 0..50).expect("room");
    store.commit(Durability::Durable).expect("a disk that works");
    // Every read, half of them, and few.
    for read in [1, 2, 7] {
        disk.set_faults(Faults { read, ..Faults::default() });
        for n in 0..50 {
            let found = store.read(&multihash(&block(n)));
            assert!(!matches!(found, Ok(None)), "block {n} is told as absent");
        }
        if let Ok(Some(mut collection)) = store.collect() {
            for _ in 0..20 {
                drop(collection.step());
            }
        }
        drop(store.maintain());
        drop(store.verify_all(&mut |_| std::ops::ControlFlow::Continue(())));
        disk.set_faults(Faults::default());
        assert!((0..50).all(|n| has(&store, n)), "one read of {read} failed");
        assert_eq!(store.sizes().dropped, 0);
    }
}
