//! Where a job looks for its blocks, whom it has found, and when it gives up.

mod candidate;
mod failure;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_base::{Instant, Rng};
use peerage_content::Cid;
use peerage_identity::{Multiaddr, PeerId};

use crate::addresses::Way;
use crate::dials::DialFailure;
use crate::error::JobError;
use crate::limits::Config;
use crate::output::DialId;
use crate::routing::RouterReport;
pub(crate) use candidate::Origin;
use candidate::{Candidate, CandidateState};

/// Why a peer of [`Scores`](crate::score::Scores) is of no use.
pub(crate) const SHUNNED: &str = "sent wrong blocks or messages a while ago";

/// Where to look, as the user said it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Addresses from the link and from the command line. Those of one peer
    /// are tried together.
    pub hints: Vec<Multiaddr>,
    /// Peers that the user connected to himself may be asked, too.
    pub ask_connected: bool,
    /// Others may learn that it is looked for: in the DHTs, on the local
    /// network, of routers. False for what is found only by its link.
    pub find: bool,
    /// The CID that is looked for in place of the job's root: that of the link,
    /// when the root lies inside of it.
    pub anchor: Option<Cid>,
    /// How long to wait for a source, instead of giving up when all are known
    /// not to be there.
    pub wait: Option<Duration>,
}

/// What a review of the search asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again at that instant, if anything is to be expected then.
    Wait(Option<Instant>),
    /// Nothing is left to try.
    GiveUp(JobError),
}

/// The search of one job.
#[derive(Debug)]
pub(crate) struct Search {
    candidates: Vec<Candidate>,
    sources: BTreeSet<PeerId>,
    without: BTreeMap<PeerId, &'static str>,
    liars: BTreeSet<PeerId>,
    rng: Rng,
    wait: Option<Duration>,
    pub(crate) ask_connected: bool,
    pub(crate) find: bool,
    pub(crate) anchor: Option<Cid>,
    /// Providers that were found and cannot be dialled, by the best of their ways.
    ways: BTreeMap<PeerId, Option<Way>>,
    /// What came of asking the routers.
    routers: Option<RouterReport>,
    /// Until when someone on the local network may still make himself known.
    near_until: Instant,
    /// Since when no source could give anything that is wanted.
    fruitless_since: Option<Instant>,
    received_any: bool,
    /// A source that was not known to be of no use is gone.
    lost_any: bool,
    /// When something last came, or began to be needed. Who connects again and
    /// again and gives nothing does not change it.
    last_progress: Instant,
    /// Since when something is arriving without a wanted block coming of it.
    arriving_since: Option<Instant>,
    /// Answers about the root that may still name someone, and how long they are waited for.
    answers: BTreeMap<PeerId, u32>,
    answers_until: Instant,
}

impl Search {
    /// With `near`, the local network is listened to.
    pub(crate) fn new(
        sources: Sources,
        local: PeerId,
        near: bool,
        seed: u64,
        now: Instant,
        config: &Config,
    ) -> Self {
        // A link that is found only by its hints has someone on it to wait for, too.
        let near = near && (sources.find || !sources.hints.is_empty());
        let mut search = Self {
            candidates: Vec::new(),
            sources: BTreeSet::new(),
            without: BTreeMap::new(),
            liars: BTreeSet::new(),
            rng: Rng::new(seed),
            wait: sources.wait,
            ask_connected: sources.ask_connected,
            find: sources.find,
            anchor: sources.anchor,
            ways: BTreeMap::new(),
            routers: None,
            near_until: if near { now + config.near_silence } else { now },
            fruitless_since: Some(now),
            received_any: false,
            lost_any: false,
            last_progress: now,
            arriving_since: None,
            answers: BTreeMap::new(),
            answers_until: now,
        };
        for hint in sources.hints {
            let peer = hint.peer_id();
            search.add(peer, vec![hint], Origin::Hint, now, config);
            if peer == Some(local) {
                search.handle_useless(local, "is this peer itself", now);
            }
        }
        search
    }

