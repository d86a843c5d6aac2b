//! All packs of a repository: where a block's records are, and adding one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::active::{Active, Source};
use super::dropped::Dropped;
use super::file::{Pack, path_of};
use super::record::{Entry, Kind, encode_prefix};
use crate::Multihash;
use crate::config::Config;
use crate::disk::{self, Closed};
use crate::key::RepoKey;
use crate::scratch::ScratchRoom;

/// A record of some block, or of one whose key is the same.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) pack: u32,
    pub(crate) entry: Entry,
    pub(crate) source: Source,
}

/// The packs. All methods may be called from any thread.
#[derive(Debug)]
pub(crate) struct PackSet {
    pub(crate) dir: PathBuf,
    pub(crate) key: RepoKey,
    pub(crate) config: Config,
    /// Locked before `packs`, so that no record is in neither.
    active: Mutex<Active>,
    packs: RwLock<Arc<Vec<Arc<Pack>>>>,
    next_id: AtomicU32,
    /// Bytes of the files of `packs`.
    bytes: AtomicU64,
    /// Locations known to be wrong.
    pub(crate) dropped: Arc<Dropped>,
    dir_changed: AtomicBool,
    /// Packs that others had replaced when they were opened, and whose files are there.
    pub(super) replaced: Vec<PathBuf>,
    /// One at a time syncs: who finds that the folder has been synced relies on it.
    syncing: Mutex<()>,
    /// For sorting the entries of a pack: a bounded number, so that they may be
    /// in memory when the disk is full.
    pub(crate) scratch: ScratchRoom,
    sealing: Mutex<()>,
    pub(super) rewriting: Mutex<()>,
    /// No rewrite is begun any more, and one that runs ends.
    pub(super) stopped: AtomicBool,
    /// Nothing is written any more; set while `active` is locked.
    closed: AtomicBool,
}

fn bytes_of(packs: &[Arc<Pack>]) -> u64 {
    packs.iter().map(|pack| pack.file.len().unwrap_or(pack.records_end)).sum()
}

