//! What the workers do: read pieces of files and hash them. A job reads at
//! most [`JOB_BYTES`](super::limits::JOB_BYTES) or one chunk into one buffer,
//! and gives back leaves, not bytes.

use std::fs::{File, Metadata as FileMetadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicBool, Ordering};

use peerage_content::{Block, Cid, Leaf, Metadata, Mtime, Profile};
use peerage_store::{RootSetBuilder, Seen, Stat, Store, WriteError, append_at};

use super::Preserve;
use super::cut::Piece;
use super::folder::FileAt;
use super::known::Known;

/// What all jobs of one import need.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) profile: Profile,
    pub(super) preserve: Preserve,
    /// Where leaves are copied to, if they are.
    pub(super) copies: Option<Store>,
    /// What knows files, if leaves are references to them.
    pub(super) references: Option<Store>,
    /// Leaves that are copied, and blocks of known files, before they are in the set
    /// of a root: until the import ends, no collection takes them.
    pub(super) relied: Option<RootSetBuilder>,
    /// The import has ended; what is still posted is not worth doing.
    pub(super) abandoned: AtomicBool,
}

/// One step of a walk over a tree, in order. A job hashes the files among them.
#[derive(Debug)]
pub(super) enum Step {
    Enter {
        name: String,
        path: std::path::PathBuf,
        metadata: Metadata,
    },
    Leave,
    Symlink {
        name: String,
        block: Block,
    },
    /// A file that is one chunk, to be hashed.
    File(FileAt),
    /// One that need not be.
    Known(FileAt, Known),
    Hashed(FileAt, Result<Box<Small>, Trouble>),
}

/// A file that is one leaf.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) leaf: Leaf,
    /// What its root keeps.
    pub(super) metadata: Metadata,
    pub(super) seen: Seen,
    pub(super) executable: bool,
}

/// Why a file was not hashed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not what it was when the folder was listed, or changed while it was read.
    Changed,
    /// It is not there any more.
    Gone,
    /// It holds more or less than its size says, as files do that a system makes up.
    Size,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Its copy could not be kept.
    Store(WriteError),
    /// The import has ended.
    Abandoned,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Self::Gone,
            // A symlink or something else took its place.
            Some(Errno::LOOP | Errno::MLINK | Errno::NXIO) => Self::Changed,
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::Changed,
            _ => Self::Unreadable(error),
        }
    }
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        Self::Store(error)
    }
}

/// An open regular file and what it was before it was read.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) stat: Stat,
    pub(super) metadata: Metadata,
    pub(super) executable: bool,
    /// Whether any change since then shows in the stat.
    settled: bool,
}

impl OpenFile {
    /// What to record of it, its root being `cid`.
    pub(super) fn seen(&self, cid: Cid) -> Seen {
        Seen { stat: self.stat, root: self.settled().map(|_| cid) }
    }

    /// What it was before it was read, if any change since then shows.
    pub(super) fn settled(&self) -> Option<&Stat> {
        self.settled.then_some(&self.stat)
    }

    /// Whether it is still what it was.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        let now = Stat::of(&self.file.metadata()?);
        if now == self.stat { Ok(()) } else { Err(Trouble::Changed) }
    }

    /// [`check`](Self::check) of a file that was read in pieces, which gave
    /// `trouble`; and whether it ends where its size says.
    pub(super) fn check_whole(&self, trouble: Option<Trouble>) -> Result<(), Trouble> {
        let is_short = match trouble {
            Some(Trouble::Changed) => true,
            Some(other) => return Err(other),
            None => false,
        };
        // Before the stat is compared: what is appended in between shows there.
        let goes_on = !is_short && self.file.read_at(&mut [0], self.stat.size)? > 0;
        self.check()?;
        if is_short || goes_on { Err(Trouble::Size) } else { Ok(()) }
    }
}

/// Reads a file from its start until it ends or the buffer is full; how many bytes
/// that were.
fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn kept(meta: &FileMetadata, preserve: Preserve) -> Metadata {
    let nanoseconds = u32::try_from(meta.mtime_nsec()).unwrap_or(0);
    preserve.of(meta.mode(), Mtime { seconds: meta.mtime(), nanoseconds })
}

