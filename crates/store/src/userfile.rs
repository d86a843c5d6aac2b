//! Reading blocks out of users' files, which may change at any time.
//!
//! A block is served from a file only if it matched its hash in this process
//! while the file had the very stat that it has before and after the read. A
//! file whose ctime is younger than the clock's grain could change without a
//! trace, so what is read from it is hashed each time.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::Multihash;
use crate::beneath::{is_unlinked, open_beneath};
use crate::config::{CHECKED_SLOTS, Config, VerifyFn};
use crate::facts::FileId;
use crate::key::RepoKey;
use crate::missing::Missing;
use crate::notice::Change;
use crate::openfiles::OpenFiles;
use crate::pack::record::Reference;
use crate::pack::set::lock;
use crate::stat::Stat;

/// References known to be right in this process: a table of keyed hashes that
/// forgets what another displaces.
#[derive(Debug, Default)]
struct Checked {
    slots: Vec<u64>,
}

impl Checked {
    fn slot(hash: u64) -> usize {
        usize::try_from(hash % CHECKED_SLOTS as u64).unwrap_or(0)
    }

    fn insert(&mut self, hash: u64) {
        if self.slots.is_empty() {
            self.slots = vec![0; CHECKED_SLOTS];
        }
        self.slots[Self::slot(hash)] = hash;
    }

    fn contains(&self, hash: u64) -> bool {
        self.slots.get(Self::slot(hash)) == Some(&hash)
    }
}

/// Files that we write ourselves.
#[derive(Debug, Default)]
struct Attached {
    handles: HashMap<FileId, (Arc<File>, u64)>,
    /// The number of the last handle.
    last: u64,
}

/// Users' files, as the store reads them.
#[derive(Debug)]
pub(crate) struct UserFiles {
    key: RepoKey,
    verify: VerifyFn,
    /// In nanoseconds.
    time_grain: i64,
    open: Mutex<OpenFiles<FileId, File>>,
    attached: Mutex<Attached>,
    checked: Mutex<Checked>,
    missing: Mutex<Missing>,
}

/// What became of a read.
pub(crate) enum Outcome {
    /// The block, right.
    Right(Bytes),
    /// Not the block: never will be, or, if that may be undone, not now.
    Wrong(Change),
}

impl UserFiles {
    pub(crate) fn new(key: RepoKey, config: &Config) -> Self {
        Self {
            key,
            verify: config.verify,
            time_grain: i64::try_from(config.time_grain.as_nanos()).unwrap_or(i64::MAX),
            open: Mutex::new(OpenFiles::new(config.open_files)),
            attached: Mutex::default(),
            checked: Mutex::default(),
            missing: Mutex::default(),
        }
    }

    /// Reads through `file` until it is detached.
    pub(crate) fn attach(&self, id: FileId, file: Arc<File>) {
        let mut attached = lock(&self.attached);
        attached.last += 1;
        let number = attached.last;
        attached.handles.insert(id, (file, number));
    }

    pub(crate) fn detach(&self, id: FileId) {
        lock(&self.attached).handles.remove(&id);
    }

    /// Forgets open handles of a file, after it moved or went.
    pub(crate) fn close(&self, id: FileId) {
        lock(&self.open).take(id);
        self.set_there(id);
    }

    /// Detaches and closes all files that `gone` names.
    pub(crate) fn forget(&self, gone: &mut dyn FnMut(FileId) -> bool) {
        lock(&self.attached).handles.retain(|id, _| !gone(*id));
        lock(&self.open).forget(gone);
        lock(&self.missing).forget(gone);
    }

    /// Whether it was missing when it was last looked for.
    pub(crate) fn was_missing(&self, id: FileId) -> bool {
        lock(&self.missing).contains(id)
    }

    /// The same, but it is looked for again unless that was just now.
    pub(crate) fn is_missing(
        &self,
        id: FileId,
        now: Instant,
        path: impl FnOnce() -> io::Result<Option<(PathBuf, PathBuf)>>,
    ) -> bool {
        {
            let mut missing = lock(&self.missing);
            if !missing.contains(id) {
                return false;
            }
            if !missing.look(id, now) {
                return true;
            }
        }
        let found = self.open(id, path);
        if let Ok(file) = found {
            lock(&self.open).put(id, file);
            self.set_there(id);
            return false;
        }
        true
    }

