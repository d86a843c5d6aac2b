//! The multihashes to announce, by Kademlia key: all of them, or the next ones
//! of a set that the owner keeps.

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

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Keys {
    /// Here.
    Held(KeyMap),
    /// With the owner.
    Listed(Listing),
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
        if listed { Self::Listed(Listing::default()) } else { Self::Held(BTreeMap::new()) }
    }

    /// The first key at or behind `from`.
    pub(super) fn next(&self, from: &Key) -> Next {
        let (map, end) = match self {
            Self::Held(map) => (map, Next::End),
            Self::Listed(listing) => (&listing.ahead, if listing.complete { Next::End } else { Next::Ask }),
        };
        map.range(from..).next().map_or(end, |(key, _)| Next::Key(*key))
    }

    /// Keys from `from` to the last position of a region, at most `max`.
    pub(super) fn take(&mut self, from: &Key, last: u64, max: usize) -> Vec<(Key, Multihash)> {
        let map = match self {
            Self::Held(map) => &*map,
            Self::Listed(listing) => &listing.ahead,
        };
        let region = map.range(from..).take_while(|(key, _)| position(key) <= last).take(max);
        let taken: Vec<(Key, Multihash)> = region.map(|(key, hash)| (*key, hash.clone())).collect();
        if let Self::Listed(listing) = self {
            for (key, _) in &taken {
                listing.ahead.remove(key);
            }
        }
        taken
    }

    /// A key is new. For a set of the owner's only if it lies in what was listed.
    pub(super) fn insert(&mut self, key: Key, hash: Multihash) {
        match self {
            Self::Held(map) => drop(map.insert(key, hash)),
            Self::Listed(listing) if listing.until.is_some_and(|until| key <= until) || listing.complete => {
                listing.ahead.insert(key, hash);
            }
            Self::Listed(_) => {}
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::Held(map) => map.remove(key).is_some(),
            Self::Listed(listing) => listing.ahead.remove(key).is_some(),
        }
    }

    /// Forgets what was listed: the position was moved.
    pub(super) fn rewind(&mut self) {
        if let Self::Listed(listing) = self {
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
mod tests {
    use super::*;

    fn hash(n: u64) -> (Key, Multihash) {
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
        let Keys::Listed(listing) = &mut keys else { unreachable!() };
        assert_eq!(listing.resume_at(&zero), zero);
        listing.extend(zero, sorted[..3].iter().cloned(), false);
        assert_eq!(listing.resume_at(&zero), sorted[2].0.successor().unwrap());
        assert_eq!(keys.take(&zero, u64::MAX, 2), sorted[..2]);
        // A new key is taken up only where listing has been.
        let (behind, hash) = sorted[4].clone();
        keys.insert(behind, hash);
        let from = sorted[1].0.successor().unwrap();
        assert_eq!(keys.take(&from, u64::MAX, 9), sorted[2..3]);
        assert_eq!(keys.next(&from), Next::Ask);
        let Keys::Listed(listing) = &mut keys else { unreachable!() };
        let asked = listing.resume_at(&from);
        listing.extend(asked, sorted[3..].iter().cloned(), true);
        assert_eq!(keys.take(&asked, u64::MAX, 9), sorted[3..]);
        assert_eq!(keys.next(&asked), Next::End);
    }
}
