//! The routing table: k-buckets by common prefix with the local key.
//! Spec: ipfs/specs `routing/kad-dht.md`, "Kademlia routing table".
//!
//! Only servers that have answered us get in. A full bucket keeps who is in
//! it: peers that stayed are likely to stay, and nobody can push them out by
//! coming. Who comes then waits, and takes the place of the first that fails; if
//! nobody fits there, that one stays until it fails again later. On the WAN few
//! peers of one IP group get in, so that an attacker needs addresses and not just
//! identities.
//!
//! A bucket for each prefix, not go's unfolding last bucket: what go would
//! unfold is always unfolded here.

use std::collections::VecDeque;
use std::time::Duration;

use peerage_base::{Instant, PackedMap};
use peerage_identity::{Multiaddr, PeerId};

use crate::addrs::Addrs;
use crate::key::{Distance, KEY_BITS, Key};
use crate::limits::Config;
use crate::message::PeerInfo;
use crate::reach::{Group, Standing};

/// Peers by which a list grows. Lists that double have a third of the table's
/// memory unused, which counts where a simulator has 100,000 tables.
const GROWTH: usize = 5;

/// A server that answered.
#[derive(Debug, Clone)]
struct Entry {
    peer: PeerId,
    key: Key,
    addrs: Addrs,
    group: Option<Group>,
    answered: Instant,
    /// In a row, since it last answered.
    failures: u32,
    /// The last of them that counted.
    failed: Instant,
}

#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// Latest last. They count in no group of the table yet.
    waiting: VecDeque<Entry>,
    /// When a look-up last went through this bucket.
    refreshed: Option<Instant>,
}

/// What became of a peer that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is in the table now, perhaps in the place of one that failed.
    Added { evicted: Option<PeerId> },
    /// It was there already.
    Known,
    /// Its bucket is full; it waits. `oldest` has not answered for longest.
    Waiting { oldest: PeerId, answered: Instant },
    /// Too many of its IP group, ourselves, or not of this DHT.
    Refused,
}

/// Where one more peer can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Free,
    /// In the place of this one, which fails.
    Of(usize),
    /// The bucket is full of peers that are there.
    Taken,
    /// There are enough of its group.
    Closed,
}

/// How many peers of one bucket the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketHealth {
    /// Leading bits that these peers share with us.
    pub prefix: usize,
    /// Peers in the bucket.
    pub peers: usize,
    /// Of those, peers that did not answer when they were last asked.
    pub failing: usize,
    /// Peers that wait for a place.
    pub waiting: usize,
}

/// The servers that a peer knows.
#[derive(Debug)]
pub(crate) struct Table {
    local: Key,
    bucket_size: usize,
    replacements: usize,
    failures_max: u32,
    failures_apart: Duration,
    table_group_max: usize,
    bucket_group_max: usize,
    /// By common prefix; as many as were needed.
    buckets: Vec<Bucket>,
    groups: PackedMap<Group, usize>,
    len: usize,
}

