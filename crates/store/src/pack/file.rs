//! A pack that takes no more records: sealed, or about to be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::index::DiskIndex;
use super::record::Entry;
use super::scan::{Found, Scan};
use super::{HEAD_BYTES, index};
use crate::config::{SORTED_ENTRIES, VerifyFn};
use crate::disk::{DiskFile, File};
use crate::key::RepoKey;
use crate::runs::Sorter;
use crate::scratch::ScratchRoom;

/// The file name of a pack.
pub(crate) fn path_of(dir: &Path, id: u32, extension: &str) -> PathBuf {
    dir.join(format!("{id:08x}.{extension}"))
}

/// An immutable pack with an index on disk, in memory, or, if the one on disk
/// turned out damaged, one in memory over it.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) id: u32,
    pub(crate) file: File,
    /// `None` until sealed.
    pub(crate) disk: Option<DiskIndex>,
    memory: OnceLock<Vec<Entry>>,
    /// Where records end, or may.
    pub(crate) records_end: u64,
    /// Whether all of it is known to be on disk.
    pub(crate) synced: AtomicBool,
    /// Its index on disk was found damaged when it was opened.
    pub(crate) damaged: bool,
    verify: VerifyFn,
}

/// What reading all records of a pack gave.
pub(crate) struct Scanned {
    pub(crate) entries: Vec<Entry>,
    /// Ranges of no use between records.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Where the last good record ends.
    pub(crate) end: u64,
}

/// Reads the records of `file` from `from` up to `end`.
pub(crate) fn scan(
    file: &dyn DiskFile,
    key: RepoKey,
    from: u64,
    end: u64,
    verify: VerifyFn,
) -> io::Result<Scanned> {
    let mut scan = Scan::new(file, from, end, verify);
    let mut out = Scanned { entries: Vec::new(), damage: Vec::new(), end: from };
    loop {
        match scan.next()? {
            Found::Record(offset, record) => {
                let (Ok(at), Some(len)) = (u32::try_from(offset), record.block_len()) else {
                    return Err(io::Error::other("a pack of over 4 GiB"));
                };
                out.entries.push(Entry::new(key.of(&record.mh), at, record.kind, len));
                out.end = offset + record.total as u64;
            }
            Found::Damage(from, to) => out.damage.push((from, to)),
            Found::End => return Ok(out),
        }
    }
}

impl Pack {
    /// A pack whose index is in memory only; `entries` need not be sorted.
    pub(crate) fn frozen(
        id: u32,
        file: File,
        mut entries: Vec<Entry>,
        records_end: u64,
        verify: VerifyFn,
    ) -> Self {
        entries.sort_unstable();
        let synced = AtomicBool::new(false);
        Self {
            id,
            file,
            disk: None,
            memory: OnceLock::from(entries),
            records_end,
            synced,
            damaged: false,
            verify,
        }
    }

    /// A pack with its index on disk.
    pub(crate) fn sealed(id: u32, file: File, disk: DiskIndex, synced: bool, verify: VerifyFn) -> Self {
        let records_end = disk.footer.records_end;
        let (disk, synced) = (Some(disk), AtomicBool::new(synced));
        Self { id, file, disk, memory: OnceLock::new(), records_end, synced, damaged: false, verify }
    }

    /// Writes the index of a frozen pack behind its records.
    pub(crate) fn seal(&self) -> io::Result<Self> {
        let entries = self.memory.get().map_or(&[][..], Vec::as_slice);
        let all = entries.iter().copied().map(Ok);
        let disk = index::write(&*self.file, self.id, all, entries.len(), self.records_end, &[])?;
        Ok(Self::sealed(self.id, Arc::clone(&self.file), disk, false, self.verify))
    }

    /// Whether its index on disk is missing or damaged.
    pub(crate) fn needs_rewrite(&self) -> bool {
        self.damaged || (self.disk.is_some() && self.memory.get().is_some())
    }

