//! The receive window of one stream: what the peer may send, what of it is
//! unread, and what it costs the budget of all connections.
//!
//! A window starts at the protocol's 256 KiB and doubles while the reader
//! empties it within four round trips, so that it settles between two and
//! four times bandwidth x delay. The peer learns early what was read: if that
//! waited for half of a window, bursts of half a window would come, one a round
//! trip, and a window that cannot grow would carry half of what it could. What it grows by is taken from the budget in
//! advance; unread bytes are charged on arrival as far as the reserve does
//! not cover them, so nothing is counted twice. The initial window is not
//! reserved: thousands of idle streams may be open.

use std::time::Duration;

use peerage_base::{Instant, Share};

use super::config::{Config, INITIAL_WINDOW};

/// The peer's credit is extended once so much was read, or half of the window if
/// that is less. A judgement: a frame of 12 bytes for each 256 KiB costs nothing.
const EXTEND_BY: u32 = 256 * 1024;
/// A window doubles if half of it was read within this many round trips:
/// filled within twice as many.
const GROW_WITHIN_RTTS: u32 = 2;
/// Windows grow only while this fraction of the budget stays free: data that
/// is not covered by a reserve must find room, or streams would be reset for
/// the luxury of others.
const GROWTH_LEAVES: u64 = 2;

#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// What `credit` and `unread` together are filled up to.
    size: u32,
    /// What the peer may still send.
    credit: u32,
    /// Arrived and not read.
    unread: u32,
    /// Taken from the budget for growth.
    reserved: u32,
    /// When the window was last extended.
    extended: Instant,
    /// When half of the window had been read before, and how much since.
    half_read: Instant,
    read_since: u32,
}

impl ReceiveWindow {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            size: INITIAL_WINDOW,
            credit: INITIAL_WINDOW,
            unread: 0,
            reserved: 0,
            extended: now,
            half_read: now,
            read_since: 0,
        }
    }

    /// Bytes the peer may still send.
    pub(super) const fn credit(&self) -> u32 {
        self.credit
    }

    /// Bytes that arrived and were not read.
    pub(super) const fn unread(&self) -> u32 {
        self.unread
    }

    /// What this stream has taken from the budget.
    pub(super) fn charge(&self) -> u64 {
        u64::from(self.reserved.max(self.unread))
    }

    /// Counts `len` bytes that arrived, which `credit` allowed. False, and
    /// nothing counted, if the budget is full.
    #[must_use]
    pub(super) fn arrive(&mut self, len: u32, budget: &Share) -> bool {
        debug_assert!(len <= self.credit, "the header was checked");
        let unread = self.unread + len;
        let more = u64::from(self.reserved.max(unread)) - self.charge();
        if more > 0 && !budget.claim(more) {
            return false;
        }
        self.unread = unread;
        self.credit -= len;
        true
    }

    /// Counts `len` bytes that arrived and were dropped: the peer's credit is
    /// used, nothing is held.
    pub(super) const fn ignore(&mut self, len: u32) {
        self.credit = self.credit.saturating_sub(len);
    }

    /// Counts `len` bytes that were read.
    pub(super) fn read(&mut self, len: u32, budget: &Share) {
        let before = self.charge();
        self.unread -= len;
        budget.give(before - self.charge());
    }

    /// What to extend the peer's credit by now, once [`EXTEND_BY`] or half of the
    /// window was read; grows the window if half of it was read fast enough.
    pub(super) fn extend(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        config: &Config,
        budget: &Share,
    ) -> Option<u32> {
        let held = self.unread + self.credit;
        let half = self.size / 2;
        let read = self.size.saturating_sub(held);
        if read < half.min(EXTEND_BY) {
            return None;
        }
        self.read_since = self.read_since.saturating_add(read);
        if self.read_since >= half {
            if let Some(rtt) = rtt
                && now.since(self.half_read) < rtt.max(config.rtt_floor) * GROW_WITHIN_RTTS
            {
                self.grow(config, budget);
            }
            self.half_read = now;
            self.read_since = 0;
        }
        let delta = self.size - held;
        self.credit += delta;
        self.extended = now;
        Some(delta)
    }

    /// Gives back what growth had reserved if the window was not extended
    /// since `idle` ago. Credit already granted cannot be revoked; what
    /// arrives on it is charged like the initial window.
    pub(super) fn shrink_if_idle(&mut self, now: Instant, idle: Duration, budget: &Share) {
        if self.reserved > 0 && now.since(self.extended) >= idle {
            let before = self.charge();
            self.size = INITIAL_WINDOW;
            self.reserved = 0;
            budget.give(before - self.charge());
        }
    }

    /// Gives everything back; the stream is over.
    pub(super) fn release(&mut self, budget: &Share) {
        budget.give(self.charge());
        self.unread = 0;
        self.reserved = 0;
        self.size = INITIAL_WINDOW;
    }

    fn grow(&mut self, config: &Config, budget: &Share) {
        let size = self.size.saturating_mul(2).min(config.max_window);
        let by = size.saturating_sub(self.size);
        let reserved = self.reserved + by;
        let more = u64::from(reserved.max(self.unread)) - self.charge();
        let leaves = budget.limit() / GROWTH_LEAVES;
        if by > 0 && budget.free() >= more.saturating_add(leaves) && budget.take(more) {
            self.size = size;
            self.reserved = reserved;
        }
    }
}
