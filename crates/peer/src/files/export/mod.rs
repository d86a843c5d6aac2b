//! Writes a fetched DAG to disk: everything goes into one staging entry beside
//! the destination, and only what is whole takes the destination's name.
//!
//! All of it runs on the workers, several calls at once. Every access goes
//! through a handle of the destination's folder that never leaves it.

mod error;
mod existing;
mod finish;
mod staging;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions};
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, hash};
use peerage_engine::{At, FileKey};
use peerage_store::{FileId, Reference, RootSetBuilder, Stat, Store, TreeId};

pub use error::ExportError;
use existing::Existing;
pub(crate) use finish::Finished;
use staging::Staging;

/// References are handed to the kernel after so many bytes of content: what a
/// killed process may have to fetch again.
const FLUSH_EVERY: u64 = 4 << 20;

/// Edges of a block that a reference may carry, in bytes; a block with longer
/// ones is stored whole beside the file.
const EDGE_MAX: usize = peerage_store::MAX_EDGE_BYTES;

/// Where a fetch goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The absolute path that the file or folder itself takes.
    pub(crate) path: PathBuf,
    /// Replace what is there and differs.
    pub(crate) overwrite: bool,
    /// Make symlinks that leave the destination.
    pub(crate) unsafe_symlinks: bool,
}

/// One fetch's way to the disk.
pub(crate) struct Export {
    store: Store,
    /// Blocks that are in place, so that they are served while more arrive.
    set: Arc<RootSetBuilder>,
    destination: Destination,
    staging: Staging,
    /// What stood at the destination before.
    existing: Existing,
    /// For files that are in place already, without staging.
    existing_tree: Mutex<Option<TreeId>>,
    state: Mutex<State>,
    unflushed: AtomicU64,
    noted_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    files: HashMap<FileKey, Arc<Entry>>,
    /// Hashes of the paths made in this run: no name is made twice.
    made: HashSet<u64>,
    collision: Option<PathBuf>,
    symlinks: Vec<Symlink>,
    folders: Vec<(PathBuf, Metadata)>,
    executables: u64,
    in_place: u64,
}

struct Symlink {
    path: PathBuf,
    target: Vec<u8>,
}

/// A file under way.
struct Entry {
    /// Below the folder of the destination; begins with the destination's name.
    path: PathBuf,
    size: u64,
    metadata: Metadata,
    state: Mutex<FileState>,
}

#[derive(Default)]
struct FileState {
    file: Option<Arc<File>>,
    id: Option<FileId>,
    /// The file at the destination is used as it is, so far.
    in_place: bool,
    /// Bytes at the destination that are known to be right, by offset.
    matched: HashSet<u64>,
    decided: bool,
}

impl Export {
    /// Prepares the staging entry for `root`, or takes up one that an earlier
    /// run left.
    pub(crate) fn new(store: Store, root: &Cid, destination: Destination) -> Result<Self, ExportError> {
        let staging = Staging::open(&store, root, &destination.path)?;
        let existing = Existing::of(&staging);
        Ok(Self {
            set: Arc::new(store.root_set_builder()),
            store,
            destination,
            staging,
            existing,
            existing_tree: Mutex::new(None),
            state: Mutex::default(),
            unflushed: AtomicU64::new(0),
            noted_bytes: AtomicU64::new(0),
        })
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
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        if !state.made.insert(hasher.finish()) && state.collision.is_none() {
            state.collision = Some(path.to_path_buf());
        }
    }

    /// Makes a folder.
    pub(crate) fn make_dir(&self, path: &[String], metadata: Metadata) -> Result<(), ExportError> {
        let path = self.path(path);
        let mut state = self.state();
        self.claim(&mut state, &path);
        if !metadata.is_empty() {
            state.folders.push((path.clone(), metadata));
        }
        drop(state);
        self.check_collision()?;
        if self.existing.conflicts_with_folder(&self.staging, &path) && !self.destination.overwrite {
            return Err(ExportError::Differs(vec![self.display(&path)]));
        }
        self.staging.dir.create_dir_all(&path).map_err(|error| self.io("make the folder", &path, error))
    }

