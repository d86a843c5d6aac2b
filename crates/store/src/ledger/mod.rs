//! What the journal says, and every change to it. Trees, pins, roots and the
//! like are in memory; of files only where their records are, see
//! [`FileTable`], and the records are read back when they are asked for.

mod compact;
mod files;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peerage_content::Cid;

use crate::disk::{Disk, File};
use crate::error::WriteError;
use crate::facts::{Download, DownloadId, Fact, Pin, PinKind, Root, RootId, TreeId};
use crate::files::{FileTable, Tuning};
use crate::journal::{Journal, JournalError};
use crate::key::RepoKey;
use crate::notice::OpenReport;
use crate::pack::dropped::Dropped;
use crate::scratch::ScratchRoom;
use crate::stat::path_bytes;
use state::State;

/// Ids reserved at a time. 4,096: one small record per that many files.
const ID_STEP: u64 = 4096;

/// Journal and state, changed together.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    state: State,
    next_id: u64,
    /// Ids below this are reserved on disk.
    reserved: u64,
    /// What the disk said when it could not keep a reservation.
    broken: Option<String>,
    /// Nothing more is recorded.
    closed: bool,
    pub(crate) appended: usize,
}

impl Ledger {
    /// Of the repository in `dir`, whose journal is created if it is not there.
    /// `known_key` is the repository's key if that is new or damaged.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        tuning: Tuning,
        known_key: impl FnOnce() -> io::Result<RepoKey>,
        report: &mut OpenReport,
    ) -> Result<(Self, RepoKey), JournalError> {
        let room = Arc::new(ScratchRoom::new(disk, &dir.join("files.tmp")));
        let begin = |key| State::new(FileTable::new(&room, key, tuning));
        let take = |state: &mut State, at, payload: &[u8]| match Fact::decode(payload) {
            Some(fact) => state.apply(fact, at).map(|()| true),
            None => Ok(false),
        };
        let (journal, key, replay) = Journal::open(disk, &dir.join("journal"), known_key, begin, take)?;
        room.keep_to_disk();
        report.journal_cut_bytes = replay.cut_bytes;
        report.journal_copied_to = replay.copied_to;
        report.journal_restored = replay.restored;
        let mut state = replay.state;
        // A damaged reservation must not lead to an id given twice, nor when what
        // shows that it was given is no longer in the journal.
        state.reserved = state.reserved.max(state.last_id.saturating_add(1));
        let next_id = state.reserved;
        let (reserved, broken, appended) = (next_id, None, replay.records);
        Ok((Self { journal, state, next_id, reserved, broken, closed: false, appended }, key))
    }

    /// Records a fact and acts on it. It waits in memory; see [`flush`](Self::flush).
    pub(crate) fn add(&mut self, fact: Fact) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        let payload = fact.encode();
        let limit = crate::config::MAX_JOURNAL_RECORD;
        if payload.len() > limit {
            return Err(WriteError::TooLong { what: "record", len: payload.len(), limit });
        }
        // What may fail comes first: a record without its effect would be told
        // as an error and yet be true when the journal is opened again.
        match &fact {
            Fact::FileAdded(id, ..) => self.state.files.prepare_add(*id)?,
            Fact::FileSeen(id, _) | Fact::FileRemoved(id) => drop(self.state.files.live(*id)?),
            _ => {}
        }
        let at = self.journal.append(&payload)?;
        self.appended += 1;
        Ok(self.state.apply(fact, at)?)
    }

    /// An id that no repository with this journal has given before.
    pub(crate) fn new_id(&mut self) -> Result<u64, WriteError> {
        if self.next_id >= self.reserved {
            let reserved = self.next_id + ID_STEP;
            self.add(Fact::IdsReserved(reserved))?;
            // Before anything can refer to such an id from a pack, which may be on
            // disk before the journal is.
            self.journal.flush()?;
            if let Err(error) = self.journal.handles().iter().try_for_each(|file| file.sync()) {
                self.broken = Some(error.to_string());
                self.journal.mark_unsynced();
            }
            self.check_synced()?;
            self.reserved = reserved;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Records nothing more; what waits is still flushed.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.journal.flush()?)
    }

    /// Flushes and gives the handles to sync.
    pub(crate) fn flushed_handles(&mut self) -> Result<Vec<File>, WriteError> {
        self.check_synced()?;
        self.journal.flush()?;
        Ok(self.journal.handles())
    }

    pub(super) fn check_synced(&self) -> Result<(), WriteError> {
        self.broken.clone().map_or(Ok(()), |cause| Err(WriteError::Unsynced(cause)))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    pub(crate) fn has_tree(&self, id: TreeId) -> bool {
        self.state.trees.contains_key(&id)
    }

    pub(crate) fn any_removed(&self) -> bool {
        self.state.any_removed
    }

    pub(crate) fn trees(&self) -> Vec<(TreeId, PathBuf)> {
        self.state.trees.iter().map(|(id, base)| (*id, base.clone())).collect()
    }

    pub(crate) fn pin(&self, cid: &Cid, kind: PinKind) -> Option<Pin> {
        self.state.pins.get(&(cid.to_bytes(), kind)).cloned()
    }

    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.state.pins.values().cloned().collect()
    }

    pub(crate) fn has_pin(&self, cid: &Cid, kind: PinKind) -> bool {
        self.state.pins.contains_key(&(cid.to_bytes(), kind))
    }

    pub(crate) fn roots(&self) -> Vec<(RootId, Root)> {
        self.state.roots.iter().map(|(id, root)| (*id, root.clone())).collect()
    }

    pub(crate) fn root(&self, id: RootId) -> Option<&Root> {
        self.state.roots.get(&id)
    }

    pub(crate) fn downloads(&self) -> Vec<(DownloadId, Download)> {
        self.state.downloads.iter().map(|(id, download)| (*id, download.clone())).collect()
    }

    pub(crate) fn has_download(&self, id: DownloadId) -> bool {
        self.state.downloads.contains_key(&id)
    }

    /// Locations known to be wrong, to be shared with the packs. Those of packs
    /// that are gone are forgotten there, and at the next rewrite of the journal
    /// their records go too.
    pub(crate) fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.state.dropped)
    }
}

/// Checks what a caller gave as a path.
pub(crate) fn check_path(path: &Path) -> Result<(), WriteError> {
    let (len, limit) = (path_bytes(path).len(), crate::config::MAX_PATH_BYTES);
    if len > limit { Err(WriteError::TooLong { what: "path", len, limit }) } else { Ok(()) }
}
