//! What the shell reports of peers: connections, dials, protocols, the swarm.

use bytes::Bytes;
use peerage_base::Now;
use peerage_content::Cid;
use peerage_dht::{Failure, Network};
use peerage_exchange::{Holding, Version};
use peerage_identity::{Multiaddr, PeerId, Scope};

use super::jobs::Kind;
use super::{Engine, Timer, session};
use crate::dials::{Caller, DialFailure};
use crate::output::{DialId, DisconnectReason, JobId, Output, RequestId};
use crate::peers::{Connected, Identified, Link, Protocols};
use crate::routing::Owner;
use crate::score::Deed;
use crate::search::{Origin, SHUNNED};
use crate::swarm::{Record, Share};

impl Engine {
    /// A connection stands. Several with one peer are one to the engine.
    pub fn handle_connected(&mut self, connected: &Connected, now: Now) {
        self.peers.connect(connected, self.config.dht_burst, now.instant);
        let yields = connected.outbound || self.local < connected.peer;
        let callers =
            self.dials.handle_connected(connected, yields, now.instant, &self.config, &mut self.outputs);
        let by_user = callers.contains(&Caller::User) || connected.by_user;
        if let Some(peer) = self.peers.get_mut(&connected.peer) {
            peer.by_user |= by_user;
        }
        self.timers.set_earlier(Timer::Trim, now.instant + self.config.trim_interval);
        self.send_waiting(connected.peer, now);
        // Where it is need not be asked any more.
        let found = |owner: &Owner| matches!(owner, Owner::Whereabouts(_, peer) if *peer == connected.peer);
        let asks = self.routing.give_up(found);
        self.outputs.extend(asks.into_iter().map(|ask| Output::CancelRouters { ask }));
        for job in self.job_ids() {
            if let Some(entry) = self.jobs.get_mut(&job) {
                if by_user && entry.search.ask_connected {
                    entry.search.add(
                        Some(connected.peer),
                        Vec::new(),
                        Origin::Connected,
                        now.instant,
                        &self.config,
                    );
                }
                entry.search.handle_connected(connected.peer, connected.dial);
            }
            self.adopt(job, connected.peer, now);
            self.review(job, now);
        }
        self.route(now);
    }

    /// Identify has told what a connected peer is.
    pub fn handle_identified(&mut self, peer: PeerId, identified: &Identified, now: Now) {
        self.know_protocols(peer, identified.protocols, now);
        if let Some(Link { addr: via, outbound }) = self.peers.get(&peer).map(|peer| peer.link().clone()) {
            let (v1, v2) = (identified.protocols.autonat_v1, identified.protocols.autonat_v2);
            self.reachability.handle_peer(peer, v1, v2, &via, now);
            if let Some(observed) = &identified.observed {
                self.reachability.handle_observed(observed, peer, &via, outbound, now);
            }
            for network in [Network::Wan, Network::Lan] {
                let serves = identified.protocols.serves(network);
                if let Some(via) = self.via(network, &peer)
                    && let Some(side) = self.routing.side(network)
                {
                    side.dht.handle_identified(peer, serves, &identified.addrs, &via, now);
                }
            }
        }
        self.route(now);
    }

    /// A peer did not say what it is: what it said before stands, and nobody
    /// waits for more.
    pub fn handle_unidentified(&mut self, peer: PeerId, now: Now) {
        let known = self.peers.get(&peer).and_then(|peer| peer.protocols).unwrap_or_default();
        self.know_protocols(peer, known, now);
        self.route(now);
    }

    /// A connected peer has opened a stream of Bitswap, which may be before
    /// identify has told that it speaks it.
    pub fn handle_spoke(&mut self, peer: PeerId, version: Version, now: Now) {
        let known = self.peers.get(&peer).and_then(|peer| peer.protocols).unwrap_or_default();
        self.know_protocols(peer, Protocols { bitswap: Some(version), ..known }, now);
        self.route(now);
    }

