//! Roots that may be served, each with the set of its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::disk::{self, Disk};
use crate::error::WriteError;
use crate::facts::{Fact, Root, RootId};
use crate::key::RepoKey;
use crate::ledger::{Ledger, check_path};
use crate::notice::OpenReport;
use crate::pack::set::lock;
use crate::rootset::{Living, OpenSets, RootSet, RootSetBuilder};
use crate::store::{Inner, Store};
use crate::trees::check_name;

/// Of the file of a set.
const EXTENSION: &str = "root";

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
        disk.create_dir(dir)?;
        let living: Arc<Living> = Arc::default();
        let open = Arc::new(OpenSets::new(disk, limit, &living.filters));
        let mut sets = BTreeMap::new();
        for (id, root) in ledger.roots() {
            match RootSet::open(&path_of(dir, id), id, key, &open) {
                Ok(Some(set)) => drop(sets.insert(id, Arc::new(set))),
                Ok(None) => report.lost_root_sets.push(root.cid),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    report.lost_root_sets.push(root.cid);
                }
                Err(error) => return Err(error),
            }
        }
        // What a crash left between a set and its record, or a builder behind.
        let known: BTreeSet<OsString> = sets.keys().map(|id| name_of(*id).into()).collect();
        let mut stale = Vec::new();
        for (name, _) in disk.list(dir)? {
            let path = dir.join(&name);
            if known.contains(&name) {
                continue;
            }
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
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

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count_bytes(&self) {
        self.bytes.store(disk::bytes_in(&*self.open.disk, &self.dir), Ordering::Relaxed);
    }
}

fn name_of(id: RootId) -> String {
    format!("{:x}.{EXTENSION}", id.0)
}

fn path_of(dir: &Path, id: RootId) -> PathBuf {
    dir.join(name_of(id))
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
        check_name(&root.name)?;
        root.path.as_deref().map_or(Ok(()), check_path)?;
        let inner = &*self.inner;
        let id = RootId(lock(&inner.ledger).new_id()?);
        let set = blocks.write(&path_of(&inner.roots.dir, id), id, &inner.roots.open)?;
        inner.config.disk.sync_dir(&inner.roots.dir)?;
        let mut ledger = lock(&inner.ledger);
        ledger.add(Fact::RootAdded(id, root.clone()))?;
        ledger.flush()?;
        let mut sets = inner.roots.sets.write().unwrap_or_else(PoisonError::into_inner);
        sets.insert(id, Arc::new(set));
        drop(sets);
        inner.roots.count_bytes();
        Ok(id)
    }

    /// Changes what is said of a root; its blocks stay.
    ///
    /// # Errors
    /// An unknown root, a path or name over 4,096 bytes, or the disk's.
    pub fn update_root(&self, id: RootId, root: &Root) -> Result<(), WriteError> {
        check_name(&root.name)?;
        root.path.as_deref().map_or(Ok(()), check_path)?;
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
        let mut ledger = lock(&self.inner.ledger);
        if ledger.root(id).is_none() {
            // As of a pin: it may be gone since a removal that failed.
            ledger.flush()?;
            return Ok(false);
        }
        ledger.add(Fact::RootRemoved(id))?;
        ledger.flush()?;
        drop(ledger);
        self.inner.roots.sets.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.inner.roots.open.forget(id);
        // The set goes once the record cannot come back: it would be told as lost.
        // If the disk cannot do that, the next process removes it.
        self.sync()?;
        disk::remove_if_there(&*self.inner.config.disk, &path_of(&self.inner.roots.dir, id))?;
        self.inner.roots.count_bytes();
        Ok(true)
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
