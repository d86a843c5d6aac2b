//! Writes a fetched DAG to disk: everything goes into one staging entry beside
//! the destination, and only what is whole takes the destination's name.
//!
//! All of it runs on the workers, several calls at once. Every access goes
//! through a handle of the destination's folder that never leaves it.

mod error;
mod existing;
mod file;
mod finish;
mod in_place;
mod staging;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cap_std::fs::{Dir, MetadataExt as _};
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, hash};
use peerage_engine::FileKey;
use peerage_store::{Durability, FileId, RootSetBuilder, Stat, Store};
use rustix::fs::{fstat, stat};

pub use error::ExportError;
use existing::Existing;
use file::Entry;
pub(crate) use finish::Finished;
use in_place::InPlace;
use staging::{Staging, allocated};

use super::claims::Claims;

/// References are handed to the kernel after so many bytes of content: what a
/// killed process may have to fetch again.
const FLUSH_EVERY: u64 = 4 << 20;

/// Edges of a block that a reference may carry, in bytes; a block with longer
/// ones is stored whole beside the file.
const EDGE_MAX: usize = peerage_store::MAX_EDGE_BYTES;

/// Paths that are listed when the destination differs.
const DIFFERENT_MAX: usize = 10;

/// How much is still fetched after the first difference, to list more of them, in bytes.
const LOOK_FURTHER: u64 = 16 << 20;

/// Where a fetch goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The absolute path that the file or folder itself takes.
    pub(crate) path: PathBuf,
    /// The open folder of it, which the path may not lead to.
    pub(crate) folder: Option<Arc<OwnedFd>>,
    /// Replace what is there and differs.
    pub(crate) overwrite: bool,
    /// Make symlinks that leave the destination.
    pub(crate) unsafe_symlinks: bool,
}

/// One fetch's way to the disk.
pub(crate) struct Export {
    store: Store,
    claims: Claims,
    /// Blocks that are in place, so that they are served while more arrive.
    set: Arc<RootSetBuilder>,
    destination: Destination,
    staging: Staging,
    /// What stood at the destination before.
    existing: Existing,
    /// For files that are in place already, without staging.
    in_place: Mutex<InPlace>,
    state: Mutex<State>,
    unflushed: AtomicU64,
    /// Bytes that were fetched since the first difference.
    looked: AtomicU64,
    completed: AtomicBool,
}

#[derive(Default)]
struct State {
    files: HashMap<FileKey, Arc<Entry>>,
    hasher: RandomState,
    /// Hashes of the paths of this run, made or found: no name comes twice.
    claimed: HashSet<u64>,
    /// Hashes of the paths of files and symlinks that this run has put into staging.
    staged: HashSet<u64>,
    /// Devices and inodes of what this run has made: a file system that does
    /// not tell case apart gives two names the same one.
    inodes: HashSet<(u64, u64)>,
    collision: Option<PathBuf>,
    /// Paths at the destination that are something else.
    differs: Vec<PathBuf>,
    /// Files at the destination that staged ones may replace, as they were seen.
    replaces: HashMap<PathBuf, Stat>,
    symlinks: Vec<Symlink>,
    /// Files that have come and what they are to be given, all at the end.
    finished: Vec<(PathBuf, FileId, Metadata)>,
    folders: Folders,
}

/// What folders are to be given when they have their place.
type Folders = BTreeMap<PathBuf, Metadata>;

struct Symlink {
    path: PathBuf,
    target: Vec<u8>,
}

impl Export {
    /// Prepares the staging entry for `root`, or takes up one that an earlier
    /// run left.
    pub(crate) fn new(claims: Claims, root: &Cid, destination: Destination) -> Result<Self, ExportError> {
        let store = claims.store().clone();
        let staging = Staging::open(&store, root, &destination.path, destination.folder.as_deref())?;
        claims.trees_changed();
        let existing = Existing::of(&staging);
        Ok(Self {
            set: Arc::new(store.root_set_builder()),
            store,
            destination,
            existing,
            in_place: Mutex::new(InPlace::new(claims.clone(), staging.parent_path.clone())),
            claims,
            staging,
            state: Mutex::default(),
            unflushed: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            completed: AtomicBool::new(false),
        })
    }

