//! Users' files that were not there when they were last looked for: a bit each,
//! as a folder of any size may go. When each was looked for is remembered only
//! of the last few.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::config::MAX_LOOKED_FOR;
use crate::facts::FileId;

/// How long a missing file is not looked for again. A second: whoever asks for
/// all blocks of a folder that went costs one look a file, and a disk that is
/// plugged in again is seen at once.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// 64 ids in a word; words of zeros are left out.
    words: BTreeMap<u64, u64>,
    looked: HashMap<FileId, Instant>,
}

fn bit(id: FileId) -> (u64, u64) {
    (id.0 / 64, 1 << (id.0 % 64))
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn contains(&self, id: FileId) -> bool {
        let (word, bit) = bit(id);
        self.words.get(&word).is_some_and(|bits| bits & bit != 0)
    }

    /// It was looked for at `now` in vain; true if that is new.
    pub(crate) fn insert(&mut self, id: FileId, now: Instant) -> bool {
        let (word, bit) = bit(id);
        let bits = self.words.entry(word).or_default();
        let new = *bits & bit == 0;
        *bits |= bit;
        self.look(id, now);
        new
    }

    /// Whether it should be looked for: not if that was just done. Taken as done now.
    pub(crate) fn look(&mut self, id: FileId, now: Instant) -> bool {
        let lately = |looked: &Instant| now.saturating_duration_since(*looked) < LOOK_AGAIN;
        if self.looked.get(&id).is_some_and(lately) {
            return false;
        }
        if self.looked.len() >= MAX_LOOKED_FOR {
            self.looked.retain(|_, looked| lately(looked));
        }
        if self.looked.len() >= MAX_LOOKED_FOR {
            // So many at once: some are looked for twice.
            self.looked.clear();
        }
        self.looked.insert(id, now);
        true
    }

    pub(crate) fn remove(&mut self, id: FileId) {
        self.looked.remove(&id);
        let (word, bit) = bit(id);
        if let Some(bits) = self.words.get_mut(&word) {
            *bits &= !bit;
            if *bits == 0 {
                self.words.remove(&word);
            }
        }
    }

    /// Forgets those that `gone` names.
    pub(crate) fn forget(&mut self, gone: &mut dyn FnMut(FileId) -> bool) {
        let ids = |(word, bits): (&u64, &u64)| {
            let (first, bits) = (word * 64, *bits);
            (0..64).filter(move |n| bits >> n & 1 != 0).map(move |n| FileId(first + n))
        };
        let found: Vec<FileId> = self.words.iter().flat_map(ids).filter(|id| gone(*id)).collect();
        found.into_iter().for_each(|id| self.remove(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_known_and_few_looks_remembered() {
        let mut missing = Missing::default();
        let start = Instant::now();
        let many = 3 * MAX_LOOKED_FOR as u64;
        assert!((0..many).all(|id| missing.insert(FileId(id * 3), start)));
        assert!((0..many).all(|id| !missing.insert(FileId(id * 3), start + LOOK_AGAIN)));
        assert!((0..3 * many).all(|id| missing.contains(FileId(id)) == (id % 3 == 0)));
        assert!(missing.looked.len() <= MAX_LOOKED_FOR);
        missing.forget(&mut |id| id.0 % 2 == 0);
        assert!((0..3 * many).all(|id| missing.contains(FileId(id)) == (id % 6 == 3)));
        (0..3 * many).for_each(|id| missing.remove(FileId(id)));
        assert!(missing.is_empty() && missing.looked.is_empty());
    }

    #[test]
    fn one_look_a_second() {
        let mut missing = Missing::default();
        let (id, start) = (FileId(7), Instant::now());
        assert!(missing.insert(id, start));
        assert!(!missing.look(id, start + LOOK_AGAIN / 2));
        assert!(missing.look(id, start + LOOK_AGAIN));
        assert!(!missing.look(id, start + LOOK_AGAIN));
        // What others are looked for meanwhile changes nothing, up to a limit.
        assert!((1..MAX_LOOKED_FOR as u64).all(|n| missing.look(FileId(100 + n), start + LOOK_AGAIN)));
        assert!(!missing.look(id, start + LOOK_AGAIN));
    }
}
