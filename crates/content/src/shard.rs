//! Building a sharded folder from entries in the order of their hashes (see
//! [`hamt`]). What is held is one unfinished node per level, so that a folder of
//! any size takes the same memory; who has the entries in another order sorts
//! them first, on disk if need be.
//!
//! A bucket with one entry holds it; one with more holds a node. So an entry
//! lies in the node where its hash parts from that of its nearest neighbour,
//! and with sorted hashes the neighbours are the entry before and the one after.

use bytes::Bytes;

use crate::Cid;
use crate::block::{Block, tsize};
use crate::dagpb::{self, Link, PbNode};
use crate::folder::BuiltDirectory;
use crate::hamt::{self, MURMUR3_X64_64};
use crate::name::{self, NameError};
use crate::profile::{Profile, ProfileError};
use crate::unixfs::{Data, Kind, Metadata};

/// Builds the nodes of a sharded folder.
///
/// ```
/// use peerage_content::shard::ShardBuilder;
/// use peerage_content::{DirectoryBuilder, Leaf, Profile, hamt, unixfs::Metadata};
/// let profile = Profile::default();
/// let leaf = Leaf::new(&profile, b"x");
/// let mut names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
/// names.sort_by_key(|name| hamt::hash(name.as_bytes()));
///
/// let mut shards = ShardBuilder::new(&profile, Metadata::default());
/// let mut whole = DirectoryBuilder::new(&profile);
/// for name in &names {
///     let _finished = shards.push(name, leaf.cid, 1).unwrap(); // store them
///     whole.add(name, leaf.cid, 1).unwrap(); // in any order
/// }
/// assert_eq!(shards.finish().unwrap().cid, whole.finish_sharded().unwrap().cid);
/// ```
#[derive(Debug)]
pub struct ShardBuilder {
    profile: Profile,
    metadata: Metadata,
    /// The profile is one that cannot be: the fanout may be none.
    refused: Option<ProfileError>,
    /// Nodes that are not full yet, the folder's root first.
    open: Vec<Open>,
    /// The last entry: its place depends on the next one.
    pending: Option<Pending>,
}

/// A node that is being filled.
#[derive(Debug, Default)]
struct Open {
    links: Vec<(String, Cid, u64)>,
    /// The bit field, as a big-endian number.
    bits: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    hash: u64,
    name: String,
    cid: Cid,
    tsize: u64,
}

