//! When which part of the keyspace is due: position p of the line at p of the
//! interval. Keys are hashes, so the load is even without looking at them.
//!
//! Kept in unix time, which goes on while the machine sleeps or is off. Who is
//! late catches up at a few times the usual pace.

use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};

use super::keyspace::position;
use crate::key::Key;

/// Where a sweep is: worth storing now and then, for [`Sweep::resume`]
/// after a restart.
///
/// [`Sweep::resume`]: super::Sweep::resume
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// What lies before this has been announced in this cycle: the first 64
    /// bits of a Kademlia key.
    pub position: u64,
    /// When the cycle began, or would have if it were not late.
    pub began: UnixTime,
}

/// When the next key's turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Instant),
}

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    catch_up: u32,
    /// The first key whose turn has not come.
    next: Key,
    began: UnixTime,
    /// Where and when the last region began.
    last: Option<(u64, Instant)>,
}

impl Schedule {
    /// A cycle that begins now.
    pub(super) const fn new(interval: Duration, catch_up: u32, now: Now) -> Self {
        let next = Key::from_bytes([0; 32]);
        Self { interval, catch_up, next, began: now.unix, last: None }
    }

    /// Goes on where an earlier run was.
    pub(super) fn resume(&mut self, cursor: Cursor) {
        self.move_to(cursor.position);
        self.began = cursor.began;
        self.last = None;
    }

    /// Goes back: what was begun from here on did not succeed.
    pub(super) fn move_to(&mut self, position: u64) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&position.to_be_bytes());
        self.next = Key::from_bytes(bytes);
    }

    pub(super) const fn next(&self) -> &Key {
        &self.next
    }

    pub(super) const fn began(&self) -> UnixTime {
        self.began
    }

    /// The end of the line: a cycle is over, and the next begins an interval
    /// after this one did.
    pub(super) fn wrap(&mut self) {
        self.next = Key::from_bytes([0; 32]);
        self.began = UnixTime(self.began.0.saturating_add(self.interval.as_secs()));
        self.last = None;
    }

    /// How long after the beginning a position is due.
    fn offset(&self, position: u64) -> Duration {
        let nanos = (self.interval.as_nanos() * u128::from(position)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Ends what no clock can have meant: to be late by more than an interval,
    /// or early by more than one.
    pub(super) fn mend(&mut self, now: Now) {
        let (interval, offset) = (self.interval.as_secs(), self.offset(position(&self.next)).as_secs());
        let due = self.began.0.saturating_add(offset);
        if due.saturating_add(interval) < now.unix.0 {
            self.began = UnixTime(now.unix.0.saturating_sub(interval + offset));
        } else if self.began.0 > now.unix.0.saturating_add(interval) {
            self.began = UnixTime(now.unix.0.saturating_sub(offset));
        }
    }

    /// When the turn of a key is that is the next one.
    pub(super) fn turn(&self, key: &Key, now: Now) -> Turn {
        let at = position(key);
        let since = Duration::from_secs(now.unix.0.saturating_sub(self.began.0));
        let early = Duration::from_secs(self.began.0.saturating_sub(now.unix.0));
        let due = now.instant + (early + self.offset(at)).saturating_sub(since);
        let paced = self.last.map_or(now.instant, |(last, begun)| {
            begun + self.offset(at.saturating_sub(last)) / self.catch_up.max(1)
        });
        let turn = due.max(paced);
        if turn <= now.instant { Turn::Now } else { Turn::At(turn) }
    }

    /// A region was begun: from the first of these keys to the second.
    pub(super) fn begun(&mut self, first: &Key, last: &Key, now: Instant) {
        self.last = Some((position(first), now));
        // Behind the last key of all there is nothing until the line ends.
        self.next = last.successor().unwrap_or(*last);
    }

    /// How far the line is due by now, as a position; at least the next one.
    pub(super) fn due_until(&self, now: UnixTime) -> u64 {
        let since = Duration::from_secs(now.0.saturating_sub(self.began.0)).min(self.interval);
        let share = (since.as_nanos() << 64) / self.interval.as_nanos().max(1);
        u64::try_from(share).unwrap_or(u64::MAX).max(position(&self.next))
    }

    /// How long a key of this cycle is overdue.
    pub(super) fn lag(&self, key: &Key, now: UnixTime) -> Duration {
        let due = self.began.0.saturating_add(self.offset(position(key)).as_secs());
        Duration::from_secs(now.0.saturating_sub(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn now(hours: u64) -> Now {
        Now::new(Instant::from_nanos(hours * HOUR * 1_000_000_000), UnixTime(1_000_000 + hours * HOUR))
    }

    fn key(position: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&position.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_secs(16 * HOUR), 4, now(0))
    }

    #[test]
    fn half_of_the_line_is_half_of_the_interval() {
        let mut schedule = schedule();
        assert_eq!(schedule.turn(&key(0), now(0)), Turn::Now);
        assert_eq!(schedule.turn(&key(1 << 63), now(0)), Turn::At(now(8).instant));
        assert_eq!(schedule.turn(&key(1 << 63), now(7)), Turn::At(now(8).instant));
        assert_eq!(schedule.turn(&key(1 << 63), now(8)), Turn::Now);
        schedule.wrap();
        assert_eq!(schedule.turn(&key(1 << 62), now(8)), Turn::At(now(20).instant));
    }

    #[test]
    fn who_is_late_catches_up_at_a_pace() {
        let mut schedule = schedule();
        assert_eq!(schedule.turn(&key(0), now(12)), Turn::Now);
        schedule.begun(&key(0), &key(9), now(12).instant);
        assert_eq!(schedule.lag(schedule.next(), now(12).unix), Duration::from_secs(12 * HOUR));
        // A quarter of the line is worth 4 hours, and takes one.
        assert_eq!(schedule.turn(&key(1 << 62), now(12)), Turn::At(now(13).instant));
        assert_eq!(schedule.due_until(now(12).unix), 3 << 62);
    }

    #[test]
    fn clocks_that_were_wrong_are_borne() {
        let mut schedule = schedule();
        schedule.resume(Cursor { position: 1 << 63, began: UnixTime(0) });
        schedule.mend(now(0));
        assert_eq!(schedule.lag(schedule.next(), now(0).unix), Duration::from_secs(16 * HOUR));
        schedule.resume(Cursor { position: 1 << 63, began: UnixTime(u64::MAX) });
        schedule.mend(now(0));
        assert_eq!(schedule.turn(&key(1 << 63), now(0)), Turn::Now);
        assert_eq!(schedule.lag(schedule.next(), now(0).unix), Duration::ZERO);
        let was = schedule.began();
        schedule.mend(now(1));
        assert_eq!(schedule.began(), was);
    }
}
