//! Files without a name, for indexes that are made anew whenever a repository
//! is opened. They are gone with the process, however it ends (but for
//! one that a kill catches while it has a name, which the next process removes).
//!
//! A repository whose disk is full must still open, or nobody could make room
//! in it: what finds no room stays in memory, until it is said that it must not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::disk::{self, Disk, File};
use crate::pack::set::lock;

/// Where scratch files are, and what becomes of them on a full disk.
#[derive(Debug)]
pub(crate) struct ScratchRoom {
    disk: Arc<dyn Disk>,
    /// A name that a file has for an instant.
    path: PathBuf,
    /// One file at a time has it.
    naming: Mutex<()>,
    on_disk: AtomicBool,
}

impl ScratchRoom {
    /// Files at `path`, in memory where that cannot be.
    pub(crate) fn new(disk: &Arc<dyn Disk>, path: &Path) -> Self {
        // Nothing depends on it.
        drop(disk::remove_if_there(&**disk, path));
        Self {
            disk: Arc::clone(disk),
            path: path.to_path_buf(),
            naming: Mutex::new(()),
            on_disk: AtomicBool::new(false),
        }
    }

    /// From now on a full disk is an error.
    pub(crate) fn keep_to_disk(&self) {
        self.on_disk.store(true, Ordering::Relaxed);
    }

    fn create(&self) -> io::Result<File> {
        let _one_at_a_time = lock(&self.naming);
        disk::nameless(&*self.disk, &self.path)
    }
}

/// A file without a name. It takes no descriptor until something is written.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    place: Place,
    /// Bytes that are written.
    end: u64,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    Disk(File),
    Memory(Vec<u8>),
}

impl Scratch {
    /// Writes all of `bytes` at `offset`, at most where the file ends.
    pub(crate) fn write_at(&mut self, room: &ScratchRoom, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.write_to_disk(room, offset, bytes) {
            if room.on_disk.load(Ordering::Relaxed) {
                return Err(error);
            }
            self.write_to_memory(offset, bytes)?;
        }
        self.end = self.end.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn write_to_disk(&mut self, room: &ScratchRoom, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.place, Place::Nowhere) {
            self.place = Place::Disk(room.create()?);
        }
        match &self.place {
            Place::Disk(file) => file.write_at(offset, bytes),
            _ => self.write_to_memory(offset, bytes),
        }
    }

    fn write_to_memory(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !matches!(self.place, Place::Memory(_)) {
            let mut held = vec![0; usize::try_from(self.end).map_err(io::Error::other)?];
            self.read_into(0, &mut held)?;
            self.place = Place::Memory(held);
        }
        if let Place::Memory(held) = &mut self.place {
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            held.resize(held.len().max(from + bytes.len()), 0);
            held[from..from + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Fills `buf` from `offset`.
    pub(crate) fn read_into(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.place {
            _ if buf.is_empty() => Ok(()),
            Place::Disk(file) => disk::read_into(&**file, offset, buf),
            Place::Nowhere => Err(io::ErrorKind::UnexpectedEof.into()),
            Place::Memory(held) => {
                let from = usize::try_from(offset).map_err(io::Error::other)?;
                let found = held.get(from..).and_then(|rest| rest.get(..buf.len()));
                buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Access;

    fn read(scratch: &Scratch, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        scratch.read_into(offset, &mut buf).unwrap();
        buf
    }

    #[test]
    fn leaves_no_name_behind() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        let (mut one, mut other) = (Scratch::default(), Scratch::default());
        one.write_at(&room, 0, b"one").unwrap();
        other.write_at(&room, 0, b"other").unwrap();
        one.write_at(&room, 2, b"ly").unwrap();
        assert_eq!((read(&one, 0, 4), read(&other, 1, 4)), (b"only".to_vec(), b"ther".to_vec()));
        assert!(one.read_into(1, &mut [0; 4]).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_room_it_is_in_memory_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        let mut full = Scratch::default();
        full.write_at(&room, 0, b"written").unwrap();
        // A file that takes nothing more.
        let path = dir.path().join("full");
        std::fs::write(&path, b"written").unwrap();
        full.place = Place::Disk(room.disk.open(&path, Access::Read).unwrap());
        room.keep_to_disk();
        assert!(full.write_at(&room, 7, b"!").is_err());
        assert_eq!(read(&full, 0, 7), b"written");
        room.on_disk.store(false, Ordering::Relaxed);
        full.write_at(&room, 7, b"!").unwrap();
        room.keep_to_disk();
        full.write_at(&room, 0, b"W").unwrap();
        assert_eq!(read(&full, 0, 8), b"Written!");
        assert!(full.read_into(8, &mut [0]).is_err() && full.read_into(9, &mut []).is_ok());
    }
}
