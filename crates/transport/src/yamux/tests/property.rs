//! Random use of two machines: whatever the order of calls, the cuts and the
//! delays, bytes arrive once, in order and complete, limits hold after every
//! step, and all budgets return to zero.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::Pair;
use crate::yamux::stream::Stream;
use crate::yamux::{Config, Event, Read, ResetCode, StreamClass, StreamId};

/// What one side knows of one stream.
#[derive(Default)]
struct Side {
    written: u64,
    read: u64,
    finished: bool,
    ended: bool,
    /// Either side gave it up: what was read need not be all.
    cut: bool,
}

struct World {
    pair: Pair,
    streams: [BTreeMap<StreamId, Side>; 2],
}

/// The byte at `at` of what `side` sends on `id`.
fn pattern(side: usize, id: StreamId, at: u64) -> u8 {
    let mixed =
        (at ^ (at >> 8) ^ u64::from(id.as_u32()) << 3 ^ side as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed.to_be_bytes()[0]
}

impl World {
    fn new(seed: u64, config: Config) -> Self {
        let mut pair = Pair::with(seed, config, Duration::from_millis(seed % 30), seed % 200);
        pair.settle();
        Self { pair, streams: Default::default() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.pair.rng.below(bound)
    }

    fn pick(&mut self, side: usize) -> Option<StreamId> {
        let ids: Vec<StreamId> = self.streams[side].keys().copied().collect();
        self.pair.rng.pick(&ids).copied()
    }

    fn act(&mut self) {
        let side = usize::try_from(self.below(2)).unwrap();
        let action = self.below(100);
        if action < 12 {
            if let Ok(id) = self.pair.ends[side].open(self.pair.now) {
                self.streams[side].insert(id, Side::default());
            }
        } else if let Some(id) = self.pick(side) {
            match action {
                12..40 => self.write(side, id),
                40..75 => self.read(side, id),
                75..82 => self.finish(side, id),
                82..84 => self.give_up(side, id, true),
                84..86 => self.give_up(side, id, false),
                86..88 => {
                    let class = [StreamClass::Ordinary, StreamClass::Bitswap][(action % 2) as usize];
                    if self.pair.ends[side].classify(id, class).is_err() {
                        // It was ours, or gone, or is now.
                        self.pair.ends[side].reset(id, ResetCode::NONE);
                        self.cut(id);
                    }
                }
                _ => {
                    self.pair.step();
                }
            }
        } else {
            self.pair.step();
        }
        self.hear();
        self.check();
    }

    fn write(&mut self, side: usize, id: StreamId) {
        let most = [10, 3000, 100_000, 600_000][usize::try_from(self.below(4)).unwrap()];
        let len = 1 + self.below(most);
        let state = self.streams[side].get_mut(&id).unwrap();
        let data: Vec<u8> = (state.written..state.written + len).map(|at| pattern(side, id, at)).collect();
        if let Ok(taken) = self.pair.ends[side].write(id, &mut Bytes::from(data)) {
            assert!(!state.finished);
            state.written += taken as u64;
        }
    }

    fn read(&mut self, side: usize, id: StreamId) {
        let max = usize::try_from(1 + self.pair.rng.below(200_000)).unwrap();
        let state = self.streams[side].get_mut(&id).unwrap();
        match self.pair.ends[side].read(id, max, self.pair.now) {
            Read::Data(data) => {
                assert!(!state.ended && !data.is_empty() && data.len() <= max);
                for &byte in &data {
                    assert_eq!(byte, pattern(1 - side, id, state.read));
                    state.read += 1;
                }
            }
            Read::Pending => assert!(!state.ended),
            Read::Reset => assert!(state.cut || state.ended),
            Read::Eof => {
                let (read, whole) = (state.read, !state.cut);
                state.ended = true;
                if whole {
                    let peer = &self.streams[1 - side][&id];
                    assert!(peer.finished);
                    assert_eq!(read, peer.written);
                }
            }
        }
    }

    fn finish(&mut self, side: usize, id: StreamId) {
        if self.pair.ends[side].finish(id).is_ok() {
            self.streams[side].get_mut(&id).unwrap().finished = true;
        }
    }

    fn give_up(&mut self, side: usize, id: StreamId, politely: bool) {
        if politely {
            if self.pair.ends[side].close(id, self.pair.now).is_ok() {
                self.streams[side].get_mut(&id).unwrap().finished = true;
                self.streams[side].get_mut(&id).unwrap().cut = true;
            }
        } else {
            self.pair.ends[side].reset(id, ResetCode::NONE);
            self.cut(id);
        }
    }

    fn cut(&mut self, id: StreamId) {
        for streams in &mut self.streams {
            if let Some(side) = streams.get_mut(&id) {
                side.cut = true;
            }
        }
    }

    fn hear(&mut self) {
        for side in 0..2 {
            for event in self.pair.take_events(side) {
                match event {
                    Event::StreamOpened { id } => {
                        let cut = self.streams[1 - side][&id].cut;
                        self.streams[side].insert(id, Side { cut, ..Side::default() });
                    }
                    Event::Reset { id, .. } => self.cut(id),
                    Event::PeerSilent | Event::GoAway { .. } => panic!("{event:?}"),
                    _ => {}
                }
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        for (machine, budget) in self.pair.ends.iter().zip(&self.pair.budgets) {
            let charge: u64 = machine.streams.values().map(|stream| stream.window.charge()).sum();
            let unread: u64 = machine.streams.values().map(Stream::load).sum();
            assert_eq!((budget.used(), machine.unread_bytes()), (charge, unread));
            assert!(unread <= machine.config.unread_slack);
            let held = |stream: &Stream| stream.unread.len() == stream.window.unread() as usize;
            assert!(machine.streams.values().all(held));
            let most = machine.config.max_window;
            let bounded = |stream: &Stream| stream.window.unread() + stream.window.credit() <= most;
            assert!(machine.streams.values().all(bounded));
        }
    }

    /// Both sides finish everything and read to the end.
    fn wind_down(&mut self) {
        while self.pair.ends.iter().any(|end| end.stream_count() > 0) {
            let before = (self.pair.now, self.pair.ends.each_ref().map(crate::yamux::Machine::stream_count));
            let mut moved = self.pair.step();
            self.hear();
            for side in 0..2 {
                for id in self.streams[side].keys().copied().collect::<Vec<_>>() {
                    self.finish(side, id);
                    if !self.streams[side][&id].ended {
                        let read = self.streams[side][&id].read;
                        self.read(side, id);
                        moved |= self.streams[side][&id].read > read;
                    }
                }
            }
            self.hear();
            self.check();
            let after = (self.pair.now, self.pair.ends.each_ref().map(crate::yamux::Machine::stream_count));
            assert!(moved || before != after || self.idle_streams_were_cut(), "stuck");
            if !moved && before == after {
                self.drop_cut();
            }
        }
    }

    /// A side that closed politely is not told of what it dropped, so the
    /// other one may wait for ever; that is for its own patience.
    fn idle_streams_were_cut(&self) -> bool {
        self.streams.iter().flat_map(BTreeMap::values).any(|side| side.cut)
    }

    fn drop_cut(&mut self) {
        for side in 0..2 {
            for id in self.pair.ends[side].streams.keys().copied().collect::<Vec<_>>() {
                assert!(self.streams.iter().any(|streams| streams.get(&id).is_some_and(|s| s.cut)), "{id}");
                self.pair.ends[side].reset(id, ResetCode::NONE);
                self.cut(id);
            }
        }
    }
}

fn run(seed: u64, steps: u32, config: Config) {
    let mut world = World::new(seed, config);
    (0..steps).for_each(|_| world.act());
    world.wind_down();
    world.pair.settle();
    assert_eq!(world.pair.budgets.each_ref().map(peerage_base::SharedBudget::used), [0, 0]);
    // Streams that nobody gave up were read to their end, both ways.
    for streams in &world.streams {
        assert!(streams.values().all(|side| side.cut || side.ended));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_in_order_and_complete(seed: u64) {
        run(seed, 400, Config::default());
    }

    #[test]
    fn tight_limits_hold(seed: u64) {
        run(seed, 400, Config {
            max_frame_payload: 3000,
            unread_slack: 400_000,
            send_buffer: 50_000,
            max_inbound: 3,
            max_inbound_bitswap: 4,
            max_inbound_pending: 6,
            ack_pending_below: 2,
            max_outbound: 8,
            max_unacked: 3,
            ..Config::default()
        });
    }
}
