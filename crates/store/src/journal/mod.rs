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

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::codec::{Reader, put_varint};
use crate::config::{JOURNAL_BUFFER, MAX_JOURNAL_RECORD};
use crate::io as fsio;
use crate::key::RepoKey;

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
    path: PathBuf,
    file: File,
    written: u64,
    buffer: Vec<u8>,
    key: RepoKey,
}

fn encode_head(key: RepoKey) -> Vec<u8> {
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

fn put_frame(out: &mut Vec<u8>, payload: &[u8]) {
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

impl Journal {
    /// Adds a record to the buffer; written when that is full or at [`flush`](Self::flush).
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.buffer.len() >= JOURNAL_BUFFER {
            self.flush()?;
        }
        put_frame(&mut self.buffer, payload);
        Ok(())
    }

    /// Hands what is buffered to the kernel.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            fsio::write_at(&self.file, self.written, &self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// A handle to sync without holding up appends.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes of the file, and of what waits.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Begins a journal that will [`replace`](Self::replace) this one.
    pub(crate) fn rewrite(&self) -> io::Result<Rewrite> {
        Rewrite::begin(&self.path, self.key)
    }

    /// Puts a new journal in the place of this one: sync, rename. What waits
    /// in the buffer is given up. To be followed by [`sync_name`](Self::sync_name).
    pub(crate) fn replace(&mut self, rewrite: Rewrite) -> io::Result<()> {
        (self.file, self.written) = rewrite.publish(&self.path)?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the renaming survive power loss.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), fsio::sync_dir)
    }
}

/// A journal that is being written anew, under another name.
#[derive(Debug)]
pub(crate) struct Rewrite {
    temp: PathBuf,
    /// `None` once it has its name.
    file: Option<File>,
    written: u64,
    buffer: Vec<u8>,
}

impl Rewrite {
    fn begin(path: &Path, key: RepoKey) -> io::Result<Self> {
        let temp = path.with_extension("tmp");
        let file = Some(fsio::create_empty(&temp)?);
        Ok(Self { temp, file, written: 0, buffer: encode_head(key) })
    }

    /// Adds a record.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.buffer.len() >= JOURNAL_BUFFER {
            self.write()?;
        }
        put_frame(&mut self.buffer, payload);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            fsio::write_at(file, self.written, &self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Gives it its name. From then on the old file has none.
    fn publish(mut self, path: &Path) -> io::Result<(File, u64)> {
        self.write()?;
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.sync_all()?;
        fs::rename(&self.temp, path)?;
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((file, self.written))
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It takes room that is perhaps wanting; the next one empties it anyway.
            drop(fsio::remove_if_there(&self.temp));
        }
    }
}
