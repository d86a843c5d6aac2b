//! The users' files that the journal tells of: where each one's records are,
//! which ids a path may have, how many there are. What grows with their number
//! is in scratch files, made anew from the journal when it is opened.

mod paths;
mod slots;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use crate::config::{HELD_SLOT_PAGES, RECENT_PATHS, RUNS_OF_A_SIZE};
use crate::facts::{FileId, TreeId};
use crate::key::RepoKey;
use crate::scratch::ScratchRoom;
use paths::PathIndex;
pub(crate) use slots::Slot;
use slots::Slots;

/// What the table keeps in memory, and how it names paths; tests choose others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// Pages of slots.
    pub(crate) pages: usize,
    /// Pairs of a path's key and an id.
    pub(crate) paths: usize,
    /// Runs of one size that become one.
    pub(crate) fan: usize,
    pub(crate) key_of: fn(RepoKey, TreeId, &Path) -> u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { pages: HELD_SLOT_PAGES, paths: RECENT_PATHS, fan: RUNS_OF_A_SIZE, key_of }
    }
}

/// The key of a tree's path: equal for paths that are equal by their components.
fn key_of(key: RepoKey, tree: TreeId, path: &Path) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write_u64(tree.0);
    path.hash(&mut hasher);
    hasher.finish()
}

/// All files, live and dead.
#[derive(Debug)]
pub(crate) struct FileTable {
    room: Arc<ScratchRoom>,
    key: RepoKey,
    tuning: Tuning,
    slots: Slots,
    paths: PathIndex,
    /// Live files of each tree that has any.
    counts: BTreeMap<TreeId, u64>,
    /// Trees that were removed with files in them, and where the journal says
    /// so: what was recorded of them before is dead.
    ended: BTreeMap<TreeId, u64>,
    len: u64,
}

impl FileTable {
    pub(crate) fn new(room: &Arc<ScratchRoom>, key: RepoKey, tuning: Tuning) -> Self {
        Self {
            room: Arc::clone(room),
            key,
            tuning,
            slots: Slots::new(tuning.pages),
            paths: PathIndex::new(tuning.paths, tuning.fan),
            counts: BTreeMap::new(),
            ended: BTreeMap::new(),
            len: 0,
        }
    }

    /// The same room, nothing in it.
    pub(crate) fn empty(&self) -> Self {
        Self::new(&self.room, self.key, self.tuning)
    }

    /// Live files.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Trees whose removal is remembered.
    pub(crate) fn ended(&self) -> usize {
        self.ended.len()
    }

    pub(crate) fn has_files_in(&self, tree: TreeId) -> bool {
        self.counts.contains_key(&tree)
    }

    /// The slot of a file that lives.
    pub(crate) fn live(&mut self, id: FileId) -> io::Result<Option<Slot>> {
        let slot = self.slots.get(&self.room, id.0)?;
        Ok(Some(slot).filter(|slot| self.lives(slot)))
    }

    fn lives(&self, slot: &Slot) -> bool {
        slot.record != 0 && self.ended.get(&TreeId(slot.tree)).is_none_or(|end| *end < slot.record)
    }

    /// The first file from `id` on that lives.
    pub(crate) fn next_live(&mut self, mut id: FileId) -> io::Result<Option<(FileId, Slot)>> {
        while let Some((found, slot)) = self.slots.next(&self.room, id.0)? {
            if self.lives(&slot) {
                return Ok(Some((FileId(found), slot)));
            }
            let Some(next) = found.checked_add(1) else { break };
            id = FileId(next);
        }
        Ok(None)
    }

    /// Ids that may have the path in the tree, the highest first.
    pub(crate) fn candidates(&self, tree: TreeId, path: &Path) -> io::Result<Vec<FileId>> {
        let found = self.paths.find((self.tuning.key_of)(self.key, tree, path))?;
        Ok(found.into_iter().map(FileId).collect())
    }

    /// Sees to it that [`add`](Self::add), if it comes next, needs no disk.
    pub(crate) fn prepare_add(&mut self, id: FileId) -> io::Result<()> {
        self.paths.prepare(&self.room)?;
        self.slots.prepare(&self.room, id.0)
    }

    /// A file as a record at `record` tells of it, whatever was known before.
    pub(crate) fn add(&mut self, id: FileId, tree: TreeId, path: &Path, record: u64) -> io::Result<()> {
        self.paths.prepare(&self.room)?;
        let before = self.live(id)?;
        self.slots.set(&self.room, id.0, Slot { record, seen: 0, tree: tree.0 })?;
        self.paths.insert(((self.tuning.key_of)(self.key, tree, path), id.0));
        if let Some(before) = before {
            self.count_down(TreeId(before.tree));
        }
        *self.counts.entry(tree).or_default() += 1;
        self.len += 1;
        Ok(())
    }

    /// A record at `seen` says what a file looks like.
    pub(crate) fn see(&mut self, id: FileId, seen: u64) -> io::Result<()> {
        let Some(slot) = self.live(id)? else { return Ok(()) };
        self.slots.set(&self.room, id.0, Slot { seen, ..slot })
    }

    /// Forgets a file.
    pub(crate) fn remove(&mut self, id: FileId) -> io::Result<()> {
        let Some(slot) = self.live(id)? else { return Ok(()) };
        self.slots.set(&self.room, id.0, Slot::default())?;
        self.count_down(TreeId(slot.tree));
        Ok(())
    }

    fn count_down(&mut self, tree: TreeId) {
        self.len -= 1;
        if let Some(count) = self.counts.get_mut(&tree) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&tree);
            }
        }
    }

    /// Forgets the files of a tree; the record of it is at `record`.
    pub(crate) fn end_tree(&mut self, tree: TreeId, record: u64) {
        if let Some(count) = self.counts.remove(&tree) {
            self.len -= count;
            self.ended.insert(tree, record);
        }
    }
}
