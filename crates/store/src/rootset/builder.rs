//! A root set that grows while a DAG is produced or fetched.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::writer::{Writer, merge};
use super::{FilterRoom, OpenSets, RootSet, SetData, SetFile};
use crate::Multihash;
use crate::config::ROOT_SET_BUFFER;
use crate::disk::{self, Access, Disk, File};
use crate::error::WriteError;
use crate::facts::RootId;
use crate::key::RepoKey;
use crate::pack::set::lock;

/// Runs that a builder keeps before it merges them into one. 16: half a
/// million blocks in each merge at least.
const MAX_RUNS: usize = 16;

#[derive(Debug, Default)]
struct Growing {
    recent: HashSet<u64>,
    runs: Vec<Arc<SetData>>,
    spilled: u64,
}

/// A root set that grows, of any size in bounded memory. Threads may add and ask at once.
///
/// While it lives, a collection takes none of the blocks in it. So whoever relies on
/// a block that is here adds it before he looks for it.
#[derive(Debug)]
pub struct RootSetBuilder(pub(super) Arc<Shared>);

/// What a builder holds.
#[derive(Debug)]
pub(crate) struct Shared {
    disk: Arc<dyn Disk>,
    key: RepoKey,
    /// Where runs go: deleted as soon as they are open, so nothing is left behind.
    scratch: PathBuf,
    growing: Mutex<Growing>,
    /// Those that live of the repository.
    living: Arc<Living>,
}

/// Sets that are no root's: a collection takes none of their blocks, either.
#[derive(Debug, Default)]
pub(crate) struct Living {
    growing: Mutex<Vec<Weak<Shared>>>,
    sealed: Mutex<Vec<Weak<SetData>>>,
    /// For all sets of the repository.
    pub(crate) filters: Arc<FilterRoom>,
}

impl Living {
    /// Whether one of them has the key.
    pub(crate) fn have(&self, key: u64) -> io::Result<bool> {
        // Growing ones first: one that ends meanwhile was sealed before.
        for set in alive(&self.growing) {
            if set.has_key(key)? {
                return Ok(true);
            }
        }
        for set in alive(&self.sealed) {
            if set.has_key(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn alive<T>(list: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    lock(list).iter().filter_map(Weak::upgrade).collect()
}

/// Adds one, and forgets those that are gone.
fn enter<T>(list: &Mutex<Vec<Weak<T>>>, one: Weak<T>) {
    let mut list = lock(list);
    list.retain(|other| other.strong_count() > 0);
    list.push(one);
}

impl RootSetBuilder {
    pub(crate) fn new(disk: &Arc<dyn Disk>, key: RepoKey, scratch: PathBuf, living: &Arc<Living>) -> Self {
        let (disk, living) = (Arc::clone(disk), Arc::clone(living));
        let shared = Arc::new(Shared { disk, key, scratch, growing: Mutex::default(), living });
        enter(&shared.living.growing, Arc::downgrade(&shared));
        Self(shared)
    }

    /// Adds a block.
    ///
    /// # Errors
    /// The disk's, when a run is written.
    pub fn insert(&self, mh: &Multihash) -> Result<(), WriteError> {
        self.insert_key(self.0.key.of(mh))
    }

    pub(crate) fn insert_key(&self, key: u64) -> Result<(), WriteError> {
        let mut growing = lock(&self.0.growing);
        growing.recent.insert(key);
        if growing.recent.len() >= ROOT_SET_BUFFER {
            self.0.spill(&mut growing)?;
        }
        Ok(())
    }

    /// Whether the block was added.
    #[must_use]
    pub fn contains(&self, mh: &Multihash) -> bool {
        // What cannot be read is not served: the safe side.
        self.0.has_key(self.0.key.of(mh)).unwrap_or(false)
    }

    /// What was added so far as a set of its own, in a file without a name.
    ///
    /// # Errors
    /// The disk's.
    pub fn seal(&self) -> Result<RootSet, WriteError> {
        let path = self.0.scratch.with_extension("sealed");
        let set = RootSet(Arc::new(self.0.merged(disk::nameless(&*self.0.disk, &path)?, 0)?));
        enter(&self.0.living.sealed, set.downgrade());
        Ok(set)
    }

    /// Writes the whole set to `path`, synced; the builder goes on answering.
    pub(crate) fn write(&self, path: &Path, id: RootId, open: &Arc<OpenSets>) -> io::Result<RootSet> {
        self.0.write(path, id, open)
    }
}

impl Shared {
    /// Whether it has the key; what cannot be read is an error.
    pub(crate) fn has_key(&self, key: u64) -> io::Result<bool> {
        let growing = lock(&self.growing);
        if growing.recent.contains(&key) {
            return Ok(true);
        }
        for run in &growing.runs {
            if run.has_key(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spill(&self, growing: &mut Growing) -> io::Result<()> {
        let filters = &self.living.filters;
        let mut keys: Vec<u64> = growing.recent.iter().copied().collect();
        keys.sort_unstable();
        let path = self.scratch.with_extension(format!("run{}", growing.spilled));
        let mut writer = Writer::new(disk::nameless(&*self.disk, &path)?, 0, keys.len() as u64, filters);
        keys.into_iter().try_for_each(|key| writer.push(key))?;
        let run = Arc::new(writer.finish(self.key)?);
        growing.runs.push(run);
        growing.spilled += 1;
        growing.recent = HashSet::new();
        if growing.runs.len() >= MAX_RUNS {
            let path = self.scratch.with_extension("merge");
            let file = (disk::nameless(&*self.disk, &path)?, 0);
            let merged = merge(file, &growing.runs, &[], self.key, filters)?;
            growing.runs = vec![Arc::new(merged)];
        }
        Ok(())
    }

    /// Writes all of it to a file that is empty from `base` on.
    pub(super) fn merged(&self, file: File, base: u64) -> io::Result<SetData> {
        let growing = lock(&self.growing);
        let mut recent: Vec<u64> = growing.recent.iter().copied().collect();
        recent.sort_unstable();
        merge((file, base), &growing.runs, &recent, self.key, &self.living.filters)
    }

    fn write(&self, path: &Path, id: RootId, open: &Arc<OpenSets>) -> io::Result<RootSet> {
        let temp = path.with_extension("tmp");
        let written = self.disk.open(&temp, Access::Anew).and_then(|file| {
            let set = self.merged(file, 0)?;
            set.file.with(|file| file.sync())?;
            self.disk.rename(&temp, path)?;
            Ok(set)
        });
        if written.is_err() {
            // It takes room that is perhaps wanting.
            drop(disk::remove_if_there(&*self.disk, &temp));
        }
        let set = written?;
        let file = SetFile::Named(path.to_path_buf(), id, Arc::clone(open));
        Ok(RootSet(Arc::new(SetData { file, ..set })))
    }
}
