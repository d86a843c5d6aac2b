//! Opening users' files: beneath their folder, through no symlink.
//!
//! Unix only for now: `O_NOFOLLOW`, handles of folders.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};

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
pub(crate) fn is_unlinked(meta: &Metadata) -> bool {
    meta.nlink() == 0
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
