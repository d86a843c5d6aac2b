//! Files kept open for the next read: a bounded number of them, so that
//! however many a store has, descriptors do not run out.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// Open files by their id, the longest unused first to be closed.
#[derive(Debug)]
pub(crate) struct OpenFiles<K, F: ?Sized> {
    limit: usize,
    files: HashMap<K, (Arc<F>, u64)>,
    by_use: BTreeMap<u64, K>,
    clock: u64,
}

impl<K: Copy + Eq + Hash, F: ?Sized> OpenFiles<K, F> {
    /// At most `limit` of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, files: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    /// Takes a file out; whoever does [`put`](Self::put)s it back, if it is still of use.
    pub(crate) fn take(&mut self, id: K) -> Option<Arc<F>> {
        let (file, used) = self.files.remove(&id)?;
        self.by_use.remove(&used);
        Some(file)
    }

    /// Closes those that `gone` names.
    pub(crate) fn forget(&mut self, gone: &mut dyn FnMut(K) -> bool) {
        self.files.retain(|id, _| !gone(*id));
        self.by_use.retain(|_, id| self.files.contains_key(id));
    }

    /// Keeps a file that was just used.
    pub(crate) fn put(&mut self, id: K, file: Arc<F>) {
        self.take(id);
        self.clock += 1;
        self.by_use.insert(self.clock, id);
        self.files.insert(id, (file, self.clock));
        while self.files.len() > self.limit
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.files.remove(&oldest);
        }
    }
}
