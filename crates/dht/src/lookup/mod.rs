//! One look-up: what it wants, what it found, and what to do next.
//!
//! Spec: ipfs/specs `routing/kad-dht.md`, "Content routing", "Peer routing",
//! "Value store". All kinds walk to the same place ([`candidates`]); they
//! differ in what they ask, what they take from answers, and whether they
//! store something at the end.

mod asked;
mod candidate;
mod candidates;
mod named;
mod providers;
mod value;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use peerage_base::Instant;
use peerage_identity::{Multiaddr, PeerId};

pub(crate) use candidates::Candidates;
use candidates::Next;
pub(crate) use named::{Named, Source, Teller};
pub(crate) use providers::Providers;
pub(crate) use value::Found;

use crate::key::{KEY_BITS, Key};
use crate::limits::ADDRS_TOLD_MAX;
use crate::message::{PeerInfo, Record, Request};
use crate::output::{End, Failure, LookupId, Output, Progress, Report, RequestId};
use crate::values::Validators;

/// What a look-up is for, and what it found of that.
#[derive(Debug)]
pub(crate) enum Goal {
    /// The closest peers; told at the end.
    Closest,
    /// The addresses of a peer, and those that were told already.
    Peer { peer: PeerId, told: Vec<Multiaddr> },
    /// Who has a block, as far as that was told.
    Providers(Providers),
    /// The best value; ends early after so many valid ones (0: never).
    Value { quorum: usize, found: Found },
    /// To tell the closest peers that we have a block.
    Provide(PeerInfo),
    /// To store a value at the closest peers.
    Put(Record),
    /// The table's own; nobody is told.
    Refresh,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask these the same; none if there is only to wait.
    Ask(Vec<PeerInfo>, Request),
    /// Give up what was asked, and have these store something.
    Store(Vec<PeerInfo>, Request),
    /// It is over.
    Done(End),
}

#[derive(Debug)]
pub(crate) struct Lookup {
    id: LookupId,
    key: Bytes,
    goal: Goal,
    candidates: Candidates,
    started: Instant,
    pub(crate) in_flight: BTreeSet<RequestId>,
    /// Those of them that take long, some of which may be over.
    pub(crate) late: BTreeSet<RequestId>,
    /// The closest have been found, and store; how the search ended.
    storing: Option<End>,
    stored: u32,
}

impl Lookup {
    pub(crate) const fn new(
        id: LookupId,
        key: Bytes,
        goal: Goal,
        candidates: Candidates,
        now: Instant,
    ) -> Self {
        let in_flight = BTreeSet::new();
        let late = BTreeSet::new();
        Self { id, key, goal, candidates, started: now, in_flight, late, storing: None, stored: 0 }
    }

    /// What its peers are asked.
    fn question(&self) -> Request {
        let key = self.key.clone();
        match self.goal {
            Goal::Providers(_) => Request::GetProviders { key },
            Goal::Value { .. } => Request::GetValue { key },
            // Who stores a value is found as go does, which asks for nodes.
            Goal::Closest | Goal::Peer { .. } | Goal::Provide(_) | Goal::Put(_) | Goal::Refresh => {
                Request::FindNode { key }
            }
        }
    }

