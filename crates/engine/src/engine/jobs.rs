//! Jobs: fetches and queries, from their start to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use peerage_base::{Instant, Now};
use peerage_content::Cid;
use peerage_exchange::{Order, Room, SessionConfig};
use peerage_identity::PeerId;

use super::query::Query;
use super::{Engine, Timer, session};
use crate::dials::Caller;
use crate::error::JobError;
use crate::fetch::{Arrived, Fetch, ItemId, Progress, Step};
use crate::output::{JobId, Output};
use crate::routing::Seek;
use crate::search::{Search, Sources, Verdict};
use crate::swarm::Share;

/// What a job is for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A whole DAG.
    Fetch(Box<Fetch>),
    /// Single blocks, as someone asks for them; each waits for its hash.
    Query(Query),
}

/// A fetch or a query.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) root: Cid,
    pub(super) kind: Kind,
    pub(super) search: Search,
    /// What arrives is served to others, and they are asked about the root.
    pub(super) swarm: bool,
    /// The root is among those whose members are remembered.
    listed: bool,
    /// The exchange was told that no more wants will come.
    ending: bool,
    pub(super) received: BTreeMap<PeerId, u64>,
    pub(super) blocks: u64,
    pub(super) duplicates: u64,
    pub(super) wrong: BTreeMap<PeerId, u64>,
    /// When each source was last asked about the root, by the swarm protocol.
    pub(super) swarm_asked: BTreeMap<PeerId, Instant>,
    /// What is under way in the DHTs and with routers to find sources.
    pub(super) seek: Option<Seek>,
    /// When to begin that again, if it is still needed then, and the pause after that.
    pub(super) next_seek: Instant,
    pub(super) seek_pause: Duration,
    /// The last of these found nobody to ask.
    pub(super) lonely: bool,
    /// It was ended since blocks came, and may not have found all that there are.
    pub(super) cut_short: bool,
    /// Providers whose addresses were looked for.
    pub(super) looked_for: BTreeSet<PeerId>,
}

impl Job {
    pub(super) fn fetch_progress(&self) -> Progress {
        match &self.kind {
            Kind::Fetch(fetch) => fetch.progress(),
            Kind::Query(_) => Progress::default(),
        }
    }

    pub(super) fn share(&self) -> Share {
        Share { held: self.fetch_progress().held, total: 0, complete: false }
    }
}

impl Engine {
    /// Fetches the whole DAG under `root`: ends with [`Output::FetchFinished`]
    /// or [`Output::JobFailed`].
    ///
    /// With `swarm`, the peers who are asked may tell others that we fetch it,
    /// and what has arrived is served under this root.
    pub fn start_fetch(
        &mut self,
        job: JobId,
        root: Cid,
        sources: Sources,
        swarm: bool,
        order: Order,
        now: Now,
    ) {
        let fetch = Fetch::new(job, root, &self.config);
        self.start(job, root, Kind::Fetch(Box::new(fetch)), sources, (swarm, order), now);
    }

    /// Prepares for single blocks to be asked for with [`query`](Self::query),
    /// `root` among them: ends with [`Output::JobFailed`] or [`cancel`](Self::cancel).
    pub fn start_query(&mut self, job: JobId, root: Cid, sources: Sources, now: Now) {
        // What is asked for first is needed first.
        self.start(job, root, Kind::Query(Query::new()), sources, (false, Order::InOrder), now);
    }

