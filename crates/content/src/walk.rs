//! Walking a whole DAG, depth first, each node before its children: for
//! pins, verification, and the list of a root's blocks.
//!
//! The walker does not remember what it has seen. A DAG of a few nodes can
//! have exponentially many paths, so who walks a stranger's DAG keeps a set
//! and does not [`Walk::enter`] a block twice. A hash makes cycles impossible.

use crate::Cid;
use crate::limits::{DEPTH_MAX, WALK_PENDING_MAX};
use crate::node::{self, DecodeError};

/// A depth-first walk.
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
/// use peerage_content::{DirectoryBuilder, Leaf, Profile, Walk};
/// let profile = Profile::default();
/// let file = Leaf::new(&profile, b"x");
/// let mut folder = DirectoryBuilder::new(&profile);
/// folder.add("a", file.cid, 1).unwrap();
/// folder.add("b", file.cid, 1).unwrap();
/// let built = folder.finish().unwrap();
/// let store = BTreeMap::from([(built.cid, built.blocks[0].data.clone()), (file.cid, "x".into())]);
///
/// let mut walk = Walk::new(built.cid);
/// let mut seen = BTreeSet::new();
/// while let Some(visit) = walk.next() {
///     if seen.insert(visit.cid) && !visit.leaf {
///         walk.enter(&visit, &store[&visit.cid]).unwrap();
///     }
/// }
/// assert_eq!(seen.len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Walk {
    /// CIDs still to visit with their depths, the next one last.
    pending: Vec<(Cid, usize)>,
}

/// A block of the DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// The block.
    pub cid: Cid,
    /// Nodes above it; 0 for the root.
    pub depth: usize,
    /// Whether blocks of its codec have no links, as raw ones, or none that
    /// this crate finds, so that entering it is of no use.
    pub leaf: bool,
}

/// Why a DAG cannot be walked on. The maker of its blocks is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A block is not what it should be.
    #[error("block {cid}: {error}")]
    Decode {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        error: Box<DecodeError>,
    },
    /// More levels than [`DEPTH_MAX`].
    #[error("block {0} is nested too deeply")]
    TooDeep(Cid),
    /// More blocks to visit than [`WALK_PENDING_MAX`].
    #[error("block {0} has too many links")]
    TooWide(Cid),
}

impl Walk {
    /// A walk that starts with `root`.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self { pending: vec![(root, 0)] }
    }

    /// The next block; none at the end.
    #[expect(clippy::should_implement_trait, reason = "a walk is fed between its steps")]
    pub fn next(&mut self) -> Option<Visit> {
        let (cid, depth) = self.pending.pop()?;
        Some(Visit { cid, depth, leaf: !node::has_links(cid.codec()) })
    }

    /// Goes on to the children of a block, which has been verified; without
    /// this they are left out. Returns how many links it has.
    ///
    /// # Errors
    /// See [`WalkError`]. The walk can go on without this block's children.
    pub fn enter(&mut self, visit: &Visit, block: &[u8]) -> Result<usize, WalkError> {
        let cid = visit.cid;
        let links =
            node::links(&cid, block).map_err(|error| WalkError::Decode { cid, error: Box::new(error) })?;
        if !links.is_empty() && visit.depth + 1 >= DEPTH_MAX {
            return Err(WalkError::TooDeep(cid));
        }
        if self.pending.len() + links.len() > WALK_PENDING_MAX {
            return Err(WalkError::TooWide(cid));
        }
        self.pending.extend(links.iter().rev().map(|&link| (link, visit.depth + 1)));
        Ok(links.len())
    }

    /// Up to `limit` blocks that come next, the next first; for fetching ahead.
    pub fn ahead(&self, limit: usize) -> impl Iterator<Item = Cid> {
        self.pending.iter().rev().take(limit).map(|&(cid, _)| cid)
    }
}
