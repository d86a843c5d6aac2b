//! The staging entry: a folder beside the destination, locked, in which
//! everything has its final name.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions};
use peerage_content::Cid;
use peerage_store::{Download, DownloadId, FileId, Store, TreeId};
use rustix::fs::{FlockOperation, flock, fstat, fstatvfs};
use rustix::io::Errno;

use super::error::ExportError;
use crate::files::{STAGING_LOCK, STAGING_SUFFIX};

/// Bytes of the destination's name that the staging entry's name keeps.
const NAME_KEPT: usize = 200;

/// Characters of the CID in the name of the staging entry.
const CID_KEPT: usize = 8;

/// Attempts to lock a staging folder. One more is needed only if another fetch
/// to the same destination ended in that very moment.
const CLAIMS: usize = 64;

/// The staging entry of one fetch.
pub(super) struct Staging {
    /// The folder of the destination.
    pub(super) parent: Dir,
    pub(super) parent_path: PathBuf,
    /// The destination's own name.
    pub(super) name: String,
    /// The staging folder.
    pub(super) dir: Dir,
    pub(super) entry: String,
    pub(super) tree: TreeId,
    pub(super) download: DownloadId,
    /// An earlier run has left it.
    pub(super) resumed: bool,
    room: Mutex<Room>,
    filled: AtomicBool,
    /// Held until the end; also a handle on the file system.
    pub(super) lock: File,
}

/// Bytes of content on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Of all files that are staged.
    expected: u64,
    /// Of those, written in this run.
    written: u64,
    /// What an earlier run left: it has its room already.
    left: u64,
}

impl Room {
    /// Bytes have been written to a staged file.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
    }

    /// Bytes that an earlier run staged were found to be right, and are about
    /// to be written once more in their place.
    pub(super) fn reuse(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// What is to come, if it is more than is free.
    fn lacking(&self, free: u64) -> Option<u64> {
        let needed = self.expected.saturating_sub(self.written).saturating_sub(self.left);
        (needed > free).then_some(needed)
    }

    /// What is to come of a whole DAG of `total` bytes, if it is more than is
    /// free, before any of it has come.
    fn lacking_of_all(&self, total: u64, free: u64, there: impl FnOnce() -> u64) -> Option<u64> {
        let needed = Some(total.saturating_sub(self.left)).filter(|needed| *needed > free)?;
        Some(needed.saturating_sub(there())).filter(|needed| *needed > free)
    }
}

