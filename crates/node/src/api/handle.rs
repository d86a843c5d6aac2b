//! An open folder or file that goes along with a request: what is done with it is
//! done there, even where its path leads elsewhere, or nowhere, or where it has none.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A handle of a folder or file. It crosses the control socket beside the JSON.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Arc<OwnedFd>);

impl Handle {
    /// The folder of `path`; none if it cannot be opened, which whoever is to
    /// write there says better.
    pub(crate) fn folder_of(path: &Path) -> Option<Self> {
        let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path.parent()?).ok()?;
        Some(OwnedFd::from(file).into())
    }

    /// What this process has at its stdin.
    pub(crate) fn stdin() -> std::io::Result<Self> {
        Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    /// The handle itself.
    pub(crate) fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }
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
