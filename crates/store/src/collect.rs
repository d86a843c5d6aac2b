//! Keeping the store small and whole: merging, collection of what nothing
//! reaches, rebuilding of damaged indexes. All in steps that a worker takes
//! when it likes; reads and writes go on meanwhile.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::{MAX_TOUCHED, REWRITE_SPARE};
use crate::error::WriteError;
use crate::facts::RootId;
use crate::notice::Notice;
use crate::pack::dropped::is_dropped;
use crate::pack::file::Pack;
use crate::pack::record::{Kind, Record, Reference};
use crate::pack::rewrite::{Rewritten, Selection};
use crate::pack::set::lock;
use crate::rootset::{Cursor, RootSet, RootSetBuilder};
use crate::store::{Inner, Store};

/// Share of a pack's bytes that must be dead for it to be rewritten, in
/// percent. 9: a store is then at most a tenth larger than what it keeps.
const DEAD_PERCENT: u64 = 9;

/// Bytes that are left free when what stays of a pack is written. 1 MiB: its index.
const LIVE_SPARE: u64 = 1 << 20;

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

    /// Whether a collection is under way.
    fn is_watching(&self) -> bool {
        self.watching.load(Ordering::SeqCst)
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
///
/// What stays is what a root reaches: those of when it began, brought together on
/// disk first, and those that were added or are being built since.
#[derive(Debug)]
pub struct Collection {
    inner: Arc<Inner>,
    /// Roots of when it began, and how many of them are marked.
    roots: Vec<Arc<RootSet>>,
    marked_roots: usize,
    /// Blocks of those that are marked; `None` once all are.
    marked: Option<RootSetBuilder>,
    /// All of them, once they are marked.
    live: Option<Live>,
    /// The last root of those.
    last_root: RootId,
    rest: VecDeque<u32>,
    packs: usize,
    /// Nothing is rewritten.
    count_only: bool,
    /// Others are told that it is under way.
    watching: bool,
    /// Packs that are put off since no packs could be written beside them.
    put_off: usize,
}

/// Which blocks the roots of the beginning reach.
#[derive(Debug)]
enum Live {
    /// One set of all.
    Merged(RootSet),
    /// Each root's own, since there is no room on the disk for another.
    Each(Vec<Arc<RootSet>>),
}

impl Live {
    fn cursors(&self) -> Vec<Cursor<'_>> {
        match self {
            Self::Merged(set) => vec![Cursor::new(set.data())],
            Self::Each(sets) => sets.iter().map(|set| Cursor::new(set.data())).collect(),
        }
    }
}

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionStep {
    /// It notes which blocks stay.
    Marking {
        /// Roots whose blocks are noted.
        done: usize,
        /// Roots in all.
        roots: usize,
    },
    /// It looks at packs, and rewrites those of which much is dead.
    Sweeping {
        /// Packs looked at.
        done: usize,
        /// Packs in all.
        packs: usize,
        /// Bytes of records in this pack that nothing needs.
        dead: u64,
        /// Bytes of disk given back by this step.
        freed: u64,
    },
}

impl Store {
    /// Begins a collection of blocks that no root needs, and none of the sets that
    /// are being built or were sealed; `None` if one is under way. What is put from now on stays.
    ///
    /// # Errors
    /// A root whose blocks are not known: its set was lost, and must be made again
    /// or the root removed. Or the disk's.
    pub fn collect(&self) -> Result<Option<Collection>, WriteError> {
        if self.inner.touched.watch(true) {
            return Ok(None);
        }
        let mut collection = Collection::new(self, false);
        collection.watching = true;
        self.inner.make_room.note_collection(true);
        // On a full disk it stays as it is, and its blocks are not collected.
        drop(self.inner.packs.seal_active());
        collection.begin(self)?;
        Ok(Some(collection))
    }

    /// The same steps, in which nothing is changed: for how much they would give back.
    /// Any number of them may be under way.
    ///
    /// # Errors
    /// See [`collect`](Self::collect).
    pub fn count_dead(&self) -> Result<Collection, WriteError> {
        let mut collection = Collection::new(self, true);
        collection.begin(self)?;
        Ok(collection)
    }