    /// What the closest are asked to store.
    fn storage(&self) -> Option<Request> {
        match &self.goal {
            Goal::Provide(local) => {
                Some(Request::AddProvider { key: self.key.clone(), providers: vec![local.clone()] })
            }
            Goal::Put(record) => Some(Request::PutValue { record: record.clone() }),
            _ => None,
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        if let Some(end) = self.storing {
            return match self.in_flight.is_empty() {
                true => Step::Done(end),
                false => Step::Ask(Vec::new(), self.question()),
            };
        }
        if let Goal::Value { quorum, found } = &self.goal
            && *quorum > 0
            && found.count() >= *quorum
        {
            return Step::Done(End::Quorum);
        }
        match self.candidates.next() {
            Next::Ask(peers) => Step::Ask(peers, self.question()),
            Next::Settled => {
                let closest = self.candidates.closest();
                if closest.is_empty() {
                    return Step::Done(End::NoPeers);
                }
                let end = if self.candidates.is_cut_off() { End::Unanswered } else { End::Complete };
                self.store_at(closest, end).unwrap_or(Step::Done(end))
            }
        }
    }

    /// The search took too long: what there is to store goes to the closest
    /// that have answered so far.
    pub(crate) fn out_of_time(&mut self) -> Step {
        let closest = self.candidates.closest();
        let done = Step::Done(End::OutOfTime);
        if closest.is_empty() { done } else { self.store_at(closest, End::OutOfTime).unwrap_or(done) }
    }

    /// Goes on to storing, if there is something to store.
    fn store_at(&mut self, peers: Vec<PeerInfo>, end: End) -> Option<Step> {
        let storage = self.storage()?;
        self.storing = Some(end);
        Some(Step::Store(peers, storage))
    }

    /// A peer answered and named these. None if it had answered before.
    pub(crate) fn answered(&mut self, peer: PeerId, teller: Teller, closer: Vec<Named>) -> Option<Source> {
        // Who is looked for is not asked about itself.
        let sought = match self.goal {
            Goal::Peer { peer, .. } => Some(peer),
            _ => None,
        };
        let closer = closer.into_iter().filter(|named| Some(named.info.peer) != sought);
        self.candidates.answered(peer, teller, closer)
    }

    /// A request to `peer` came to nothing.
    pub(crate) fn failed(&mut self, request: RequestId, peer: &PeerId, failure: Failure) {
        self.in_flight.remove(&request);
        let late = self.late.remove(&request);
        if self.storing.is_none() {
            self.candidates.failed(peer, failure, late);
        }
    }

    pub(crate) fn late(&mut self, peer: &PeerId) {
        if self.storing.is_none() {
            self.candidates.late(peer);
        }
    }

    pub(crate) const fn stored(&mut self) {
        self.stored += 1;
    }

    /// True if this peer is what is looked for.
    pub(crate) fn seeks(&self, peer: &PeerId) -> bool {
        matches!(&self.goal, Goal::Peer { peer: sought, .. } if sought == peer)
    }

    /// Where the peer that is looked for may be.
    pub(crate) fn peer_found(&mut self, addrs: Vec<Multiaddr>, out: &mut VecDeque<Output>) {
        let Goal::Peer { peer, told } = &mut self.goal else { return };
        let news = news(told, addrs, 4 * ADDRS_TOLD_MAX);
        if !news.is_empty() {
            out.push_back(Output::PeerFound { lookup: self.id, info: PeerInfo { peer: *peer, addrs: news } });
        }
    }

    /// Who has the block, and where, by the word of a source or by our own: what
    /// one server says of that is not the end of it, as it may be false.
    pub(crate) fn providers_found(
        &mut self,
        providers: Vec<PeerInfo>,
        by: Option<Source>,
        out: &mut VecDeque<Output>,
    ) {
        let Goal::Providers(told) = &mut self.goal else { return };
        let (found, again) = told.add(providers, by);
        if !found.is_empty() || !again.is_empty() {
            out.push_back(Output::ProvidersFound { lookup: self.id, providers: found, again });
        }
    }

    /// A valid value under the key.
    pub(crate) fn value_found(
        &mut self,
        from: PeerId,
        record: Record,
        validators: &Validators,
        out: &mut VecDeque<Output>,
    ) {
        let Goal::Value { found, .. } = &mut self.goal else { return };
        let value = record.value.clone();
        if record.key == self.key && found.add(from, record, validators) {
            out.push_back(Output::ValueFound { lookup: self.id, value });
        }
    }

    /// Who is to be given the best value, and that value. Of those who have
    /// none only if the closest are known.
    pub(crate) fn corrections(&self, end: End, local: &PeerId) -> Option<(Vec<PeerId>, Record)> {
        let Goal::Value { found, .. } = &self.goal else { return None };
        let closest: Vec<PeerId> = match end {
            End::Complete => self.candidates.closest().into_iter().map(|info| info.peer).collect(),
            _ => Vec::new(),
        };
        let peers = found.to_correct(&closest, local);
        Some((peers, found.best()?.clone()))
    }

    /// Those who named peers of whom none was there.
    pub(crate) fn inventors(&self) -> impl Iterator<Item = PeerId> {
        self.candidates.inventors()
    }

    pub(crate) const fn target(&self) -> &Key {
        self.candidates.target()
    }

    pub(crate) const fn is_internal(&self) -> bool {
        matches!(self.goal, Goal::Refresh)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            asked: self.candidates.asked(),
            answered: self.candidates.answered_count(),
            failed: self.candidates.failed_count(),
            closest_bits: self.candidates.nearest().map_or(KEY_BITS, |(distance, _)| distance.bits()),
            providers: match &self.goal {
                Goal::Providers(told) => told.len(),
                _ => 0,
            },
        }
    }

    pub(crate) fn report(&self, end: End, now: Instant) -> Report {
        Report {
            end,
            progress: self.progress(),
            closest: self.candidates.closest(),
            groups: self.candidates.closest_groups(),
            hops: self.candidates.nearest().map_or(0, |(_, hops)| hops),
            stored: self.stored,
            took: now.since(self.started),
        }
    }
}

/// Of `addrs` those that were not told, which are noted, `max` in all.
fn news(told: &mut Vec<Multiaddr>, mut addrs: Vec<Multiaddr>, max: usize) -> Vec<Multiaddr> {
    addrs.retain(|addr| !told.contains(addr));
    addrs.truncate(max.saturating_sub(told.len()));
    told.extend_from_slice(&addrs);
    addrs
}
