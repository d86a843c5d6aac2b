//! Who in this process relies on which trees and files of the store.
//!
//! Two imports of one folder share its tree and its files: what one has added,
//! the other finds. So an import that ends early may forget what it added only
//! where nobody else has found it, and what an import that ended well relies on
//! stays for good. Everything that looks such an id up to refer to it, or that
//! forgets one, does so here, under one lock.
//!
//! Only what a running import has added is noted, in rows of ids: all else was
//! relied on before, and is forgotten by nobody here.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_store::{FileId, ReadError, Seen, Store, TreeId, WriteError};

use super::ids::Ids;

/// Files that are forgotten without a pause, in ids. 256: a journal record each,
/// and as long as other imports wait.
const FORGOTTEN_AT_ONCE: usize = 256;

/// A store, and what running imports rely on in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    store: Store,
    jobs: Arc<Mutex<Jobs>>,
}

#[derive(Debug, Default)]
struct Jobs {
    next: u64,
    running: BTreeMap<u64, Held>,
    /// The store's trees by their bases, the oldest of each, since an import of
    /// many paths asks for as many: read at the first question, and again when
    /// one may be gone. Not kept longer than anybody runs.
    trees: Option<HashMap<PathBuf, TreeId>>,
}

/// What one import relies on of all that may yet be forgotten.
#[derive(Debug, Default)]
struct Held {
    trees: Ids,
    files: Ids,
}

impl Jobs {
    fn settle(&mut self, held: &Held) {
        for other in self.running.values_mut() {
            other.trees.subtract(&held.trees);
            other.files.subtract(&held.files);
        }
    }
}

impl Claims {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, jobs: Arc::default() }
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// An import begins.
    pub(crate) fn begin(&self) -> Claim {
        let mut jobs = self.lock();
        let job = jobs.next;
        jobs.next += 1;
        jobs.running.insert(job, Held::default());
        drop(jobs);
        Claim { claims: self.clone(), job }
    }

    /// The file of a tree with this path. From now on both stay, whatever
    /// becomes of the import that added them.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn keep_file(&self, tree: TreeId, path: &Path) -> Result<Option<FileId>, ReadError> {
        let mut jobs = self.lock();
        let found = self.store.file_by_path(tree, path)?;
        if let Some(file) = found {
            for held in jobs.running.values_mut() {
                held.trees.remove(tree.0);
                held.files.remove(file.0);
            }
        }
        Ok(found)
    }

    /// A tree was added, moved or removed elsewhere.
    pub(crate) fn trees_changed(&self) {
        self.lock().trees = None;
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one import relies on. Dropped, it forgets what nobody else does.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    job: u64,
}

impl Claim {
    /// The tree with this base, which is added if there is none.
    ///
    /// # Errors
    /// See [`Store::add_tree`].
    pub(crate) fn tree(&self, base: &Path) -> Result<TreeId, WriteError> {
        let (store, mut jobs) = (&self.claims.store, self.claims.lock());
        let Jobs { running, trees, .. } = &mut *jobs;
        let by_base = trees.get_or_insert_with(|| {
            // The oldest comes last, and stays.
            store.trees().into_iter().rev().map(|(id, base)| (base, id)).collect()
        });
        let (id, is_new) = match by_base.get(base) {
            Some(id) => (*id, false),
            None => {
                let id = store.add_tree(base)?;
                by_base.insert(base.to_path_buf(), id);
                (id, true)
            }
        };
        if (is_new || running.values().any(|held| held.trees.contains(id.0)))
            && let Some(held) = running.get_mut(&self.job)
        {
            held.trees.insert(id.0);
        }
        Ok(id)
    }

    /// The file of a tree with this path.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn file(&self, tree: TreeId, path: &Path) -> Result<Option<FileId>, ReadError> {
        let mut jobs = self.claims.lock();
        let found = self.claims.store.file_by_path(tree, path)?;
        if let Some(file) = found
            && jobs.running.values().any(|held| held.files.contains(file.0))
            && let Some(held) = jobs.running.get_mut(&self.job)
        {
            held.files.insert(file.0);
        }
        Ok(found)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// See [`Store::add_file`].
    pub(crate) fn add_file(
        &self,
        tree: TreeId,
        path: &Path,
        seen: Option<Seen>,
    ) -> Result<FileId, WriteError> {
        // Under the lock, so that nobody finds it before it is noted.
        let mut jobs = self.claims.lock();
        let file = self.claims.store.add_file(tree, path, seen)?;
        if let Some(held) = jobs.running.get_mut(&self.job) {
            held.files.insert(file.0);
        }
        Ok(file)
    }

