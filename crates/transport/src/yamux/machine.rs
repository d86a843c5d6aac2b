//! The hub: the streams of one connection and the commands of its shell.
//! Input is in `receive`, output in `transmit`, what may be unread in `unread`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Share};

use super::admission::Admission;
use super::config::Config;
use super::event::{Event, Read, Timer};
use super::frame::{Flags, Header};
use super::keepalive::Keepalive;
use super::receive::Input;
use super::stream::{Counted, Receiving, Sending, Stream, StreamClass};
use super::transmit::Output;
use super::{
    ClassifyError, GoAwayCode, OpenError, ProtocolError, ResetCode, StreamGone, StreamId, WriteError,
};

/// Which end of the connection we are; decides whose stream ids are odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled (or won a simultaneous dial): our streams are odd.
    Client,
    /// We were dialled: our streams are even.
    Server,
}

/// How far the connection has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// We said GoAway: no new streams, the others go on.
    Closing,
    Failed(ProtocolError),
}

/// One yamux connection.
///
/// Give it what happens (`handle_input`, `handle_timeout`, the commands), then
/// drain [`poll_event`](Self::poll_event) and
/// [`poll_transmit`](Self::poll_transmit), then ask
/// [`poll_timeout`](Self::poll_timeout) when to come back. Time never goes
/// back; an early `handle_timeout` changes nothing. Events are few per input
/// but not bounded in number: drain them before the next input.
///
/// Dropping it gives back what it took from the budget.
#[derive(Debug)]
pub struct Machine {
    pub(super) config: Config,
    /// What is unread or held here, and windows ahead of that, of the budget of all connections.
    pub(super) share: Share,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) admission: Admission,
    pub(super) keepalive: Keepalive,
    pub(super) events: VecDeque<Event>,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) phase: Phase,
    pub(super) peer_going_away: bool,
    /// The id of the next stream that we open; none when they are used up.
    pub(super) next_id: Option<u32>,
    /// Outbound streams that the peer has not ACKed.
    pub(super) unacked: usize,
    /// An open was refused for the number of streams.
    open_wanted: bool,
    /// Bytes of all streams that are unread, or held in assembly.
    pub(super) unread: u64,
    /// What the users of streams that are gone still hold.
    pub(super) leaving: BTreeMap<StreamId, u64>,
    /// Bytes that we asked of the peer.
    pub(super) expected: u64,
}

impl Machine {
    /// A connection that was just secured. `inbound` is its share of the budget,
    /// in bytes, for what all connections of the local peer hold unread.
    #[must_use]
    pub fn new(role: Role, config: Config, inbound: Share, now: Instant) -> Self {
        let next_id = match role {
            Role::Client => 1,
            Role::Server => 2,
        };
        let keepalive = Keepalive::new(now, &config);
        Self {
            config,
            share: inbound,
            streams: BTreeMap::new(),
            admission: Admission::new(role),
            keepalive,
            events: VecDeque::new(),
            input: Input::default(),
            output: Output::default(),
            phase: Phase::Running,
            peer_going_away: false,
            next_id: Some(next_id),
            unacked: 0,
            open_wanted: false,
            unread: 0,
            leaving: BTreeMap::new(),
            expected: 0,
        }
    }