    fn start(
        &mut self,
        job: JobId,
        root: Cid,
        kind: Kind,
        sources: Sources,
        (swarm, order): (bool, Order),
        now: Now,
    ) {
        if self.exchange.open_session(session(job), SessionConfig { order }, now).is_err() {
            self.outputs.push_back(Output::JobFailed { job, error: JobError::TooManyJobs });
            return;
        }
        let near = self.config.routing.near;
        let search = Search::new(sources, self.local, near, self.rng.next_u64(), now.instant, &self.config);
        let listed = swarm && self.swarms.serve(root, Share::default(), &self.config);
        let entry = Job {
            root,
            kind,
            search,
            swarm,
            listed,
            ending: false,
            received: BTreeMap::new(),
            duplicates: 0,
            blocks: 0,
            wrong: BTreeMap::new(),
            swarm_asked: BTreeMap::new(),
            seek: None,
            next_seek: now.instant,
            seek_pause: self.config.seek_pause_min,
            lonely: false,
            cut_short: false,
            looked_for: BTreeSet::new(),
        };
        self.jobs.insert(job, entry);
        self.adopt_connected(job, now);
        self.adopt_near(job, now);
        self.timers.set(Timer::Review(job), now.instant);
        self.route(now);
        self.handle_timeout(now);
    }

    /// Asks for a block on behalf of a query: [`Output::QueryBlock`].
    pub fn query(&mut self, job: JobId, cid: Cid, now: Now) {
        if let Some(Job { kind: Kind::Query(query), .. }) = self.jobs.get_mut(&job) {
            let waiting = &mut query.waiting;
            waiting.entry(*cid.hash()).or_default().insert(cid);
            // The query has no frontier; its items are told apart by CID.
            self.outputs.push_back(Output::TakeLocal { job, item: ItemId(0), cid, at: None, entry: None });
        }
        self.route(now);
    }

    /// Ends a job without a word.
    pub fn cancel(&mut self, job: JobId, now: Now) {
        self.end(job, now);
        self.route(now);
    }

    pub(super) fn end(&mut self, job: JobId, now: Now) {
        let Some(entry) = self.jobs.remove(&job) else { return };
        self.exchange.close_session(session(job), now);
        self.timers.cancel(&Timer::Review(job));
        self.timers.cancel(&Timer::AskSwarm(job));
        self.end_seek(job);
        self.dials.leave_all(job, now.instant, &self.config, &mut self.outputs);
        if entry.listed {
            self.swarms.unserve(&entry.root);
        }
    }

    pub(super) fn fail(&mut self, job: JobId, error: JobError, now: Now) {
        if self.jobs.contains_key(&job) {
            self.end(job, now);
            self.outputs.push_back(Output::JobFailed { job, error });
        }
    }

    /// Starts items of a job, of whose blocks `share` bytes may be under way, and moves
    /// its steps on; true if there were any.
    pub(super) fn route_job(&mut self, job: JobId, share: u64, now: Now) -> bool {
        let mut moved = false;
        loop {
            let Some(entry) = self.jobs.get_mut(&job) else { return moved };
            let Kind::Fetch(fetch) = &mut entry.kind else { return moved };
            fetch.pump(share);
            let Some(step) = fetch.poll_step() else { break };
            moved = true;
            match step {
                Step::Shell(output) => self.outputs.push_back(output),
                Step::Want(cid, len) => self.want(job, &cid, len, now),
                Step::Done => self.finish(job, now),
                Step::Failed(error) => self.fail(job, error, now),
            }
        }
        if let Some(Job { kind: Kind::Fetch(fetch), ending, .. }) = self.jobs.get_mut(&job) {
            let room = Room { bytes: share.saturating_sub(fetch.unwritten()), least: fetch.floor() };
            self.exchange.set_room(session(job), room, now);
            if *ending != fetch.is_ending() {
                *ending = !*ending;
                self.exchange.set_ending(session(job), *ending, now);
            }
        }
        moved
    }

    /// The share of the credit that each fetch may have, in bytes. Those that have
    /// nobody to ask do not count.
    pub(super) fn credit_share(&self) -> u64 {
        let fetches = self.jobs.values().filter(|entry| matches!(entry.kind, Kind::Fetch(_)));
        let active = fetches.filter(|entry| !entry.search.is_fruitless()).count() as u64;
        self.fetch_credit / active.max(1)
    }

    /// Bytes of blocks that a fetch has asked for, or that are here and unwritten.
    pub(super) fn credit_of(&self, job: JobId, entry: &Job) -> u64 {
        let Kind::Fetch(fetch) = &entry.kind else { return 0 };
        let asked = self.exchange.session_stats(session(job)).map_or(0, |stats| stats.asked_bytes);
        asked + fetch.unwritten()
    }

