//! Input: decrypted bytes become frames, frames become what they mean.
//!
//! Flags may ride on any stream frame. Payload is handed to its stream as it
//! arrives, as slices of the input, before the frame is complete; FIN takes
//! effect after it. A frame is judged by its header, before any of its
//! payload is kept.

use bytes::{Buf, Bytes};
use peerage_base::Instant;

use super::admission::Verdict;
use super::event::{Event, ResetCause};
use super::frame::{Flags, HEADER_LEN, Header, Kind};
use super::machine::{Machine, Phase};
use super::stream::{Counted, Receiving, Sending, Stream};
use super::{GoAwayCode, ProtocolError, ResetCode, StreamId};

/// Where in a frame the input stands.
#[derive(Debug, Default)]
pub(super) struct Input {
    header: [u8; HEADER_LEN],
    header_len: usize,
    body: Option<Body>,
}

/// Payload that is still to come.
#[derive(Debug, Clone, Copy)]
struct Body {
    id: StreamId,
    left: u32,
    fin: bool,
}

impl Machine {
    /// Takes in decrypted bytes, cut anywhere.
    ///
    /// Large payloads are kept as slices of `data`, so give it a buffer of its
    /// own: the machine reckons that a slice pins `data.len()` bytes, and
    /// copies what is less than a quarter of that. A buffer of about one frame
    /// (64 KiB) is best.
    ///
    /// # Errors
    /// [`ProtocolError`], also for every later input: the peer violated the
    /// protocol and the connection is over. All streams are gone, without
    /// events.
    pub fn handle_input(&mut self, mut data: Bytes, now: Instant) -> Result<(), ProtocolError> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        self.keepalive.heard(now);
        let buffer_len = data.len();
        while !data.is_empty() {
            let result = match self.input.body {
                Some(body) => {
                    self.take_payload(body, &mut data, buffer_len);
                    Ok(())
                }
                None => match self.input.next_header(&mut data) {
                    Some(header) => Header::decode(header).and_then(|header| self.handle_header(header, now)),
                    None => Ok(()),
                },
            };
            result.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn take_payload(&mut self, body: Body, data: &mut Bytes, buffer_len: usize) {
        let len = data.len().min(usize::try_from(body.left).unwrap_or(usize::MAX));
        let taken = u32::try_from(len).unwrap_or(u32::MAX);
        let left = body.left - taken;
        self.input.body = (left > 0).then_some(Body { left, ..body });
        self.deliver(body.id, data.split_to(len), taken, buffer_len);
        if left == 0 && body.fin {
            self.finished(body.id);
        }
    }

    fn handle_header(&mut self, header: Header, now: Instant) -> Result<(), ProtocolError> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => self.handle_stream_frame(header, now),
            Kind::Ping if header.flags.has(Flags::SYN) => {
                self.keepalive.pinged(header.len, &self.config);
                Ok(())
            }
            Kind::Ping => {
                if let Some(rtt) = self.keepalive.ponged(header.len, now) {
                    self.events.push_back(Event::Pong { rtt });
                }
                Ok(())
            }
            Kind::GoAway => {
                if !self.peer_going_away {
                    self.peer_going_away = true;
                    self.events.push_back(Event::GoAway { code: GoAwayCode(header.len) });
                }
                Ok(())
            }
        }
    }

    fn handle_stream_frame(&mut self, header: Header, now: Instant) -> Result<(), ProtocolError> {
        let Header { kind, flags, id, len } = header;
        if id == StreamId::SESSION {
            return Err(ProtocolError::SessionStream);
        }
        if flags.has(Flags::SYN) {
            self.handle_syn(id, flags, now)?;
        }
        if flags.has(Flags::RST) {
            let code = if kind == Kind::WindowUpdate { len } else { 0 };
            self.peer_reset(id, ResetCode(code))?;
        } else {
            self.acknowledged(id);
        }
        match kind {
            Kind::Data => self.begin_payload(id, len, flags.has(Flags::FIN)),
            _ if flags.has(Flags::RST) => Ok(()),
            _ => {
                self.extend_send_credit(id, len)?;
                if flags.has(Flags::FIN) {
                    self.finished(id);
                }
                Ok(())
            }
        }
    }

    fn handle_syn(&mut self, id: StreamId, flags: Flags, now: Instant) -> Result<(), ProtocolError> {
        match self.admission.judge(id, &self.config) {
            Verdict::WrongParity => return Err(ProtocolError::WrongParity(id)),
            Verdict::Reused => return Err(ProtocolError::IdReused(id)),
            // Opened and reset in one frame: as if it had never been.
            _ if flags.has(Flags::RST) => return Ok(()),
            Verdict::Admit if self.phase == Phase::Running => {}
            Verdict::Admit => {
                self.output.queue_reset(id, ResetCode::SHUTDOWN);
                return self.check_flood();
            }
            Verdict::Refuse => {
                self.output.queue_reset(id, ResetCode::RESOURCE_LIMIT_EXCEEDED);
                return self.check_flood();
            }
        }
        let mut stream = Stream::new(Counted::Pending, now);
        if self.admission.admit(id, &self.config) {
            stream.control.ack = true;
            self.output.queue_control(id, &mut stream);
        }
        self.streams.insert(id, stream);
        self.events.push_back(Event::StreamOpened { id });
        self.check_flood()
    }

    fn check_flood(&self) -> Result<(), ProtocolError> {
        let full = self.output.queued_resets() > self.config.max_queued_resets;
        if full { Err(ProtocolError::Flooded) } else { Ok(()) }
    }

    /// Any frame but RST on a stream that we opened says that the peer knows it.
    fn acknowledged(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.counted == Counted::Outbound
            && !stream.acked
        {
            stream.acked = true;
            self.unacked -= 1;
            self.open_ready();
        }
    }

    fn begin_payload(&mut self, id: StreamId, len: u32, fin: bool) -> Result<(), ProtocolError> {
        match self.streams.get(&id) {
            Some(stream) if len > stream.window.credit() => {
                return Err(ProtocolError::WindowExceeded { id, len, window: stream.window.credit() });
            }
            None if len > self.config.max_window => return Err(ProtocolError::FrameTooLarge(len)),
            _ => {}
        }
        if len > 0 {
            self.input.body = Some(Body { id, left: len, fin });
        } else if fin {
            self.finished(id);
        }
        Ok(())
    }

    /// Hands `data`, a slice of a buffer of `buffer_len` bytes, to its stream;
    /// drops it if nobody will read it.
    fn deliver(&mut self, id: StreamId, data: Bytes, len: u32, buffer_len: usize) {
        loop {
            let Some(stream) = self.streams.get_mut(&id) else {
                return;
            };
            if stream.receiving != Receiving::Open {
                stream.window.ignore(len);
                return;
            }
            if stream.window.arrive(len, &self.share) {
                stream.unread.push(data, buffer_len);
                self.unread += u64::from(len);
                self.readable(id);
                self.enforce_unread_limit();
                return;
            }
            // Ends at the latest when this stream itself is the fullest.
            if self.reset_fullest(Some((id, len)), ResetCause::BudgetFull) == 0 {
                return;
            }
        }
    }

    fn readable(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.told_readable
        {
            stream.told_readable = true;
            self.events.push_back(Event::Readable { id });
        }
    }

    /// The peer will send no more on this stream.
    fn finished(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.receiving == Receiving::Open
        {
            stream.receiving = Receiving::Finished;
            self.readable(id);
        }
    }

    /// The peer reset the stream. What it had finished sending may still be
    /// read; else everything is dropped.
    fn peer_reset(&mut self, id: StreamId, code: ResetCode) -> Result<(), ProtocolError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.receiving == Receiving::Finished {
            stream.sending = Sending::Reset;
            stream.unsent.clear();
            if std::mem::take(&mut stream.owes_writable) {
                self.events.push_back(Event::Writable { id });
            }
        } else {
            self.end(id);
            self.events.push_back(Event::Reset { id, code, cause: ResetCause::Peer });
        }
        if self.holds_too_much() { Err(ProtocolError::Flooded) } else { Ok(()) }
    }

    fn extend_send_credit(&mut self, id: StreamId, delta: u32) -> Result<(), ProtocolError> {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send_credit =
                stream.send_credit.checked_add(delta).ok_or(ProtocolError::WindowOverflow(id))?;
            self.output.queue_data(id, stream);
        }
        Ok(())
    }
}

impl Input {
    /// Takes bytes of a header; the header once it is complete.
    fn next_header(&mut self, data: &mut Bytes) -> Option<[u8; HEADER_LEN]> {
        let taken = data.len().min(HEADER_LEN - self.header_len);
        let end = self.header_len + taken;
        data.copy_to_slice(&mut self.header[self.header_len..end]);
        self.header_len = end % HEADER_LEN;
        (end == HEADER_LEN).then_some(self.header)
    }
}
