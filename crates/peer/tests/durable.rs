//! What is on the disk when a fetch says that it is done.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::Host;
use peerage_store::disk::{Access, Disk, DiskFile, File, SystemDisk};

/// Files with bytes that a power cut would take.
type Unsynced = Arc<Mutex<BTreeSet<PathBuf>>>;

/// The machine's disk, watched.
#[derive(Debug)]
struct Watched(Unsynced);

#[derive(Debug)]
struct WatchedFile(File, PathBuf, Unsynced);

impl Disk for Watched {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let file = SystemDisk.open(path, access)?;
        Ok(Arc::new(WatchedFile(file, path.to_path_buf(), Arc::clone(&self.0))))
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
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_space(dir)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.2.lock().unwrap().insert(self.1.clone());
        self.0.write_at(offset, bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()?;
        self.2.lock().unwrap().remove(&self.1);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fetch_keeps_is_on_the_disk_when_it_is_done() {
    let sharer = Host::start().await;
    std::fs::write(sharer.path("file"), common::random(3_000_000, 1)).unwrap();
    let share = sharer.share("file").await;
    let unsynced = Unsynced::default();
    let disk = Watched(Arc::clone(&unsynced));
    let getter = Host::with(|config| config.store.disk = Arc::new(disk)).await;
    let cid = share.roots()[0].cid;
    getter.get(cid, "not kept", &[sharer.addr()]).await.unwrap();
    getter.get_with(cid, "copy", &[sharer.addr()], |options| options.keep = true).await.unwrap();
    let left: Vec<PathBuf> = unsynced.lock().unwrap().iter().cloned().collect();
    let of_repository = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal"))
            || path.extension().is_some_and(|of| of == "active" || of == "root" || of == "roots")
    };
    assert_eq!(left.iter().filter(of_repository).collect::<Vec<_>>(), [] as [&PathBuf; 0]);
    assert_eq!(getter.peer.shares()[0].root.path, Some(getter.path("copy")));
}
