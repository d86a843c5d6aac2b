//! Rewriting the journal without what is dead, in steps: others read and add
//! between them.
//!
//! The new journal begins with what is true when it is begun, files a few at a
//! time; then come the records that were added meanwhile, as they are. What is
//! said twice that way is said in order, so the last word is the same.

use super::Ledger;
use super::state::State;
use crate::config::MAX_ENDED_TREES;
use crate::error::WriteError;
use crate::facts::{Fact, FileId, TreeId};
use crate::journal::{Rewrite, damaged};

/// Dead records beyond which the journal is rewritten, if they are also most of it.
const MIN_DEAD: usize = 4096;

/// Records that one step writes. 256: well under a millisecond.
const STEP_RECORDS: usize = 256;

/// Bytes of records that may be left for the last step. 64 KiB: what may wait in
/// memory anyway.
const LAST_BYTES: u64 = 64 << 10;

/// A rewrite under way.
pub(crate) struct Compaction {
    rewrite: Rewrite,
    /// What the new journal says.
    state: State,
    records: usize,
    /// The next file to be written; `None` when all are.
    next: Option<FileId>,
    /// Files from here on are told of by records that are added meanwhile.
    end: FileId,
    /// Up to where the old journal was taken over.
    taken: u64,
    generation: u64,
}

impl Compaction {
    fn add(&mut self, fact: Fact) -> Result<(), WriteError> {
        self.add_encoded(&fact.encode(), fact)
    }

    fn add_encoded(&mut self, payload: &[u8], fact: Fact) -> Result<(), WriteError> {
        let at = self.rewrite.append(payload)?;
        self.records += 1;
        Ok(self.state.apply(fact, at)?)
    }

    /// Hands what was written so far to the disk, which may take long; no lock is needed.
    pub(crate) fn sync(&mut self) -> Result<(), WriteError> {
        Ok(self.rewrite.sync()?)
    }
}

impl Ledger {
    /// Whether the journal is mostly dead.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        let live = self.state.records();
        let dead = self.appended.saturating_sub(live);
        (dead >= MIN_DEAD && dead >= live) || self.state.files.ended() >= MAX_ENDED_TREES
    }

    /// Rewrites the journal in one go.
    pub(crate) fn compact(&mut self) -> Result<(), WriteError> {
        let mut compaction = self.begin_compaction()?;
        while self.step(&mut compaction)? {}
        self.finish(compaction)
    }

    /// Begins a rewrite.
    pub(crate) fn begin_compaction(&mut self) -> Result<Compaction, WriteError> {
        // What waits in memory is taken over from the file.
        self.journal.flush()?;
        let mut compaction = Compaction {
            rewrite: self.journal.rewrite()?,
            state: State::new(self.state.files.empty()),
            records: 0,
            next: Some(FileId(0)),
            end: FileId(self.state.last_id.max(self.next_id).saturating_add(1)),
            taken: self.journal.bytes(),
            generation: self.journal.generation(),
        };
        for fact in self.state.facts_without_files() {
            compaction.add(fact)?;
        }
        self.state
            .dropped
            .try_for_each(|pack, offset, key| compaction.add(Fact::LocationDropped(pack, offset, key)))?;
        Ok(compaction)
    }

    /// Does some of it; false when [`finish`](Self::finish) may be called, which is
    /// at once if somebody else has rewritten the journal meanwhile.
    pub(crate) fn step(&mut self, compaction: &mut Compaction) -> Result<bool, WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        if compaction.generation != self.journal.generation() {
            return Ok(false);
        }
        if compaction.next.is_some() {
            self.copy_files(compaction)?;
            return Ok(true);
        }
        self.journal.flush()?;
        if self.journal.bytes() - compaction.taken <= LAST_BYTES {
            return Ok(false);
        }
        self.take_over(compaction, STEP_RECORDS)?;
        Ok(true)
    }

    fn copy_files(&mut self, compaction: &mut Compaction) -> Result<(), WriteError> {
        for _ in 0..STEP_RECORDS {
            let Some(from) = compaction.next.take() else { break };
            let found = self.state.files.next_live(from)?.filter(|(id, _)| *id < compaction.end);
            let Some((id, slot)) = found else { break };
            let (path, seen) = self.record(id, slot)?;
            compaction.add(Fact::FileAdded(id, TreeId(slot.tree), path, seen))?;
            compaction.next = id.0.checked_add(1).map(FileId);
        }
        Ok(())
    }

    fn take_over(&mut self, compaction: &mut Compaction, limit: usize) -> Result<(), WriteError> {
        let mut failed = None;
        let taken = self.journal.replay(compaction.taken, limit, &mut |payload| {
            let fact = Fact::decode(payload).ok_or_else(damaged)?;
            if failed.is_none() {
                failed = compaction.add_encoded(payload, fact).err();
            }
            Ok(())
        })?;
        compaction.taken = taken;
        failed.map_or(Ok(()), Err)
    }

    /// Puts the new journal in the place of the old one, unless somebody else has
    /// done so meanwhile.
    pub(crate) fn finish(&mut self, mut compaction: Compaction) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        if compaction.generation != self.journal.generation() {
            return Ok(());
        }
        self.journal.flush()?;
        while compaction.taken < self.journal.bytes() {
            self.take_over(&mut compaction, STEP_RECORDS)?;
        }
        let Compaction { rewrite, state, records, .. } = compaction;
        self.journal.replace(rewrite)?;
        // The packs share the list of dropped locations, so it stays.
        let before = std::mem::replace(&mut self.state, state);
        self.state.dropped = before.dropped;
        self.state.reserved = self.state.reserved.max(before.reserved);
        self.state.last_id = self.state.last_id.max(before.last_id);
        self.appended = records;
        if let Err(error) = self.journal.sync_name() {
            // What is added from now on would go with the name, whatever the next sync says.
            self.broken = Some(error.to_string());
            self.journal.mark_unsynced();
        }
        self.check_synced()
    }
}
