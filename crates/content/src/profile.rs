//! CID profiles: the parameters that decide which CIDs an input gets
//! (IPIP-0499, exact).

use std::fmt;
use std::str::FromStr;

use cid::Version;

use crate::chunk::Chunker;
use crate::hash::{self, Algorithm};
use crate::limits::IDENTITY_MAX;
use crate::{Cid, Multihash, codec};

/// How the size of a folder is measured that decides whether it is sharded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardRule {
    /// Bytes of the block that the folder would be.
    BlockBytes,
    /// Bytes of the names and CIDs of its entries.
    LinksBytes,
}

/// How the inner nodes of a file lie above its leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// All leaves at one depth.
    #[default]
    Balanced,
    /// The first leaves near the root, later ones ever deeper (boxo
    /// `importer/trickle`).
    Trickle,
}

/// The parameters of adding files and folders. The same input under the same
/// parameters has the same CID here and in Kubo, and in other implementations
/// as far as they have these parameters (IPIP-0499).
///
/// ```
/// use peerage_content::Profile;
/// assert_eq!("unixfs-v1-2025".parse(), Ok(Profile::default()));
/// assert_eq!(Profile::UNIXFS_V0_2015.to_string(), "unixfs-v0-2015");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Version 0 CIDs for dag-pb nodes where they exist (SHA2-256), or version 1.
    pub cid_version: Version,
    /// Hash function of all blocks.
    pub hash: Algorithm,
    /// Leaves of files are raw blocks; else dag-pb nodes.
    pub raw_leaves: bool,
    /// How a file is cut into the payloads of its leaves.
    pub chunker: Chunker,
    /// How the leaves of a file come together.
    pub layout: Layout,
    /// Most links of an inner node of a file, in the trickle layout most
    /// leaves; at least 2.
    pub max_links: usize,
    /// A block of at most so many bytes, whatever it is, is not stored but held
    /// by its CID, which has the identity hash and version 1 then. 0 for none,
    /// and at most [`IDENTITY_MAX`]. Kubo's `--inline-limit`, 32 with `--inline`.
    pub inline_max: usize,
    /// Buckets of a shard: a power of two from 2 to 1,024, in multiples of 8 for
    /// other implementations.
    pub hamt_fanout: u32,
    /// A folder of more than so many bytes is sharded.
    pub shard_above: usize,
    /// Which bytes count.
    pub shard_rule: ShardRule,
}

impl Profile {
    /// `unixfs-v1-2025`, the default: CIDv1, raw leaves of 1 MiB, 1,024 links.
    pub const UNIXFS_V1_2025: Self = Self {
        cid_version: Version::V1,
        hash: Algorithm::Sha2_256,
        raw_leaves: true,
        chunker: Chunker::Size(1024 * 1024),
        layout: Layout::Balanced,
        max_links: 1024,
        inline_max: 0,
        hamt_fanout: 256,
        shard_above: 256 * 1024,
        shard_rule: ShardRule::BlockBytes,
    };

    /// `unixfs-v0-2015`: CIDv0, dag-pb leaves of 256 KiB, 174 links; what
    /// Kubo has made for ten years.
    pub const UNIXFS_V0_2015: Self = Self {
        cid_version: Version::V0,
        hash: Algorithm::Sha2_256,
        raw_leaves: false,
        chunker: Chunker::Size(256 * 1024),
        layout: Layout::Balanced,
        max_links: 174,
        inline_max: 0,
        hamt_fanout: 256,
        shard_above: 256 * 1024,
        shard_rule: ShardRule::LinksBytes,
    };

    /// Whether a block of `len` bytes is held by its CID.
    #[must_use]
    pub fn inlines(&self, len: usize) -> bool {
        self.inline_max > 0 && len <= self.inline_max.min(IDENTITY_MAX)
    }

    /// The CID of a block of `codec` with this hash.
    pub(crate) fn cid(&self, codec: u64, hash: Multihash) -> Cid {
        match self.cid_version {
            Version::V0 if codec == codec::DAG_PB => Cid::new_v0(hash).unwrap_or(Cid::new_v1(codec, hash)),
            _ => Cid::new_v1(codec, hash),
        }
    }

    /// The CID of the block that `parts` are, one after the other.
    pub(crate) fn cid_of(&self, codec: u64, parts: &[&[u8]]) -> Cid {
        let len = parts.iter().map(|part| part.len()).sum();
        let inline = if self.inlines(len) { hash::identity(parts) } else { None };
        self.cid(codec, inline.unwrap_or_else(|| self.hash.digest_parts(parts)))
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::UNIXFS_V1_2025
    }
}

/// A profile name that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile; there are unixfs-v1-2025 and unixfs-v0-2015")]
pub struct UnknownProfile;

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        match name {
            "unixfs-v1-2025" => Ok(Self::UNIXFS_V1_2025),
            "unixfs-v0-2015" | "legacy-cid-v0" => Ok(Self::UNIXFS_V0_2015),
            _ => Err(UnknownProfile),
        }
    }
}

/// The profile's name, or `custom`.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::UNIXFS_V1_2025 {
            "unixfs-v1-2025"
        } else if *self == Self::UNIXFS_V0_2015 {
            "unixfs-v0-2015"
        } else {
            "custom"
        })
    }
}
