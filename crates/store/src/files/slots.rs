//! For each file's id, where its records are in the journal: fixed slots in a
//! scratch file, read and written by page, a few pages kept in memory.
//!
//! Ids are dense but for what is reserved and never given, so a page is a
//! range of ids; pages lie in the order in which they were first needed.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::scratch::{Scratch, ScratchRoom};

/// What is known of a file without reading its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where its last `FileAdded` begins; 0 if there is none, or it was removed.
    pub(crate) record: u64,
    /// Where a later `FileSeen` begins, or 0.
    pub(crate) seen: u64,
    /// Its tree's id.
    pub(crate) tree: u64,
}

const SLOT_BYTES: usize = 24;
const PAGE_SLOTS: usize = 170;
const PAGE_BYTES: usize = 4096;

/// A page in memory.
#[derive(Debug)]
struct Held {
    /// Its range of ids, and which page it is; `None` while it is neither.
    of: Option<(u64, u32)>,
    slots: Box<[Slot; PAGE_SLOTS]>,
    changed: bool,
    /// Whether it was asked for since the hand last came by.
    used: bool,
}

/// The slots of all files.
#[derive(Debug)]
pub(super) struct Slots {
    file: Scratch,
    /// Number of a range of ids to number of the page: half a bit a file.
    pages: BTreeMap<u64, u32>,
    held: Vec<Held>,
    /// Number of a range of ids to its place in `held`.
    places: HashMap<u64, usize>,
    /// The place that was asked for last.
    last: usize,
    /// Where the search for a page to give up goes on.
    hand: usize,
    limit: usize,
}

fn range_of(id: u64) -> (u64, usize) {
    let within = usize::try_from(id % PAGE_SLOTS as u64).unwrap_or(0);
    (id / PAGE_SLOTS as u64, within)
}

impl Slots {
    /// None yet; at most `limit` pages in memory.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            file: Scratch::default(),
            pages: BTreeMap::new(),
            held: Vec::new(),
            places: HashMap::new(),
            last: 0,
            hand: 0,
            limit: limit.max(1),
        }
    }

    /// The slot of an id; an empty one if there is none.
    pub(super) fn get(&mut self, room: &ScratchRoom, id: u64) -> io::Result<Slot> {
        let (range, within) = range_of(id);
        let place = self.find(room, range)?;
        Ok(place.map_or_else(Slot::default, |place| self.held[place].slots[within]))
    }

    /// Changes the slot of an id. On an error nothing is changed.
    pub(super) fn set(&mut self, room: &ScratchRoom, id: u64, slot: Slot) -> io::Result<()> {
        let (range, within) = range_of(id);
        let place = self.place_of(room, range)?;
        let held = &mut self.held[place];
        held.slots[within] = slot;
        held.changed = true;
        Ok(())
    }

    /// Sees to it that [`set`](Self::set) of this id, if it comes next, needs no disk.
    pub(super) fn prepare(&mut self, room: &ScratchRoom, id: u64) -> io::Result<()> {
        self.place_of(room, range_of(id).0).map(drop)
    }

    fn place_of(&mut self, room: &ScratchRoom, range: u64) -> io::Result<usize> {
        match self.find(room, range)? {
            Some(place) => Ok(place),
            None => self.begin(room, range),
        }
    }

    /// The first slot from `id` on that has a record.
    pub(super) fn next(&mut self, room: &ScratchRoom, id: u64) -> io::Result<Option<(u64, Slot)>> {
        let (mut range, mut within) = range_of(id);
        while let Some(found) = self.pages.range(range..).next().map(|(range, _)| *range) {
            if found > range {
                within = 0;
            }
            let Some(place) = self.find(room, found)? else { break };
            let slots = &self.held[place].slots[within..];
            if let Some(at) = slots.iter().position(|slot| slot.record != 0) {
                return Ok(Some((found * PAGE_SLOTS as u64 + (within + at) as u64, slots[at])));
            }
            (range, within) = (found + 1, 0);
        }
        Ok(None)
    }

    /// Where the page of the range is in memory, if there is one at all.
    fn find(&mut self, room: &ScratchRoom, range: u64) -> io::Result<Option<usize>> {
        let is_last = self.held.get(self.last).and_then(|held| held.of).is_some_and(|of| of.0 == range);
        if !is_last {
            self.last = match self.places.get(&range) {
                Some(place) => *place,
                None => match self.pages.get(&range) {
                    Some(page) => self.read(room, range, *page)?,
                    None => return Ok(None),
                },
            };
        }
        self.held[self.last].used = true;
        Ok(Some(self.last))
    }

    fn read(&mut self, room: &ScratchRoom, range: u64, page: u32) -> io::Result<usize> {
        let place = self.make_room(room)?;
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_into(offset_of(page), &mut bytes)?;
        decode(&bytes, &mut self.held[place].slots);
        self.keep(place, range, page);
        Ok(place)
    }

    /// A new page.
    fn begin(&mut self, room: &ScratchRoom, range: u64) -> io::Result<usize> {
        let page = u32::try_from(self.pages.len()).map_err(io::Error::other)?;
        let place = self.make_room(room)?;
        self.held[place].slots.fill(Slot::default());
        self.pages.insert(range, page);
        self.keep(place, range, page);
        self.held[place].changed = true;
        Ok(place)
    }

    fn keep(&mut self, place: usize, range: u64, page: u32) {
        self.places.insert(range, place);
        let held = &mut self.held[place];
        (held.of, held.used) = (Some((range, page)), true);
    }

    /// A place for another page. If what is there cannot be written it stays.
    fn make_room(&mut self, room: &ScratchRoom) -> io::Result<usize> {
        if self.held.len() < self.limit {
            let slots = Box::new([Slot::default(); PAGE_SLOTS]);
            self.held.push(Held { of: None, slots, changed: false, used: false });
            return Ok(self.held.len() - 1);
        }
        while std::mem::take(&mut self.held[self.hand].used) {
            self.hand = (self.hand + 1) % self.held.len();
        }
        let place = self.hand;
        let held = &mut self.held[place];
        if let Some((range, page)) = held.of {
            if held.changed {
                self.file.write_at(room, offset_of(page), &encode(&held.slots))?;
            }
            self.places.remove(&range);
        }
        (held.of, held.changed) = (None, false);
        self.hand = (place + 1) % self.held.len();
        Ok(place)
    }
}

