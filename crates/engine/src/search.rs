//! Where a job looks for its blocks, whom it has found, and when it gives up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_base::Instant;
use peerage_identity::{Multiaddr, PeerId};

use crate::error::{JobError, NotFound};
use crate::limits::Config;
use crate::output::DialId;

/// Where to look, as the user said it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Addresses from the link and from the command line. Those of one peer
    /// are tried together.
    pub hints: Vec<Multiaddr>,
    /// Peers that the user connected to himself may be asked, too.
    pub ask_connected: bool,
    /// How long to wait for a source, instead of giving up when all are known
    /// not to be there.
    pub wait: Option<Duration>,
}

/// A peer, or an address that does not say whose it is, that may have the blocks.
#[derive(Debug)]
struct Candidate {
    peer: Option<PeerId>,
    addrs: Vec<Multiaddr>,
    state: CandidateState,
    failures: u32,
    next_try: Instant,
    last_error: Option<String>,
    /// Named by the link or the user, not learned from another peer.
    hinted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateState {
    Idle,
    Dialing(DialId),
    /// Connected; what it speaks is not known yet, or it is a source.
    Connected,
    /// Never dialled again by this job.
    Hopeless,
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
    wait: Option<Duration>,
    pub(crate) ask_connected: bool,
    /// Since when no source could give anything that is wanted.
    fruitless_since: Option<Instant>,
    received_any: bool,
}

impl Search {
    pub(crate) fn new(sources: Sources, now: Instant) -> Self {
        let mut search = Self {
            candidates: Vec::new(),
            sources: BTreeSet::new(),
            without: BTreeMap::new(),
            liars: BTreeSet::new(),
            wait: sources.wait,
            ask_connected: sources.ask_connected,
            fruitless_since: Some(now),
            received_any: false,
        };
        for hint in sources.hints {
            let peer = hint.peer_id();
            search.add(peer, vec![hint], now, true);
        }
        search
    }

    /// A peer that may have the blocks; true if it is new.
    pub(crate) fn add(&mut self, peer: Option<PeerId>, addrs: Vec<Multiaddr>, now: Instant, hinted: bool) -> bool {
        let known = self.candidates.iter_mut().find(|known| peer.is_some() && known.peer == peer);
        if let Some(known) = known {
            for addr in addrs {
                if !known.addrs.contains(&addr) {
                    known.addrs.push(addr);
                }
            }
            return false;
        }
        let state = CandidateState::Idle;
        self.candidates.push(Candidate { peer, addrs, state, failures: 0, next_try: now, last_error: None, hinted });
        true
    }

    /// Peers that were learned from others, dialled or not.
    pub(crate) fn learned(&self) -> usize {
        self.candidates.iter().filter(|c| !c.hinted && c.state != CandidateState::Hopeless).count()
    }

    /// True if this job wants to use `peer`.
    pub(crate) fn wants(&self, peer: &PeerId) -> bool {
        !self.liars.contains(peer) && self.candidates.iter().any(|c| c.peer.as_ref() == Some(peer))
    }

