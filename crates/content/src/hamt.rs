//! Sharded folders: where a name belongs (ipfs/specs unixfs.md, HAMT; as
//! deployed, which differs from the text: bits are taken from the most
//! significant end of the big-endian hash, the bit field is a big-endian
//! number without leading zeros).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Cid;
use crate::block::Block;
use crate::dagpb::{self, Link, PbNode};
use crate::profile::Profile;
use crate::unixfs::{Data, Kind, Metadata};

/// Multihash code of the one hash function that shards use.
pub const MURMUR3_X64_64: u64 = 0x22;

/// The hash that decides the place of `name`: 64 bits, read from the top.
#[must_use]
pub fn hash(name: &[u8]) -> u64 {
    let wide = murmur3::murmur3_x64_128(&mut &name[..], 0).expect("reading from memory never fails");
    let [a, b, c, d, e, f, g, h, ..] = wide.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The bucket of a hash at `depth` (0 at the folder's root); none when the
/// bits have run out.
#[must_use]
pub fn bucket(hash: u64, fanout: u32, depth: usize) -> Option<u32> {
    let bits = fanout.trailing_zeros() as usize;
    let used = bits.checked_mul(depth + 1)?;
    let rest = 64usize.checked_sub(used)?;
    u32::try_from((hash >> rest) & u64::from(fanout - 1)).ok()
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

/// Two names share all 64 bits of their hash, so no shard can hold both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two names with the same hash cannot be in one sharded folder")]
pub struct HashCollision;

/// What goes into one shard.
pub(crate) struct Item<'a> {
    hash: u64,
    name: &'a str,
    cid: Cid,
    tsize: u64,
}

/// A finished shard: its root's CID and all bytes under it.
pub(crate) struct BuiltShard {
    pub(crate) cid: Cid,
    pub(crate) tsize: u64,
}

/// Builds the shards of a folder, children before parents.
pub(crate) fn build(
    profile: &Profile,
    entries: &BTreeMap<String, (Cid, u64)>,
    metadata: Metadata,
    blocks: &mut Vec<Block>,
) -> Result<BuiltShard, HashCollision> {
    let mut items: Vec<Item<'_>> = entries
        .iter()
        .map(|(name, &(cid, tsize))| Item { hash: hash(name.as_bytes()), name, cid, tsize })
        .collect();
    items.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| a.name.cmp(b.name)));
    build_node(profile, &items, 0, metadata, blocks)
}

/// One node from `items`, which are sorted by hash: buckets are runs.
fn build_node(
    profile: &Profile,
    items: &[Item<'_>],
    depth: usize,
    metadata: Metadata,
    blocks: &mut Vec<Block>,
) -> Result<BuiltShard, HashCollision> {
    let fanout = profile.hamt_fanout;
    let width = prefix_len(fanout);
    let mut links: Vec<(String, Cid, u64)> = Vec::new();
    let mut bits = vec![0u8; (fanout as usize).div_ceil(8)];
    let mut rest = items;
    while let Some(first) = rest.first() {
        let number = bucket(first.hash, fanout, depth).ok_or(HashCollision)?;
        let run = rest.partition_point(|item| bucket(item.hash, fanout, depth) == Some(number));
        let (here, after) = rest.split_at(run);
        rest = after;
        let byte = bits.len() - 1 - number as usize / 8;
        bits[byte] |= 1 << (number % 8);
        if let [only] = here {
            links.push((format!("{number:0width$X}{}", only.name), only.cid, only.tsize));
        } else {
            let sub = build_node(profile, here, depth + 1, Metadata::default(), blocks)?;
            links.push((format!("{number:0width$X}"), sub.cid, sub.tsize));
        }
    }
    let zeros = bits.iter().take_while(|&&byte| byte == 0).count();
    let mut data = Data::new(Kind::HamtShard);
    data.data = Some(&bits[zeros..]);
    data.hash_type = Some(MURMUR3_X64_64);
    data.fanout = Some(u64::from(fanout));
    data.metadata = metadata;
    let data = data.encode();
    let links = links.iter().map(|(name, cid, tsize)| Link {
        cid: *cid,
        name: Some(name.as_bytes()),
        tsize: Some(*tsize),
    });
    let node = PbNode { links: links.collect(), data: Some(&data) };
    let encoded = dagpb::encode(&node);
    let tsize = crate::block::tsize(encoded.len(), &node);
    let block = Block::dag_pb(profile, Bytes::from(encoded));
    let cid = block.cid;
    blocks.push(block);
    Ok(BuiltShard { cid, tsize })
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
    }

    #[test]
    fn prefixes_are_upper_case_and_padded() {
        assert_eq!((prefix_len(16), prefix_len(256), prefix_len(1024), prefix_len(2)), (1, 2, 3, 1));
        assert_eq!((parse_prefix(b"0A"), parse_prefix(b"3FF")), (Some(10), Some(1023)));
        assert_eq!((parse_prefix(b"0a"), parse_prefix(b"+1"), parse_prefix(b"G")), (None, None, None));
    }
}
