//! Keeping the store small and whole: merging, collection of what nothing
//! reaches, rebuilding of damaged indexes. All in steps that a worker takes
//! when it likes; reads and writes go on meanwhile.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::Multihash;
use crate::config::{MAX_TOUCHED, REWRITE_SPARE};
use crate::disk;
use crate::error::WriteError;
use crate::notice::Notice;
use crate::pack::dropped::is_dropped;
use crate::pack::file::Pack;
use crate::pack::record::{Kind, Record, Reference};
use crate::pack::rewrite::Rewritten;
use crate::pack::scan::Window;
use crate::pack::set::lock;
use crate::store::{Inner, Store};

/// Share of a pack's bytes that must be dead for it to be rewritten, in
/// percent. 20: a store is then at most a quarter larger than what it keeps.
const DEAD_PERCENT: u64 = 20;

/// Keys that someone asked for while packs are being collected.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    watching: AtomicBool,
    keys: Mutex<Keys>,
}

/// Some keys, or all of them when they are too many to remember.
#[derive(Debug, Default)]
struct Keys {
    some: HashSet<u64>,
    all: bool,
}

impl Touched {
    /// Notes a key, if anyone is watching. True if so.
    pub(crate) fn touch(&self, key: u64) -> bool {
        let watching = self.watching.load(Ordering::SeqCst);
        if watching {
            let mut keys = lock(&self.keys);
            if keys.some.len() >= MAX_TOUCHED {
                *keys = Keys { some: HashSet::new(), all: true };
            }
            if !keys.all {
                keys.some.insert(key);
            }
        }
        watching
    }

    fn contains(&self, key: u64) -> bool {
        let keys = lock(&self.keys);
        keys.all || keys.some.contains(&key)
    }

    fn forget(&self) {
        *lock(&self.keys) = Keys::default();
    }

    fn watch(&self, on: bool) -> bool {
        self.forget();
        self.watching.swap(on, Ordering::SeqCst)
    }
}

/// A collection under way. While it lives, puts never count on an old copy.
#[derive(Debug)]
pub struct Collection {
    inner: Arc<Inner>,
    rest: Vec<u32>,
    packs: usize,
}

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionStep {
    /// Packs looked at.
    pub done: usize,
    /// Packs in all.
    pub packs: usize,
    /// Bytes given back by this step.
    pub freed: u64,
}

impl Store {
    /// Begins a collection; `None` if one is under way. What is put from now
    /// on stays, whatever [`Collection::step`] is told of it.
    ///
    /// # Errors
    /// The disk's.
    pub fn collect(&self) -> Result<Option<Collection>, WriteError> {
        let inner = &self.inner;
        if inner.touched.watch(true) {
            return Ok(None);
        }
        let mut collection = Collection { inner: Arc::clone(inner), rest: Vec::new(), packs: 0 };
        inner.packs.seal_active()?;
        collection.rest = inner.packs.packs().iter().map(|pack| pack.id).collect();
        collection.packs = collection.rest.len();
        Ok(Some(collection))
    }

    /// One step of upkeep: seals what could not be sealed, rebuilds one damaged
    /// index, merges one group of small packs, rewrites one that holds many wrong
    /// records, or rewrites the journal. True if
    /// there may be more to do. Packs are rewritten only if there is room for it.
    ///
    /// # Errors
    /// The disk's; nothing is lost.
    pub fn maintain(&self) -> Result<bool, WriteError> {
        let inner = &*self.inner;
        inner.packs.seal_all()?;
        let damaged: Vec<Arc<Pack>> =
            inner.packs.packs().iter().filter(|pack| pack.needs_rewrite()).take(1).cloned().collect();
        let mut group = if damaged.is_empty() { inner.packs.merge_candidates() } else { damaged };
        if group.is_empty() {
            group.extend(inner.packs.crowded());
        }
        if group.is_empty() || !inner.has_room_for(&group) {
            return inner.compact_journal();
        }
        let rewritten = inner.packs.rewrite(&group, &|record| inner.is_useful(record), &|_| false)?;
        inner.after_rewrite(&rewritten);
        Ok(true)
    }
}

