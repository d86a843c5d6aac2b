//! The monotonic clock that the yamux machine is given.

use std::time::Duration;

use peerage_base::Instant;
use tokio::time;

/// Tokio's clock (which tests may pause), counted from when this was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: time::Instant,
}

impl Clock {
    /// A clock that reads [`Instant::START`] now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: time::Instant::now() }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// When tokio's clock will read what this one calls `instant`.
    #[must_use]
    pub fn tokio_time(&self, instant: Instant) -> time::Instant {
        // A timer beyond 30 years is as good as none, and must not overflow.
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        self.start + instant.since(Instant::START).min(FAR)
    }
}