impl Table {
    pub(crate) fn new(local: Key, config: &Config) -> Self {
        Self {
            local,
            bucket_size: config.bucket_size,
            replacements: config.replacements,
            failures_max: config.failures_max,
            failures_apart: config.failures_apart,
            table_group_max: config.table_group_max,
            bucket_group_max: config.bucket_group_max,
            buckets: Vec::new(),
            groups: PackedMap::new(),
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.place(peer).is_some()
    }

    /// True if a peer that is reached like this would get a place at once.
    pub(crate) fn has_room(&self, peer: &PeerId, standing: Standing) -> bool {
        let Some(prefix) = self.prefix(&Key::of_peer(peer)) else { return false };
        let group = match standing {
            Standing::Outside => return false,
            Standing::Exempt => None,
            Standing::Grouped(group) => Some(group),
        };
        matches!(self.seat(prefix, group), Seat::Free | Seat::Of(_))
    }

    fn seat(&self, prefix: usize, group: Option<Group>) -> Seat {
        let entries = self.buckets.get(prefix).map_or(&[][..], |bucket| &bucket.entries);
        let full = entries.len() >= self.bucket_size;
        let fits = self.group_fits(prefix, group, None);
        if fits && !full {
            return Seat::Free;
        }
        let gives_way = |entry: &Entry| entry.failures > 0 && self.group_fits(prefix, group, Some(entry));
        match entries.iter().position(gives_way) {
            Some(index) => Seat::Of(index),
            None if fits => Seat::Taken,
            None => Seat::Closed,
        }
    }

    /// A server answered. Its addresses replace what was known of it, unless there are none.
    pub(crate) fn answered(&mut self, info: &PeerInfo, standing: Standing, now: Instant) -> Admission {
        let key = Key::of_peer(&info.peer);
        let Some(prefix) = self.prefix(&key) else { return Admission::Refused };
        if let Some(index) = self.place_in(prefix, &info.peer) {
            let mut entry = self.buckets[prefix].entries.remove(index);
            entry.answered = now;
            entry.failures = 0;
            entry.take_addrs(&info.addrs);
            // In order of their last answer.
            self.buckets[prefix].entries.push(entry);
            return Admission::Known;
        }
        let group = match standing {
            Standing::Outside => return Admission::Refused,
            Standing::Exempt => None,
            Standing::Grouped(group) => Some(group),
        };
        if info.addrs.is_empty() {
            return Admission::Refused;
        }
        let entry = Entry {
            peer: info.peer,
            key,
            addrs: info.addrs.as_slice().into(),
            group,
            answered: now,
            failures: 0,
            failed: now,
        };
        self.admit(prefix, entry)
    }

    fn admit(&mut self, prefix: usize, entry: Entry) -> Admission {
        if self.buckets.len() <= prefix {
            self.buckets.resize_with(prefix + 1, Bucket::default);
        }
        let bucket = &mut self.buckets[prefix];
        bucket.waiting.retain(|other| other.peer != entry.peer);
        let evicted = match self.seat(prefix, entry.group) {
            Seat::Free => None,
            Seat::Of(index) => Some(self.take(prefix, index).peer),
            Seat::Taken => return self.wait(prefix, entry),
            Seat::Closed => return Admission::Refused,
        };
        self.put(prefix, entry);
        Admission::Added { evicted }
    }

    /// Has a peer wait; if too many do, or too many of its group, the one that
    /// has waited for longest does so no more.
    fn wait(&mut self, prefix: usize, entry: Entry) -> Admission {
        let (replacements, group_max) = (self.replacements, self.bucket_group_max);
        let bucket = &mut self.buckets[prefix];
        let (oldest, answered) = (bucket.entries[0].peer, bucket.entries[0].answered);
        let waiting = &mut bucket.waiting;
        let alike = |other: &Entry| entry.group.is_some() && other.group == entry.group;
        if waiting.iter().filter(|other| alike(other)).count() >= group_max {
            waiting.iter().position(alike).map(|index| waiting.remove(index));
        } else if waiting.len() >= replacements {
            waiting.pop_front();
        }
        if waiting.len() < replacements {
            if waiting.len() == waiting.capacity() {
                waiting.reserve_exact(GROWTH.min(replacements - waiting.len()));
            }
            waiting.push_back(entry);
        }
        Admission::Waiting { oldest, answered }
    }

    /// A peer did not answer. It leaves if somebody waits who fits its place, or
    /// if it failed often; says whether it did, and who came instead.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) -> Option<Option<PeerId>> {
        let Some((bucket, index)) = self.place(peer) else {
            self.forget_waiting(peer);
            return None;
        };
        let entry = &mut self.buckets[bucket].entries[index];
        if entry.failures == 0 || now.since(entry.failed) >= self.failures_apart {
            (entry.failures, entry.failed) = (entry.failures + 1, now);
        }
        let entry = &self.buckets[bucket].entries[index];
        if entry.failures >= self.failures_max || self.successor(bucket, Some(entry)).is_some() {
            return Some(self.remove_at(bucket, index));
        }
        None
    }

