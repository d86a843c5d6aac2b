//! Two machines joined by a pipe with a delay and a rate, in virtual time,
//! with bytes cut at random places.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerage_base::{Instant, Rng, SharedBudget};

use crate::yamux::frame::{Flags, HEADER_LEN, Header, Kind};
use crate::yamux::{Config, Event, Machine, Read, Role, StreamId};

/// Plaintext of one full Noise message.
pub(super) const MESSAGE: usize = 65_519;
pub(super) const BUDGET: u64 = 32 * 1024 * 1024;

/// What is on its way to one end.
#[derive(Default)]
struct Pipe {
    messages: VecDeque<(Instant, Bytes)>,
    free_at: Instant,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) ends: [Machine; 2],
    pub(super) budgets: [SharedBudget; 2],
    pub(super) events: [VecDeque<Event>; 2],
    pipes: [Pipe; 2],
    delay: Duration,
    /// Nanoseconds that a byte takes.
    nanos_per_byte: u64,
    /// Cut what arrives, and what may be sent at once, at random places.
    chunked: bool,
}

impl Pair {
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, Config::default(), Duration::from_millis(1), 0)
    }

    /// A pair on a path of `delay` each way that takes `nanos_per_byte`.
    pub(super) fn with(seed: u64, config: Config, delay: Duration, nanos_per_byte: u64) -> Self {
        let budgets = [SharedBudget::new(BUDGET), SharedBudget::new(BUDGET)];
        let now = Instant::START;
        let ends = [
            Machine::new(Role::Client, config.clone(), budgets[0].share(), now),
            Machine::new(Role::Server, config, budgets[1].share(), now),
        ];
        Self {
            now,
            rng: Rng::new(seed),
            ends,
            budgets,
            events: Default::default(),
            pipes: Default::default(),
            delay,
            nanos_per_byte,
            chunked: seed != 0,
        }
    }

    /// Sends what both ends have to say, as far as the line is free.
    fn transmit(&mut self) {
        for side in 0..2 {
            while self.pipes[1 - side].free_at <= self.now {
                let max = if self.chunked { 13 + self.below(2 * MESSAGE) } else { MESSAGE };
                let mut chunks = Vec::new();
                let sent = self.ends[side].poll_transmit(self.now, max, &mut chunks);
                let mut message = BytesMut::with_capacity(sent);
                chunks.iter().for_each(|chunk| message.extend_from_slice(chunk.as_ref()));
                assert_eq!(message.len(), sent);
                assert!(sent <= max);
                if sent == 0 {
                    assert!(!self.ends[side].has_transmit(), "something to send, but nothing sent");
                    break;
                }
                let pipe = &mut self.pipes[1 - side];
                pipe.free_at = self.now + Duration::from_nanos(sent as u64 * self.nanos_per_byte);
                pipe.messages.push_back((pipe.free_at + self.delay, message.freeze()));
            }
            self.collect(side);
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap()
    }

    fn collect(&mut self, side: usize) {
        while let Some(event) = self.ends[side].poll_event() {
            self.events[side].push_back(event);
        }
    }

    /// Sends, then goes to the next arrival and delivers it; false when
    /// nothing is under way.
    pub(super) fn step(&mut self) -> bool {
        self.transmit();
        let arrivals = self.pipes.iter().filter_map(|pipe| pipe.messages.front()).map(|(at, _)| *at);
        let Some(next) = arrivals.min() else {
            return false;
        };
        // A line that is free earlier may have something to send earlier.
        let lines =
            (0..2).filter(|&side| self.ends[side].has_transmit()).map(|side| self.pipes[1 - side].free_at);
        self.now = lines.fold(next, Instant::min).max(self.now);
        for side in 0..2 {
            while self.pipes[side].messages.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, message) = self.pipes[side].messages.pop_front().unwrap();
                self.deliver(side, message);
            }
            self.collect(side);
        }
        true
    }

    fn deliver(&mut self, side: usize, mut message: Bytes) {
        while !message.is_empty() {
            let len = if self.chunked { 1 + self.below(message.len()) } else { message.len() };
            let piece = message.split_to(len);
            self.ends[side].handle_input(piece, self.now).unwrap();
        }
    }

    /// Runs until nothing is under way.
    pub(super) fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets `time` pass, with all timers.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        while let Some(at) = self.ends.iter().filter_map(Machine::poll_timeout).map(|(at, _)| at).min()
            && at <= until
        {
            self.now = self.now.max(at);
            self.ends.iter_mut().for_each(|end| end.handle_timeout(at));
            self.settle();
        }
        self.now = self.now.max(until);
    }

    /// Opens a stream from `side`; the other end has heard of it.
    pub(super) fn open(&mut self, side: usize) -> StreamId {
        let id = self.ends[side].open(self.now).unwrap();
        self.settle();
        id
    }

    /// Writes all of `data`, which must fit.
    pub(super) fn write(&mut self, side: usize, id: StreamId, data: &[u8]) {
        let mut data = Bytes::copy_from_slice(data);
        self.ends[side].write(id, &mut data).unwrap();
        assert!(data.is_empty());
    }

    /// Reads until there is nothing, or the end.
    pub(super) fn read_all(&mut self, side: usize, id: StreamId) -> (Vec<u8>, Read) {
        let mut all = Vec::new();
        loop {
            match self.ends[side].read(id, usize::MAX, self.now) {
                Read::Data(data) => all.extend_from_slice(&data),
                end => return (all, end),
            }
        }
    }

    /// The events of `side` since the last call, but for pongs.
    pub(super) fn take_events(&mut self, side: usize) -> Vec<Event> {
        self.collect(side);
        self.events[side].drain(..).filter(|event| !matches!(event, Event::Pong { .. })).collect()
    }
}

