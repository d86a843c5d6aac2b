//! Roots that may be served, each with the set of its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::commit::Durability;
use crate::config::ROOTS_AT_ONCE;
use crate::disk::{self, Disk};
use crate::error::WriteError;
use crate::facts::{Fact, Root, RootId};
use crate::key::RepoKey;
use crate::ledger::{Ledger, check_path};
use crate::notice::OpenReport;
use crate::pack::set::lock;
use crate::rootset::{Living, OpenSets, RootSet, RootSetBuilder, pack};
use crate::store::{Inner, Store};
use crate::trees::check_name;

/// Of the file of a set, and of one of several sets, named after the first.
const EXTENSION: &str = "root";
const SEVERAL: &str = "roots";

/// The root sets of a repository.
#[derive(Debug)]
pub(crate) struct Roots {
    dir: PathBuf,
    sets: RwLock<BTreeMap<RootId, Arc<RootSet>>>,
    open: Arc<OpenSets>,
    /// Bytes of the files of all sets.
    bytes: AtomicU64,
    /// Sets of no root when it was opened.
    stale: Vec<PathBuf>,
    /// How many builders there were.
    builders: AtomicU64,
    /// Sets that are no root's.
    living: Arc<Living>,
}

impl Roots {
    /// Opens the sets of all roots; a lost set means a root that is not served.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        key: RepoKey,
        limit: usize,
        ledger: &Ledger,
        report: &mut OpenReport,
    ) -> io::Result<Self> {
        disk::create_dirs(&**disk, dir)?;
        let living: Arc<Living> = Arc::default();
        let open = Arc::new(OpenSets::new(disk, limit, &living.filters));
        let files: Vec<OsString> = disk.list(dir)?.into_iter().map(|(name, _)| name).collect();
        let names: BTreeSet<&OsStr> = files.iter().map(OsString::as_os_str).collect();
        let mut sets = BTreeMap::new();
        let packed = packed(&**disk, dir, &files)?;
        for (id, root) in ledger.roots() {
            let own = path_of(dir, id);
            let opened = match packed.get(&id) {
                // One of its own was made after what lies among others was lost.
                Some((path, first, at)) if !own.file_name().is_some_and(|name| names.contains(name)) => {
                    RootSet::open_at(path, (*first, *at), key, &open)
                }
                _ => RootSet::open(&own, id, key, &open),
            };
            match opened {
                Ok(Some(set)) => drop(sets.insert(id, Arc::new(set))),
                Ok(None) => report.lost_root_sets.push(root.cid),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    report.lost_root_sets.push(root.cid);
                }
                Err(error) => return Err(error),
            }
        }
        // What a crash left between a set and its record, or a builder behind.
        let known: BTreeSet<&Path> =
            sets.values().filter_map(|set| set.data().path()).map(|(path, _)| path).collect();
        let mut stale = Vec::new();
        for path in files.iter().map(|name| dir.join(name)) {
            if known.contains(&*path) {
                continue;
            }
            if path.extension().is_some_and(|extension| extension == EXTENSION || extension == SEVERAL) {
                stale.push(path);
            } else {
                disk::remove_if_there(&**disk, &path)?;
            }
        }
        let bytes = AtomicU64::new(disk::bytes_in(&**disk, dir));
        let (dir, sets) = (dir.to_path_buf(), RwLock::new(sets));
        Ok(Self { dir, sets, open, bytes, stale, builders: AtomicU64::new(0), living })
    }

    /// Whether a root that was added after `last` has the key, or a set that is no
    /// root's yet, or never will be.
    pub(crate) fn have_since(&self, last: RootId, key: u64) -> io::Result<bool> {
        // These first: one that ends meanwhile has become a root before.
        if self.living.have(key)? {
            return Ok(true);
        }
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        for (_, set) in sets.range((Bound::Excluded(last), Bound::Unbounded)) {
            if set.data().has_key(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the files of all sets anew, under the names that they have: these may be
    /// seen and yet be lost.
    pub(crate) fn write_anew(&self) -> io::Result<()> {
        let disk = &*self.open.disk;
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let files: BTreeSet<&Path> =
            sets.values().filter_map(|set| set.data().path()).map(|(path, _)| path).collect();
        for path in files {
            disk::copy(disk, path, &path.with_extension("tmp"), path)?;
        }
        disk.sync_dir(&self.dir)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count_bytes(&self) {
        self.bytes.store(disk::bytes_in(&*self.open.disk, &self.dir), Ordering::Relaxed);
    }
}

fn path_of(dir: &Path, id: RootId) -> PathBuf {
    dir.join(format!("{:x}.{EXTENSION}", id.0))
}

/// Sets in files of several: the file, the root that it is open as, and where the set
/// begins.
type Packed = BTreeMap<RootId, (PathBuf, RootId, u64)>;

fn packed(disk: &dyn Disk, dir: &Path, files: &[OsString]) -> io::Result<Packed> {
    let mut packed = Packed::new();
    let paths = files.iter().map(|name| dir.join(name));
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == SEVERAL)) {
        let sets = pack::read(disk, &path)?;
        let Some(first) = sets.keys().next().copied() else { continue };
        packed.extend(sets.into_iter().map(|(id, at)| (id, (path.clone(), first, at))));
    }
    Ok(packed)
}

fn check_root(root: &Root) -> Result<(), WriteError> {
    check_name(&root.name)?;
    root.path.as_deref().map_or(Ok(()), check_path)
}

/// A root and its blocks.
#[derive(Debug, Clone)]
pub struct RootEntry {
    /// Its id.
    pub id: RootId,
    /// What the caller said of it.
    pub root: Root,
    /// Its blocks; `None` if the set was lost, and then nothing of it is served.
    pub set: Option<Arc<RootSet>>,
}

impl Inner {
    /// Removes sets of no root, once the record that says so cannot be lost: the root
    /// would be told as one without its set. If the disk cannot do that, they stay.
    pub(crate) fn remove_stale_sets(&self) {
        if self.roots.stale.is_empty() || self.commit().is_err() {
            return;
        }
        for path in &self.roots.stale {
            drop(disk::remove_if_there(&*self.config.disk, path));
        }
        self.roots.count_bytes();
    }
}

impl Store {
    /// A growing set for a root whose blocks are being produced or fetched.
    #[must_use]
    pub fn root_set_builder(&self) -> RootSetBuilder {
        let roots = &self.inner.roots;
        let number = roots.builders.fetch_add(1, Ordering::Relaxed);
        let scratch = roots.dir.join(format!("builder{number}.tmp"));
        RootSetBuilder::new(&self.inner.config.disk, self.inner.key, scratch, &roots.living)
    }

    /// Adds a root with all its blocks. The set is on disk and the record in
    /// the kernel on return.
    ///
    /// # Errors
    /// A path or name over 4,096 bytes, or the disk's.
    pub fn add_root(&self, root: &Root, blocks: &RootSetBuilder) -> Result<RootId, WriteError> {
        check_root(root)?;
        let inner = &*self.inner;
        let id = RootId(lock(&inner.ledger).new_id()?);
        let set = blocks.write(&path_of(&inner.roots.dir, id), id, &inner.roots.open)?;
        self.note_roots([(id, root, set)])?;
        Ok(id)
    }

    /// Adds many roots, each with all its blocks, for the syncs of one; their ids are
    /// in the same order. The sets are on disk and the records in the kernel on return.
    /// After an error, or if the process ends before, some may have been added: the
    /// first ones, each with its set.
    ///
    /// # Errors
    /// As of [`Store::add_root`].
    pub fn add_roots(&self, roots: &[(&Root, &RootSetBuilder)]) -> Result<Vec<RootId>, WriteError> {
        roots.iter().try_for_each(|(root, _)| check_root(root))?;
        let mut added = Vec::with_capacity(roots.len());
        for roots in roots.chunks(ROOTS_AT_ONCE) {
            if let [(root, blocks)] = roots {
                added.push(self.add_root(root, blocks)?);
                continue;
            }
            let inner = &*self.inner;
            let mut ledger = lock(&inner.ledger);
            let ids = roots.iter().map(|_| ledger.new_id().map(RootId));
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            drop(ledger);
            let builders = roots.iter().map(|(_, blocks)| *blocks);
            let sets: Vec<_> = ids.iter().copied().zip(builders).collect();
            let path = path_of(&inner.roots.dir, ids[0]).with_extension(SEVERAL);
            let sets = pack::write(&path, &sets, &inner.roots.open)?;
            let records = ids.iter().zip(roots).zip(sets);
            self.note_roots(records.map(|((id, (root, _)), set)| (*id, *root, set)))?;
            added.extend(ids);
        }
        Ok(added)
    }

    /// Adds the records of roots whose sets are synced, and their names after them.
    fn note_roots<'a>(
        &self,
        roots: impl IntoIterator<Item = (RootId, &'a Root, RootSet)>,
    ) -> Result<(), WriteError> {
        let inner = &*self.inner;
        let synced = inner.config.disk.sync_dir(&inner.roots.dir);
        synced.map_err(|error| inner.note_unsynced(error.into()))?;
        let mut ledger = lock(&inner.ledger);
        let mut sets = inner.roots.sets.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = Vec::new();
        // What is in the ledger has its set, also after an error.
        let noted = roots.into_iter().try_for_each(|(id, root, set)| {
            ledger.add(Fact::RootAdded(id, root.clone()))?;
            added.push((id, Arc::new(set)));
            Ok(())
        });
        sets.extend(added);
        drop(sets);
        let flushed = noted.and_then(|()| ledger.flush());
        drop(ledger);
        inner.roots.count_bytes();
        flushed
    }

    /// Gives a root whose set was lost a new one; false if there is no such root, or it
    /// has its set. On disk on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn remake_set(&self, id: RootId, blocks: &RootSetBuilder) -> Result<bool, WriteError> {
        let roots = &self.inner.roots;
        // Removing a root waits until its set is there, and takes it, too.
        let ledger = lock(&self.inner.ledger);
        let mut sets = roots.sets.write().unwrap_or_else(PoisonError::into_inner);
        if ledger.root(id).is_none() || sets.contains_key(&id) {
            return Ok(false);
        }
        let set = blocks.write(&path_of(&roots.dir, id), id, &roots.open)?;
        self.inner.config.disk.sync_dir(&roots.dir)?;
        sets.insert(id, Arc::new(set));
        drop((ledger, sets));
        roots.count_bytes();
        Ok(true)
    }

    /// Changes what is said of a root; its blocks stay.
    ///
    /// # Errors
    /// An unknown root, a path or name over 4,096 bytes, or the disk's.
    pub fn update_root(&self, id: RootId, root: &Root) -> Result<(), WriteError> {
        check_root(root)?;
        let mut ledger = lock(&self.inner.ledger);
        if ledger.root(id).is_none() {
            return Err(WriteError::Unknown { what: "root", id: id.0 });
        }
        ledger.add(Fact::RootAdded(id, root.clone()))?;
        ledger.flush()
    }

    /// Forgets a root; false if there was none. Its blocks stay until they are collected.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_root(&self, id: RootId) -> Result<bool, WriteError> {
        Ok(self.remove_roots(&[id])? > 0)
    }

    /// Forgets many roots for the syncs of one; how many of them there were.
    ///
    /// # Errors
    /// The disk's. Some may be gone then.
    pub fn remove_roots(&self, ids: &[RootId]) -> Result<usize, WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        let mut gone = Vec::new();
        for id in ids.iter().filter(|id| ledger.root(**id).is_some()).copied().collect::<BTreeSet<_>>() {
            ledger.add(Fact::RootRemoved(id))?;
            gone.push(id);
        }
        // As of a pin: one that is not there may be gone since a removal that failed.
        ledger.flush()?;
        drop(ledger);
        if gone.is_empty() {
            return Ok(0);
        }
        let roots = &self.inner.roots;
        let mut sets = roots.sets.write().unwrap_or_else(PoisonError::into_inner);
        let file = |(id, set): (RootId, Option<Arc<RootSet>>)| {
            let at = set.as_ref().and_then(|set| set.data().path());
            at.map_or_else(|| (path_of(&roots.dir, id), id), |(path, of)| (path.to_path_buf(), of))
        };
        let removed = gone.iter().map(|id| (*id, sets.remove(id)));
        let mut files: BTreeMap<PathBuf, RootId> = removed.map(file).collect();
        // One that has others' sets, too, stays as long as these.
        if files.keys().any(|path| path.extension().is_some_and(|extension| extension == SEVERAL)) {
            let others = sets.values().filter_map(|set| set.data().path());
            others.for_each(|(path, _)| {
                files.remove(path);
            });
        }
        drop(sets);
        files.values().for_each(|id| roots.open.forget(*id));
        // The sets go once the records cannot come back: they would be told as lost.
        // If the disk cannot do that, the next process removes them.
        self.commit(Durability::Durable)?;
        for path in files.keys() {
            disk::remove_if_there(&*self.inner.config.disk, path)?;
        }
        roots.count_bytes();
        Ok(gone.len())
    }

    /// All roots, the oldest first.
    #[must_use]
    pub fn roots(&self) -> Vec<RootEntry> {
        let roots = lock(&self.inner.ledger).roots();
        let sets = self.inner.roots.sets.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |(id, root)| RootEntry { id, root, set: sets.get(&id).cloned() };
        roots.into_iter().map(entry).collect()
    }
}
