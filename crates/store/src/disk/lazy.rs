//! For tests that open thousands of repositories: the machine's file system, but
//! nothing is synced.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Access, Disk, DiskFile, File, SystemDisk};

#[derive(Debug)]
pub(crate) struct LazyDisk;

impl Disk for LazyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        Ok(Arc::new(LazyFile(SystemDisk.open(path, access)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        SystemDisk.list(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_space(dir)
    }
}

#[derive(Debug)]
struct LazyFile(File);

impl DiskFile for LazyFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
