//! Where things go: the folders and files that a fetch has met, and how the
//! children of a node become items.

use std::collections::BTreeMap;

use peerage_content::hamt::{self, Misfit};
use peerage_content::limits::BLOCK_MADE_MAX;
use peerage_content::node::{Bucket, Entry, FileChild, ShardEntry};
use peerage_content::resolve::ResolveError;
use peerage_content::{Cid, codec, name};

use super::frontier::{NewItem, Place};
use crate::error::JobError;

/// Names a folder of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirKey(pub u32);

/// Names a file of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub u64);

#[derive(Debug)]
struct Dir {
    parent: Option<DirKey>,
    name: String,
    /// Items and folders below that are not done and need its name.
    users: usize,
}

#[derive(Debug)]
struct File {
    /// Blocks that are not yet in place.
    missing: usize,
}

/// Folders and files under way.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    dirs: BTreeMap<DirKey, Dir>,
    files: BTreeMap<FileKey, File>,
    next_dir: u32,
    next_file: u64,
}

impl Tree {
    /// A folder has come. It is known until [`release`](Self::release) was
    /// called as often as [`hold`](Self::hold).
    pub(crate) fn add_dir(&mut self, parent: Option<DirKey>, name: &str) -> DirKey {
        let key = DirKey(self.next_dir);
        self.next_dir = self.next_dir.wrapping_add(1);
        if let Some(parent) = parent {
            self.hold(parent);
        }
        self.dirs.insert(key, Dir { parent, name: name.to_owned(), users: 0 });
        key
    }

    /// Something below the folder is not done.
    pub(crate) fn hold(&mut self, dir: DirKey) {
        if let Some(dir) = self.dirs.get_mut(&dir) {
            dir.users += 1;
        }
    }

    /// Something below the folder is done.
    pub(crate) fn release(&mut self, dir: DirKey) {
        if let Some(dir) = self.dirs.get_mut(&dir) {
            dir.users = dir.users.saturating_sub(1);
        }
        self.forget_done(dir);
    }

    /// Forgets a folder below which nothing is left to do, and those above it
    /// for which that is the last.
    pub(crate) fn forget_done(&mut self, dir: DirKey) {
        let mut next = Some(dir);
        while let Some(key) = next {
            if self.dirs.get(&key).is_none_or(|dir| dir.users > 0) {
                return;
            }
            next = self.dirs.remove(&key).and_then(|dir| dir.parent);
            if let Some(parent) = next.and_then(|key| self.dirs.get_mut(&key)) {
                parent.users = parent.users.saturating_sub(1);
            }
        }
    }

    /// Folders and files that are known now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.dirs.len() + self.files.len()
    }

    /// Files that have begun and are not done.
    pub(crate) fn open_files(&self) -> usize {
        self.files.len()
    }

    /// A file whose first block has come.
    pub(crate) fn open_file(&mut self) -> FileKey {
        let key = FileKey(self.next_file);
        self.next_file += 1;
        self.files.insert(key, File { missing: 1 });
        key
    }

    pub(crate) fn add_pieces(&mut self, file: FileKey, count: usize) {
        if let Some(file) = self.files.get_mut(&file) {
            file.missing += count;
        }
    }

    /// One block of the file is in place; true if it was the last.
    pub(crate) fn piece_done(&mut self, file: FileKey) -> bool {
        let Some(entry) = self.files.get_mut(&file) else { return false };
        entry.missing -= 1;
        let done = entry.missing == 0;
        if done {
            self.files.remove(&file);
        }
        done
    }

    /// Components below the root; none for the root itself.
    pub(crate) fn path(&self, parent: Option<DirKey>, name: &str) -> Vec<String> {
        let mut path = Vec::new();
        if parent.is_some() {
            path.push(name.to_owned());
        }
        let mut above = parent;
        while let Some(dir) = above.and_then(|key| self.dirs.get(&key)) {
            if dir.parent.is_some() {
                path.push(dir.name.clone());
            }
            above = dir.parent;
        }
        path.reverse();
        path
    }

    /// A path for messages.
    pub(crate) fn path_of(&self, place: &Place) -> Vec<String> {
        match place {
            Place::Entry { parent, name } => self.path(*parent, name),
            Place::Shard { dir, .. } => self.path_of_dir(*dir),
            Place::Range { .. } => Vec::new(),
        }
    }

    fn path_of_dir(&self, dir: DirKey) -> Vec<String> {
        self.dirs.get(&dir).map_or_else(Vec::new, |dir| self.path(dir.parent, &dir.name))
    }
}

fn item(cid: Cid, place: Place, claimed: u64, inner: u64) -> NewItem {
    let may_unfold = cid.codec() != codec::RAW;
    // A raw block weighs what its parent says. Of dag-pb only this is known:
    // it weighs no more than all that lies under it.
    let estimate = if may_unfold { claimed.min(inner) } else { claimed.min(BLOCK_MADE_MAX as u64) };
    NewItem { cid, place, estimate: estimate.max(1), may_unfold, claimed }
}

/// A piece of a file. dag-pb pieces that fit into a block are taken for leaves.
pub(crate) fn file_child(child: &FileChild, place: Place, inner: u64) -> NewItem {
    let leaf = child.cid.codec() == codec::RAW || child.size <= BLOCK_MADE_MAX as u64;
    let estimate = if leaf { child.size.min(BLOCK_MADE_MAX as u64) } else { inner };
    NewItem { cid: child.cid, place, estimate: estimate.max(1), may_unfold: !leaf, claimed: 0 }
}

/// The entries of a folder, each with a name that can be written to disk.
pub(crate) fn folder_children(
    dir: DirKey,
    entries: &[Entry],
    tree: &Tree,
    inner: u64,
) -> Result<Vec<NewItem>, Box<JobError>> {
    entries.iter().map(|entry| entry_item(dir, entry, tree, inner)).collect()
}

/// The buckets of the shard at this place.
pub(crate) fn shard_children(
    (dir, at): (DirKey, hamt::Place),
    cid: Cid,
    (fanout, buckets): (u32, &[ShardEntry]),
    tree: &Tree,
    inner: u64,
) -> Result<Vec<NewItem>, Box<JobError>> {
    let misfit = |_: ResolveError| JobError::BadShard { shard: Misfit(cid), path: tree.path_of_dir(dir) };
    let places = at.places(fanout, buckets).map_err(misfit)?;
    let bucket = |(entry, at): (&ShardEntry, _)| match &entry.value {
        Bucket::Sub(cid, tsize) => Ok(item(*cid, Place::Shard { dir, at }, *tsize, inner)),
        Bucket::Value(entry) => entry_item(dir, entry, tree, inner),
    };
    buckets.iter().zip(places).map(bucket).collect()
}

fn entry_item(dir: DirKey, entry: &Entry, tree: &Tree, inner: u64) -> Result<NewItem, Box<JobError>> {
    if let Err(error) = name::check(&entry.name) {
        let path = tree.path(Some(dir), &entry.name);
        return Err(Box::new(JobError::Name { path, why: error.to_string() }));
    }
    let place = Place::Entry { parent: Some(dir), name: entry.name.clone() };
    Ok(item(entry.cid, place, entry.tsize, inner))
}
