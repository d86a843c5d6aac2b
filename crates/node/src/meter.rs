//! How fast something goes on, and when it will be done, by what it did of late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What counts as of late. 10 s: longer than most pauses of a line, and short enough that
/// a source that has gone is not counted on.
const LATE: Duration = Duration::from_secs(10);

/// How long bytes are counted before they make a rate. A second: what came at once
/// says nothing of how it goes on.
const RATE_AFTER: Duration = Duration::from_secs(1);

/// Between two counts that are remembered. 250 ms: 40 of them are as much as is looked at.
const APART: Duration = Duration::from_millis(250);

/// Counts bytes over time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// When how much was there: the newest last, and one that is [`LATE`] or older first.
    counts: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// So much is there now.
    pub(crate) fn count(&mut self, bytes: u64, now: Instant) {
        // The newest is overwritten until it is some time after the one before.
        let before = self.counts.len().checked_sub(2).and_then(|at| self.counts.get(at));
        if before.is_some_and(|(at, _)| now.saturating_duration_since(*at) < APART) {
            self.counts.pop_back();
        }
        self.counts.push_back((now, bytes));
        while self.counts.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= LATE) {
            self.counts.pop_front();
        }
    }

    /// Bytes a second of late; none before that means anything.
    pub(crate) fn rate(&self) -> Option<u64> {
        let ((from, had), (to, has)) = (self.counts.front()?, self.counts.back()?);
        let time = to.saturating_duration_since(*from);
        if time < RATE_AFTER {
            return None;
        }
        let rate = u128::from(has.saturating_sub(*had)) * 1000 / time.as_millis().max(1);
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// The time until `total` is there, if it goes on like this; none if it does not go on.
    pub(crate) fn left(&self, total: u64) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0)?;
        let (_, has) = self.counts.back()?;
        // In thousandths, as little may be left of something fast.
        let millis = u128::from(total.saturating_sub(*has)) * 1000 / u128::from(rate);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begun: Instant, millis: u64) -> Instant {
        begun + Duration::from_millis(millis)
    }

    #[test]
    fn a_rate_comes_after_a_second() {
        let (begun, mut meter) = (Instant::now(), Meter::default());
        assert_eq!((meter.rate(), meter.left(9)), (None, None));
        meter.count(5_000_000, begun);
        meter.count(900_000_000, at(begun, 999));
        assert_eq!((meter.rate(), meter.left(u64::MAX)), (None, None));
        meter.count(9_000_000, at(begun, 2000));
        assert_eq!(meter.rate(), Some(2_000_000), "what was there at first does not count");
        assert_eq!(meter.left(29_000_000), Some(Duration::from_secs(10)));
        assert_eq!(meter.left(9_000_000), Some(Duration::ZERO));
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (begun, mut meter) = (Instant::now(), Meter::default());
        // A fast minute, then a slow one, told twice a second.
        for tick in 0..120 {
            meter.count(tick * 50_000_000, at(begun, tick * 500));
        }
        assert_eq!(meter.rate(), Some(100_000_000));
        let had = 119 * 50_000_000;
        for tick in 1..=40 {
            meter.count(had + tick * 500_000, at(begun, 59_500 + tick * 500));
        }
        assert_eq!(meter.rate(), Some(1_000_000));
        // Then nothing: soon nobody can say when it will be done.
        for tick in 1..=21 {
            meter.count(had + 20_000_000, at(begun, 79_500 + tick * 500));
        }
        assert_eq!((meter.rate(), meter.left(u64::MAX)), (Some(0), None));
    }

    #[test]
    fn it_remembers_no_more_than_it_looks_at() {
        let (begun, mut meter) = (Instant::now(), Meter::default());
        for tick in 0..100_000 {
            meter.count(tick * 1000, at(begun, tick));
            assert!(meter.counts.len() <= 43, "{}", meter.counts.len());
        }
        assert_eq!(meter.rate(), Some(1_000_000));
    }
}
