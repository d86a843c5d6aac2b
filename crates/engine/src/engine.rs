//! The hub: routes between the jobs, the exchange, the swarms and the shell.
//! What to do is decided in the parts; here is only who is told.

mod announcing;
mod connections;
mod dht;
mod finding;
mod io;
mod jobs;
mod limiting;
mod net;
mod query;
mod reaching;

pub use announcing::{AnnounceError, Announcements};
pub use dht::DhtStatus;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use peerage_base::{Instant, Now, Rng, Timers};
use peerage_exchange::{Exchange, SessionId};
use peerage_identity::{Multiaddr, PeerId};

use crate::dials::{Caller, Dials};
use crate::fetch::Progress;
use crate::limits::Config;
use crate::output::{FindId, JobId, Output};
use crate::peers::Peers;
use crate::reachability::Reachability;
use crate::routing::{Routing, Seek, SeekProgress};
use crate::score::{Deed, Scores};
use crate::swarm::Swarms;
use jobs::Job;

/// Outputs for which room is kept; who drops many connections has many at once,
/// and seldom.
const OUTPUTS_KEPT: usize = 4;

/// Why the engine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The exchange does: a want has gone unanswered, or like.
    Exchange,
    /// A job's search: a dial is due, or it gives up.
    Review(JobId),
    /// A job asks its sources about its root again.
    AskSwarm(JobId),
    /// A DHT does: a request is unanswered, its table is to be refreshed, or like.
    Dht,
    /// The next announcements are due.
    Sweep,
    /// It is to be found out whether others can dial us.
    Reachability,
    /// A look-up of the user's may be over.
    Find(FindId),
    /// Connections are counted.
    Trim,
    /// Whoever dropped an attempt to connect is tried again.
    Redial,
}

