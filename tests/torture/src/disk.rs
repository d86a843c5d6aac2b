//! A disk in memory on which everything goes wrong that may.
//!
//! Reads see all that was written, as the page cache of a machine that runs. What
//! was not synced is remembered apart: after a power cut some of these writes are
//! there and others not, whatever their order, each by whole sectors; names are as
//! any of the changes since their folder was synced left them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_base::Rng;
use peerage_store::disk::{Access, Disk, DiskFile, File};

/// Bytes that a disk writes all of or nothing. 512: what drives have promised
/// since the first of them.
const SECTOR: usize = 512;

/// How often an operation fails: one in so many; never, if it is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes, of which a part may then have happened, and changes of length.
    pub write: u64,
    /// Syncs of a file. What was not synced then may be lost for good, though
    /// reads still see it, and a later sync does not fail: as Linux does it.
    pub sync: u64,
    /// Openings, renames, removals, listings, and syncs of a folder, of which then all
    /// that was not synced may be lost for good, as of a file.
    pub name: u64,
    /// Reads.
    pub read: u64,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultyDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    rng: Rng,
    /// Files that were opened before the last crash are of no use.
    epoch: u64,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, u64>,
    /// Folders, and whether their own names survive a power cut.
    dirs: BTreeMap<PathBuf, bool>,
    /// Names that survive a power cut whatever happens.
    safe_names: BTreeMap<PathBuf, u64>,
    /// What was done to names since, the oldest first.
    changes: Vec<Change>,
    files: BTreeMap<u64, Content>,
    next: u64,
    /// Bytes of all files that are in use.
    used: u64,
    capacity: u64,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    /// What survives a power cut whatever happens.
    safe: Vec<u8>,
    unsynced: Vec<Write>,
    /// Handles of this epoch.
    handles: usize,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Name(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf, u64),
}

impl Change {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Name(path, _) | Self::Rename(_, path, _) | Self::Remove(path, _) => path.parent(),
        }
    }

    fn file(&self) -> u64 {
        match self {
            Self::Name(_, file) | Self::Rename(_, _, file) | Self::Remove(_, file) => *file,
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Name(path, file) => drop(names.insert(path, file)),
            Self::Rename(from, to, file) => {
                if names.get(&from) == Some(&file) {
                    names.remove(&from);
                }
                names.insert(to, file);
            }
            Self::Remove(path, file) => {
                if names.get(&path) == Some(&file) {
                    names.remove(&path);
                }
            }
        }
    }
}

impl Write {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, written) => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
            Self::Len(len) => bytes.resize(*len, 0),
        }
    }

    /// The same with only those sectors that `kept` says, at their offsets.
    fn torn(&self, kept: &mut dyn FnMut() -> bool) -> Vec<Self> {
        let Self::Bytes(at, written) = self else { return vec![self.clone()] };
        let mut pieces = Vec::new();
        let mut from = 0;
        while from < written.len() {
            let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(written.len());
            if kept() {
                pieces.push(Self::Bytes(at + from, written[from..to].to_vec()));
            }
            from = to;
        }
        pieces
    }
}