    /// Someone has just read it.
    pub(crate) fn set_there(&self, id: FileId) {
        lock(&self.missing).remove(id);
    }

    pub(crate) fn any_missing(&self) -> bool {
        !lock(&self.missing).is_empty()
    }

    /// Remembers that the file is missing; true if that is new.
    pub(crate) fn set_missing(&self, id: FileId) -> bool {
        lock(&self.missing).insert(id, Instant::now())
    }

    /// The caller hashed what it wrote through the attached handle, so what is
    /// read through the same handle need not be hashed again.
    pub(crate) fn trust_written(&self, mh: &Multihash, reference: &Reference) {
        let number = lock(&self.attached).handles.get(&reference.file).map(|(_, number)| *number);
        if let Some(number) = number {
            let hash = self.attached_hash(mh, reference, number);
            lock(&self.checked).insert(hash);
        }
    }

    /// The caller hashed what it read after the file had `stat`, which was settled: as
    /// long as it has that, what is read need not be hashed again.
    pub(crate) fn trust_hashed(&self, mh: &Multihash, reference: &Reference, stat: &Stat) {
        let hash = self.stat_hash(mh, reference, stat);
        lock(&self.checked).insert(hash);
    }

    fn attached_hash(&self, mh: &Multihash, reference: &Reference, number: u64) -> u64 {
        self.key.of_checked(mh, &[reference.file.0, reference.offset, u64::from(reference.len), number])
    }

    fn stat_hash(&self, mh: &Multihash, reference: &Reference, stat: &Stat) -> u64 {
        let times = [stat.mtime.cast_unsigned(), stat.ctime.cast_unsigned()];
        let parts = [reference.file.0, reference.offset, u64::from(reference.len)];
        let file = [stat.device, stat.inode, stat.size];
        self.key.of_checked(mh, &[&parts[..], &file[..], &times[..]].concat())
    }

    /// Reads a block. `path` gives the file's base and relative path. With
    /// `always`, it is hashed whatever is known.
    pub(crate) fn read(
        &self,
        mh: &Multihash,
        reference: &Reference,
        path: impl FnOnce() -> io::Result<Option<(PathBuf, PathBuf)>>,
        always: bool,
    ) -> io::Result<Outcome> {
        let attached = lock(&self.attached).handles.get(&reference.file).cloned();
        if let Some((file, number)) = attached {
            let Some(bytes) = read_block(&file, reference)? else {
                return Ok(Outcome::Wrong(Change::Shrunk));
            };
            let hash = self.attached_hash(mh, reference, number);
            let known = !always && lock(&self.checked).contains(hash);
            return Ok(if known || (self.verify)(mh, &[&bytes]) {
                Outcome::Right(bytes)
            } else {
                Outcome::Wrong(Change::Content)
            });
        }
        let file = match self.open(reference.file, path) {
            Ok(file) => file,
            Err(error) => return Ok(Outcome::Wrong(change_of(error)?)),
        };
        self.set_there(reference.file);
        let outcome = self.read_open(mh, reference, &file, always)?;
        if matches!(outcome, Outcome::Right(_)) {
            lock(&self.open).put(reference.file, file);
        }
        Ok(outcome)
    }

    fn open(
        &self,
        id: FileId,
        path: impl FnOnce() -> io::Result<Option<(PathBuf, PathBuf)>>,
    ) -> io::Result<Arc<File>> {
        let kept = lock(&self.open).take(id);
        if let Some(file) = kept
            && !is_unlinked(&file.metadata()?)
        {
            return Ok(file);
        }
        let (base, relative) = path()?.ok_or(io::ErrorKind::NotFound)?;
        open_beneath(&base, &relative).map(Arc::new)
    }