impl Staging {
    pub(super) fn open(
        store: &Store,
        root: &Cid,
        dest: &Path,
        folder: Option<&OwnedFd>,
    ) -> Result<Self, ExportError> {
        let wrong = |what| move |source| ExportError::Io { what, path: dest.to_path_buf(), source };
        let (Some(parent_path), Some(name)) =
            (dest.parent(), dest.file_name().and_then(|name| name.to_str()))
        else {
            return Err(wrong("write to")(io::ErrorKind::InvalidInput.into()));
        };
        let parent = match folder {
            Some(handle) => folder_of(handle),
            None => Dir::open_ambient_dir(parent_path, ambient_authority()),
        };
        let parent = parent.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ExportError::NoFolder(parent_path.to_path_buf()),
            _ => wrong("open the folder of")(error),
        })?;
        let entry = entry_name(name, root);
        let claim = claim(&parent, &entry).map_err(|(what, source)| wrong(what)(source))?;
        let Claim { dir, lock, resumed } =
            claim.map_err(|pid| ExportError::Busy { path: dest.to_path_buf(), pid })?;
        let staging_path = parent_path.join(&entry);
        let earlier = store
            .downloads()
            .into_iter()
            .find(|(_, known)| known.staging == staging_path && known.cid == *root);
        let (download, tree) = match earlier {
            Some((id, Download { tree: Some(tree), .. })) if resumed => (id, tree),
            earlier => {
                if let Some((id, _)) = earlier {
                    store.end_download(id)?;
                }
                let tree = store.add_tree(&staging_path)?;
                let download = Download {
                    cid: *root,
                    dest: dest.to_path_buf(),
                    staging: staging_path,
                    tree: Some(tree),
                    note: Vec::new(),
                };
                (store.start_download(&download)?, tree)
            }
        };
        let left = if resumed { allocated(&dir).unwrap_or(0) } else { 0 };
        Ok(Self {
            parent,
            parent_path: parent_path.to_path_buf(),
            name: name.to_owned(),
            dir,
            entry,
            tree,
            download,
            resumed,
            room: Mutex::new(Room { left, ..Room::default() }),
            filled: AtomicBool::new(false),
            lock,
        })
    }

    /// The store's name for a staged file.
    pub(super) fn file_id(&self, store: &Store, path: &Path) -> Result<FileId, ExportError> {
        // Only an earlier run has registered any before they are asked for.
        let known = if self.resumed { store.file_by_path(self.tree, path)? } else { None };
        match known {
            Some(id) => Ok(id),
            None => Ok(store.add_file(self.tree, path, None)?),
        }
    }

    /// A file that an earlier run staged, and its size in bytes.
    pub(super) fn open_staged(&self, path: &Path) -> Option<(File, u64)> {
        if !self.resumed {
            return None;
        }
        let file = self.dir.open(path).ok()?.into_std();
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        Some((file, size))
    }

    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes account of a file that is about to be staged; fails if it does
    /// not fit, as far as that can be known before.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), ExportError> {
        let free = self.free();
        let mut room = self.room();
        room.expected = room.expected.saturating_add(bytes);
        match free.and_then(|free| Some((room.lacking(free)?, free))) {
            Some((needed, free)) => Err(self.no_space(needed, free)),
            None => Ok(()),
        }
    }

    /// Fails if `total` bytes of content will not fit; `there` says how many of
    /// them stand at the destination already, and is asked only if need be.
    pub(super) fn check_total(&self, total: u64, there: impl FnOnce() -> u64) -> Result<(), ExportError> {
        let Some(free) = self.free() else { return Ok(()) };
        let lacking = self.room().lacking_of_all(total, free, there);
        lacking.map_or(Ok(()), |needed| Err(self.no_space(needed, free)))
    }

    /// Bytes that the file system has left for us, if it says so.
    fn free(&self) -> Option<u64> {
        fstatvfs(&self.dir).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize)).ok()
    }

    fn no_space(&self, needed: u64, free: u64) -> ExportError {
        ExportError::NoSpace { path: self.parent_path.clone(), needed, free }
    }

    /// A file is being made here.
    pub(super) fn fill(&self) {
        self.filled.store(true, Ordering::Relaxed);
    }

    /// True if no file was ever made here.
    pub(super) fn is_empty(&self) -> bool {
        !self.resumed && !self.filled.load(Ordering::Relaxed)
    }

    /// Removes the folder with all that is left in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.parent, &self.dir, &self.entry)
    }
}

/// A staging folder that is ours as long as the lock is open.
struct Claim {
    dir: Dir,
    lock: File,
    /// It was there already.
    resumed: bool,
}

/// Makes or opens the staging folder and locks it; in vain, it is the pid of
/// whoever has it. The one who had it before may remove it between any two of
/// these steps: then it is made anew. An error says what failed.
fn claim(parent: &Dir, entry: &str) -> Result<Result<Claim, u32>, (&'static str, io::Error)> {
    let mut error = ("lock the staging folder of", io::ErrorKind::NotFound.into());
    for _ in 0..CLAIMS {
        let resumed = match parent.create_dir(entry) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(("write beside", error)),
        };
        match parent.open_dir(entry) {
            Ok(dir) => match lock(&dir) {
                Ok(Ok(lock)) => return Ok(Ok(Claim { dir, lock, resumed })),
                Ok(Err(pid)) => return Ok(Err(pid)),
                Err(source) => error = ("lock the staging folder of", source),
            },
            Err(source) => error = ("open the staging folder of", source),
        }
        if error.1.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    Err(error)
}