    /// The import has ended well: all that it relies on stays.
    pub(crate) fn keep(self) {
        let mut jobs = self.claims.lock();
        if let Some(held) = jobs.running.remove(&self.job) {
            jobs.settle(&held);
        }
        // Dropped before `self`, which takes the lock at its end.
        drop(jobs);
    }

    /// Forgets some of what only this import relies on; false at the end.
    fn forget_some(&self) -> Result<bool, WriteError> {
        let (store, mut jobs) = (&self.claims.store, self.claims.lock());
        let Some(mut held) = jobs.running.remove(&self.job) else { return Ok(false) };
        for _ in 0..FORGOTTEN_AT_ONCE {
            let others = &jobs.running;
            if let Some(file) = held.files.pop_first() {
                if !others.values().any(|other| other.files.contains(file)) {
                    store.remove_file(FileId(file))?;
                }
            } else if let Some(tree) = held.trees.pop_first() {
                if !others.values().any(|other| other.trees.contains(tree)) {
                    jobs.trees = None;
                    // A fetch may have put files of its own into it.
                    store.remove_tree_if_empty(TreeId(tree))?;
                }
            } else {
                return Ok(false);
            }
        }
        jobs.running.insert(self.job, held);
        Ok(true)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let forgotten = loop {
            match self.forget_some() {
                Ok(true) => {}
                end => break end,
            }
        };
        if let Err(error) = forgotten {
            // There is an earlier error to tell; what stays registered leads to
            // bytes that are hashed before they are served.
            tracing::debug!(%error, "cannot forget what an import added");
        }
        let mut jobs = self.claims.lock();
        if jobs.running.is_empty() {
            jobs.trees = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_store::Config;

    use super::*;

    fn claims() -> (Claims, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Claims::new(Store::open(&dir.path().join("repo"), Config::default()).unwrap().0), dir)
    }

    #[test]
    fn what_nobody_else_relies_on_is_forgotten_and_what_was_there_before_stays() {
        let (claims, _dir) = claims();
        let (base, store) = (Path::new("/base"), claims.store());
        let old = store.add_tree(base).unwrap();
        let before = store.add_file(old, Path::new("before"), None).unwrap();
        store.add_tree(base).unwrap();
        let claim = claims.begin();
        assert_eq!(claim.tree(base).unwrap(), old, "the oldest");
        assert_eq!(claim.file(old, Path::new("before")).unwrap(), Some(before));
        let new = claim.tree(Path::new("/other")).unwrap();
        assert_eq!(claim.tree(Path::new("/other")).unwrap(), new);
        // More than are forgotten at once.
        for number in 0..2 * FORGOTTEN_AT_ONCE {
            claim.add_file(new, Path::new(&number.to_string()), None).unwrap();
            claim.add_file(old, Path::new(&number.to_string()), None).unwrap();
        }
        drop(claim);
        assert_eq!(store.trees().len(), 2);
        assert_eq!(store.files_of(old).iter().map(|file| file.id).collect::<Vec<_>>(), [before]);
        assert_eq!(store.sizes().files, 1);
        assert_ne!(claims.begin().tree(Path::new("/other")).unwrap(), new, "it is gone");
    }

    #[test]
    fn what_a_fetch_uses_stays_though_the_import_that_added_it_ends_early() {
        let (claims, _dir) = claims();
        let claim = claims.begin();
        let tree = claim.tree(Path::new("/base")).unwrap();
        let file = claim.add_file(tree, Path::new("used"), None).unwrap();
        claim.add_file(tree, Path::new("unused"), None).unwrap();
        assert_eq!(claims.keep_file(tree, Path::new("used")).unwrap(), Some(file));
        assert_eq!(claims.keep_file(tree, Path::new("nothing")).unwrap(), None);
        drop(claim);
        let left: Vec<_> = claims.store().files_of(tree).into_iter().map(|record| record.id).collect();
        assert_eq!(left, [file]);
    }

    #[test]
    fn a_tree_that_was_added_elsewhere_is_found_once_that_is_told() {
        let (claims, _dir) = claims();
        let claim = claims.begin();
        claim.tree(Path::new("/base")).unwrap();
        let other = claims.store().add_tree(Path::new("/other")).unwrap();
        claims.trees_changed();
        assert_eq!(claim.tree(Path::new("/other")).unwrap(), other);
    }
}
