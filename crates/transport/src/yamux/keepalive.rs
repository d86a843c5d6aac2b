//! Pings: ours measure the round trip and find out that the peer is gone, the
//! peer's are answered with the value that they carry.
//!
//! rust-yamux closes the connection on a wrong or unexpected pong, so we send
//! none that was not asked for; wrong ones that we get are ignored.

use std::collections::VecDeque;
use std::time::Duration;

use peerage_base::{Instant, Timers};

use super::config::Config;
use super::event::Timer;

/// Round trips remembered; the least of them counts, since a ping that waited
/// behind data says more about the data than about the path.
const SAMPLES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    Idle,
    /// To be handed out, since this instant.
    Due(Instant),
    /// Handed out at this instant, unanswered.
    Sent(Instant),
}

#[derive(Debug)]
pub(super) struct Keepalive {
    timers: Timers<Timer>,
    ping: Ping,
    value: u32,
    /// Values to send back, oldest first.
    pongs: VecDeque<u32>,
    samples: VecDeque<Duration>,
    heard: Instant,
}

impl Keepalive {
    /// The first ping is due at once: windows grow only when a round trip is known.
    pub(super) fn new(now: Instant, config: &Config) -> Self {
        let mut timers = Timers::new();
        timers.set(Timer::Ping, now + config.ping_interval);
        timers.set(Timer::PingTimeout, now + config.ping_timeout);
        Self {
            timers,
            ping: Ping::Due(now),
            value: 0,
            pongs: VecDeque::new(),
            samples: VecDeque::new(),
            heard: now,
        }
    }

    /// The least of the last round trips.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.samples.iter().min().copied()
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.timers.pop_due(now)
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The ping timer fired.
    pub(super) fn ping_due(&mut self, now: Instant, config: &Config) {
        if self.ping == Ping::Idle {
            self.ping = Ping::Due(now);
            self.timers.set(Timer::PingTimeout, now + config.ping_timeout);
        }
        self.timers.set(Timer::Ping, now + config.ping_interval);
    }

    /// The timeout fired; true if the peer is gone. A ping that could not
    /// even be handed out, because the peer does not read, counts too.
    pub(super) fn overdue(&mut self, now: Instant, config: &Config) -> bool {
        let (Ping::Due(since) | Ping::Sent(since)) = self.ping else {
            return false;
        };
        let silent_since = since.max(self.heard);
        if now.since(silent_since) >= config.ping_timeout {
            self.ping = Ping::Idle;
            return true;
        }
        self.timers.set(Timer::PingTimeout, silent_since + config.ping_timeout);
        false
    }

    /// The value of a ping to send now.
    pub(super) fn next_ping(&mut self, now: Instant, config: &Config) -> Option<u32> {
        let Ping::Due(_) = self.ping else {
            return None;
        };
        self.value = self.value.wrapping_add(1);
        self.ping = Ping::Sent(now);
        self.timers.set(Timer::PingTimeout, now + config.ping_timeout);
        Some(self.value)
    }

    /// The value of a pong to send now.
    pub(super) fn next_pong(&mut self) -> Option<u32> {
        self.pongs.pop_front()
    }

    pub(super) fn has_output(&self) -> bool {
        matches!(self.ping, Ping::Due(_)) || !self.pongs.is_empty()
    }

    /// The peer pinged. Beyond the limit pings are dropped, as in go-yamux.
    pub(super) fn pinged(&mut self, value: u32, config: &Config) {
        if self.pongs.len() < config.max_pongs {
            self.pongs.push_back(value);
        }
    }

    /// The peer answered; the round trip, if it answered what we asked.
    pub(super) fn ponged(&mut self, value: u32, now: Instant) -> Option<Duration> {
        let Ping::Sent(sent) = self.ping else {
            return None;
        };
        if value != self.value {
            return None;
        }
        self.ping = Ping::Idle;
        self.timers.cancel(&Timer::PingTimeout);
        let rtt = now.since(sent);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(rtt);
        Some(rtt)
    }

    /// Stops all timers and drops what was to be sent.
    pub(super) fn stop(&mut self) {
        self.timers = Timers::new();
        self.ping = Ping::Idle;
        self.pongs.clear();
    }
}
