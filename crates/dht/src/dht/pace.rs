//! How long peers take to answer, and when one takes too long to be waited for
//! while others can be asked.
//!
//! Deployed peers wait for each dial to fail, which takes a look-up of silent
//! peers tens of seconds; newer parts of go-libp2p-kad-dht (`fullrt`, optimistic
//! provide) go on without the last few. The estimate is TCP's (RFC 6298): the
//! smoothed time and four deviations. Dials count, so it spreads widely.

use std::time::Duration;

use crate::limits::Config;

/// The times of answers.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Smoothed time and deviation; none before the first answer.
    known: Option<(Duration, Duration)>,
}

impl Pace {
    /// A peer took so long to answer, being dialled included.
    pub(super) fn note(&mut self, took: Duration) {
        self.known = Some(match self.known {
            None => (took, took / 2),
            Some((smoothed, deviation)) => {
                let error = smoothed.abs_diff(took);
                ((smoothed * 7 + took) / 8, (deviation * 3 + error) / 4)
            }
        });
    }

    /// After how long an answer is late.
    pub(super) fn patience(&self, config: &Config) -> Duration {
        let estimate = self.known.map_or(config.late_first, |(smoothed, deviation)| smoothed + deviation * 4);
        estimate.max(config.late_min).min(config.request_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_others_took() {
        let config = Config::default();
        let mut pace = Pace::default();
        assert_eq!(pace.patience(&config), config.late_first);
        for _ in 0..50 {
            pace.note(Duration::from_millis(50));
        }
        assert_eq!(pace.patience(&config), config.late_min);
        for n in 0..50 {
            pace.note(Duration::from_millis(if n % 2 == 0 { 200 } else { 3_000 }));
        }
        let patience = pace.patience(&config);
        assert!(patience > Duration::from_secs(3) && patience < config.request_timeout, "{patience:?}");
        (0..50).for_each(|_| pace.note(Duration::from_secs(9)));
        (0..3).for_each(|_| pace.note(Duration::from_millis(1)));
        assert_eq!(pace.patience(&config), config.request_timeout, "never longer than that");
    }
}