/// How far a fetch is, and who brings it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobProgress {
    /// Content and blocks so far.
    pub fetch: Progress,
    /// Peers that can be asked now.
    pub sources: usize,
    /// The look-ups for more of them, while there are any.
    pub seek: Option<SeekProgress>,
    /// Verified bytes of blocks, by who sent them, over the whole job.
    pub received: BTreeMap<PeerId, u64>,
    /// The blocks that these were.
    pub blocks: u64,
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
    config: Arc<Config>,
    local: PeerId,
    exchange: Exchange,
    peers: Peers,
    jobs: BTreeMap<JobId, Job>,
    swarms: Swarms,
    /// Bytes that all fetches may have under way, now.
    fetch_credit: u64,
    dials: Dials,
    scores: Scores,
    rng: Rng,
    routing: Routing,
    reachability: Reachability,
    /// What is announced.
    announced: announcing::Announced,
    /// Look-ups of the user's.
    finds: BTreeMap<FindId, Box<Seek>>,
    /// Peers of the local network, and where.
    near: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// Where we listen.
    listen: Vec<Multiaddr>,
    /// What was last said of the DHTs in which we answer, as (WAN, LAN).
    serving: (bool, bool),
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine for the peer `local`, with no connection and nothing to do. Many
    /// may share one configuration.
    #[must_use]
    pub fn new(
        local: PeerId,
        config: impl Into<Arc<Config>>,
        exchange: peerage_exchange::Config,
        seed: u64,
        now: Now,
    ) -> Self {
        let config = config.into();
        let mut rng = Rng::new(seed);
        Self {
            local,
            exchange: Exchange::new(exchange, rng.next_u64(), now),
            peers: Peers::default(),
            jobs: BTreeMap::new(),
            rng: Rng::new(rng.next_u64()),
            swarms: Swarms::default(),
            fetch_credit: config.fetch_credit,
            dials: Dials::default(),
            scores: Scores::default(),
            routing: Routing::new(&config, local, rng.next_u64(), now),
            reachability: Reachability::new(config.reachability.clone(), rng.next_u64(), now),
            announced: announcing::Announced::new(),
            finds: BTreeMap::new(),
            near: BTreeMap::new(),
            listen: Vec::new(),
            serving: (false, false),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The next thing to do. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > OUTPUTS_KEPT {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let exchange = self.exchange.poll_timeout().map(|(at, _)| (at, Timer::Exchange));
        let dhts = self.routing.sides.iter().filter_map(|side| side.dht.poll_timeout());
        let dht = dhts.map(|(at, _)| (at, Timer::Dht)).min();
        let sweeps = self.routing.sides.iter().filter_map(|side| side.sweep.poll_timeout());
        let sweep = sweeps.map(|(at, _)| (at, Timer::Sweep)).min();
        let reach = self.reachability.poll_timeout().map(|at| (at, Timer::Reachability));
        let redial = self.dials.poll_timeout().map(|at| (at, Timer::Redial));
        exchange
            .into_iter()
            .chain(dht)
            .chain(sweep)
            .chain(reach)
            .chain(redial)
            .chain(self.timers.next())
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::Exchange | Timer::Dht | Timer::Sweep | Timer::Reachability | Timer::Redial => {}
                Timer::Find(find) => self.review_find(find, now),
                Timer::Trim => self.trim(now),
                Timer::Review(job) => self.review(job, now),
                Timer::AskSwarm(job) => self.ask_swarm(job, None, now),
            }
        }
        self.dials.handle_timeout(now.instant, &mut self.outputs);
        for side in &mut self.routing.sides {
            side.dht.handle_timeout(now);
            side.sweep.handle_timeout(now);
        }
        if self.reachability.poll_timeout().is_some_and(|at| at <= now.instant) {
            self.reachability.handle_timeout(now);
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
            seek: entry.seek.as_ref().map(Seek::progress),
            received: entry.received.clone(),
            blocks: entry.blocks,
            duplicates: entry.duplicates,
            wrong: entry.wrong.clone(),
        })
    }

    /// The Bitswap machine, for its figures.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Bytes of the fetch credit that are taken: wanted, arriving, unverified or
    /// unwritten. 0 when no fetch runs.
    #[must_use]
    pub fn credit_used(&self) -> u64 {
        self.jobs.iter().map(|(job, entry)| self.credit_of(*job, entry)).sum()
    }

    /// True if there is a connection with the peer.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some()
    }

    /// What we think of a peer by what it did lately, from -100 to 100; 0 if that
    /// is nothing.
    #[must_use]
    pub fn score(&self, peer: &PeerId, now: Now) -> i32 {
        self.scores.points(peer, now.instant, &self.config)
    }

    /// Notes what a peer did.
    fn score_deed(&mut self, peer: &PeerId, deed: Deed, now: Now) {
        self.scores.note(peer, deed, now.instant, &self.config);
    }

    /// Moves what the parts have to say to where it belongs, until all are quiet.
    fn route(&mut self, now: Now) {
        loop {
            let mut moved = false;
            let share = self.credit_share();
            for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                moved |= self.route_job(job, share, now);
            }
            while let Some(output) = self.exchange.poll_output() {
                moved = true;
                self.route_exchange(output, now);
            }
            moved |= self.route_dhts(now);
            moved |= self.route_sweeps(now);
            moved |= self.route_reachability(now);
            if !moved {
                break;
            }
        }
        self.pump_dials(now);
    }

    /// Begins with dials for which there is room.
    fn pump_dials(&mut self, now: Now) {
        for caller in self.dials.pump(now.instant, &self.config, &mut self.outputs) {
            if let Caller::Dht(network, id) = caller
                && let Some(side) = self.routing.side(network)
            {
                side.dht.handle_begun(id, now);
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
    /// Of each fetch: known items, live items, folders and files remembered.
    pub(crate) fn weights(&self) -> Vec<(usize, usize, usize)> {
        let fetch = |job: &Job| match &job.kind {
            jobs::Kind::Fetch(fetch) => Some(fetch.weight()),
            jobs::Kind::Query(_) => None,
        };
        self.jobs.values().filter_map(fetch).collect()
    }

    /// Files that fetches have begun and not finished.
    pub(crate) fn open_files(&self) -> usize {
        let open = |job: &Job| match &job.kind {
            jobs::Kind::Fetch(fetch) => fetch.open_files(),
            jobs::Kind::Query(_) => 0,
        };
        self.jobs.values().map(open).sum()
    }
}
