//! Rewriting packs: several into one (merging), or one without what is dead.
//!
//! The new pack is written aside, synced, and renamed; its footer names the
//! packs that it replaces, so a kill at any point leaves either the old ones
//! or the new one in force. Readers that hold an old pack go on reading it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dropped::is_dropped;
use super::file::{Pack, path_of};
use super::record::{Entry, Record};
use super::scan::Window;
use super::set::{PackSet, lock};
use super::{HEAD_BYTES, encode_head, index};
use crate::config::{Config, MAX_DROPPED, SORTED_ENTRIES};
use crate::disk::{self, Access, FailedSync, File};
use crate::runs::Sorter;

/// Bytes gathered for one write.
const CHUNK_BYTES: usize = 1 << 20;

/// What a rewrite did.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// Bytes that the old packs had and the new one has not.
    pub(crate) freed: u64,
    /// Records that could not be read: pack and offset.
    pub(crate) damaged: Vec<(u32, u32)>,
}

/// Which records of packs a rewrite keeps.
pub(crate) struct Selection<'a> {
    /// Asked for each key, in the order of keys within each pack.
    pub(crate) chosen: Box<dyn FnMut(u64) -> io::Result<bool> + 'a>,
    /// Asked for each of the chosen records.
    pub(crate) useful: &'a dyn Fn(&Record<'_>) -> bool,
    /// Asked for the others when the chosen ones are copied, and again when the new
    /// pack has taken the place of the old ones: what somebody has looked for meanwhile.
    pub(crate) wanted: &'a dyn Fn(u64) -> bool,
}

impl Selection<'_> {
    /// All of them.
    pub(crate) fn all() -> Self {
        Self { chosen: Box::new(|_| Ok(true)), useful: &|_| true, wanted: &|_| false }
    }
}

struct Output<'a> {
    file: File,
    at: u64,
    chunk: Vec<u8>,
    entries: Sorter<'a>,
    stopped: &'a AtomicBool,
}

impl Output<'_> {
    fn push(&mut self, entry: Entry, record: &[u8]) -> io::Result<()> {
        let offset = u32::try_from(self.at + self.chunk.len() as u64).map_err(io::Error::other)?;
        self.entries.push(Entry { offset, ..entry }.by_key())?;
        self.chunk.extend_from_slice(record);
        if self.chunk.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        go_on(self.stopped)?;
        self.file.write_at(self.at, &self.chunk)?;
        self.at += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }
}

/// An error once no rewrite is to go on.
fn go_on(stopped: &AtomicBool) -> io::Result<()> {
    let interrupted = || io::Error::new(io::ErrorKind::Interrupted, "the store is being closed");
    if stopped.load(Ordering::Relaxed) { Err(interrupted()) } else { Ok(()) }
}

impl PackSet {
    /// Ends rewrites for good. When it returns, none runs, and what one had written
    /// is gone.
    pub(crate) fn stop_rewriting(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(lock(&self.rewriting));
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Rewrites `inputs` into one pack with those records that are selected; into
    /// none, if that is nothing.
    pub(crate) fn rewrite(&self, inputs: &[Arc<Pack>], selection: Selection<'_>) -> io::Result<Rewritten> {
        let _one_at_a_time = lock(&self.rewriting);
        go_on(&self.stopped)?;
        let current = self.packs();
        if !inputs.iter().all(|input| current.iter().any(|pack| Arc::ptr_eq(pack, input))) {
            return Ok(Rewritten::default());
        }
        let id = self.new_id();
        let temp = path_of(&self.dir, id, "tmp");
        let result = self.write_rewrite(id, inputs, selection);
        if result.is_err() {
            drop(disk::remove_if_there(&*self.config.disk, &temp));
        }
        result
    }

    fn write_rewrite(
        &self,
        id: u32,
        inputs: &[Arc<Pack>],
        selection: Selection<'_>,
    ) -> io::Result<Rewritten> {
        let Selection { mut chosen, useful, wanted } = selection;
        let temp = path_of(&self.dir, id, "tmp");
        let mut out = Output {
            file: self.config.disk.open(&temp, Access::Anew)?,
            at: 0,
            chunk: encode_head(id, self.key),
            entries: Sorter::new(&self.scratch, SORTED_ENTRIES),
            stopped: &self.stopped,
        };
        let mut done = Rewritten::default();
        let mut left: Vec<(usize, Entry)> = Vec::new();
        for (number, pack) in inputs.iter().enumerate() {
            let mut window = Window::new(&*pack.file, pack.records_end);
            let dropped = self.dropped.of(pack.id);
            let from = left.len();
            let entries = pack.entries_that(self.key, &self.scratch, &mut |entry| {
                if is_dropped(&dropped, entry) {
                    return Ok(false);
                }
                let is_chosen = chosen(entry.key)?;
                if !is_chosen {
                    left.push((number, entry));
                }
                Ok(is_chosen)
            })?;
            for entry in entries {
                let entry = entry?;
                let bytes = window.record(u64::from(entry.offset))?;
                match Record::decode(bytes) {
                    None => done.damaged.push((pack.id, entry.offset)),
                    Some(record) if useful(&record) => out.push(entry, &bytes[..record.total])?,
                    Some(_) => left.push((number, entry)),
                }
            }
            left[from..].sort_unstable_by_key(|(_, entry)| entry.offset);
        }
        left = self.rescue(inputs, left, wanted, |entry, record| out.push(entry, record))?;
        let ids: Vec<u32> = inputs.iter().map(|pack| pack.id).collect();
        let old: u64 = inputs.iter().map(|pack| pack.file.len().unwrap_or(0)).sum();
        let new = if out.entries.len() > 0 {
            out.write()?;
            self.publish(id, &ids, out)?
        } else {
            // Nothing is to replace them: that they go is all.
            disk::remove_if_there(&*self.config.disk, &temp)?;
            self.change_packs(|packs| packs.retain(|pack| !ids.contains(&pack.id)));
            0
        };
        // Whoever found a record in an old pack since then still finds it, also after a
        // power cut: it may have been promised from there.
        let mut rescued = false;
        self.rescue(inputs, left, wanted, |_, record| match Record::decode(record) {
            Some(record) => {
                rescued = true;
                self.put(record.kind, &record.mh, record.body, record.block_len().unwrap_or(0))
            }
            None => Ok(()),
        })?;
        self.flush()?;
        if rescued {
            self.sync().map_err(|error| io::Error::other(FailedSync(error.to_string())))?;
        }
        for id in &ids {
            disk::remove_if_there(&*self.config.disk, &path_of(&self.dir, *id, "pack"))?;
        }
        self.dropped.retain(|pack| !ids.contains(&pack));
        done.freed = old.saturating_sub(new);
        Ok(done)
    }

    /// Passes on what is wanted of what was left, and returns the rest.
    fn rescue(
        &self,
        inputs: &[Arc<Pack>],
        left: Vec<(usize, Entry)>,
        wanted: &dyn Fn(u64) -> bool,
        mut push: impl FnMut(Entry, &[u8]) -> io::Result<()>,
    ) -> io::Result<Vec<(usize, Entry)>> {
        let (saved, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, entry)| wanted(entry.key));
        // In the order of inputs and offsets, as they were left.
        let mut saved = saved.into_iter().peekable();
        for (at, pack) in inputs.iter().enumerate() {
            let mut window = Window::new(&*pack.file, pack.records_end);
            while let Some((_, entry)) = saved.next_if(|(number, _)| *number == at) {
                push(entry, window.record(u64::from(entry.offset))?)?;
            }
        }
        Ok(rest)
    }