    fn read_open(
        &self,
        mh: &Multihash,
        reference: &Reference,
        file: &File,
        always: bool,
    ) -> io::Result<Outcome> {
        let before = Stat::of(&file.metadata()?);
        let settled = self.is_settled(&before);
        if before.size < reference.offset.saturating_add(u64::from(reference.len)) {
            return Ok(Outcome::Wrong(Change::Shrunk));
        }
        let Some(bytes) = read_block(file, reference)? else { return Ok(Outcome::Wrong(Change::Shrunk)) };
        let still = Stat::of(&file.metadata()?) == before;
        let hash = self.stat_hash(mh, reference, &before);
        if still && !always && lock(&self.checked).contains(hash) {
            return Ok(Outcome::Right(bytes));
        }
        if !(self.verify)(mh, &[&bytes]) {
            return Ok(Outcome::Wrong(Change::Content));
        }
        if still && settled {
            lock(&self.checked).insert(hash);
        }
        Ok(Outcome::Right(bytes))
    }

    /// Whether a change after now would show in the stat.
    pub(crate) fn is_settled(&self, stat: &Stat) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        stat.ctime.max(stat.mtime) < now.saturating_sub(self.time_grain)
    }
}

pub(crate) fn read_block(file: &File, reference: &Reference) -> io::Result<Option<Bytes>> {
    let (head, len) = (reference.head.len(), reference.len as usize);
    let mut block = Vec::with_capacity(reference.block_len());
    block.extend_from_slice(&reference.head);
    if !append_at(file, &mut block, len, reference.offset)? {
        return Ok(None);
    }
    debug_assert_eq!(block.len(), head + len);
    block.extend_from_slice(&reference.tail);
    Ok(Some(block.into()))
}

/// Appends `len` bytes of a file to a buffer, without filling the room for them with
/// zeros before; false if the file ends earlier.
///
/// # Errors
/// The file cannot be read.
pub fn append_at(file: &File, buffer: &mut Vec<u8>, len: usize, mut offset: u64) -> io::Result<bool> {
    buffer.reserve_exact(len);
    let end = buffer.len() + len;
    // What is read at once may reach into the room behind these bytes.
    while buffer.len() < end {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), offset) {
            Ok(0) => return Ok(false),
            Ok(read) => offset += read as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(end);
    Ok(true)
}

/// What an error at opening says of the file; the other errors are the system's.
fn change_of(error: io::Error) -> io::Result<Change> {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::STALE | Errno::NXIO | Errno::NODEV) => {
            Ok(Change::Missing)
        }
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::MLINK) => Ok(Change::NotAFile),
        _ => match error.kind() {
            io::ErrorKind::NotFound => Ok(Change::Missing),
            io::ErrorKind::InvalidInput => Ok(Change::NotAFile),
            _ => Err(error),
        },
    }
}

/// Notices that wait for the shell, the oldest given up first.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<VecDeque<crate::Notice>>);

impl Notices {
    pub(crate) fn push(&self, notice: crate::Notice) {
        let mut waiting = lock(&self.0);
        if waiting.len() >= crate::config::MAX_NOTICES {
            waiting.pop_front();
        }
        waiting.push_back(notice);
    }

    pub(crate) fn drain(&self) -> Vec<crate::Notice> {
        lock(&self.0).drain(..).collect()
    }
}

/// The path that a user knows a file by.
pub(crate) fn shown(base: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() { base.to_path_buf() } else { base.join(relative) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failing_disk_says_nothing_of_a_file() {
        use rustix::io::Errno;
        assert_eq!(change_of(Errno::NOTDIR.into()).unwrap(), Change::NotAFile);
        assert_eq!(change_of(Errno::NOENT.into()).unwrap(), Change::Missing);
        for failing in [Errno::IO, Errno::MFILE, Errno::TIMEDOUT] {
            let error = change_of(failing.into()).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(failing));
        }
    }

    #[test]
    fn a_missing_file_is_looked_for_again_once_a_second() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        let there = || Ok(Some((path.clone(), PathBuf::new())));
        let users = UserFiles::new(RepoKey([1; 16]), &Config::default());
        let id = FileId(1);
        let start = Instant::now();
        assert!(!users.is_missing(id, start, there));
        assert!(users.set_missing(id));
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(users.is_missing(id, later(10), there));
        std::fs::write(&path, "back").unwrap();
        assert!(users.is_missing(id, later(10), || unreachable!("looked for twice in a second")));
        assert!(!users.is_missing(id, later(11), there));
        assert!(!users.any_missing());
    }
}