/// A lock whose data is whole even if a thread panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PackSet {
    /// From what [`open`](super::open::open) found.
    pub(super) fn new(
        dir: &Path,
        key: RepoKey,
        config: &Config,
        active: Active,
        packs: Vec<Arc<Pack>>,
        next_id: u32,
    ) -> Self {
        let bytes = bytes_of(&packs);
        Self {
            dir: dir.to_path_buf(),
            key,
            config: config.clone(),
            active: Mutex::new(active),
            packs: RwLock::new(Arc::new(packs)),
            next_id: AtomicU32::new(next_id),
            bytes: AtomicU64::new(bytes),
            dropped: Arc::default(),
            dir_changed: AtomicBool::new(true),
            replaced: Vec::new(),
            syncing: Mutex::new(()),
            scratch: ScratchRoom::new(&config.disk, &dir.join("entries.tmp")),
            sealing: Mutex::new(()),
            rewriting: Mutex::new(()),
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn new_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives no id up to this one to a new pack.
    pub(crate) fn pass_over_ids(&self, last: u32) {
        self.next_id.fetch_max(last.saturating_add(1), Ordering::Relaxed);
    }

    /// The packs that take no more records, as they are now.
    pub(crate) fn packs(&self) -> Arc<Vec<Arc<Pack>>> {
        Arc::clone(&self.packs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the list of packs; readers keep what they have.
    pub(super) fn change_packs(&self, change: impl FnOnce(&mut Vec<Arc<Pack>>)) {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = (**packs).clone();
        change(&mut list);
        self.bytes.store(bytes_of(&list), Ordering::Relaxed);
        *packs = Arc::new(list);
        self.dir_changed.store(true, Ordering::Release);
    }

    /// Removes what others had replaced when it was opened, once their names are safe:
    /// a process that was killed, or could not sync, may have left them in doubt.
    pub(crate) fn remove_replaced(&self) -> io::Result<()> {
        if self.replaced.is_empty() {
            return Ok(());
        }
        self.config.disk.sync_dir(&self.dir)?;
        self.replaced.iter().try_for_each(|file| disk::remove_if_there(&*self.config.disk, file))
    }

    fn check_open(&self) -> io::Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(Closed.into()) } else { Ok(()) }
    }

    /// Takes no more. When it returns, nothing is being written but what is flushed.
    pub(crate) fn close(&self) {
        self.stop_rewriting();
        let active = lock(&self.active);
        self.closed.store(true, Ordering::SeqCst);
        drop(active);
        drop(lock(&self.sealing));
    }

    /// Adds a record. On an error nothing was added.
    pub(crate) fn put(&self, kind: Kind, mh: &Multihash, body: &[u8], block_len: u32) -> io::Result<()> {
        let prefix = encode_prefix(kind, mh, body);
        let key = self.key.of(mh);
        let mut active = lock(&self.active);
        self.check_open()?;
        let full = active.end() >= self.config.pack_bytes || active.entries.len() >= self.config.pack_records;
        let frozen = if full { Some(self.rotate(&mut active)?) } else { None };
        let added = active.append(&prefix, body, self.config.write_buffer, |offset| {
            Entry::new(key, offset, kind, block_len)
        });
        drop(active);
        if let Some(frozen) = frozen {
            // What fails here, on a full disk, is tried again by `seal_all`.
            drop(self.seal(&frozen));
        }
        added
    }

    /// Begins a new pack; the records of the old one stay where they are.
    fn rotate(&self, active: &mut Active) -> io::Result<Arc<Pack>> {
        self.check_open()?;
        active.flush()?;
        let next = Active::create(&*self.config.disk, &self.dir, self.new_id(), self.key)?;
        let frozen = Arc::new(std::mem::replace(active, next).freeze(self.config.verify));
        self.change_packs(|packs| packs.push(Arc::clone(&frozen)));
        Ok(frozen)
    }

    /// Puts what comes next into another pack.
    pub(crate) fn begin_another(&self) -> io::Result<()> {
        let frozen = self.rotate(&mut lock(&self.active))?;
        // What fails here is tried again by `seal_all`.
        drop(self.seal(&frozen));
        Ok(())
    }

    /// The pack that takes new records, and where the next one begins.
    pub(crate) fn active_end(&self) -> (u32, u64) {
        let active = lock(&self.active);
        (active.id, active.end())
    }

    /// Seals the active pack if it holds anything, so that it can be rewritten.
    pub(crate) fn seal_active(&self) -> io::Result<()> {
        let mut active = lock(&self.active);
        if !active.entries.is_empty() {
            let frozen = self.rotate(&mut active)?;
            drop(active);
            self.seal(&frozen)?;
        }
        Ok(())
    }

    /// Writes the index of a frozen pack and gives it its final name.
    fn seal(&self, frozen: &Arc<Pack>) -> io::Result<()> {
        let _one_at_a_time = lock(&self.sealing);
        self.check_open()?;
        if !self.packs().iter().any(|pack| Arc::ptr_eq(pack, frozen)) {
            return Ok(());
        }
        let sealed = Arc::new(frozen.seal()?);
        let (from, to) = (path_of(&self.dir, frozen.id, "active"), path_of(&self.dir, frozen.id, "pack"));
        self.config.disk.rename(&from, &to)?;
        self.change_packs(|packs| {
            packs.iter_mut().filter(|pack| pack.id == sealed.id).for_each(|pack| *pack = Arc::clone(&sealed));
        });
        Ok(())
    }

    /// Seals what could not be sealed before.
    pub(crate) fn seal_all(&self) -> io::Result<()> {
        for pack in self.packs().iter().filter(|pack| pack.disk.is_none() && !pack.damaged) {
            self.seal(pack)?;
        }
        Ok(())
    }

    /// Every location of `key` that is not known to be wrong: blocks first. The
    /// ids beside them are packs whose index turned out damaged.
    pub(crate) fn find(&self, key: u64) -> io::Result<(Vec<Located>, Vec<u32>)> {
        let mut out = Vec::new();
        let mut damaged = Vec::new();
        {
            let active = lock(&self.active);
            if active.has(key) {
                let mut found = Vec::new();
                active.find(key, &mut found);
                out.extend(found.into_iter().map(|(entry, source)| Located {
                    pack: active.id,
                    entry,
                    source,
                }));
            }
        }
        let mut entries = Vec::new();
        for pack in self.packs().iter().rev() {
            if pack.find(key, self.key, &mut entries)? {
                damaged.push(pack.id);
            }
            out.extend(entries.drain(..).map(|entry| Located {
                pack: pack.id,
                entry,
                source: Source::File(Arc::clone(&pack.file)),
            }));
        }
        self.dropped.retain_others(&mut out, |at| (at.pack, at.entry));
        out.sort_by_key(|at| at.entry.kind() != Some(Kind::Block));
        Ok((out, damaged))
    }

    /// Bytes of all packs, the active one too.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + lock(&self.active).end()
    }

    /// Ids of all packs, the active one too.
    pub(crate) fn all_ids(&self) -> Vec<u32> {
        let active = lock(&self.active).id;
        self.packs().iter().map(|pack| pack.id).chain([active]).collect()
    }

    /// Whether this is the pack that takes new records.
    pub(crate) fn is_active(&self, id: u32) -> bool {
        lock(&self.active).id == id
    }

    /// Records of the pack that takes new ones.
    pub(crate) fn active_len(&self) -> usize {
        lock(&self.active).entries.len()
    }

    /// The file of a pack, for messages.
    pub(crate) fn path(&self, id: u32) -> PathBuf {
        let unsealed = |pack: &Arc<Pack>| pack.id == id && pack.disk.is_none() && !pack.damaged;
        let active = self.is_active(id) || self.packs().iter().any(unsealed);
        path_of(&self.dir, id, if active { "active" } else { "pack" })
    }

    /// Hands everything to the kernel: a killed process loses nothing.
    pub(crate) fn flush(&self) -> io::Result<()> {
        lock(&self.active).flush()
    }

    /// Makes all that was [flushed](Self::flush) survive power loss.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.syncing);
        let (id, file, end, synced) = {
            let active = lock(&self.active);
            (active.id, Arc::clone(&active.file), active.written(), active.synced)
        };
        if synced < end {
            file.sync()?;
        }
        for pack in self.packs().iter() {
            pack.sync()?;
        }
        if self.dir_changed.swap(false, Ordering::AcqRel)
            && let Err(error) = self.config.disk.sync_dir(&self.dir)
        {
            self.dir_changed.store(true, Ordering::Release);
            return Err(error);
        }
        let mut active = lock(&self.active);
        if active.id == id {
            active.synced = active.synced.max(end);
        }
        Ok(())
    }

    /// Packs of which not all is known to be on disk.
    pub(crate) fn unsynced(&self) -> Vec<u32> {
        let active = lock(&self.active).id;
        let packs = self.packs();
        let unsynced = packs.iter().filter(|pack| !pack.synced.load(Ordering::Acquire)).map(|pack| pack.id);
        unsynced.chain([active]).collect()
    }

    /// Id of the active pack, the bytes of it that are on disk, and the entries
    /// of the records in them from the `from`th on.
    pub(crate) fn checkpoint(&self, id: u32, from: usize) -> (u32, u64, usize, Vec<Entry>) {
        let active = lock(&self.active);
        let count = active.entries.partition_point(|entry| u64::from(entry.offset) < active.synced);
        let from = if active.id == id { from.min(count) } else { 0 };
        (active.id, active.synced, from, active.entries[from..count].to_vec())
    }

    /// Records, references among them, and bytes of memory of the indexes.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let (mut records, mut references, mut memory) = {
            let active = lock(&self.active);
            let references = active.entries.iter().filter(|e| e.kind() == Some(Kind::Reference)).count();
            (active.entries.len(), references, active.entries.len() * 40)
        };
        for pack in self.packs().iter() {
            records += pack.records();
            references += pack.references();
            memory += pack.memory();
        }
        (records, references, memory)
    }

    /// A stand-in for the active pack, for reading all of it.
    pub(crate) fn active_snapshot(&self) -> io::Result<Pack> {
        let mut active = lock(&self.active);
        active.flush()?;
        Ok(Pack::frozen(
            active.id,
            Arc::clone(&active.file),
            active.entries.clone(),
            active.written(),
            self.config.verify,
        ))
    }
}
