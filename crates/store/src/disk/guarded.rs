//! The repository's disk as the store uses it: after a sync of a folder has failed no
//! other counts, and once the store is closed no name is changed any more.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Access, Disk, File};
use crate::unsynced;

/// A sync failed, so that what came since the last good one may be lost, whatever a
/// later one says.
#[derive(Debug, Clone)]
pub(crate) struct FailedSync(pub(crate) String);

impl fmt::Display for FailedSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FailedSync {}

/// The store was closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store is closed")
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> Self {
        Self::other(closed)
    }
}

/// A disk below one repository.
#[derive(Debug)]
pub(crate) struct GuardedDisk {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// What the disk said when a folder could not be synced.
    failed: OnceLock<String>,
    closed: AtomicBool,
}

impl GuardedDisk {
    pub(crate) fn new(disk: &Arc<dyn Disk>, dir: &Path) -> Self {
        let (disk, dir) = (Arc::clone(disk), dir.to_path_buf());
        Self { disk, dir, failed: OnceLock::new(), closed: AtomicBool::new(false) }
    }

    /// Whether names may be lost that are seen.
    pub(crate) fn lost_names(&self) -> bool {
        self.failed.get().is_some()
    }

    /// From now on nothing is created, renamed or removed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn check_open(&self) -> io::Result<()> {
        if self.is_closed() { Err(Closed.into()) } else { Ok(()) }
    }

    fn failed(&self) -> io::Result<()> {
        self.failed.get().map_or(Ok(()), |cause| Err(io::Error::other(FailedSync(cause.clone()))))
    }
}

impl Disk for GuardedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.check_open()?;
        self.disk.create_dir(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        if access != Access::Read {
            self.check_open()?;
        }
        self.disk.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_open()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check_open()?;
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.failed()?;
        if let Err(error) = self.disk.sync_dir(dir) {
            // The first one is told, whoever comes first.
            drop(self.failed.set(error.to_string()));
            unsynced::mark(&*self.disk, &self.dir, &[]);
        }
        self.failed()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_space(dir)
    }
}
