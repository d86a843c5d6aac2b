//! A journal that is written anew, under other names, until it takes the place
//! of the one before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::head::Head;
use super::{put_frame, twins};
use crate::config::JOURNAL_BUFFER;
use crate::disk::{self, Access, Disk, File};
use crate::key::RepoKey;

/// The new journal and its twin.
#[derive(Debug)]
pub(crate) struct Rewrite {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Empty once they have their names.
    files: Vec<File>,
    written: u64,
    buffer: Vec<u8>,
    pub(super) generation: u64,
}

/// Names of a journal and its twin while they are written.
pub(super) fn temporary(path: &Path) -> [PathBuf; 2] {
    [path.with_extension("tmp"), path.with_extension("mirror.tmp")]
}

impl Rewrite {
    pub(super) fn begin(
        disk: &Arc<dyn Disk>,
        path: &Path,
        key: RepoKey,
        generation: u64,
    ) -> io::Result<Self> {
        let mut rewrite = Self {
            disk: Arc::clone(disk),
            path: path.to_path_buf(),
            files: Vec::new(),
            written: 0,
            buffer: Head::new(key, generation).encode(),
            generation,
        };
        for temp in temporary(path) {
            rewrite.files.push(disk.open(&temp, Access::Anew)?);
        }
        Ok(rewrite)
    }

    /// Adds a record. Returns where it will begin.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<u64> {
        if self.buffer.len() >= JOURNAL_BUFFER {
            self.write()?;
        }
        let at = self.written + self.buffer.len() as u64;
        put_frame(&mut self.buffer, payload);
        Ok(at)
    }

    fn write(&mut self) -> io::Result<()> {
        for file in &self.files {
            file.write_at(self.written, &self.buffer)?;
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes what was added so far survive a power cut, so that little is left to
    /// be synced when the names are exchanged.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.files.iter().try_for_each(|file| file.sync())
    }

    /// Gives both their names; those that were there have none from then on. While
    /// the two differ by their generations, the later one counts.
    pub(super) fn publish(mut self) -> io::Result<(Vec<File>, u64)> {
        self.sync()?;
        let [(temp, name), (mirror_temp, mirror)] =
            std::array::from_fn(|n| (temporary(&self.path)[n].clone(), twins(&self.path)[n].clone()));
        self.disk.rename(&temp, &name)?;
        // From here on the new journal is in force. A twin without its name is made
        // anew when the journal is opened.
        drop(self.disk.rename(&mirror_temp, &mirror));
        Ok((std::mem::take(&mut self.files), self.written))
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if !self.files.is_empty() {
            // They take room that is perhaps wanting; the next one empties them anyway.
            for temp in temporary(&self.path) {
                drop(disk::remove_if_there(&*self.disk, &temp));
            }
        }
    }
}
