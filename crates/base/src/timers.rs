//! A cancellable table of named timers: one entry a key, so a wake-up always
//! says why and is never stale.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// Timers by key. Setting a key again moves it; due timers come out in order
/// of time, then of key.
///
/// ```
/// use peerage_base::{Instant, Timers};
/// let mut timers = Timers::new();
/// timers.set("ping", Instant::from_nanos(5));
/// timers.set("ping", Instant::from_nanos(9));
/// assert_eq!(timers.pop_due(Instant::from_nanos(5)), None);
/// assert_eq!(timers.pop_due(Instant::from_nanos(9)), Some("ping"));
/// ```
#[derive(Debug, Clone)]
pub struct Timers<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timer of `key` to `at`, replacing an earlier setting.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.at.insert(key.clone(), at) {
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    /// Sets the timer of `key` to `at` unless it already fires before that.
    pub fn set_earlier(&mut self, key: K, at: Instant) {
        if self.at.get(&key).is_none_or(|&set| at < set) {
            self.set(key, at);
        }
    }

    /// Forgets the timer of `key`; true if there was one.
    pub fn cancel(&mut self, key: &K) -> bool {
        let Some(at) = self.at.remove(key) else { return false };
        self.order.remove(&(at, key.clone()));
        self.shrink();
        true
    }

    /// Trees keep a node when they are empty.
    fn shrink(&mut self) {
        if self.at.is_empty() {
            *self = Self::default();
        }
    }

    /// When the timer of `key` fires, if it is set.
    #[must_use]
    pub fn deadline(&self, key: &K) -> Option<Instant> {
        self.at.get(key).copied()
    }

    /// The earliest timer.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, K)> {
        self.order.first().cloned()
    }

    /// Takes out the earliest timer that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.order.first()?.0 > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        self.shrink();
        Some(key)
    }

    /// How many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// True if no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Instant {
        Instant::from_nanos(n)
    }

    #[test]
    fn fires_in_order_and_forgets_what_was_cancelled() {
        let mut timers = Timers::new();
        timers.set(2, at(10));
        timers.set(1, at(10));
        timers.set(3, at(5));
        timers.set(4, at(7));
        assert!(timers.cancel(&4));
        assert!(!timers.cancel(&4));
        assert_eq!(timers.next(), Some((at(5), 3)));
        let due: Vec<i32> = std::iter::from_fn(|| timers.pop_due(at(10))).collect();
        assert_eq!(due, [3, 1, 2]);
        assert!(timers.is_empty());
    }

    #[test]
    fn set_earlier_never_postpones() {
        let mut timers = Timers::new();
        timers.set_earlier((), at(9));
        timers.set_earlier((), at(12));
        assert_eq!(timers.deadline(&()), Some(at(9)));
        timers.set_earlier((), at(3));
        assert_eq!(timers.deadline(&()), Some(at(3)));
        assert_eq!(timers.len(), 1);
    }
}
