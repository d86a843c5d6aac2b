//! A run of keys on its way: first whom to tell of each, then telling them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use peerage_base::Rng;
use peerage_identity::PeerId;

use super::keys::Multihash;
use super::keyspace::{Gap, Known, Neighbours, Server, position};
use crate::key::Key;
use crate::message::PeerInfo;

/// From so many keys on that want the same part of the keyspace it is looked
/// for itself. For fewer, each asks for its own neighbours, which takes no more.
const EXPLORE_FROM: usize = 3;

/// Look-ups of one job for parts of the keyspace in which it has no key. A
/// region needs one or two; somebody may see to it that they tell nothing.
const EXPLORE_MAX: u32 = 8;

/// Longest prefix for which something is looked for that lies there: it takes
/// about `2^n` hashes, some milliseconds.
const EXPLORE_DEPTH_MAX: u32 = 16;

/// Why its keys are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// They are new, or failed before.
    Soon,
    /// Their turn has come.
    Turn,
}

/// One key of a job.
#[derive(Debug)]
struct Entry {
    key: Key,
    wire: Bytes,
    /// Servers that are to be told; 0 as long as they are not known.
    wanted: u8,
    /// Servers that were told.
    told: u8,
}

/// Who knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nobody,
    Some,
    /// Half of its servers: the rest is what was to make up for some that leave.
    Enough,
}

/// A look-up that a job wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) wire: Bytes,
    pub(super) key: Key,
}

/// What one server is to be told.
#[derive(Debug)]
struct Delivery {
    server: Arc<Server>,
    entries: Vec<u32>,
}

/// Keys that one server is to be told, and which entries they are.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) peer: PeerInfo,
    pub(super) keys: Vec<Bytes>,
    pub(super) entries: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) class: Class,
    /// In the order of their keys.
    entries: Vec<Entry>,
    /// All before this are resolved.
    next: usize,
    explored: u32,
    deliveries: BTreeMap<PeerId, Delivery>,
    /// Whom to tell, once all are resolved.
    queue: VecDeque<PeerId>,
    pub(super) in_flight: usize,
}