fn failed() -> io::Error {
    io::Error::other("the double's disk fails")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl World {
    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.rng.below(many) == 0
    }

    fn fail_sometimes(&mut self, many: u64) -> io::Result<()> {
        if self.one_in(many) { Err(failed()) } else { Ok(()) }
    }

    fn content(&mut self, file: u64, epoch: u64) -> io::Result<&mut Content> {
        if epoch != self.epoch {
            return Err(io::Error::other("a handle of a process that is gone"));
        }
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Does a write, or as much of it as fits and no misfortune keeps away.
    fn write(&mut self, file: u64, epoch: u64, write: Write) -> io::Result<()> {
        let fails = self.one_in(self.faults.write);
        let part = usize::try_from(self.rng.next_u64() >> 1).unwrap_or(0);
        let room = self.capacity.saturating_sub(self.used);
        let content = self.content(file, epoch)?;
        let len = content.now.len();
        let grown = match &write {
            Write::Bytes(at, bytes) => (at + bytes.len()).max(len),
            Write::Len(to) => *to,
        };
        let fits = grown.saturating_sub(len) as u64 <= room;
        let write = match write {
            _ if fits && !fails => write,
            Write::Bytes(at, mut bytes) => {
                let most = usize::try_from(room).unwrap_or(usize::MAX).saturating_add(len).saturating_sub(at);
                bytes.truncate((part % (bytes.len() + 1)).min(most));
                Write::Bytes(at, bytes)
            }
            Write::Len(_) => Write::Len(len),
        };
        write.apply(&mut content.now);
        let grown = content.now.len();
        content.unsynced.push(write);
        self.used = self.used + grown as u64 - len as u64;
        if fails {
            Err(failed())
        } else if fits {
            Ok(())
        } else {
            Err(full())
        }
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    /// Forgets a file that nothing leads to any more.
    fn forget_if_unused(&mut self, file: u64) {
        let Some(content) = self.files.get_mut(&file) else { return };
        if content.handles > 0 || self.names.values().any(|named| *named == file) {
            return;
        }
        self.used -= content.now.len() as u64;
        content.now = Vec::new();
        let safe = self.safe_names.values().any(|named| *named == file);
        if !safe && !self.changes.iter().any(|change| change.file() == file) {
            self.files.remove(&file);
        }
    }

    /// What of the unsynced is there after a power cut.
    fn cut_power(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        // Most file systems keep the order of names, and some do not.
        match self.rng.below(4) {
            0 => changes.clear(),
            1 => {}
            2 => changes.truncate(usize::try_from(self.rng.below(changes.len() as u64 + 1)).unwrap_or(0)),
            _ => changes.retain(|_| self.rng.below(2) == 0),
        }
        changes.into_iter().for_each(|change| change.apply(&mut self.safe_names));
        let lost: Vec<PathBuf> =
            self.dirs.iter().filter(|(_, safe)| !**safe).map(|(dir, _)| dir.clone()).collect();
        for dir in lost {
            if self.rng.below(2) == 0 {
                self.dirs.retain(|path, _| !path.starts_with(&dir));
                self.safe_names.retain(|path, _| !path.starts_with(&dir));
            }
        }
        self.names = self.safe_names.clone();
        let named: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        let rng = &mut self.rng;
        for content in self.files.values_mut() {
            let mut writes = std::mem::take(&mut content.unsynced);
            let odds = match rng.below(4) {
                0 => 0,
                1 => 100,
                _ => rng.below(101),
            };
            if rng.below(3) == 0 {
                writes.truncate(usize::try_from(rng.below(writes.len() as u64 + 1)).unwrap_or(0));
            }
            for write in writes {
                for piece in write.torn(&mut || rng.below(100) < odds) {
                    // A cut that is kept after a write that is not leaves zeros, or less.
                    piece.apply(&mut content.safe);
                }
            }
            content.now = content.safe.clone();
        }
    }
}

impl FaultyDisk {
    /// An empty disk that does no harm yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: Rng::new(seed),
            epoch: 0,
            names: BTreeMap::new(),
            dirs: BTreeMap::from([(PathBuf::from("/"), true)]),
            safe_names: BTreeMap::new(),
            changes: Vec::new(),
            files: BTreeMap::new(),
            next: 1,
            used: 0,
            capacity: u64::MAX,
            faults: Faults::default(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on so much fails.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// From now on there is room for so many bytes more; for all, if `None`.
    pub fn set_room(&self, room: Option<u64>) {
        let mut world = self.world();
        world.capacity = room.map_or(u64::MAX, |room| world.used + room);
    }

    /// The process is killed: what it wrote is there, its handles are not.
    pub fn kill(&self) {
        let mut world = self.world();
        world.epoch += 1;
        for content in world.files.values_mut() {
            content.handles = 0;
        }
        let files: Vec<u64> = world.files.keys().copied().collect();
        files.into_iter().for_each(|file| world.forget_if_unused(file));
    }

    /// The power is cut.
    pub fn cut_power(&self) {
        self.kill();
        let mut world = self.world();
        world.cut_power();
        world.used = world.files.values().map(|content| content.now.len() as u64).sum();
    }

    /// Changes the bytes of a file behind everybody's back, as a failing drive does.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Rng, &mut Vec<u8>)) {
        let mut world = self.world();
        let Some(file) = world.names.get(path).copied() else { return };
        let World { rng, files, .. } = &mut *world;
        if let Some(content) = files.get_mut(&file) {
            change(rng, &mut content.now);
            content.safe = content.now.clone();
            content.unsynced.clear();
        }
    }

    /// All files and their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let world = self.world();
        let len = |file| world.files.get(file).map_or(0, |content| content.now.len() as u64);
        world.names.iter().map(|(path, file)| (path.clone(), len(file))).collect()
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        if dir.parent().is_some_and(|above| !world.dirs.contains_key(above)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.dirs.entry(dir.to_path_buf()).or_insert(false);
        Ok(())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let mut world = self.world();
        // Where even the mark of a failed sync cannot be left, nobody can know of it.
        let many = if path.ends_with("unsynced") { 0 } else { world.faults.name };
        world.fail_sometimes(many)?;
        let file = match world.names.get(path).copied() {
            Some(file) => file,
            None if access == Access::Read => return Err(io::ErrorKind::NotFound.into()),
            None => {
                let file = world.next;
                world.next += 1;
                world.files.insert(file, Content::default());
                world.change(Change::Name(path.to_path_buf(), file));
                file
            }
        };
        let epoch = world.epoch;
        world.content(file, epoch)?.handles += 1;
        let handle = Arc::new(Handle { disk: self.clone(), file, epoch });
        if access == Access::Anew {
            let emptied = world.write(file, epoch, Write::Len(0));
            drop(world);
            emptied?;
        }
        Ok(handle)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        let many = world.faults.name;
        world.fail_sometimes(many)?;
        let file = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let replaced = world.names.get(to).copied();
        world.change(Change::Rename(from.to_path_buf(), to.to_path_buf(), file));
        replaced.into_iter().for_each(|file| world.forget_if_unused(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let many = world.faults.name;
        world.fail_sometimes(many)?;
        let file = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        world.change(Change::Remove(path.to_path_buf(), file));
        world.forget_if_unused(file);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        let mut world = self.world();
        let many = world.faults.name;
        world.fail_sometimes(many)?;
        let within = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let len = |file| world.files.get(file).map_or(0, |content| content.now.len() as u64);
        Ok(within.filter_map(|(path, file)| Some((path.file_name()?.to_owned(), len(file)))).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        let many = world.faults.name;
        if let Err(error) = world.fail_sometimes(many) {
            if world.rng.below(2) == 0 {
                world.changes.retain(|change| change.dir() != Some(dir));
            }
            return Err(error);
        }
        let World { changes, safe_names, dirs, .. } = &mut *world;
        let within = dirs.iter_mut().filter(|(path, _)| path.parent() == Some(dir));
        within.for_each(|(_, safe)| *safe = true);
        let (synced, rest) =
            std::mem::take(changes).into_iter().partition(|it: &Change| it.dir() == Some(dir));
        *changes = rest;
        Vec::into_iter(synced).for_each(|change| change.apply(safe_names));
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let world = self.world();
        Ok(world.capacity.saturating_sub(world.used))
    }
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    file: u64,
    epoch: u64,
}

impl DiskFile for Handle {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut world = self.disk.world();
        let many = world.faults.read;
        world.fail_sometimes(many)?;
        let content = world.content(self.file, self.epoch)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.now.len());
        let found = &content.now[from..(from + buf.len()).min(content.now.len())];
        buf[..found.len()].copy_from_slice(found);
        Ok(found.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.disk.world().write(self.file, self.epoch, Write::Bytes(at, bytes.to_vec()))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.world().content(self.file, self.epoch)?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.disk.world().write(self.file, self.epoch, Write::Len(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let many = world.faults.sync;
        let fails = world.one_in(many);
        let lost = world.rng.below(2) == 0;
        let content = world.content(self.file, self.epoch)?;
        if fails {
            if lost {
                content.unsynced.clear();
            }
            return Err(failed());
        }
        for write in std::mem::take(&mut content.unsynced) {
            write.apply(&mut content.safe);
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if let Ok(content) = world.content(self.file, self.epoch) {
            content.handles -= 1;
            world.forget_if_unused(self.file);
        }
    }
}
