//! A DAG as a CARv1: depth first, each node before its children, links in
//! their order.

use std::sync::Arc;

use bytes::Bytes;
use peerage_content::{Cid, Visit, Walk, WalkError, car, hash};
use peerage_engine::Sources;
use peerage_store::WriteError;

use crate::peer::Peer;
use crate::query::{AHEAD, Query, QueryError};
use crate::seen::Seen;

/// Why a DAG was not written as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CarExportError {
    /// Part of it cannot be had.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The DAG makes no sense.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The repository's disk, where it is noted what was written already.
    #[error("the repository: {0}")]
    Store(#[from] WriteError),
}

/// Some bytes of a CAR: a head of ours, and a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarPiece {
    /// The CAR's header, or what stands before a block.
    pub head: Vec<u8>,
    /// The block; empty after the header.
    pub block: Bytes,
}

/// A CAR that is being made. Dropped, it stops.
pub struct CarExport {
    peer: Peer,
    query: Query,
    walk: Walk,
    /// Of which blocks no second copy is written; none if all are.
    seen: Option<Arc<Seen>>,
    /// Written before anything else.
    header: Option<Vec<u8>>,
    blocks: u64,
}

impl Peer {
    /// Makes a CARv1 of the whole DAG below `root`, whose blocks come from the
    /// store or from `sources`. With `dups` a block is written wherever the walk
    /// meets it, else once. Memory does not depend on the DAG.
    ///
    /// Blocks of identity CIDs are in the CIDs and not written, as others expect.
    #[must_use]
    pub fn export_car(&self, root: Cid, sources: Sources, dups: bool) -> CarExport {
        CarExport {
            peer: self.clone(),
            query: self.query(root, sources),
            walk: Walk::new(root),
            seen: (!dups).then(|| Arc::new(Seen::new(self.store()))),
            header: Some(car::header(&[root])),
            blocks: 0,
        }
    }
}

impl CarExport {
    /// The next bytes of the file; `None` at its end.
    ///
    /// # Errors
    /// See [`CarExportError`]. What was given out is no whole CAR then.
    pub async fn next(&mut self) -> Result<Option<CarPiece>, CarExportError> {
        if let Some(head) = self.header.take() {
            return Ok(Some(CarPiece { head, block: Bytes::new() }));
        }
        while let Some(visit) = self.walk.next() {
            if let Some(block) = hash::inline(&visit.cid) {
                self.walk.enter(&visit, block)?;
                continue;
            }
            if !self.is_due(&visit).await? {
                continue;
            }
            let block = self.query.block(visit.cid).await?;
            self.walk.enter(&visit, &block)?;
            self.blocks += 1;
            let head = car::section_head(&visit.cid, block.len());
            return Ok(Some(CarPiece { head, block }));
        }
        Ok(None)
    }

    /// Blocks given out so far.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether the block is to be written. Asks for it and for those after it.
    async fn is_due(&mut self, visit: &Visit) -> Result<bool, WriteError> {
        let cid = visit.cid;
        let mut ahead: Vec<Cid> = self.walk.ahead(AHEAD).filter(|cid| hash::inline(cid).is_none()).collect();
        if let Some(seen) = &self.seen {
            let seen = Arc::clone(seen);
            let look = move |_: &_| {
                ahead.retain(|cid| !seen.contains(cid));
                Ok((seen.is_new(&cid)?, ahead))
            };
            let (is_new, left) = self.peer.with_store(look).await?;
            if !is_new {
                return Ok(false);
            }
            ahead = left;
        }
        self.query.ask(cid);
        ahead.into_iter().for_each(|cid| self.query.ask(cid));
        Ok(true)
    }
}