    /// Adds the entries of `key` to `out`. True if damage was found on the way
    /// (and got around, by reading all of the pack).
    pub(crate) fn find(&self, key: u64, repo: RepoKey, out: &mut Vec<Entry>) -> io::Result<bool> {
        let mut damaged = false;
        if self.memory.get().is_none()
            && let Some(disk) = &self.disk
        {
            if !disk.may_contain(key) || disk.find(&*self.file, key, out)? {
                return Ok(false);
            }
            damaged = true;
        }
        let entries = self.memory_index(repo)?;
        let from = entries.partition_point(|entry| entry.key < key);
        out.extend(entries[from..].iter().take_while(|entry| entry.key == key));
        Ok(damaged)
    }

    fn memory_index(&self, repo: RepoKey) -> io::Result<&[Entry]> {
        if let Some(entries) = self.memory.get() {
            return Ok(entries);
        }
        let mut entries = scan(&*self.file, repo, HEAD_BYTES, self.records_end, self.verify)?.entries;
        entries.sort_unstable();
        Ok(self.memory.get_or_init(|| entries))
    }

    /// All entries in the order of their records.
    pub(crate) fn entries(
        &self,
        repo: RepoKey,
        room: &ScratchRoom,
    ) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
        self.entries_that(repo, room, &mut |_| Ok(true))
    }

    /// Those entries that `chosen` takes, which is asked in the order of their keys,
    /// in the order of their records.
    pub(crate) fn entries_that(
        &self,
        repo: RepoKey,
        room: &ScratchRoom,
        chosen: &mut dyn FnMut(Entry) -> io::Result<bool>,
    ) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
        let mut sorter = Sorter::new(room, SORTED_ENTRIES);
        self.for_each_by_key(repo, &mut |entry| {
            if chosen(entry)? { sorter.push(entry.by_offset()) } else { Ok(()) }
        })?;
        Ok(sorter.sorted()?.map(|pair| pair.map(Entry::of_offset)))
    }

    /// Shows all entries in the order of their keys.
    pub(crate) fn for_each_by_key(
        &self,
        repo: RepoKey,
        show: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        // An index that turns out damaged has shown some already, so it is read
        // through before anything is shown.
        if self.memory.get().is_none() && !self.show_disk_index(&mut |_| Ok(()))? {
            self.memory_index(repo)?;
        }
        if self.memory.get().is_none() && self.show_disk_index(show)? {
            return Ok(());
        }
        self.memory_index(repo)?.iter().try_for_each(|entry| show(*entry))
    }

    /// False if its index on disk is not used or turned out damaged.
    fn show_disk_index(&self, show: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<bool> {
        match (&self.disk, self.memory.get()) {
            (Some(disk), None) => disk.for_each(&*self.file, show),
            _ => Ok(false),
        }
    }

    /// Bytes of the blocks of all its records.
    pub(crate) fn block_bytes(&self, repo: RepoKey) -> io::Result<u64> {
        let mut sum = 0;
        let mut add = |entry: Entry| {
            sum += u64::from(entry.block_len());
            Ok(())
        };
        if self.show_disk_index(&mut add)? {
            return Ok(sum);
        }
        Ok(self.memory_index(repo)?.iter().map(|entry| u64::from(entry.block_len())).sum())
    }

    /// Records that it holds.
    pub(crate) fn records(&self) -> usize {
        match (&self.disk, self.memory.get()) {
            (_, Some(entries)) => entries.len(),
            (Some(disk), None) => disk.footer.records as usize,
            (None, None) => 0,
        }
    }

    /// References among its records.
    pub(crate) fn references(&self) -> usize {
        match (&self.disk, self.memory.get()) {
            (Some(disk), _) => disk.footer.references as usize,
            (None, Some(entries)) => {
                entries.iter().filter(|entry| entry.kind() == Some(super::record::Kind::Reference)).count()
            }
            (None, None) => 0,
        }
    }

    /// Bytes of memory that its index takes.
    pub(crate) fn memory(&self) -> usize {
        self.disk.as_ref().map_or(0, DiskIndex::memory)
            + self.memory.get().map_or(0, |e| e.len() * Entry::BYTES)
    }

    /// Makes it survive power loss.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if !self.synced.load(Ordering::Acquire) {
            self.file.sync()?;
            self.synced.store(true, Ordering::Release);
        }
        Ok(())
    }
}
