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
use crate::limits::SYMLINK_MAX;
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
    /// Bytes of the entries that the profile compares with its threshold.
    measured: usize,
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
        Self { profile: profile.clone(), metadata, entries: BTreeMap::new(), measured: 0 }
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
                self.measured += measure(&self.profile, name, cid, tsize);
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
    /// folder will be sharded whatever else comes.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        let own = match self.profile.shard_rule {
            ShardRule::BlockBytes => dagpb::field_len(self.data().len()),
            ShardRule::LinksBytes => 0,
        };
        self.measured.saturating_add(own) > self.profile.shard_above
    }

    /// Takes the entries out, by name: for who goes on with a
    /// [`ShardBuilder`], since there are more than memory should hold.
    pub fn take_entries(&mut self) -> impl Iterator<Item = (String, Cid, u64)> + use<> {
        self.measured = 0;
        std::mem::take(&mut self.entries).into_iter().map(|(name, (cid, tsize))| (name, cid, tsize))
    }

    /// Mode and time that it keeps.
    #[must_use]
    pub const fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// Makes the folder's blocks.
    ///
    /// # Errors
    /// It must be sharded, and two names have the same 64-bit hash.
    pub fn finish(self) -> Result<BuiltDirectory, ShardError> {
        if self.is_sharded() { self.finish_sharded() } else { Ok(self.finish_basic()) }
    }

    /// Makes one block, whatever its size.
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
    /// Two names have the same 64-bit hash.
    pub fn finish_sharded(self) -> Result<BuiltDirectory, ShardError> {
        let mut by_hash: Vec<_> =
            self.entries.into_iter().map(|entry| (hamt::hash(entry.0.as_bytes()), entry)).collect();
        by_hash.sort_unstable_by_key(|(hash, _)| *hash);
        let mut shards = ShardBuilder::new(&self.profile, self.metadata);
        let mut blocks = Vec::new();
        for (_, (name, (cid, tsize))) in by_hash {
            blocks.append(&mut shards.push(&name, cid, tsize)?);
        }
        let mut built = shards.finish();
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

/// The bytes of an entry that the profile compares with its threshold.
fn measure(profile: &Profile, name: &str, cid: Cid, tsize: u64) -> usize {
    match profile.shard_rule {
        ShardRule::BlockBytes => {
            dagpb::link_field_len(&Link { cid, name: Some(name.as_bytes()), tsize: Some(tsize) })
        }
        ShardRule::LinksBytes => name.len() + cid.encoded_len(),
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
