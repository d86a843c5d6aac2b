//! The peers of one look-up by distance, whom to ask next, and when it is
//! over. Spec: ipfs/specs `routing/kad-dht.md`, "Client behaviour"; the
//! termination is go-libp2p-kad-dht's.
//!
//! First each path *walks*: it asks the closest that it knows, `alpha` at a
//! time over all paths, until the `beta` closest that did not fail have
//! answered, or nobody is left. Then the look-up *gathers*: the `k` closest of
//! all paths that were not asked yet are asked at once, and if they name
//! closer ones those too. Peers that fail count no more.
//!
//! A peer that takes far longer than others did is *late*: the look-up goes on
//! as if it had failed, and asks the next one, but what it may yet answer is
//! taken. Only while few have answered it is waited for to the end.
//!
//! Who names peers that all fail is not believed in the others that only it
//! and its like named: anyone can invent ids that are very near, and each costs
//! a timeout.
//!
//! Nobody fills the list with what he makes up: it is shared out among the
//! [`Source`]s of what is in it. When it is full, those go whom one source alone
//! has named, and of these those for whom that source has named most that are
//! nearer. Who was asked stays, and so does whom we knew.
//!
//! Of one IP group only a few count among the `k` ([`Crowd`]); those of it that
//! were not asked by then are passed over.
//!
//! With several paths (S/Kademlia) a peer belongs to the path that heard of it
//! first, and is asked on no other, so that a liar leads only one astray.

use std::collections::{BTreeMap, BTreeSet};

use peerage_identity::PeerId;

use crate::crowd::Crowd;
use crate::key::{Distance, Key};
use crate::limits::Config;
use crate::message::PeerInfo;
use crate::output::Failure;
use crate::reach::{Group, Reach};

use super::asked::Asked;
use super::candidate::{Candidate, State};
use super::named::{Named, Namer, Reputes, Source, Teller};

/// A peer to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask these, and wait for answers.
    Ask(Vec<PeerInfo>),
    /// The k closest have answered, or nobody is left.
    Settled,
}

#[derive(Debug)]
pub(crate) struct Candidates {
    target: Key,
    k: usize,
    alpha: usize,
    beta: usize,
    asked_max: usize,
    max: usize,
    group_max: usize,
    reach: Reach,
    /// Paths that still walk.
    walking: BTreeSet<usize>,
    paths: usize,
    all: BTreeMap<Distance, Candidate>,
    reputes: Reputes,
    asked: Asked,
    answered: u32,
    failed: u32,
}

impl Candidates {
    /// Begins with the peers that we know, dealt to the paths in turn.
    pub(crate) fn new(target: Key, known: Vec<PeerInfo>, reach: Reach, config: &Config) -> Self {
        let paths = config.paths.max(1);
        let mut candidates = Self {
            target,
            k: config.bucket_size,
            alpha: config.parallelism.max(paths),
            beta: config.resiliency,
            asked_max: config.asked_max,
            max: config.candidates_max,
            group_max: config.closest_group_max,
            reach,
            walking: (0..paths).collect(),
            paths,
            all: BTreeMap::new(),
            reputes: Reputes::default(),
            asked: Asked::default(),
            answered: 0,
            failed: 0,
        };
        for (index, info) in known.into_iter().enumerate() {
            candidates.insert(info.into(), 1, index % paths, None);
        }
        candidates
    }

    pub(crate) const fn target(&self) -> &Key {
        &self.target
    }

    pub(crate) const fn asked(&self) -> u32 {
        self.asked.count
    }

    /// None of those that were asked last has answered: our own network may be
    /// gone.
    pub(crate) const fn is_cut_off(&self) -> bool {
        self.asked.is_cut_off()
    }

    pub(crate) const fn answered_count(&self) -> u32 {
        self.answered
    }

    pub(crate) const fn failed_count(&self) -> u32 {
        self.failed
    }