    /// The next event; drain after every input and command.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.keepalive.next_timeout()
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.keepalive.pop_due(now) {
            match timer {
                Timer::Ping => {
                    self.keepalive.ping_due(now, &self.config);
                    for stream in self.streams.values_mut() {
                        stream.window.shrink_if_idle(now, self.config.window_idle, &self.share);
                    }
                    self.reset_lingering(now);
                }
                Timer::PingTimeout => {
                    if self.keepalive.overdue(now, &self.config) {
                        self.events.push_back(Event::PeerSilent);
                    }
                }
            }
        }
    }

    /// The least of the last round trips; none before the first pong.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.keepalive.rtt()
    }

    /// Streams that are open in either direction, inbound and outbound.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that arrived and were not read, or are [held](Self::hold), over all streams.
    #[must_use]
    pub const fn unread_bytes(&self) -> u64 {
        self.unread
    }

    /// Says how many bytes we have asked of the peer and not got yet: this
    /// much, and the slack of the [`Config`], may be unread or held. Takes effect
    /// with the next bytes that arrive.
    pub fn set_expected(&mut self, bytes: u64) {
        self.expected = bytes;
        self.share.set_due(bytes);
    }

    /// Opens a stream; the peer is told with the next transmit. It may be
    /// written to at once, up to the protocol's initial window.
    ///
    /// # Errors
    /// [`OpenError`]; nothing changes.
    pub fn open(&mut self, now: Instant) -> Result<StreamId, OpenError> {
        if self.phase != Phase::Running {
            return Err(OpenError::Closing);
        }
        if self.peer_going_away {
            return Err(OpenError::PeerGoingAway);
        }
        let number = self.next_id.ok_or(OpenError::IdsExhausted)?;
        if self.unacked >= self.config.max_unacked {
            self.open_wanted = true;
            return Err(OpenError::Backlog);
        }
        if self.admission.outbound() >= self.config.max_outbound {
            self.open_wanted = true;
            return Err(OpenError::TooMany);
        }
        self.next_id = number.checked_add(2);
        let id = StreamId::new(number);
        let mut stream = Stream::new(Counted::Outbound, now);
        stream.control.syn = true;
        self.output.queue_control(id, &mut stream);
        self.streams.insert(id, stream);
        self.admission.opened();
        self.unacked += 1;
        Ok(id)
    }

    /// Says what an inbound stream turned out to be, so that it counts
    /// against that class. Until then it counts as un-negotiated.
    ///
    /// # Errors
    /// [`ClassifyError::LimitReached`]: the class is full and the stream was
    /// reset. [`ClassifyError::Gone`]: no such inbound stream.
    pub fn classify(&mut self, id: StreamId, class: StreamClass) -> Result<(), ClassifyError> {
        let stream = self.streams.get_mut(&id).ok_or(ClassifyError::Gone)?;
        if stream.counted == Counted::Outbound {
            return Err(ClassifyError::Gone);
        }
        if !self.admission.classify(stream.counted, class, &self.config) {
            self.reset(id, ResetCode::RESOURCE_LIMIT_EXCEEDED);
            return Err(ClassifyError::LimitReached);
        }
        stream.counted = Counted::Inbound(class);
        if self.admission.take_withheld(id) {
            stream.control.ack = true;
            self.output.queue_control(id, stream);
        }
        self.release_acks();
        Ok(())
    }

    /// Takes as much from the front of `data` as the stream's send buffer
    /// holds and says how many bytes that was. If `data` is not empty
    /// afterwards, an [`Event::Writable`] will come. Large buffers are not copied.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn write(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, WriteError> {
        let stream = self.streams.get_mut(&id).ok_or(WriteError::Reset)?;
        match stream.sending {
            Sending::Open => {}
            Sending::Finishing | Sending::Over => return Err(WriteError::Finished),
            Sending::Reset => return Err(WriteError::Reset),
        }
        let taken = data.len().min(self.config.send_buffer.saturating_sub(stream.unsent.len()));
        if taken > 0 {
            // Our own buffers are short-lived: what a slice pins is freed when it is sent.
            stream.unsent.push(data.split_to(taken), 0);
            self.output.queue_data(id, stream);
        }
        stream.owes_writable |= !data.is_empty();
        Ok(taken)
    }

    /// Takes out at most `max` bytes (at least 1) of what arrived on the stream.
    /// Reading is what gives the peer new credit.
    pub fn read(&mut self, id: StreamId, max: usize, now: Instant) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Read::Reset;
        };
        if let Some(data) = stream.unread.pop(max.max(1)) {
            let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            stream.window.read(len, &self.share);
            self.unread -= u64::from(len);
            if stream.receiving == Receiving::Open {
                let rtt = self.keepalive.rtt();
                if let Some(delta) = stream.window.extend(now, rtt, &self.config, &self.share) {
                    stream.control.delta += delta;
                    self.output.queue_control(id, stream);
                }
            }
            return Read::Data(data);
        }
        match stream.receiving {
            Receiving::Open => {
                stream.told_readable = false;
                Read::Pending
            }
            Receiving::Finished | Receiving::Over => {
                stream.receiving = Receiving::Over;
                self.end_if_over(id);
                Read::Eof
            }
        }
    }

    /// Whether all that was written on the stream was handed out. If not, an
    /// [`Event::Writable`] will come when it is.
    ///
    /// # Errors
    /// [`StreamGone`], also if the peer takes nothing more.
    pub fn drain(&mut self, id: StreamId) -> Result<bool, StreamGone> {
        let stream = self.streams.get_mut(&id).ok_or(StreamGone)?;
        if stream.sending == Sending::Reset {
            return Err(StreamGone);
        }
        stream.owes_drained = !stream.unsent.is_empty();
        Ok(!stream.owes_drained)
    }

    /// Ends our direction once what was written is sent (FIN). The other
    /// direction goes on. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`StreamGone`].
    pub fn finish(&mut self, id: StreamId) -> Result<(), StreamGone> {
        let stream = self.streams.get_mut(&id).ok_or(StreamGone)?;
        if stream.sending == Sending::Open {
            stream.sending = Sending::Finishing;
            self.output.queue_data(id, stream);
        }
        Ok(())
    }

    /// Ends both directions politely: FIN once what was written is sent, and
    /// whatever the peer sends is dropped from now on, without telling it
    /// (as go-yamux's `Close`). [`Event::Closed`] follows, unless the peer takes
    /// nothing for [`Config::linger`]: then the stream is reset.
    ///
    /// # Errors
    /// [`StreamGone`].
    pub fn close(&mut self, id: StreamId, now: Instant) -> Result<(), StreamGone> {
        self.finish(id)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.lingers_since = Some(now);
            stream.receiving = Receiving::Over;
            self.unread -= u64::from(stream.window.unread());
            stream.window.release(&self.share);
            stream.unread.clear();
        }
        self.end_if_over(id);
        Ok(())
    }

    /// Resets closed streams whose peer takes nothing of what they have to send.
    fn reset_lingering(&mut self, now: Instant) {
        let overdue = |since: Instant| now.since(since) >= self.config.linger;
        let stuck: Vec<StreamId> = (self.streams.iter())
            .filter(|(_, stream)| !stream.unsent.is_empty() && stream.lingers_since.is_some_and(overdue))
            .map(|(id, _)| *id)
            .collect();
        for id in stuck {
            self.reset(id, ResetCode::GARBAGE_COLLECTED);
        }
    }

    /// Ends the stream at once (RST), dropping what is unread and unsent. No
    /// event follows; nothing happens if the stream is gone.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        // If our SYN never left, the peer need not know.
        if self.end(id).is_some_and(|stream| !stream.control.syn) {
            self.output.queue_reset(id, code);
        }
    }

    /// Tells the peer that no more streams will be opened or accepted.
    /// Said after all that may be sent now. Existing streams go on; close the
    /// connection when they are done, or at once if the code says that
    /// something is wrong.
    pub fn go_away(&mut self, code: GoAwayCode) {
        if self.phase == Phase::Running {
            self.phase = Phase::Closing;
            self.output.queue_go_away(code);
        }
    }

    /// Forgets a stream and gives back all that it held.
    pub(super) fn end(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.streams.remove(&id)?;
        self.unread -= stream.load();
        if stream.held > 0 {
            self.leaving.insert(id, stream.held);
        }
        stream.window.release(&self.share);
        self.admission.ended(id, stream.counted);
        self.output.forget_ended(&self.streams);
        if stream.counted == Counted::Outbound && !stream.acked {
            self.unacked -= 1;
        }
        self.release_acks();
        self.open_ready();
        Some(stream)
    }

    /// Ends a stream on which nothing more will happen.
    pub(super) fn end_if_over(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.end(id);
            self.events.push_back(Event::Closed { id });
        }
    }

    /// Tells the shell that it may open again, if it wanted to.
    pub(super) fn open_ready(&mut self) {
        if self.open_wanted
            && self.unacked < self.config.max_unacked
            && self.admission.outbound() < self.config.max_outbound
        {
            self.open_wanted = false;
            self.events.push_back(Event::OpenReady);
        }
    }

    fn release_acks(&mut self) {
        while let Some(id) = self.admission.next_ack(&self.config) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.control.ack = true;
                self.output.queue_control(id, stream);
            }
        }
    }

    /// The peer violated the protocol: everything ends but a GoAway.
    pub(crate) fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.phase = Phase::Failed(error);
        for (id, mut stream) in std::mem::take(&mut self.streams) {
            stream.window.release(&self.share);
            if stream.held > 0 {
                self.leaving.insert(id, stream.held);
            }
        }
        self.unread = 0;
        self.events.clear();
        self.keepalive.stop();
        self.output = Output::default();
        self.output.queue_header(Header::go_away(GoAwayCode::PROTOCOL_ERROR.0));
        error
    }
}

/// The window update that a stream wants to send.
pub(super) fn control_header(id: StreamId, stream: &mut Stream) -> Header {
    let control = std::mem::take(&mut stream.control);
    let flags = Flags::NONE.with_if(Flags::SYN, control.syn).with_if(Flags::ACK, control.ack);
    Header::window_update(id, flags, control.delta)
}
