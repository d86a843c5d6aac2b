//! An open folder or file that goes along with a request: what is done with it is
//! done there, even where its path leads elsewhere, or nowhere, or where it has none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Most handles that go along with one request. 64: more pipes than a shell makes,
/// and what 64 clients send leaves the owner most of its own.
pub(crate) const HANDLES_MAX: usize = 64;

/// A handle of a folder or file. It crosses the control socket beside the JSON.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Arc<OwnedFd>);

impl Handle {
    /// The folder of `path`; none if it cannot be opened, which whoever is to
    /// write there says better.
    pub(crate) fn folder_of(path: &Path) -> Option<Self> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path.parent()?).ok()?;
        Some(OwnedFd::from(file).into())
    }

    /// What this process has at its stdin.
    pub(crate) fn stdin() -> io::Result<Self> {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    /// A file to be read that is no regular one, or that only this process finds by
    /// its path (`/dev/fd/3`); none if whoever gets the path can open it, or says
    /// better why not. Waits for nobody to write into a FIFO.
    pub(crate) fn unless_regular(path: &Path) -> io::Result<Option<Self>> {
        let kind = match path.metadata() {
            Ok(meta) => meta.file_type(),
            Err(_) => return Ok(None),
        };
        if kind.is_dir() || kind.is_file() && !is_of_this_process(path) {
            return Ok(None);
        }
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.file_type().is_fifo() {
            // Only of a FIFO it is asked whether there is something to read.
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        }
        Ok(Some(OwnedFd::from(file).into()))
    }

    /// The handle itself.
    pub(crate) fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }
}

/// Whether the path leads to what this process has open.
fn is_of_this_process(path: &Path) -> bool {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let target = path.read_link().ok();
    [folder, target].iter().flatten().any(|path| path.starts_with("/proc"))
}

impl From<OwnedFd> for Handle {
    fn from(handle: OwnedFd) -> Self {
        Self(Arc::new(handle))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Handle {
    /// The same handle.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;

    #[test]
    fn what_others_can_open_is_left_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        for path in [&path, dir.path(), &dir.path().join("nothing")] {
            assert_eq!(Handle::unless_regular(path).unwrap(), None, "{path:?}");
        }
    }

    #[test]
    fn what_this_process_has_open_is_opened_here() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"of this process").unwrap();
        file.rewind().unwrap();
        let (reads, mut writes) = std::io::pipe().unwrap();
        writes.write_all(b"of this process").unwrap();
        drop(writes);
        for number in [file.as_raw_fd(), reads.as_raw_fd()] {
            let path = format!("/dev/fd/{number}");
            let handle = Handle::unless_regular(Path::new(&path)).unwrap().unwrap();
            let mut text = String::new();
            File::from(handle.handle().try_clone().unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, "of this process");
        }
        // A device is read as usual: there is no other end to wait for.
        let handle = Handle::unless_regular(Path::new("/dev/null")).unwrap().unwrap();
        assert!(!fcntl_getfl(&handle).unwrap().contains(OFlags::NONBLOCK));
    }
}
