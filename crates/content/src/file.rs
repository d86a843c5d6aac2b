//! From the leaves of a file to its root.

use crate::Cid;
use crate::block::Block;
use crate::layout::{Child, Nodes};
use crate::leaf::Leaf;
use crate::profile::{Profile, ProfileError};
use crate::unixfs::Metadata;

/// Makes the nodes above the leaves of one file.
///
/// ```
/// use peerage_content::{FileBuilder, Leaf, Profile, Splitter};
/// let profile = Profile::default();
/// let mut file = FileBuilder::new(&profile);
/// let mut splitter = Splitter::new(profile.chunker);
/// let content = vec![7; 3 << 20];
/// let mut rest = &content[..];
/// while let Some(len) = splitter.next_cut(rest, true) {
///     let leaf = Leaf::new(&profile, &rest[..len]); // on any thread
///     let nodes = file.push(&leaf); // in order; store the nodes
///     assert!(nodes.is_empty());
///     rest = &rest[len..];
/// }
/// let built = file.finish().unwrap();
/// assert_eq!(built.size, 3 << 20);
/// assert_eq!(built.blocks.last().unwrap().cid, built.cid);
/// ```
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    metadata: Metadata,
    /// None of a profile that cannot be: with it some files would never end.
    nodes: Result<Nodes, ProfileError>,
    leaf_metadata: Metadata,
    leaves: u64,
    /// One of the leaves is empty.
    has_empty: bool,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltFile {
    /// The root. In the balanced layout a single leaf is the root.
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
    /// An empty leaf that is not the only one.
    #[error("an empty leaf among others")]
    EmptyLeaf,
    /// The file keeps mode or time and has a single leaf, which must be made
    /// with [`Leaf::only`]; or a leaf among others was.
    #[error("mode and time of a single leaf belong into the leaf")]
    Metadata,
    /// The builder was made with a profile that cannot be.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl FileBuilder {
    /// A file without mode and time.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        Self::with_metadata(profile, Metadata::default())
    }

    /// A file that keeps its mode or time: the root holds them. A mode of 0 is
    /// not kept, as in Kubo.
    #[must_use]
    pub fn with_metadata(profile: &Profile, metadata: Metadata) -> Self {
        let nodes = profile.check().map(|()| Nodes::new(profile.layout));
        let (profile, metadata) = (profile.clone(), metadata.of_file());
        Self { profile, metadata, nodes, leaf_metadata: Metadata::default(), leaves: 0, has_empty: false }
    }

    /// Adds the next leaf. Returns the nodes that are finished by that,
    /// children first; mostly none. An empty leaf is the only one of its file.
    pub fn push(&mut self, leaf: &Leaf) -> Vec<Block> {
        if !leaf.metadata.is_empty() {
            self.leaf_metadata = leaf.metadata;
        }
        self.leaves += 1;
        self.has_empty |= leaf.payload_len == 0;
        let child = Child { cid: leaf.cid, size: leaf.payload_len as u64, tsize: leaf.block_len() as u64 };
        let mut blocks = Vec::new();
        if let Ok(nodes) = &mut self.nodes {
            nodes.push(&self.profile, child, &mut blocks);
        }
        blocks
    }

    /// Makes the nodes that are left, up to the root.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub fn finish(self) -> Result<BuiltFile, FinishError> {
        if self.has_empty && self.leaves > 1 {
            return Err(FinishError::EmptyLeaf);
        }
        let mut blocks = Vec::new();
        let root = self.nodes?.finish(&self.profile, self.metadata, &mut blocks);
        let root = root.ok_or(FinishError::NoLeaf)?;
        let in_leaf = if root.is_leaf { self.metadata } else { Metadata::default() };
        if self.leaf_metadata != in_leaf {
            return Err(FinishError::Metadata);
        }
        let Child { cid, size, tsize } = root.child;
        Ok(BuiltFile { cid, size, tsize, blocks })
    }
}
