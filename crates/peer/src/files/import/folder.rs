//! Reading the user's folders and files through handles, beneath a base and
//! without following symlinks: an entry that is swapped for a symlink after it
//! was listed is not followed, and a FIFO in a file's place does not block.
//!
//! Unix only for now, as the store is.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Preserve;
use super::limits::LISTED_AT_ONCE;
use peerage_content::{Metadata, Mtime};
use peerage_store::{FileId, Stat};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// Relative to the tree's base; empty at the base.
    pub(super) path: PathBuf,
}

/// What the system says of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) mtime: Mtime,
    pub(super) stat: Stat,
}

impl Facts {
    #[expect(clippy::useless_conversion, reason = "the types of these fields differ between platforms")]
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: u32::from(stat.st_mode) & 0o7777,
            mtime: Mtime {
                seconds: stat.st_mtime.into(),
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            stat: Stat {
                device: u64::try_from(stat.st_dev).unwrap_or(0),
                inode: stat.st_ino.into(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                mtime: Stat::time(stat.st_mtime.into(), i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
                ctime: Stat::time(stat.st_ctime.into(), i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            },
        }
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.stat.device, self.stat.inode)
    }

    /// Mode and time, if they are to be kept.
    pub(super) fn metadata(&self, preserve: Preserve) -> Metadata {
        preserve.of(self.mode, self.mtime)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the base of a tree, by an absolute path without symlinks.
    pub(super) fn open(base: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(base, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: PathBuf::new() })
    }

    /// Opens a folder in this one.
    pub(super) fn open_folder(&self, name: &CStr) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.fd, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: self.path_of(name) })
    }

    /// Opens a file in this folder. Whether it is a regular one its handle says.
    pub(super) fn open_file(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// Its entries, a batch at a time.
    pub(super) fn list(&self) -> io::Result<Listing> {
        Ok(Listing(Some(Dir::read_from(self.fd.as_fd())?)))
    }

    /// What an entry is, without following it.
    pub(super) fn facts(&self, name: &CStr) -> io::Result<Facts> {
        Ok(Facts::of(&rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What the folder itself is.
    pub(super) fn own_facts(&self) -> io::Result<Facts> {
        Ok(Facts::of(&rustix::fs::fstat(&self.fd)?))
    }

    /// Where a symlink leads.
    pub(super) fn read_link(&self, name: &CStr) -> io::Result<CString> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?)
    }

    /// The path of an entry, relative to the tree's base.
    pub(super) fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }
}

/// What is left to list of a folder. Open only as long as anything is.
pub(super) struct Listing(Option<Dir>);

impl Listing {
    /// The next entries by name, sorted by bytes; none at the end. Of a large
    /// folder each batch is sorted, and the batches come as the system has them.
    pub(super) fn next_batch(&mut self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        while names.len() < LISTED_AT_ONCE
            && let Some(dir) = &mut self.0
        {
            let Some(entry) = dir.next() else {
                self.0 = None;
                break;
            };
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// A file of a tree, to be read.
#[derive(Debug, Clone)]
pub(super) struct FileAt {
    pub(super) folder: Arc<Folder>,
    pub(super) name: CString,
    /// Its name in the folder that is built.
    pub(super) called: Box<str>,
    /// As it was when its folder was listed.
    pub(super) facts: Facts,
    /// What the store calls it, if it knows it.
    pub(super) id: Option<FileId>,
}

impl FileAt {
    pub(super) fn open(&self) -> io::Result<File> {
        self.folder.open_file(&self.name)
    }

    /// Relative to the tree's base.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }
}
