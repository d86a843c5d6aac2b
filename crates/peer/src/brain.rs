//! The one task that owns the engine: hands it what happened, does what it says.
//!
//! Everything else in this crate reports here through an [`Input`]; nothing
//! here waits for a peer, a disk or a lock that is held for long.

mod finding;
mod input;
mod listers;
mod perform;
mod reaching;
mod registry;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use peerage_base::{Now, UnixTime};
use peerage_content::Cid;
use peerage_engine::{
    Arrived, DialFailure, Engine, Identified, JobError, JobId, JobProgress, RequestId, Share, Token,
};
use peerage_exchange::{PeerStats, Served};
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::files::export::{Export, ExportError};
use crate::net::Net;
use crate::net::bitswap_in::Block;
use crate::net::pace::Turn;
use crate::net::swarm;
use crate::net::told::Told;
use crate::served::ServedRoots;
use finding::Finding;
pub use input::Reachability;
pub(crate) use input::{Goal, Input};
use registry::{Lost, Registry};

/// How many inputs are taken from the inbox at once.
const BATCH: usize = 256;

/// How long requests under way may take when the peer stops. 150 ms: a round
/// trip over most of the world; an interrupted program is to be gone in a second.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// Where a job's events go.
pub(crate) type JobEvents = mpsc::UnboundedSender<JobEvent>;

/// Hears how much of a root a peer says that it has.
pub(crate) type Watcher = mpsc::UnboundedSender<(Cid, PeerId, Share)>;

/// What a job comes to.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// Everything is written.
    Finished(JobProgress),
    /// It cannot go on.
    Failed(JobError),
    /// This side cannot go on.
    Broken(ExportError),
    /// A block that was asked for.
    Block(Cid, Bytes),
}

/// A connected peer, as `peers` shows it.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// Addresses of the connections with it.
    pub addrs: Vec<Multiaddr>,
    /// True if we dialled it.
    pub outbound: bool,
    /// What it calls itself; escape before printing.
    pub agent: Option<String>,
    /// Round trip of its first connection, once measured.
    pub rtt: Option<Duration>,
    /// Bitswap figures, if it speaks that.
    pub stats: Option<PeerStats>,
    /// What it did to us lately, from -100 to 100; 0 if nothing.
    pub score: i32,
}

/// Payload bytes over the life of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of blocks sent.
    pub sent_bytes: u64,
    /// Bytes of blocks received, wanted or not.
    pub received_bytes: u64,
}

struct JobSlot {
    events: JobEvents,
    export: Option<Arc<Export>>,
}

/// The brain's task.
pub(crate) struct Brain {
    engine: Engine,
    clock: Clock,
    net: Arc<Net>,
    store: peerage_store::Store,
    served: ServedRoots,
    registry: Registry,
    jobs: HashMap<JobId, JobSlot>,
    /// Payloads that the engine knows by token: those of the input being handled.
    payloads: HashMap<Token, Bytes>,
    next_token: u64,
    /// Of the block that is handed out next.
    next_turn: Turn,
    requests: HashMap<RequestId, oneshot::Sender<swarm::Answer>>,
    next_request: u64,
    watchers: HashMap<Cid, Vec<Watcher>>,
    /// Roots that are served and were too many for their getters to be told of each other.
    unlisted: Vec<Cid>,
    totals: Totals,
    /// Requests of ours by the swarm protocol.
    asking: JoinSet<()>,
    finding: Finding,
    stopping: Option<oneshot::Sender<()>>,
}

impl Brain {
    pub(crate) fn new(
        engine: Engine,
        clock: Clock,
        net: Arc<Net>,
        store: peerage_store::Store,
        served: ServedRoots,
    ) -> Self {
        Self {
            engine,
            clock,
            net,
            store,
            served,
            registry: Registry::default(),
            jobs: HashMap::new(),
            payloads: HashMap::new(),
            next_token: 0,
            next_turn: 0,
            requests: HashMap::new(),
            next_request: 0,
            watchers: HashMap::new(),
            unlisted: Vec::new(),
            totals: Totals::default(),
            asking: JoinSet::new(),
            finding: Finding::default(),
            stopping: None,
        }
    }

