//! The repository's files, as the store uses them: one small trait between the
//! store and the file system, so that a disk which fails, tears, forgets and
//! fills up may stand below all of it (`double.rs`).
//!
//! Not behind it: users' files (`userfile.rs`), which others change as they
//! like; the lock, which is the kernel's; and sled, which has a seam of its own.

mod guarded;
#[cfg(test)]
mod lazy;
mod system;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use guarded::{Closed, FailedSync, GuardedDisk};
pub(crate) use system::NOFOLLOW;
pub use system::SystemDisk;

/// A file system, as far as the store needs one.
///
/// What is written is seen by every later read at once. After a power cut only
/// what was [synced](DiskFile::sync) is certain: of other writes any part may be
/// there, in any order, and a name is as it was when its folder was last
/// [synced](Disk::sync_dir), or as any change since made it.
pub trait Disk: Debug + Send + Sync {
    /// Creates a folder that only its owner may enter, in one that is there; fine if it
    /// exists. Its name is safe when the folder above it is [synced](Self::sync_dir).
    ///
    /// # Errors
    /// The system's; of kind `NotFound` if the folder above is not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file.
    ///
    /// # Errors
    /// The system's; of kind `NotFound` if it is not there and may not be created.
    fn open(&self, path: &Path, access: Access) -> io::Result<File>;

    /// Gives a file another name, in the place of what has it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Who has it open goes on using it.
    ///
    /// # Errors
    /// The system's; of kind `NotFound` if it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names and lengths in bytes of the files in a folder, in any order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>>;

    /// Makes the names in a folder survive a power cut.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system of a folder.
    ///
    /// # Errors
    /// The system's.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// A file of a [`Disk`]. Threads may use it at once.
#[expect(clippy::len_without_is_empty, reason = "nobody asks a file whether it is empty")]
pub trait DiskFile: Debug + Send + Sync {
    /// Reads some bytes at `offset`; zero only at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Cuts it, or appends zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes its bytes and its length survive a power cut; its name may not.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub type File = Arc<dyn DiskFile>;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must be there.
    Read,
    /// For reading and writing, created (mode 0600) if it is not there.
    Write,
    /// The same, and emptied if it is there.
    Anew,
}

/// The machine's file system, to be shared.
pub(crate) fn system() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

/// The same, but nothing is synced.
#[cfg(test)]
pub(crate) fn lazy() -> Arc<dyn Disk> {
    Arc::new(lazy::LazyDisk)
}

/// A file that is gone when it is closed; `path` is its name for an instant.
pub(crate) fn nameless(disk: &dyn Disk, path: &Path) -> io::Result<File> {
    let file = disk.open(path, Access::Anew)?;
    disk.remove(path)?;
    Ok(file)
}

/// Creates a folder and those above it that are not there, and makes their names
/// survive a power cut. So is the name of the folder made safe that was there: who
/// created it may have been killed before he could.
pub(crate) fn create_dirs(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let above = dir.parent().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let Some(above) = above else { return disk.create_dir(dir) };
    match disk.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && above != Path::new(".") => {
            create_dirs(disk, above)?;
            disk.create_dir(dir)?;
        }
        other => other?,
    }
    match disk.sync_dir(above) {
        // Folders of others that we may not read, and file systems that sync none.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Removes a file; fine if it is not there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Copies a file to another path, by way of `temp`, so that what is there stays
/// until the copy is whole and safe.
pub(crate) fn copy(disk: &dyn Disk, from: &Path, temp: &Path, to: &Path) -> io::Result<()> {
    let (from, copy) = (disk.open(from, Access::Read)?, disk.open(temp, Access::Anew)?);
    let mut at = 0;
    loop {
        let bytes = read_up_to(&*from, at, COPIED_AT_ONCE)?;
        if bytes.is_empty() {
            break;
        }
        copy.write_at(at, &bytes)?;
        at += bytes.len() as u64;
    }
    copy.sync()?;
    disk.rename(temp, to)
}

/// Bytes that [`copy`] holds. 1 MiB: past that a larger read is no faster.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Bytes of the files in a folder; one that cannot be read holds nothing.
pub(crate) fn bytes_in(disk: &dyn Disk, dir: &Path) -> u64 {
    disk.list(dir).map_or(0, |files| files.iter().map(|(_, len)| len).sum())
}

/// Reads exactly `len` bytes at `offset`.
pub(crate) fn read_at(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    read_into(file, offset, &mut buf)?;
    Ok(buf)
}

/// Fills `buf` from `offset`.
pub(crate) fn read_into(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    if fill(file, offset, buf)? == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads up to `len` bytes at `offset`, fewer at the end of the file.
pub(crate) fn read_up_to(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    let filled = fill(file, offset, &mut buf)?;
    buf.truncate(filled);
    Ok(buf)
}

/// Fills `buf` as far as the file goes; returns how far.
fn fill(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(offset + filled as u64, &mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
