//! Attempts to connect: whom they are for, how many run at once, and who is not
//! tried again yet.
//!
//! One attempt serves everyone who wants that peer. Jobs go before look-ups in
//! the queue; an attempt that nobody wants any more is given up, and so are the
//! others at a peer that is connected. Time in the queue is ours: who was not
//! tried has not failed.

mod past;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerage_base::Instant;
use peerage_dht::{Network, RequestId};
use peerage_identity::{Multiaddr, PeerId};

use crate::addresses::ranked;
use crate::limits::Config;
use crate::output::{DialId, JobId, Output};
use crate::peers::Connected;
use past::Past;

/// Who waits for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A fetch or query.
    Job(JobId),
    /// A request of a DHT.
    Dht(Network, RequestId),
    /// The user, who named this peer to begin with.
    User,
}

/// An attempt under way or in the queue.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) peer: Option<PeerId>,
    addrs: Vec<Multiaddr>,
    pub(crate) callers: Vec<Caller>,
    /// Those of them that the user gave: their names may lead anywhere.
    trusted: Vec<Multiaddr>,
    /// Since when it is tried; `None` while it waits for its turn.
    began: Option<Instant>,
    /// How often it was cut short by the other host, and begun again.
    dropped: u32,
}

/// Why an attempt to connect came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody answers there, or somebody else.
    Unreachable,
    /// The host accepted a connection and dropped it before it was of any use:
    /// it is there, and may take one a little later.
    Dropped,
    /// We had no room for it, or for the connection that it led to: that is
    /// ours, not the peer's.
    NoRoom,
}

/// All attempts.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    attempts: BTreeMap<DialId, Box<Attempt>>,
    waiting: VecDeque<DialId>,
    /// Attempts that were cut short, by when they go on.
    later: BTreeSet<(Instant, DialId)>,
    /// What goes on for nobody, by when it is given up. It takes no place: it ends
    /// when another one needs that.
    lingering: VecDeque<(Instant, DialId)>,
    running: usize,
    next: u64,
    past: Past,
}

impl Dials {
    /// Has a peer dialled, or joins an attempt that does so already. `trusted`
    /// are addresses that the user gave.
    pub(crate) fn begin(
        &mut self,
        caller: Caller,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        trusted: &[Multiaddr],
    ) -> DialId {
        let any_way = matches!(caller, Caller::Dht(..));
        let addrs = ranked(peer, addrs, peer.and_then(|peer| self.past.reached(&peer)));
        let trusted: Vec<_> =
            ranked(peer, trusted, None).into_iter().filter(|addr| addrs.contains(addr)).collect();
        let same = |attempt: &Attempt| {
            let exact = attempt.addrs == addrs && attempt.trusted == trusted;
            // A look-up takes any way, but not one that others made up.
            let covers = peer.is_some() && addrs.iter().all(|addr| attempt.addrs.contains(addr));
            attempt.peer == peer && (exact || (any_way && covers))
        };
        if let Some((id, attempt)) = self.attempts.iter_mut().find(|(_, attempt)| same(attempt)) {
            if !attempt.callers.contains(&caller) {
                attempt.callers.push(caller);
            }
            let id = *id;
            if !any_way && let Some(place) = self.waiting.iter().position(|other| *other == id) {
                self.waiting.remove(place);
                self.waiting.push_front(id);
            }
            return id;
        }
        let id = DialId(self.next);
        self.next += 1;
        let attempt = Attempt { peer, addrs, callers: vec![caller], trusted, began: None, dropped: 0 };
        self.attempts.insert(id, Box::new(attempt));
        if any_way {
            self.waiting.push_back(id);
        } else {
            self.waiting.push_front(id);
        }
        id
    }