    /// Runs until [`Input::Stop`], or until nobody can send any more.
    pub(crate) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.stopping.is_none() {
            let wake = self.engine.poll_timeout().map(|(at, _)| self.clock.tokio_time(at));
            let due = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    for input in batch.drain(..) {
                        self.handle(input);
                        self.perform_all();
                    }
                }
                () = due => {
                    let now = self.now();
                    self.engine.handle_timeout(now);
                    self.perform_all();
                }
            }
        }
        // Such as the word that we have everything, which a sharer waits for.
        let said = async { while self.asking.join_next().await.is_some() {} };
        drop(timeout(LAST_WORDS, said).await);
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.end_job(job, None);
        }
        self.finding.give_up();
        self.registry.close_all().await;
        if let Some(reply) = self.stopping.take() {
            let _ = reply.send(());
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now::new(self.clock.now(), UnixTime(unix.as_secs()))
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Connected { connected, number, control } => {
                connected.dial.into_iter().for_each(|dial| self.finding.dialled(dial));
                if connected.outbound && self.registry.is_full(&self.net.limits) {
                    self.make_room(now);
                }
                if self.registry.connect(&connected, number, control, &self.net.limits) {
                    self.engine.handle_connected(&connected, now);
                } else if let Some(dial) = connected.dial {
                    let failure = DialFailure::NoRoom;
                    self.engine.handle_dial_failed(dial, failure, "too many connections", now);
                }
            }
            Input::Identified { peer, told, handled } => {
                let protocols = told.as_ref().map(Told::protocols).unwrap_or_default();
                if self.registry.identify(&self.net, peer, told.as_ref(), protocols) {
                    match told {
                        Some(Told { addrs, observed, .. }) => {
                            let identified = Identified { protocols, addrs, observed };
                            self.engine.handle_identified(peer, &identified, now);
                        }
                        None => self.engine.handle_unidentified(peer, now),
                    }
                }
                drop(handled);
            }
            Input::Disconnected { peer, number } | Input::WriterFailed { peer, number } => {
                match self.registry.disconnect(&self.net, peer, number) {
                    Lost::Nothing => {}
                    Lost::Link(addr) => self.engine.handle_link_lost(peer, &addr, now),
                    Lost::Way(addr) => {
                        self.engine.handle_link_lost(peer, &addr, now);
                        self.engine.handle_rerouted(peer, now);
                    }
                    Lost::Peer => self.engine.handle_disconnected(peer, now),
                }
            }
            Input::DialFailed { dial, failure, why } => {
                self.finding.dialled(dial);
                self.engine.handle_dial_failed(dial, failure, &why, now);
            }
            Input::Spoke { peer, version } => {
                if self.registry.hear(&self.net, peer, version) {
                    self.engine.handle_spoke(peer, version, now);
                }
            }
            Input::Message { peer, incoming, room } => {
                self.engine.handle_message(peer, &incoming, now);
                drop(room);
            }
            Input::Block { peer, block, room } => {
                self.totals.received_bytes += block.data.len() as u64;
                let (cid, arrived) = self.arrive(block);
                self.engine.handle_block(peer, cid, &arrived, now);
                drop(room);
            }
            Input::BadBlock { peer } => self.engine.handle_bad_block(peer, now),
            Input::Arriving { peer } => self.engine.handle_progress(peer, now),
            Input::Local { job, item, cid, found } => {
                let arrived = found.map(|block| self.arrive(block).1);
                self.engine.handle_local(job, item, cid, arrived.as_ref(), now);
            }
            Input::Written { job, item, cid, bytes, len } => {
                self.engine.handle_written(job, item, cid, bytes, len, now);
            }
            Input::Made { job } => self.engine.handle_made(job, now),
            Input::Broken { job, error } => {
                self.engine.cancel(job, now);
                self.end_job(job, Some(JobEvent::Broken(error)));
            }
            Input::LookedUp { peer, cid, len } => self.engine.handle_lookup(peer, &cid, len, now),
            Input::Served { peer, cid, served } => {
                if let Served::Sent(len) = served {
                    self.totals.sent_bytes += u64::from(len);
                    self.count(peer, cid);
                }
                self.engine.handle_served(peer, &cid, served, now);
            }
            Input::Held { peer, cid, held } => self.engine.handle_held(peer, &cid, held, now),
            Input::SentAll(sent) => self.registry.confirm(sent),
            Input::Received(sent) => {
                if let Some(total) = self.served.settle(&sent) {
                    let share = Share { held: total, total, complete: true };
                    self.tell_watchers(sent.root, sent.peer, share);
                }
            }
            Input::SwarmRequested { peer, scope, request, reply } => {
                let id = RequestId(self.next_request);
                self.next_request += 1;
                self.requests.insert(id, reply);
                let swarm::Request { root, record, share } = request;
                self.engine.handle_swarm_request(id, peer, scope, root, record, share, now);
                // Without an answer by now there will be none.
                self.perform_all();
                self.requests.remove(&id);
            }
            Input::SwarmAnswered { peer, root, records } => {
                self.engine.handle_swarm_answer(&peer, &root, records, now);
            }
            command => self.command(command, now),
        }
    }

    fn command(&mut self, input: Input, now: Now) {
        match input {
            Input::Fetch { job, root, sources, export, swarm, order, events } => {
                self.jobs.insert(job, JobSlot { events, export: Some(export) });
                self.engine.start_fetch(job, root, sources, swarm, order, now);
            }
            Input::OpenQuery { job, root, sources, events } => {
                self.jobs.insert(job, JobSlot { events, export: None });
                self.engine.start_query(job, root, sources, now);
            }
            Input::Query { job, cid } => self.engine.query(job, cid, now),
            Input::Cancel { job } => {
                self.end_job(job, None);
                self.engine.cancel(job, now);
            }
            Input::Progress { job, reply } => {
                drop(reply.send(self.engine.progress(job)));
            }
            Input::Serve { root, total, watcher } => {
                if !self.engine.serve_root(root, total) {
                    self.unlisted.push(root);
                }
                self.watchers.entry(root).or_default().extend(watcher);
            }
            Input::Unserve { root } => {
                match self.unlisted.iter().position(|unlisted| *unlisted == root) {
                    Some(nth) => drop(self.unlisted.swap_remove(nth)),
                    None => self.engine.unserve_root(&root),
                }
                if let Some(watchers) = self.watchers.get_mut(&root) {
                    watchers.retain(|watcher| !watcher.is_closed());
                }
            }
            Input::Peers { reply } => drop(reply.send(self.registry.list(&self.engine, self.now()))),
            Input::Stats { peer, reply } => drop(reply.send(self.engine.exchange().peer_stats(&peer))),
            Input::Control { peer, reply } => drop(reply.send(self.registry.control(&peer).cloned())),
            Input::Rates(rates) => {
                self.engine.limit_sending(rates.up, now);
                self.engine.limit_receiving(rates.down, rates.down_per_peer, now);
            }
            Input::Totals { reply } => drop(reply.send(self.totals)),
            Input::Stop { reply } => self.stopping = Some(reply),
            other => self.hear_of_peers(other, now),
        }
    }

    /// Hangs up on whoever is of least use, for a connection of our own making.
    fn make_room(&mut self, now: Now) {
        if let Some(peer) = self.engine.least_useful(now) {
            tracing::debug!(%peer, "closing the connection for want of room");
            self.registry.drop_peer(&peer);
            self.engine.handle_disconnected(peer, now);
        }
    }

    /// Forgets a job, with a last word to its owner.
    fn end_job(&mut self, job: JobId, last: Option<JobEvent>) {
        let Some(slot) = self.jobs.remove(&job) else { return };
        // The last one to let go of an export uses the disk.
        self.net.pool.post(move || drop(slot.export));
        if let Some(event) = last {
            drop(slot.events.send(event));
        }
    }

    /// Puts a payload under a token for the input that brings it.
    fn arrive(&mut self, block: Block) -> (Cid, Arrived) {
        let token = Token(self.next_token);
        self.next_token += 1;
        let len = u32::try_from(block.data.len()).unwrap_or(u32::MAX);
        self.payloads.insert(token, block.data);
        (block.cid, Arrived { token, len, node: block.node })
    }
}
