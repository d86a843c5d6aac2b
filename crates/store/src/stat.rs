//! What tells whether a user's file may have changed, and paths as bytes.
//!
//! Unix only for now: inode numbers, paths of any bytes.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
