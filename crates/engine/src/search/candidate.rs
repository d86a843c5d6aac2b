//! One peer that a search may ask: where it is, and what became of trying.

use peerage_base::Instant;
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
    pub(super) addrs: Vec<Multiaddr>,
    pub(super) state: CandidateState,
    /// Dials and connections that came to nothing, since it last gave something.
    pub(super) failures: u32,
    pub(super) next_try: Instant,
    pub(super) last_error: Option<String>,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateState {
    Idle,
    Dialing(DialId),
    /// Connected; what it speaks is not known yet, or it is a source.
    Connected,
    /// Never dialled again by this job.
    Hopeless,
}

impl Candidate {
    pub(super) fn new(
        peer: Option<PeerId>,
        mut addrs: Vec<Multiaddr>,
        origin: Origin,
        now: Instant,
        config: &Config,
    ) -> Self {
        addrs.truncate(config.addrs_per_peer);
        Self {
            peer,
            addrs,
            state: CandidateState::Idle,
            failures: 0,
            next_try: now,
            last_error: None,
            origin,
        }
    }

    /// It was named again, with these addresses.
    pub(super) fn learn(&mut self, addrs: Vec<Multiaddr>, origin: Origin, now: Instant, config: &Config) {
        if addrs.is_empty() {
            return;
        }
        match (self.origin, origin) {
            (Origin::Hint, _) | (_, Origin::Near) => {
                let new: Vec<_> = addrs.into_iter().filter(|addr| !self.addrs.contains(addr)).collect();
                if origin == Origin::Near && !new.is_empty() {
                    // It is there: no reason to wait.
                    self.next_try = now;
                }
                self.addrs.extend(new);
            }
            _ => self.addrs = addrs,
        }
        self.addrs.truncate(config.addrs_per_peer);
    }

    pub(super) fn is_dialable(&self) -> bool {
        self.state == CandidateState::Idle && !self.addrs.is_empty()
    }

    pub(super) fn fail(&mut self, why: &str, now: Instant, config: &Config) {
        let pause = config.redial_min.saturating_mul(1 << self.failures.min(16)).min(config.redial_max);
        self.state = CandidateState::Idle;
        self.failures = self.failures.saturating_add(1);
        self.next_try = now + pause;
        self.last_error = Some(why.to_owned());
        if self.origin != Origin::Hint && self.failures >= config.learned_tries {
            self.state = CandidateState::Hopeless;
        }
    }
}
