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
//! Of one IP group only a few count among the `k` ([`Crowd`]); those of it that
//! were not asked by then are passed over.
//!
//! With several paths (S/Kademlia) a peer belongs to the path that heard of it
//! first, and is asked on no other, so that a liar leads only one astray.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use peerage_identity::PeerId;

use crate::crowd::Crowd;
use crate::key::{Distance, Key};
use crate::limits::{ADDRS_KEPT_MAX, Config, DISTRUST_AFTER, NAMERS_KEPT};
use crate::message::{PeerInfo, merge};
use crate::reach::{Group, Reach};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Heard,
    Waiting,
    /// It was asked, and takes long.
    Late,
    Answered,
    Failed,
}

impl State {
    /// Asked, and nothing came yet.
    const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Late)
    }

    /// Counts among the closest: it has answered, or may do so in time.
    const fn is_live(self) -> bool {
        matches!(self, Self::Heard | Self::Waiting | Self::Answered)
    }
}

#[derive(Debug)]
struct Candidate {
    info: PeerInfo,
    state: State,
    /// Hops from us: 1 for whom we knew.
    depth: u32,
    path: usize,
    /// Who named it.
    by: Namers,
    /// Of the address by which it answered.
    group: Option<Group>,
}

/// A peer that somebody named, and where it is in the keyspace: finding that out
/// takes longer than all else that is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) key: Key,
    pub(crate) info: PeerInfo,
}

impl From<PeerInfo> for Named {
    fn from(info: PeerInfo) -> Self {
        Self { key: Key::of_peer(&info.peer), info }
    }
}

/// A peer that answered: the first, the second, and so on. A look-up remembers
/// hundreds of peers, and an id is longer than the rest of what it notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Namer(NonZeroU32);

/// Who named a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Namers {
    /// These, at most [`NAMERS_KEPT`].
    Known(Vec<Namer>),
    /// We knew it, or many did.
    Many,
}

impl Namers {
    fn new(by: Option<Namer>) -> Self {
        by.map_or(Self::Many, |by| Self::Known(vec![by]))
    }

    fn add(&mut self, by: Option<Namer>) {
        let Self::Known(namers) = self else { return };
        match by {
            Some(by) if namers.contains(&by) => {}
            Some(by) if namers.len() < NAMERS_KEPT => namers.push(by),
            _ => *self = Self::Many,
        }
    }

    fn known(&self) -> &[Namer] {
        match self {
            Self::Known(namers) => namers,
            Self::Many => &[],
        }
    }
}

/// How it went with the peers that one peer named.
#[derive(Debug, Default)]
struct Repute {
    answered: u32,
    failed: u32,
}

