//! How often progress is told.

use std::time::{Duration, Instant};

/// Time between two events of progress. 500 ms: what `--json` promises, and a bar
/// moves by itself between them.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Whether it is time to tell again.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// True at most twice a second.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= TOLD_EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
