//! A block that we made.

use bytes::Bytes;

use crate::dagpb::PbNode;
use crate::profile::Profile;
use crate::{Cid, codec};

/// A block and its name. Made by the builders of this crate, so they match.
///
/// Where the profile inlines small blocks the name may hold the block
/// ([`crate::hash::inline`]); such a block is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The name.
    pub cid: Cid,
    /// The bytes.
    pub data: Bytes,
}

impl Block {
    /// The block of a dag-pb node.
    pub(crate) fn dag_pb(profile: &Profile, data: Bytes) -> Self {
        Self { cid: profile.cid_of(codec::DAG_PB, &[&data]), data }
    }
}

/// Bytes of the whole DAG under a node whose block has `len` bytes.
pub(crate) fn tsize(len: usize, node: &PbNode<'_>) -> u64 {
    let links = node.links.iter().map(|link| link.tsize.unwrap_or(0));
    links.fold(len as u64, u64::saturating_add)
}