    /// Asks the sources for a block; a CID that nobody may ask for ends the job.
    pub(super) fn want(&mut self, job: JobId, cid: &Cid, len: u64, now: Now) {
        let first = !self.needs_sources(job);
        if let Err(error) = self.exchange.want(session(job), cid, len, now) {
            self.fail(job, JobError::Unwantable { cid: *cid, why: error.to_string() }, now);
        } else if first && let Some(entry) = self.jobs.get_mut(&job) {
            entry.search.handle_needed(now.instant);
            self.timers.set(Timer::Review(job), now.instant);
        }
    }

    /// True if something is wanted that is not here.
    pub(super) fn needs_sources(&self, job: JobId) -> bool {
        self.exchange.session_stats(session(job)).is_some_and(|stats| stats.wants > 0)
    }

    fn finish(&mut self, job: JobId, now: Now) {
        let Some(entry) = self.jobs.get(&job) else { return };
        if entry.swarm {
            let held = entry.fetch_progress().held;
            let share = Share { held, total: held, complete: true };
            self.swarms.set_share(&entry.root, share);
            self.ask_swarm(job, Some(share), now);
        }
        let Some(progress) = self.progress(job) else { return };
        self.end(job, now);
        self.outputs.push_back(Output::FetchFinished { job, progress });
    }

    /// Hands a block to a job that waits for it. False if it came as something
    /// else than was asked for; then it is asked for again.
    pub(super) fn deliver(&mut self, job: JobId, came: Cid, arrived: &Arrived, now: Now) -> bool {
        match self.jobs.get_mut(&job).map(|entry| &mut entry.kind) {
            Some(Kind::Fetch(fetch)) => fetch.handle_block(came, arrived),
            Some(Kind::Query(query)) => {
                query.weigh(&came, arrived.len);
                let wanted = query.waiting.remove(came.hash()).unwrap_or_default();
                let mut others = BTreeSet::new();
                for cid in &wanted {
                    match arrived.node_as(cid, &came) {
                        Some(node) => {
                            let (cid, token, node) = (*cid, arrived.token, Arc::new(node));
                            self.outputs.push_back(Output::QueryBlock { job, cid, token, node });
                        }
                        None => drop(others.insert(*cid)),
                    }
                }
                let used = wanted.is_empty() || others.len() < wanted.len();
                if let Some(other) = others.first().copied() {
                    query.waiting.insert(*came.hash(), others);
                    self.want(job, &other, u64::from(arrived.len), now);
                }
                used
            }
            None => true,
        }
    }

    /// Dials what is due, and asks whether the job is to go on.
    pub(super) fn review(&mut self, job: JobId, now: Now) {
        let looking = self.seek_sources(job, now);
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let (dials, connected, scores) = (&mut self.dials, &self.peers, &self.scores);
        entry.search.mark_connected(|peer| connected.get(peer).is_some());
        let score = |peer: &PeerId| match scores.shunned_until(peer, now.instant) {
            Some(until) => Err(until),
            None => Ok(scores.points(peer, now.instant, &self.config)),
        };
        entry.search.dial_due(now.instant, &self.config, score, |peer, addrs, trusted| {
            dials.begin(Caller::Job(job), peer, addrs, trusted)
        });
        let verdict = entry.search.review(looking, now.instant, &self.config);
        let again = entry.search.find.then_some(entry.next_seek).filter(|at| !looking && *at > now.instant);
        match verdict {
            Verdict::Wait(at) => match at.into_iter().chain(again).min() {
                Some(at) => self.timers.set(Timer::Review(job), at.max(now.instant)),
                None => drop(self.timers.cancel(&Timer::Review(job))),
            },
            // What is here already needs nobody: `want` looks again.
            Verdict::GiveUp(_) if !self.needs_sources(job) => drop(self.timers.cancel(&Timer::Review(job))),
            Verdict::GiveUp(error) => self.fail(job, error, now),
        }
        self.pump_dials(now);
    }
}
