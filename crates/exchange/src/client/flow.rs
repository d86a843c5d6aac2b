//! How fast a source answers, and from that how much to ask of it at once and
//! how long to wait. Integers only.

use std::time::Duration;

use peerage_base::Instant;

use crate::limits::Config;

/// Shortest stretch of time over which a rate is taken.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Beyond two round trips a window holds this much time's worth of bytes, so
/// that the source has work while its last block is hashed and written here.
const WINDOW_SLACK: Duration = Duration::from_millis(250);

/// The flow of blocks from one source.
#[derive(Debug)]
pub(crate) struct Flow {
    rate: Option<u64>,
    rtt: Option<Duration>,
    /// Bytes and blocks asked for and not come.
    outstanding: u64,
    blocks: u64,
    /// Start of the stretch that is being measured, and what came in it.
    since: Instant,
    bytes: u64,
    /// It began with a want, so that nothing could come for a round trip.
    fresh: bool,
    /// All bytes that came.
    delivered: u64,
    /// When it last said or sent anything of use, and when any part of a block came.
    progress: Instant,
    received: Instant,
    /// It let a want lapse and has sent nothing since: one block at a time.
    lapsed: bool,
}

impl Flow {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rate: None,
            rtt: None,
            outstanding: 0,
            blocks: 0,
            since: now,
            bytes: 0,
            fresh: false,
            delivered: 0,
            progress: now,
            received: now,
            lapsed: false,
        }
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes that may be outstanding: two round trips and a little at the
    /// measured rate. While the window itself limits the rate, that doubles it
    /// every round trip.
    pub(crate) fn window(&self, config: &Config) -> u64 {
        let Some(rate) = self.rate else { return config.window_initial };
        let span = self.rtt.unwrap_or(config.rtt_unknown) * 2 + WINDOW_SLACK;
        bytes_in(rate, span).clamp(config.window_min, config.window_max)
    }

    /// Whether a block of `len` bytes may be asked for now.
    pub(crate) fn has_room(&self, len: u64, config: &Config) -> bool {
        if self.lapsed {
            return self.blocks == 0;
        }
        // A few blocks whatever their size, but not a few huge ones at once, and of a slow
        // source only the next one: what it has not begun another may have sooner.
        let soon =
            self.blocks < 2 || self.rate.is_none_or(|rate| time_for(self.outstanding, rate) < WINDOW_SLACK);
        let few = soon && self.blocks < config.window_blocks && self.outstanding + len <= config.window_max;
        self.blocks == 0 || few || self.outstanding + len <= self.window(config)
    }

    /// When a block of `len` bytes would be here if it were asked for now.
    pub(crate) fn estimate(&self, len: u64, config: &Config) -> Duration {
        let rate = self.rate.unwrap_or(config.rate_unknown);
        let rtt = self.rtt.unwrap_or(config.rtt_unknown);
        rtt + time_for(self.outstanding + len, rate)
    }

    /// How long until what is outstanding is here; at least as long as nothing came.
    pub(crate) fn remaining(&self, now: Instant, config: &Config) -> Duration {
        let rate = self.rate.unwrap_or(config.rate_unknown);
        time_for(self.outstanding, rate).max(now - self.progress)
    }

    pub(crate) fn asked(&mut self, len: u64, now: Instant) {
        if self.blocks == 0 {
            self.since = now;
            self.bytes = 0;
            self.fresh = true;
            (self.progress, self.received) = (now, now);
        }
        self.blocks += 1;
        self.outstanding += len;
    }

    /// A want for a block ended, by a block or otherwise.
    pub(crate) fn ended(&mut self, len: u64) {
        self.blocks = self.blocks.saturating_sub(1);
        self.outstanding = self.outstanding.saturating_sub(len);
    }

    /// Word of something came: the peer lives, which is not yet to say that it sends.
    pub(crate) fn progressed(&mut self, now: Instant) {
        self.progress = now;
    }

    /// Part of a block came.
    pub(crate) fn received(&mut self, now: Instant) {
        (self.progress, self.received) = (now, now);
    }

    /// An answer to a want that found nothing queued before it. If its bytes took most
    /// of the time, it says nothing about the round trip: the rate is known too roughly.
    pub(crate) fn answered(&mut self, after: Duration, len: u64) {
        let sending = time_for(len, self.rate.unwrap_or(u64::MAX));
        if sending > after / 2 {
            return;
        }
        let sample = after - sending;
        self.rtt = Some(match self.rtt {
            Some(rtt) if rtt < sample => rtt + (sample - rtt) / 8,
            _ => sample,
        });
    }

    /// A block came; call after [`Flow::ended`].
    pub(crate) fn arrived(&mut self, len: u64, now: Instant) {
        self.received(now);
        self.lapsed = false;
        self.delivered += len;
        self.bytes += len;
        let rtt = self.rtt.unwrap_or_default();
        let span = (now - self.since).saturating_sub(if self.fresh { rtt } else { Duration::ZERO });
        let idle = self.blocks == 0;
        // A shorter stretch, as of a lone small block, says more about the round trip.
        if span < INTERVAL_MIN.max(rtt) {
            return;
        }
        let sample =
            u64::try_from(u128::from(self.bytes) * 1_000_000_000 / span.as_nanos()).unwrap_or(u64::MAX);
        self.rate = Some(match self.rate {
            Some(rate) if sample >= rate => sample,
            // It ran out of wants: the sample says nothing about its speed.
            Some(rate) if idle => rate,
            Some(rate) => rate - (rate - sample) / 4,
            None => sample,
        });
        self.since = now;
        self.bytes = 0;
        self.fresh = false;
    }

    pub(crate) fn is_lapsed(&self) -> bool {
        self.lapsed
    }

    /// It did not answer in time.
    pub(crate) fn lapse(&mut self) {
        self.lapsed = true;
    }

    pub(crate) fn is_silent_since(&self, at: Instant) -> bool {
        self.progress <= at
    }

    /// When a want is past patience: `ahead` bytes were outstanding with it
    /// when it was asked, `delivered` had come by then. A `len` of 0 is word alone.
    pub(crate) fn deadline(
        &self,
        asked: Instant,
        ahead: u64,
        len: u64,
        delivered: u64,
        config: &Config,
    ) -> Instant {
        let rate = self.rate.unwrap_or(config.rate_unknown).max(1);
        let rtt = self.rtt.unwrap_or(config.rtt_unknown);
        let patience = |bytes| ((rtt + time_for(bytes, rate)) * 4 + config.patience).max(config.patience_min);
        let own = asked + patience(ahead);
        // As long as others that were asked before it come, it waits its turn.
        let overtaken = self.delivered.saturating_sub(delivered) >= ahead.saturating_mul(2);
        let last = if len == 0 { self.progress } else { self.received };
        if overtaken { own } else { own.max(last + patience(len)) }
    }
}

