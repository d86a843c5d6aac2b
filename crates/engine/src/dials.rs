//! Attempts to connect: whom they are for, how many run at once, and who is not
//! tried again yet.
//!
//! One attempt serves everyone who wants that peer. Jobs go before look-ups in
//! the queue; an attempt that nobody wants any more is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerage_base::Instant;
use peerage_dht::{Network, RequestId};
use peerage_identity::{Multiaddr, PeerId};

use crate::addresses::ranked;
use crate::limits::Config;
use crate::output::{DialId, JobId, Output};

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
    running: bool,
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
}

/// Why a peer is not dialled for a while.
#[derive(Debug, Clone)]
struct Pause {
    failures: u32,
    until: Instant,
    /// Where it was not: anybody can say where a peer is.
    addrs: Vec<Multiaddr>,
}

/// All attempts.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    attempts: BTreeMap<DialId, Attempt>,
    waiting: VecDeque<DialId>,
    /// Attempts that were cut short, by when they go on.
    later: BTreeSet<(Instant, DialId)>,
    running: usize,
    next: u64,
    /// Peers that could not be reached.
    pauses: BTreeMap<PeerId, Pause>,
    /// Where peers were reached last, and in which order that was learned.
    reached: BTreeMap<PeerId, Multiaddr>,
    reached_order: VecDeque<PeerId>,
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
        let addrs = ranked(peer, addrs, peer.and_then(|peer| self.reached.get(&peer)));
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
            return *id;
        }
        let id = DialId(self.next);
        self.next += 1;
        let attempt = Attempt { peer, addrs, callers: vec![caller], trusted, running: false, dropped: 0 };
        self.attempts.insert(id, attempt);
        if any_way {
            self.waiting.push_back(id);
        } else {
            self.waiting.push_front(id);
        }
        id
    }

    /// Starts what may start.
    pub(crate) fn pump(&mut self, config: &Config, outputs: &mut VecDeque<Output>) {
        while self.running < config.dials {
            let Some(dial) = self.waiting.pop_front() else { return };
            let Some(attempt) = self.attempts.get_mut(&dial) else { continue };
            attempt.running = true;
            self.running += 1;
            let (peer, addrs) = (attempt.peer, attempt.addrs.clone());
            let trusted = attempt.trusted.clone();
            outputs.push_back(Output::Dial { dial, peer, addrs, trusted });
        }
    }

    /// Someone does not want the connection any more.
    pub(crate) fn leave(&mut self, dial: DialId, caller: Caller, outputs: &mut VecDeque<Output>) {
        let Some(attempt) = self.attempts.get_mut(&dial) else { return };
        attempt.callers.retain(|other| *other != caller);
        if !attempt.callers.is_empty() {
            return;
        }
        if attempt.running {
            outputs.push_back(Output::CancelDial { dial });
        }
        self.remove(dial);
    }

    /// A job is over.
    pub(crate) fn leave_all(&mut self, job: JobId, outputs: &mut VecDeque<Output>) {
        let caller = Caller::Job(job);
        let joined = self.attempts.iter().filter(|(_, attempt)| attempt.callers.contains(&caller));
        for dial in joined.map(|(dial, _)| *dial).collect::<Vec<_>>() {
            self.leave(dial, caller, outputs);
        }
    }

    fn remove(&mut self, dial: DialId) -> Option<Attempt> {
        let attempt = self.attempts.remove(&dial)?;
        if attempt.running {
            self.running -= 1;
        } else {
            self.waiting.retain(|waiting| *waiting != dial);
            self.later.retain(|(_, later)| *later != dial);
        }
        Some(attempt)
    }

    /// A connection with `peer` stands, to which an attempt may have led.
    pub(crate) fn handle_connected(
        &mut self,
        dial: Option<DialId>,
        peer: &PeerId,
        addr: &Multiaddr,
        config: &Config,
    ) -> Option<Attempt> {
        self.pauses.remove(peer);
        let attempt = self.remove(dial?)?;
        // Only where we dialled: others come from ports on which nobody listens.
        if self.reached.insert(*peer, addr.without_peer()).is_none() {
            self.reached_order.push_back(*peer);
        }
        if self.reached.len() > config.reached
            && let Some(oldest) = self.reached_order.pop_front()
        {
            self.reached.remove(&oldest);
        }
        Some(attempt)
    }

    /// An attempt came to nothing. Returned is one that is over; whoever
    /// dropped it is given another chance.
    pub(crate) fn handle_failed(
        &mut self,
        dial: DialId,
        failure: DialFailure,
        now: Instant,
        config: &Config,
    ) -> Option<Attempt> {
        let running = self.attempts.get_mut(&dial).filter(|attempt| attempt.running)?;
        if failure == DialFailure::Dropped && running.dropped < config.dropped_retries {
            let pause = config.dropped_pause.saturating_mul(1 << running.dropped.min(16));
            running.dropped += 1;
            running.running = false;
            self.running -= 1;
            self.later.insert((now + pause, dial));
            return None;
        }
        let attempt = self.remove(dial)?;
        if let Some(peer) = attempt.peer {
            let failures = self.pauses.get(&peer).map_or(0, |pause| pause.failures);
            let length = config.pause_min.saturating_mul(1 << failures.min(16)).min(config.pause_max);
            let addrs = attempt.addrs.clone();
            let pause = Pause { failures: failures.saturating_add(1), until: now + length, addrs };
            self.pauses.insert(peer, pause);
            if self.pauses.len() > config.pauses {
                let soonest = self.pauses.iter().min_by_key(|(_, pause)| pause.until).map(|(peer, _)| *peer);
                soonest.and_then(|peer| self.pauses.remove(&peer));
            }
        }
        Some(attempt)
    }

    /// When an attempt goes on that was cut short.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Has those go on whose pause is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, dial)) = self.later.first().filter(|(at, _)| *at <= now).copied() {
            self.later.pop_first();
            self.waiting.push_front(dial);
        }
    }

    /// True if the peer could not be reached at these addresses a short while
    /// ago, so that a look-up does better without it.
    pub(crate) fn is_paused(&self, peer: &PeerId, addrs: &[Multiaddr], now: Instant) -> bool {
        let tried =
            |pause: &Pause| ranked(Some(*peer), addrs, None).iter().all(|addr| pause.addrs.contains(addr));
        self.pauses.get(peer).is_some_and(|pause| now < pause.until && tried(pause))
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

    fn fail(dials: &mut Dials, dial: DialId, now: Instant, config: &Config) {
        dials.pump(config, &mut VecDeque::new());
        assert!(dials.handle_failed(dial, DialFailure::Unreachable, now, config).is_some());
    }

    #[test]
    fn who_drops_an_attempt_is_tried_again_soon() {
        let (mut dials, mut outputs, config) = (Dials::default(), VecDeque::new(), Config::default());
        let dial = dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
        let mut now = Instant::START;
        for n in 0..config.dropped_retries {
            dials.pump(&config, &mut outputs);
            assert_eq!(dials.len(), (1, 0));
            assert!(dials.handle_failed(dial, DialFailure::Dropped, now, &config).is_none(), "not over");
            assert!(!dials.is_paused(&peer_id(1), &[addr(1)], now));
            assert_eq!(dials.begin(dht(2), Some(peer_id(1)), &[addr(1)], &[]), dial, "others may join");
            let at = dials.poll_timeout().unwrap();
            assert_eq!(at, now + config.dropped_pause * (1 << n));
            dials.handle_timeout(now);
            assert_eq!(dials.len(), (0, 0), "not before its time");
            now = at;
            dials.handle_timeout(now);
        }
        dials.pump(&config, &mut outputs);
        assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Dial { .. })).count(), 3);
        let over = dials.handle_failed(dial, DialFailure::Dropped, now, &config).unwrap();
        assert_eq!(over.callers.len(), 2);
        assert!(dials.is_paused(&peer_id(1), &[addr(1)], now));
        let dial = dials.begin(dht(3), Some(peer_id(2)), &[addr(2)], &[]);
        dials.pump(&config, &mut outputs);
        dials.handle_failed(dial, DialFailure::Dropped, now, &config);
        dials.leave(dial, dht(3), &mut outputs);
        assert_eq!((dials.poll_timeout(), dials.len()), (None, (0, 0)), "nobody wants it");
    }

    #[test]
    fn one_attempt_serves_all_and_ends_with_the_last() {
        let (mut dials, mut outputs, config) = (Dials::default(), VecDeque::new(), Config::default());
        let addrs = [addr(1)];
        let dial = dials.begin(dht(1), Some(peer_id(1)), &addrs, &[]);
        assert_eq!(dials.begin(Caller::Job(JobId(7)), Some(peer_id(1)), &addrs, &[]), dial);
        assert_eq!(dials.begin(dht(2), Some(peer_id(1)), &addrs, &[]), dial, "a look-up takes any way");
        assert_ne!(dials.begin(Caller::Job(JobId(7)), Some(peer_id(1)), &[addr(2)], &[]), dial);
        dials.pump(&config, &mut outputs);
        assert_eq!(dials.len(), (2, 0));
        outputs.clear();
        dials.leave(dial, dht(1), &mut outputs);
        dials.leave(dial, dht(2), &mut outputs);
        assert!(outputs.is_empty());
        dials.leave_all(JobId(7), &mut outputs);
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
        dials.pump(&config, &mut outputs);
        assert!(matches!(outputs[0], Output::Dial { dial, .. } if dial == job));
        assert_eq!(dials.len(), (2, 2));
        assert!(dials.handle_connected(Some(job), &peer_id(9), &addr(9), &config).is_some());
        dials.pump(&config, &mut outputs);
        assert_eq!(dials.len(), (2, 1));
    }

    #[test]
    fn who_fails_is_left_alone_for_longer_each_time() {
        let (mut dials, config) = (Dials::default(), Config::default());
        let mut now = Instant::START;
        for length in [config.pause_min, config.pause_min * 2] {
            let dial = dials.begin(dht(1), Some(peer_id(1)), &[addr(1)], &[]);
            fail(&mut dials, dial, now, &config);
            assert!(dials.is_paused(&peer_id(1), &[addr(1)], now + (length - Duration::from_nanos(1))));
            let elsewhere = [addr(1), addr(2)];
            assert!(!dials.is_paused(&peer_id(1), &elsewhere, now), "it may be elsewhere");
            now += length;
            assert!(!dials.is_paused(&peer_id(1), &[addr(1)], now));
        }
        dials.handle_connected(None, &peer_id(1), &addr(1), &config);
        for n in 0..config.pauses + 10 {
            let dial = dials.begin(dht(1), Some(peer_id(n)), &[addr(1)], &[]);
            fail(&mut dials, dial, now, &config);
        }
        assert_eq!(dials.pauses.len(), config.pauses);
    }
}
