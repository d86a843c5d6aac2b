//! Who lists what else there is to announce: the latest is asked, and when it
//! ends, the one before it again.

use std::collections::BTreeMap;

use peerage_dht::{Key, Network};
use tokio::sync::mpsc;

use crate::listing::KeysWanted;

/// Listers that are remembered; of more, the earliest are not. A judgement:
/// twice as many as the commands that one process executes at a time.
const MAX_LISTERS: usize = 128;

/// How many it lists, and where questions go.
pub(super) type Listed = (usize, mpsc::UnboundedSender<KeysWanted>);

/// By their numbers, which grow.
#[derive(Default)]
pub(super) struct Listers(BTreeMap<u64, Listed>);

impl Listers {
    /// A lister has others to list now, or none any more. Whether that changes
    /// who is asked, or for what.
    pub(super) fn set(&mut self, lister: u64, listed: Option<Listed>) -> bool {
        let was_asked = self.is_asked(lister);
        match listed {
            Some(listed) => self.0.insert(lister, listed),
            None => self.0.remove(&lister),
        };
        if self.0.len() > MAX_LISTERS {
            self.0.pop_first();
        }
        was_asked || self.is_asked(lister)
    }

    /// Whether it is the one that is asked.
    pub(super) fn is_asked(&self, lister: u64) -> bool {
        self.0.last_key_value().is_some_and(|(last, _)| *last == lister)
    }

    /// How many there are to list; none if nobody lists.
    pub(super) fn count(&self) -> Option<usize> {
        self.0.last_key_value().map(|(_, (count, _))| *count)
    }

    /// Asks the latest.
    pub(super) fn ask(&self, network: Network, from: Key, max: usize) {
        if let Some((_, (_, questions))) = self.0.last_key_value() {
            // One that is gone says so, and another is asked then.
            let _ = questions.send(KeysWanted { network, from, max });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_asked_and_then_the_one_before() {
        let mut listers = Listers::default();
        let (asking, mut first) = mpsc::unbounded_channel();
        let (other, mut second) = mpsc::unbounded_channel();
        let mut ask = |listers: &Listers| {
            listers.ask(Network::Wan, Key::of(b"x"), 1);
            (first.try_recv().is_ok(), second.try_recv().is_ok())
        };
        assert!(listers.set(1, Some((10, asking.clone()))) && listers.set(2, Some((20, other))));
        assert_eq!((listers.count(), ask(&listers)), (Some(20), (false, true)));
        // The first has more meanwhile: nothing of it until its turn comes.
        assert!(!listers.set(1, Some((11, asking))) && !listers.is_asked(1));
        assert_eq!((listers.count(), ask(&listers)), (Some(20), (false, true)));
        assert!(listers.set(2, None) && !listers.set(2, None));
        assert_eq!((listers.count(), ask(&listers)), (Some(11), (true, false)));
        assert!(listers.set(1, None));
        assert_eq!((listers.count(), ask(&listers)), (None, (false, false)));
    }

    #[test]
    fn of_too_many_the_earliest_go() {
        let (mut listers, (asking, _questions)) = (Listers::default(), mpsc::unbounded_channel());
        let many = MAX_LISTERS as u64 + 9;
        for lister in 0..many {
            assert!(listers.set(lister, Some((1, asking.clone()))));
        }
        assert!(!listers.set(0, Some((1, asking))));
        assert_eq!(listers.0.len(), MAX_LISTERS);
        assert!(listers.is_asked(many - 1));
    }
}
