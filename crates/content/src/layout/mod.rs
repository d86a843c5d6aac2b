//! Inner nodes of files, in the two layouts that Kubo makes. Leaves come in order,
//! nodes go out as they fill; what is held is one unfinished node per level.

mod balanced;
mod trickle;

use bytes::Bytes;

use crate::Cid;
use crate::block::{Block, tsize};
use crate::dagpb::{self, Link, PbNode};
use crate::profile::{Layout, Profile};
use crate::unixfs::{Data, Kind, Metadata};
use balanced::Balanced;
use trickle::Trickle;

/// A leaf or finished node, as its parent will tell of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub(crate) cid: Cid,
    /// Bytes of the file under it.
    pub(crate) size: u64,
    /// Bytes of all blocks under it.
    pub(crate) tsize: u64,
}

/// The root of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root {
    pub(crate) child: Child,
    /// It is the only leaf.
    pub(crate) is_leaf: bool,
}

/// The unfinished nodes of one file.
#[derive(Debug)]
pub(crate) enum Nodes {
    Balanced(Balanced),
    Trickle(Trickle),
}

impl Nodes {
    pub(crate) fn new(layout: Layout) -> Self {
        match layout {
            Layout::Balanced => Self::Balanced(Balanced::default()),
            Layout::Trickle => Self::Trickle(Trickle::default()),
        }
    }

    /// Adds the next leaf, and nodes that are finished by that to `blocks`.
    pub(crate) fn push(&mut self, profile: &Profile, leaf: Child, blocks: &mut Vec<Block>) {
        match self {
            Self::Balanced(nodes) => nodes.push(profile, leaf, blocks),
            Self::Trickle(nodes) => nodes.push(profile, leaf, blocks),
        }
    }

    /// Finishes all nodes; none if there was no leaf.
    pub(crate) fn finish(
        self,
        profile: &Profile,
        metadata: Metadata,
        blocks: &mut Vec<Block>,
    ) -> Option<Root> {
        match self {
            Self::Balanced(nodes) => nodes.finish(profile, metadata, blocks),
            Self::Trickle(nodes) => nodes.finish(profile, metadata, blocks),
        }
    }
}

/// Makes the node above `children`.
fn node(profile: &Profile, children: &[Child], metadata: Metadata, blocks: &mut Vec<Block>) -> Child {
    let mut data = Data::new(Kind::File);
    data.blocksizes = children.iter().map(|child| child.size).collect();
    let size = data.blocksizes.iter().fold(0, |sum: u64, &size| sum.saturating_add(size));
    data.filesize = Some(size);
    data.metadata = metadata;
    let data = data.encode();
    // An empty name, not none: all deployed writers do so, CIDs depend on it.
    let links =
        children.iter().map(|child| Link { cid: child.cid, name: Some(b""), tsize: Some(child.tsize) });
    let node = PbNode { links: links.collect(), data: Some(&data) };
    let encoded = dagpb::encode(&node);
    let tsize = tsize(encoded.len(), &node);
    let block = Block::dag_pb(profile, Bytes::from(encoded));
    let cid = block.cid;
    blocks.push(block);
    Child { cid, size, tsize }
}