impl Collection {
    /// Looks at one pack and rewrites it if a fifth of it or more is dead:
    /// blocks that `live` denies, references to files that were removed.
    /// `None` when all are done.
    ///
    /// `live` must know what any pin, root, running share, fetch or import reaches.
    ///
    /// # Errors
    /// The disk's; nothing is lost, and the next step goes on.
    pub fn step(&mut self, live: &dyn Fn(&Multihash) -> bool) -> Result<Option<CollectionStep>, WriteError> {
        let Some(id) = self.rest.pop() else { return Ok(None) };
        let inner = &*self.inner;
        let mut step = CollectionStep { done: self.packs - self.rest.len(), packs: self.packs, freed: 0 };
        let packs = inner.packs.packs();
        let Some(pack) = packs.iter().find(|pack| pack.id == id && pack.disk.is_some()) else {
            return Ok(Some(step));
        };
        inner.touched.forget();
        let keep = |record: &Record<'_>| live(&record.mh) && inner.is_useful(record);
        let (dead, total) = inner.dead_bytes(pack, live)?;
        if dead > 0 && dead * 100 >= total * DEAD_PERCENT {
            let wanted = |key| inner.touched.contains(key);
            let rewritten = inner.packs.rewrite(&[Arc::clone(pack)], &keep, &wanted)?;
            step.freed = rewritten.freed;
            inner.after_rewrite(&rewritten);
        }
        Ok(Some(step))
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.inner.touched.watch(false);
    }
}

impl Inner {
    /// Rewrites the journal if it is mostly dead; others go on meanwhile.
    fn compact_journal(&self) -> Result<bool, WriteError> {
        let mut compaction = {
            let mut ledger = lock(&self.ledger);
            if !ledger.is_mostly_dead() {
                return Ok(false);
            }
            ledger.begin_compaction()?
        };
        while lock(&self.ledger).step(&mut compaction)? {
            // Those who wait for the lock come first.
            std::thread::yield_now();
        }
        compaction.sync()?;
        lock(&self.ledger).finish(compaction)?;
        Ok(true)
    }

    /// Whether a record can ever be read: not a reference to a removed file. If
    /// the disk does not say, it may be.
    fn is_useful(&self, record: &Record<'_>) -> bool {
        let has = |reference: Reference| lock(&self.ledger).has_file(reference.file).unwrap_or(true);
        record.kind == Kind::Block || Reference::decode(record.body).is_some_and(has)
    }

    /// Whether packs can be rewritten without filling the disk. If no one can
    /// say, the attempt will.
    fn has_room_for(&self, packs: &[Arc<Pack>]) -> bool {
        let needed: u64 = packs.iter().map(|pack| pack.records_end).sum();
        self.config.disk.free_space(&self.packs.dir).map_or(true, |free| free >= needed + REWRITE_SPARE)
    }

    pub(crate) fn after_rewrite(&self, rewritten: &Rewritten) {
        for (pack, offset) in &rewritten.damaged {
            let pack = self.packs.path(*pack);
            self.notices.push(Notice::RecordDamaged { pack, offset: u64::from(*offset), block: None });
        }
        let there = self.packs.all_ids();
        self.packs.dropped.retain(|pack| there.contains(&pack));
    }

    /// Dead bytes of a pack's records, and all of them.
    fn dead_bytes(&self, pack: &Pack, live: &dyn Fn(&Multihash) -> bool) -> Result<(u64, u64), WriteError> {
        let dropped = self.packs.dropped.of(pack.id);
        let (mut dead, mut total) = (0, 0);
        let mut window = Window::new(&*pack.file, pack.records_end);
        for entry in pack.entries(self.key, &self.packs.scratch)? {
            let entry = entry?;
            let offset = u64::from(entry.offset);
            // Of a large block only the head is read.
            let large = entry.kind() == Some(Kind::Block) && entry.block_len() > 4096;
            let (mh, len) = if large {
                let bytes = disk::read_up_to(&*pack.file, offset, 128)?;
                (crate::pack::record::multihash_of(&bytes), u64::from(entry.block_len()) + 48)
            } else {
                let record = Record::decode(window.record(offset)?);
                let len = record.map_or(0, |record| record.total as u64);
                (record.filter(|record| self.is_useful(record)).map(|record| record.mh), len)
            };
            total += len;
            if is_dropped(&dropped, entry) || !mh.is_some_and(|mh| live(&mh)) {
                dead += len;
            }
        }
        Ok((dead, total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_keys_are_all_keys() {
        let touched = Touched::default();
        assert!(!touched.touch(1) && !touched.contains(1), "nobody watches");
        assert!(!touched.watch(true));
        (0..MAX_TOUCHED as u64).for_each(|key| assert!(touched.touch(key)));
        assert!(touched.contains(7) && !touched.contains(u64::MAX));
        assert!(touched.touch(u64::MAX - 1));
        assert!(touched.contains(7) && touched.contains(u64::MAX));
        touched.forget();
        assert!(!touched.contains(7));
    }
}