    /// Ends upkeep and collections for good. When it returns, no pack is being written
    /// anew. [`close`](Self::close) does it, too.
    pub fn stop_upkeep(&self) {
        self.inner.packs.stop_rewriting();
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
        let mut group = damaged;
        // A collection would not find its packs again.
        if !inner.touched.is_watching() {
            if group.is_empty() {
                group = inner.packs.merge_candidates();
            }
            if group.is_empty() {
                group.extend(inner.packs.crowded());
            }
        }
        let bytes = group.iter().map(|pack| pack.records_end).sum();
        if group.is_empty() || !inner.has_room_for(bytes, REWRITE_SPARE) {
            return inner.compact_journal();
        }
        let useful = |record: &Record<'_>| inner.is_useful(record);
        let selection = Selection { useful: &useful, ..Selection::all() };
        match inner.packs.rewrite(&group, selection) {
            Ok(rewritten) => inner.after_rewrite(&rewritten),
            Err(_) if inner.packs.is_stopped() => return Ok(false),
            Err(error) => return Err(inner.note_unsynced(error.into())),
        }
        Ok(true)
    }
}

impl Collection {
    fn new(store: &Store, count_only: bool) -> Self {
        Self {
            inner: Arc::clone(&store.inner),
            roots: Vec::new(),
            marked_roots: 0,
            marked: Some(store.root_set_builder()),
            live: None,
            last_root: RootId(0),
            rest: VecDeque::new(),
            packs: 0,
            count_only,
            watching: false,
            put_off: 0,
        }
    }

    /// What there is to mark and to look at.
    fn begin(&mut self, store: &Store) -> Result<(), WriteError> {
        for entry in store.roots() {
            let unknown = WriteError::Unknown { what: "set of blocks of a root", id: entry.id.0 };
            self.roots.push(entry.set.ok_or(unknown)?);
            self.last_root = entry.id;
        }
        // The pack that takes new records is only counted: what is put from now on
        // counts on it, also when it is sealed before the end.
        self.rest = match self.count_only {
            true => self.inner.packs.all_ids().into(),
            false => self.inner.packs.packs().iter().map(|pack| pack.id).collect(),
        };
        self.packs = self.rest.len();
        Ok(())
    }

    /// Marks the blocks of one root; then looks at one pack, and rewrites it if
    /// enough of it is dead. `None` when all are done; before that, small packs are
    /// merged once, as each collection may leave one more.
    ///
    /// # Errors
    /// The disk's; nothing is lost, and the next step goes on. `StorageFull` if there
    /// is not even room to write what stays of one pack.
    pub fn step(&mut self) -> Result<Option<CollectionStep>, WriteError> {
        let step = self.take_step();
        if self.watching {
            self.inner.make_room.note_collection(true);
        }
        step
    }

    fn take_step(&mut self) -> Result<Option<CollectionStep>, WriteError> {
        let inner = Arc::clone(&self.inner);
        let Some(live) = &self.live else { return self.mark().map(Some) };
        let Some(id) = self.rest.pop_front() else {
            if self.end() {
                // What fails here is upkeep's to tell, and nothing was lost.
                drop(Store { inner }.maintain());
            }
            return Ok(None);
        };
        let Some(pack) = inner.pack_to_sweep(id, self.count_only)? else {
            return Ok(Some(self.swept(0, 0)));
        };
        let pack = &pack;
        if !self.count_only {
            inner.touched.forget();
        }
        let lives = |cursors: &mut [Cursor<'_>], key| -> io::Result<bool> {
            for cursor in cursors {
                if cursor.has(key)? {
                    return Ok(true);
                }
            }
            inner.roots.have_since(self.last_root, key)
        };
        let mut cursors = live.cursors();
        let (dead, total) = inner.dead_bytes(pack, &mut |key| lives(&mut cursors, key))?;
        if dead == 0 || dead * 100 < total * DEAD_PERCENT || self.count_only {
            return Ok(Some(self.swept(dead, 0)));
        }
        // Of a pack that goes wholly nothing is written.
        if dead < total && !inner.has_room_for(total - dead, LIVE_SPARE) {
            return self.put_off(id, dead);
        }
        let mut cursors = live.cursors();
        let selection = Selection {
            chosen: Box::new(|key| lives(&mut cursors, key)),
            useful: &|record| inner.is_useful(record),
            wanted: &|key| inner.touched.contains(key),
        };
        let rewritten = inner.packs.rewrite(&[Arc::clone(pack)], selection);
        let rewritten = rewritten.map_err(|error| inner.note_unsynced(error.into()))?;
        inner.after_rewrite(&rewritten);
        self.put_off = 0;
        Ok(Some(self.swept(dead, rewritten.freed)))
    }

