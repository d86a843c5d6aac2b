//! A mark that a sync of a file or folder failed: the kernel may hold as written what the disk never
//! got, and a sync of the next process would say nothing of it. So whoever
//! opens the repository then writes anew what may be concerned.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::MAX_MARKED_PACKS;
use crate::disk::{self, Access, Disk};
use crate::error::WriteError;
use crate::notice::Opening;
use crate::pack::file::Pack;
use crate::pack::rewrite::Selection;
use crate::pack::set::lock;
use crate::store::Inner;

fn path_of(dir: &Path) -> PathBuf {
    dir.join("unsynced")
}

/// Leaves the mark, with the packs that may be concerned; none means all. A power
/// cut may take it: that also takes what it is about. If even the mark cannot be
/// left, there is no one to tell.
pub(crate) fn mark(disk: &dyn Disk, dir: &Path, packs: &[u32]) {
    let count = u32::try_from(packs.len()).unwrap_or(u32::MAX);
    let bytes: Vec<u8> = [&count].into_iter().chain(packs).flat_map(|n| n.to_le_bytes()).collect();
    drop(disk.open(&path_of(dir), Access::Anew).and_then(|file| file.write_at(0, &bytes)));
}

/// The packs that a mark names; all, if `None` is in it.
fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Option<BTreeSet<u32>>>> {
    let file = match disk.open(&path_of(dir), Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = disk::read_up_to(&*file, 0, 4 + MAX_MARKED_PACKS * 4)?;
    let (numbers, rest) = bytes.as_chunks();
    let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
    // One that is not whole, as on a full disk, means all.
    let count = numbers.next().filter(|count| *count as usize == numbers.len() && rest.is_empty());
    Ok(Some(count.filter(|count| *count > 0).map(|_| numbers.collect())))
}

impl Inner {
    /// Leaves the mark.
    pub(crate) fn mark_unsynced(&self) {
        let packs = if self.guard.lost_names() { Vec::new() } else { self.packs.unsynced() };
        mark(&*self.config.disk, &self.dir, &packs);
    }

    /// No sync of this process counts any more, if this is what the error says.
    pub(crate) fn note_unsynced(&self, error: WriteError) -> WriteError {
        if let WriteError::Unsynced(_) = error {
            self.commits.break_off(&error);
            self.mark_unsynced();
        }
        error
    }

    /// Writes anew what an earlier process could not sync, if there is a mark;
    /// true if there was. Until that is done, nothing is promised.
    pub(crate) fn settle(&self) -> Result<bool, WriteError> {
        let disk = &*self.config.disk;
        let Some(marked) = read(disk, &self.dir)? else { return Ok(false) };
        match &marked {
            Some(_) => self.packs.seal_active()?,
            // Not even the name of one that holds nothing is certain.
            None => self.packs.begin_another()?,
        }
        self.packs.seal_all()?;
        let concerned = |pack: &&Arc<Pack>| marked.as_ref().is_none_or(|marked| marked.contains(&pack.id));
        let packs: Vec<Arc<Pack>> = self.packs.packs().iter().filter(concerned).cloned().collect();
        let count = packs.len();
        for (done, pack) in packs.into_iter().enumerate() {
            (self.config.opening)(&Opening::WritingAnew { done, packs: count });
            let rewritten = self.packs.rewrite(&[pack], Selection::all())?;
            self.after_rewrite(&rewritten);
        }
        if marked.is_none() {
            self.roots.write_anew()?;
        }
        lock(&self.ledger).compact()?;
        disk.sync_dir(&self.dir)?;
        disk::remove_if_there(disk, &path_of(&self.dir))?;
        Ok(true)
    }
}
