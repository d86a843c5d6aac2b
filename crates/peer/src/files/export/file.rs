//! One file of a fetch: whether the one at the destination is it already, or
//! where its bytes are staged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cap_std::fs::{OpenOptions, Permissions, PermissionsExt as _};
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, hash};
use peerage_engine::{At, FileKey};
use peerage_store::{FileId, Reference, Stat, Store};

use super::existing::{self, Found};
use super::{EDGE_MAX, Export, ExportError};

/// A file under way.
pub(super) struct Entry {
    /// Below the folder of the destination; begins with the destination's name.
    pub(super) path: PathBuf,
    size: u64,
    metadata: Metadata,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is at the destination, once it was looked at.
    found: Option<Found>,
    way: Way,
    id: Option<FileId>,
}

/// What happens to the bytes of a file.
#[derive(Default)]
enum Way {
    /// Nothing was written yet.
    #[default]
    Open,
    /// They are written to a file in staging.
    Staged(Arc<File>),
    /// The file at the destination has them, so far: those at these offsets,
    /// in these lengths.
    InPlace(BTreeMap<u64, u64>),
    /// The file at the destination has others, and is not to be touched.
    Differs,
}

impl Entry {
    pub(super) fn new(path: PathBuf, size: u64, metadata: Metadata) -> Self {
        Self { path, size, metadata, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Lets the store close its handle of a file that is written no more.
    pub(super) fn detach(&self, store: &Store) {
        if let Some(id) = self.state().id {
            store.detach_handle(id);
        }
    }
}

impl Export {
    /// Writes bytes `data` of a verified block at `offset` of a file.
    pub(crate) fn write(
        &self,
        file: FileKey,
        offset: u64,
        cid: &Cid,
        block: &Bytes,
        data: Range<usize>,
        held: bool,
    ) -> Result<(), ExportError> {
        self.check_collision()?;
        let entry = self.entry(file)?;
        let payload = &block[data.clone()];
        self.check_differs(if held { 0 } else { payload.len() as u64 })?;
        let mut state = entry.state();
        self.choose(&entry, &mut state, offset, payload)?;
        let handle = match &state.way {
            Way::Open | Way::Differs => return Ok(()),
            Way::InPlace(_) => None,
            Way::Staged(handle) => Some(Arc::clone(handle)),
        };
        let id = state.id;
        drop(state);
        if let Some(handle) = handle {
            handle.write_all_at(payload, offset).map_err(|error| self.io("write", &entry.path, error))?;
            self.staging.room().wrote(payload.len() as u64);
        }
        self.adding(cid)?;
        let (head, tail) = (&block[..data.start], &block[data.end..]);
        let leaf = !held || !payload.is_empty();
        if let Some(id) = id.filter(|_| leaf) {
            self.refer(id, offset, cid, block, payload.len(), head, tail)?;
        }
        self.added(payload.len() as u64)
    }

    /// Decides what becomes of a file, at its first bytes and whenever what
    /// was decided turns out to be wrong.
    fn choose(
        &self,
        entry: &Entry,
        state: &mut State,
        offset: u64,
        payload: &[u8],
    ) -> Result<(), ExportError> {
        let found = state.found.get_or_insert_with(|| self.existing.find(&self.staging, &entry.path));
        let overwrite = self.destination.overwrite;
        let agrees = match (&*found, &state.way) {
            (_, Way::Differs) => return Ok(()),
            (Found::Nothing, _) => true,
            (Found::File(_), Way::InPlace(matched)) if matched.contains_key(&offset) => return Ok(()),
            (Found::File(there), _) => there.stat.size <= entry.size && there.agrees(offset, payload),
            (Found::Folder, _) => {
                self.check_no_folder(&entry.path)?;
                false
            }
            (Found::Other, _) => false,
        };
        if !agrees && !overwrite {
            state.way = Way::Differs;
            self.differs(&entry.path);
            return self.check_differs(0);
        }
        match (&mut state.way, &*found) {
            (Way::Staged(_) | Way::Differs, _) => Ok(()),
            (Way::InPlace(matched), _) if agrees => {
                matched.insert(offset, payload.len() as u64);
                Ok(())
            }
            (Way::InPlace(matched), found) => {
                let matched = std::mem::take(matched);
                let (file, id) = self.stage(entry)?;
                if let Found::File(there) = found {
                    for (offset, len) in matched {
                        let named = |error| self.io("copy", &entry.path, error);
                        there.copy(&file, offset, len).map_err(named)?;
                        self.staging.room().wrote(len);
                    }
                    if !there.is_unchanged() {
                        return Err(ExportError::Changed(self.display(&entry.path)));
                    }
                }
                (state.way, state.id) = (Way::Staged(file), Some(id));
                Ok(())
            }
            (Way::Open, Found::File(there)) if agrees && there.stat.size == entry.size => {
                state.way = Way::InPlace(BTreeMap::from([(offset, payload.len() as u64)]));
                state.id = Some(self.existing_file(&entry.path)?);
                Ok(())
            }
            (Way::Open, found) => {
                if let Found::File(there) = found {
                    self.state().replaces.insert(entry.path.clone(), there.stat);
                }
                let (file, id) = self.stage(entry)?;
                (state.way, state.id) = (Way::Staged(file), Some(id));
                Ok(())
            }
        }
    }

    /// Makes a file in staging, or takes up the one of an earlier run.
    fn stage(&self, entry: &Entry) -> Result<(Arc<File>, FileId), ExportError> {
        self.staging.reserve(entry.size)?;
        let wrong = |error| self.io("make the file", &entry.path, error);
        let file = self.create(&entry.path).map_err(wrong)?;
        let made = file.metadata().map_err(wrong)?;
        self.staged(&entry.path, (made.dev(), made.ino()))?;
        let file = Arc::new(file);
        if entry.size > 0 {
            file.set_len(entry.size).map_err(|error| self.io("make room for", &entry.path, error))?;
        }
        let id = self.staging.file_id(&self.store, &entry.path)?;
        self.store.attach_handle(id, Arc::clone(&file));
        Ok((file, id))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.staging.fill();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        match self.staging.dir.open_with(path, &options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Its folder is being made by another worker just now.
                if let Some(parent) = path.parent() {
                    self.staging.dir.create_dir_all(parent)?;
                }
                self.staging.dir.open_with(path, &options)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // An earlier run has ended just after it gave the file its mode.
                self.staging.dir.set_permissions(path, Permissions::from_mode(0o600))?;
                self.staging.dir.open_with(path, &options)
            }
            result => result,
        }
        .map(cap_std::fs::File::into_std)
    }

    /// Notes where the block lies now. Inner nodes with bytes of their own have
    /// long edges, and are kept whole.
    #[expect(clippy::too_many_arguments, reason = "the parts of one record, from one caller")]
    fn refer(
        &self,
        file: FileId,
        offset: u64,
        cid: &Cid,
        block: &Bytes,
        len: usize,
        head: &[u8],
        tail: &[u8],
    ) -> Result<(), ExportError> {
        if hash::inline(cid).is_some() || block.is_empty() {
            return Ok(());
        }
        if head.len() > EDGE_MAX || tail.len() > EDGE_MAX {
            self.store.put_block(cid.hash(), block)?;
            return Ok(());
        }
        let len = u32::try_from(len).map_err(|_| ExportError::Gone)?;
        let reference = Reference { file, offset, len, head: head.to_vec(), tail: tail.to_vec() };
        self.store.put_reference(cid.hash(), &reference)?;
        Ok(())
    }

    /// All bytes of the file have been written.
    pub(crate) fn finish_file(&self, file: FileKey) -> Result<(), ExportError> {
        let Some(entry) = self.state().files.remove(&file) else { return Ok(()) };
        let mut state = entry.state();
        let Some(id) = state.id else { return Ok(()) };
        let stat = self.last_stat(&entry, &mut state, id);
        let noted = stat.and_then(|stat| {
            stat.map_or(Ok(()), |stat| self.store.set_seen(id, stat.into())).map_err(Into::into)
        });
        self.store.detach_handle(id);
        noted
    }

    fn last_stat(&self, entry: &Entry, state: &mut State, id: FileId) -> Result<Option<Stat>, ExportError> {
        match (std::mem::take(&mut state.way), state.found.take()) {
            (Way::Staged(handle), _) => {
                if !entry.metadata.is_empty() {
                    self.state().finished.push((entry.path.clone(), id, entry.metadata));
                }
                let named = |error| self.io("finish", &entry.path, error);
                Ok(Some(Stat::of(&handle.metadata().map_err(named)?)))
            }
            (Way::InPlace(_), Some(Found::File(there))) => {
                if !there.is_unchanged() {
                    return Err(ExportError::Changed(self.display(&entry.path)));
                }
                Ok(Some(there.stat))
            }
            _ => Ok(None),
        }
    }

    /// Looks whether a block already lies where it belongs: at the destination,
    /// or in what an earlier run staged.
    pub(crate) fn read_existing(&self, cid: &Cid, at: At) -> Option<Bytes> {
        let entry = self.entry(at.file).ok()?;
        let mut state = entry.state();
        let found = state.found.get_or_insert_with(|| self.existing.find(&self.staging, &entry.path));
        let at_dest = match found {
            Found::File(there) => there.read(at.offset, at.len),
            Found::Nothing | Found::Folder | Found::Other => None,
        };
        drop(state);
        if let Some(found) = at_dest.and_then(|bytes| existing::as_block(cid, bytes)) {
            return Some(found);
        }
        let (file, size) = self.staging.open_staged(&entry.path)?;
        let staged = existing::read_piece(&file, size, at.offset, at.len)?;
        let found = existing::as_block(cid, staged)?;
        self.staging.room().reuse(at.len);
        Some(found)
    }

    /// Looks whether an entry of a folder, or the root, is a file of one block
    /// that is there already.
    pub(crate) fn read_existing_entry(&self, cid: &Cid, path: &[String]) -> Option<Bytes> {
        let path = self.path(path);
        let at_dest = match self.existing.find(&self.staging, &path) {
            Found::File(there) => there.read_block(cid),
            Found::Nothing | Found::Folder | Found::Other => None,
        };
        at_dest.or_else(|| {
            let (file, size) = self.staging.open_staged(&path)?;
            let found = existing::as_whole_block(cid, &file, size)?;
            self.staging.room().reuse(size);
            Some(found)
        })
    }
}