    fn distance(&self, peer: &PeerId) -> Distance {
        self.target.distance(&Key::of_peer(peer))
    }

    fn insert(&mut self, named: Named, depth: u32, path: usize, by: Option<Namer>) {
        let (distance, info) = (self.target.distance(&named.key), named.info);
        if let Some(known) = self.all.get_mut(&distance) {
            known.named_again(info.addrs, by, self.reach);
            return;
        }
        self.all.insert(distance, Candidate::new(&info, depth, path, by));
    }

    /// `peer` answered and named these. Whose word that is; none if it had not
    /// been asked.
    pub(crate) fn answered(
        &mut self,
        peer: PeerId,
        teller: Teller,
        closer: impl IntoIterator<Item = Named>,
    ) -> Option<Source> {
        let distance = self.distance(&peer);
        let candidate = self.all.get_mut(&distance).filter(|found| found.is_open())?;
        candidate.state = State::Answered;
        candidate.group = teller.group;
        let (depth, path) = (candidate.depth, candidate.path);
        self.answered += 1;
        self.asked.answered(candidate.turn);
        let namer = self.reputes.answered(peer, teller, &candidate.by);
        for named in closer {
            self.insert(named, depth + 1, path, Some(namer));
        }
        self.shed();
        self.reputes.source(namer)
    }

    /// Forgets the worst of those that were only named, if they are too many.
    fn shed(&mut self) {
        let heard = || self.all.iter().filter(|(_, found)| found.is_new());
        let surplus = heard().count().saturating_sub(self.max);
        if surplus == 0 {
            return;
        }
        let mut named: BTreeMap<Source, u32> = BTreeMap::new();
        let mut rumours: Vec<(bool, u32, Distance)> = Vec::new();
        for (distance, found) in heard() {
            let sources = self.reputes.sources(&found.by);
            let places = sources.iter().map(|source| {
                let place = named.entry(*source).or_default();
                *place += 1;
                *place
            });
            // None if we knew it.
            if let Some(place) = places.min() {
                rumours.push((sources.len() == 1, place, *distance));
            }
        }
        rumours.sort_unstable_by(|a, b| b.cmp(a));
        for (.., distance) in rumours.into_iter().take(surplus) {
            self.all.remove(&distance);
        }
    }

    /// A request to `peer` was not answered, or not as it should; `late` if it was
    /// not waited for. Unless it was tried, that says nothing of who named it.
    pub(crate) fn failed(&mut self, peer: &PeerId, failure: Failure, late: bool) {
        let distance = self.distance(peer);
        let Some(candidate) = self.all.get_mut(&distance).filter(|found| found.is_open()) else {
            return;
        };
        self.failed += 1;
        if candidate.failed(failure, late) && failure != Failure::NotTried {
            self.blame(distance);
        }
        self.try_again(distance);
    }

    /// `peer` takes far longer than others did.
    pub(crate) fn late(&mut self, peer: &PeerId) {
        let distance = self.distance(peer);
        if let Some(candidate) = self.all.get_mut(&distance).filter(|found| found.state == State::Waiting) {
            candidate.state = State::Late;
            self.blame(distance);
            self.try_again(distance);
        }
    }

    fn try_again(&mut self, distance: Distance) {
        self.all.get_mut(&distance).into_iter().for_each(Candidate::try_again);
    }

    /// Those who named this one named somebody who is not there, as it seems.
    fn blame(&mut self, distance: Distance) {
        let Some(candidate) = self.all.get(&distance) else { return };
        if self.reputes.blame(&candidate.by) {
            let reputes = &self.reputes;
            self.all.retain(|_, found| {
                let kept = found.state != State::Heard || reputes.believes(&found.by);
                if !kept && !found.is_new() {
                    found.give_up();
                }
                kept || !found.is_new()
            });
        }
    }