    /// Notes a file; it is made by its first write.
    pub(crate) fn note_file(&self, file: FileKey, path: Vec<String>, size: u64, metadata: Metadata) {
        let path = self.path(&path);
        self.noted_bytes.fetch_add(size, Ordering::Relaxed);
        let mut state = self.state();
        self.claim(&mut state, &path);
        if metadata.mode.is_some_and(|mode| mode & 0o111 != 0) {
            state.executables += 1;
        }
        state.files.insert(file, Arc::new(Entry { path, size, metadata, state: Mutex::default() }));
    }

    /// Notes a symbolic link; it is made at the end.
    pub(crate) fn note_symlink(&self, path: Vec<String>, target: &[u8], _metadata: Metadata) {
        let path = self.path(&path);
        let mut state = self.state();
        self.claim(&mut state, &path);
        state.symlinks.push(Symlink { path, target: target.to_vec() });
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

    /// Writes bytes `data` of a verified block at `offset` of a file.
    pub(crate) fn write(
        &self,
        file: FileKey,
        offset: u64,
        cid: &Cid,
        block: &Bytes,
        data: Range<usize>,
        held: bool,
    ) -> Result<(), ExportError> {
        self.check_collision()?;
        let entry = self.entry(file)?;
        let payload = &block[data.clone()];
        let mut state = entry.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.file.is_none() && !state.in_place {
            self.open(&entry, &mut state)?;
        }
        if state.in_place && !state.matched.contains(&offset) {
            self.leave_place(&entry, &mut state)?;
        }
        let handle = state.file.clone();
        let known = state.matched.contains(&offset);
        let id = state.id;
        drop(state);
        if let Some(handle) = handle.filter(|_| !known) {
            self.existing.check_overlap(self, &entry.path, offset, payload)?;
            handle.write_all_at(payload, offset).map_err(|error| self.io("write", &entry.path, error))?;
        }
        let (head, tail) = (&block[..data.start], &block[data.end..]);
        let leaf = !held || !payload.is_empty();
        if let Some(id) = id.filter(|_| leaf) {
            self.refer(id, offset, cid, block, payload.len(), head, tail)?;
        }
        self.added(cid, payload.len() as u64)
    }

    /// Notes where the block lies now. Inner nodes with bytes of their own have
    /// long edges, and are kept whole.
    #[expect(clippy::too_many_arguments, reason = "the parts of one record, from one caller")]
    fn refer(
        &self,
        file: FileId,
        offset: u64,
        cid: &Cid,
        block: &Bytes,
        len: usize,
        head: &[u8],
        tail: &[u8],
    ) -> Result<(), ExportError> {
        if hash::inline(cid).is_some() || block.is_empty() {
            return Ok(());
        }
        if head.len() > EDGE_MAX || tail.len() > EDGE_MAX {
            self.store.put_block(cid.hash(), block)?;
            return Ok(());
        }
        let len = u32::try_from(len).map_err(|_| ExportError::Gone)?;
        let reference = Reference { file, offset, len, head: head.to_vec(), tail: tail.to_vec() };
        self.store.put_reference(cid.hash(), &reference)?;
        Ok(())
    }

    /// Keeps a block that is no leaf.
    pub(crate) fn store_block(&self, cid: &Cid, block: &Bytes) -> Result<(), ExportError> {
        if hash::inline(cid).is_none() {
            self.store.put_block(cid.hash(), block)?;
        }
        self.added(cid, block.len() as u64)
    }

    fn added(&self, cid: &Cid, bytes: u64) -> Result<(), ExportError> {
        self.set.insert(cid.hash())?;
        if self.unflushed.fetch_add(bytes, Ordering::Relaxed) + bytes >= FLUSH_EVERY {
            self.unflushed.store(0, Ordering::Relaxed);
            self.store.flush()?;
        }
        Ok(())
    }

    /// Opens a file in staging, or decides that the one at the destination may do.
    fn open(&self, entry: &Entry, state: &mut FileState) -> Result<(), ExportError> {
        if !state.decided {
            state.decided = true;
            self.staging.check_space(self.noted_bytes.load(Ordering::Relaxed))?;
            if self.existing.may_be_whole(&self.staging, &entry.path, entry.size) {
                state.in_place = true;
                let tree = self.existing_tree()?;
                state.id = Some(self.store.add_file(tree, &entry.path, None)?);
                return Ok(());
            }
            let fits = self.existing.may_be_prefix(&self.staging, &entry.path, entry.size);
            if !fits && !self.destination.overwrite {
                return Err(ExportError::Differs(vec![self.display(&entry.path)]));
            }
        }
        let file = self.create(&entry.path).map_err(|error| self.io("make the file", &entry.path, error))?;
        let file = Arc::new(file);
        if entry.size > 0 {
            file.set_len(entry.size).map_err(|error| self.io("make room for", &entry.path, error))?;
        }
        self.existing.copy_prefix(&self.staging, &entry.path, &file, entry.size)?;
        let id = self.staging.file_id(&self.store, &entry.path)?;
        self.store.attach_handle(id, Arc::clone(&file));
        state.id = Some(id);
        state.file = Some(file);
        Ok(())
    }

    /// The file at the destination turned out to differ.
    fn leave_place(&self, entry: &Entry, state: &mut FileState) -> Result<(), ExportError> {
        if !self.destination.overwrite {
            return Err(ExportError::Differs(vec![self.display(&entry.path)]));
        }
        state.in_place = false;
        state.matched.clear();
        self.open(entry, state)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        match self.staging.dir.open_with(path, &options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Its folder is being made by another worker just now.
                if let Some(parent) = path.parent() {
                    self.staging.dir.create_dir_all(parent)?;
                }
                self.staging.dir.open_with(path, &options)
            }
            result => result,
        }
        .map(cap_std::fs::File::into_std)
    }