impl Repute {
    /// So far it has named nobody who is there.
    const fn is_bad(&self) -> bool {
        self.answered == 0 && self.failed >= DISTRUST_AFTER
    }
}

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
    max: usize,
    group_max: usize,
    reach: Reach,
    /// Paths that still walk.
    walking: BTreeSet<usize>,
    paths: usize,
    all: BTreeMap<Distance, Candidate>,
    reputes: BTreeMap<Namer, Repute>,
    asked: u32,
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
            max: config.candidates_max,
            group_max: config.closest_group_max,
            reach,
            walking: (0..paths).collect(),
            paths,
            all: BTreeMap::new(),
            reputes: BTreeMap::new(),
            asked: 0,
            answered: 0,
            failed: 0,
        };
        for (index, info) in known.into_iter().enumerate() {
            candidates.insert(info.into(), 1, index % paths, None);
        }
        candidates
    }

    pub(crate) const fn asked(&self) -> u32 {
        self.asked
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
            known.by.add(by);
            // Whoever named it first may have told a wrong address.
            merge(&mut known.info.addrs, info.addrs, 2 * ADDRS_KEPT_MAX);
            return;
        }
        if self.all.len() >= self.max {
            // Whoever was asked is remembered, so that nobody is asked twice;
            // then the number of requests is bounded too.
            let furthest = self.all.iter().rev().find(|(_, other)| other.state == State::Heard);
            match furthest.map(|(&furthest, _)| furthest) {
                Some(furthest) if furthest > distance => drop(self.all.remove(&furthest)),
                _ => return,
            }
        }
        self.all.insert(
            distance,
            Candidate { info, state: State::Heard, depth, path, by: Namers::new(by), group: None },
        );
    }

    /// `peer`, of that IP group, answered and named these. False if it had not been asked.
    pub(crate) fn answered(
        &mut self,
        peer: &PeerId,
        group: Option<Group>,
        closer: impl IntoIterator<Item = Named>,
    ) -> bool {
        let distance = self.distance(peer);
        let Some(candidate) = self.all.get_mut(&distance).filter(|found| found.state.is_open()) else {
            return false;
        };
        let was_late = std::mem::replace(&mut candidate.state, State::Answered) == State::Late;
        candidate.group = group;
        let (depth, path) = (candidate.depth, candidate.path);
        self.answered += 1;
        for by in candidate.by.known() {
            let repute = self.reputes.entry(*by).or_default();
            repute.answered += 1;
            // Others may have named it since it was late.
            repute.failed = repute.failed.saturating_sub(u32::from(was_late));
        }
        let namer = NonZeroU32::new(self.answered).map(Namer);
        for named in closer {
            self.insert(named, depth + 1, path, namer);
        }
        true
    }

    /// `peer` did not answer, or not as it should. Unless it was `tried`, that
    /// says nothing of who named it.
    pub(crate) fn failed(&mut self, peer: &PeerId, tried: bool) {
        let distance = self.distance(peer);
        let Some(candidate) = self.all.get_mut(&distance).filter(|found| found.state.is_open()) else {
            return;
        };
        let was_late = std::mem::replace(&mut candidate.state, State::Failed) == State::Late;
        self.failed += 1;
        if tried && !was_late {
            self.blame(distance);
        }
    }

    /// `peer` takes far longer than others did.
    pub(crate) fn late(&mut self, peer: &PeerId) {
        let distance = self.distance(peer);
        if let Some(candidate) = self.all.get_mut(&distance).filter(|found| found.state == State::Waiting) {
            candidate.state = State::Late;
            self.blame(distance);
        }
    }

    /// Those who named this one named somebody who is not there, as it seems.
    fn blame(&mut self, distance: Distance) {
        let Some(candidate) = self.all.get(&distance) else { return };
        let mut distrusted = false;
        for by in candidate.by.known() {
            let repute = self.reputes.entry(*by).or_default();
            repute.failed += 1;
            distrusted |= repute.is_bad();
        }
        if distrusted {
            let reputes = &self.reputes;
            let bad = |namer: &Namer| reputes.get(namer).is_some_and(Repute::is_bad);
            let believed = |by: &Namers| by.known().is_empty() || !by.known().iter().all(bad);
            self.all.retain(|_, found| found.state != State::Heard || believed(&found.by));
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

    /// One path's next requests; false if it has come to its end.
    fn walk(&mut self, path: usize, ask: &mut Vec<PeerInfo>) -> bool {
        let live = || self.all.values().filter(|found| found.path == path && found.state.is_live());
        if live().take(self.beta).all(|found| found.state == State::Answered) {
            return false;
        }
        let waiting = live().filter(|found| found.state == State::Waiting).count();
        let room = (self.alpha / self.paths).saturating_sub(waiting);
        let heard = self.all.values_mut().filter(|found| found.path == path && found.state == State::Heard);
        let mut more = false;
        for candidate in heard.take(room) {
            candidate.state = State::Waiting;
            ask.push(candidate.info.clone());
            self.asked += 1;
            more = true;
        }
        more || waiting > 0
    }

    /// The rest of the k closest that count; false if they have all answered.
    fn gather(&mut self, ask: &mut Vec<PeerInfo>) -> bool {
        let (mut open, reach) = (false, self.reach);
        let mut crowd = Crowd::new(self.group_max);
        for candidate in self.all.values_mut().filter(|found| found.state.is_live()) {
            if crowd.counted() == self.k {
                break;
            }
            if candidate.state == State::Heard {
                // Where it is said to be; anybody who knows better adds to that.
                if crowd.is_full_of(candidate.info.addrs.iter().map(|addr| reach.group(addr))) {
                    continue;
                }
                candidate.state = State::Waiting;
                ask.push(candidate.info.clone());
                self.asked += 1;
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
        self.nearest_answered().map(|found| found.info.clone()).collect()
    }

    /// The groups of these.
    pub(crate) fn closest_groups(&self) -> Vec<Option<Group>> {
        self.nearest_answered().map(|found| found.group).collect()
    }

    /// Of the closest that has answered: how far it is from the target, and
    /// how many hops from us.
    pub(crate) fn nearest(&self) -> Option<(Distance, u32)> {
        let mut answered = self.all.iter().filter(|(_, found)| found.state == State::Answered);
        answered.next().map(|(distance, found)| (*distance, found.depth))
    }

    /// The path on which a peer was or would be asked.
    #[cfg(test)]
    fn path_of(&self, peer: &PeerId) -> Option<usize> {
        self.all.get(&self.distance(peer)).map(|found| found.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{addr, info, peer};

    fn hear(candidates: &mut Candidates, peer: &PeerId, group: Option<Group>, closer: Vec<PeerInfo>) -> bool {
        candidates.answered(peer, group, closer.into_iter().map(Named::from))
    }

    fn config() -> Config {
        Config { bucket_size: 5, parallelism: 4, resiliency: 2, candidates_max: 30, ..Config::default() }
    }

    /// Where groups do not matter.
    fn lan() -> Reach {
        Reach::new(&Config::new(crate::limits::Network::Lan))
    }

    /// Numbers of peers, closest to the target first.
    fn order(target: &Key, count: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..count).collect();
        all.sort_by_key(|&n| target.distance(&Key::of_peer(&peer(n))));
        all
    }

    fn asked(next: Next) -> Vec<PeerInfo> {
        match next {
            Next::Ask(peers) => peers,
            Next::Settled => panic!("settled"),
        }
    }

    #[test]
    fn walks_until_beta_have_answered_then_gathers_the_k_closest() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[20..30].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        let first = asked(candidates.next());
        assert_eq!(first, near[20..24].iter().map(|&n| info(n)).collect::<Vec<_>>(), "alpha at a time");
        // The first to answer names the very closest.
        let closer = near[..6].iter().map(|&n| info(n)).collect();
        assert!(hear(&mut candidates, &peer(near[20]), None, closer));
        assert!(!hear(&mut candidates, &peer(near[20]), None, Vec::new()), "once");
        assert_eq!(asked(candidates.next()), [info(near[0])], "one place came free");
        candidates.failed(&peer(near[21]), true);
        assert_eq!(asked(candidates.next()), [info(near[1])]);
        hear(&mut candidates, &peer(near[1]), None, Vec::new());
        assert_eq!(asked(candidates.next()), [info(near[2])]);
        candidates.failed(&peer(near[0]), true);
        assert_eq!(asked(candidates.next()), [info(near[3])]);
        hear(&mut candidates, &peer(near[2]), None, Vec::new());
        // The two closest that live have answered: the rest of five at once.
        assert_eq!(asked(candidates.next()), [info(near[4]), info(near[5])]);
        for &n in &near[3..6] {
            hear(&mut candidates, &peer(n), None, Vec::new());
        }
        assert_eq!(candidates.next(), Next::Settled, "though two further ones are still silent");
        assert_eq!(candidates.closest(), near[1..6].iter().map(|&n| info(n)).collect::<Vec<_>>());
        assert_eq!(candidates.nearest().map(|(_, hops)| hops), Some(2));
        assert_eq!((candidates.asked(), candidates.answered_count(), candidates.failed_count()), (10, 6, 2));
    }

    #[test]
    fn ends_when_nobody_is_left() {
        let mut none = Candidates::new(Key::of(b"a"), Vec::new(), lan(), &config());
        assert_eq!(none.next(), Next::Settled);
        let mut all_fail = Candidates::new(Key::of(b"a"), (0..9).map(info).collect(), lan(), &config());
        let mut count = 0;
        while let Next::Ask(peers) = all_fail.next() {
            assert!(!peers.is_empty(), "nothing is waited for that does not come");
            count += peers.len();
            for info in peers {
                all_fail.failed(&info.peer, true);
            }
        }
        assert_eq!((count, all_fail.closest()), (9, vec![]));
    }

    #[test]
    fn on_disjoint_paths_a_peer_belongs_to_whoever_heard_first() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[30..34].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &Config { paths: 2, ..config() });
        assert_eq!(asked(candidates.next()).len(), 4, "two on each path");
        // A liar on the first path names its friends; the second path is not led there.
        hear(&mut candidates, &peer(near[30]), None, near[..3].iter().map(|&n| info(n)).collect());
        hear(&mut candidates, &peer(near[31]), None, near[1..6].iter().map(|&n| info(n)).collect());
        assert!(near[..3].iter().all(|&n| candidates.path_of(&peer(n)) == Some(0)));
        assert!(near[3..6].iter().all(|&n| candidates.path_of(&peer(n)) == Some(1)));
        assert_eq!(asked(candidates.next()), [info(near[0]), info(near[3])], "each its own closest");
    }

    #[test]
    fn a_false_address_does_not_hide_the_right_one() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[30..34].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        candidates.next();
        // The liar answers first; the place that it leaves goes to the nearest.
        let false_addr = |n| PeerInfo { peer: peer(n), addrs: vec![addr(99)] };
        hear(&mut candidates, &peer(near[30]), None, vec![false_addr(near[0]), false_addr(near[1])]);
        assert_eq!(asked(candidates.next()), [false_addr(near[0])]);
        hear(&mut candidates, &peer(near[31]), None, vec![info(near[1]), info(near[1])]);
        let both = PeerInfo { peer: peer(near[1]), addrs: vec![addr(99), addr(near[1])] };
        assert_eq!(asked(candidates.next()), [both]);
    }

    #[test]
    fn whoever_is_near_from_one_network_alone_is_not_all_of_the_closest() {
        let target = Key::of(b"target");
        let near = order(&target, 60);
        let wan = Reach::new(&Config::default());
        let at = |place: usize| {
            // The forty nearest are one owner's.
            let (owner, host) = if place < 40 { (1, place) } else { (place, 1) };
            let addr = format!("/ip4/5.{owner}.0.{host}/tcp/4001").parse().unwrap();
            PeerInfo { peer: peer(near[place]), addrs: vec![addr] }
        };
        let known: Vec<PeerInfo> = (50..54).map(at).collect();
        let mut candidates = Candidates::new(target, known, wan, &config());
        let (mut asked, mut waiting) = (0, Vec::new());
        while let Next::Ask(peers) = candidates.next() {
            waiting.extend(peers);
            let info: PeerInfo = waiting.remove(0);
            asked += 1;
            let place = near.iter().position(|&n| peer(n) == info.peer).unwrap();
            // His name each other; the others name some of everybody.
            let closer = if place < 40 { (0..40).collect::<Vec<_>>() } else { vec![0, 1, 2, 40, 41, 42] };
            let group = wan.group(&info.addrs[0]);
            hear(&mut candidates, &info.peer, group, closer.into_iter().map(at).collect());
        }
        let closest = candidates.closest();
        let honest = closest.iter().filter(|info| near[40..].iter().any(|&n| peer(n) == info.peer)).count();
        assert_eq!(honest, config().bucket_size - config().closest_group_max);
        assert_eq!(candidates.closest_groups().len(), closest.len());
        assert!(asked < 20, "{asked}: those that would not count are not asked");
    }

    #[test]
    fn who_names_only_peers_that_fail_is_not_believed() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[30..32].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        candidates.next();
        hear(&mut candidates, &peer(near[30]), None, near[..10].iter().map(|&n| info(n)).collect());
        // The tenth is named by another too.
        hear(&mut candidates, &peer(near[31]), None, near[9..20].iter().map(|&n| info(n)).collect());
        assert_eq!(asked(candidates.next()).len(), 4);
        for &n in &near[..4] {
            candidates.failed(&peer(n), true);
        }
        let next: Vec<PeerInfo> = near[9..13].iter().map(|&n| info(n)).collect();
        assert_eq!(asked(candidates.next()), next, "the rest of the first one's are forgotten");
    }

    #[test]
    fn liars_that_name_the_same_inventions_are_not_believed() {
        let target = Key::of(b"target");
        let near = order(&target, 60);
        let known: Vec<PeerInfo> = near[50..54].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        asked(candidates.next());
        for liar in &near[50..53] {
            hear(&mut candidates, &peer(*liar), None, near[..20].iter().map(|&n| info(n)).collect());
        }
        hear(&mut candidates, &peer(near[53]), None, near[40..45].iter().map(|&n| info(n)).collect());
        for info in asked(candidates.next()) {
            candidates.failed(&info.peer, true);
        }
        let next = asked(candidates.next());
        assert_eq!(next, near[40..44].iter().map(|&n| info(n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_crowd_of_false_addresses_does_not_hide_the_right_one() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[30..34].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        asked(candidates.next());
        let lies = PeerInfo { peer: peer(near[1]), addrs: (100..116).map(addr).collect() };
        hear(&mut candidates, &peer(near[30]), None, vec![info(near[0]), lies]);
        asked(candidates.next());
        hear(&mut candidates, &peer(near[31]), None, vec![info(near[1])]);
        let place = asked(candidates.next())[0].addrs.iter().position(|known| *known == addr(near[1]));
        assert!(place.is_some_and(|place| place < 8), "{place:?}");
    }

    #[test]
    fn who_names_peers_that_are_not_tried_is_believed() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[30..32].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        candidates.next();
        hear(&mut candidates, &peer(near[30]), None, near[..10].iter().map(|&n| info(n)).collect());
        hear(&mut candidates, &peer(near[31]), None, Vec::new());
        asked(candidates.next());
        for &n in &near[..4] {
            candidates.failed(&peer(n), false);
        }
        let next: Vec<PeerInfo> = near[4..8].iter().map(|&n| info(n)).collect();
        assert_eq!(asked(candidates.next()), next);
    }

    #[test]
    fn who_takes_long_is_not_waited_for_and_may_still_answer() {
        let target = Key::of(b"target");
        let near = order(&target, 40);
        let known: Vec<PeerInfo> = near[..8].iter().map(|&n| info(n)).collect();
        let mut candidates = Candidates::new(target, known, lan(), &config());
        assert_eq!(asked(candidates.next()).len(), 4);
        candidates.late(&peer(near[0]));
        assert_eq!(asked(candidates.next()), [info(near[4])], "its place is free");
        candidates.late(&peer(near[1]));
        hear(&mut candidates, &peer(near[2]), None, Vec::new());
        hear(&mut candidates, &peer(near[3]), None, Vec::new());
        // The two closest of the others have answered; five are wanted.
        let rest: Vec<PeerInfo> = near[5..7].iter().map(|&n| info(n)).collect();
        assert_eq!(asked(candidates.next()), rest);
        hear(&mut candidates, &peer(near[1]), None, vec![info(near[9])]);
        for &n in &near[4..6] {
            hear(&mut candidates, &peer(n), None, Vec::new());
        }
        assert_eq!(candidates.next(), Next::Settled);
        let closest: Vec<PeerInfo> = near[1..6].iter().map(|&n| info(n)).collect();
        assert_eq!(candidates.closest(), closest, "with the one that was only slow");
    }

    #[test]
    fn while_few_have_answered_all_are_waited_for() {
        let target = Key::of(b"target");
        let mut candidates = Candidates::new(target, (0..3).map(info).collect(), lan(), &config());
        assert_eq!(asked(candidates.next()).len(), 3);
        (0..3).for_each(|n| candidates.late(&peer(n)));
        assert_eq!(asked(candidates.next()), [], "nobody else is there");
        hear(&mut candidates, &peer(0), None, Vec::new());
        assert_eq!(asked(candidates.next()), []);
        hear(&mut candidates, &peer(1), None, Vec::new());
        assert_eq!(candidates.next(), Next::Settled, "two are enough");
    }

    proptest! {
        /// Whatever is answered, it ends, within its bounds, and asks nobody twice.
        #[test]
        fn always_ends(
            answers in proptest::collection::vec(
                proptest::option::weighted(0.7, proptest::collection::vec(0u64..300, 0..22)), 400),
            known in proptest::collection::vec(0u64..300, 0..20),
            paths in 1usize..4,
            newest_first in any::<bool>(),
            late in proptest::collection::vec(proptest::bool::weighted(0.3), 400),
        ) {
            let config = Config { paths, ..config() };
            let mut candidates =
                Candidates::new(Key::of(b"target"), known.into_iter().map(info).collect(), lan(), &config);
            let (mut answers, mut late) = (answers.into_iter(), late.into_iter());
            let mut asked = BTreeSet::new();
            let mut waiting: Vec<PeerId> = Vec::new();
            while let Next::Ask(peers) = candidates.next() {
                for info in peers {
                    prop_assert!(asked.insert(info.peer), "asked twice");
                    waiting.push(info.peer);
                }
                prop_assert!(!waiting.is_empty());
                let peer = if newest_first { waiting.pop().unwrap() } else { waiting.remove(0) };
                if late.next() == Some(true) {
                    candidates.late(&peer);
                    if let Next::Ask(peers) = candidates.next() {
                        for info in peers {
                            prop_assert!(asked.insert(info.peer), "asked twice");
                            waiting.push(info.peer);
                        }
                    }
                }
                match answers.next().flatten() {
                    Some(closer) => {
                        hear(&mut candidates, &peer, None, closer.into_iter().map(info).collect());
                    }
                    None => candidates.failed(&peer, true),
                }
                prop_assert!(candidates.all.len() <= config.candidates_max);
            }
            prop_assert!(asked.len() <= config.candidates_max);
            // The k closest of those that did not fail have answered.
            let live = candidates.all.values().filter(|found| found.state.is_live());
            prop_assert!(live.take(5).all(|found| found.state == State::Answered));
        }
    }
}
