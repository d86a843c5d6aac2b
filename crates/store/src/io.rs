//! Every use of the file system by the store goes through here: the one place
//! to change for another platform, or to slip a failing double under.
//!
//! Unix only for now: positioned reads and writes, `O_NOFOLLOW`, inode numbers.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Creates a folder that only its owner may enter, and those above it; fine if it exists.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Opens for reading and writing, creating it (mode 0600) if need be.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates an empty file (mode 0600), or empties the one that is there.
pub(crate) fn create_empty(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A file that is gone when it is closed; `path` is its name for an instant.
pub(crate) fn nameless(path: &Path) -> io::Result<File> {
    let file = create_empty(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Makes a rename or creation in `dir` survive power loss.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reads exactly `len` bytes at `offset`.
pub(crate) fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    file.read_exact_at(&mut buf, offset)?;
    Ok(buf)
}

/// Reads up to `len` bytes at `offset`, fewer at the end of the file.
pub(crate) fn read_up_to(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buf.truncate(filled);
    Ok(buf)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Removes a file; fine if it is not there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Bytes of all regular files below `dir`; what cannot be read counts nothing.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        })
        .sum()
}

/// Bytes that we may still write to the file system of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A path's bytes, as the system has them.
pub(crate) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The path of these bytes.
pub(crate) fn path_from(bytes: Vec<u8>) -> PathBuf {
    std::ffi::OsString::from_vec(bytes).into()
}

/// What tells whether a file may have changed: identity, length and times.
///
/// Equality means "most likely untouched". It spares a hash of what was hashed
/// before; what leaves the store was hashed in the same process whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds of unix time.
    pub mtime: i64,
    /// Last change of the content or the inode, nanoseconds of unix time.
    pub ctime: i64,
}

impl Stat {
    /// From what the system says of a file.
    #[must_use]
    pub fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            mtime: Self::time(meta.mtime(), meta.mtime_nsec()),
            ctime: Self::time(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// A time as the fields have it, from seconds and nanoseconds of unix time.
    #[must_use]
    pub fn time(seconds: i64, nanoseconds: i64) -> i64 {
        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
    }
}

/// Opens a regular file `relative` beneath `base` for reading. No component
/// below `base` may be a symlink; an empty `relative` means `base` itself, which
/// then may not be one either. Never blocks on a FIFO.
pub(crate) fn open_beneath(base: &Path, relative: &Path) -> io::Result<File> {
    let (base, relative) = if relative.as_os_str().is_empty() {
        let name = base.file_name().ok_or_else(not_a_file)?;
        (base.parent().ok_or_else(not_a_file)?, Path::new(name))
    } else {
        (base, relative)
    };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let mut at = rustix::fs::open(base, folder, Mode::empty())?;
    let mut names: Vec<&OsStr> = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(not_a_file()),
        }
    }
    let (last, folders) = names.split_last().ok_or_else(not_a_file)?;
    for name in folders {
        at = rustix::fs::openat(&at, *name, folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&at, *last, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    Ok(file)
}

/// True if the file has no name left: it was deleted or replaced.
pub(crate) fn is_unlinked(meta: &fs::Metadata) -> bool {
    meta.nlink() == 0
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// Fills `buf` from `offset`.
pub(crate) fn read_into(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(buf, offset)
}