    fn know_protocols(&mut self, peer: PeerId, protocols: Protocols, now: Now) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let before = entry.protocols;
        // Every connection is identified; one that cannot tell takes nothing back.
        let known = before.unwrap_or_default();
        let protocols = Protocols {
            bitswap: protocols.bitswap.or(known.bitswap),
            swarm: protocols.swarm || known.swarm,
            ..protocols
        };
        entry.protocols = Some(protocols);
        if let Some(version) = protocols.bitswap.filter(|_| before.and_then(|p| p.bitswap).is_none()) {
            self.exchange.add_peer(peer, version, now);
        }
        for job in self.job_ids() {
            self.adopt(job, peer, now);
            // It may have become a source before it told.
            if self.jobs.get(&job).is_some_and(|entry| entry.search.sources().contains(&peer)) {
                self.ask_swarm_of(job, peer, None, now);
            }
            self.review(job, now);
        }
    }

    /// One of several connections with a peer is gone: that by this address.
    pub fn handle_link_lost(&mut self, peer: PeerId, addr: &Multiaddr, now: Now) {
        self.peers.lose_link(&peer, addr);
        if let Some(entry) = self.peers.get(&peer)
            && let Some(known) = entry.protocols
        {
            let via = entry.link().addr.clone();
            self.reachability.handle_peer(peer, known.autonat_v1, known.autonat_v2, &via, now);
        }
        self.route(now);
    }

    /// What was on its way to a peer is lost with one of several connections,
    /// after [`handle_link_lost`](Self::handle_link_lost).
    pub fn handle_rerouted(&mut self, peer: PeerId, now: Now) {
        let version = self.peers.get(&peer).and_then(|peer| peer.protocols?.bitswap);
        if let Some(version) = version {
            self.exchange.restart_peer(peer, version, now);
        }
        self.route(now);
    }

    /// The last connection with a peer is gone.
    pub fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        self.exchange.remove_peer(peer, now);
        self.lose_requests(peer, now);
        self.reachability.handle_disconnected(&peer);
        for job in self.job_ids() {
            if let Some(entry) = self.jobs.get_mut(&job) {
                entry.swarm_asked.remove(&peer);
                entry.search.handle_disconnected(&peer, now.instant, &self.config);
            }
            self.review(job, now);
        }
        self.route(now);
    }

    /// An attempt to connect has failed; `why` is for the user.
    pub fn handle_dial_failed(&mut self, dial: DialId, failure: DialFailure, why: &str, now: Now) {
        let Some(attempt) = self.dials.handle_failed(dial, failure, now.instant, &self.config) else {
            return self.route(now);
        };
        let says = match failure {
            DialFailure::NoRoom => Failure::NotTried,
            DialFailure::Unreachable | DialFailure::Dropped => Failure::Unreachable,
        };
        for caller in attempt.callers {
            if let Caller::Dht(network, id) = caller {
                self.request_failed(network, id, says, now);
            }
        }
        for job in self.job_ids() {
            if let Some(entry) = self.jobs.get_mut(&job) {
                entry.search.handle_dial_failed(dial, failure, why, now.instant, &self.config);
            }
            self.review(job, now);
        }
        self.route(now);
    }

    /// Begins to serve a root that is held whole: `total` bytes of blocks.
    /// False if so many are served that its getters cannot be told of each other.
    pub fn serve_root(&mut self, root: Cid, total: u64) -> bool {
        self.swarms.serve(root, Share { held: total, total, complete: true }, &self.config)
    }

    /// Undoes one [`serve_root`](Self::serve_root).
    pub fn unserve_root(&mut self, root: &Cid) {
        self.swarms.unserve(root);
    }

    /// A connected peer asks about a root; the shell has verified its record.
    /// `scope` is that of the connection by which the request came.
    #[expect(clippy::too_many_arguments, reason = "what one request says, and by which way it came")]
    pub fn handle_swarm_request(
        &mut self,
        request: RequestId,
        peer: PeerId,
        scope: Scope,
        root: Cid,
        record: Option<Bytes>,
        share: Share,
        now: Now,
    ) {
        if self.peers.get(&peer).is_none() {
            return;
        }
        let answer = self.swarms.handle_request(peer, scope, &root, record, share, now, &self.config);
        let progressed = answer.progressed;
        self.outputs.push_back(Output::AnswerSwarm { request, records: answer.records, share: answer.share });
        if progressed {
            self.outputs.push_back(Output::PeerProgressed { root, peer, share });
        }
        // Who gets the same is a source of what it has, and would else find nobody who
        // asked before it.
        for job in self.jobs_of(&root) {
            if let Some(entry) = self.jobs.get_mut(&job)
                && entry.search.learned(Origin::Swarm) < 2 * self.config.neighbours
            {
                entry.search.add(Some(peer), Vec::new(), Origin::Swarm, now.instant, &self.config);
                self.adopt(job, peer, now);
            }
        }
        self.route(now);
    }

    /// Jobs whose getters find each other, of a root.
    fn jobs_of(&self, root: &Cid) -> Vec<JobId> {
        let jobs = self.jobs.iter().filter(|(_, entry)| entry.swarm && entry.root == *root);
        jobs.map(|(id, _)| *id).collect()
    }

    /// A source's answer to [`Output::AskSwarm`], empty if it gave none; the
    /// shell has verified the records. All jobs of that root learn of them; only
    /// one has asked for this answer.
    #[expect(clippy::needless_pass_by_value, reason = "the shell made them for this call")]
    pub fn handle_swarm_answer(&mut self, peer: &PeerId, root: &Cid, records: Vec<Record>, now: Now) {
        let jobs = self.jobs_of(root);
        let mut awaited = false;
        for job in jobs {
            if let Some(entry) = self.jobs.get_mut(&job).filter(|_| !awaited) {
                awaited = entry.search.handle_answer(peer);
            }
            for record in &records {
                let Some(entry) = self.jobs.get_mut(&job) else { break };
                if record.peer == self.local || entry.search.learned(Origin::Swarm) >= self.config.neighbours
                {
                    continue;
                }
                let addrs = record.addrs.clone();
                entry.search.add(Some(record.peer), addrs, Origin::Swarm, now.instant, &self.config);
                self.adopt(job, record.peer, now);
            }
            self.review(job, now);
        }
        self.route(now);
    }

    pub(super) fn route_exchange(&mut self, output: peerage_exchange::Output, now: Now) {
        use peerage_exchange::Output as Exchange;
        match output {
            Exchange::SendMessage { peer, message } => {
                self.outputs.push_back(Output::SendMessage { peer, message });
            }
            Exchange::Lookup { peer, cid } => self.outputs.push_back(Output::Lookup { peer, cid }),
            Exchange::ServeBlock { peer, cid, len } => {
                self.outputs.push_back(Output::ServeBlock { peer, cid, len });
            }
            Exchange::Stalled { session } => {
                let job = JobId(session.0);
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.search.handle_stalled(now.instant);
                }
                self.review(job, now);
            }
            // It may still get what is wanted; it costs one place in the session.
            Exchange::SourceUseless { .. } => {}
            Exchange::Ban { peer, sessions } => {
                self.score_deed(&peer, Deed::Banned, now);
                let sessions: Vec<JobId> = sessions.into_iter().map(|session| JobId(session.0)).collect();
                for job in self.job_ids() {
                    // Also those for whom it has just hung up.
                    if let Some(entry) = self.jobs.get_mut(&job)
                        && (sessions.contains(&job) || entry.search.wants(&peer))
                    {
                        entry.search.handle_liar(peer, now.instant);
                        self.exchange.remove_source(session(job), peer, now);
                    }
                    self.review(job, now);
                }
                let reason = DisconnectReason::WrongBlocks;
                self.outputs.push_back(Output::Disconnect { peer, reason });
            }
        }
    }

    /// Uses a connected peer as a source, if the job wants it and it can be asked.
    pub(super) fn adopt(&mut self, job: JobId, peer: PeerId, now: Now) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let Some(connected) = self.peers.get(&peer) else { return };
        if !entry.search.wants(&peer) || entry.search.sources().contains(&peer) {
            return;
        }
        if self.scores.is_shunned(&peer, now.instant) && !connected.by_user && !entry.search.names(&peer) {
            entry.search.handle_useless(peer, SHUNNED, now.instant);
            return;
        }
        entry.search.handle_connected(peer, None);
        let Some(protocols) = connected.protocols else { return };
        if protocols.bitswap.is_none() {
            entry.search.handle_useless(peer, "does not say that it speaks Bitswap", now.instant);
            return;
        }
        let gets = entry.search.origin(&peer) == Some(Origin::Swarm);
        let holding = if gets { Holding::Part } else { Holding::Unknown };
        if self.exchange.add_source(session(job), peer, holding, now).is_err() {
            entry.search.handle_useless(peer, "was not taken as a source", now.instant);
            return;
        }
        entry.search.handle_source(peer);
        if protocols.swarm {
            self.ask_swarm_of(job, peer, None, now);
        }
    }

    /// Uses those who are connected already.
    pub(super) fn adopt_connected(&mut self, job: JobId, now: Now) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        if entry.search.ask_connected {
            for peer in self.peers.by_user() {
                entry.search.add(Some(peer), Vec::new(), Origin::Connected, now.instant, &self.config);
            }
        }
        for peer in self.peers.ids() {
            self.adopt(job, peer, now);
        }
    }

    /// Asks all sources that have not been asked lately; with `share`, all of
    /// them, to tell them that.
    pub(super) fn ask_swarm(&mut self, job: JobId, share: Option<Share>, now: Now) {
        let Some(entry) = self.jobs.get(&job) else { return };
        for peer in entry.search.sources().clone() {
            self.ask_swarm_of(job, peer, share, now);
        }
    }

    fn ask_swarm_of(&mut self, job: JobId, peer: PeerId, share: Option<Share>, now: Now) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        if !entry.swarm || !matches!(entry.kind, Kind::Fetch(_)) {
            return;
        }
        // One that has not said yet what it speaks is told of the end all the
        // same: there is no later time for that.
        let speaks = self.peers.get(&peer).map(|peer| peer.protocols);
        let ends = share.is_some_and(|share| share.complete);
        if !speaks.is_some_and(|known| known.map_or(ends, |known| known.swarm)) {
            return;
        }
        let due = entry
            .swarm_asked
            .get(&peer)
            .is_none_or(|asked| now.instant - *asked >= self.config.swarm_interval);
        if due || share.is_some() {
            entry.swarm_asked.insert(peer, now.instant);
            entry.search.expect_answer(peer, now.instant, &self.config);
            let share = share.unwrap_or_else(|| entry.share());
            self.outputs.push_back(Output::AskSwarm { peer, root: entry.root, share });
        }
        self.timers.set_earlier(Timer::AskSwarm(job), now.instant + self.config.swarm_interval);
    }

    pub(super) fn job_ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }
}