/// A machine whose peer is written by hand, one frame at a time.
pub(super) struct Lone {
    pub(super) machine: Machine,
    pub(super) budget: SharedBudget,
    pub(super) now: Instant,
}

impl Lone {
    pub(super) fn new(role: Role, config: Config) -> Self {
        Self::within(role, config, BUDGET)
    }

    pub(super) fn within(role: Role, config: Config, budget: u64) -> Self {
        let budget = SharedBudget::new(budget);
        let now = Instant::START;
        let mut lone = Self { machine: Machine::new(role, config, budget.share(), now), budget, now };
        lone.sent();
        lone
    }

    /// The peer sends a frame.
    pub(super) fn say(
        &mut self,
        kind: Kind,
        flags: u16,
        id: u32,
        len: u32,
        payload: &[u8],
    ) -> Result<(), crate::yamux::ProtocolError> {
        let header = Header { kind, flags: Flags::from_bits(flags), id: StreamId::new(id), len };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(payload);
        self.machine.handle_input(bytes.into(), self.now)
    }

    pub(super) fn syn(&mut self, id: u32) {
        self.say(Kind::WindowUpdate, 1, id, 0, b"").unwrap();
    }

    pub(super) fn data(&mut self, id: u32, len: u32) {
        self.say(Kind::Data, 0, id, len, &vec![0; len as usize]).unwrap();
    }

    /// Everything that we send, as (kind, flags, id, len) and payload.
    pub(super) fn sent(&mut self) -> Vec<Header> {
        let mut chunks = Vec::new();
        while self.machine.poll_transmit(self.now, MESSAGE, &mut chunks) > 0 {}
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        headers(&bytes)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }
}

/// The headers of the frames in `bytes`.
pub(super) fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut all = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let header = Header::decode(*header).unwrap();
        let payload = if header.kind == Kind::Data { header.len as usize } else { 0 };
        bytes = &rest[payload..];
        all.push(header);
    }
    assert!(bytes.is_empty());
    all
}
