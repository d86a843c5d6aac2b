//! The pack that takes new records: its index is in memory, its last records may be too.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::file::{Pack, path_of};
use super::record::Entry;
use super::{HEAD_BYTES, encode_head};
use crate::config::VerifyFn;
use crate::disk::{Access, Disk, File};
use crate::key::RepoKey;

/// No earlier entry of the same key.
const NONE: u32 = u32::MAX;

/// An unsealed pack.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: u32,
    pub(crate) file: File,
    /// Entries in the order of their records.
    pub(crate) entries: Vec<Entry>,
    /// For each entry, the one before it of the same key.
    earlier: Vec<u32>,
    latest: HashMap<u64, u32>,
    /// Bytes of the file that are written.
    written: u64,
    /// Records after them.
    buffer: Vec<u8>,
    /// Bytes that are known to have reached the disk.
    pub(crate) synced: u64,
}

/// Bytes of a record, wherever they are now.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(File),
    Memory(Bytes),
}

impl Active {
    /// A new pack, its head written.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, id: u32, key: RepoKey) -> io::Result<Self> {
        let file = disk.open(&path_of(dir, id, "active"), Access::Anew)?;
        file.write_at(0, &encode_head(id, key))?;
        Ok(Self::with_entries(id, file, Vec::new(), HEAD_BYTES))
    }

    /// One that was there, its records known and ending at `end`.
    pub(crate) fn with_entries(id: u32, file: File, entries: Vec<Entry>, end: u64) -> Self {
        let mut active = Self {
            id,
            file,
            entries: Vec::new(),
            earlier: Vec::new(),
            latest: HashMap::new(),
            written: end,
            buffer: Vec::new(),
            synced: 0,
        };
        entries.into_iter().for_each(|entry| active.add(entry));
        active
    }

    fn add(&mut self, entry: Entry) {
        let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
        self.entries.push(entry);
        self.earlier.push(self.latest.insert(entry.key, at).unwrap_or(NONE));
    }

    /// Where the next record begins.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Bytes that reached the kernel.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Adds a record; `entry` makes its entry from its offset. Nothing changes on an error.
    pub(crate) fn append(
        &mut self,
        prefix: &[u8],
        body: &[u8],
        limit: usize,
        entry: impl FnOnce(u32) -> Entry,
    ) -> io::Result<()> {
        let len = prefix.len() + body.len();
        if self.buffer.len() + len > limit {
            self.flush()?;
        }
        let offset = u32::try_from(self.end()).map_err(io::Error::other)?;
        if len > limit {
            self.file.write_at(self.written, prefix)?;
            self.file.write_at(self.written + prefix.len() as u64, body)?;
            self.written += len as u64;
        } else {
            self.buffer.extend_from_slice(prefix);
            self.buffer.extend_from_slice(body);
        }
        self.add(entry(offset));
        Ok(())
    }

    /// Hands what is buffered to the kernel.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(self.written, &self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Adds the entries of `key` to `out`, with where their bytes are.
    pub(crate) fn find(&self, key: u64, out: &mut Vec<(Entry, Source)>) {
        let mut at = self.latest.get(&key).copied().unwrap_or(NONE);
        while at != NONE {
            let entry = self.entries[at as usize];
            out.push((entry, self.source(entry, at)));
            at = self.earlier[at as usize];
        }
    }

    /// Whether it has the key.
    pub(crate) fn has(&self, key: u64) -> bool {
        self.latest.contains_key(&key)
    }

    fn source(&self, entry: Entry, at: u32) -> Source {
        match u64::from(entry.offset).checked_sub(self.written) {
            None => Source::File(Arc::clone(&self.file)),
            Some(from) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                let to = self
                    .entries
                    .get(at as usize + 1)
                    .map_or(self.buffer.len(), |next| from + (next.offset - entry.offset) as usize);
                Source::Memory(Bytes::copy_from_slice(self.buffer.get(from..to).unwrap_or(&[])))
            }
        }
    }

    /// The same records as a pack that takes no more. All must be flushed.
    pub(crate) fn freeze(self, verify: VerifyFn) -> Pack {
        Pack::frozen(self.id, self.file, self.entries, self.written, verify)
    }
}
