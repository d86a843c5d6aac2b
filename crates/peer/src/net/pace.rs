//! The user's rates: whoever sends or takes in blocks waits here for his turn. What
//! is decided, [`Pacer`] decides; here are the waiting tasks.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use peerage_base::{Pacer, pacer};
use peerage_identity::PeerId;
use peerage_transport::Clock;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::config::Rates;

/// Whose turn it is: lower ones go first. One a block that is sent, one a piece that is
/// taken in.
pub(crate) type Turn = u64;

/// All rates of a peer, and the lines before them.
pub(crate) struct Paced {
    up: Line,
    down: Line,
    peers: Mutex<PerPeer>,
    /// For what is taken in.
    next: AtomicU64,
    clock: Clock,
}

/// The lines of each peer.
struct PerPeer {
    rates: Rates,
    lines: HashMap<PeerId, Weak<PeerLines>>,
}

/// The lines of one peer, which lead to those of all.
pub(crate) struct PeerLines {
    paced: Arc<Paced>,
    up: Line,
    down: Line,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Paced {
    pub(crate) fn new(rates: Rates, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            up: Line::new(rates.up, clock),
            down: Line::new(rates.down, clock),
            peers: Mutex::new(PerPeer { rates, lines: HashMap::new() }),
            next: AtomicU64::new(0),
            clock,
        })
    }

    /// The rates of now.
    pub(crate) fn rates(&self) -> Rates {
        self.peers().rates
    }

    /// Other rates, from now on, also for those who wait already.
    pub(crate) fn set(&self, rates: Rates) {
        let mut peers = self.peers();
        peers.rates = rates;
        self.up.set_rate(rates.up);
        self.down.set_rate(rates.down);
        for lines in peers.lines.values().filter_map(Weak::upgrade) {
            lines.up.set_rate(rates.up_per_peer);
            lines.down.set_rate(rates.down_per_peer);
        }
    }

    /// The lines of a peer; all its streams stand in the same.
    pub(crate) fn of(self: &Arc<Self>, peer: PeerId) -> Arc<PeerLines> {
        let mut peers = self.peers();
        if let Some(lines) = peers.lines.get(&peer).and_then(Weak::upgrade) {
            return lines;
        }
        let lines = Arc::new(PeerLines {
            paced: Arc::clone(self),
            up: Line::new(peers.rates.up_per_peer, self.clock),
            down: Line::new(peers.rates.down_per_peer, self.clock),
        });
        peers.lines.retain(|_, lines| lines.strong_count() > 0);
        peers.lines.insert(peer, Arc::downgrade(&lines));
        lines
    }

    fn peers(&self) -> MutexGuard<'_, PerPeer> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerLines {
    /// The turn of who comes now.
    pub(crate) fn turn(&self) -> Turn {
        self.paced.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many bytes to wait for at once; `None` if there is no rate to wait for.
    /// Costs two loads.
    pub(crate) fn piece(&self, way: Way) -> Option<usize> {
        let (own, all) = self.lines(way);
        let rate = own.rate().into_iter().chain(all.rate()).min()?;
        Some(usize::try_from(pacer::piece(rate)).unwrap_or(usize::MAX))
    }

    /// Waits until `bytes` may go.
    pub(crate) async fn wait(&self, way: Way, turn: Turn, bytes: usize) {
        let (own, all) = self.lines(way);
        // Its own first: who waits there is not to use up what others could.
        own.wait(turn, bytes as u64).await;
        all.wait(turn, bytes as u64).await;
    }

    fn lines(&self, way: Way) -> (&Line, &Line) {
        match way {
            Way::Up => (&self.up, &self.paced.up),
            Way::Down => (&self.down, &self.paced.down),
        }
    }
}

/// Those who wait for one rate. The first of them keeps the time for all.
struct Line {
    clock: Clock,
    /// The rate in bytes a second, or 0: whoever does not have to wait takes no lock.
    rate: AtomicU64,
    state: Mutex<State>,
}

struct State {
    pacer: Pacer<Turn>,
    wake: HashMap<Turn, Arc<Notify>>,
}

impl Line {
    fn new(rate: Option<NonZeroU64>, clock: Clock) -> Self {
        let state = State { pacer: Pacer::new(rate), wake: HashMap::new() };
        Self { clock, rate: AtomicU64::new(as_number(rate)), state: Mutex::new(state) }
    }

    fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.rate.load(Ordering::Relaxed))
    }

    fn set_rate(&self, rate: Option<NonZeroU64>) {
        let mut state = self.lock();
        self.rate.store(as_number(rate), Ordering::Relaxed);
        state.pacer.set_rate(rate, self.clock.now());
        state.wake_first();
    }

    async fn wait(&self, turn: Turn, bytes: u64) {
        if self.rate().is_none() {
            return;
        }
        let wake = Arc::new(Notify::new());
        {
            let mut state = self.lock();
            state.pacer.ask(turn, bytes);
            state.wake.insert(turn, Arc::clone(&wake));
        }
        // Leaves the line however this ends.
        let _waiting = Waiting { line: self, turn };
        loop {
            let due = {
                let mut state = self.lock();
                state.let_go(&self.clock);
                if !state.pacer.is_waiting(&turn) {
                    return;
                }
                if state.pacer.first() == Some(turn) {
                    state.pacer.poll_timeout()
                } else {
                    state.wake_first();
                    None
                }
            };
            match due {
                Some(at) => tokio::select! {
                    () = sleep_until(self.clock.tokio_time(at)) => {}
                    () = wake.notified() => {}
                },
                None => wake.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Wakes those whose turn has come.
    fn let_go(&mut self, clock: &Clock) {
        while let Some(turn) = self.pacer.poll(clock.now()) {
            if let Some(wake) = self.wake.get(&turn) {
                wake.notify_one();
            }
        }
    }

    /// Has who is first now keep the time.
    fn wake_first(&self) {
        if let Some(wake) = self.pacer.first().and_then(|turn| self.wake.get(&turn)) {
            wake.notify_one();
        }
    }
}

/// Leaves the line when it is dropped.
struct Waiting<'a> {
    line: &'a Line,
    turn: Turn,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.pacer.withdraw(&self.turn);
        state.wake.remove(&self.turn);
        state.wake_first();
    }
}

fn as_number(rate: Option<NonZeroU64>) -> u64 {
    rate.map_or(0, NonZeroU64::get)
}

#[cfg(test)]
mod tests;
