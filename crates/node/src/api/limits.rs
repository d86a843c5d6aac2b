//! Limits that the user sets: rates, and the hours at which other ones hold.

use std::num::NonZeroU64;

use peerage_peer::Rates;
use serde::{Deserialize, Serialize};

/// Slowest rate that is taken, in bytes a second. 16 kB/s: at less, a block of 1 MiB
/// takes longer than other peers wait for one (ours: 10 s, and 12.5 kB/s from then on).
pub(crate) const RATE_MIN: u64 = 16_000;

/// Minutes of a day.
pub(crate) const DAY: u16 = 24 * 60;

/// A rate as a flag gives it: bytes a second, or 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rate(pub(crate) u64);

/// Rates that were given; what is `None` was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RateFlags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) down: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) up_per_peer: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) down_per_peer: Option<Rate>,
}

impl RateFlags {
    /// `rates`, but what was given as it was given.
    pub(crate) fn over(&self, rates: Rates) -> Rates {
        let one = |given: Option<Rate>, before| given.map_or(before, |rate| NonZeroU64::new(rate.0));
        Rates {
            up: one(self.up, rates.up),
            down: one(self.down, rates.down),
            up_per_peer: one(self.up_per_peer, rates.up_per_peer),
            down_per_peer: one(self.down_per_peer, rates.down_per_peer),
        }
    }

    /// These, but what `later` gives as it is there.
    fn then(self, later: Self) -> Self {
        Self {
            up: later.up.or(self.up),
            down: later.down.or(self.down),
            up_per_peer: later.up_per_peer.or(self.up_per_peer),
            down_per_peer: later.down_per_peer.or(self.down_per_peer),
        }
    }

    /// The first flag that was given.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let flags = [
            ("--max-up", self.up),
            ("--max-down", self.down),
            ("--max-up-per-peer", self.up_per_peer),
            ("--max-down-per-peer", self.down_per_peer),
        ];
        flags.iter().find_map(|(name, given)| given.map(|_| *name))
    }
}

/// Hours of each day, and the rates that hold then: `HH:MM-HH:MM up=RATE down=RATE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hours {
    /// Minutes after midnight, local time; before [`DAY`].
    pub(crate) from: u16,
    /// The first minute after it: not `from`. If it is before, the hours cross midnight.
    pub(crate) to: u16,
    pub(crate) rates: RateFlags,
    /// As it was typed.
    pub(crate) text: String,
}

impl Hours {
    fn hold_at(&self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// What the hours say at a minute of the day: of several the later ones.
pub(crate) fn hours_at(schedule: &[Hours], minute: u16) -> RateFlags {
    let now = schedule.iter().filter(|hours| hours.hold_at(minute));
    now.fold(RateFlags::default(), |rates, hours| rates.then(hours.rates))
}

/// Minutes until the next time at which hours begin or end; `None` if none ever do.
pub(crate) fn until_change(schedule: &[Hours], minute: u16) -> Option<u16> {
    let ends = schedule.iter().flat_map(|hours| [hours.from, hours.to % DAY]);
    ends.map(|at| if at > minute { at - minute } else { at + DAY - minute }).min()
}

/// The limits that hold now, as `limit` and `status` show them. Rates are in bytes a
/// second, and none if there is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) up: Option<u64>,
    pub(crate) down: Option<u64>,
    pub(crate) up_per_peer: Option<u64>,
    pub(crate) down_per_peer: Option<u64>,
    /// As they were typed.
    #[serde(default)]
    pub(crate) schedule: Vec<String>,
    /// Connections at once, if `--max-peers` says so.
    #[serde(default)]
    pub(crate) max_peers: Option<u64>,
    /// Bytes, if `--max-memory` says so.
    #[serde(default)]
    pub(crate) max_memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: u16, to: u16, up: u64) -> Hours {
        let rates = RateFlags { up: Some(Rate(up)), ..RateFlags::default() };
        Hours { from, to, rates, text: String::new() }
    }

    #[test]
    fn later_hours_win_and_midnight_is_crossed() {
        let plain = Rates { up: NonZeroU64::new(9), down: NonZeroU64::new(8), ..Rates::default() };
        let schedule = [hours(22 * 60, 6 * 60, 1), hours(5 * 60, 7 * 60, 2), hours(12 * 60, DAY, 0)];
        let up = |minute| hours_at(&schedule, minute).over(plain).up.map_or(0, NonZeroU64::get);
        for (hour, expected) in [(0, 1), (4, 1), (5, 2), (6, 2), (7, 9), (11, 9), (12, 0), (21, 0), (23, 0)] {
            assert_eq!(up(hour * 60), expected, "at {hour}");
        }
        assert_eq!(up(12 * 60 - 1), 9);
        assert!((0..DAY).all(|minute| hours_at(&schedule, minute).over(plain).down == plain.down));
    }

    #[test]
    fn nothing_changes_before_the_next_change() {
        let schedule = [hours(22 * 60, 6 * 60, 1), hours(5 * 60, 7 * 60, 2), hours(12 * 60, DAY, 0)];
        let at = |minute| hours_at(&schedule, minute % DAY);
        for minute in 0..DAY {
            let until = until_change(&schedule, minute).unwrap();
            assert!((1..=DAY).contains(&until));
            assert!((0..until).all(|passed| at(minute + passed) == at(minute)), "from {minute}");
        }
        assert_eq!(until_change(&schedule, 23 * 60), Some(60));
        assert_eq!(until_change(&[], 5), None);
    }

    #[test]
    fn what_is_given_replaces_what_was() {
        let flags = RateFlags { down: Some(Rate(0)), up_per_peer: Some(Rate(5)), ..RateFlags::default() };
        assert_eq!(flags.first(), Some("--max-down"));
        let before = Rates { up: NonZeroU64::new(1), down: NonZeroU64::new(2), ..Rates::default() };
        let after = Rates { up: NonZeroU64::new(1), up_per_peer: NonZeroU64::new(5), ..Rates::default() };
        assert_eq!(flags.over(before), after);
        let json = serde_json::to_string(&flags).unwrap();
        assert_eq!(serde_json::from_str::<RateFlags>(&json).unwrap(), flags);
        assert_eq!((json.as_str(), RateFlags::default().first()), (r#"{"down":0,"up_per_peer":5}"#, None));
    }
}
