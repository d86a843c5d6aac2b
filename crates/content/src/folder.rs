//! Folders and symlinks. A folder is one block, or, when it would be too
//! large, a tree of shards; which, and so its CID, depends only on the
//! entries and the profile, not on their order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use bytes::Bytes;

use crate::Cid;
use crate::block::{Block, tsize};
use crate::dagpb::{self, Link, PbNode};
use crate::hamt;
use crate::limits::{BLOCK_MADE_MAX, LINKS_MAX, SYMLINK_MAX};
use crate::name::{self, NameError};
use crate::profile::{Profile, ShardRule};
use crate::shard::{ShardBuilder, ShardError};
use crate::unixfs::{Data, Kind, Metadata};

/// Collects the entries of one folder.
///
/// ```
/// use peerage_content::{DirectoryBuilder, Leaf, Profile};
/// let profile = Profile::default();
/// let mut folder = DirectoryBuilder::new(&profile);
/// let file = Leaf::new(&profile, b"hello-world");
/// folder.add("download", file.cid, file.block_len() as u64).unwrap();
/// let built = folder.finish().unwrap();
/// assert_eq!(built.cid.to_string(), "bafybeieij4nwevti7uttnkvutw5samohrnqxpakitwnoagwl55vn5oltrm");
/// ```
#[derive(Debug)]
pub struct DirectoryBuilder {
    profile: Profile,
    metadata: Metadata,
    entries: BTreeMap<String, (Cid, u64)>,
    /// Bytes of the names and CIDs of the entries.
    links: usize,
    /// Bytes of the block that the folder would be.
    block: usize,
}

/// A finished folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltDirectory {
    /// The root.
    pub cid: Cid,
    /// Bytes of all blocks under the root, repetitions counted again: what links say.
    pub tsize: u64,
    /// The folder's own blocks, children first, the root last.
    pub blocks: Vec<Block>,
}

/// Why an entry was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The name cannot be in a folder.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is there already.
    #[error("a second entry of the same name")]
    Duplicate,
}

impl DirectoryBuilder {
    /// An empty folder without mode and time.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        Self::with_metadata(profile, Metadata::default())
    }

    /// An empty folder that keeps its mode or time.
    #[must_use]
    pub fn with_metadata(profile: &Profile, metadata: Metadata) -> Self {
        let mut this =
            Self { profile: profile.clone(), metadata, entries: BTreeMap::new(), links: 0, block: 0 };
        this.block = dagpb::field_len(this.data().len());
        this
    }

    /// Adds an entry whose DAG has `tsize` bytes (a builder's `tsize`, a
    /// leaf's or symlink's block length).
    ///
    /// # Errors
    /// The name cannot be, or is there already.
    pub fn add(&mut self, name: &str, cid: Cid, tsize: u64) -> Result<(), AddError> {
        name::check_entry(name)?;
        match self.entries.entry(name.to_owned()) {
            Slot::Occupied(_) => Err(AddError::Duplicate),
            Slot::Vacant(slot) => {
                let link = Link { cid, name: Some(name.as_bytes()), tsize: Some(tsize) };
                self.links += name.len() + cid.encoded_len();
                self.block += dagpb::link_field_len(&link);
                slot.insert((cid, tsize));
                Ok(())
            }
        }
    }

    /// Entries so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what was added so far is too much for one block, so that the
    /// folder will be sharded whatever else comes: by the profile, or since
    /// nobody would take the block.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        let measured = match self.profile.shard_rule {
            ShardRule::BlockBytes => self.block,
            ShardRule::LinksBytes => self.links,
        };
        measured > self.profile.shard_above || self.block > BLOCK_MADE_MAX || self.entries.len() > LINKS_MAX
    }

    /// The builder of the same folder in shards, and the entries so far, by name:
    /// for who has more of them than memory should hold.
    pub fn into_shards(self) -> (ShardBuilder, impl Iterator<Item = (String, Cid, u64)> + use<>) {
        let entries = self.entries.into_iter().map(|(name, (cid, tsize))| (name, cid, tsize));
        (ShardBuilder::new(&self.profile, self.metadata), entries)
    }

    /// Makes the folder's blocks.
    ///
    /// # Errors
    /// It must be sharded, and two names have the same 64-bit hash, or the profile
    /// cannot be.
    pub fn finish(self) -> Result<BuiltDirectory, ShardError> {
        if self.is_sharded() { self.finish_sharded() } else { Ok(self.finish_basic()) }
    }

    /// Makes one block, whatever its size: nobody takes one that is larger than
    /// [`BLOCK_MADE_MAX`], or reads one of more than [`LINKS_MAX`] entries.
    #[must_use]
    pub fn finish_basic(self) -> BuiltDirectory {
        let data = self.data();
        let node = PbNode { links: self.links().collect(), data: Some(&data) };
        let encoded = dagpb::encode(&node);
        let tsize = tsize(encoded.len(), &node);
        let block = Block::dag_pb(&self.profile, Bytes::from(encoded));
        BuiltDirectory { cid: block.cid, tsize, blocks: vec![block] }
    }

    /// Makes shards, whatever the folder's size.
    ///
    /// # Errors
    /// Two names have the same 64-bit hash, or the profile cannot be.
    pub fn finish_sharded(self) -> Result<BuiltDirectory, ShardError> {
        let (mut shards, entries) = self.into_shards();
        let mut by_hash: Vec<_> = entries.map(|entry| (hamt::hash(entry.0.as_bytes()), entry)).collect();
        by_hash.sort_unstable_by_key(|(hash, _)| *hash);
        let mut blocks = Vec::new();
        for (_, (name, cid, tsize)) in by_hash {
            blocks.append(&mut shards.push(&name, cid, tsize)?);
        }
        let mut built = shards.finish()?;
        blocks.append(&mut built.blocks);
        Ok(BuiltDirectory { blocks, ..built })
    }

    fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.entries.iter().map(|(name, &(cid, tsize))| Link {
            cid,
            name: Some(name.as_bytes()),
            tsize: Some(tsize),
        })
    }

    fn data(&self) -> Vec<u8> {
        let mut data = Data::new(Kind::Directory);
        data.metadata = self.metadata;
        data.encode()
    }
}

/// A target that no symlink can have: empty, or longer than 4,096 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a symlink's target is 1 to 4,096 bytes, not {0}")]
pub struct BadTarget(
    /// Its length, in bytes.
    pub usize,
);

/// The block of a symlink to `target`.
///
/// # Errors
/// The target is empty or too long.
pub fn symlink(profile: &Profile, target: &[u8], metadata: Metadata) -> Result<Block, BadTarget> {
    if target.is_empty() || target.len() > SYMLINK_MAX {
        return Err(BadTarget(target.len()));
    }
    let mut data = Data::new(Kind::Symlink);
    data.data = Some(target);
    data.metadata = metadata;
    let data = data.encode();
    let node = PbNode { links: Vec::new(), data: Some(&data) };
    Ok(Block::dag_pb(profile, Bytes::from(dagpb::encode(&node))))
}
