//! The keyspace as a line, and which parts of it are completely known.
//!
//! A look-up that ends with the k closest servers knows more than its target's
//! neighbours: whatever shares a longer prefix with the target than the
//! furthest of them does is closer still, so it is among them or does not
//! exist. Of such *pieces* the k closest of many other keys follow without
//! asking anybody.
//!
//! The line is the first 64 bits of the space: no network is so large that
//! servers would have to be told apart behind them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerage_base::Instant;

use crate::crowd::Crowd;
use crate::key::{Distance, Key};
use crate::message::PeerInfo;
use crate::reach::Group;

/// Look-ups whose depth is remembered, to guess how deep regions are.
const DEPTHS_KEPT: usize = 8;

/// Where on the line a key is.
pub(super) const fn position(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// All keys that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    start: u64,
    /// Bits that they share, at most 64.
    depth: u32,
}

impl Prefix {
    pub(super) const fn of(position: u64, depth: u32) -> Self {
        let depth = if depth > 64 { 64 } else { depth };
        Self { start: position & !Self::low_bits(depth), depth }
    }

    pub(super) const fn depth(&self) -> u32 {
        self.depth
    }

    const fn low_bits(depth: u32) -> u64 {
        match u64::MAX.checked_shr(depth) {
            Some(bits) => bits,
            None => 0,
        }
    }

    pub(super) const fn first(&self) -> u64 {
        self.start
    }

    pub(super) const fn last(&self) -> u64 {
        self.start | Self::low_bits(self.depth)
    }

    pub(super) const fn contains(&self, position: u64) -> bool {
        self.start <= position && position <= self.last()
    }

    /// One bit shorter; itself if it is the whole space.
    const fn parent(&self) -> Self {
        Self::of(self.start, self.depth.saturating_sub(1))
    }

    /// The other half of its parent.
    const fn sibling(&self) -> Self {
        match 64u32.checked_sub(self.depth) {
            Some(shift) if shift < 64 => Self { start: self.start ^ (1 << shift), depth: self.depth },
            _ => *self,
        }
    }
}

/// A part of the line of which nothing is known; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Gap {
    pub(super) const fn contains(&self, position: u64) -> bool {
        self.first <= position && position <= self.last
    }

    /// The largest prefix that begins with the gap and lies in it.
    pub(super) fn beginning(&self) -> Prefix {
        let fits = |depth: &u32| {
            let prefix = Prefix::of(self.first, *depth);
            prefix.first() == self.first && prefix.last() <= self.last
        };
        Prefix::of(self.first, (0..64).find(fits).unwrap_or(64))
    }
}

/// A server and its key, which takes a hash to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) key: Key,
    pub(super) info: PeerInfo,
    group: Option<Group>,
}

impl Server {
    pub(super) fn new(info: PeerInfo, group: Option<Group>) -> Arc<Self> {
        Arc::new(Self { key: Key::of_peer(&info.peer), info, group })
    }
}

/// A part of which all servers are known.
#[derive(Debug)]
struct Piece {
    prefix: Prefix,
    servers: Vec<Arc<Server>>,
    learned: Instant,
}

/// What is known of a key's neighbourhood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// The closest, nearest first, until k count; fewer if there are not as many at all.
    Known(Vec<Arc<Server>>),
    /// There may be closer ones than are known, and they would lie here.
    Unknown(Gap),
}

/// The pieces of the last look-ups, none of which overlap.
#[derive(Debug)]
pub(super) struct Known {
    k: usize,
    group_max: usize,
    reuse_for: Duration,
    /// By their beginning.
    pieces: BTreeMap<u64, Piece>,
    /// Bits that the furthest of the k closest shared with the target.
    depths: VecDeque<u32>,
}

impl Known {
    /// Of one IP group, `group_max` count among the k closest.
    pub(super) const fn new(k: usize, group_max: usize, reuse_for: Duration) -> Self {
        Self { k, group_max, reuse_for, pieces: BTreeMap::new(), depths: VecDeque::new() }
    }

    /// How long a prefix has at least k servers, as far as the last look-ups
    /// tell; `None` before the first.
    pub(super) fn depth(&self) -> Option<u32> {
        self.depths.iter().min().copied()
    }

