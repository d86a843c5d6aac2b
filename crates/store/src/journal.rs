//! The journal's file: framed records, each with its CRC, appended and now and
//! then rewritten.
//!
//! A head of 32 bytes (magic, format, the repository's key, CRC32C), then
//! frames: `length as varint | crc32c u32 | payload`, the CRC over length and
//! payload. What is torn at the end is cut. Damage before good frames is left
//! out, after the whole file was copied aside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::codec::{Reader, put_varint};
use crate::config::{JOURNAL_BUFFER, MAX_JOURNAL_RECORD};
use crate::io as fsio;
use crate::key::RepoKey;

const MAGIC: &[u8; 8] = b"PRGJRNL\n";
/// 2: a file's record may end in the root of its DAG. What format 1 holds
/// means the same; it is rewritten when opened, so that a program that knows
/// only format 1 says so instead of cutting what it cannot read.
const FORMAT: u32 = 2;
const HEAD_BYTES: usize = 32;
/// Bytes after damage in which a good frame is looked for. 1 MiB: a flipped
/// byte costs one frame; whoever lost a megabyte lost the tail.
const RESYNC_BYTES: usize = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    written: u64,
    buffer: Vec<u8>,
    key: RepoKey,
}

/// What a journal held.
pub(crate) struct Replay {
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) cut_bytes: u64,
    pub(crate) copied_to: Option<PathBuf>,
}

/// Why a journal cannot be used.
pub(crate) enum JournalError {
    Io(io::Error),
    TooNew(u32),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
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
    /// Opens or creates the journal. `known_key` is the key to use if the file
    /// is new or its head is lost; `is_fact` tells records from chance finds.
    pub(crate) fn open(
        path: &Path,
        known_key: impl FnOnce() -> io::Result<RepoKey>,
        is_fact: impl Fn(&[u8]) -> bool,
    ) -> Result<(Self, RepoKey, Replay), JournalError> {
        let file = fsio::open_or_create(path)?;
        let bytes = fs::read(path)?;
        let mut replay = Replay { payloads: Vec::new(), cut_bytes: 0, copied_to: None };
        let head = decode_head(&bytes);
        let (key, mut at, mut damaged) = match head {
            Some((format, _)) if format > FORMAT => return Err(JournalError::TooNew(format)),
            Some((_, key)) => (key, HEAD_BYTES, false),
            None => (known_key()?, HEAD_BYTES.min(bytes.len()), bytes.len() >= HEAD_BYTES),
        };
        let current = head.is_some_and(|(format, _)| format == FORMAT);
        while at < bytes.len() {
            if let Some((payload, len)) = frame(&bytes[at..]).filter(|(payload, _)| is_fact(payload)) {
                replay.payloads.push(payload.to_vec());
                at += len;
                continue;
            }
            let to = bytes.len().min(at + RESYNC_BYTES);
            match (at + 1..to).find(|q| frame(&bytes[*q..]).is_some_and(|(payload, _)| is_fact(payload))) {
                Some(next) => {
                    damaged = true;
                    at = next;
                }
                None => break,
            }
        }
        replay.cut_bytes = (bytes.len() - at) as u64;
        let mut journal =
            Self { path: path.to_path_buf(), file, written: at as u64, buffer: Vec::new(), key };
        if damaged {
            let aside = path.with_extension("bad");
            fs::write(&aside, &bytes)?;
            replay.copied_to = Some(aside);
        }
        if damaged || !current {
            journal.rewrite(replay.payloads.iter().cloned())?;
        } else if replay.cut_bytes > 0 {
            journal.file.set_len(journal.written)?;
        }
        Ok((journal, key, replay))
    }

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

    /// Replaces everything by these records: temporary file, sync, rename.
    pub(crate) fn rewrite(&mut self, payloads: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let temp = self.path.with_extension("tmp");
        let file = fsio::create_empty(&temp)?;
        let mut out = encode_head(self.key);
        let mut at = 0;
        for payload in payloads {
            put_frame(&mut out, &payload);
            if out.len() >= JOURNAL_BUFFER {
                fsio::write_at(&file, at, &out)?;
                at += out.len() as u64;
                out.clear();
            }
        }
        fsio::write_at(&file, at, &out)?;
        at += out.len() as u64;
        file.sync_all()?;
        fs::rename(&temp, &self.path)?;
        // From here on the old file has no name, whatever else fails.
        (self.file, self.written) = (file, at);
        self.buffer.clear();
        self.path.parent().map_or(Ok(()), fsio::sync_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (Journal, Replay) {
        let opened = Journal::open(path, || Ok(RepoKey([5; 16])), |_| true);
        let (journal, key, replay) = opened.map_err(|_| "open").unwrap();
        assert_eq!(key, RepoKey([5; 16]));
        (journal, replay)
    }

    fn sample() -> (Vec<Vec<u8>>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path);
        let payloads: Vec<Vec<u8>> = (1..10u8).map(|n| vec![n; usize::from(n)]).collect();
        payloads.iter().for_each(|payload| journal.append(payload).unwrap());
        journal.flush().unwrap();
        (payloads, fs::read(&path).unwrap())
    }

    #[test]
    fn a_cut_at_any_byte_keeps_all_before_it() {
        let (payloads, bytes) = sample();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, replay) = open(&path);
            let mut end = HEAD_BYTES;
            let whole = payloads.iter().take_while(|p| {
                end += 5 + p.len();
                end <= cut
            });
            assert_eq!(replay.payloads, whole.cloned().collect::<Vec<_>>(), "cut at {cut}");
            assert_eq!(replay.copied_to, None);
            journal.append(b"after").unwrap();
            journal.flush().unwrap();
            let (_, again) = open(&path);
            assert_eq!(again.payloads.last().unwrap(), b"after");
            assert_eq!(again.payloads.len(), replay.payloads.len() + 1);
            assert_eq!(again.cut_bytes, 0);
        }
    }

    #[test]
    fn format_1_becomes_the_present_one() {
        let (payloads, mut bytes) = sample();
        bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEAD_BYTES - 4]);
        bytes[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::write(&path, &bytes).unwrap();
        for _ in 0..2 {
            let (_, replay) = open(&path);
            assert_eq!(replay.payloads, payloads);
            assert_eq!((replay.cut_bytes, replay.copied_to), (0, None));
            assert_eq!(decode_head(&fs::read(&path).unwrap()).unwrap().0, FORMAT);
        }
    }

    #[test]
    fn a_flipped_byte_costs_one_record() {
        let (payloads, bytes) = sample();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            let (_, replay) = open(&path);
            assert!(replay.payloads.len() >= payloads.len() - 1, "byte {at}");
            assert!(replay.payloads.iter().all(|payload| payloads.contains(payload)), "byte {at}");
            let (_, again) = open(&path);
            assert_eq!(again.payloads, replay.payloads);
            assert_eq!((again.cut_bytes, again.copied_to), (0, None));
        }
    }
}
