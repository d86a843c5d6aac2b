//! Roots and pins: what stays, and why it is served.

use peerage_content::{Cid, Walk};
use peerage_store::{Pin, PinKind, Root, RootEntry, RootId, RootKind, RootSetBuilder, Store, WriteError};

use crate::peer::Peer;
use crate::query::QueryError;

/// Why something could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Part of it cannot be had.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The DAG makes no sense.
    #[error(transparent)]
    Walk(#[from] peerage_content::WalkError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] WriteError),
}

/// Adds a root, in the place of one that says the same.
pub(crate) fn replace_root(store: &Store, root: &Root, set: &RootSetBuilder) -> Result<RootId, WriteError> {
    let same = |old: &RootEntry| {
        old.root.cid == root.cid && old.root.kind == root.kind && old.root.path == root.path
    };
    let old: Vec<RootId> = store.roots().iter().filter(|old| same(old)).map(|old| old.id).collect();
    let id = store.add_root(root, set)?;
    for old in old {
        store.remove_root(old)?;
    }
    store.flush()?;
    Ok(id)
}

impl Peer {
    /// Everything that may be served, and why.
    #[must_use]
    pub fn shares(&self) -> Vec<RootEntry> {
        self.store().roots()
    }

    /// Forgets a root; false if there was none. No file of the user's is touched.
    ///
    /// # Errors
    /// The disk's.
    pub fn forget(&self, id: RootId) -> Result<bool, WriteError> {
        let removed = self.store().remove_root(id)?;
        self.store().sync()?;
        Ok(removed)
    }

    /// All pins.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        self.store().pins()
    }

    /// Pins a DAG, fetching into the store what is missing of it, and serves
    /// it under `up`. Durable when this returns.
    ///
    /// # Errors
    /// Part of it cannot be had, or the disk's.
    pub async fn pin(
        &self,
        cid: Cid,
        name: &str,
        recursive: bool,
        sources: peerage_engine::Sources,
    ) -> Result<(), PinError> {
        let set = self.store().root_set_builder();
        let mut query = self.query(cid, sources);
        let mut walk = Walk::new(cid);
        let mut seen = std::collections::HashSet::new();
        let mut size = 0;
        while let Some(visit) = walk.next() {
            if !seen.insert(*visit.cid.hash()) || peerage_content::hash::inline(&visit.cid).is_some() {
                continue;
            }
            let block = query.block(visit.cid).await?;
            size += block.len() as u64;
            if self.store().len_of(visit.cid.hash()).ok().flatten().is_none() {
                self.store().put_block(visit.cid.hash(), &block)?;
            }
            set.insert(visit.cid.hash())?;
            if !recursive {
                break;
            }
            walk.enter(&visit, &block)?;
        }
        let kind = if recursive { PinKind::Recursive } else { PinKind::Direct };
        self.add_pin(cid, name, kind, size, &set)?;
        Ok(())
    }

    pub(crate) fn add_pin(
        &self,
        cid: Cid,
        name: &str,
        kind: PinKind,
        size: u64,
        set: &RootSetBuilder,
    ) -> Result<(), WriteError> {
        let root = Root {
            cid,
            kind: RootKind::Pin,
            path: None,
            name: name.to_owned(),
            announce: true,
            keep: true,
            size,
            tree: None,
            added: crate::get::unix_now(),
        };
        replace_root(self.store(), &root, set)?;
        self.store().add_pin(&Pin { cid, kind, name: name.to_owned() })?;
        self.store().sync()
    }

    /// Removes a pin; false if there was none. The blocks stay until they are collected.
    ///
    /// # Errors
    /// The disk's.
    pub fn unpin(&self, cid: &Cid) -> Result<bool, WriteError> {
        let mut removed = false;
        for kind in [PinKind::Recursive, PinKind::Direct] {
            removed |= self.store().remove_pin(cid, kind)?;
        }
        let roots = self.store().roots();
        for entry in roots.iter().filter(|entry| entry.root.kind == RootKind::Pin && entry.root.cid == *cid) {
            self.store().remove_root(entry.id)?;
        }
        self.store().sync()?;
        Ok(removed)
    }
}
