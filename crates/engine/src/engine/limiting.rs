//! The user's limit on what we receive: less is asked for ahead of it, and nobody is
//! blamed for the time that it takes.

use std::num::NonZeroU64;
use std::time::Duration;

use peerage_base::Now;

use super::Engine;

/// How much is asked for ahead of a rate that we keep to ourselves. 2 s: longer than
/// most round trips and waits for a block to be written, and no more lies at the
/// sources, in their windows, than that.
const AHEAD: Duration = Duration::from_secs(2);

/// What is asked for however slow that rate is, in bytes: four of the usual blocks,
/// or one of the largest.
const ASKED_MIN: u64 = 4 << 20;

/// Longest time that our limit is taken to hold up a block. An hour is for ever here.
const HOLD_MAX: Duration = Duration::from_secs(3600);

impl Engine {
    /// Says at which rates the shell takes in blocks, in bytes a second: from all
    /// peers together, and from each of them. Fetches then ask for no more ahead than
    /// comes in some time, and sources have that time more.
    pub fn limit_receiving(&mut self, total: Option<NonZeroU64>, per_peer: Option<NonZeroU64>, now: Now) {
        let credit = self.config.fetch_credit;
        self.fetch_credit = total
            .map_or(credit, |rate| rate.get().saturating_mul(AHEAD.as_secs()).max(ASKED_MIN).min(credit));
        // Twice, since what was asked before the limit was set is under way, too.
        let hold = total.into_iter().chain(per_peer).min().map_or(0, |rate| 2 * self.fetch_credit / rate);
        self.exchange.set_receiving_hold(Duration::from_secs(hold).min(HOLD_MAX));
        self.route(now);
    }
}
