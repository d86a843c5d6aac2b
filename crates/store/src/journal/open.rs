//! Opening the journal: its records pass by one after another, and what is
//! torn or damaged is mended first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::head::{FORMAT, HEAD_BYTES, Head, OLD_HEAD_BYTES};
use super::pass::{Pass, Side, pass};
use super::rewrite::temporary;
use super::{Journal, twins};
use crate::config::JOURNAL_BUFFER;
use crate::disk::{self, Access, Disk, File};
use crate::key::RepoKey;

/// What a journal held.
pub(crate) struct Replay<T> {
    /// What its records add up to.
    pub(crate) state: T,
    pub(crate) records: usize,
    pub(crate) cut_bytes: u64,
    pub(crate) copied_to: Option<PathBuf>,
    /// Whether one of the two files had lost something that the other has.
    pub(crate) restored: bool,
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

/// One of the two files, as it was found.
struct Found {
    file: File,
    len: u64,
    head: Option<Head>,
}

impl Found {
    fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Access::Write)?;
        let head = Head::decode(&disk::read_up_to(&*file, 0, HEAD_BYTES)?);
        Ok(Self { len: file.len()?, file, head })
    }

    /// Whether it was ever more than a name.
    fn is_there(&self) -> bool {
        self.len >= OLD_HEAD_BYTES as u64
    }
}

/// The files whose records count: those of the later generation, or, if neither
/// has a head, the first that there is.
fn that_count(found: &[Found]) -> Vec<usize> {
    let latest = found.iter().filter_map(|it| it.head).max_by_key(|head| (head.format, head.generation));
    match latest {
        Some(latest) => (0..found.len()).filter(|n| found[*n].head == Some(latest)).collect(),
        None => vec![found.iter().position(Found::is_there).unwrap_or(0)],
    }
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
        for temp in temporary(path) {
            // A rewrite that did not finish; nothing depends on its removal.
            drop(disk::remove_if_there(&**disk, &temp));
        }
        let mut found = Vec::new();
        for name in twins(path) {
            found.push(Found::open(&**disk, &name)?);
        }
        let formats = found.iter().filter_map(|it| it.head).map(|head| head.format);
        if let Some(format) = formats.max().filter(|format| *format > FORMAT) {
            return Err(JournalError::TooNew(format));
        }
        let counted = that_count(&found);
        let head = counted.first().and_then(|n| found[*n].head);
        let key = head.map_or_else(known_key, |head| Ok(head.key))?;
        let longest = counted.iter().map(|n| found[*n].len).max().unwrap_or(0);
        let from = longest.min(head.map_or(OLD_HEAD_BYTES, Head::len) as u64);
        let sides: Vec<Side<'_>> = counted.iter().map(|n| (&*found[*n].file, found[*n].len)).collect();
        let mut state = begin(key);
        let mut read = pass(&sides, from, &mut |at, payload| take(&mut state, at, payload))?;
        let cut_bytes = longest.saturating_sub(read.end.max(from));
        let head_damaged = head.is_none() && longest >= HEAD_BYTES as u64;
        // More than what waits for one write cannot have been torn by a kill.
        let damaged = read.damaged || head_damaged || cut_bytes > JOURNAL_BUFFER as u64;
        let whole = counted.len() == found.len() && !read.mixed && !damaged;
        let current = head.is_some_and(|head| head.format == FORMAT);
        // Of two with good heads that differ, one is what a rewrite had yet to replace.
        let restored = read.mixed || (current && found.iter().any(|it| it.head.is_none()));
        let mut copied_to = None;
        if damaged {
            let aside = path.with_extension("bad");
            let longer = counted.iter().find(|n| found[**n].len == longest).unwrap_or(&0);
            disk::copy(&**disk, &twins(path)[*longer], &temporary(path)[0], &aside)?;
            copied_to = Some(aside);
        }
        let mut journal = Self {
            disk: Arc::clone(disk),
            path: path.to_path_buf(),
            files: found.iter().map(|it| Arc::clone(&it.file)).collect(),
            written: read.end,
            buffer: Vec::new(),
            key,
            generation: head.map_or(0, |head| head.generation),
            ahead: Default::default(),
        };
        if whole && current {
            journal.level(&read, &found)?;
        } else {
            state = begin(key);
            journal.mend(&sides, from, &mut |at, payload| take(&mut state, at, payload))?;
            // Records are elsewhere now.
            state = begin(key);
            let (file, to) = (Arc::clone(&journal.files[0]), journal.written);
            let take = &mut |at, payload: &[u8]| take(&mut state, at, payload);
            read = pass(&[(&*file, to)], HEAD_BYTES as u64, take)?;
        }
        Ok((journal, key, Replay { state, records: read.records, cut_bytes, copied_to, restored }))
    }

    /// Makes both files alike that differ by their ends only.
    fn level(&mut self, read: &Pass, found: &[Found]) -> io::Result<()> {
        let full = read.lags.iter().position(Option::is_none).unwrap_or(0);
        for (n, lag) in read.lags.iter().enumerate() {
            let mut at = lag.unwrap_or(read.end);
            while at < read.end {
                let len = usize::try_from(read.end - at).unwrap_or(usize::MAX).min(JOURNAL_BUFFER);
                let bytes = disk::read_at(&*self.files[full], at, len)?;
                self.files[n].write_at(at, &bytes)?;
                at += len as u64;
            }
            if found[n].len > read.end {
                self.files[n].set_len(read.end)?;
            }
        }
        Ok(())
    }

    /// Writes both files anew with the good records only.
    fn mend(
        &mut self,
        sides: &[Side<'_>],
        from: u64,
        take: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut rewrite = self.rewrite()?;
        pass(sides, from, &mut |at, payload| {
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