    /// A peer is no server any more. Says whether it was here, and who took its place.
    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<Option<PeerId>> {
        self.forget_waiting(peer);
        let (bucket, index) = self.place(peer)?;
        Some(self.remove_at(bucket, index))
    }

    fn forget_waiting(&mut self, peer: &PeerId) {
        if let Some(bucket) = self.prefix(&Key::of_peer(peer)).and_then(|prefix| self.buckets.get_mut(prefix))
        {
            bucket.waiting.retain(|other| other.peer != *peer);
        }
    }

    fn remove_at(&mut self, bucket: usize, index: usize) -> Option<PeerId> {
        self.take(bucket, index);
        let successor = self.successor(bucket, None)?;
        let next = self.buckets[bucket].waiting.remove(successor)?;
        let peer = next.peer;
        self.put(bucket, next);
        Some(peer)
    }

    /// Who of those that wait would fit, once `leaving` has left: the last to
    /// answer first, as it is the likeliest to be there still.
    fn successor(&self, bucket: usize, leaving: Option<&Entry>) -> Option<usize> {
        let fits = |next: &Entry| self.group_fits(bucket, next.group, leaving);
        self.buckets[bucket].waiting.iter().rposition(fits)
    }

    fn put(&mut self, bucket: usize, entry: Entry) {
        if let Some(group) = entry.group {
            *self.groups.or_insert_with(group, || 0) += 1;
        }
        self.len += 1;
        let entries = &mut self.buckets[bucket].entries;
        if entries.len() == entries.capacity() {
            entries.reserve_exact(GROWTH);
        }
        let index = entries.partition_point(|other| other.answered <= entry.answered);
        entries.insert(index, entry);
    }

    fn take(&mut self, bucket: usize, index: usize) -> Entry {
        let entry = self.buckets[bucket].entries.remove(index);
        self.len -= 1;
        if let Some(group) = entry.group
            && let Some(count) = self.groups.get_mut(&group)
        {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
        entry
    }

    /// Whether one more of this group fits, once `leaving` has left.
    fn group_fits(&self, prefix: usize, group: Option<Group>, leaving: Option<&Entry>) -> bool {
        let Some(group) = group else { return true };
        let leaves = usize::from(leaving.is_some_and(|entry| entry.group == Some(group)));
        let here = self
            .buckets
            .get(prefix)
            .map_or(0, |bucket| bucket.entries.iter().filter(|entry| entry.group == Some(group)).count());
        let all = self.groups.get(&group).copied().unwrap_or(0);
        here - leaves < self.bucket_group_max && all - leaves < self.table_group_max
    }

    /// Whether we may be one of the closest to a key ourselves: all who share
    /// more bits with it than we do are closer, and they are of one bucket.
    pub(crate) fn is_among_closest(&self, key: &Key) -> bool {
        let closer = self.buckets.get(self.local.common_prefix(key));
        closer.is_none_or(|bucket| bucket.entries.len() < self.bucket_size)
    }

    fn prefix(&self, key: &Key) -> Option<usize> {
        Some(self.local.common_prefix(key)).filter(|&prefix| prefix < KEY_BITS)
    }

    fn place(&self, peer: &PeerId) -> Option<(usize, usize)> {
        let prefix = self.prefix(&Key::of_peer(peer))?;
        Some((prefix, self.place_in(prefix, peer)?))
    }

    fn place_in(&self, bucket: usize, peer: &PeerId) -> Option<usize> {
        self.buckets.get(bucket)?.entries.iter().position(|entry| entry.peer == *peer)
    }

    /// The peers closest to `target`, nearest first, `except` left out; those
    /// that failed last only if `failing`.
    pub(crate) fn closest(
        &self,
        target: &Key,
        count: usize,
        except: Option<&PeerId>,
        failing: bool,
    ) -> Vec<PeerInfo> {
        // Those in the target's own bucket share more bits with it than all in
        // deeper ones, which share one number; then each shallower one less.
        let own = self.local.common_prefix(target).min(self.buckets.len());
        let deeper = (own + 1).min(self.buckets.len());
        let (shallower, rest) = self.buckets.split_at(own);
        let (own, deeper) = rest.split_at(deeper - own);
        let groups = [own, deeper].into_iter().chain(shallower.chunks(1).rev());
        let mut found: Vec<(Distance, &Entry)> = Vec::new();
        for group in groups {
            if found.len() >= count {
                break;
            }
            let before = found.len();
            let entries = group.iter().flat_map(|bucket| &bucket.entries).filter(|entry| {
                except.is_none_or(|except| entry.peer != *except) && (failing || entry.failures == 0)
            });
            found.extend(entries.map(|entry| (entry.key.distance(target), entry)));
            found[before..].sort_unstable_by_key(|(distance, _)| *distance);
        }
        found.truncate(count);
        found.into_iter().map(|(_, entry)| entry.info()).collect()
    }

    /// What is known of a peer in the table.
    pub(crate) fn info(&self, peer: &PeerId) -> Option<PeerInfo> {
        self.info_at(&Key::of_peer(peer), peer)
    }

    /// The same, for who knows its key.
    pub(crate) fn info_at(&self, key: &Key, peer: &PeerId) -> Option<PeerInfo> {
        let bucket = self.prefix(key)?;
        let index = self.place_in(bucket, peer)?;
        Some(self.buckets[bucket].entries[index].info())
    }

    /// A peer in the table says where it is.
    pub(crate) fn set_addrs(&mut self, peer: &PeerId, addrs: &[Multiaddr]) {
        if let Some((bucket, index)) = self.place(peer) {
            self.buckets[bucket].entries[index].take_addrs(addrs);
        }
    }

    /// All peers, by bucket and then by their last answer.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerInfo> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries).map(Entry::info)
    }

