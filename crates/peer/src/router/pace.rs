//! How soon a router is asked again that failed, or that wants fewer questions.
//!
//! Pure: what happened and when, and from that whether to ask now.

use std::time::Duration;

use tokio::time::Instant;

use super::{Limits, RouterError};

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Failures in a row; those of questions that were asked at once are one.
    failures: u32,
    /// When the last of these was noted.
    noted: Option<Instant>,
    /// When the last of all was, also if it counts as one with another.
    last: Option<Instant>,
    /// Not asked before this.
    until: Option<Instant>,
}

impl Pace {
    /// How long the router is still to be left alone; none if it may be asked.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// A question that was asked at `asked` was answered. What was noted since
    /// then holds: it says more of how things are now.
    pub(super) fn answered(&mut self, asked: Instant) {
        if self.last.is_none_or(|last| asked >= last) {
            *self = Self::default();
        }
    }

    /// A question that was asked at `asked` failed.
    pub(super) fn failed(&mut self, error: &RouterError, asked: Instant, now: Instant, limits: &Limits) {
        if self.noted.is_none_or(|noted| asked >= noted) {
            self.failures = self.failures.saturating_add(1);
            self.noted = Some(now);
        }
        self.last = Some(now);
        let factor = 1 << self.failures.saturating_sub(1).min(16);
        let usual = limits.first_pause.saturating_mul(factor).min(limits.max_pause);
        let pause = match error {
            RouterError::RateLimited { after: Some(after) } => (*after).min(limits.max_retry_after),
            _ => usual,
        };
        let until = now + pause;
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_and_end() {
        let (limits, mut pace, mut now) = (Limits::default(), Pace::default(), Instant::now());
        assert_eq!(pace.wait(now), None);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            // Eight at once, as many as may be: one failure.
            for _ in 0..8 {
                pace.failed(&RouterError::Status(500), now, now + SECOND, &limits);
            }
            now += SECOND;
            let pause = pace.wait(now).unwrap();
            pauses.push(pause.as_secs());
            now += pause;
            assert_eq!(pace.wait(now), None);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        pace.answered(now);
        pace.failed(&RouterError::Status(500), now, now, &limits);
        assert_eq!(pace.wait(now), Some(limits.first_pause));
    }

    #[test]
    fn a_router_says_when() {
        let (limits, now) = (Limits::default(), Instant::now());
        for (after, pause) in [
            (Some(SECOND * 7), SECOND * 7),
            (Some(Duration::MAX), limits.max_retry_after),
            (None, limits.first_pause),
        ] {
            let mut pace = Pace::default();
            pace.failed(&RouterError::RateLimited { after }, now, now, &limits);
            assert_eq!(pace.wait(now), Some(pause));
            // Another failure does not shorten it.
            pace.failed(&RouterError::Status(500), now, now, &limits);
            assert!(pace.wait(now) >= Some(pause));
        }
    }

    #[test]
    fn an_earlier_question_answered_late_ends_no_pause() {
        let (limits, asked) = (Limits::default(), Instant::now());
        let mut pace = Pace::default();
        pace.failed(&RouterError::Status(500), asked, asked + SECOND, &limits);
        let after = Some(SECOND * 60);
        // Asked when the other one was: no further failure, and yet a pause.
        let noted = asked + SECOND * 10;
        pace.failed(&RouterError::RateLimited { after }, asked, noted, &limits);
        for earlier in [asked, asked + SECOND * 7] {
            pace.answered(earlier);
            assert_eq!(pace.wait(noted), after);
        }
        pace.answered(noted + SECOND * 60);
        assert_eq!(pace.wait(noted), None);
    }
}