    /// Whether the path of the destination's folder leads to that folder.
    pub(crate) fn path_leads_here(&self) -> bool {
        let (by_path, by_handle) = (stat(&self.staging.parent_path), fstat(&self.staging.parent));
        matches!((by_path, by_handle), (Ok(path), Ok(handle))
            if (path.st_dev, path.st_ino) == (handle.st_dev, handle.st_ino))
    }

    /// The blocks that are in place.
    pub(crate) fn set(&self) -> &Arc<RootSetBuilder> {
        &self.set
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path below the destination's folder of what lies at `path` below the root.
    fn path(&self, path: &[String]) -> PathBuf {
        let mut full = PathBuf::from(&self.staging.name);
        full.extend(path);
        full
    }

    /// Notes that a path is about to be made; a second time is a collision.
    fn claim(&self, state: &mut State, path: &Path) {
        let hash = state.hasher.hash_one(path);
        if !state.claimed.insert(hash) && state.collision.is_none() {
            state.collision = Some(path.to_path_buf());
        }
    }

    /// Fails if what lies below the root, `total` bytes of content as it
    /// claims, does not fit on the disk.
    pub(crate) fn check_room(&self, total: u64) -> Result<(), ExportError> {
        let dest = || self.staging.parent.open_dir(&self.staging.name).and_then(|dest| allocated(&dest));
        self.staging.check_total(total, || dest().unwrap_or(0))
    }

    /// Makes a folder.
    pub(crate) fn make_dir(&self, path: &[String], metadata: Metadata) -> Result<(), ExportError> {
        let path = self.path(path);
        let mut state = self.state();
        self.claim(&mut state, &path);
        if !metadata.is_empty() {
            state.folders.insert(path.clone(), metadata);
        }
        drop(state);
        self.check_collision()?;
        if self.existing.conflicts_with_folder(&self.staging, &path) && !self.destination.overwrite {
            self.differs(&path);
            self.check_differs(0)?;
        }
        let wrong = |error| self.io("make the folder", &path, error);
        self.dir().create_dir_all(&path).map_err(wrong)?;
        let made = self.dir().symlink_metadata(&path).map_err(wrong)?;
        self.claim_inode(&path, (made.dev(), made.ino()))
    }

    /// Notes a file; it is made by its first write.
    pub(crate) fn note_file(&self, file: FileKey, path: &[String], size: u64, metadata: Metadata) {
        let path = self.path(path);
        let mut state = self.state();
        self.claim(&mut state, &path);
        state.files.insert(file, Arc::new(Entry::new(path, size, metadata)));
    }

    /// Notes a symbolic link; it is made at the end.
    pub(crate) fn note_symlink(&self, path: &[String], target: &[u8], _metadata: Metadata) {
        let path = self.path(path);
        let mut state = self.state();
        self.claim(&mut state, &path);
        state.symlinks.push(Symlink { path, target: target.to_vec() });
    }

    /// Notes that a file or symlink in staging, with this device and inode, is this run's.
    fn staged(&self, path: &Path, identity: (u64, u64)) -> Result<(), ExportError> {
        let mut state = self.state();
        let hash = state.hasher.hash_one(path);
        state.staged.insert(hash);
        drop(state);
        self.claim_inode(path, identity)
    }

    fn claim_inode(&self, path: &Path, identity: (u64, u64)) -> Result<(), ExportError> {
        let is_new = self.state().inodes.insert(identity);
        if is_new { Ok(()) } else { Err(ExportError::Collision(self.display(path))) }
    }

    fn check_collision(&self) -> Result<(), ExportError> {
        match &self.state().collision {
            Some(path) => Err(ExportError::Collision(self.display(path))),
            None => Ok(()),
        }
    }

    fn entry(&self, file: FileKey) -> Result<Arc<Entry>, ExportError> {
        self.state().files.get(&file).cloned().ok_or(ExportError::Gone)
    }

    /// A folder is at `path`, where no folder is to be. What is in it is not
    /// ours to remove, so asking for `--overwrite` would be no good advice.
    fn check_no_folder(&self, path: &Path) -> Result<(), ExportError> {
        if path == Path::new(&self.staging.name) {
            Err(ExportError::Folder(self.display(path)))
        } else if self.destination.overwrite {
            Err(ExportError::FolderInTheWay(self.display(path)))
        } else {
            Ok(())
        }
    }

    /// Notes a path at which something else is; the fetch goes on a little to
    /// find more of them.
    fn differs(&self, path: &Path) {
        let mut state = self.state();
        if state.differs.len() < DIFFERENT_MAX {
            state.differs.push(self.display(path));
        }
        if path == Path::new(&self.staging.name) {
            // There is nothing beside it to look at.
            self.looked.store(LOOK_FURTHER, Ordering::Relaxed);
        }
    }

    /// Fails if enough differences are known, or looking for more has cost
    /// enough: `fetched` more bytes by now.
    fn check_differs(&self, fetched: u64) -> Result<(), ExportError> {
        let found = self.state().differs.len();
        if found == 0 {
            return Ok(());
        }
        let looked = self.looked.fetch_add(fetched, Ordering::Relaxed) + fetched;
        if found < DIFFERENT_MAX && looked < LOOK_FURTHER { Ok(()) } else { self.check_same() }
    }

    /// Fails if anything differs.
    fn check_same(&self) -> Result<(), ExportError> {
        let mut paths = self.state().differs.clone();
        paths.sort();
        if paths.is_empty() { Ok(()) } else { Err(ExportError::Differs(paths)) }
    }

    /// Keeps a block that is no leaf.
    pub(crate) fn store_block(&self, cid: &Cid, block: &Bytes) -> Result<(), ExportError> {
        self.adding(cid)?;
        if hash::inline(cid).is_none() {
            self.store.put_block(cid.hash(), block)?;
        }
        self.added(block.len() as u64)
    }

    /// To be called before the store is asked for the block or given it, so that no
    /// collection takes it in between.
    fn adding(&self, cid: &Cid) -> Result<(), ExportError> {
        Ok(self.set.insert(cid.hash())?)
    }

    fn added(&self, bytes: u64) -> Result<(), ExportError> {
        if self.unflushed.fetch_add(bytes, Ordering::Relaxed) + bytes >= FLUSH_EVERY {
            self.unflushed.store(0, Ordering::Relaxed);
            self.store.commit(Durability::Buffered)?;
        }
        Ok(())
    }

    /// The store's name for a file at the destination.
    fn existing_file(&self, path: &Path) -> Result<FileId, ExportError> {
        self.in_place.lock().unwrap_or_else(PoisonError::into_inner).file(path)
    }

    fn display(&self, path: &Path) -> PathBuf {
        self.staging.parent_path.join(path)
    }

    fn io(&self, what: &'static str, path: &Path, source: io::Error) -> ExportError {
        ExportError::Io { what, path: self.display(path), source }
    }

    fn dir(&self) -> &Dir {
        &self.staging.dir
    }
}

impl Drop for Export {
    /// The store reads by path what is no longer written. A fetch that staged
    /// nothing leaves nothing behind.
    fn drop(&mut self) {
        for entry in self.state().files.values() {
            entry.detach(&self.store);
        }
        if !self.completed.load(Ordering::Relaxed) && self.staging.is_empty() {
            let forget = || -> Result<(), peerage_store::WriteError> {
                self.store.end_download(self.staging.download)?;
                self.store.remove_tree(self.staging.tree)?;
                self.claims.trees_changed();
                Ok(())
            };
            if let Err(error) = forget() {
                tracing::debug!(%error, "cannot forget a download");
            }
            if let Err(error) = self.staging.remove() {
                tracing::debug!(%error, "cannot remove an empty staging folder");
            }
        }
    }
}