    fn existing_tree(&self) -> Result<TreeId, ExportError> {
        let mut tree = self.existing_tree.lock().unwrap_or_else(PoisonError::into_inner);
        match *tree {
            Some(tree) => Ok(tree),
            None => Ok(*tree.insert(self.store.add_tree(&self.staging.parent_path)?)),
        }
    }

    /// All bytes of the file have been written.
    pub(crate) fn finish_file(&self, file: FileKey) -> Result<(), ExportError> {
        let Some(entry) = self.state().files.remove(&file) else { return Ok(()) };
        let mut state = entry.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = state.id else { return Ok(()) };
        let handle = match state.file.take() {
            Some(handle) => handle,
            None => {
                let found = self.staging.parent.open(&entry.path);
                self.state().in_place += 1;
                Arc::new(found.map_err(|error| self.io("open", &entry.path, error))?.into_std())
            }
        };
        let named = |error| self.io("finish", &entry.path, error);
        if !state.in_place {
            finish::apply(&handle, &entry.metadata).map_err(named)?;
        }
        let stat = Stat::of(&handle.metadata().map_err(named)?);
        self.store.set_stats(&[(id, stat)])?;
        self.store.detach_handle(id);
        Ok(())
    }

    /// Looks whether a block already lies where it belongs: at the destination,
    /// or in what an earlier run staged.
    pub(crate) fn read_existing(&self, cid: &Cid, at: At) -> Option<Bytes> {
        let entry = self.entry(at.file).ok()?;
        let len = usize::try_from(at.len).ok()?;
        let at_dest = self.existing.read(&self.staging, &entry.path, at.offset, len);
        let found = at_dest.and_then(|bytes| existing::as_block(cid, bytes));
        if found.is_some() {
            let mut state = entry.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.matched.insert(at.offset);
            return found;
        }
        let staged = self.staging.read_staged(&entry.path, at.offset, len)?;
        existing::as_block(cid, staged)
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
