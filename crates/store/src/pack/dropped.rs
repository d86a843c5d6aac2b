//! Locations that hold the wrong bytes, as the journal remembers them until
//! their pack is rewritten. The ledger and the packs share this one list.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::record::Entry;

/// Pack, offset in it, and the key as a check: a pack that lost its end may hold
/// something else there.
#[derive(Debug, Default)]
pub(crate) struct Dropped(RwLock<BTreeMap<u32, InPack>>);

/// Offset to key.
pub(crate) type InPack = BTreeMap<u32, u64>;

impl Dropped {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u32, InPack>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, InPack>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, pack: u32, offset: u32, key: u64) {
        self.write().entry(pack).or_default().insert(offset, key);
    }

    /// Those of one pack.
    pub(crate) fn of(&self, pack: u32) -> InPack {
        self.read().get(&pack).cloned().unwrap_or_default()
    }

    /// Removes the items that lie where nothing is to be found.
    pub(crate) fn retain_others<T>(&self, items: &mut Vec<T>, place: impl Fn(&T) -> (u32, Entry)) {
        let all = self.read();
        if !all.is_empty() {
            items.retain(|item| {
                let (pack, entry) = place(item);
                !all.get(&pack).is_some_and(|dropped| is_dropped(dropped, entry))
            });
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.read().values().map(BTreeMap::len).sum()
    }

    /// How many there are in each pack that has any.
    pub(crate) fn counts(&self) -> Vec<(u32, usize)> {
        self.read().iter().map(|(pack, dropped)| (*pack, dropped.len())).collect()
    }

    /// Forgets those of packs that are not kept.
    pub(crate) fn retain(&self, keep: impl Fn(u32) -> bool) {
        self.write().retain(|pack, _| keep(*pack));
    }

    /// Shows all: pack, offset, key.
    pub(crate) fn try_for_each<E>(
        &self,
        mut show: impl FnMut(u32, u32, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = self.read();
        let mut each = all.iter().flat_map(|(pack, dropped)| dropped.iter().map(move |at| (*pack, at)));
        each.try_for_each(|(pack, (offset, key))| show(pack, *offset, *key))
    }
}

/// Whether the entry is one of them.
pub(crate) fn is_dropped(dropped: &InPack, entry: Entry) -> bool {
    dropped.get(&entry.offset) == Some(&entry.key)
}
