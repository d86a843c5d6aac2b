//! A rate that several share, piece by piece: who waits goes in the order of
//! the keys, and who does not ask holds up nobody.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::Instant;

/// How much of the time in which nothing went may be caught up, since timers are
/// coarse and threads late. 40 ms: with the piece that then goes, it is less than
/// 3 % of any 2 s.
pub const SLACK: Duration = Duration::from_millis(40);

/// Pieces a second ([`piece`]): the time of one, 10 ms, is short beside [`SLACK`].
const PIECES: u64 = 100;

/// Smallest piece, in bytes: below it, frames would cost more than what is in them.
const PIECE_MIN: u64 = 1024;

/// Largest piece, in bytes: a frame of the usual size.
const PIECE_MAX: u64 = 64 * 1024;

/// How many bytes to ask for at once at so many bytes a second: those of about
/// 10 ms, between 1 KiB and 64 KiB.
#[must_use]
pub fn piece(rate: NonZeroU64) -> u64 {
    (rate.get() / PIECES).clamp(PIECE_MIN, PIECE_MAX)
}

/// Shares a rate in bytes a second between those who wait for it.
///
/// [`ask`](Self::ask), then call [`poll`](Self::poll) until it returns `None`, and
/// again at [`poll_timeout`](Self::poll_timeout). Of those who wait the lowest key
/// goes first: keys that are given in the order in which work began make it end in
/// that order. Within any span of time, no more goes than the rate allows in it and in
/// [`SLACK`], and one piece; and no less while somebody waits and `poll` is called
/// in time. Time never goes back, and polling early changes nothing.
///
/// ```
/// use std::num::NonZeroU64;
/// use peerage_base::{Instant, Pacer};
/// let mut pacer = Pacer::new(NonZeroU64::new(1000));
/// let start = Instant::START;
/// pacer.ask(2, 500);
/// pacer.ask(1, 500);
/// assert_eq!(pacer.poll(start), Some(1));
/// assert_eq!(pacer.poll(start), None);
/// assert_eq!(pacer.poll_timeout(), Some(Instant::from_nanos(500_000_000)));
/// ```
#[derive(Debug, Clone)]
pub struct Pacer<K> {
    rate: Option<NonZeroU64>,
    waiting: BTreeMap<K, u64>,
    /// When all that went is paid for.
    paid: Instant,
}

impl<K: Ord + Copy> Pacer<K> {
    /// Nobody waits. Without a rate, nobody ever has to.
    #[must_use]
    pub const fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, waiting: BTreeMap::new(), paid: Instant::START }
    }

    /// The rate, in bytes a second.
    #[must_use]
    pub const fn rate(&self) -> Option<NonZeroU64> {
        self.rate
    }

    /// Waits for `bytes` on behalf of `key`; who waits already, from now on for these.
    pub fn ask(&mut self, key: K, bytes: u64) {
        self.waiting.insert(key, bytes);
    }

    /// Waits no more; true if it did.
    pub fn withdraw(&mut self, key: &K) -> bool {
        self.waiting.remove(key).is_some()
    }

    /// Whether `key` has asked and not been let go.
    #[must_use]
    pub fn is_waiting(&self, key: &K) -> bool {
        self.waiting.contains_key(key)
    }

    /// Who goes next.
    #[must_use]
    pub fn first(&self) -> Option<K> {
        self.waiting.first_key_value().map(|(key, _)| *key)
    }

    /// Another rate from now on. What went before is paid for at the old rate or the
    /// new one, whichever is faster, and nothing that was missed is caught up.
    pub fn set_rate(&mut self, rate: Option<NonZeroU64>, now: Instant) {
        let owed = self.paid.since(now);
        let left = match (self.rate, rate) {
            (Some(old), Some(new)) if new > old => {
                let nanos = owed.as_nanos() * u128::from(old.get()) / u128::from(new.get());
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            (Some(_), Some(_)) => owed,
            _ => Duration::ZERO,
        };
        self.paid = now + left;
        self.rate = rate;
    }

    /// Whose piece goes now. Call until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<K> {
        let Some(rate) = self.rate else { return self.waiting.pop_first().map(|(key, _)| key) };
        if self.paid > now {
            return None;
        }
        let (key, bytes) = self.waiting.pop_first()?;
        let missed = now.since(self.paid);
        let caught_up = missed.min(SLACK);
        let start = self.paid + (missed - caught_up);
        self.paid = start + time_of(bytes, rate);
        Some(key)
    }

    /// When to call [`poll`](Self::poll) again, if somebody waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = if self.rate.is_some() { self.paid } else { Instant::START };
        (!self.waiting.is_empty()).then_some(due)
    }
}

/// How long so many bytes take, rounded up.
fn time_of(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