    /// Whom to ask now.
    pub(crate) fn next(&mut self) -> Next {
        let mut ask = Vec::new();
        for path in 0..self.paths {
            if self.walking.contains(&path) && !self.walk(path, &mut ask) {
                self.walking.remove(&path);
            }
        }
        if self.walking.is_empty() && !self.gather(&mut ask) {
            let late = self.all.values().any(|found| found.state == State::Late);
            // Too few to go on without the others: our own network may be slow.
            if !late || self.answered as usize >= self.beta {
                return Next::Settled;
            }
        }
        Next::Ask(ask)
    }

    /// Requests that are left.
    const fn may_ask(&self) -> usize {
        self.asked_max.saturating_sub(self.asked.count as usize)
    }

    /// One path's next requests; false if it has come to its end.
    fn walk(&mut self, path: usize, ask: &mut Vec<PeerInfo>) -> bool {
        let live = || self.all.values().filter(|found| found.path == path && found.state.is_live());
        if live().take(self.beta).all(|found| found.state == State::Answered) {
            return false;
        }
        let waiting = live().filter(|found| found.state == State::Waiting).count();
        let room = (self.alpha / self.paths).saturating_sub(waiting).min(self.may_ask());
        let heard = self.all.values_mut().filter(|found| found.path == path && found.state == State::Heard);
        let mut more = false;
        for candidate in heard.take(room) {
            ask.push(self.asked.ask(candidate, &self.reputes));
            more = true;
        }
        more || waiting > 0
    }

    /// The rest of the k closest that count; false if they have all answered.
    fn gather(&mut self, ask: &mut Vec<PeerInfo>) -> bool {
        let (mut open, mut may_ask, reach) = (false, self.may_ask(), self.reach);
        let mut crowd = Crowd::new(self.group_max);
        for candidate in self.all.values_mut().filter(|found| found.state.is_live()) {
            if crowd.counted() == self.k {
                break;
            }
            if candidate.state == State::Heard {
                // Where it is said to be; anybody who knows better adds to that.
                if may_ask == 0 || crowd.is_full_of(candidate.addrs.iter().map(|addr| reach.group(addr))) {
                    continue;
                }
                ask.push(self.asked.ask(candidate, &self.reputes));
                may_ask -= 1;
            }
            open |= candidate.state != State::Answered;
            crowd.add(candidate.group);
        }
        open
    }

    /// Those that have answered, nearest first, until k of them count.
    fn nearest_answered(&self) -> impl Iterator<Item = &Candidate> {
        let mut crowd = Crowd::new(self.group_max);
        let answered = self.all.values().filter(|found| found.state == State::Answered);
        answered.take_while(move |found| {
            let more = crowd.counted() < self.k;
            crowd.add(found.group);
            more
        })
    }

    /// The closest that have answered, nearest first.
    pub(crate) fn closest(&self) -> Vec<PeerInfo> {
        self.nearest_answered().map(Candidate::info).collect()
    }

    /// The groups of these.
    pub(crate) fn closest_groups(&self) -> Vec<Option<Group>> {
        self.nearest_answered().map(|found| found.group).collect()
    }

    /// Those who named peers of whom none was there.
    pub(crate) fn inventors(&self) -> impl Iterator<Item = PeerId> {
        self.reputes.inventors()
    }

    /// Of the closest that has answered: how far it is from the target, and
    /// how many hops from us.
    pub(crate) fn nearest(&self) -> Option<(Distance, u32)> {
        let mut answered = self.all.iter().filter(|(_, found)| found.state == State::Answered);
        answered.next().map(|(distance, found)| (*distance, found.depth))
    }

    /// How often it is held against a peer whom it named.
    #[cfg(test)]
    fn blamed(&self, peer: &PeerId) -> u32 {
        self.reputes.blamed(peer)
    }

    /// The path on which a peer was or would be asked.
    #[cfg(test)]
    fn path_of(&self, peer: &PeerId) -> Option<usize> {
        self.all.get(&self.distance(peer)).map(|found| found.path)
    }
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
