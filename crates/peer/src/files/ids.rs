//! Sets of the store's ids, which come in rows: an import of a million files
//! takes a few entries, and one more each time that somebody else took an id.

use std::collections::BTreeMap;

/// A set of ids: the first and the last of each row.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<u64, u64>);

impl Ids {
    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, last)| *last >= id)
    }

    pub(super) fn insert(&mut self, id: u64) {
        if self.contains(id) {
            return;
        }
        let before = self.0.range(..id).next_back().filter(|(_, last)| last.checked_add(1) == Some(id));
        let first = before.map_or(id, |(first, _)| *first);
        let after = id.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(first, after.unwrap_or(id));
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.remove_row(id, id);
    }

    /// Without those that are in `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        other.0.iter().for_each(|(first, last)| self.remove_row(*first, *last));
    }

    /// Takes out the lowest.
    pub(super) fn pop_first(&mut self) -> Option<u64> {
        let (first, last) = self.0.pop_first()?;
        if first < last {
            self.0.insert(first + 1, last);
        }
        Some(first)
    }

    fn remove_row(&mut self, from: u64, to: u64) {
        while let Some((&first, &last)) = self.0.range(..=to).next_back().filter(|(_, last)| **last >= from) {
            self.0.remove(&first);
            if last > to {
                self.0.insert(to + 1, last);
            }
            if first < from {
                self.0.insert(first, from - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn ids(of: impl IntoIterator<Item = u64>) -> Ids {
        let mut ids = Ids::default();
        of.into_iter().for_each(|id| ids.insert(id));
        ids
    }

    fn all(mut ids: Ids) -> Vec<u64> {
        std::iter::from_fn(move || ids.pop_first()).collect()
    }

    #[test]
    fn a_row_is_one_entry_in_whatever_order_it_comes() {
        assert_eq!(ids(0..1000).0.len(), 1);
        assert_eq!(ids((0..1000).rev()).0.len(), 1);
        assert_eq!(ids((0..1000).step_by(2).chain((1..1000).step_by(2))).0.len(), 1);
        assert_eq!(all(ids([u64::MAX, 0, u64::MAX - 1])), [0, u64::MAX - 1, u64::MAX]);
    }

    proptest! {
        #[test]
        fn they_are_a_set(steps in vec((any::<bool>(), 0..40_u64), 0..80), other in btree_set(0..40_u64, 0..40)) {
            let (mut rows, mut set) = (Ids::default(), BTreeSet::new());
            for (add, id) in steps {
                if add {
                    rows.insert(id);
                    set.insert(id);
                } else {
                    rows.remove(id);
                    set.remove(&id);
                }
                prop_assert!((0..41).all(|id| rows.contains(id) == set.contains(&id)));
            }
            rows.subtract(&ids(other.iter().copied()));
            prop_assert_eq!(all(rows), set.difference(&other).copied().collect::<Vec<_>>());
        }
    }
}
