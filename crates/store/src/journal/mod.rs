//! The journal's file: framed records, each with its CRC, appended and now and
//! then rewritten. Never wholly in memory, however long it is.
//!
//! A head of 32 bytes (magic, format, the repository's key, CRC32C), then
//! frames: `length as varint | crc32c u32 | payload`, the CRC over length and
//! payload. What is torn at the end is cut. Damage before good frames is left
//! out, after the whole file was copied aside.

mod open;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Reader, put_varint};
use crate::config::{JOURNAL_AHEAD, JOURNAL_BUFFER, MAX_JOURNAL_RECORD};
use crate::disk::{self, Access, Disk, File};
use crate::key::RepoKey;
use crate::unsynced;

pub(crate) use open::JournalError;

const MAGIC: &[u8; 8] = b"PRGJRNL\n";
/// 2: a file's record may end in the root of its DAG. What format 1 holds
/// means the same; it is rewritten when opened, so that a program that knows
/// only format 1 says so instead of cutting what it cannot read.
const FORMAT: u32 = 2;
const HEAD_BYTES: usize = 32;
/// Bytes of the longest frame: the length may be written in ten bytes.
const MAX_FRAME: usize = 10 + 4 + MAX_JOURNAL_RECORD;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
    written: u64,
    buffer: Vec<u8>,
    key: RepoKey,
    /// Two, since what was added and what was seen of files may lie apart. The
    /// first was used last.
    ahead: [Ahead; 2],
}

/// Bytes of the file that were read lately. What is written never changes.
#[derive(Debug, Default)]
struct Ahead {
    start: u64,
    bytes: Vec<u8>,
}

impl Ahead {
    /// What it has from `at` on.
    fn from(&self, at: u64) -> &[u8] {
        let from = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.bytes.get(from..)).unwrap_or_default()
    }
}

pub(crate) fn encode_head(key: RepoKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&key.0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode_head(bytes: &[u8]) -> Option<(u32, RepoKey)> {
    let mut reader = Reader(bytes);
    let magic = reader.take(8)?;
    let (format, key) = (reader.u32()?, RepoKey(reader.array()?));
    (magic == MAGIC && reader.u32()? == crc32c::crc32c(&bytes[..HEAD_BYTES - 4])).then_some((format, key))
}

pub(crate) fn put_frame(out: &mut Vec<u8>, payload: &[u8]) {
    let start = out.len();
    put_varint(out, payload.len() as u64);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), payload);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of the frame that `bytes` begin with, and the frame's length.
fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut reader = Reader(bytes);
    let len = usize::try_from(reader.varint()?).ok().filter(|len| (1..=MAX_JOURNAL_RECORD).contains(len))?;
    let prefix = bytes.len() - reader.0.len();
    let crc = reader.u32()?;
    let payload = reader.take(len)?;
    let good = crc32c::crc32c_append(crc32c::crc32c(&bytes[..prefix]), payload) == crc;
    good.then_some((payload, prefix + 4 + len))
}

/// What was good when the journal was opened is so no more.
pub(crate) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the journal is damaged; it is mended when it is opened again")
}

impl Journal {
    /// Adds a record to the buffer; written when that is full or at
    /// [`flush`](Self::flush). Returns where it begins.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<u64> {
        if self.buffer.len() >= JOURNAL_BUFFER {
            self.flush()?;
        }
        let at = self.bytes();
        put_frame(&mut self.buffer, payload);
        Ok(at)
    }

    /// The record that begins at `at`, checked by its CRC once more.
    pub(crate) fn read(&mut self, at: u64) -> io::Result<&[u8]> {
        let bytes = match at.checked_sub(self.written) {
            Some(from) => usize::try_from(from).ok().and_then(|from| self.buffer.get(from..)),
            None => Some(self.read_written(at)?),
        };
        bytes.and_then(frame).map(|(payload, _)| payload).ok_or_else(damaged)
    }

    /// The file's bytes from `at` on: a frame, if one begins there.
    fn read_written(&mut self, at: u64) -> io::Result<&[u8]> {
        let has = |ahead: &Ahead| frame(ahead.from(at)).is_some();
        if !has(&self.ahead[0]) {
            self.ahead.swap(0, 1);
        }
        for len in [JOURNAL_AHEAD, MAX_FRAME] {
            if has(&self.ahead[0]) {
                break;
            }
            self.ahead[0] = Ahead { start: at, bytes: disk::read_up_to(&*self.file, at, len)? };
        }
        Ok(self.ahead[0].from(at))
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

    /// A handle to sync without holding up appends.
    pub(crate) fn handle(&self) -> File {
        Arc::clone(&self.file)
    }

    /// Notes that the file could not be synced.
    pub(crate) fn mark_unsynced(&self) {
        if let Some(dir) = self.path.parent() {
            unsynced::mark(&*self.disk, dir, &[]);
        }
    }

    /// Bytes of the file, and of what waits.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Begins a journal that will [`replace`](Self::replace) this one.
    pub(crate) fn rewrite(&self) -> io::Result<Rewrite> {
        Rewrite::begin(&self.disk, &self.path, self.key)
    }

    /// Puts a new journal in the place of this one: sync, rename. What waits
    /// in the buffer is given up. To be followed by [`sync_name`](Self::sync_name).
    pub(crate) fn replace(&mut self, rewrite: Rewrite) -> io::Result<()> {
        (self.file, self.written) = rewrite.publish(&self.path)?;
        self.buffer.clear();
        self.ahead = Default::default();
        Ok(())
    }

    /// Makes the renaming survive power loss.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

/// A journal that is being written anew, under another name.
#[derive(Debug)]
pub(crate) struct Rewrite {
    disk: Arc<dyn Disk>,
    temp: PathBuf,
    /// `None` once it has its name.
    file: Option<File>,
    written: u64,
    buffer: Vec<u8>,
}

impl Rewrite {
    fn begin(disk: &Arc<dyn Disk>, path: &Path, key: RepoKey) -> io::Result<Self> {
        let temp = path.with_extension("tmp");
        let file = Some(disk.open(&temp, Access::Anew)?);
        Ok(Self { disk: Arc::clone(disk), temp, file, written: 0, buffer: encode_head(key) })
    }

    /// Adds a record. Returns where it will begin.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<u64> {
        if self.buffer.len() >= JOURNAL_BUFFER {
            self.write()?;
        }
        let at = self.written + self.buffer.len() as u64;
        put_frame(&mut self.buffer, payload);
        Ok(at)
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write_at(self.written, &self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Gives it its name. From then on the old file has none.
    fn publish(mut self, path: &Path) -> io::Result<(File, u64)> {
        self.write()?;
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.sync()?;
        self.disk.rename(&self.temp, path)?;
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((file, self.written))
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It takes room that is perhaps wanting; the next one empties it anyway.
            drop(disk::remove_if_there(&*self.disk, &self.temp));
        }
    }
}