    /// A peer that may have the blocks. Addresses that another peer named take
    /// the place of those that one named before.
    pub(crate) fn add(
        &mut self,
        peer: Option<PeerId>,
        mut addrs: Vec<Multiaddr>,
        origin: Origin,
        now: Instant,
        config: &Config,
    ) {
        if origin == Origin::Routing
            && let Some(peer) = peer
        {
            self.note_ways(peer, &addrs, config);
            addrs.retain(|addr| Way::of(addr) == Way::Tcp);
        }
        let known = self.candidates.iter_mut().find(|known| peer.is_some() && known.peer == peer);
        if let Some(known) = known {
            return known.learn(addrs, origin, now, config);
        }
        if origin == Origin::Hint {
            return self.candidates.push(Candidate::new(peer, addrs, origin, now, config));
        }
        if self.candidates.len() >= config.candidates {
            // Who cannot be reached makes room for those that look-ups find.
            // One getter is not to have us dial whomever it likes for ever.
            let spare = |c: &Candidate| c.origin != Origin::Hint && (c.is_lost() || c.is_nowhere());
            let lost = self.candidates.iter().position(spare);
            let Some(lost) = lost.filter(|_| origin != Origin::Swarm) else { return };
            self.candidates.remove(lost);
        }
        // Anywhere behind the hinted ones, so that nobody can put a crowd in
        // front of the others by being the first to answer.
        let first = self.candidates.iter().take_while(|c| c.origin == Origin::Hint).count();
        let places = (self.candidates.len() - first + 1) as u64;
        let place = first + usize::try_from(self.rng.below(places)).unwrap_or(0);
        self.candidates.insert(place, Candidate::new(peer, addrs, origin, now, config));
    }

    /// One more server named a provider.
    pub(crate) fn handle_named_again(&mut self, peer: &PeerId) {
        for candidate in self.candidates.iter_mut().filter(|c| c.peer.as_ref() == Some(peer)) {
            candidate.named = candidate.named.saturating_add(1);
        }
    }

    /// Remembers of a provider that cannot be dialled why that is.
    fn note_ways(&mut self, peer: PeerId, addrs: &[Multiaddr], config: &Config) {
        let best = addrs.iter().map(Way::of).min();
        let room = self.ways.len() < config.candidates;
        match self.ways.get_mut(&peer) {
            Some(known) => *known = [*known, best].into_iter().flatten().min(),
            None if room => drop(self.ways.insert(peer, best)),
            None => {}
        }
    }

    /// True if the link or the user named this peer.
    pub(crate) fn names(&self, peer: &PeerId) -> bool {
        self.candidates.iter().any(|c| c.origin == Origin::Hint && c.peer.as_ref() == Some(peer))
    }

    /// Providers that were named, and that nobody has told how to reach.
    pub(crate) fn whereabouts_unknown(&self) -> impl Iterator<Item = PeerId> {
        let lost = |c: &&Candidate| c.origin == Origin::Routing && (c.is_nowhere() || c.is_lost());
        self.candidates.iter().filter(lost).filter_map(|c| c.peer)
    }

    /// Peers that were learned in this way and may be of use.
    pub(crate) fn learned(&self, origin: Origin) -> usize {
        self.candidates.iter().filter(|c| c.origin == origin && c.state != CandidateState::Hopeless).count()
    }

    /// By which way a peer was first heard of.
    pub(crate) fn origin(&self, peer: &PeerId) -> Option<Origin> {
        self.candidates.iter().find(|c| c.peer.as_ref() == Some(peer)).map(|c| c.origin)
    }

    /// True if this job wants to use `peer`.
    pub(crate) fn wants(&self, peer: &PeerId) -> bool {
        !self.liars.contains(peer) && self.candidates.iter().any(|c| c.peer.as_ref() == Some(peer))
    }

    /// True if `peer` gives this job something, or may be about to.
    pub(crate) fn uses(&self, peer: &PeerId) -> bool {
        let connected = |c: &Candidate| c.state == CandidateState::Connected && c.peer.as_ref() == Some(peer);
        self.sources.contains(peer)
            || (!self.without.contains_key(peer) && self.candidates.iter().any(connected))
    }

    pub(crate) fn sources(&self) -> &BTreeSet<PeerId> {
        &self.sources
    }

    /// True if no source can give anything that is wanted, as far as is known.
    pub(crate) fn is_fruitless(&self) -> bool {
        self.fruitless_since.is_some()
    }

    /// Until when there is no reason to look for more sources: somebody has
    /// what is wanted, and it comes.
    pub(crate) fn served_until(&self, config: &Config) -> Option<Instant> {
        (self.received_any && !self.is_fruitless()).then(|| self.last_progress + config.quiet)
    }

    /// Sources are needed, and were not until now.
    pub(crate) fn handle_needed(&mut self, now: Instant) {
        self.last_progress = now;
        if let Some(since) = &mut self.fruitless_since {
            *since = now;
        }
    }

    /// Candidates that are connected by other ways need no dial.
    pub(crate) fn mark_connected(&mut self, connected: impl Fn(&PeerId) -> bool) {
        for candidate in &mut self.candidates {
            if candidate.state == CandidateState::Idle && candidate.peer.as_ref().is_some_and(&connected) {
                candidate.state = CandidateState::Connected;
            }
        }
    }

