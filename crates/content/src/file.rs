//! Inner nodes of files: the balanced layout, with all leaves at one depth
//! (ipfs/specs unixfs.md; boxo `importer/balanced`). Leaves come in order,
//! nodes go out as they fill; what is held is one unfinished node per level.
//!
//! Left out on purpose, until asked for: the trickle layout.

use bytes::Bytes;

use crate::Cid;
use crate::block::{Block, tsize};
use crate::dagpb::{self, Link, PbNode};
use crate::leaf::Leaf;
use crate::profile::Profile;
use crate::unixfs::{Data, Kind, Metadata};

/// Makes the nodes above the leaves of one file.
///
/// ```
/// use peerage_content::{FileBuilder, Leaf, Profile};
/// let profile = Profile::default();
/// let mut file = FileBuilder::new(&profile);
/// let content = vec![7; 3 << 20];
/// for chunk in content.chunks(profile.chunk_size) {
///     let leaf = Leaf::new(&profile, chunk); // on any thread
///     let nodes = file.push(&leaf); // in order; store the nodes
///     assert!(nodes.is_empty());
/// }
/// let built = file.finish().unwrap();
/// assert_eq!(built.size, 3 << 20);
/// assert_eq!(built.blocks.last().unwrap().cid, built.cid);
/// ```
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    metadata: Metadata,
    /// Finished children that wait for their parent: leaves first.
    levels: Vec<Vec<Child>>,
    leaf_metadata: Metadata,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    cid: Cid,
    size: u64,
    tsize: u64,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltFile {
    /// The root: the leaf, if there is only one.
    pub cid: Cid,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of all blocks, repetitions counted again: what links say.
    pub tsize: u64,
    /// The nodes that were still unfinished, children first, the root last.
    pub blocks: Vec<Block>,
}

/// Why a file could not be finished: how the builder was used is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// No leaf came; an empty file has one empty leaf.
    #[error("a file without leaves")]
    NoLeaf,
    /// The file keeps mode or time and has a single leaf, which must be made
    /// with [`Leaf::only`]; or a leaf among others was.
    #[error("mode and time of a single leaf belong into the leaf")]
    Metadata,
}

impl FileBuilder {
    /// A file without mode and time.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        Self::with_metadata(profile, Metadata::default())
    }

    /// A file that keeps its mode or time: the root holds them.
    #[must_use]
    pub fn with_metadata(profile: &Profile, metadata: Metadata) -> Self {
        Self { profile: profile.clone(), metadata, levels: Vec::new(), leaf_metadata: Metadata::default() }
    }

    /// Adds the next leaf. Returns the nodes that are finished by that,
    /// children first; mostly none.
    pub fn push(&mut self, leaf: &Leaf) -> Vec<Block> {
        if !leaf.metadata.is_empty() {
            self.leaf_metadata = leaf.metadata;
        }
        let child = Child { cid: leaf.cid, size: leaf.payload_len as u64, tsize: leaf.block_len() as u64 };
        let mut blocks = Vec::new();
        self.add(0, child, &mut blocks);
        blocks
    }

    /// Makes the nodes that are left, up to the root.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub fn finish(mut self) -> Result<BuiltFile, FinishError> {
        let mut blocks = Vec::new();
        let mut level = 0;
        loop {
            let top = level + 1 >= self.levels.len();
            let children = self.levels.get(level).ok_or(FinishError::NoLeaf)?;
            if top && let [root] = children[..] {
                let kept = if level == 0 { self.metadata } else { Metadata::default() };
                if self.leaf_metadata != kept {
                    return Err(FinishError::Metadata);
                }
                return Ok(BuiltFile { cid: root.cid, size: root.size, tsize: root.tsize, blocks });
            }
            let metadata = if top { self.metadata } else { Metadata::default() };
            let child = self.close(level, metadata, &mut blocks);
            self.add(level + 1, child, &mut blocks);
            level += 1;
        }
    }

    /// A full node is closed only when one more child comes: it might be the
    /// root, which holds the mode and time.
    fn add(&mut self, level: usize, child: Child, blocks: &mut Vec<Block>) {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() >= self.profile.max_links.max(2) {
            let full = self.close(level, Metadata::default(), blocks);
            self.add(level + 1, full, blocks);
        }
        self.levels[level].push(child);
    }

    /// Makes a node of the children that wait at `level`.
    fn close(&mut self, level: usize, metadata: Metadata, blocks: &mut Vec<Block>) -> Child {
        let children = &mut self.levels[level];
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
        children.clear();
        let block = Block::dag_pb(&self.profile, Bytes::from(encoded));
        let cid = block.cid;
        blocks.push(block);
        Child { cid, size, tsize }
    }
}
