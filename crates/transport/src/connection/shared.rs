//! What the driver, the streams and the control share: the machine, and who
//! is to be woken for what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use peerage_base::Instant;

use super::ConnectionEnd;
use crate::yamux::{Event, GoAwayCode, Machine, ResetCause, ResetCode, StreamId};
use crate::{Clock, Config};

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    pub(super) config: Config,
}

impl Shared {
    pub(super) fn new(machine: Machine, clock: Clock, config: Config) -> Self {
        Self { state: Mutex::new(State::new(machine, config.max_handles)), clock, config }
    }

    /// Runs `act` under the lock and then, outside of it, wakes whoever the
    /// machine's events concern, and the driver if there is something to send.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.lock();
        // Not before the lock is had: the machine's time may not go back.
        let now = self.clock.now();
        let result = act(&mut state, now);
        let mut wakers = state.route_events();
        if state.machine.has_transmit() {
            wakers.extend(state.driver.take());
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// As [`with`](Self::with), for the driver itself, which needs no waking.
    pub(super) fn drive<R>(&self, act: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.lock();
        // Not before the lock is had: the machine's time may not go back.
        let now = self.clock.now();
        let result = act(&mut state, now);
        let wakers = state.route_events();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another task between two commands leaves the machine whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct State {
    pub(super) machine: Machine,
    /// Streams that have a handle, or wait to be accepted.
    pub(super) streams: BTreeMap<StreamId, Slot>,
    /// Streams that the peer opened and nobody has taken. The machine bounds
    /// their number (`max_inbound_pending`): those that it resets leave.
    pub(super) accepted: VecDeque<StreamId>,
    /// Who waits for the next of them; none once `Incoming` was dropped.
    pub(super) incoming: Option<Option<Waker>>,
    /// Who waits to open a stream.
    pub(super) openers: Vec<Waker>,
    pub(super) driver: Option<Waker>,
    /// Who waits for the end.
    pub(super) end_watchers: Vec<Waker>,
    /// A close was asked for.
    pub(super) closing: bool,
    /// The peer said GoAway.
    pub(super) peer_going: Option<GoAwayCode>,
    pub(super) silent: bool,
    /// The peer opens and resets streams faster than their handles are dropped.
    pub(super) flooded: bool,
    /// How many of `streams` there may be.
    max_handles: usize,
    /// Set once the driver is done.
    pub(super) end: Option<ConnectionEnd>,
}

/// The handle's side of a stream.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) reset: Option<(ResetCode, ResetCause)>,
}

impl Slot {
    fn wake_both(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }
}

/// Remembers the waker of `cx`-like callers without cloning one that is there.
pub(super) fn register(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(there) if there.will_wake(waker) => {}
        _ => *slot = Some(waker.clone()),
    }
}

impl State {
    const fn new(machine: Machine, max_handles: usize) -> Self {
        Self {
            machine,
            streams: BTreeMap::new(),
            accepted: VecDeque::new(),
            incoming: Some(None),
            openers: Vec::new(),
            driver: None,
            end_watchers: Vec::new(),
            closing: false,
            peer_going: None,
            silent: false,
            flooded: false,
            max_handles,
            end: None,
        }
    }

    fn route_events(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(event) = self.machine.poll_event() {
            self.route(event, &mut wakers);
        }
        wakers
    }

    fn route(&mut self, event: Event, wakers: &mut Vec<Waker>) {
        match event {
            Event::StreamOpened { id } => match &mut self.incoming {
                // The machine has forgotten those that were reset; their handles live.
                Some(_) if self.streams.len() >= self.max_handles => {
                    self.machine.reset(id, ResetCode::RESOURCE_LIMIT_EXCEEDED);
                    self.flooded = true;
                }
                Some(waker) => {
                    self.streams.insert(id, Slot::default());
                    self.accepted.push_back(id);
                    wakers.extend(waker.take());
                }
                None => self.machine.reset(id, ResetCode::GATED),
            },
            Event::Readable { id } => {
                if let Some(slot) = self.streams.get_mut(&id) {
                    wakers.extend(slot.reader.take());
                }
            }
            Event::Writable { id } => {
                if let Some(slot) = self.streams.get_mut(&id) {
                    wakers.extend(slot.writer.take());
                }
            }
            Event::Reset { id, code, cause } => {
                if let Some(at) = self.accepted.iter().position(|&accepted| accepted == id) {
                    self.accepted.remove(at);
                    self.streams.remove(&id);
                } else if let Some(slot) = self.streams.get_mut(&id) {
                    slot.reset = Some((code, cause));
                    slot.wake_both(wakers);
                }
            }
            Event::Closed { id } => {
                if let Some(slot) = self.streams.get_mut(&id) {
                    slot.wake_both(wakers);
                }
            }
            Event::OpenReady => wakers.append(&mut self.openers),
            Event::GoAway { code } => {
                self.peer_going = Some(code);
                wakers.append(&mut self.openers);
            }
            Event::PeerSilent => self.silent = true,
            Event::Pong { rtt } => tracing::trace!(?rtt, "pong"),
        }
    }

    /// Records the end; returns who has to hear of it.
    pub(super) fn end(&mut self, end: ConnectionEnd) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.end.is_none() {
            self.end = Some(end);
        }
        for slot in self.streams.values_mut() {
            slot.wake_both(&mut wakers);
        }
        if let Some(waker) = &mut self.incoming {
            wakers.extend(waker.take());
        }
        wakers.append(&mut self.openers);
        wakers.append(&mut self.end_watchers);
        wakers
    }
}