/// Why entries do not become shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Two names share all bits of their hash that shards use, so no shard can
    /// hold both.
    #[error("two names with the same hash cannot be in one sharded folder")]
    Collision,
    /// One name twice.
    #[error("a second entry of the same name")]
    Duplicate,
    /// The name cannot be in a folder. An empty one would be a shard.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The entry belongs before the last one: the caller is at fault.
    #[error("an entry that is not in the order of the hashes")]
    Order,
    /// The builder was made with a profile that cannot be.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl ShardBuilder {
    /// A folder that keeps its mode or time, or neither.
    #[must_use]
    pub fn new(profile: &Profile, metadata: Metadata) -> Self {
        let refused = profile.check().err();
        Self { profile: profile.clone(), metadata, refused, open: Vec::new(), pending: None }
    }

    /// Adds the next entry by [`hamt::hash`] of its name. Returns the nodes that
    /// are finished by that, children first; mostly none.
    ///
    /// # Errors
    /// See [`ShardError`]. The builder is of no more use then.
    pub fn push(&mut self, name: &str, cid: Cid, tsize: u64) -> Result<Vec<Block>, ShardError> {
        self.refused.map_or(Ok(()), Err)?;
        name::check_entry(name)?;
        let next = Pending { hash: hamt::hash(name.as_bytes()), name: name.to_owned(), cid, tsize };
        let Some(last) = self.pending.take() else {
            self.pending = Some(next);
            return Ok(Vec::new());
        };
        if next.hash < last.hash {
            return Err(ShardError::Order);
        }
        if next.name == last.name {
            return Err(ShardError::Duplicate);
        }
        let fanout = self.profile.hamt_fanout;
        let depth = hamt::shared_depth(last.hash, next.hash, fanout).ok_or(ShardError::Collision)?;
        let hash = last.hash;
        self.open_to(depth);
        self.place(last);
        self.pending = Some(next);
        Ok(self.close_to(depth, hash))
    }

    /// Makes the nodes that are left, up to the root.
    ///
    /// # Errors
    /// [`ShardError::Profile`].
    pub fn finish(mut self) -> Result<BuiltDirectory, ShardError> {
        self.refused.map_or(Ok(()), Err)?;
        self.open_to(0);
        let mut blocks = Vec::new();
        if let Some(last) = self.pending.take() {
            let hash = last.hash;
            self.place(last);
            blocks = self.close_to(0, hash);
        }
        let root = self.open.pop().unwrap_or_default();
        let (block, tsize) = self.node(&root, self.metadata);
        let cid = block.cid;
        blocks.push(block);
        Ok(BuiltDirectory { cid, tsize, blocks })
    }

    /// Opens nodes until there is one at `depth`.
    fn open_to(&mut self, depth: usize) {
        while self.open.len() <= depth {
            let bits = vec![0; (self.profile.hamt_fanout as usize).div_ceil(8)];
            self.open.push(Open { links: Vec::new(), bits });
        }
    }

    /// Puts an entry into the deepest node that is open.
    fn place(&mut self, entry: Pending) {
        let Pending { hash, name, cid, tsize } = entry;
        self.link(self.open.len() - 1, hash, &name, cid, tsize);
    }

    fn link(&mut self, depth: usize, hash: u64, name: &str, cid: Cid, tsize: u64) {
        let fanout = self.profile.hamt_fanout;
        let number = hamt::bucket(hash, fanout, depth).expect("nodes are opened where hashes part");
        let width = hamt::prefix_len(fanout);
        let open = &mut self.open[depth];
        let byte = open.bits.len() - 1 - number as usize / 8;
        open.bits[byte] |= 1 << (number % 8);
        open.links.push((format!("{number:0width$X}{name}"), cid, tsize));
    }

    /// Finishes the nodes below `depth`, which `hash` was the last to go to.
    fn close_to(&mut self, depth: usize, hash: u64) -> Vec<Block> {
        let mut blocks = Vec::new();
        while self.open.len() > depth + 1 {
            let Some(full) = self.open.pop() else { break };
            let (block, tsize) = self.node(&full, Metadata::default());
            self.link(self.open.len() - 1, hash, "", block.cid, tsize);
            blocks.push(block);
        }
        blocks
    }

    fn node(&self, open: &Open, metadata: Metadata) -> (Block, u64) {
        let zeros = open.bits.iter().take_while(|&&byte| byte == 0).count();
        let mut data = Data::new(Kind::HamtShard);
        data.data = Some(&open.bits[zeros..]);
        data.hash_type = Some(MURMUR3_X64_64);
        data.fanout = Some(u64::from(self.profile.hamt_fanout));
        data.metadata = metadata;
        let data = data.encode();
        let links = open.links.iter().map(|(name, cid, tsize)| Link {
            cid: *cid,
            name: Some(name.as_bytes()),
            tsize: Some(*tsize),
        });
        let node = PbNode { links: links.collect(), data: Some(&data) };
        let encoded = dagpb::encode(&node);
        let tsize = tsize(encoded.len(), &node);
        (Block::dag_pb(&self.profile, Bytes::from(encoded)), tsize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Leaf;

    #[test]
    fn entries_that_cannot_be_are_refused() {
        let profile = Profile::default();
        let leaf = Leaf::new(&profile, b"x");
        let mut names = ["a", "b", "c"];
        names.sort_by_key(|name| std::cmp::Reverse(hamt::hash(name.as_bytes())));
        let mut shards = ShardBuilder::new(&profile, Metadata::default());
        shards.push(names[0], leaf.cid, 1).unwrap();
        assert_eq!(shards.push(names[1], leaf.cid, 1), Err(ShardError::Order));
        let mut shards = ShardBuilder::new(&profile, Metadata::default());
        shards.push("a", leaf.cid, 1).unwrap();
        assert_eq!(shards.push("a", leaf.cid, 1), Err(ShardError::Duplicate));
        let mut shards = ShardBuilder::new(&profile, Metadata::default());
        for (name, error) in [
            ("", NameError::Empty),
            ("a/b", NameError::Separator),
            ("..", NameError::Dots),
            (&"n".repeat(256), NameError::TooLong),
        ] {
            assert_eq!(shards.push(name, leaf.cid, 1), Err(ShardError::Name(error)));
        }
    }

    #[test]
    fn a_profile_that_cannot_be_is_refused() {
        let leaf = Leaf::new(&Profile::default(), b"x");
        for fanout in [0, 1, 3, 12, 2048, u32::MAX] {
            let profile = Profile { hamt_fanout: fanout, ..Profile::default() };
            let refused = ShardError::Profile(ProfileError::Fanout(fanout));
            let mut shards = ShardBuilder::new(&profile, Metadata::default());
            assert_eq!(shards.push("a", leaf.cid, 1), Err(refused));
            assert_eq!(shards.finish(), Err(refused));
        }
    }

    #[test]
    fn an_empty_one_has_a_root() {
        let built = ShardBuilder::new(&Profile::default(), Metadata::default()).finish().unwrap();
        assert_eq!(built.blocks.len(), 1);
    }
}