impl Shared {
    pub(super) fn open(&self, at: &FileAt) -> Result<OpenFile, Trouble> {
        let file = at.open()?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(Trouble::Changed);
        }
        let stat = Stat::of(&meta);
        Ok(OpenFile {
            stat,
            metadata: kept(&meta, self.preserve),
            executable: meta.mode() & 0o111 != 0,
            settled: self.references.as_ref().is_some_and(|store| store.is_settled(&stat)),
            file,
        })
    }

    /// Hashes the files of some steps, but for those that are known.
    pub(super) fn hash_files(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut buffer = Vec::new();
        let hash = |step| match step {
            Step::File(at) => match self.known(&at, &self.abandoned) {
                Some(known) => Step::Known(at, known),
                None => {
                    let hashed = self.hash_small(&at, &mut buffer);
                    Step::Hashed(at, hashed)
                }
            },
            other => other,
        };
        steps.into_iter().map(hash).collect()
    }

    /// Hashes a file that is one chunk.
    pub(super) fn hash_small(&self, at: &FileAt, buffer: &mut Vec<u8>) -> Result<Box<Small>, Trouble> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Trouble::Abandoned);
        }
        let open = self.open(at)?;
        let len =
            usize::try_from(open.stat.size).ok().filter(|len| *len <= self.profile.chunker.single_max());
        let len = len.ok_or(Trouble::Changed)?;
        // One byte more than there should be, to see the end.
        buffer.resize(len + 1, 0);
        let read = read_start(&open.file, buffer)?;
        open.check()?;
        if read != len {
            return Err(Trouble::Size);
        }
        buffer.truncate(len);
        let leaf = Leaf::only(&self.profile, buffer, open.metadata);
        self.copy(&leaf, buffer)?;
        let (metadata, executable) = (open.metadata, open.executable);
        Ok(Box::new(Small { leaf, metadata, seen: open.seen(leaf.cid), executable }))
    }

    /// The leaves of a piece of a file of several chunks.
    pub(super) fn hash_piece(&self, open: &OpenFile, piece: Piece) -> Result<Vec<Leaf>, Trouble> {
        match piece {
            Piece::Span { offset, len, chunk } => {
                let mut bytes = Vec::with_capacity(len);
                if !append_at(&open.file, &mut bytes, len, offset)? {
                    return Err(Trouble::Changed);
                }
                bytes.chunks(chunk).map(|chunk| self.leaf(chunk)).collect()
            }
            Piece::Chunks { bytes, lens } => self.hash_chunks(&bytes, &lens),
        }
    }

    /// The leaves of chunks that follow each other and have these lengths.
    pub(super) fn hash_chunks(&self, bytes: &[u8], lens: &[usize]) -> Result<Vec<Leaf>, Trouble> {
        let mut rest = bytes;
        let mut next = |len: usize| {
            let (chunk, after) = rest.split_at(len);
            rest = after;
            chunk
        };
        lens.iter().map(|len| self.leaf(next(*len))).collect()
    }

    fn leaf(&self, chunk: &[u8]) -> Result<Leaf, Trouble> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Trouble::Abandoned);
        }
        let leaf = Leaf::new(&self.profile, chunk);
        self.copy(&leaf, chunk)?;
        Ok(leaf)
    }

    pub(super) fn copy(&self, leaf: &Leaf, payload: &[u8]) -> Result<(), WriteError> {
        let Some(store) = self.copies.as_ref().filter(|_| leaf.block_len() > 0 && !leaf.is_inline()) else {
            return Ok(());
        };
        if let Some(relied) = &self.relied {
            relied.insert(leaf.cid.hash())?;
        }
        if leaf.head.is_empty() && leaf.tail.is_empty() {
            store.put_block(leaf.cid.hash(), payload)?;
        } else {
            store.put_block(leaf.cid.hash(), &[&leaf.head[..], payload, &leaf.tail[..]].concat())?;
        }
        Ok(())
    }
}
