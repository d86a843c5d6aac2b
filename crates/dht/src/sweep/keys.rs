//! The multihashes to announce, by Kademlia key: those that are held, and the
//! next ones of a set that the owner keeps.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::keyspace::position;
use crate::key::Key;
use crate::limits::KEY_MAX;

/// A multihash in 40 bytes: what is common, and what is longer on the heap.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Multihash {
    /// A code and a length of a byte each, and a digest of 32.
    Common([u8; 34]),
    Other(Box<[u8]>),
}

impl Multihash {
    /// `None` if a DHT takes no key of this length.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > KEY_MAX {
            return None;
        }
        Some(bytes.try_into().map_or_else(|_| Self::Other(bytes.into()), Self::Common))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Common(bytes) => bytes,
            Self::Other(bytes) => bytes,
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl fmt::Debug for Multihash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multihash({} bytes)", self.as_bytes().len())
    }
}

/// What comes next on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This key.
    Key(Key),
    /// The owner has to say.
    Ask,
    /// Nothing up to the end of the line.
    End,
}

/// Multihashes by their key.
pub(super) type KeyMap = BTreeMap<Key, Multihash>;

/// Where the keys are: some here, and others with the owner, if it lists any.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) held: KeyMap,
    pub(super) listing: Option<Listing>,
    /// How many the owner says that it has.
    pub(super) listed: usize,
}

/// The part of the owner's set that was listed last.
#[derive(Debug, Default)]
pub(super) struct Listing {
    ahead: KeyMap,
    /// All keys from the last position up to here are in `ahead`; `None` if
    /// nothing is.
    until: Option<Key>,
    /// It reaches to the end of the line.
    complete: bool,
    /// What the owner was asked for and has not listed yet.
    pub(super) asked: Option<Key>,
}

impl Keys {
    pub(super) fn new(listed: bool) -> Self {
        Self { listing: listed.then(Listing::default), ..Self::default() }
    }

    /// The first key at or behind `from`.
    pub(super) fn next(&self, from: &Key) -> Next {
        let first = |map: &KeyMap| map.range(from..).next().map(|(key, _)| *key);
        let (held, mut end) = (first(&self.held), Next::End);
        let mut next = held;
        if let Some(listing) = &self.listing {
            next = first(&listing.ahead).into_iter().chain(held).min();
            if !listing.complete {
                // What is held there may not be the first.
                next = next.filter(|key| listing.until.is_some_and(|until| *key <= until));
                end = Next::Ask;
            }
        }
        next.map_or(end, Next::Key)
    }

    /// Keys from `from` to the last position of a region, at most `max`, and
    /// none behind what was listed.
    pub(super) fn take(&mut self, from: &Key, last: u64, max: usize) -> Vec<(Key, Multihash)> {
        let until = self.listing.as_ref().filter(|listing| !listing.complete).map(|listing| listing.until);
        let within = |key: &Key| position(key) <= last && until.is_none_or(|until| Some(*key) <= until);
        let region = |map: &KeyMap| -> Vec<(Key, Multihash)> {
            let keys = map.range(from..).take_while(|(key, _)| within(key)).take(max);
            keys.map(|(key, hash)| (*key, hash.clone())).collect()
        };
        let mut taken = region(&self.held);
        if let Some(listing) = &mut self.listing {
            taken.extend(region(&listing.ahead));
            taken.sort_unstable_by_key(|(key, _)| *key);
            taken.dedup_by_key(|(key, _)| *key);
            taken.truncate(max);
            for (key, _) in &taken {
                listing.ahead.remove(key);
            }
        }
        taken
    }

    /// Forgets what was listed: the position was moved.
    pub(super) fn rewind(&mut self) {
        if let Some(listing) = &mut self.listing {
            *listing = Listing::default();
        }
    }
}

impl Listing {
    /// Where to go on listing, if that is behind `from`.
    pub(super) fn resume_at(&self, from: &Key) -> Key {
        match self.until.as_ref().and_then(Key::successor) {
            Some(next) if next > *from => next,
            _ => *from,
        }
    }

