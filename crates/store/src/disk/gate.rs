//! The way to the disk, until the repository is left to another process: after that
//! nothing of ours is written there, whatever still runs.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{Access, Disk, DiskFile, File};

/// Open for all who write, and closed once, for good.
#[derive(Debug, Default)]
pub(crate) struct Gate(RwLock<bool>);

impl Gate {
    /// Returns when nobody is writing any more; nobody will.
    pub(crate) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// An error once it is closed.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.pass().map(drop)
    }

    /// To be held while something is written.
    fn pass(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(io::Error::other("the repository was closed"));
        }
        Ok(closed)
    }
}

/// A disk behind a gate. Reading goes on for ever.
#[derive(Debug)]
pub(crate) struct Gated {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

impl Gated {
    pub(crate) fn new(disk: Arc<dyn Disk>, gate: &Arc<Gate>) -> Self {
        Self { disk, gate: Arc::clone(gate) }
    }
}

impl Disk for Gated {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.disk.create_dir(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        if access == Access::Read {
            return self.disk.open(path, access);
        }
        let _pass = self.gate.pass()?;
        Ok(Arc::new(GatedFile { file: self.disk.open(path, access)?, gate: Arc::clone(&self.gate) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.disk.sync_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_space(dir)
    }
}

#[derive(Debug)]
struct GatedFile {
    file: File,
    gate: Arc<Gate>,
}

impl DiskFile for GatedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.file.write_at(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _pass = self.gate.pass()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // Nothing is told as safe that another process may have changed since.
        let _pass = self.gate.pass()?;
        self.file.sync()
    }
}
