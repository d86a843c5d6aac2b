//! Which blocks are served now: those of the roots that are shared, kept or
//! being fetched. Everything else looks as if it were not here. And of shared
//! roots, who was sent what.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use peerage_content::{Cid, Multihash};
use peerage_identity::PeerId;
use peerage_store::{RootSet, RootSetBuilder};

use crate::tally::{Moment, Tally};

/// The blocks of one root.
#[derive(Clone)]
pub(crate) enum Blocks {
    /// Complete, on disk.
    Whole(Arc<RootSet>),
    /// Still arriving.
    Growing(Arc<RootSetBuilder>),
    /// Complete, and it is counted who was sent which.
    Counted(Arc<Tally>),
}

impl Blocks {
    fn contains(&self, hash: &Multihash) -> bool {
        match self {
            Self::Whole(set) => set.contains(hash),
            Self::Growing(set) => set.contains(hash),
            Self::Counted(tally) => tally.set().contains(hash),
        }
    }

    fn tally(&self) -> Option<&Tally> {
        match self {
            Self::Counted(tally) => Some(tally),
            Self::Whole(_) | Self::Growing(_) => None,
        }
    }
}

/// A share of which a peer was sent everything at some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAll {
    pub(crate) peer: PeerId,
    pub(crate) root: Cid,
    number: u64,
    moment: Moment,
}

/// The roots that are served, shared by all who ask and all who serve.
#[derive(Clone, Default)]
pub(crate) struct ServedRoots(Arc<RwLock<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    roots: BTreeMap<u64, (Cid, Blocks)>,
}

/// A root is served while this lives.
pub(crate) struct Serving {
    table: ServedRoots,
    number: u64,
}

impl Table {
    fn tallies(&self) -> impl Iterator<Item = (u64, &Cid, &Tally)> {
        self.roots.iter().filter_map(|(number, (root, blocks))| Some((*number, root, blocks.tally()?)))
    }
}

impl ServedRoots {
    /// Whether a block with this hash belongs to a root that is served.
    pub(crate) fn serves(&self, hash: &Multihash) -> bool {
        self.read().roots.values().any(|(_, blocks)| blocks.contains(hash))
    }

    /// Serves the blocks of a root until the returned guard is dropped.
    pub(crate) fn serve(&self, root: Cid, blocks: Blocks) -> Serving {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        table.roots.insert(number, (root, blocks));
        Serving { table: self.clone(), number }
    }

    /// Whether [`note_sent`](Self::note_sent) is to be called for this peer.
    /// Unlike that it reads no file.
    pub(crate) fn counts(&self, peer: &PeerId) -> bool {
        self.read().tallies().any(|(_, _, tally)| tally.counts(peer))
    }

    /// A block was sent: the shares of which the peer was sent everything now.
    pub(crate) fn note_sent(&self, peer: PeerId, block: &Multihash) -> Vec<SentAll> {
        let table = self.read();
        let sent = |(number, root, tally): (u64, &Cid, &Tally)| {
            let moment = tally.note_sent(peer, block)?;
            Some(SentAll { peer, root: *root, number, moment })
        };
        table.tallies().filter_map(sent).collect()
    }

    /// The bytes of that share's blocks, once, if the peer was sent nothing
    /// more of it since then.
    pub(crate) fn settle(&self, sent: &SentAll) -> Option<u64> {
        let table = self.read();
        let tally = table.roots.get(&sent.number)?.1.tally()?;
        tally.settle(&sent.peer, sent.moment).then(|| tally.total())
    }

    /// The peer says itself how much of this root it has.
    pub(crate) fn leave_to_itself(&self, root: &Cid, peer: PeerId) {
        for (_, _, tally) in self.read().tallies().filter(|(_, shared, _)| *shared == root) {
            tally.leave_to_itself(peer);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut table = self.table.0.write().unwrap_or_else(PoisonError::into_inner);
        table.roots.remove(&self.number);
    }
}
