//! Output: what the connection has to say, most urgent first.
//!
//! Control goes before data: pongs, our ping, resets, then the window updates
//! of streams (with their SYN and ACK). GoAway goes last, since peers such as
//! rust-yamux drop what follows it; alone if the protocol was violated. Data goes round robin, each
//! stream sending up to one full frame's payload a turn, so that streams
//! share by bytes and not by writes. FIN and RST go on window updates, as in
//! go-yamux, since some implementations look for them only there.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use peerage_base::Instant;

use super::event::Event;
use super::frame::{Flags, HEADER_LEN, Header, Kind};
use super::machine::{Machine, Phase, control_header};
use super::stream::{Sending, Stream};
use super::{GoAwayCode, ResetCode, StreamId};

/// A data frame that could say less than this much of what its stream has
/// waits for the next transmit rather than squeeze into what room is left.
const MIN_SPLIT: usize = 1024;

/// Ids of ended streams that the queues may always hold.
const STALE: usize = 64;

/// A piece of what is to be sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// The header of a frame.
    Header([u8; HEADER_LEN]),
    /// Payload of the header before it, as the shell wrote it.
    Payload(Bytes),
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Header(header) => header,
            Self::Payload(payload) => payload,
        }
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    go_away: Option<Header>,
    resets: VecDeque<(StreamId, ResetCode)>,
    /// Streams with a window update to send; may name streams that are gone.
    control: VecDeque<StreamId>,
    /// Streams with payload or FIN to send; may name streams that are gone.
    ring: VecDeque<StreamId>,
    /// Bytes that the front of the ring may still send in its turn.
    turn: usize,
}

impl Output {
    pub(super) fn queue_header(&mut self, go_away: Header) {
        self.go_away = Some(go_away);
    }

    pub(super) fn queue_go_away(&mut self, code: GoAwayCode) {
        self.queue_header(Header::go_away(code.0));
    }

    pub(super) fn queue_reset(&mut self, id: StreamId, code: ResetCode) {
        self.resets.push_back((id, code));
    }

    pub(super) fn queued_resets(&self) -> usize {
        self.resets.len()
    }

    pub(super) fn queue_control(&mut self, id: StreamId, stream: &mut Stream) {
        if !stream.control.queued {
            stream.control.queued = true;
            self.control.push_back(id);
        }
    }

    pub(super) fn queue_data(&mut self, id: StreamId, stream: &mut Stream) {
        if !stream.in_ring && (stream.sendable() > 0 || stream.fin_due()) {
            stream.in_ring = true;
            self.ring.push_back(id);
        }
    }

    /// Entries of the queues that name streams.
    #[cfg(test)]
    pub(super) fn stale_len(&self) -> usize {
        self.control.len() + self.ring.len()
    }

    /// After a stream ended: the queues may name as many streams that are gone
    /// as `streams` are live, and a few, but no more.
    pub(super) fn forget_ended(&mut self, streams: &BTreeMap<StreamId, Stream>) {
        let most = streams.len() * 2 + STALE;
        if self.control.len() > most {
            self.control.retain(|id| streams.contains_key(id));
        }
        if self.ring.len() > most {
            // The front keeps its turn if it lives; else the next one gets a new turn.
            let front = self.ring.front().copied();
            self.ring.retain(|id| streams.contains_key(id));
            if self.ring.front().copied() != front {
                self.turn = 0;
            }
        }
    }
}

impl Machine {
    /// Appends frames of at most `max` bytes in all to `out`, and says how
    /// many bytes that was; 0 when there is nothing to send, or nothing that
    /// fits. Everything handed out must be sent, in order.
    ///
    /// Fill one secured message at a time: with `max` the plaintext that
    /// still fits into it (65,519 bytes for Noise when empty) a full frame is
    /// one message. `max` below 13 cannot send data.
    pub fn poll_transmit(&mut self, now: Instant, max: usize, out: &mut Vec<Chunk>) -> usize {
        let mut room = max;
        while room >= HEADER_LEN {
            let Some(header) = self.next_control(now) else {
                break;
            };
            out.push(Chunk::Header(header.encode()));
            room -= HEADER_LEN;
        }
        while room >= HEADER_LEN && self.transmit_data(now, &mut room, max, out) {}
        if room >= HEADER_LEN
            && self.output.is_drained()
            && let Some(header) = self.output.go_away.take()
        {
            out.push(Chunk::Header(header.encode()));
            room -= HEADER_LEN;
        }
        max - room
    }

