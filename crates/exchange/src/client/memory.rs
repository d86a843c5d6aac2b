//! What outlives a want or a connection: blocks that once were asked for, and
//! the bad blocks of peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerage_base::Instant;
use peerage_content::Cid;
use peerage_identity::PeerId;

use crate::limits::{BAD_BLOCK_SPAN, BAD_BLOCKS_MAX};

/// The last so many blocks that were asked for and are not wanted any more, by
/// 8 bytes of their hash. Who finds two blocks that agree in these gains a
/// block that is dropped without a charge.
#[derive(Debug)]
pub(crate) struct Remembered {
    keys: BTreeSet<u64>,
    order: VecDeque<u64>,
    max: usize,
}

impl Remembered {
    pub(crate) fn new(max: usize) -> Self {
        Self { keys: BTreeSet::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn insert(&mut self, cid: &Cid) {
        let key = Self::key(cid);
        if self.max == 0 || !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        self.keys.contains(&Self::key(cid))
    }

    fn key(cid: &Cid) -> u64 {
        cid.hash().digest().iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
    }
}

/// Bad blocks by peer, connected or not; at most so many peers, those charged
/// longest ago forgotten first.
#[derive(Debug)]
pub(crate) struct Histories {
    charges: BTreeMap<PeerId, VecDeque<Instant>>,
    oldest: BTreeSet<(Instant, PeerId)>,
    max: usize,
}

impl Histories {
    pub(crate) fn new(max: usize) -> Self {
        Self { charges: BTreeMap::new(), oldest: BTreeSet::new(), max: max.max(1) }
    }

    /// Charges a bad block: how many more there may be, 0 if this was the last.
    pub(crate) fn charge(&mut self, peer: PeerId, now: Instant) -> usize {
        let charges = self.charges.entry(peer).or_default();
        if let Some(&last) = charges.back() {
            self.oldest.remove(&(last, peer));
        }
        charges.push_back(now);
        while charges.front().is_some_and(|&at| now - at >= BAD_BLOCK_SPAN) {
            charges.pop_front();
        }
        let left = BAD_BLOCKS_MAX.saturating_sub(charges.len());
        if left == 0 {
            self.charges.remove(&peer);
        } else {
            self.oldest.insert((now, peer));
        }
        if self.charges.len() > self.max
            && let Some((_, forgotten)) = self.oldest.pop_first()
        {
            self.charges.remove(&forgotten);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cid, peer};

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_third_within_a_minute_is_the_last() {
        let mut histories = Histories::new(10);
        let charged: Vec<usize> =
            [0, 30, 61, 62].into_iter().map(|t| histories.charge(peer(1), at(t))).collect();
        assert_eq!(charged, [2, 1, 1, 0]);
        assert_eq!(histories.charge(peer(1), at(63)), 2, "a ban settles the account");
    }

    #[test]
    fn strangers_do_not_grow_it() {
        let mut histories = Histories::new(3);
        for i in 0..50 {
            histories.charge(peer(i), at(i));
        }
        assert_eq!((histories.charges.len(), histories.oldest.len()), (3, 3));
        assert_eq!(histories.charge(peer(49), at(50)), 1);
        let mut remembered = Remembered::new(4);
        for i in 0..50 {
            remembered.insert(&cid(i));
            remembered.insert(&cid(i));
        }
        assert_eq!((remembered.keys.len(), remembered.order.len()), (4, 4));
        assert!(remembered.contains(&cid(49)) && !remembered.contains(&cid(45)));
    }
}