impl Job {
    pub(super) fn new(class: Class, keys: Vec<(Key, Multihash)>) -> Self {
        let entry = |(key, hash): (Key, Multihash)| Entry { key, wire: hash.to_bytes(), wanted: 0, told: 0 };
        Self {
            class,
            entries: keys.into_iter().map(entry).collect(),
            next: 0,
            explored: 0,
            deliveries: BTreeMap::new(),
            queue: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// Its keys.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.entries.binary_search_by(|entry| entry.key.cmp(key)).is_ok()
    }

    /// Whether a server was told of this key, if it is one of its own.
    pub(super) fn is_told(&self, key: &Key) -> Option<bool> {
        let index = self.entries.binary_search_by(|entry| entry.key.cmp(key)).ok()?;
        Some(self.entries[index].told > 0)
    }

    /// Where it begins.
    pub(super) fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| position(&entry.key))
    }

    /// Finds the servers of as many keys as possible. What is to be looked up
    /// then; `None` if all keys have theirs.
    pub(super) fn explore(&mut self, known: &Known, rng: &mut Rng) -> Option<Target> {
        while let Some(entry) = self.entries.get(self.next) {
            if entry.wanted == 0 {
                match known.neighbours(&entry.key) {
                    Neighbours::Known(servers) if !servers.is_empty() => self.assign(self.next, &servers),
                    // A network of nobody: the look-up says so again.
                    Neighbours::Known(_) => return Some(self.target(self.next)),
                    Neighbours::Unknown(gap) => return Some(self.choose(&gap, rng)),
                }
            }
            self.next += 1;
        }
        if self.queue.is_empty() && self.in_flight == 0 {
            self.queue = self.deliveries.keys().copied().collect();
        }
        None
    }

    /// What to look up to fill a gap.
    fn choose(&mut self, gap: &Gap, rng: &mut Rng) -> Target {
        if gap.contains(position(&self.entries[self.next].key)) {
            return self.target(self.next);
        }
        let from = self.entries.partition_point(|entry| position(&entry.key) < gap.first);
        let own = (from..self.entries.len()).take_while(|&n| gap.contains(position(&self.entries[n].key)));
        if let Some(own) = own.into_iter().find(|&n| self.entries[n].wanted == 0) {
            return self.target(own);
        }
        if self.entries.len() - self.next >= EXPLORE_FROM && self.explored < EXPLORE_MAX {
            self.explored += 1;
            if let Some(target) = preimage(gap, rng) {
                return target;
            }
        }
        self.target(self.next)
    }

    fn target(&self, index: usize) -> Target {
        let entry = &self.entries[index];
        Target { wire: entry.wire.clone(), key: entry.key }
    }

    /// A look-up found the servers closest to one of the keys, if it is one.
    pub(super) fn found(&mut self, target: &Key, servers: &[Arc<Server>]) {
        if let Ok(index) = self.entries.binary_search_by(|entry| entry.key.cmp(target))
            && self.entries[index].wanted == 0
        {
            self.assign(index, servers);
        }
    }

    fn assign(&mut self, index: usize, servers: &[Arc<Server>]) {
        for server in servers {
            let new = || Delivery { server: Arc::clone(server), entries: Vec::new() };
            let delivery = self.deliveries.entry(server.info.peer).or_insert_with(new);
            delivery.entries.push(u32::try_from(index).expect("a job has few keys"));
        }
        self.entries[index].wanted = u8::try_from(servers.len()).unwrap_or(u8::MAX);
    }

    /// The next server to tell.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let peer = self.queue.pop_front()?;
        let delivery = self.deliveries.remove(&peer)?;
        self.in_flight += 1;
        let keys = delivery.entries.iter().map(|&n| self.entries[n as usize].wire.clone()).collect();
        Some(Batch { peer: delivery.server.info.clone(), keys, entries: delivery.entries })
    }

    /// A server was told of these.
    pub(super) fn told(&mut self, entries: &[u32]) {
        for &n in entries {
            let told = &mut self.entries[n as usize].told;
            *told = told.saturating_add(1);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next == self.entries.len() && self.in_flight == 0 && self.queue.is_empty()
    }

    /// Its keys, and what was told of each.
    pub(super) fn into_results(self) -> impl Iterator<Item = (Key, Bytes, Told)> {
        self.entries.into_iter().map(|entry| {
            let told = match entry.told {
                0 => Told::Nobody,
                told if told >= entry.wanted.div_ceil(2) => Told::Enough,
                _ => Told::Some,
            };
            (entry.key, entry.wire, told)
        })
    }
}

/// Something that lies in a gap: hashes drawn until one fits, in the form of a
/// peer id, since some servers want one.
fn preimage(gap: &Gap, rng: &mut Rng) -> Option<Target> {
    let prefix = gap.beginning();
    let depth = prefix.depth();
    if depth > EXPLORE_DEPTH_MAX {
        return None;
    }
    let mut wire = [0; 34];
    wire[..2].copy_from_slice(&[0x12, 0x20]);
    rng.fill(&mut wire[2..26]);
    for _ in 0..64u64 << depth {
        rng.fill(&mut wire[26..]);
        let key = Key::of(&wire);
        if gap.contains(position(&key)) {
            return Some(Target { wire: Bytes::copy_from_slice(&wire), key });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_lies_in_its_gap() {
        let mut rng = Rng::new(1);
        let gap = Gap { first: 0x0123 << 48, last: (0x0124 << 48) - 1 };
        let target = preimage(&gap, &mut rng).unwrap();
        assert!(gap.contains(position(&target.key)));
        assert_eq!(Key::of(&target.wire), target.key);
        assert_eq!(preimage(&Gap { first: 7, last: 9 }, &mut rng), None);
    }
}