    /// True if [`poll_transmit`](Self::poll_transmit) has something to send.
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        let output = &self.output;
        output.go_away.is_some()
            || self.keepalive.has_output()
            || !output.resets.is_empty()
            || output.control.iter().any(|id| self.streams.contains_key(id))
            || output.ring.iter().any(|id| self.streams.contains_key(id))
    }

    fn next_control(&mut self, now: Instant) -> Option<Header> {
        if let Some(value) = self.keepalive.next_pong() {
            return Some(Header::ping(Flags::ACK, value));
        }
        if matches!(self.phase, Phase::Failed(_)) {
            return None;
        }
        if let Some(value) = self.keepalive.next_ping(now, &self.config) {
            return Some(Header::ping(Flags::SYN, value));
        }
        if let Some((id, code)) = self.output.resets.pop_front() {
            return Some(Header::window_update(id, Flags::RST, code.0));
        }
        while let Some(id) = self.output.control.pop_front() {
            if let Some(stream) = self.streams.get_mut(&id) {
                return Some(control_header(id, stream));
            }
        }
        None
    }

    /// Sends a frame of the stream whose turn it is; false if there is none,
    /// or too little room for it.
    fn transmit_data(&mut self, now: Instant, room: &mut usize, max: usize, out: &mut Vec<Chunk>) -> bool {
        let Some(&id) = self.output.ring.front() else {
            return false;
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            self.output.next_turn();
            return true;
        };
        if self.output.turn == 0 {
            self.output.turn = self.config.max_frame_payload.max(1);
        }
        let wanted = stream.sendable().min(self.output.turn);
        let fits = *room - HEADER_LEN;
        if wanted > fits && (fits == 0 || (fits < MIN_SPLIT && *room < max)) {
            return false;
        }
        let len = wanted.min(fits);
        if len > 0 {
            push_data(id, stream, len, out);
            stream.lingers_since = stream.lingers_since.map(|_| now);
            *room -= HEADER_LEN + len;
            // A rest too small for a frame of its own is not worth one.
            self.output.turn = Some(self.output.turn - len).filter(|&left| left >= MIN_SPLIT).unwrap_or(0);
            let room = stream.owes_writable && stream.unsent.len() <= self.config.send_buffer / 2;
            let drained = stream.owes_drained && stream.unsent.is_empty();
            if room || drained {
                stream.owes_writable &= !room;
                stream.owes_drained &= !drained;
                self.events.push_back(Event::Writable { id });
            }
        }
        if stream.fin_due() {
            if *room < HEADER_LEN {
                return false;
            }
            stream.sending = Sending::Over;
            out.push(Chunk::Header(Header::window_update(id, Flags::FIN, 0).encode()));
            *room -= HEADER_LEN;
        }
        if self.output.turn == 0 || stream.sendable() == 0 {
            stream.in_ring = false;
            self.output.next_turn();
            self.output.queue_data(id, stream);
            self.end_if_over(id);
        }
        true
    }
}

impl Output {
    /// Nothing may be sent that GoAway would have to wait for.
    fn is_drained(&self) -> bool {
        self.resets.is_empty() && self.control.is_empty() && self.ring.is_empty()
    }

    fn next_turn(&mut self) {
        self.ring.pop_front();
        self.turn = 0;
    }
}

fn push_data(id: StreamId, stream: &mut Stream, len: usize, out: &mut Vec<Chunk>) {
    let sent = u32::try_from(len).unwrap_or(u32::MAX);
    stream.send_credit -= sent;
    out.push(Chunk::Header(Header { kind: Kind::Data, flags: Flags::NONE, id, len: sent }.encode()));
    let mut left = len;
    while let Some(chunk) = stream.unsent.pop(left) {
        left -= chunk.len();
        out.push(Chunk::Payload(chunk));
    }
}