    /// The owner has a key no more.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Multihash> {
        self.ahead.remove(key)
    }

    /// The owner has a new key; of interest if it lies in what was listed and
    /// its turn is still to come, where `next` is the first whose is. Of more
    /// than `max` the last are forgotten, to be listed again.
    pub(super) fn note(&mut self, key: Key, hash: Multihash, next: &Key, max: usize) {
        let listed = self.complete || self.until.is_some_and(|until| key <= until);
        if key < *next || !listed {
            return;
        }
        self.ahead.insert(key, hash);
        if self.ahead.len() > max {
            self.ahead.pop_last();
            self.until = self.ahead.last_key_value().map(|(key, _)| *key);
            self.complete = false;
            // The answer to that would leave out what lies before it.
            self.asked = None;
        }
    }

    /// The owner lists what it has at or behind `asked`; `complete` if that is all.
    pub(super) fn extend(
        &mut self,
        asked: Key,
        keys: impl Iterator<Item = (Key, Multihash)>,
        complete: bool,
    ) {
        for (key, hash) in keys.filter(|(key, _)| *key >= asked) {
            self.until = self.until.max(Some(key));
            self.ahead.insert(key, hash);
        }
        self.complete = complete;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sweep) fn hash(n: u64) -> (Key, Multihash) {
        let bytes = n.to_be_bytes();
        (Key::of(&bytes), Multihash::new(&bytes).unwrap())
    }

    #[test]
    fn a_multihash_takes_40_bytes_and_keeps_its_own() {
        assert_eq!(std::mem::size_of::<Multihash>(), 40);
        for len in [1, 33, 34, 35, KEY_MAX] {
            let bytes = vec![7; len];
            assert_eq!(Multihash::new(&bytes).unwrap().as_bytes(), bytes);
        }
        assert_eq!(Multihash::new(&[]), None);
        assert_eq!(Multihash::new(&[0; KEY_MAX + 1]), None);
    }

    #[test]
    fn a_listing_is_asked_for_again_where_it_ended() {
        let mut sorted: Vec<_> = (0..5).map(hash).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let zero = Key::from_bytes([0; 32]);
        let mut keys = Keys::new(true);
        assert_eq!(keys.next(&zero), Next::Ask);
        let listing = keys.listing.as_mut().unwrap();
        assert_eq!(listing.resume_at(&zero), zero);
        listing.extend(zero, sorted[..3].iter().cloned(), false);
        assert_eq!(listing.resume_at(&zero), sorted[2].0.successor().unwrap());
        assert_eq!(keys.take(&zero, u64::MAX, 2), sorted[..2]);
        // A new key is taken up only where listing has been.
        let (behind, hash) = sorted[4].clone();
        keys.listing.as_mut().unwrap().note(behind, hash, &zero, 9);
        let from = sorted[1].0.successor().unwrap();
        assert_eq!(keys.take(&from, u64::MAX, 9), sorted[2..3]);
        assert_eq!(keys.next(&from), Next::Ask);
        let listing = keys.listing.as_mut().unwrap();
        let asked = listing.resume_at(&from);
        listing.extend(asked, sorted[3..].iter().cloned(), true);
        assert_eq!(keys.take(&asked, u64::MAX, 9), sorted[3..]);
        assert_eq!(keys.next(&asked), Next::End);
    }

    #[test]
    fn new_keys_are_noted_only_for_a_turn_that_comes_and_only_some() {
        let mut sorted: Vec<_> = (0..12).map(hash).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let zero = Key::from_bytes([0; 32]);
        let mut keys = Keys::new(true);
        keys.listing.as_mut().unwrap().extend(zero, sorted[10..11].iter().cloned(), true);
        let from = sorted[2].0;
        let note = |keys: &mut Keys, n: usize| {
            let (key, hash) = sorted[n].clone();
            keys.listing.as_mut().unwrap().note(key, hash, &from, 4);
        };
        (0..2).for_each(|n| note(&mut keys, n));
        assert_eq!(keys.listing.as_ref().unwrap().ahead.len(), 1, "their turn was");
        (2..5).for_each(|n| note(&mut keys, n));
        assert_eq!(keys.take(&from, u64::MAX, 2), sorted[2..4], "its turn is the next one's");
        // There is room for so many; what is behind them is to be listed again.
        (5..10).for_each(|n| note(&mut keys, n));
        let listing = keys.listing.as_mut().unwrap();
        assert_eq!(listing.ahead.len(), 4);
        let from = sorted[4].0;
        assert_eq!(keys.take(&from, u64::MAX, 9), sorted[4..8]);
        let from = sorted[7].0.successor().unwrap();
        assert_eq!((keys.next(&from), keys.listing.as_ref().unwrap().resume_at(&from)), (Next::Ask, from));
        keys.listing.as_mut().unwrap().extend(from, sorted[8..].iter().cloned(), true);
        assert_eq!(keys.take(&from, u64::MAX, 9), sorted[8..]);
    }

    #[test]
    fn what_is_held_comes_in_between() {
        let mut sorted: Vec<_> = (0..6).map(hash).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let zero = Key::from_bytes([0; 32]);
        let mut keys = Keys::new(true);
        // The second and the last are held, the second is listed as well.
        for n in [1, 5] {
            let (key, hash) = sorted[n].clone();
            keys.held.insert(key, hash);
        }
        assert_eq!(keys.next(&zero), Next::Ask);
        keys.listing.as_mut().unwrap().extend(zero, sorted[..3].iter().cloned(), false);
        assert_eq!(keys.take(&zero, u64::MAX, 9), sorted[..3]);
        // The last one waits for those between.
        let from = sorted[2].0.successor().unwrap();
        assert_eq!((keys.next(&from), keys.take(&from, u64::MAX, 9)), (Next::Ask, vec![]));
        keys.listing.as_mut().unwrap().extend(from, sorted[3..5].iter().cloned(), true);
        assert_eq!(keys.take(&from, u64::MAX, 2), sorted[3..5]);
        assert_eq!(keys.take(&from, u64::MAX, 9), sorted[5..]);
    }
}
