//! One peer that a search may ask: where it is, and what became of trying.

use peerage_base::Instant;
use peerage_dht::merge;
use peerage_identity::{Multiaddr, PeerId};

use crate::limits::Config;
use crate::output::DialId;

/// Who told of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The link, or the user.
    Hint,
    /// It is connected, by the user's wish.
    Connected,
    /// Another getter.
    Swarm,
    /// It is on the local network.
    Near,
    /// A DHT or a router.
    Routing,
}

/// A peer, or an address that does not say whose it is, that may have the blocks.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) peer: Option<PeerId>,
    /// Where it is, by who told: what the user said goes first and stays, and
    /// only that may lead anywhere by its names.
    hints: Vec<Multiaddr>,
    near: Vec<Multiaddr>,
    told: Vec<Multiaddr>,
    pub(super) state: CandidateState,
    /// Dials and connections that came to nothing, since it last gave something.
    pub(super) failures: u32,
    pub(super) next_try: Instant,
    pub(super) last_error: Option<String>,
    pub(super) origin: Origin,
    /// Servers that named it beside the first.
    pub(super) named: u32,
    /// It was reached, and has nothing or lies.
    useless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateState {
    Idle,
    Dialing(DialId),
    /// Connected; what it speaks is not known yet, or it is a source.
    Connected,
    /// Not dialled again by this job, unless it is said to be elsewhere.
    Hopeless,
}

impl Candidate {
    pub(super) fn new(
        peer: Option<PeerId>,
        addrs: Vec<Multiaddr>,
        origin: Origin,
        now: Instant,
        config: &Config,
    ) -> Self {
        let mut candidate = Self {
            peer,
            hints: Vec::new(),
            near: Vec::new(),
            told: Vec::new(),
            state: CandidateState::Idle,
            failures: 0,
            next_try: now,
            last_error: None,
            origin,
            named: 0,
            useless: false,
        };
        candidate.learn(addrs, origin, now, config);
        candidate
    }

    /// It was named, with these addresses: those of the local network take the
    /// place of the ones before, what strangers say is put together.
    pub(super) fn learn(&mut self, mut addrs: Vec<Multiaddr>, origin: Origin, now: Instant, config: &Config) {
        if addrs.is_empty() {
            return;
        }
        let known = |addr: &Multiaddr| self.addrs().any(|known| known == addr);
        let news = addrs.iter().any(|addr| !known(addr));
        match origin {
            Origin::Hint => {
                addrs.retain(|addr| !self.hints.contains(addr));
                self.hints.extend(addrs);
                self.hints.truncate(config.addrs_per_peer);
            }
            Origin::Near => {
                addrs.truncate(config.addrs_per_peer);
                self.near = addrs;
            }
            Origin::Connected | Origin::Swarm | Origin::Routing => {
                merge(&mut self.told, addrs, config.addrs_per_peer);
            }
        }
        // Still named, long after it was not there: there may have been an outage.
        if self.is_lost() && now >= self.next_try {
            self.state = CandidateState::Idle;
        }
        // It is there, or may be somewhere that was not tried: no reason to wait.
        if news && (origin == Origin::Near || self.state == CandidateState::Hopeless && !self.useless) {
            self.next_try = self.next_try.min(now);
            if self.state == CandidateState::Hopeless {
                self.state = CandidateState::Idle;
            }
        }
    }

    /// Where it is, the best known first.
    pub(super) fn addrs(&self) -> impl Iterator<Item = &Multiaddr> {
        self.hints.iter().chain(&self.near).chain(&self.told)
    }

    /// Where the user said that it is.
    pub(super) fn hints(&self) -> &[Multiaddr] {
        &self.hints
    }

    pub(super) fn is_dialable(&self) -> bool {
        self.state == CandidateState::Idle && self.addrs().next().is_some()
    }

    /// Nobody has told where it is.
    pub(super) fn is_nowhere(&self) -> bool {
        self.state == CandidateState::Idle && self.addrs().next().is_none()
    }

    /// It could not be reached where it was said to be.
    pub(super) fn is_lost(&self) -> bool {
        self.state == CandidateState::Hopeless && !self.useless
    }

    /// It was reached and is of no use: it is not dialled again, wherever it is.
    pub(super) fn give_up(&mut self) {
        self.state = CandidateState::Hopeless;
        self.useless = true;
    }

    /// It is not tried before then, for nothing that it did to this job.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.state = CandidateState::Idle;
        self.next_try = until;
    }

    pub(super) fn fail(&mut self, why: &str, now: Instant, config: &Config) {
        let pause = config.redial_min.saturating_mul(1 << self.failures.min(16)).min(config.redial_max);
        self.state = CandidateState::Idle;
        self.failures = self.failures.saturating_add(1);
        self.next_try = now + pause;
        self.last_error = Some(why.to_owned());
        if self.origin != Origin::Hint && self.failures >= config.learned_tries {
            self.state = CandidateState::Hopeless;
            self.next_try = now + config.lost_pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{addr, peer_id};

    #[test]
    fn who_was_not_there_is_tried_again_while_it_is_named() {
        let config = Config::default();
        let mut now = Instant::START;
        let mut candidate = Candidate::new(Some(peer_id(1)), vec![addr(1)], Origin::Routing, now, &config);
        (0..config.learned_tries).for_each(|_| candidate.fail("is away", now, &config));
        for _ in 0..3 {
            candidate.learn(vec![addr(1)], Origin::Routing, now, &config);
            assert!(candidate.is_lost(), "not so soon");
            now += config.lost_pause;
            assert!(candidate.is_lost(), "not by itself");
            candidate.learn(vec![addr(1)], Origin::Routing, now, &config);
            assert!(candidate.is_dialable() && candidate.next_try <= now);
            candidate.fail("is away", now, &config);
        }
        candidate.learn(vec![addr(1), addr(2)], Origin::Routing, now, &config);
        assert!(candidate.is_dialable() && candidate.next_try <= now, "elsewhere, at once");
        candidate.give_up();
        candidate.learn(vec![addr(1), addr(3)], Origin::Routing, now + config.lost_pause, &config);
        assert!(!candidate.is_dialable(), "who was reached and is of no use never");
    }
}
