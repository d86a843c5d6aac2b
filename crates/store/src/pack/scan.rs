//! Reading a pack's records one after another, past damage if need be.
//!
//! After a damaged record the next one is looked for byte by byte. Since a
//! block's bytes may be chosen by a stranger to look like a record, what is
//! found that way must also match its multihash until the scan is over.

use std::io;

use super::record::{Kind, MAGIC, Prefix, Record};
use crate::config::VerifyFn;
use crate::disk::{self, DiskFile};

/// Bytes read ahead. 1 MiB: one read for thousands of references.
const WINDOW_BYTES: usize = 1 << 20;

/// A moving window over a file.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    buf: Vec<u8>,
    end: u64,
}

impl<'a> Window<'a> {
    /// A window that sees the first `end` bytes of `file`.
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64) -> Self {
        Self { file, start: 0, buf: Vec::new(), end }
    }

    /// Up to `len` bytes at `pos`: fewer only at the end.
    pub(crate) fn get(&mut self, pos: u64, len: usize) -> io::Result<&[u8]> {
        let len = usize::try_from(self.end.saturating_sub(pos)).unwrap_or(usize::MAX).min(len);
        let inside = pos >= self.start && pos + len as u64 <= self.start + self.buf.len() as u64;
        if !inside {
            let ahead = usize::try_from(self.end - pos.min(self.end)).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.buf = disk::read_up_to(self.file, pos, ahead.max(len))?;
            self.start = pos;
        }
        let from = usize::try_from(pos - self.start).unwrap_or(usize::MAX).min(self.buf.len());
        let to = (from + len).min(self.buf.len());
        Ok(&self.buf[from..to])
    }

    /// Bytes of the record at `pos`, whether or not they are right.
    pub(crate) fn record(&mut self, pos: u64) -> io::Result<&[u8]> {
        let total = Prefix::decode(self.get(pos, 14)?).map_or(0, Prefix::total);
        self.get(pos, total)
    }
}

/// What a scan came across.
pub(crate) enum Found<'a> {
    /// A whole record at this offset.
    Record(u64, Record<'a>),
    /// Bytes of no use between two offsets, with records after them.
    Damage(u64, u64),
    /// No more records; what follows the last is torn, an index, or nothing.
    End,
}

/// A scan of the records of a pack.
pub(crate) struct Scan<'a> {
    window: Window<'a>,
    pos: u64,
    suspicious: bool,
    verify: VerifyFn,
}

impl<'a> Scan<'a> {
    /// From offset `from`, over the first `end` bytes of `file`.
    pub(crate) fn new(file: &'a dyn DiskFile, from: u64, end: u64, verify: VerifyFn) -> Self {
        Self { window: Window::new(file, end), pos: from, suspicious: false, verify }
    }

    fn is_good(&mut self, pos: u64) -> io::Result<bool> {
        let (suspicious, verify) = (self.suspicious, self.verify);
        Ok(Record::decode(self.window.record(pos)?).is_some_and(|record| {
            record.block_len().is_some()
                && (!suspicious || record.kind != Kind::Block || verify(&record.mh, &[record.body]))
        }))
    }

    /// The next find. After `End` it must not be called again.
    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let pos = self.pos;
        if self.is_good(pos)? {
            let total = Prefix::decode(self.window.get(pos, 14)?).map_or(0, Prefix::total);
            self.pos += total as u64;
            // Decoded twice, because the borrow of the first cannot outlive the test.
            return match Record::decode(self.window.record(pos)?) {
                Some(record) => Ok(Found::Record(pos, record)),
                None => Ok(Found::End),
            };
        }
        self.suspicious = true;
        match self.next_good(pos + 1)? {
            Some(next) => {
                self.pos = next;
                Ok(Found::Damage(pos, next))
            }
            None => Ok(Found::End),
        }
    }

    fn next_good(&mut self, mut pos: u64) -> io::Result<Option<u64>> {
        let magic = MAGIC.to_le_bytes();
        loop {
            let bytes = self.window.get(pos, WINDOW_BYTES / 4)?;
            if bytes.len() < magic.len() {
                return Ok(None);
            }
            match bytes.windows(4).position(|four| four == magic) {
                None => pos += (bytes.len() - 3) as u64,
                Some(at) => {
                    pos += at as u64;
                    if self.is_good(pos)? {
                        return Ok(Some(pos));
                    }
                    pos += 1;
                }
            }
        }
    }
}