    /// A connection stands. `dial` is the attempt of ours that led to it, if one did.
    pub(crate) fn handle_connected(&mut self, peer: PeerId, dial: Option<DialId>) {
        let lied = self.liars.contains(&peer);
        for candidate in &mut self.candidates {
            let ours = matches!((candidate.state, dial), (CandidateState::Dialing(a), Some(b)) if a == b);
            if ours || candidate.peer == Some(peer) {
                candidate.peer = Some(peer);
                if lied {
                    candidate.give_up();
                } else {
                    candidate.state = CandidateState::Connected;
                }
            }
        }
    }

    /// The peer can be asked.
    pub(crate) fn handle_source(&mut self, peer: PeerId) {
        self.sources.insert(peer);
        self.without.remove(&peer);
        self.fruitless_since = None;
    }

    /// The peer is of no use to this job, and why.
    pub(crate) fn handle_useless(&mut self, peer: PeerId, why: &'static str, now: Instant) {
        self.without.insert(peer, why);
        self.lose(&peer, now);
        for candidate in self.candidates.iter_mut().filter(|c| c.peer == Some(peer)) {
            candidate.give_up();
        }
    }

    /// The peer sent wrong blocks and is not asked again.
    pub(crate) fn handle_liar(&mut self, peer: PeerId, now: Instant) {
        self.liars.insert(peer);
        self.handle_useless(peer, "sent wrong blocks", now);
    }

    /// Every source says that it has nothing of what is wanted.
    pub(crate) fn handle_stalled(&mut self, now: Instant) {
        self.fruitless_since.get_or_insert(now);
        for peer in &self.sources {
            self.without.insert(*peer, "does not have it");
        }
    }

    /// Something is arriving from a source: it is not silent, as long as that
    /// may be one message.
    pub(crate) fn handle_arriving(&mut self, peer: &PeerId, now: Instant, config: &Config) {
        if self.sources.contains(peer) {
            let since = *self.arriving_since.get_or_insert(now);
            self.last_progress = self.last_progress.max(now.min(since + config.arriving_max));
        }
    }

    /// A wanted block has come, maybe from a peer that is none of our sources.
    pub(crate) fn handle_progress(&mut self, peer: &PeerId, now: Instant) {
        self.received_any = true;
        self.last_progress = now;
        self.arriving_since = None;
        self.without.remove(peer);
        for candidate in self.candidates.iter_mut().filter(|c| c.peer.as_ref() == Some(peer)) {
            candidate.failures = 0;
        }
        if !self.sources.is_empty() {
            self.fruitless_since = None;
        }
    }

    /// A source is asked about the root, and may name others.
    pub(crate) fn expect_answer(&mut self, peer: PeerId, now: Instant, config: &Config) {
        *self.answers.entry(peer).or_default() += 1;
        self.answers_until = now + config.swarm_answer;
    }

    /// A source has answered about the root. False if none was expected of it.
    pub(crate) fn handle_answer(&mut self, peer: &PeerId) -> bool {
        let Some(left) = self.answers.get_mut(peer) else { return false };
        *left -= 1;
        if *left == 0 {
            self.answers.remove(peer);
        }
        true
    }

    pub(crate) fn handle_disconnected(&mut self, peer: &PeerId, now: Instant, config: &Config) {
        self.lost_any |= self.sources.contains(peer) && !self.without.contains_key(peer);
        self.lose(peer, now);
        for candidate in self.candidates.iter_mut().filter(|c| c.peer.as_ref() == Some(peer)) {
            if candidate.state == CandidateState::Connected {
                candidate.fail("the connection was lost", now, config);
            }
        }
    }

    pub(crate) fn handle_dial_failed(
        &mut self,
        dial: DialId,
        failure: DialFailure,
        why: &str,
        now: Instant,
        config: &Config,
    ) {
        for candidate in self.candidates.iter_mut().filter(|c| c.state == CandidateState::Dialing(dial)) {
            match failure {
                DialFailure::NoRoom => candidate.postpone(now + config.redial_min),
                DialFailure::Unreachable | DialFailure::Dropped => candidate.fail(why, now, config),
            }
        }
    }

    fn lose(&mut self, peer: &PeerId, now: Instant) {
        if self.sources.remove(peer) && self.sources.is_empty() {
            self.fruitless_since.get_or_insert(now);
        }
    }

    fn dialing(&self) -> usize {
        self.candidates.iter().filter(|c| matches!(c.state, CandidateState::Dialing(_))).count()
    }