    pub(crate) fn sources(&self) -> &BTreeSet<PeerId> {
        &self.sources
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
        for candidate in &mut self.candidates {
            let ours = matches!((candidate.state, dial), (CandidateState::Dialing(a), Some(b)) if a == b);
            if ours || candidate.peer == Some(peer) {
                candidate.peer = Some(peer);
                candidate.state = CandidateState::Connected;
                candidate.failures = 0;
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
            candidate.state = CandidateState::Hopeless;
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

    /// A wanted block has come.
    pub(crate) fn handle_progress(&mut self) {
        self.received_any = true;
        if !self.sources.is_empty() {
            self.fruitless_since = None;
        }
    }

    pub(crate) fn handle_disconnected(&mut self, peer: &PeerId, now: Instant, config: &Config) {
        self.lose(peer, now);
        for candidate in self.candidates.iter_mut().filter(|c| c.peer.as_ref() == Some(peer)) {
            if candidate.state == CandidateState::Connected {
                candidate.state = CandidateState::Idle;
                candidate.next_try = now + config.redial_min;
                candidate.last_error = Some("the connection was lost".to_owned());
            }
        }
    }

    pub(crate) fn handle_dial_failed(&mut self, dial: DialId, why: &str, now: Instant, config: &Config) {
        for candidate in self.candidates.iter_mut().filter(|c| c.state == CandidateState::Dialing(dial)) {
            let pause = config.redial_min.saturating_mul(1 << candidate.failures.min(16)).min(config.redial_max);
            candidate.state = CandidateState::Idle;
            candidate.failures += 1;
            candidate.next_try = now + pause;
            candidate.last_error = Some(why.to_owned());
        }
    }

    fn lose(&mut self, peer: &PeerId, now: Instant) {
        if self.sources.remove(peer) && self.sources.is_empty() {
            self.fruitless_since.get_or_insert(now);
        }
    }

    /// Candidates to dial now, as (whom, where); `dial` names each attempt.
    pub(crate) fn dial_due(
        &mut self,
        now: Instant,
        config: &Config,
        mut dial: impl FnMut(Option<PeerId>, &[Multiaddr]) -> DialId,
    ) {
        let mut dialing = self.candidates.iter().filter(|c| matches!(c.state, CandidateState::Dialing(_))).count();
        for candidate in &mut self.candidates {
            if dialing >= config.dials_per_job {
                break;
            }
            if candidate.state == CandidateState::Idle && candidate.next_try <= now {
                candidate.state = CandidateState::Dialing(dial(candidate.peer, &candidate.addrs));
                dialing += 1;
            }
        }
    }

    /// Whether to go on, given what is known at `now`.
    pub(crate) fn review(&self, now: Instant, config: &Config) -> Verdict {
        let redial = self.candidates.iter().filter(|c| c.state == CandidateState::Idle).map(|c| c.next_try).min();
        let Some(since) = self.fruitless_since else { return Verdict::Wait(redial) };
        let undecided = self.candidates.iter().any(|candidate| match candidate.state {
            CandidateState::Dialing(_) => true,
            // Connected, and neither a source nor known to be useless.
            CandidateState::Connected => {
                candidate.peer.is_some_and(|peer| !self.sources.contains(&peer) && !self.without.contains_key(&peer))
            }
            CandidateState::Idle => candidate.failures == 0 && candidate.last_error.is_none(),
            CandidateState::Hopeless => false,
        });
        let patience = match (self.wait, self.received_any) {
            (Some(wait), _) => wait,
            (None, true) => config.search_after_loss,
            (None, false) => Duration::ZERO,
        };
        let give_up = since + patience;
        // Liars are not waited for: nobody else was found while they lied.
        let hopeless = !self.liars.is_empty()
            && self.sources.is_empty()
            && self.candidates.iter().all(|c| c.state == CandidateState::Hopeless);
        if undecided && !hopeless {
            return Verdict::Wait(redial);
        }
        if now >= give_up || hopeless {
            return Verdict::GiveUp(self.failure());
        }
        Verdict::Wait(Some(redial.map_or(give_up, |redial| redial.min(give_up))))
    }

    fn failure(&self) -> JobError {
        if !self.liars.is_empty() {
            return JobError::Unverified(self.liars.iter().copied().collect());
        }
        let unreachable = self.candidates.iter().filter(|c| c.hinted && c.last_error.is_some());
        let unreachable = unreachable.filter_map(|c| Some((c.addrs.first()?.clone(), c.last_error.clone()?)));
        JobError::NotFound(NotFound {
            unreachable: unreachable.collect(),
            without: self.without.iter().map(|(peer, why)| (*peer, (*why).to_owned())).collect(),
            partly: self.received_any,
        })
    }
}
