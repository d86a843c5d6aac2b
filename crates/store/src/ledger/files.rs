//! What the ledger knows of users' files: their slots lead to their records,
//! which are read back from the journal.

use std::io;
use std::path::{Path, PathBuf};

use super::Ledger;
use crate::facts::{Fact, FileId, Seen, TreeId};
use crate::files::Slot;
use crate::journal;
use crate::moved::LostFile;

impl Ledger {
    pub(crate) fn has_file(&mut self, id: FileId) -> io::Result<bool> {
        Ok(self.state.files.live(id)?.is_some())
    }

    pub(crate) fn has_files_in(&self, tree: TreeId) -> bool {
        self.state.files.has_files_in(tree)
    }

    /// Base and relative path of a file.
    pub(crate) fn file(&mut self, id: FileId) -> io::Result<Option<(PathBuf, PathBuf)>> {
        let Some(slot) = self.state.files.live(id)? else { return Ok(None) };
        let Some(base) = self.state.trees.get(&TreeId(slot.tree)).cloned() else { return Ok(None) };
        let (path, _) = self.record(id, slot)?;
        Ok(Some((base, path)))
    }

    /// The youngest file with this path in the tree.
    pub(crate) fn file_by_path(&mut self, tree: TreeId, path: &Path) -> io::Result<Option<FileId>> {
        if !self.has_files_in(tree) {
            return Ok(None);
        }
        for id in self.state.files.candidates(tree, path)? {
            if let Some(slot) = self.state.files.live(id)?.filter(|slot| slot.tree == tree.0)
                && self.record(id, slot)?.0 == path
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    pub(crate) fn seen(&mut self, id: FileId) -> io::Result<Option<Seen>> {
        let Some(slot) = self.state.files.live(id)? else { return Ok(None) };
        Ok(self.record(id, slot)?.1)
    }

    /// Up to `limit` files of a tree from `from` on, by their ids.
    pub(crate) fn files_of(
        &mut self,
        tree: TreeId,
        from: FileId,
        limit: usize,
    ) -> io::Result<Vec<(FileId, PathBuf)>> {
        let mut found = Vec::new();
        let mut next = Some(from).filter(|_| self.has_files_in(tree));
        while let Some(from) = next
            && found.len() < limit
            && let Some((id, slot)) = self.state.files.next_live(from)?
        {
            if slot.tree == tree.0 {
                found.push((id, self.record(id, slot)?.0));
            }
            next = id.0.checked_add(1).map(FileId);
        }
        Ok(found)
    }

    /// Up to `limit` files of any tree from `from` on, by their ids, of which it was
    /// recorded what they are.
    pub(crate) fn files_from(&mut self, from: FileId, limit: usize) -> io::Result<Vec<LostFile>> {
        let mut found = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next
            && found.len() < limit
            && let Some((id, slot)) = self.state.files.next_live(from)?
        {
            let tree = TreeId(slot.tree);
            let (path, seen) = self.record(id, slot)?;
            if let (Some(base), Some(seen)) = (self.state.trees.get(&tree), seen) {
                found.push(LostFile { id, tree, base: base.clone(), path, seen: seen.stat });
            }
            next = id.0.checked_add(1).map(FileId);
        }
        Ok(found)
    }

    pub(crate) fn files(&self) -> usize {
        self.state.files()
    }

    /// The path of a file that lives, and what was seen of it last.
    pub(super) fn record(&mut self, id: FileId, slot: Slot) -> io::Result<(PathBuf, Option<Seen>)> {
        let added = Fact::decode(self.journal.read(slot.record)?);
        let (path, mut seen) = match added {
            Some(Fact::FileAdded(found, tree, path, seen)) if found == id && tree.0 == slot.tree => {
                (path, seen)
            }
            _ => return Err(journal::damaged()),
        };
        if slot.seen != 0 {
            seen = match Fact::decode(self.journal.read(slot.seen)?) {
                Some(Fact::FileSeen(found, seen)) if found == id => Some(seen),
                _ => return Err(journal::damaged()),
            };
        }
        Ok((path, seen))
    }
}