    /// Candidates to dial now, as (whom, where, and which of that the user
    /// said); `dial` names each attempt. `score` says who goes before another, or
    /// until when one is not dialled unless the user named it.
    pub(crate) fn dial_due(
        &mut self,
        now: Instant,
        config: &Config,
        score: impl Fn(&PeerId) -> Result<i32, Instant>,
        mut dial: impl FnMut(Option<PeerId>, &[Multiaddr], &[Multiaddr]) -> DialId,
    ) {
        let room = config.dials_per_job.saturating_sub(self.dialing());
        if room == 0 {
            return;
        }
        let mut due = Vec::new();
        for candidate in self.candidates.iter_mut().filter(|c| c.is_dialable() && c.next_try <= now) {
            let score = candidate.peer.map_or(Ok(0), |peer| score(&peer));
            let hinted = candidate.origin == Origin::Hint;
            if let (Err(until), false, Some(peer)) = (score, hinted, candidate.peer) {
                candidate.postpone(until);
                self.without.insert(peer, SHUNNED);
                continue;
            }
            if let (Ok(_), Some(peer)) = (score, candidate.peer)
                && self.without.get(&peer) == Some(&SHUNNED)
            {
                self.without.remove(&peer);
            }
            let score = score.unwrap_or(i32::MIN);
            let doubted = candidate.failures > candidate.named;
            let rank = (doubted, !hinted, Reverse((score, candidate.named)));
            due.push((rank, candidate));
        }
        // Who was not tried yet goes before who was, or a crowd that is not
        // there would take the time of those that are; and whom several servers
        // have named before whom one may have invented, tried or not.
        due.sort_by_key(|(rank, _)| *rank);
        for (_, candidate) in due.into_iter().take(room) {
            let addrs: Vec<_> = candidate.addrs().cloned().collect();
            let dial = dial(candidate.peer, &addrs, candidate.hints());
            candidate.state = CandidateState::Dialing(dial);
        }
    }

    /// Whether to go on, given what is known at `now`. The end of a dial is a
    /// reason to look again anyway.
    ///
    /// `looking`: look-ups for it are under way.
    pub(crate) fn review(&self, looking: bool, now: Instant, config: &Config) -> Verdict {
        let redial = self.candidates.iter().filter(|c| c.is_dialable()).map(|c| c.next_try).min();
        let redial = redial.filter(|_| self.dialing() < config.dials_per_job);
        let silent = self.last_progress + config.silence.max(self.wait.unwrap_or_default());
        if now >= silent {
            return Verdict::GiveUp(self.silence());
        }
        let Some(since) = self.fruitless_since else { return wait_until(redial, silent) };
        let shunned = |c: &Candidate| c.peer.is_some_and(|peer| self.without.get(&peer) == Some(&SHUNNED));
        let undecided = self.candidates.iter().any(|candidate| match candidate.state {
            CandidateState::Dialing(_) => true,
            // Connected, and neither a source nor known to be useless.
            CandidateState::Connected => candidate
                .peer
                .is_some_and(|peer| !self.sources.contains(&peer) && !self.without.contains_key(&peer)),
            CandidateState::Idle => {
                candidate.is_dialable() && candidate.last_error.is_none() && !shunned(candidate)
            }
            CandidateState::Hopeless => false,
        });
        // Liars are not waited for: nobody else was found while they lied.
        let hopeless = !self.liars.is_empty()
            && self.sources.is_empty()
            && self.candidates.iter().all(|c| match c.state {
                CandidateState::Hopeless => true,
                CandidateState::Idle => shunned(c),
                CandidateState::Dialing(_) | CandidateState::Connected => false,
            });
        if hopeless && !looking {
            return Verdict::GiveUp(self.failure());
        }
        if undecided || looking {
            return wait_until(redial, silent);
        }
        let patience = match (self.wait, self.received_any || self.lost_any) {
            (Some(wait), _) => wait,
            (None, true) => config.search_after_loss,
            (None, false) => Duration::ZERO,
        };
        let mut give_up = (since + patience).max(self.near_until);
        if !self.answers.is_empty() {
            give_up = give_up.max(self.answers_until);
        }
        if now >= give_up { Verdict::GiveUp(self.failure()) } else { wait_until(redial, give_up.min(silent)) }
    }

    /// The routers have been asked. What one of them failed for first is kept:
    /// that it is then left alone for a while says less.
    pub(crate) fn handle_routers(&mut self, report: RouterReport) {
        let failed_before = self.routers.as_ref().is_some_and(|known| known.answered() == 0);
        if report.answered() > 0 || !failed_before {
            self.routers = Some(report);
        }
    }
}

fn wait_until(redial: Option<Instant>, end: Instant) -> Verdict {
    Verdict::Wait(Some(redial.map_or(end, |redial| redial.min(end))))
}