    fn mark(&mut self) -> Result<CollectionStep, WriteError> {
        match self.mark_one() {
            Ok(()) => {}
            Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
                // Slower, as each is looked through for each pack; but room is what is wanted.
                self.marked_roots = self.roots.len();
                self.live = Some(Live::Each(self.roots.clone()));
                self.marked = None;
            }
            Err(error) => return Err(error),
        }
        Ok(CollectionStep::Marking { done: self.marked_roots, roots: self.roots.len() })
    }

    fn mark_one(&mut self) -> Result<(), WriteError> {
        let Some(marked) = &self.marked else { return Ok(()) };
        if let Some(root) = self.roots.get(self.marked_roots) {
            let mut cursor = Cursor::new(root.data());
            while let Some(key) = cursor.next()? {
                marked.insert_key(key)?;
            }
            self.marked_roots += 1;
        }
        if self.marked_roots == self.roots.len() {
            self.live = Some(Live::Merged(marked.seal()?));
            self.marked = None;
        }
        Ok(())
    }

    /// Others may make room first.
    fn put_off(&mut self, id: u32, dead: u64) -> Result<Option<CollectionStep>, WriteError> {
        self.rest.push_back(id);
        self.put_off += 1;
        if self.put_off > self.rest.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        Ok(Some(self.swept(dead, 0)))
    }

    fn swept(&self, dead: u64, freed: u64) -> CollectionStep {
        CollectionStep::Sweeping { done: self.packs - self.rest.len(), packs: self.packs, dead, freed }
    }
}

impl Collection {
    /// Lets others collect and merge; false if they may already.
    fn end(&mut self) -> bool {
        let ends = std::mem::take(&mut self.watching);
        if ends {
            self.inner.touched.watch(false);
            self.inner.make_room.note_collection(false);
        }
        ends
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inner {
    /// A pack that can be rewritten, or, to be only looked at, any.
    fn pack_to_sweep(&self, id: u32, count_only: bool) -> Result<Option<Arc<Pack>>, WriteError> {
        if count_only && self.packs.is_active(id) {
            return Ok(Some(Arc::new(self.packs.active_snapshot()?)));
        }
        let packs = self.packs.packs();
        let found = packs.iter().find(|pack| pack.id == id && (count_only || pack.disk.is_some()));
        Ok(found.cloned())
    }

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
        lock(&self.ledger).finish(compaction).map_err(|error| self.note_unsynced(error))?;
        Ok(true)
    }

    /// Whether a record can ever be read: not a reference to a removed file. If
    /// the disk does not say, it may be.
    fn is_useful(&self, record: &Record<'_>) -> bool {
        let has = |reference: Reference| lock(&self.ledger).has_file(reference.file).unwrap_or(true);
        record.kind == Kind::Block || Reference::decode(record.body).is_some_and(has)
    }

    /// Whether packs of so many bytes can be written, and so much is left. If no one
    /// can say, the attempt will.
    fn has_room_for(&self, bytes: u64, spare: u64) -> bool {
        self.config.disk.free_space(&self.packs.dir).map_or(true, |free| free >= bytes + spare)
    }

    pub(crate) fn after_rewrite(&self, rewritten: &Rewritten) {
        for (pack, offset) in &rewritten.damaged {
            let pack = self.packs.path(*pack);
            self.notices.push(Notice::RecordDamaged { pack, offset: u64::from(*offset), block: None });
        }
        let there = self.packs.all_ids();
        self.packs.dropped.retain(|pack| there.contains(&pack));
    }

    /// About how many bytes of a pack's records `lives` denies, and all of them.
    /// It is asked in the order of keys, and only the pack's index is read.
    fn dead_bytes(
        &self,
        pack: &Pack,
        lives: &mut dyn FnMut(u64) -> io::Result<bool>,
    ) -> Result<(u64, u64), WriteError> {
        let dropped = self.packs.dropped.of(pack.id);
        let (mut dead, mut total) = (0, 0);
        pack.for_each_by_key(self.key, &mut |entry| {
            let len = entry.about_bytes();
            total += len;
            if is_dropped(&dropped, entry) || !lives(entry.key)? {
                dead += len;
            }
            Ok(())
        })?;
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
