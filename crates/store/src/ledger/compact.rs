//! Rewriting the journal without what is dead.

use super::Ledger;
use crate::config::MAX_ENDED_TREES;
use crate::error::WriteError;
use crate::facts::{Fact, FileId, TreeId};

/// Dead records beyond which the journal is rewritten, if they are also most of it.
const MIN_DEAD: usize = 4096;

impl Ledger {
    /// Rewrites the journal if it is mostly dead.
    pub(crate) fn compact_if_dead(&mut self) -> Result<bool, WriteError> {
        let live = self.state.records();
        let dead = self.appended.saturating_sub(live);
        let many = dead >= MIN_DEAD && dead >= live;
        if !many && self.state.files.ended() < MAX_ENDED_TREES {
            return Ok(false);
        }
        self.compact()?;
        Ok(true)
    }

    /// Rewrites the journal, and the table of files with it.
    pub(crate) fn compact(&mut self) -> Result<(), WriteError> {
        let mut rewrite = self.journal.rewrite()?;
        for fact in self.state.facts_before_files() {
            rewrite.append(&fact.encode())?;
        }
        let mut files = self.state.files.empty();
        let mut next = Some(FileId(0));
        while let Some(from) = next
            && let Some((id, slot)) = self.state.files.next_live(from)?
        {
            let (path, seen) = self.record(id, slot)?;
            let fact = Fact::FileAdded(id, TreeId(slot.tree), path, seen);
            let at = rewrite.append(&fact.encode())?;
            if let Fact::FileAdded(id, tree, path, _) = fact {
                files.add(id, tree, &path, at)?;
            }
            next = id.0.checked_add(1).map(FileId);
        }
        for fact in self.state.facts_after_files() {
            rewrite.append(&fact.encode())?;
        }
        self.state.dropped.try_for_each(|pack, offset, key| {
            rewrite.append(&Fact::LocationDropped(pack, offset, key).encode()).map(drop)
        })?;
        self.journal.replace(rewrite)?;
        self.state.files = files;
        self.appended = self.state.records();
        Ok(self.journal.sync_name()?)
    }
}
