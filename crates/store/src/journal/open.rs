//! Opening the journal: its records pass by one after another, and what is
//! torn or damaged is mended first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FORMAT, HEAD_BYTES, Journal, MAX_FRAME, Rewrite, decode_head, frame};
use crate::disk::{self, Access, Disk, DiskFile};
use crate::key::RepoKey;
use crate::pack::scan::Window;

/// Bytes after damage in which a good frame is looked for. 1 MiB: a flipped
/// byte costs one frame; whoever lost a megabyte lost the tail.
const RESYNC_BYTES: u64 = 1 << 20;

/// What a journal held.
pub(crate) struct Replay<T> {
    /// What its records add up to.
    pub(crate) state: T,
    pub(crate) records: usize,
    pub(crate) cut_bytes: u64,
    pub(crate) copied_to: Option<PathBuf>,
}

/// Why a journal cannot be used.
#[derive(Debug)]
pub(crate) enum JournalError {
    Io(io::Error),
    TooNew(u32),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What one pass over the frames came across.
struct Pass {
    /// Where the last good frame ends.
    end: u64,
    records: usize,
    /// Whether something of no use lies before that.
    damaged: bool,
}

/// Shows `take` every record of the first `len` bytes of `file` from `from` on, and
/// where its frame begins. It says whether that is a record, or a chance find.
fn pass(
    file: &dyn DiskFile,
    from: u64,
    len: u64,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<Pass> {
    let mut window = Window::new(file, len);
    let mut found = Pass { end: from, records: 0, damaged: false };
    let mut at = from;
    while at < len.min(found.end + RESYNC_BYTES) {
        match frame(window.get(at, MAX_FRAME)?) {
            Some((payload, len)) if take(at, payload)? => {
                found.damaged |= at > found.end;
                found.records += 1;
                at += len as u64;
                found.end = at;
            }
            _ => at += 1,
        }
    }
    Ok(found)
}

impl Journal {
    /// Opens or creates the journal and adds up its records. `known_key` is the
    /// key to use if the file is new or its head is lost. `begin` makes what
    /// the records are added to; `take` adds one that begins at an offset, and
    /// says false, doing nothing, if it is none.
    pub(crate) fn open<T>(
        disk: &Arc<dyn Disk>,
        path: &Path,
        known_key: impl FnOnce() -> io::Result<RepoKey>,
        begin: impl Fn(RepoKey) -> T,
        take: impl Fn(&mut T, u64, &[u8]) -> io::Result<bool>,
    ) -> Result<(Self, RepoKey, Replay<T>), JournalError> {
        // A rewrite that did not finish; nothing depends on its removal.
        drop(disk::remove_if_there(&**disk, &path.with_extension("tmp")));
        let file = disk.open(path, Access::Write)?;
        let len = file.len()?;
        let head = decode_head(&disk::read_up_to(&*file, 0, HEAD_BYTES)?);
        let (key, head_damaged) = match head {
            Some((format, _)) if format > FORMAT => return Err(JournalError::TooNew(format)),
            Some((_, key)) => (key, false),
            None => (known_key()?, len >= HEAD_BYTES as u64),
        };
        let current = head.is_some_and(|(format, _)| format == FORMAT);
        let from = len.min(HEAD_BYTES as u64);
        let mut state = begin(key);
        let mut found = pass(&*file, from, len, &mut |at, payload| take(&mut state, at, payload))?;
        let cut_bytes = len - found.end;
        let damaged = found.damaged || head_damaged;
        let mut journal = Self {
            disk: Arc::clone(disk),
            path: path.to_path_buf(),
            file,
            written: found.end,
            buffer: Vec::new(),
            key,
            ahead: Default::default(),
        };
        let mut copied_to = None;
        if damaged {
            let aside = path.with_extension("bad");
            disk::copy(&**disk, path, &path.with_extension("tmp"), &aside)?;
            copied_to = Some(aside);
        }
        if damaged || !current {
            state = begin(key);
            journal.mend(from, found.end, &mut |at, payload| take(&mut state, at, payload))?;
            // Records are elsewhere now.
            state = begin(key);
            let (from, to) = (HEAD_BYTES as u64, journal.written);
            found = pass(&*journal.file, from, to, &mut |at, payload| take(&mut state, at, payload))?;
        } else if cut_bytes > 0 {
            journal.file.set_len(journal.written)?;
        }
        Ok((journal, key, Replay { state, records: found.records, cut_bytes, copied_to }))
    }

    /// Writes the file anew with its good records only.
    fn mend(
        &mut self,
        from: u64,
        end: u64,
        take: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut rewrite = Rewrite::begin(&self.disk, &self.path, self.key)?;
        pass(&*self.file, from, end, &mut |at, payload| {
            let good = take(at, payload)?;
            if good {
                rewrite.append(payload)?;
            }
            Ok(good)
        })?;
        self.replace(rewrite)?;
        self.sync_name()
    }
}
