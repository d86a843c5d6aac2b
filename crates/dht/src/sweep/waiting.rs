//! Keys that wait to be announced out of turn, because they are new or failed.
//!
//! Of a key that is held here the sweep has the multihash already, so its key
//! is all that is kept, and every one of them may wait. Keys that the owner
//! lists have nothing here but this, and are bounded by whoever puts them in.

use std::collections::BTreeSet;

use super::keys::{KeyMap, Keys, Multihash};
use super::keyspace::position;
use crate::key::Key;

/// Keys that wait. None is in it twice.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    held: BTreeSet<Key>,
    listed: KeyMap,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.held.len() + self.listed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.listed.is_empty()
    }

    /// Of these, the owner's.
    pub(super) fn listed(&self) -> usize {
        self.listed.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.held.contains(key) || self.listed.contains_key(key)
    }

    /// One that is held here.
    pub(super) fn insert_held(&mut self, key: Key) {
        self.listed.remove(&key);
        self.held.insert(key);
    }

    /// One that the owner lists.
    pub(super) fn insert_listed(&mut self, key: Key, hash: Multihash) {
        if !self.held.contains(&key) {
            self.listed.insert(key, hash);
        }
    }

    /// One of a job's, if it may still be one to announce: what the owner has it
    /// alone knows.
    pub(super) fn put(&mut self, key: Key, wire: &[u8], keys: &Keys) {
        if keys.held.contains_key(&key) {
            self.insert_held(key);
        } else if let Some(hash) = Multihash::new(wire).filter(|_| keys.listing.is_some()) {
            self.insert_listed(key, hash);
        }
    }

    /// Whether it was in it.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        self.held.remove(key) | self.listed.remove(key).is_some()
    }

    /// All of another one.
    pub(super) fn append(&mut self, other: &mut Self) {
        std::mem::take(&mut other.held).into_iter().for_each(|key| self.insert_held(key));
        std::mem::take(&mut other.listed).into_iter().for_each(|(key, hash)| self.insert_listed(key, hash));
    }

    /// The first one on the line.
    pub(super) fn first(&self) -> Option<Key> {
        let listed = self.listed.first_key_value().map(|(key, _)| key);
        self.held.first().into_iter().chain(listed).min().copied()
    }

    /// The first keys up to that position, in order, at most `max`; those of
    /// `held` with the multihash that is there.
    pub(super) fn take(&mut self, last: u64, max: usize, held: &KeyMap) -> Vec<(Key, Multihash)> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(key) = self.first().filter(|key| position(key) <= last)
        {
            let own = self.held.remove(&key).then(|| held.get(&key).cloned());
            let hash = own.unwrap_or_else(|| self.listed.remove(&key));
            taken.extend(hash.map(|hash| (key, hash)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::keys::tests::hash;

    #[test]
    fn keys_of_both_kinds_come_in_order_and_once() {
        let mut all: Vec<_> = (0..10).map(hash).collect();
        all.sort_by_key(|(key, _)| *key);
        let held: KeyMap = all.iter().step_by(2).cloned().collect();
        let (mut waiting, mut later) = (Waiting::default(), Waiting::default());
        for (n, (key, hash)) in all.iter().cloned().enumerate() {
            let into = if n < 5 { &mut waiting } else { &mut later };
            // Those that are held are listed as well, before that or after it.
            if n % 4 != 0 {
                into.insert_listed(key, hash.clone());
            }
            if held.contains_key(&key) {
                into.insert_held(key);
                into.insert_listed(key, hash);
            }
        }
        waiting.append(&mut later);
        assert!(later.is_empty() && later.first().is_none());
        assert_eq!((waiting.len(), waiting.listed(), waiting.first()), (10, 5, Some(all[0].0)));
        assert_eq!(waiting.take(u64::MAX, 3, &held), all[..3]);
        assert_eq!(waiting.take(position(&all[5].0), 9, &held), all[3..6]);
        assert!(waiting.remove(&all[6].0) && waiting.remove(&all[7].0) && !waiting.remove(&all[0].0));
        assert!(!waiting.contains(&all[7].0) && waiting.contains(&all[8].0));
        assert_eq!(waiting.take(u64::MAX, 9, &held), all[8..]);
        assert!(waiting.is_empty());
    }
}
