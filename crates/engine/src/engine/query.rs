//! What a query waits for, and what its blocks are taken to weigh before they
//! come: nobody says so, and what comes beyond what was asked for is reset by the
//! transport.

use std::collections::{BTreeMap, BTreeSet};

use peerage_content::limits::BLOCK_MADE_MAX;
use peerage_content::{Cid, Multihash, codec};

/// What a leaf is taken to weigh at first, in bytes: 1 MiB, as the default profile
/// of today's programs makes them.
const LEAF: u64 = 1 << 20;

/// What any other block is taken to weigh at first, in bytes: 256 KiB, as the
/// dag-pb leaves of older profiles. Folders and inner nodes are smaller.
const NODE: u64 = 256 << 10;

/// What a block is taken to weigh at least, in bytes. No less would have more
/// blocks under way than anyone reads ahead.
const LEAST: u64 = 64 << 10;

/// The job of a query.
#[derive(Debug)]
pub(super) struct Query {
    /// Blocks that were asked for, by hash, and as what.
    pub(super) waiting: BTreeMap<Multihash, BTreeSet<Cid>>,
    leaf: u64,
    node: u64,
}

impl Query {
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), leaf: LEAF, node: NODE }
    }

    /// What a block is taken to weigh, in bytes.
    pub(super) fn estimate(&self, cid: &Cid) -> u64 {
        let seen = if cid.codec() == codec::RAW { self.leaf } else { self.node };
        seen.clamp(LEAST, BLOCK_MADE_MAX as u64)
    }

    /// A block has come. Large ones count at once, small ones bit by bit: too low
    /// an estimate loses blocks, too high a one only time.
    pub(super) fn weigh(&mut self, cid: &Cid, len: u32) {
        let seen = if cid.codec() == codec::RAW { &mut self.leaf } else { &mut self.node };
        *seen = u64::from(len).max(*seen - *seen / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_count_at_once_and_small_ones_bit_by_bit() {
        let mut query = Query::new();
        let hash = peerage_content::hash::digest(peerage_content::hash::SHA2_256, b"").unwrap();
        let [leaf, node] = [codec::RAW, codec::DAG_PB].map(|codec| Cid::new_v1(codec, hash));
        assert_eq!((query.estimate(&leaf), query.estimate(&node)), (LEAF, NODE));
        query.weigh(&leaf, 100);
        assert_eq!((query.estimate(&leaf), query.estimate(&node)), (LEAF / 8 * 7, NODE));
        for _ in 0..100 {
            query.weigh(&leaf, 100);
        }
        assert_eq!(query.estimate(&leaf), LEAST);
        query.weigh(&leaf, 1 << 20);
        assert_eq!(query.estimate(&leaf), 1 << 20);
        query.weigh(&node, 4 << 20);
        assert_eq!(query.estimate(&node), BLOCK_MADE_MAX as u64);
    }
}