    /// Puts the new pack in the place of the old ones. Returns its length.
    fn publish(&self, id: u32, replaced: &[u32], out: Output<'_>) -> io::Result<u64> {
        let count = usize::try_from(out.entries.len()).map_err(io::Error::other)?;
        let entries = out.entries.sorted()?.map(|pair| pair.map(Entry::of_key));
        let disk = index::write(&*out.file, id, entries, count, out.at.max(HEAD_BYTES), replaced)?;
        out.file.sync()?;
        let len = out.file.len()?;
        let path = path_of(&self.dir, id, "pack");
        self.config.disk.rename(&path_of(&self.dir, id, "tmp"), &path)?;
        // Whoever opens the repository now goes by the new pack, and so must we,
        // even if its name cannot be made to last: the old ones may hold more, and
        // nobody may be told that this is there.
        let new = Arc::new(Pack::sealed(id, out.file, disk, true, self.config.verify));
        self.change_packs(|packs| {
            packs.retain(|pack| !replaced.contains(&pack.id));
            packs.push(new);
        });
        self.config.disk.sync_dir(&self.dir)?;
        Ok(len)
    }

    /// The pack of which most locations are known to be wrong, if there are so
    /// many in all that one should be rewritten for it.
    pub(crate) fn crowded(&self) -> Option<Arc<Pack>> {
        let counts = self.dropped.counts();
        if counts.iter().map(|(_, count)| count).sum::<usize>() < MAX_DROPPED {
            return None;
        }
        let packs = self.packs();
        let count = |pack: &Pack| counts.iter().find(|(id, _)| *id == pack.id).map(|(_, count)| *count);
        let sealed = packs.iter().filter(|pack| pack.disk.is_some());
        let with_count = sealed.filter_map(|pack| Some((count(pack)?, pack)));
        with_count.max_by_key(|(count, _)| *count).map(|(_, pack)| Arc::clone(pack))
    }

    /// Packs that should become one: of one size class, enough of them.
    pub(crate) fn merge_candidates(&self) -> Vec<Arc<Pack>> {
        let packs = self.packs();
        let mut classes: BTreeMap<u32, Vec<&Arc<Pack>>> = BTreeMap::new();
        for pack in packs.iter().filter(|pack| pack.disk.is_some()) {
            let weight = weight(&self.config, pack.records_end, pack.records());
            if weight < FULL / 2 {
                classes.entry(weight.max(1).ilog2() / 3).or_default().push(pack);
            }
        }
        for class in classes.values().filter(|class| class.len() >= self.config.merge_fan) {
            let (mut bytes, mut records) = (0, 0);
            let fits = class.iter().take_while(|pack| {
                bytes += pack.records_end;
                records += pack.records();
                weight(&self.config, bytes, records) <= FULL
            });
            let group: Vec<Arc<Pack>> = fits.map(|pack| Arc::clone(pack)).collect();
            if group.len() > 1 {
                return group;
            }
        }
        Vec::new()
    }
}

/// The weight of a pack that is as large as packs get.
const FULL: u64 = 1 << 20;

/// How full a pack is, by bytes or by records, of [`FULL`].
fn weight(config: &Config, bytes: u64, records: usize) -> u64 {
    let by_bytes = u128::from(bytes) * u128::from(FULL) / u128::from(config.merged_bytes.max(1));
    let by_records = records as u128 * u128::from(FULL) / config.merged_records.max(1) as u128;
    u64::try_from(by_bytes.max(by_records)).unwrap_or(u64::MAX)
}