/// Removes a staging folder that we have locked. The lock goes last, so that
/// nobody takes the folder for theirs while something else is removed; who
/// takes it between that and the end keeps it, or has removed it already.
fn remove(parent: &Dir, dir: &Dir, entry: &str) -> io::Result<()> {
    for left in dir.entries()? {
        let left = left?;
        let name = left.file_name();
        if name == STAGING_LOCK {
        } else if left.file_type()?.is_dir() {
            dir.remove_dir_all(name)?;
        } else {
            dir.remove_file(name)?;
        }
    }
    dir.remove_file(STAGING_LOCK)?;
    match parent.remove_dir(entry) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Ok(())
        }
        done => done,
    }
}

/// The folder that someone else has opened.
fn folder_of(handle: &OwnedFd) -> io::Result<Dir> {
    let file = File::from(handle.try_clone()?);
    if file.metadata()?.is_dir() {
        Ok(Dir::from_std_file(file))
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// Bytes that the files below a folder take on the disk.
pub(super) fn allocated(dir: &Dir) -> io::Result<u64> {
    let mut sum = 0;
    let mut folders = vec![dir.try_clone()?];
    while let Some(folder) = folders.pop() {
        for entry in folder.entries()? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.open_dir()?);
            } else if kind.is_file() {
                sum += entry.metadata()?.blocks() * 512;
            }
        }
    }
    Ok(sum)
}

fn entry_name(name: &str, root: &Cid) -> String {
    let mut kept = NAME_KEPT.min(name.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    let cid = root.to_string();
    let tail = &cid[cid.len().saturating_sub(CID_KEPT)..];
    format!(".{}.{tail}{STAGING_SUFFIX}", &name[..kept])
}

/// The lock, or the pid of whoever has it. Not found is the lock of a folder
/// that was removed meanwhile.
fn lock(dir: &Dir) -> io::Result<Result<File, u32>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = dir.open_with(STAGING_LOCK, &options)?.into_std();
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            return Ok(Err(pid.trim().parse().unwrap_or(0)));
        }
        Err(error) => return Err(error.into()),
    }
    if fstat(&file)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(Ok(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_by_one_at_a_time_however_others_end() {
        let place = tempfile::tempdir().unwrap();
        let parent = Dir::open_ambient_dir(place.path(), ambient_authority()).unwrap();
        let inside = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(claim) = claim(&parent, "entry").unwrap() else { continue };
                        assert!(!inside.swap(true, Ordering::SeqCst), "two have it");
                        claim.dir.write("staged", b"bytes").unwrap();
                        inside.store(false, Ordering::SeqCst);
                        remove(&parent, &claim.dir, "entry").unwrap();
                    }
                });
            }
        });
        assert_eq!(parent.entries().unwrap().count(), 0);
    }

    #[test]
    fn what_is_written_needs_no_more_room() {
        let mut room = Room { expected: 100, ..Room::default() };
        assert_eq!(room.lacking(99), Some(100));
        room.wrote(60);
        assert_eq!((room.lacking(40), room.lacking(39)), (None, Some(40)), "free has shrunk as well");
    }

    #[test]
    fn the_whole_is_compared_with_what_is_free_before_it_comes() {
        let room = Room { left: 70, ..Room::default() };
        let lacking = |total, free, there| room.lacking_of_all(total, free, || there);
        assert_eq!(lacking(100, 30, 0), None);
        assert_eq!(lacking(100, 29, 0), Some(30));
        assert_eq!(lacking(100, 29, 1), None, "it stands at the destination");
        assert_eq!(room.lacking_of_all(100, 30, || panic!("looked at the destination for nothing")), None);
    }

    #[test]
    fn what_an_earlier_run_left_has_its_room() {
        let mut room = Room { expected: 100, left: 70, ..Room::default() };
        assert_eq!((room.lacking(30), room.lacking(29)), (None, Some(30)));
        room.reuse(50);
        room.wrote(50);
        assert_eq!((room.lacking(30), room.lacking(29)), (None, Some(30)), "counted once");
        room.wrote(30);
        assert_eq!(room.lacking(0), None);
    }
}
