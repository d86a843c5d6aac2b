//! Which blocks are served now: those of the roots that are shared, kept or
//! being fetched. Everything else looks as if it were not here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use peerage_content::{Cid, Multihash};
use peerage_store::{RootSet, RootSetBuilder};

/// The blocks of one root.
#[derive(Clone)]
pub(crate) enum Blocks {
    /// Complete, on disk.
    Whole(Arc<RootSet>),
    /// Still arriving, or being made.
    Growing(Arc<RootSetBuilder>),
}

impl Blocks {
    fn contains(&self, hash: &Multihash) -> bool {
        match self {
            Self::Whole(set) => set.contains(hash),
            Self::Growing(set) => set.contains(hash),
        }
    }
}

/// The roots that are served, shared by all who ask and all who serve.
#[derive(Clone, Default)]
pub(crate) struct ServedRoots(Arc<RwLock<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    roots: BTreeMap<u64, (Cid, Blocks)>,
}

/// A root is served while this lives.
pub(crate) struct Serving {
    table: ServedRoots,
    number: u64,
}

impl ServedRoots {
    /// Whether a block with this hash belongs to a root that is served.
    pub(crate) fn serves(&self, hash: &Multihash) -> bool {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.roots.values().any(|(_, blocks)| blocks.contains(hash))
    }

    /// Serves the blocks of a root until the returned guard is dropped.
    pub(crate) fn serve(&self, root: Cid, blocks: Blocks) -> Serving {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        table.roots.insert(number, (root, blocks));
        Serving { table: self.clone(), number }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut table = self.table.0.write().unwrap_or_else(PoisonError::into_inner);
        table.roots.remove(&self.number);
    }
}
