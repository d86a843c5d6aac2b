//! CID profiles: the parameters that decide which CIDs an input gets
//! (IPIP-0499, exact).

use std::fmt;
use std::str::FromStr;

use cid::Version;

use crate::hash::Algorithm;
use crate::{Cid, Multihash, codec};

/// How the size of a folder is measured that decides whether it is sharded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardRule {
    /// Bytes of the block that the folder would be.
    BlockBytes,
    /// Bytes of the names and CIDs of its entries.
    LinksBytes,
}

/// The parameters of adding files and folders. The same input under the same
/// parameters has the same CID in every implementation.
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
    /// Bytes of a file in each leaf but the last; at most 2 MiB less 256.
    pub chunk_size: usize,
    /// Most links of an inner node of a file; at least 2.
    pub max_links: usize,
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
        chunk_size: 1024 * 1024,
        max_links: 1024,
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
        chunk_size: 256 * 1024,
        max_links: 174,
        hamt_fanout: 256,
        shard_above: 256 * 1024,
        shard_rule: ShardRule::LinksBytes,
    };

    /// The CID of a dag-pb block under this profile.
    #[must_use]
    pub fn dag_pb_cid(&self, hash: Multihash) -> Cid {
        match self.cid_version {
            Version::V0 => Cid::new_v0(hash).unwrap_or(Cid::new_v1(codec::DAG_PB, hash)),
            Version::V1 => Cid::new_v1(codec::DAG_PB, hash),
        }
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
