//! What is unread of one connection, or was read and is still held in
//! assembly: bounded by what was asked of the peer and a slack, and part of
//! the budget of all connections. Whoever is beyond loses its fullest stream.

use std::task::Waker;

use super::event::{Event, ResetCause};
use super::machine::Machine;
use super::stream::Stream;
use super::{ResetCode, StreamGone, StreamId};

impl Machine {
    /// Says that `bytes` of what was read on the stream are still held, such as
    /// a message in assembly; 0 once they are not. They count as if they were
    /// unread, also when the stream is gone.
    ///
    /// # Errors
    /// [`StreamGone`]: also if it was the one that had to make room. Let go of
    /// what is held then, and say so.
    pub fn hold(&mut self, id: StreamId, bytes: u64) -> Result<(), StreamGone> {
        loop {
            let Some(stream) = self.streams.get_mut(&id) else {
                let before = self.leaving.remove(&id).unwrap_or(0);
                let now = bytes.min(before);
                self.share.give(before - now);
                if now > 0 {
                    self.leaving.insert(id, now);
                }
                return Err(StreamGone);
            };
            let before = stream.held;
            if bytes <= before {
                self.share.give(before - bytes);
            } else if !self.share.claim(bytes - before) {
                let more = u32::try_from(bytes - before).unwrap_or(u32::MAX);
                self.reset_fullest(Some((id, more)), ResetCause::BudgetFull);
                continue;
            }
            stream.held = bytes;
            self.unread = self.unread - before + bytes;
            self.enforce_unread_limit();
            return self.streams.get(&id).map(|_| ()).ok_or(StreamGone);
        }
    }

    /// Whom to wake when others need room: call [`make_room`](Self::make_room) then.
    pub fn wake_for_room(&self, waker: &Waker) {
        self.share.wake_when_asked(waker);
    }

    /// Resets the fullest streams if this connection is the one that is to make
    /// room for others: it holds most beyond what was asked of it.
    pub fn make_room(&mut self) {
        let mut wanted = if self.share.take_request() { self.share.reserve() } else { 0 };
        while wanted > 0 {
            match self.reset_fullest(None, ResetCause::BudgetFull) {
                0 => break,
                freed => wanted = wanted.saturating_sub(freed),
            }
        }
    }

    /// Streams that the peer reset may not hold more than live ones.
    pub(super) fn holds_too_much(&self) -> bool {
        self.leaving.values().sum::<u64>() > self.expected.saturating_add(self.config.unread_slack)
    }

    /// Resets streams of ours until the connection's unread bytes are within
    /// what was asked for, and the slack.
    pub(super) fn enforce_unread_limit(&mut self) {
        let limit = self.expected.saturating_add(self.config.unread_slack);
        while self.unread > limit {
            if self.reset_fullest(None, ResetCause::UnreadLimit) == 0 {
                break;
            }
        }
    }

    /// Resets the stream with the most bytes unread or held, `arriving` counting
    /// for the stream that they arrive on, and says how many that were. Takes
    /// time in the number of streams, but ends one of them.
    pub(super) fn reset_fullest(&mut self, arriving: Option<(StreamId, u32)>, cause: ResetCause) -> u64 {
        let load = |(id, stream): (&StreamId, &Stream)| {
            let more = arriving.filter(|(at, _)| at == id).map_or(0, |(_, len)| len);
            (stream.load() + u64::from(more), *id)
        };
        let Some((unread, id)) = self.streams.iter().map(load).max() else {
            return 0;
        };
        if unread == 0 {
            return 0;
        }
        let code = ResetCode::RESOURCE_LIMIT_EXCEEDED;
        self.reset(id, code);
        self.events.push_back(Event::Reset { id, code, cause });
        unread
    }
}