    /// Starts what may start; who waited for that is returned.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        config: &Config,
        outputs: &mut VecDeque<Output>,
    ) -> Vec<Caller> {
        let mut begun = Vec::new();
        while self.running < config.dials {
            let Some(dial) = self.waiting.pop_front() else { break };
            let Some(attempt) = self.attempts.get_mut(&dial) else { continue };
            attempt.began = Some(now);
            if self.running + self.lingering.len() >= config.dials
                && let Some((_, dial)) = self.lingering.pop_front()
            {
                outputs.push_back(Output::CancelDial { dial });
            }
            self.running += 1;
            begun.extend_from_slice(&attempt.callers);
            let (peer, addrs) = (attempt.peer, attempt.addrs.clone());
            let trusted = attempt.trusted.clone();
            outputs.push_back(Output::Dial { dial, peer, addrs, trusted });
        }
        begun
    }

    /// True if an attempt is not in the queue any more.
    pub(crate) fn is_running(&self, dial: DialId) -> bool {
        self.attempts.get(&dial).is_some_and(|attempt| attempt.began.is_some())
    }

    /// Someone does not want the connection any more. If nobody else does, and
    /// it was tried for long enough, that is a failure as good as any.
    pub(crate) fn leave(
        &mut self,
        dial: DialId,
        caller: Caller,
        now: Instant,
        config: &Config,
        outputs: &mut VecDeque<Output>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&dial) else { return };
        attempt.callers.retain(|other| *other != caller);
        if !attempt.callers.is_empty() {
            return;
        }
        let Some(attempt) = self.remove(dial) else { return };
        if let Some(began) = attempt.began {
            outputs.push_back(Output::CancelDial { dial });
            if now.since(began) >= config.dial_patience {
                self.note_failed(&attempt, now, config);
            }
        }
    }

    /// A job is over.
    pub(crate) fn leave_all(
        &mut self,
        job: JobId,
        now: Instant,
        config: &Config,
        outputs: &mut VecDeque<Output>,
    ) {
        let caller = Caller::Job(job);
        let joined = self.attempts.iter().filter(|(_, attempt)| attempt.callers.contains(&caller));
        for dial in joined.map(|(dial, _)| *dial).collect::<Vec<_>>() {
            self.leave(dial, caller, now, config, outputs);
        }
    }

    fn remove(&mut self, dial: DialId) -> Option<Box<Attempt>> {
        let attempt = self.attempts.remove(&dial)?;
        if attempt.began.is_some() {
            self.running -= 1;
        } else {
            self.waiting.retain(|waiting| *waiting != dial);
            self.later.retain(|(_, later)| *later != dial);
        }
        Some(attempt)
    }

    /// A connection stands, which is what all attempts at that peer were for:
    /// they end, and who waited for them is returned.
    ///
    /// Unless we are to be the one who `yields`, what is being tried goes on a
    /// little: of two peers who dial each other, both would otherwise hang up
    /// on the connection that the other keeps.
    pub(crate) fn handle_connected(
        &mut self,
        connected: &Connected,
        yields: bool,
        now: Instant,
        config: &Config,
        outputs: &mut VecDeque<Output>,
    ) -> Vec<Caller> {
        let peer = connected.peer;
        self.past.note_connected(&peer);
        let mut callers = Vec::new();
        if let Some(dial) = connected.dial {
            self.lingering.retain(|(_, lingering)| *lingering != dial);
            callers.extend(self.remove(dial).into_iter().flat_map(|attempt| attempt.callers));
            self.past.note_reached(peer, &connected.addr, config);
        }
        let others = self.attempts.iter().filter(|(_, attempt)| attempt.peer == Some(peer));
        for dial in others.map(|(dial, _)| *dial).collect::<Vec<_>>() {
            let Some(attempt) = self.remove(dial) else { continue };
            let Attempt { callers: waited, began, .. } = *attempt;
            callers.extend(waited);
            match began {
                Some(_) if yields => outputs.push_back(Output::CancelDial { dial }),
                Some(_) => self.lingering.push_back((now + config.dial_patience, dial)),
                None => {}
            }
        }
        callers
    }

    /// An attempt came to nothing. Returned is one that is over; whoever
    /// dropped it is given another chance.
    pub(crate) fn handle_failed(
        &mut self,
        dial: DialId,
        failure: DialFailure,
        now: Instant,
        config: &Config,
    ) -> Option<Box<Attempt>> {
        self.lingering.retain(|(_, lingering)| *lingering != dial);
        let running = self.attempts.get_mut(&dial).filter(|attempt| attempt.began.is_some())?;
        let again = failure == DialFailure::Dropped && running.dropped < config.dropped_retries;
        if again {
            let pause = config.dropped_pause.saturating_mul(1 << running.dropped.min(16));
            running.dropped += 1;
            running.began = None;
            self.running -= 1;
            self.later.insert((now + pause, dial));
            return None;
        }
        let attempt = self.remove(dial)?;
        if failure != DialFailure::NoRoom {
            self.note_failed(&attempt, now, config);
        }
        Some(attempt)
    }

    fn note_failed(&mut self, attempt: &Attempt, now: Instant, config: &Config) {
        if let Some(peer) = attempt.peer {
            self.past.note_failed(peer, &attempt.addrs, now, config);
        }
    }

    /// When an attempt goes on that was cut short, or one for nobody ends.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        later.into_iter().chain(self.lingering.front().map(|(at, _)| *at)).min()
    }

    /// Has those go on whose pause is over, and ends those for nobody.
    pub(crate) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        while let Some((_, dial)) = self.lingering.pop_front_if(|(at, _)| *at <= now) {
            outputs.push_back(Output::CancelDial { dial });
        }
        while let Some((_, dial)) = self.later.first().filter(|(at, _)| *at <= now).copied() {
            self.later.pop_first();
            self.waiting.push_front(dial);
        }
    }

    /// True if the peer could not be reached at these addresses a short while
    /// ago, so that a look-up does better without it.
    pub(crate) fn is_paused(&self, peer: &PeerId, addrs: &[Multiaddr], now: Instant) -> bool {
        self.past.is_paused(peer, addrs, now)
    }

    /// Attempts under way and in the queue.
    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        (self.running, self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::world::{addr, peer_id};

    fn dht(n: u64) -> Caller {
        Caller::Dht(Network::Wan, RequestId(n))
    }

    #[test]
    fn who_drops_an_attempt_is_tried_again_soon() {
        let (mut dials, mut outputs, config) = (Dials::default(), VecDeque::new(), Config::default());
        let dial = dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
        let mut now = Instant::START;
        for n in 0..config.dropped_retries {
            dials.pump(now, &config, &mut outputs);
            assert_eq!(dials.len(), (1, 0));
            assert!(dials.handle_failed(dial, DialFailure::Dropped, now, &config).is_none(), "not over");
            assert!(!dials.is_paused(&peer_id(1), &[addr(1)], now));
            assert_eq!(dials.begin(dht(2), Some(peer_id(1)), &[addr(1)], &[]), dial, "others may join");
            let at = dials.poll_timeout().unwrap();
            assert_eq!(at, now + config.dropped_pause * (1 << n));
            dials.handle_timeout(now, &mut outputs);
            assert_eq!(dials.len(), (0, 0), "not before its time");
            now = at;
            dials.handle_timeout(now, &mut outputs);
        }
        dials.pump(now, &config, &mut outputs);
        assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Dial { .. })).count(), 3);
        let over = dials.handle_failed(dial, DialFailure::Dropped, now, &config).unwrap();
        assert_eq!(over.callers.len(), 2);
        assert!(dials.is_paused(&peer_id(1), &[addr(1)], now));
        let dial = dials.begin(dht(3), Some(peer_id(2)), &[addr(2)], &[]);
        dials.pump(now, &config, &mut outputs);
        dials.handle_failed(dial, DialFailure::Dropped, now, &config);
        dials.leave(dial, dht(3), now, &config, &mut outputs);
        assert_eq!((dials.poll_timeout(), dials.len()), (None, (0, 0)), "nobody wants it");
    }

    /// Peer `n` is connected.
    fn connect(
        dials: &mut Dials,
        n: usize,
        dial: Option<DialId>,
        yields: bool,
        outputs: &mut VecDeque<Output>,
    ) -> Vec<Caller> {
        let (peer, addr, outbound) = (peer_id(n), addr(n), dial.is_some());
        let connected = Connected { peer, addr, dial, by_user: false, outbound };
        dials.handle_connected(&connected, yields, Instant::START, &Config::default(), outputs)
    }

    #[test]
    fn a_connection_ends_all_attempts_at_that_peer() {
        let (mut dials, mut outputs) = (Dials::default(), VecDeque::new());
        let config = Config { dials: 2, ..Config::default() };
        let job = |n: usize| Caller::Job(JobId(n as u64));
        let begin = |dials: &mut Dials, n| dials.begin(job(n), Some(peer_id(1)), &[addr(n)], &[]);
        for yields in [true, false] {
            // The last one asked for goes first.
            let [queued, other, dial] = [1, 2, 3].map(|n| begin(&mut dials, n));
            dials.begin(job(4), Some(peer_id(2)), &[addr(1)], &[]);
            dials.begin(job(5), Some(peer_id(3)), &[addr(1)], &[]);
            dials.waiting = VecDeque::from([dial, other, queued]);
            dials.pump(Instant::START, &config, &mut outputs);
            outputs.clear();
            let callers = connect(&mut dials, 1, Some(dial), yields, &mut outputs);
            assert_eq!(callers, [job(3), job(1), job(2)]);
            let given_up =
                outputs.iter().any(|out| matches!(out, Output::CancelDial { dial } if *dial == other));
            assert_eq!((given_up, outputs.len()), (yields, usize::from(yields)));
            assert!(!dials.attempts.contains_key(&queued), "one that was not begun never is");
            assert_eq!(dials.len(), (0, 0), "what goes on for nobody takes no place");
            // Nor is it a failure.
            let now = Instant::START;
            assert!(dials.handle_failed(other, DialFailure::Unreachable, now, &config).is_none());
            assert!(!dials.is_paused(&peer_id(1), &[addr(2)], now));
            assert_eq!(dials.poll_timeout(), None);
            dials = Dials::default();
        }
    }

    #[test]
    fn what_goes_on_for_nobody_makes_room() {
        let (mut dials, mut outputs) = (Dials::default(), VecDeque::new());
        let config = Config { dials: 1, ..Config::default() };
        let first = dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
        dials.pump(Instant::START, &config, &mut outputs);
        connect(&mut dials, 1, None, false, &mut outputs);
        outputs.clear();
        let second = dials.begin(dht(2), Some(peer_id(2)), &[addr(2)], &[]);
        assert_eq!(dials.pump(Instant::START, &config, &mut outputs), [dht(2)]);
        assert!(matches!(outputs.pop_front(), Some(Output::CancelDial { dial }) if dial == first));
        assert!(matches!(outputs.pop_front(), Some(Output::Dial { dial, .. }) if dial == second));
        assert_eq!((dials.poll_timeout(), outputs.len()), (None, 0));
    }

    #[test]
    fn what_goes_on_for_nobody_ends_soon() {
        let (mut dials, mut outputs, config) = (Dials::default(), VecDeque::new(), Config::default());
        let dial = dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
        dials.pump(Instant::START, &config, &mut outputs);
        outputs.clear();
        assert_eq!(connect(&mut dials, 1, None, false, &mut outputs), [dht(1)]);
        let at = dials.poll_timeout().unwrap();
        assert_eq!(at, Instant::START + config.dial_patience);
        dials.handle_timeout(Instant::START, &mut outputs);
        assert!(outputs.is_empty(), "not before its time");
        dials.handle_timeout(at, &mut outputs);
        assert!(matches!(outputs.pop_front(), Some(Output::CancelDial { dial: ended }) if ended == dial));
        assert_eq!((dials.poll_timeout(), outputs.len()), (None, 0));
    }

    #[test]
    fn one_attempt_serves_all_and_ends_with_the_last() {
        let (mut dials, mut outputs, config) = (Dials::default(), VecDeque::new(), Config::default());
        let addrs = [addr(1)];
        let dial = dials.begin(dht(1), Some(peer_id(1)), &addrs, &[]);
        assert_eq!(dials.begin(Caller::Job(JobId(7)), Some(peer_id(1)), &addrs, &[]), dial);
        assert_eq!(dials.begin(dht(2), Some(peer_id(1)), &addrs, &[]), dial, "a look-up takes any way");
        assert_ne!(dials.begin(Caller::Job(JobId(7)), Some(peer_id(1)), &[addr(2)], &[]), dial);
        dials.pump(Instant::START, &config, &mut outputs);
        assert_eq!(dials.len(), (2, 0));
        outputs.clear();
        dials.leave(dial, dht(1), Instant::START, &config, &mut outputs);
        dials.leave(dial, dht(2), Instant::START, &config, &mut outputs);
        assert!(outputs.is_empty());
        dials.leave_all(JobId(7), Instant::START, &config, &mut outputs);
        assert_eq!(outputs.len(), 2);
        assert!(matches!(outputs[0], Output::CancelDial { .. }));
        assert_eq!(dials.len(), (0, 0));
    }

    #[test]
    fn jobs_go_first_and_no_more_than_some_run() {
        let (mut dials, mut outputs) = (Dials::default(), VecDeque::new());
        let config = Config { dials: 2, ..Config::default() };
        for n in 1..=3_usize {
            dials.begin(dht(n as u64), Some(peer_id(n)), &[addr(n)], &[]);
        }
        let job = dials.begin(Caller::Job(JobId(0)), Some(peer_id(9)), &[addr(9)], &[]);
        dials.pump(Instant::START, &config, &mut outputs);
        assert!(matches!(outputs[0], Output::Dial { dial, .. } if dial == job));
        assert_eq!(dials.len(), (2, 2));
        assert_eq!(connect(&mut dials, 9, Some(job), true, &mut outputs), [Caller::Job(JobId(0))]);
        dials.pump(Instant::START, &config, &mut outputs);
        assert_eq!(dials.len(), (2, 1));
    }

    #[test]
    fn only_who_was_tried_for_long_is_left_alone_when_given_up() {
        let (mut dials, mut outputs) = (Dials::default(), VecDeque::new());
        let config = Config { dials: 1, ..Config::default() };
        let (now, late) = (Instant::START, Instant::START + config.dial_patience);
        let give_up = |dials: &mut Dials, n: usize, at: Instant, outputs: &mut VecDeque<Output>| {
            let dial = dials.begin(dht(n as u64), Some(peer_id(n)), &[addr(n)], &[]);
            dials.leave(dial, dht(n as u64), at, &config, outputs);
            dials.is_paused(&peer_id(n), &[addr(n)], at)
        };
        dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
        dials.begin(dht(2), Some(peer_id(2)), &[addr(2)], &[]);
        assert_eq!(dials.pump(now, &config, &mut outputs), [dht(1)]);
        assert!(!give_up(&mut dials, 2, late, &mut outputs), "it was in the queue all the time");
        assert!(give_up(&mut dials, 1, late, &mut outputs));
        dials.begin(dht(3), Some(peer_id(3)), &[addr(3)], &[]);
        dials.pump(now, &config, &mut outputs);
        let soon = now + (config.dial_patience - Duration::from_nanos(1));
        assert!(!give_up(&mut dials, 3, soon, &mut outputs), "nobody knows yet");
    }
}
