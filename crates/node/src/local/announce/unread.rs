//! Roots of which a part could not be read: what of them was told, so that it is
//! not told again before its turn, and when the rest is looked for again.
//!
//! Not kept beyond the run: another one tells of all of such a root again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_store::RootId;
use tokio::time::Instant;

use super::blocks::Met;

/// How soon such a root is looked at again; twice as late each time.
const RETRY_MIN: Duration = Duration::from_secs(600);

/// The latest. A judgement: each look reads all inner nodes, and what is missing
/// for so long does not come back by itself.
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<RootId, Rest>);

#[derive(Debug)]
struct Rest {
    told: Met,
    pause: Duration,
    /// When it is looked at again; none while it is.
    again: Option<Instant>,
}

impl Unread {
    /// All that could be read was told, and that is not all.
    pub(super) fn put(&mut self, root: RootId, told: Met, now: Instant) {
        let last = self.0.get(&root).map(|rest| rest.pause);
        let pause = last.map_or(RETRY_MIN, |last| (last * 2).min(RETRY_MAX));
        self.0.insert(root, Rest { told, pause, again: Some(now + pause) });
    }

    /// All of it was told.
    pub(super) fn remove(&mut self, root: RootId) {
        self.0.remove(&root);
    }

    /// Forgets all other roots.
    pub(super) fn retain(&mut self, listed: &BTreeSet<RootId>) {
        self.0.retain(|root, _| listed.contains(root));
    }

    /// True if it is too early to look at this root again.
    pub(super) fn waits(&self, root: RootId, now: Instant) -> bool {
        self.0.get(&root).and_then(|rest| rest.again).is_some_and(|again| again > now)
    }

    /// The root is looked at now: what was told of it.
    pub(super) fn begin(&mut self, root: RootId) -> Met {
        self.0.get_mut(&root).map_or_else(Met::default, |rest| {
            rest.again = None;
            std::mem::take(&mut rest.told)
        })
    }

    /// When to look again, after having done so at `looked`.
    pub(super) fn next(&self, looked: Instant) -> Option<Instant> {
        self.0.values().filter_map(|rest| rest.again).filter(|again| *again > looked).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_again_later_and_later() {
        let (mut unread, root, other) = (Unread::default(), RootId(1), RootId(2));
        let mut now = Instant::now();
        assert_eq!((unread.waits(root, now), unread.next(now)), (false, None));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            unread.put(root, Met::default(), now);
            let again = unread.next(now).unwrap();
            assert!(unread.waits(root, now) && !unread.waits(root, again) && !unread.waits(other, now));
            pauses.push(again.duration_since(now).as_secs());
            now = again;
            // While it is looked at, and if that did not begin, nothing wakes.
            assert_eq!(unread.next(now), None);
            unread.begin(root);
            assert!(!unread.waits(root, now));
        }
        assert_eq!(pauses, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 43_200, 43_200]);
        unread.put(other, Met::default(), now);
        unread.retain(&[root].into());
        assert!(!unread.waits(other, now));
        unread.remove(root);
        unread.put(root, Met::default(), now);
        assert_eq!(unread.next(now), Some(now + RETRY_MIN), "it was read, and is new");
    }
}