    /// Peers that have not answered since `before`.
    pub(crate) fn unheard(&self, before: Instant) -> impl Iterator<Item = PeerId> {
        let entries = self.buckets.iter().flat_map(|bucket| &bucket.entries);
        entries.filter(move |entry| entry.answered <= before).map(|entry| entry.peer)
    }

    /// Notes that a look-up for `target` went through its bucket.
    pub(crate) fn refreshed(&mut self, target: &Key, now: Instant) {
        let prefix = self.local.common_prefix(target);
        if let Some(bucket) = self.buckets.get_mut(prefix) {
            bucket.refreshed = Some(now);
        }
    }

    /// Buckets that no look-up went through since `before`, those with nobody
    /// in them too: from the furthest from us to the deepest in use, or to `max`.
    pub(crate) fn stale_prefixes(&self, before: Instant, max: usize) -> Vec<usize> {
        let deepest = self.buckets.iter().rposition(|bucket| !bucket.entries.is_empty()).unwrap_or(0);
        let stale = |prefix: &usize| {
            self.buckets.get(*prefix).and_then(|bucket| bucket.refreshed).is_none_or(|at| at <= before)
        };
        (0..=deepest.min(max)).filter(stale).collect()
    }

    pub(crate) fn health(&self) -> Vec<BucketHealth> {
        let health = |(prefix, bucket): (usize, &Bucket)| BucketHealth {
            prefix,
            peers: bucket.entries.len(),
            failing: bucket.entries.iter().filter(|entry| entry.failures > 0).count(),
            waiting: bucket.waiting.len(),
        };
        self.buckets.iter().enumerate().map(health).collect()
    }
}

impl Entry {
    /// Where it is now, unless that is nowhere.
    fn take_addrs(&mut self, addrs: &[Multiaddr]) {
        if !addrs.is_empty() {
            self.addrs.update(addrs);
        }
    }

    fn info(&self) -> PeerInfo {
        PeerInfo { peer: self.peer, addrs: self.addrs.to_vec() }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
