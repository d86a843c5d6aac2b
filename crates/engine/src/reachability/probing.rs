//! Which probe is next, and what its answer shows.
//!
//! Left out: whom to ask, which is in `servers`.

use std::time::Duration;

use peerage_base::Instant;
use peerage_identity::{Multiaddr, PeerId, Scope};

use super::candidates::Verdict;
use super::servers::Choice;
use super::witness::{Witness, ip_of};
use super::{Answer, Probe, ProbeId, Reachability, ReachabilityOutput, UnderWay, Version};

impl Reachability {
    /// Begins the probes that are due; returns when there may be more to begin.
    pub(super) fn begin_probes(&mut self, now: Instant) -> Option<Instant> {
        loop {
            if self.probes.len() >= self.config.probes {
                return None; // An answer or a deadline comes first.
            }
            let mut wait = None;
            let mut chosen = None;
            for addr in self.turns() {
                let Some(candidate) = self.candidates.get(&addr) else { continue };
                let at = candidate.due.max(self.probe_at);
                if at > now {
                    wait = earlier(wait, at);
                    continue;
                }
                match self.servers.choose(&addr, candidate, &self.config, &mut self.rng, now) {
                    Choice::Ask(peer, version) => {
                        chosen = Some((addr, peer, version));
                        break;
                    }
                    Choice::Wait(at) => wait = earlier(wait, at),
                    Choice::Nobody => {}
                }
            }
            let Some((addr, peer, version)) = chosen else { return wait };
            self.begin(&addr, peer, version, now);
        }
    }

    /// The candidates that may be probed: those that are not being probed
    /// first, then those that were due first.
    fn turns(&self) -> Vec<Multiaddr> {
        let mut turns = Vec::new();
        for (addr, candidate) in self.candidates.iter() {
            let under_way = self.probes.values().filter(|other| other.probe.addrs.first() == Some(addr));
            let under_way = under_way.count();
            // Nobody waits for what is known to be known once more.
            if under_way == 0 || candidate.verdict == Verdict::Unknown {
                turns.push((under_way, candidate.due, addr));
            }
        }
        turns.sort_by_key(|(under_way, due, _)| (*under_way, *due));
        turns.into_iter().map(|(_, _, addr)| addr.clone()).collect()
    }

    fn begin(&mut self, first: &Multiaddr, peer: PeerId, version: Version, now: Instant) {
        let Some(witness) = self.servers.witness(&peer) else { return };
        let addrs = self.name_addrs(first, peer, version, now);
        if let Some(candidate) = self.candidates.get_mut(first) {
            candidate.ask(witness, &self.config);
        }
        self.servers.pause(peer, now, &self.config);
        self.probe_at = now + self.config.probe_gap;
        let id = ProbeId(self.next_probe);
        self.next_probe += 1;
        let probe = Probe { id, peer, version, addrs, nonce: self.rng.next_u64() };
        let deadline = now + self.config.probe_timeout;
        self.probes.insert(id, UnderWay { probe: probe.clone(), witness, deadline });
        self.outputs.push_back(ReachabilityOutput::Probe(probe));
    }

    /// What a probe names: the address that it is for, then others that are due
    /// and that this server could tell about.
    fn name_addrs(&self, first: &Multiaddr, peer: PeerId, version: Version, now: Instant) -> Vec<Multiaddr> {
        let near = |scope: Scope| scope == first.scope();
        let others = self.candidates.iter().filter(|(addr, candidate)| {
            *addr != first
                && candidate.due <= now
                && near(addr.scope())
                && match version {
                    Version::V2 => !candidate.refused.contains(&peer),
                    Version::V1 => self.servers.sees(&peer) == ip_of(addr),
                }
        });
        std::iter::once(first).chain(others.map(|(addr, _)| addr)).cloned().collect()
    }

    /// Takes what came of a probe.
    pub(super) fn take_answer(&mut self, under_way: &UnderWay, answer: &Answer, now: Instant) {
        let probe = &under_way.probe;
        let named = |addr: &Multiaddr| probe.addrs.iter().position(|own| *own == addr.without_peer());
        // A server dials the first that it is willing to: those before it were refused.
        let (upto, useful) = match answer {
            Answer::Reached(addr) | Answer::Unreached(Some(addr)) => match named(addr) {
                Some(index) => (index, true),
                None => (0, false),
            },
            Answer::Unreached(None) => (0, probe.version == Version::V1),
            Answer::Refused => (probe.addrs.len(), true),
            Answer::Busy | Answer::Failed | Answer::Lied => (0, false),
        };
        match answer {
            Answer::Lied => self.servers.bench(probe.peer, self.config.liar_bench, now, &self.config),
            Answer::Busy => {}
            _ if useful => self.servers.praise(&probe.peer),
            _ => self.servers.strike(probe.peer, now, &self.config),
        }
        if probe.version == Version::V2 {
            for addr in &probe.addrs[..upto] {
                if let Some(candidate) = self.candidates.get_mut(addr) {
                    candidate.refuse(probe.peer, &self.config);
                }
            }
        }
        if !useful || matches!(answer, Answer::Refused) {
            if let Some(candidate) = probe.addrs.first().and_then(|addr| self.candidates.get_mut(addr)) {
                candidate.showed_nothing(&self.config, now);
            }
            return;
        }
        let told = if matches!(answer, Answer::Unreached(None)) {
            &probe.addrs[..]
        } else {
            &probe.addrs[upto..=upto]
        };
        for addr in told {
            self.judge(addr, matches!(answer, Answer::Reached(_)), probe.version, under_way.witness, now);
        }
    }

    /// Takes the word of one server about one address.
    fn judge(&mut self, addr: &Multiaddr, reached: bool, version: Version, by: Witness, now: Instant) {
        let pause = self.refresh_pause();
        let Some(candidate) = self.candidates.get_mut(addr) else { return };
        match (reached, version) {
            (true, Version::V2) => candidate.reached(pause, now),
            (true, Version::V1) => {
                if candidate.vouch(by, &self.config, now) {
                    candidate.reached(pause, now);
                }
            }
            (false, _) => candidate.failed(pause, &self.config, now),
        }
    }

    /// Up to an eighth more than the interval, so that peers that began
    /// together do not ask together for ever.
    fn refresh_pause(&mut self) -> Duration {
        let interval = self.config.refresh_interval;
        let eighth = u64::try_from(interval.as_nanos() / 8).unwrap_or(u64::MAX);
        interval + Duration::from_nanos(self.rng.below(eighth))
    }
}

fn earlier(a: Option<Instant>, b: Instant) -> Option<Instant> {
    Some(a.map_or(b, |a| a.min(b)))
}
