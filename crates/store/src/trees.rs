//! Trees and files of users, pins, unfinished downloads: what the journal keeps.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peerage_content::Cid;

use crate::Multihash;
use crate::config::{MAX_NOTE_BYTES, MAX_PATH_BYTES};
use crate::error::{ReadError, WriteError};
use crate::facts::{Download, DownloadId, Fact, FileId, Pin, PinKind, Seen, TreeId};
use crate::ledger::check_path;
use crate::pack::record::Reference;
use crate::pack::set::lock;
use crate::stat::Stat;
use crate::store::Store;

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id.
    pub id: FileId,
    /// Relative to the tree's base; empty if the base is the file.
    pub path: PathBuf,
}

/// Files read at once by [`FilesIn`]. 256: some 20 KiB, and as long as others wait.
const FILES_AT_ONCE: usize = 256;

/// The files of a tree, as [`Store::files_in`] gives them. After an error it ends.
#[derive(Debug)]
pub struct FilesIn {
    store: Store,
    tree: TreeId,
    read: std::vec::IntoIter<FileRecord>,
    /// Where to read on; `None` at the end.
    next: Option<FileId>,
}

impl FilesIn {
    fn read_on(&mut self) -> Result<(), ReadError> {
        let Some(from) = self.next.take() else { return Ok(()) };
        let found = lock(&self.store.inner.ledger).files_of(self.tree, from, FILES_AT_ONCE)?;
        if found.len() == FILES_AT_ONCE {
            self.next = found.last().and_then(|(id, _)| id.0.checked_add(1)).map(FileId);
        }
        let records: Vec<FileRecord> = found.into_iter().map(|(id, path)| FileRecord { id, path }).collect();
        self.read = records.into_iter();
        Ok(())
    }
}

impl Iterator for FilesIn {
    type Item = Result<FileRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.len() == 0
            && let Err(error) = self.read_on()
        {
            return Some(Err(error));
        }
        self.read.next().map(Ok)
    }
}

impl Store {
    /// Adds a folder, or a single file, whose pieces blocks will refer to.
    /// `base` is absolute; it may lead through symlinks, what is below it may not.
    ///
    /// # Errors
    /// A path over 4,096 bytes, or the disk's.
    pub fn add_tree(&self, base: &Path) -> Result<TreeId, WriteError> {
        check_path(base)?;
        let mut ledger = lock(&self.inner.ledger);
        let id = TreeId(ledger.new_id()?);
        ledger.add(Fact::TreeAdded(id, base.to_path_buf()))?;
        ledger.flush()?;
        Ok(id)
    }

    /// Adds a file of a tree by its path relative to the tree's base (empty if
    /// the base is the file). Buffered until [`commit`](Self::commit).
    ///
    /// # Errors
    /// An unknown tree, a path over 4,096 bytes, or the disk's.
    pub fn add_file(&self, tree: TreeId, path: &Path, seen: Option<Seen>) -> Result<FileId, WriteError> {
        check_path(path)?;
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_tree(tree) {
            return Err(WriteError::Unknown { what: "tree", id: tree.0 });
        }
        let id = FileId(ledger.new_id()?);
        ledger.add(Fact::FileAdded(id, tree, path.to_path_buf(), seen))?;
        Ok(id)
    }

