//! A map in one sorted vector, with next to no memory of its own.
//!
//! A node of a `BTreeMap` has room for eleven entries, of which a third is empty
//! on average, and the last node stays when all entries are gone. That counts
//! for entries of a hundred bytes of which there are some dozens. An insertion
//! moves what lies behind, so this is for up to about a thousand.

use std::borrow::Borrow;
use std::fmt;

/// By so many entries it grows, and a large one by an eighth: so sizes are few,
/// and one map can have the memory that another gave back.
const STEP: usize = 8;

/// An ordered map for few and large entries.
///
/// ```
/// use peerage_base::PackedMap;
/// let mut map = PackedMap::new();
/// assert_eq!(map.insert("b", 1), None);
/// assert_eq!(map.insert("b", 2), Some(1));
/// *map.or_insert_with("a", || 0) += 7;
/// assert!(map.iter().eq([(&"a", &7), (&"b", &2)]));
/// assert_eq!(map.remove("b"), Some(2));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PackedMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for PackedMap<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K, V> PackedMap<K, V> {
    /// An empty map, which takes no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// All values by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Room for one more, and a few.
    fn grow(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            self.entries.reserve_exact(len.clamp(1, STEP).max(len / 8));
        }
    }

    /// Gives back what is not needed any more; a half stays, for those that
    /// come and go.
    fn shrink(&mut self) {
        let len = self.entries.len();
        if self.entries.capacity() > len + len / 2 + STEP {
            self.entries.shrink_to(len.next_multiple_of(STEP));
        }
        if len == 0 {
            self.entries = Vec::new();
        }
    }
}

impl<K: Ord, V> PackedMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.entries.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|index| &self.entries[index].1)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|index| &mut self.entries[index].1)
    }

    /// True if `key` has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Gives `key` a value, and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(index) => Some(std::mem::replace(&mut self.entries[index].1, value)),
            Err(index) => {
                self.grow();
                self.entries.insert(index, (key, value));
                None
            }
        }
    }

    /// The value of `key`, which gets this one if it has none.
    pub fn or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let index = match self.place(&key) {
            Ok(index) => index,
            Err(index) => {
                self.grow();
                self.entries.insert(index, (key, value()));
                index
            }
        };
        &mut self.entries[index].1
    }

    /// Takes `key` out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.place(key).ok()?;
        let (_, value) = self.entries.remove(index);
        self.shrink();
        Some(value)
    }

    /// Keeps only those of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
        self.shrink();
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for PackedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Rng;

    #[test]
    fn does_what_a_tree_does_and_takes_no_more_than_it_needs() {
        let (mut map, mut tree, mut rng) = (PackedMap::new(), BTreeMap::new(), Rng::new(1));
        for step in 0..20_000u64 {
            let key = rng.below(if step < 10_000 { 300 } else { 30 });
            match rng.below(5) {
                0 => assert_eq!(map.insert(key, step), tree.insert(key, step)),
                1 => assert_eq!(map.or_insert_with(key, || step), tree.entry(key).or_insert(step)),
                2 if step % 500 == 0 => {
                    map.retain(|key, _| key % 3 > 0);
                    tree.retain(|key, _| key % 3 > 0);
                }
                _ => assert_eq!(map.remove(&key), tree.remove(&key)),
            }
            let key = rng.below(300);
            assert_eq!((map.get(&key), map.contains_key(&key)), (tree.get(&key), tree.contains_key(&key)));
            assert_eq!(map.get_mut(&key), tree.get_mut(&key));
            assert!(map.iter().eq(&tree) && map.keys().eq(tree.keys()) && map.values().eq(tree.values()));
            assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            assert!(map.entries.capacity() <= tree.len() * 3 / 2 + STEP, "{}", map.entries.capacity());
        }
        map.retain(|_, _| false);
        assert_eq!(map.entries.capacity(), 0);
    }
}
