//! Memory for the filters of root sets: so much in all, however many blocks roots
//! have. A set without one is asked by reading a page of its file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::ROOT_FILTER_BYTES;
use crate::pack::filter::Filter;

/// What is left of the memory, in bytes.
#[derive(Debug)]
pub(crate) struct FilterRoom(AtomicUsize);

impl Default for FilterRoom {
    fn default() -> Self {
        Self(AtomicUsize::new(ROOT_FILTER_BYTES))
    }
}

/// The filter of one set, if there was room for it.
#[derive(Debug)]
pub(super) struct SetFilter {
    filter: Option<Filter>,
    room: Arc<FilterRoom>,
    bytes: usize,
}

impl SetFilter {
    /// An empty one for `keys` keys.
    pub(super) fn new(room: &Arc<FilterRoom>, keys: u64) -> Self {
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        let bytes = Filter::bytes_for(keys);
        let less = |left: usize| left.checked_sub(bytes);
        let taken = room.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        let filter = taken.then(|| Filter::with_room_for(keys));
        Self { bytes: if taken { bytes } else { 0 }, filter, room: Arc::clone(room) }
    }

    pub(super) fn insert(&mut self, key: u64) {
        if let Some(filter) = &mut self.filter {
            filter.insert(key);
        }
    }

    pub(super) fn may_contain(&self, key: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(key))
    }
}

impl Drop for SetFilter {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_perhaps_there_and_room_is_given_back() {
        let room = Arc::new(FilterRoom::default());
        let most = SetFilter::new(&room, (ROOT_FILTER_BYTES * 7 / 10) as u64);
        let mut none = SetFilter::new(&room, (ROOT_FILTER_BYTES / 5) as u64);
        none.insert(1);
        assert!(none.may_contain(1) && none.may_contain(2));
        assert!(!most.may_contain(1));
        let small = SetFilter::new(&room, 100);
        assert!(!small.may_contain(1));
        drop(most);
        assert!(!SetFilter::new(&room, (ROOT_FILTER_BYTES / 5) as u64).may_contain(1));
        assert!(SetFilter::new(&room, u64::MAX).may_contain(1));
        drop((none, small));
        assert_eq!(room.0.load(Ordering::Relaxed), ROOT_FILTER_BYTES);
    }
}