    /// Records what a file looks like now that its blocks are known to be
    /// right: after a share hashed it, or after a download's final rename.
    /// Nothing, if no more than that is recorded already. Buffered until
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// An unknown file, or the disk's.
    pub fn set_seen(&self, file: FileId, seen: Seen) -> Result<(), WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_file(file)? {
            return Err(WriteError::Unknown { what: "file", id: file.0 });
        }
        self.inner.users.set_there(file);
        match ledger.seen(file)? {
            Some(known) if known.stat == seen.stat && (seen.root.is_none() || known == seen) => Ok(()),
            _ => ledger.add(Fact::FileSeen(file, seen)),
        }
    }

    /// What [`set_seen`](Self::set_seen) or [`add_file`](Self::add_file) last
    /// said of a file; `None` also if the disk cannot tell.
    #[must_use]
    pub fn seen(&self, file: FileId) -> Option<Seen> {
        lock(&self.inner.ledger).seen(file).ok().flatten()
    }

    /// Whether any change to a file after now would show in its stat: its
    /// times are older than [`Config::time_grain`](crate::Config::time_grain).
    #[must_use]
    pub fn is_settled(&self, stat: &Stat) -> bool {
        self.inner.users.is_settled(stat)
    }

    /// The caller hashed the block of `reference`, which it read after the file had `stat`,
    /// a [settled](Self::is_settled) one: it is not hashed again as long as the file has that.
    pub fn trust_hashed(&self, mh: &Multihash, reference: &Reference, stat: &Stat) {
        self.inner.users.trust_hashed(mh, reference, stat);
    }

    /// Says that a tree is elsewhere now: one record, whatever its size.
    /// Handles that are open stay good.
    ///
    /// # Errors
    /// An unknown tree, a path over 4,096 bytes, or the disk's.
    pub fn move_tree(&self, tree: TreeId, base: &Path) -> Result<(), WriteError> {
        check_path(base)?;
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_tree(tree) {
            return Err(WriteError::Unknown { what: "tree", id: tree.0 });
        }
        ledger.add(Fact::TreeAdded(tree, base.to_path_buf()))?;
        ledger.flush()
    }

    /// Forgets a tree and its files; blocks that were only there are gone. No
    /// file of the user's is touched.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_tree(&self, tree: TreeId) -> Result<(), WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        ledger.add(Fact::TreeRemoved(tree))?;
        ledger.flush()?;
        // If the disk does not say whether a file is gone, its handle stays until
        // others take its place.
        self.inner.users.forget(&mut |file| matches!(ledger.has_file(file), Ok(false)));
        Ok(())
    }

    /// Forgets a tree that has no files, as by an import that ended early; one
    /// to which somebody else has added files meanwhile stays. False if it does.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_tree_if_empty(&self, tree: TreeId) -> Result<bool, WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        if ledger.has_files_in(tree) {
            return Ok(false);
        }
        ledger.add(Fact::TreeRemoved(tree))?;
        ledger.flush()?;
        Ok(true)
    }

    /// Forgets one file; see [`remove_tree`](Self::remove_tree).
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_file(&self, file: FileId) -> Result<(), WriteError> {
        lock(&self.inner.ledger).add(Fact::FileRemoved(file))?;
        self.inner.users.detach(file);
        self.inner.users.close(file);
        Ok(())
    }

    /// All trees and their bases.
    #[must_use]
    pub fn trees(&self) -> Vec<(TreeId, PathBuf)> {
        lock(&self.inner.ledger).trees()
    }

    /// The files of a tree in the order of their addition, all in memory; see
    /// [`files_in`](Self::files_in) for many. Those that the disk cannot tell are left out.
    #[must_use]
    pub fn files_of(&self, tree: TreeId) -> Vec<FileRecord> {
        self.files_in(tree).map_while(Result::ok).collect()
    }

    /// The files of a tree in the order of their addition, a few at a time in
    /// memory. What is added meanwhile comes too; what is removed may still come.
    #[must_use]
    pub fn files_in(&self, tree: TreeId) -> FilesIn {
        FilesIn { store: self.clone(), tree, read: Vec::new().into_iter(), next: Some(FileId(0)) }
    }

    /// The file of a tree with this path relative to its base, the one that was
    /// added last if several were. Costs a page or two of disk, whatever there is.
    ///
    /// # Errors
    /// The disk's.
    pub fn file_by_path(&self, tree: TreeId, path: &Path) -> Result<Option<FileId>, ReadError> {
        Ok(lock(&self.inner.ledger).file_by_path(tree, path)?)
    }

    /// Whether a tree has any files.
    #[must_use]
    pub fn has_files_in(&self, tree: TreeId) -> bool {
        lock(&self.inner.ledger).has_files_in(tree)
    }

    /// Base and relative path of a file; `None` also if the disk cannot tell.
    #[must_use]
    pub fn file_path(&self, file: FileId) -> Option<(PathBuf, PathBuf)> {
        lock(&self.inner.ledger).file(file).ok().flatten()
    }

    /// Reads a file that we are writing through this handle until
    /// [`detach_handle`](Self::detach_handle). References put meanwhile are
    /// trusted as hashed: whoever puts them hashed what he wrote.
    pub fn attach_handle(&self, file: FileId, handle: Arc<File>) {
        self.inner.users.attach(file, handle);
    }

    /// From now on the file is read by its path, as any file of the user's.
    pub fn detach_handle(&self, file: FileId) {
        self.inner.users.detach(file);
    }

    /// Adds a pin, or renames it. In the kernel on return; [`commit`](Self::commit)
    /// before success is reported to a user.
    ///
    /// # Errors
    /// A name over 4,096 bytes, or the disk's.
    pub fn add_pin(&self, pin: &Pin) -> Result<(), WriteError> {
        check_name(&pin.name)?;
        let mut ledger = lock(&self.inner.ledger);
        ledger.add(Fact::PinAdded(pin.clone()))?;
        ledger.flush()
    }

    /// Removes a pin; false if there was none.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_pin(&self, cid: &Cid, kind: PinKind) -> Result<bool, WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_pin(cid, kind) {
            // It may be gone since a removal that failed only now reaches the disk.
            ledger.flush()?;
            return Ok(false);
        }
        ledger.add(Fact::PinRemoved(*cid, kind))?;
        ledger.flush()?;
        Ok(true)
    }

    /// The pin of this CID and kind, if there is one.
    #[must_use]
    pub fn pin(&self, cid: &Cid, kind: PinKind) -> Option<Pin> {
        lock(&self.inner.ledger).pin(cid, kind)
    }

    /// All pins, by CID.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        lock(&self.inner.ledger).pins()
    }

    /// Records a download that begins.
    ///
    /// # Errors
    /// A path or note over 4,096 bytes, or the disk's.
    pub fn start_download(&self, download: &Download) -> Result<DownloadId, WriteError> {
        check_download(download)?;
        let mut ledger = lock(&self.inner.ledger);
        let id = DownloadId(ledger.new_id()?);
        ledger.add(Fact::DownloadStarted(id, download.clone()))?;
        ledger.flush()?;
        Ok(id)
    }

    /// Replaces what is known of a download.
    ///
    /// # Errors
    /// An unknown download, a path or note over 4,096 bytes, or the disk's.
    pub fn update_download(&self, id: DownloadId, download: &Download) -> Result<(), WriteError> {
        check_download(download)?;
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_download(id) {
            return Err(WriteError::Unknown { what: "download", id: id.0 });
        }
        ledger.add(Fact::DownloadStarted(id, download.clone()))?;
        ledger.flush()
    }

    /// Forgets a download that is done or given up.
    ///
    /// # Errors
    /// The disk's.
    pub fn end_download(&self, id: DownloadId) -> Result<(), WriteError> {
        let mut ledger = lock(&self.inner.ledger);
        ledger.add(Fact::DownloadEnded(id))?;
        ledger.flush()
    }

    /// Downloads that did not end, the oldest first.
    #[must_use]
    pub fn downloads(&self) -> Vec<(DownloadId, Download)> {
        lock(&self.inner.ledger).downloads()
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), WriteError> {
    if name.len() > MAX_PATH_BYTES {
        return Err(WriteError::TooLong { what: "name", len: name.len(), limit: MAX_PATH_BYTES });
    }
    Ok(())
}

fn check_download(download: &Download) -> Result<(), WriteError> {
    check_path(&download.dest)?;
    check_path(&download.staging)?;
    if download.note.len() > MAX_NOTE_BYTES {
        return Err(WriteError::TooLong { what: "note", len: download.note.len(), limit: MAX_NOTE_BYTES });
    }
    Ok(())
}
