//! What is promised, by what the store does to the disk and in which order.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use peerage_content::Cid;
use peerage_store::disk::{Access, Disk, DiskFile, File, SystemDisk};
use peerage_store::{Config, Durability, Multihash, Pin, PinKind, Store, WriteError};

/// What was done to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    Write(PathBuf),
    Sync(PathBuf),
    Remove(PathBuf),
}

type Hook = Box<dyn FnMut(&Path) + Send>;

#[derive(Default)]
struct Log {
    did: Mutex<Vec<Did>>,
    /// The next sync of a folder fails.
    fail: AtomicBool,
    /// Called when a file is renamed, with its new name.
    renamed: Mutex<Option<Hook>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    fn note(&self, did: Did) {
        self.did.lock().unwrap().push(did);
    }

    fn take(&self) -> Vec<Did> {
        std::mem::take(&mut self.did.lock().unwrap())
    }
}

/// The machine's disk, which says what is done to it.
#[derive(Debug)]
struct Logged(Arc<Log>);

#[derive(Debug)]
struct LoggedFile(File, PathBuf, Arc<Log>);

impl Disk for Logged {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        Ok(Arc::new(LoggedFile(SystemDisk.open(path, access)?, path.to_path_buf(), Arc::clone(&self.0))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)?;
        let hook = self.0.renamed.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(to);
            self.0.renamed.lock().unwrap().get_or_insert(hook);
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.note(Did::Remove(path.to_path_buf()));
        SystemDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        SystemDisk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.0.fail.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("the drive is gone"));
        }
        SystemDisk.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_space(dir)
    }
}

impl DiskFile for LoggedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.2.note(Did::Write(self.1.clone()));
        self.0.write_at(offset, bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.2.note(Did::Sync(self.1.clone()));
        self.0.sync()
    }
}

fn hash(bytes: &[u8]) -> Multihash {
    peerage_content::hash::digest(0x12, bytes).unwrap()
}

fn open(dir: &Path) -> (Store, Arc<Log>) {
    let log: Arc<Log> = Arc::default();
    let config = Config { disk: Arc::new(Logged(Arc::clone(&log))), ..Config::default() };
    (Store::open(dir, config).unwrap().0, log)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|of| of == extension)
}

/// Somebody looks for a block, and relies on it, when a collection has just left it out.
#[test]
fn what_is_saved_from_an_old_pack_is_on_the_disk_before_that_goes() {
    let temp = tempfile::tempdir().unwrap();
    let (store, log) = open(&temp.path().join("repo"));
    let block = |n: u32| [&n.to_le_bytes()[..], &[7; 500]].concat();
    for n in 0..100 {
        store.put_block(&hash(&block(n)), &block(n)).unwrap();
    }
    let set = store.root_set_builder();
    set.insert(&hash(&block(0))).unwrap();
    let mut collection = store.collect().unwrap().unwrap();
    let looking = store.clone();
    let mh = hash(&block(50));
    *log.renamed.lock().unwrap() = Some(Box::new(move |to| {
        if has_extension(to, "pack") {
            assert!(looking.len_of(&mh).unwrap().is_some());
        }
    }));
    log.take();
    while collection.step().unwrap().is_some() {}
    let did = log.take();
    let gone = did.iter().position(|did| matches!(did, Did::Remove(path) if has_extension(path, "pack")));
    let before = &did[..gone.unwrap()];
    let saved =
        before.iter().rposition(|did| matches!(did, Did::Write(path) if has_extension(path, "active")));
    let synced =
        before.iter().rposition(|did| matches!(did, Did::Sync(path) if has_extension(path, "active")));
    assert!(saved.unwrap() < synced.unwrap(), "{before:?}");
    log.renamed.lock().unwrap().take();
    drop(collection);
    assert_eq!(store.read(&mh).unwrap().as_deref(), Some(&block(50)[..]));
}

/// The new journal has a name that a power cut may take, and all that is added with it.
#[test]
fn a_journal_whose_name_could_not_be_synced_promises_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, log) = open(&dir);
    let pin = |n: u32| Pin {
        cid: Cid::new_v1(0x55, hash(&n.to_le_bytes())),
        kind: PinKind::Direct,
        name: String::new(),
    };
    for n in 0..5000 {
        store.add_pin(&pin(n)).unwrap();
        store.remove_pin(&pin(n).cid, PinKind::Direct).unwrap();
    }
    store.commit(Durability::Durable).unwrap();
    log.fail.store(true, Ordering::SeqCst);
    assert!(matches!(store.maintain(), Err(WriteError::Unsynced(_))));
    store.add_pin(&pin(0)).unwrap();
    let later = store.commit(Durability::Durable);
    assert!(
        matches!(&later, Err(WriteError::Unsynced(cause)) if cause.contains("the drive is gone")),
        "{later:?}"
    );
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert!(report.settled);
    store.commit(Durability::Durable).unwrap();
    assert_eq!(store.pins(), [pin(0)]);
}

/// Another process may have the repository then.
#[test]
fn a_store_that_was_closed_writes_nothing_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, log) = open(&dir);
    store.put_block(&hash(b"one"), b"one").unwrap();
    let set = store.root_set_builder();
    set.insert(&hash(b"one")).unwrap();
    let collection = store.collect().unwrap().unwrap();
    store.close().unwrap();
    log.take();

    let (other, _) = Store::open(&dir, Config::default()).unwrap();
    other.put_block(&hash(b"two"), b"two").unwrap();
    assert!(matches!(store.put_block(&hash(b"three"), b"three"), Err(WriteError::Closed)));
    let pin = Pin { cid: Cid::new_v1(0x55, hash(b"one")), kind: PinKind::Direct, name: String::new() };
    assert!(matches!(store.add_pin(&pin), Err(WriteError::Closed)));
    assert!(set.seal().is_err());
    assert!(store.maintain().is_err() || !store.maintain().unwrap());
    assert_eq!(store.read(&hash(b"one")).unwrap().as_deref(), Some(&b"one"[..]), "reading goes on");
    drop((collection, set, store));
    assert_eq!(log.take(), [], "nothing of the repository's was touched");
    other.commit(Durability::Durable).unwrap();
    drop(other);
    let (other, report) = Store::open(&dir, Config::default()).unwrap();
    assert!(!report.is_notable(), "{report:?}");
    assert!([&b"one"[..], b"two"].iter().all(|bytes| other.read(&hash(bytes)).unwrap().is_some()));
    assert!(other.pins().is_empty());
}
