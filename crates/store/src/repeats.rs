//! The block that was found readable last. A file of zeros puts one block a
//! thousand times, and each place too many would read an old one anew.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Multihash;
use crate::pack::set::lock;

/// How long a place counts as readable. 1 s: a file that changes within it is
/// found out when the block is read.
const RECENT: Duration = Duration::from_secs(1);

/// One block, and since when it is known to be readable.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Option<(Multihash, Instant)>>);

impl Repeats {
    /// Whether `mh` can be read; `look` is asked if that was not seen just now.
    pub(crate) fn is_readable(&self, mh: &Multihash, now: Instant, look: impl FnOnce() -> bool) -> bool {
        let known = *lock(&self.0);
        if known.is_some_and(|(known, since)| known == *mh && now.saturating_duration_since(since) < RECENT) {
            return true;
        }
        let readable = look();
        if readable {
            *lock(&self.0) = Some((*mh, now));
        }
        readable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_a_second_for_the_same_block() {
        let repeats = Repeats::default();
        let mh = |digest: u8| Multihash::wrap(0, &[digest]).unwrap();
        let start = Instant::now();
        assert!(!repeats.is_readable(&mh(1), start, || false));
        assert!(repeats.is_readable(&mh(1), start, || true));
        assert!(repeats.is_readable(&mh(1), start + RECENT / 2, || false));
        assert!(!repeats.is_readable(&mh(2), start, || false), "another block");
        assert!(!repeats.is_readable(&mh(1), start + RECENT, || false), "long ago");
    }
}
