//! The hub: routes between the jobs, the exchange, the swarms and the shell.
//! What to do is decided in the parts; here is only who is told.

mod io;
mod jobs;
mod net;

use std::collections::{BTreeMap, VecDeque};

use peerage_base::{Budget, Instant, Now, Timers};
use peerage_exchange::{Exchange, SessionId};
use peerage_identity::{Multiaddr, PeerId};

use crate::fetch::Progress;
use crate::limits::Config;
use crate::output::{DialId, JobId, Output};
use crate::peers::Peers;
use crate::swarm::Swarms;
use jobs::Job;

/// Why the engine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The exchange does: a want has gone unanswered, or like.
    Exchange,
    /// A job's search: a dial is due, or it gives up.
    Review(JobId),
    /// A job asks its sources about its root again.
    AskSwarm(JobId),
}

/// How far a fetch is, and who brings it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobProgress {
    /// Content and blocks so far.
    pub fetch: Progress,
    /// Peers that can be asked now.
    pub sources: usize,
    /// Verified bytes of blocks, by who sent them, over the whole job.
    pub received: BTreeMap<PeerId, u64>,
    /// Bytes of blocks that came more than once.
    pub duplicates: u64,
    /// Blocks that nobody asked for or whose bytes were wrong, by who sent them.
    pub wrong: BTreeMap<PeerId, u64>,
}

/// The brain of a peer.
///
/// The contract is that of all machines here: hand in what happened through a
/// `handle_*` method or a command, then drain [`poll_output`](Self::poll_output)
/// and do what it says in that order, then sleep until
/// [`poll_timeout`](Self::poll_timeout). Time never goes back, and waking early
/// changes nothing. The same seed and inputs give the same outputs.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    local: PeerId,
    exchange: Exchange,
    peers: Peers,
    jobs: BTreeMap<JobId, Job>,
    swarms: Swarms,
    /// Bytes that all fetches may have under way.
    credit: Budget,
    /// Attempts to connect, by whom they are to reach.
    dials: BTreeMap<DialId, (Option<PeerId>, Vec<Multiaddr>)>,
    next_dial: u64,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine for the peer `local`, with no connection and nothing to do.
    #[must_use]
    pub fn new(
        local: PeerId,
        config: Config,
        exchange: peerage_exchange::Config,
        seed: u64,
        now: Now,
    ) -> Self {
        Self {
            local,
            exchange: Exchange::new(exchange, seed, now),
            peers: Peers::default(),
            jobs: BTreeMap::new(),
            swarms: Swarms::default(),
            credit: Budget::new(config.fetch_credit),
            dials: BTreeMap::new(),
            next_dial: 0,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The next thing to do. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let exchange = self.exchange.poll_timeout().map(|(at, _)| (at, Timer::Exchange));
        exchange.into_iter().chain(self.timers.next()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::Exchange => {}
                Timer::Review(job) => self.review(job, now),
                Timer::AskSwarm(job) => self.ask_swarm(job, None, now),
            }
        }
        self.route(now);
        // Only here are wants put into messages, so that a burst of inputs
        // makes one message a peer.
        while self.exchange.poll_timeout().is_some_and(|(at, _)| at <= now.instant) {
            self.exchange.handle_timeout(now);
            self.route(now);
        }
    }

    /// How far a job is; `None` if it is over.
    #[must_use]
    pub fn progress(&self, job: JobId) -> Option<JobProgress> {
        let entry = self.jobs.get(&job)?;
        Some(JobProgress {
            fetch: entry.fetch_progress(),
            sources: entry.search.sources().len(),
            received: entry.received.clone(),
            duplicates: entry.duplicates,
            wrong: entry.wrong.clone(),
        })
    }

    /// The Bitswap machine, for its figures.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Moves what the parts have to say to where it belongs, until all are quiet.
    fn route(&mut self, now: Now) {
        loop {
            let mut moved = false;
            let allowance = self.allowance();
            for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                moved |= self.route_job(job, allowance, now);
            }
            while let Some(output) = self.exchange.poll_output() {
                moved = true;
                self.route_exchange(output, now);
            }
            if !moved {
                return;
            }
        }
    }
}

/// A job's session in the exchange has the job's number.
fn session(job: JobId) -> SessionId {
    SessionId(job.0)
}

#[cfg(test)]
impl Engine {
    /// Bytes of credit that are taken.
    pub(crate) fn credit_used(&self) -> u64 {
        self.credit.used()
    }

    /// Of each fetch: known items, live items, folders and files remembered.
    pub(crate) fn weights(&self) -> Vec<(usize, usize, usize)> {
        let fetch = |job: &Job| match &job.kind {
            jobs::Kind::Fetch(fetch) => Some(fetch.weight()),
            jobs::Kind::Query(_) => None,
        };
        self.jobs.values().filter_map(fetch).collect()
    }
}