fn offset_of(page: u32) -> u64 {
    u64::from(page) * PAGE_BYTES as u64
}

fn encode(slots: &[Slot; PAGE_SLOTS]) -> [u8; PAGE_BYTES] {
    let mut out = [0; PAGE_BYTES];
    for (bytes, slot) in out.chunks_exact_mut(SLOT_BYTES).zip(slots) {
        bytes[..8].copy_from_slice(&slot.record.to_le_bytes());
        bytes[8..16].copy_from_slice(&slot.seen.to_le_bytes());
        bytes[16..].copy_from_slice(&slot.tree.to_le_bytes());
    }
    out
}

fn decode(bytes: &[u8; PAGE_BYTES], slots: &mut [Slot; PAGE_SLOTS]) {
    let (numbers, _) = bytes.as_chunks::<8>();
    let number = |at: usize| u64::from_le_bytes(numbers[at]);
    for (n, slot) in slots.iter_mut().enumerate() {
        *slot = Slot { record: number(3 * n), seen: number(3 * n + 1), tree: number(3 * n + 2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;

    #[test]
    fn slots_come_back_though_few_pages_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        let mut slots = Slots::new(2);
        let mut model = BTreeMap::new();
        let ids = (0..2000u64).map(|n| n * 7919 % 2003).chain([1 << 40, u64::MAX - 1, 5, 1 << 40]);
        for (n, id) in (1..).zip(ids) {
            let slot = Slot { record: n, seen: n / 2, tree: n % 3 };
            slots.set(&room, id, slot).unwrap();
            model.insert(id, slot);
        }
        for id in [7, 8, 1 << 40] {
            slots.set(&room, id, Slot::default()).unwrap();
            model.remove(&id);
        }
        for id in (0..2100).chain([1 << 40, 1 << 50, u64::MAX]) {
            let known = model.get(&id).copied().unwrap_or_default();
            assert_eq!(slots.get(&room, id).unwrap(), known, "id {id}");
        }
        let mut listed = Vec::new();
        let mut from = 0;
        while let Some((id, slot)) = slots.next(&room, from).unwrap() {
            listed.push((id, slot));
            from = id + 1;
        }
        assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        assert_eq!(slots.held.len(), 2);
    }

    #[test]
    fn what_cannot_be_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("nowhere/scratch"));
        room.keep_to_disk();
        let mut slots = Slots::new(2);
        let slot = Slot { record: 9, seen: 0, tree: 1 };
        slots.set(&room, 1, slot).unwrap();
        slots.set(&room, 1000, slot).unwrap();
        assert!(slots.set(&room, 2000, slot).is_err());
        assert!(slots.prepare(&room, 2000).is_err());
        std::fs::create_dir(dir.path().join("nowhere")).unwrap();
        slots.prepare(&room, 2000).unwrap();
        for (id, known) in [(1, slot), (1000, slot), (2000, Slot::default())] {
            assert_eq!(slots.get(&room, id).unwrap(), known);
        }
    }
}
