//! CID profiles: the parameters that decide which CIDs an input gets
//! (IPIP-0499, exact).

use std::fmt;
use std::str::FromStr;

use cid::Version;

use crate::chunk::{Chunker, ChunkerError};
use crate::hamt;
use crate::hash::{self, Algorithm};
use crate::limits::{BLOCK_MADE_MAX, DIGEST_MAX, FANOUT_MAX, FILE_LINKS_MAX, IDENTITY_MAX};
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
/// Some parameters make nothing that can be read: [`Profile::check`] tells.
/// Builders refuse those in the end, too, and never panic.
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
    /// leaves; 2 to [`FILE_LINKS_MAX`].
    pub max_links: usize,
    /// A block of at most so many bytes, whatever it is, is not stored but held
    /// by its CID, which has the identity hash and version 1 then. 0 for none,
    /// and at most [`IDENTITY_MAX`]. Kubo's `--inline-limit`, 32 with `--inline`.
    pub inline_max: usize,
    /// Buckets of a shard: a power of two from 2 to 1,024, in multiples of 8 for
    /// other implementations.
    pub hamt_fanout: u32,
    /// A folder of more than so many bytes is sharded. So is one that would be
    /// larger than [`BLOCK_MADE_MAX`] or have more than
    /// [`LINKS_MAX`](crate::limits::LINKS_MAX) entries.
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

    /// Whether blocks that are made by these parameters can be read, here and by
    /// others. To be asked where parameters come from outside.
    ///
    /// ```
    /// use peerage_content::{Profile, profile::ProfileError};
    /// assert_eq!(Profile::default().check(), Ok(()));
    /// let three = Profile { hamt_fanout: 3, ..Profile::default() };
    /// assert_eq!(three.check(), Err(ProfileError::Fanout(3)));
    /// ```
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn check(&self) -> Result<(), ProfileError> {
        self.chunker.check()?;
        if !(2..=FILE_LINKS_MAX).contains(&self.max_links) {
            return Err(ProfileError::Links(self.max_links));
        }
        if self.inline_max > IDENTITY_MAX {
            return Err(ProfileError::Inline(self.inline_max));
        }
        if hamt::fanout(u64::from(self.hamt_fanout)).is_none() {
            return Err(ProfileError::Fanout(self.hamt_fanout));
        }
        let cid = (DIGEST_MAX + CID_FRAME).max(self.inline_max + IDENTITY_FRAME);
        if (self.max_links + TRICKLE_NODES) * (cid + LINK_FRAME) > BLOCK_MADE_MAX {
            return Err(ProfileError::NodeSize(self.max_links));
        }
        Ok(())
    }

    /// Whether a block of `len` bytes is held by its CID.
    #[must_use]
    pub fn inlines(&self, len: usize) -> bool {
        self.inline_max > 0 && len <= self.inline_max
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

/// Bytes of a CID beside its digest: version, codec, a function's code of up to
/// three bytes, length.
const CID_FRAME: usize = 6;

/// Bytes of an identity CID beside its data: version, codec, code, a length of up
/// to two bytes.
const IDENTITY_FRAME: usize = 5;

/// Bytes of a link of a file beside its CID, with the size in the node's data: keys
/// and lengths, an empty name, and two numbers of up to ten bytes.
const LINK_FRAME: usize = 30;

/// Most nodes in a node of the trickle layout, beside its leaves: four of each
/// depth, and 28 depths below a root of two leaves have more than 2^64 chunks.
const TRICKLE_NODES: usize = 112;

/// Parameters that make nothing that can be read. Who chose them is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The chunker's parameters.
    #[error(transparent)]
    Chunker(#[from] ChunkerError),
    /// Inner nodes that never end, or are too large for a block.
    #[error("an inner node of a file has 2 to {FILE_LINKS_MAX} links, not {0}")]
    Links(usize),
    /// Inner nodes that are too large for a block if their links hold blocks.
    #[error("a node of {0} links that hold blocks of that size would be too large for a block itself")]
    NodeSize(usize),
    /// No number of buckets.
    #[error("the buckets of a shard are a power of two from 2 to {FANOUT_MAX}, not {0}")]
    Fanout(u32),
    /// More bytes than a CID holds.
    #[error("a CID holds a block of at most {IDENTITY_MAX} bytes, not {0}")]
    Inline(usize),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_make_nothing_that_can_be_read_is_refused() {
        let with = |change: &dyn Fn(&mut Profile)| {
            let mut profile = Profile::default();
            change(&mut profile);
            profile.check()
        };
        for links in [2, 3, FILE_LINKS_MAX] {
            assert_eq!(with(&|p| p.max_links = links), Ok(()));
        }
        for links in [0, 1, FILE_LINKS_MAX + 1, 70_000, usize::MAX] {
            assert_eq!(with(&|p| p.max_links = links), Err(ProfileError::Links(links)));
        }
        for fanout in [2, 4, 8, 256, 1024] {
            assert_eq!(with(&|p| p.hamt_fanout = fanout), Ok(()));
        }
        for fanout in [0, 1, 3, 12, 2048, 1 << 31, u32::MAX] {
            assert_eq!(with(&|p| p.hamt_fanout = fanout), Err(ProfileError::Fanout(fanout)));
        }
        assert_eq!(with(&|p| p.inline_max = 128), Ok(()));
        assert_eq!(with(&|p| p.inline_max = 129), Err(ProfileError::Inline(129)));
        let both = |p: &mut Profile| (p.inline_max, p.max_links) = (128, FILE_LINKS_MAX);
        assert_eq!(with(&both), Err(ProfileError::NodeSize(FILE_LINKS_MAX)));
        let zero = Err(ProfileError::Chunker(ChunkerError::Zero));
        assert_eq!(with(&|p| p.chunker = Chunker::Size(0)), zero);
        assert_eq!(Profile::UNIXFS_V0_2015.check(), Ok(()));
    }
}
