//! The CID profiles of IPIP-0499, as parameters for other implementations and
//! for whoever makes folders of a certain size.

use serde_json::json;

/// A folder of more than so many bytes is sharded, in both profiles.
pub const SHARD_ABOVE: usize = 256 * 1024;

/// What decides which CID an input has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `unixfs-v1-2025`: CIDv1, raw leaves.
    V1,
    /// `unixfs-v0-2015`: CIDv0, dag-pb leaves.
    V0,
}

impl Profile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V1, Self::V0];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "unixfs-v1-2025",
            Self::V0 => "unixfs-v0-2015",
        }
    }

    /// Bytes of a file in each leaf but the last.
    #[must_use]
    pub fn chunk(self) -> usize {
        match self {
            Self::V1 => 1 << 20,
            Self::V0 => 1 << 18,
        }
    }

    /// Most links of an inner node of a file.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::V1 => 1024,
            Self::V0 => 174,
        }
    }

    /// How the size of a folder is measured, in Helia's words.
    fn shard_rule(self) -> &'static str {
        match self {
            Self::V1 => "block-bytes",
            Self::V0 => "links-bytes",
        }
    }

    /// All of it for `helia/peer.mjs`.
    pub(crate) fn layout(self) -> String {
        json!({
            "cidVersion": if self == Self::V1 { 1 } else { 0 },
            "rawLeaves": self == Self::V1,
            "chunkSize": self.chunk(),
            "maxChildrenPerNode": self.width(),
            "shardSplitThresholdBytes": SHARD_ABOVE,
            "shardSplitStrategy": self.shard_rule(),
        })
        .to_string()
    }

    /// Bytes of a folder without entries, as the profile measures folders: of
    /// its block, a node with a UnixFS field of two bytes, or of nothing.
    #[must_use]
    pub fn folder_len(self) -> usize {
        match self {
            Self::V1 => 4,
            Self::V0 => 0,
        }
    }

    /// Bytes that an entry adds to its folder, as the profile measures folders:
    /// of the link in the block, or of the name and the CID. `tsize` is the size
    /// of all blocks of the entry.
    #[must_use]
    pub fn entry_len(self, name: &str, tsize: u64) -> usize {
        match self {
            Self::V1 => {
                let name_len = 1 + varint_len(name.len() as u64) + name.len();
                let link = (2 + 36) + name_len + (1 + varint_len(tsize));
                1 + varint_len(link as u64) + link
            }
            Self::V0 => name.len() + 34,
        }
    }
}

/// Bytes of the protobuf varint of `n`.
fn varint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_grow_by_seven_bits() {
        let lens = [0, 1, 127, 128, 16_383, 16_384, u64::MAX].map(varint_len);
        assert_eq!(lens, [1, 1, 1, 2, 2, 3, 10]);
    }
}