fn bytes_in(rate: u64, span: Duration) -> u64 {
    u64::try_from(u128::from(rate) * span.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    // An hour is for ever here, and what is multiplied later does not overflow.
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BLOCK: u64 = 1 << 20;

    /// Fetches blocks over a line of so many bytes a second, for so many round trips,
    /// after one of 5 kB, as a root is; what then is outstanding at most.
    fn most_outstanding(rate: u64, rtt: Duration, round_trips: u32) -> u64 {
        let config = Config::default();
        let start = Instant::default();
        let mut flow = Flow::new(start);
        let mut now = start + rtt + time_for(5_000, rate);
        flow.asked(5_000, start);
        flow.ended(5_000);
        flow.answered(now - start, 5_000);
        flow.arrived(5_000, now);

        let mut due: VecDeque<Instant> = VecDeque::new();
        let (began, mut sent, mut most) = (now, now, 0);
        let mut first = true;
        while now < start + rtt * round_trips {
            while flow.has_room(BLOCK, &config) {
                flow.asked(BLOCK, now);
                sent = sent.max(now + rtt) + time_for(BLOCK, rate);
                due.push_back(sent);
            }
            most = most.max(flow.outstanding());
            now = due.pop_front().unwrap();
            flow.ended(BLOCK);
            if std::mem::take(&mut first) {
                flow.answered(now - began, BLOCK);
            }
            flow.arrived(BLOCK, now);
        }
        most
    }

    #[test]
    fn a_window_covers_what_a_long_line_holds() {
        for (rate, rtt) in
            [(10_000_000, 200 * MS), (30_000_000, 200 * MS), (50_000_000, 60 * MS), (10_000_000, 600 * MS)]
        {
            let held = bytes_in(rate, rtt);
            let most = most_outstanding(rate, rtt, 20);
            assert!(most >= held + BLOCK, "{most} bytes are out on a line that holds {held}");
        }
    }

    #[test]
    fn an_answer_that_took_its_time_says_nothing_about_the_round_trip() {
        let start = Instant::default();
        let mut flow = Flow::new(start);
        flow.answered(200 * MS, 5_000);
        flow.asked(BLOCK, start);
        flow.ended(BLOCK);
        // A rate of 100 kB/s, as of a line that has just begun.
        flow.arrived(BLOCK, start + 10_686 * MS);
        flow.answered(1_500 * MS, BLOCK);
        assert_eq!(flow.rtt(), Some(200 * MS));
        flow.answered(170 * MS, 1_000);
        assert!(flow.rtt() < Some(170 * MS), "a short one does");
    }

    #[test]
    fn a_lone_small_block_says_nothing_about_the_rate() {
        let start = Instant::default();
        let mut flow = Flow::new(start);
        flow.asked(5_000, start);
        flow.ended(5_000);
        flow.answered(200 * MS, 5_000);
        flow.arrived(5_000, start + 200 * MS);
        assert_eq!(flow.rate(), None);
        // A megabyte a second, once the round trip is over.
        let asked = start + 300 * MS;
        flow.asked(1_000_000, asked);
        flow.ended(1_000_000);
        flow.arrived(1_000_000, asked + 1_200 * MS);
        assert_eq!(flow.rate(), Some(1_000_000));
    }
}