    /// A look-up could not say what is complete around its target.
    pub(super) fn learned_nothing(&mut self) {
        if self.depths.is_empty() {
            self.note_depth(64);
        }
    }

    fn note_depth(&mut self, depth: u32) {
        self.depths.push_back(depth);
        if self.depths.len() > DEPTHS_KEPT {
            self.depths.pop_front();
        }
    }

    /// Whether fewer than k of these count.
    pub(super) fn are_few(&self, servers: &[Arc<Server>]) -> bool {
        let mut crowd = Crowd::new(self.group_max);
        servers.iter().for_each(|server| crowd.add(server.group));
        crowd.counted() < self.k
    }

    /// Of servers, nearest first, those until k count.
    pub(super) fn enough<'a>(&self, sorted: &'a [Arc<Server>]) -> &'a [Arc<Server>] {
        let mut crowd = Crowd::new(self.group_max);
        let more = |server: &&Arc<Server>| {
            let more = crowd.counted() < self.k;
            crowd.add(server.group);
            more
        };
        let count = sorted.iter().take_while(more).count();
        &sorted[..count]
    }

    /// A look-up ended with these as the closest, nearest first. Fewer than k
    /// that count means that there are no more.
    pub(super) fn learn(&mut self, target: &Key, closest: &[Arc<Server>], now: Instant) {
        let all = self.are_few(closest);
        let furthest = closest.last().filter(|_| !all);
        let shared = furthest.map_or(0, |furthest| target.common_prefix(&furthest.key));
        let shared = u32::try_from(shared).unwrap_or(u32::MAX);
        self.note_depth(shared.min(64));
        let depth = if all { 0 } else { shared + 1 };
        if depth > 64 {
            return;
        }
        let prefix = Prefix::of(position(target), depth);
        let servers =
            closest.iter().filter(|server| prefix.contains(position(&server.key))).cloned().collect();
        self.insert(Piece { prefix, servers, learned: now });
    }

    fn insert(&mut self, piece: Piece) {
        let first = piece.prefix.first();
        // Who makes the place around a target look crowded takes no more than
        // that from what was known.
        if self.piece_at(first).is_some_and(|around| around.prefix.depth < piece.prefix.depth) {
            return;
        }
        let inside: Vec<u64> =
            self.pieces.range(first..=piece.prefix.last()).map(|(&start, _)| start).collect();
        for start in inside {
            self.pieces.remove(&start);
        }
        self.pieces.insert(first, piece);
    }

    pub(super) fn forget_all(&mut self) {
        self.pieces.clear();
    }

    /// Forgets what was learned too long ago to be used.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let reuse_for = self.reuse_for;
        self.pieces.retain(|_, piece| now.since(piece.learned) < reuse_for);
    }

    fn piece_at(&self, position: u64) -> Option<&Piece> {
        let (_, piece) = self.pieces.range(..=position).next_back()?;
        piece.prefix.contains(position).then_some(piece)
    }

    fn gap_at(&self, position: u64, within: &Prefix) -> Gap {
        let next = self.pieces.range(position..).next().map(|(&start, _)| start - 1);
        Gap { first: position, last: next.unwrap_or(u64::MAX).min(within.last()) }
    }

    /// The servers of all pieces of a prefix, or the first gap in it.
    fn collect(&self, prefix: &Prefix, servers: &mut Vec<Arc<Server>>) -> Result<(), Gap> {
        let mut at = prefix.first();
        loop {
            let Some(piece) = self.piece_at(at) else { return Err(self.gap_at(at, prefix)) };
            servers.extend(piece.servers.iter().cloned());
            match piece.prefix.last().checked_add(1) {
                Some(next) if next <= prefix.last() => at = next,
                _ => return Ok(()),
            }
        }
    }

    /// The servers closest to a key, if they follow from what is known.
    pub(super) fn neighbours(&self, key: &Key) -> Neighbours {
        let at = position(key);
        let Some(piece) = self.piece_at(at) else {
            // A gap that holds the key, from its own position on.
            return Neighbours::Unknown(self.gap_at(at, &Prefix::of(at, 0)));
        };
        let mut prefix = piece.prefix;
        let mut servers = piece.servers.clone();
        while self.are_few(&servers) && prefix.depth > 0 {
            if let Err(gap) = self.collect(&prefix.sibling(), &mut servers) {
                return Neighbours::Unknown(gap);
            }
            prefix = prefix.parent();
        }
        let mut by_distance: Vec<(Distance, Arc<Server>)> =
            servers.into_iter().map(|server| (server.key.distance(key), server)).collect();
        by_distance.sort_unstable_by_key(|(distance, _)| *distance);
        let sorted: Vec<_> = by_distance.into_iter().map(|(_, server)| server).collect();
        Neighbours::Known(self.enough(&sorted).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::info;

    const HOUR: Duration = Duration::from_secs(3600);

    fn servers(count: u64) -> Vec<Arc<Server>> {
        (0..count).map(|n| Server::new(info(n), None)).collect()
    }

    fn closest(servers: &[Arc<Server>], key: &Key, k: usize) -> Vec<Arc<Server>> {
        let mut all = servers.to_vec();
        all.sort_by_key(|server| server.key.distance(key));
        all.truncate(k);
        all
    }

    #[test]
    fn prefixes_of_the_ends() {
        let all = Prefix::of(77, 0);
        assert_eq!((all.first(), all.last()), (0, u64::MAX));
        assert_eq!(all.parent(), all);
        let one = Prefix::of(77, 64);
        assert_eq!((one.first(), one.last()), (77, 77));
        assert_eq!(one.sibling().first(), 76);
        assert_eq!(Prefix::of(u64::MAX, 1).sibling(), Prefix::of(0, 1));
    }

    #[test]
    fn a_gap_begins_with_the_largest_prefix_that_fits() {
        let gap = |first, last| Gap { first, last }.beginning();
        assert_eq!(gap(0, u64::MAX), Prefix::of(0, 0));
        assert_eq!(gap(8, 15), Prefix::of(8, 61));
        assert_eq!(gap(8, 14), Prefix::of(8, 62));
        assert_eq!(gap(9, 100), Prefix::of(9, 64));
    }

    #[test]
    fn a_network_of_few_is_known_by_one_lookup() {
        let all = servers(7);
        let mut known = Known::new(20, 3, HOUR);
        let target = Key::of(b"target");
        known.learn(&target, &closest(&all, &target, 20), Instant::START);
        let other = Key::of(b"other");
        assert_eq!(known.neighbours(&other), Neighbours::Known(closest(&all, &other, 20)));
        assert_eq!(known.depth(), Some(0));
        known.forget_old(Instant::START + HOUR);
        assert!(matches!(known.neighbours(&other), Neighbours::Unknown(_)));
    }

    proptest! {
        // Whatever was looked up before, what is said to be known is true, and
        // a look-up in the gap that is named goes on.
        #[test]
        fn what_is_known_is_true(
            count in 1u64..300,
            k in 1usize..21,
            owners in proptest::option::of(1u64..30),
            keys in proptest::collection::vec(any::<u64>(), 1..40),
        ) {
            // Without owners nobody is of a group; with few, most are too many of one.
            let group = |n: u64| owners.map(|owners| Group::V4Class(u8::try_from(n % owners).unwrap()));
            let all: Vec<_> = (0..count).map(|n| Server::new(info(n), group(n))).collect();
            let mut known = Known::new(k, 3, HOUR);
            for seed in keys {
                let key = Key::of(&seed.to_be_bytes());
                let truth = known.enough(&closest(&all, &key, usize::MAX)).to_vec();
                match known.neighbours(&key) {
                    Neighbours::Known(said) => prop_assert_eq!(said, truth),
                    Neighbours::Unknown(gap) => {
                        prop_assert!(gap.first <= gap.last);
                        prop_assert!(known.piece_at(gap.first).is_none() && known.piece_at(gap.last).is_none());
                        known.learn(&key, &truth, Instant::START);
                        prop_assert!(known.piece_at(position(&key)).is_some());
                    }
                }
                let mut end = None;
                for piece in known.pieces.values() {
                    prop_assert!(end < Some(piece.prefix.first()));
                    end = Some(piece.prefix.last());
                }
            }
        }
    }
}
