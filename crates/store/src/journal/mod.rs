//! The journal: framed records, each with its CRC, appended and now and then
//! rewritten. Never wholly in memory, however long it is.
//!
//! Two files hold the same bytes, `journal` and `journal.mirror`: a record that one
//! of them has lost is taken from the other, since nothing else could tell of a pin.
//! A [head](head), then frames: `length as varint | crc32c u32 | payload`, the CRC
//! over length and payload. What is torn at the end is cut. Damage of both before
//! good frames is left out, after the whole file was copied aside.

mod head;
mod open;
mod pass;
mod rewrite;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Reader, put_varint};
use crate::config::{JOURNAL_AHEAD, JOURNAL_BUFFER, MAX_JOURNAL_RECORD};
use crate::disk::{self, Disk, File};
use crate::key::RepoKey;
use crate::unsynced;

pub(crate) use open::JournalError;
pub(crate) use rewrite::Rewrite;

/// Bytes of the longest frame: the length may be written in ten bytes.
const MAX_FRAME: usize = 10 + 4 + MAX_JOURNAL_RECORD;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Itself and its twin.
    files: Vec<File>,
    written: u64,
    buffer: Vec<u8>,
    key: RepoKey,
    generation: u64,
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

/// The head of a journal that was never rewritten.
#[cfg(feature = "fuzzing")]
pub(crate) fn encode_head(key: RepoKey) -> Vec<u8> {
    head::Head::new(key, 0).encode()
}

/// The names of a journal and its twin.
pub(crate) fn twins(path: &Path) -> [PathBuf; 2] {
    [path.to_path_buf(), path.with_extension("mirror")]
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

    /// The file's bytes from `at` on: a frame, if one begins there, in either of the two.
    fn read_written(&mut self, at: u64) -> io::Result<&[u8]> {
        let has = |ahead: &Ahead| frame(ahead.from(at)).is_some();
        if !has(&self.ahead[0]) {
            self.ahead.swap(0, 1);
        }
        let tries = self.files.iter().flat_map(|file| [(file, JOURNAL_AHEAD), (file, MAX_FRAME)]);
        let mut failed = None;
        for (file, len) in tries {
            if has(&self.ahead[0]) {
                break;
            }
            match disk::read_up_to(&**file, at, len) {
                Ok(bytes) => self.ahead[0] = Ahead { start: at, bytes },
                // The other may be read.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !has(&self.ahead[0]) => Err(error),
            _ => Ok(self.ahead[0].from(at)),
        }
    }

    /// Shows `take` up to `limit` written records from `from` on, which must be
    /// where one begins. Returns where the next one does.
    pub(crate) fn replay(
        &mut self,
        from: u64,
        limit: usize,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut at = from;
        for _ in 0..limit {
            if at >= self.written {
                break;
            }
            let (payload, len) = frame(self.read_written(at)?).ok_or_else(damaged)?;
            take(payload)?;
            at += len as u64;
        }
        Ok(at)
    }

    /// Hands what is buffered to the kernel.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            for file in &self.files {
                file.write_at(self.written, &self.buffer)?;
            }
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Handles to sync without holding up appends.
    pub(crate) fn handles(&self) -> Vec<File> {
        self.files.clone()
    }

    /// Notes that the files could not be synced.
    pub(crate) fn mark_unsynced(&self) {
        if let Some(dir) = self.path.parent() {
            unsynced::mark(&*self.disk, dir, &[]);
        }
    }

    /// Bytes of one file, and of what waits.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// How often it was rewritten.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a journal that will [`replace`](Self::replace) this one.
    pub(crate) fn rewrite(&self) -> io::Result<Rewrite> {
        Rewrite::begin(&self.disk, &self.path, self.key, self.generation.wrapping_add(1))
    }

    /// Puts a new journal in the place of this one: sync, rename. What waits
    /// in the buffer is given up. To be followed by [`sync_name`](Self::sync_name).
    pub(crate) fn replace(&mut self, rewrite: Rewrite) -> io::Result<()> {
        let generation = rewrite.generation;
        (self.files, self.written) = rewrite.publish()?;
        self.generation = generation;
        self.buffer.clear();
        self.ahead = Default::default();
        Ok(())
    }

    /// Makes the renaming survive power loss.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}
