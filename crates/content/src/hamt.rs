//! Sharded folders: where a name belongs (ipfs/specs unixfs.md, HAMT; as
//! deployed, which differs from the text: bits are taken from the most
//! significant end of the big-endian hash, the bit field is a big-endian
//! number without leading zeros).

use crate::Cid;
use crate::limits::FANOUT_MAX;
use crate::node::{Bucket, ShardEntry};
use crate::resolve::ResolveError;

/// Multihash code of the one hash function that shards use.
pub const MURMUR3_X64_64: u64 = 0x22;

/// The hash that decides the place of `name`: 64 bits, read from the top.
#[must_use]
pub fn hash(name: &[u8]) -> u64 {
    let wide = murmur3::murmur3_x64_128(&mut &name[..], 0).expect("reading from memory never fails");
    let [a, b, c, d, e, f, g, h, ..] = wide.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A fanout that a shard can have.
pub(crate) fn fanout(number: u64) -> Option<u32> {
    let fits = number.is_power_of_two() && (2..=FANOUT_MAX).contains(&number);
    u32::try_from(number).ok().filter(|_| fits)
}

/// The bucket of a hash at `depth` (0 at the folder's root) of shards with
/// `fanout` buckets, a power of two; none when the bits have run out.
#[must_use]
pub fn bucket(hash: u64, fanout: u32, depth: usize) -> Option<u32> {
    let bits = fanout.trailing_zeros() as usize;
    let used = bits.checked_mul(depth + 1)?;
    let rest = 64usize.checked_sub(used)?;
    let bucket = hash.checked_shr(u32::try_from(rest).ok()?)?;
    u32::try_from(bucket & u64::from(fanout.checked_sub(1)?)).ok()
}

/// A node of a sharded folder that does not fit in where it lies, as it is told to
/// users ([`ResolveError::BadShard`] with the node's CID): its maker is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a part of a sharded folder that does not fit in where it lies")]
pub struct Misfit(pub Cid);

/// Where a node of a sharded folder lies: the buckets that lead to it, and so how
/// the hashes of all names below begin.
///
/// ```
/// use peerage_content::hamt::{self, Place};
/// let first = hamt::bucket(hamt::hash(b"a.txt"), 256, 0).unwrap();
/// assert!(Place::ROOT.below(256, first).unwrap().fits("a.txt"));
/// assert!(!Place::ROOT.below(256, first ^ 1).unwrap().fits("a.txt"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The bits that the buckets stand for, at the low end.
    bits: u64,
    /// How many these are.
    len: u32,
    /// Fanout of the nodes above; none at the root.
    fanout: Option<u32>,
}

impl Place {
    /// The folder's root, below which any name may lie.
    pub const ROOT: Self = Self { bits: 0, len: 0, fanout: None };

    /// The place of what is in a bucket of the node at this one, another node or an
    /// entry. None if no name is looked for there: the node has another fanout than
    /// those above, or all bits of the hashes are used up.
    #[must_use]
    pub fn below(self, fanout: u32, bucket: u32) -> Option<Self> {
        if self.fanout.is_some_and(|above| above != fanout) {
            return None;
        }
        let more = fanout.trailing_zeros();
        let len = self.len.checked_add(more).filter(|len| *len <= u64::BITS)?;
        Some(Self { bits: self.bits.checked_shl(more)? | u64::from(bucket), len, fanout: Some(fanout) })
    }

    /// The places of what is in the buckets of the node at this one, in their order.
    /// Who shows or writes entries asks this of every node, so that there is no
    /// entry which no look-up finds, and none twice.
    ///
    /// # Errors
    /// [`ResolveError::BadShard`]: no place for these buckets, an entry whose name is
    /// looked for elsewhere, or a node below the root without any.
    pub fn places(self, fanout: u32, buckets: &[ShardEntry]) -> Result<Vec<Self>, ResolveError> {
        // Only the folder itself may be empty: else a few nodes that name each other
        // make a folder of nothing that never ends.
        if self != Self::ROOT && buckets.is_empty() {
            return Err(ResolveError::BadShard);
        }
        let place = |entry: &ShardEntry| {
            let below = self.below(fanout, entry.bucket)?;
            match &entry.value {
                Bucket::Value(entry) => below.fits(&entry.name).then_some(below),
                Bucket::Sub(..) => Some(below),
            }
        };
        buckets.iter().map(|entry| place(entry).ok_or(ResolveError::BadShard)).collect()
    }

    /// Whether a name is looked for here.
    #[must_use]
    pub fn fits(self, name: &str) -> bool {
        hash(name.as_bytes()).checked_shr(u64::BITS - self.len).unwrap_or(0) == self.bits
    }
}

/// Digits of a bucket's number in a link's name.
pub(crate) fn prefix_len(fanout: u32) -> usize {
    format!("{:X}", fanout - 1).len()
}

/// The bucket that a link's name starts with: upper-case hexadecimal only.
pub(crate) fn parse_prefix(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        sum.checked_mul(16)?.checked_add(u32::from(value))
    })
}

/// Buckets that two hashes share, from the folder's root down: the depth of the
/// node in which they part. `None` if they never do.
pub(crate) fn shared_depth(a: u64, b: u64, fanout: u32) -> Option<usize> {
    let bits = fanout.trailing_zeros();
    let depth = (a ^ b).leading_zeros() / bits;
    // Bits beyond the last whole bucket part nothing.
    (depth < 64 / bits).then_some(depth as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_bits_from_the_top() {
        let h = hash(b"470.txt");
        assert_eq!(h, 0x006e_88df_5847_e67c);
        assert_eq!(
            (bucket(h, 256, 0), bucket(h, 256, 1), bucket(h, 256, 7)),
            (Some(0), Some(0x6e), Some(0x7c))
        );
        assert_eq!(bucket(h, 256, 8), None);
        assert_eq!((bucket(h, 16, 2), bucket(h, 16, 15), bucket(h, 16, 16)), (Some(6), Some(0xc), None));
        assert_eq!((bucket(h, 1024, 5), bucket(h, 1024, 6)), (Some(0x267), None));
        // No fanouts, and no panic.
        assert_eq!((bucket(h, 0, 0), bucket(h, 1, 0)), (None, None));
    }

    #[test]
    fn hashes_part_at_their_first_different_bucket() {
        let h = 0x006e_88df_5847_e67c;
        assert_eq!(shared_depth(h, h ^ 1 << 63, 256), Some(0));
        assert_eq!(shared_depth(h, h ^ 1 << 55, 256), Some(1));
        assert_eq!((shared_depth(h, h ^ 1, 256), shared_depth(h, h, 256)), (Some(7), None));
        // With 10 bits a bucket, the last four of the hash are never looked at.
        assert_eq!((shared_depth(h, h ^ 1 << 4, 1024), shared_depth(h, h ^ 1 << 3, 1024)), (Some(5), None));
    }

    #[test]
    fn prefixes_are_upper_case_and_padded() {
        assert_eq!((prefix_len(16), prefix_len(256), prefix_len(1024), prefix_len(2)), (1, 2, 3, 1));
        assert_eq!((parse_prefix(b"0A"), parse_prefix(b"3FF")), (Some(10), Some(1023)));
        assert_eq!((parse_prefix(b"0a"), parse_prefix(b"+1"), parse_prefix(b"G")), (None, None, None));
    }
}
