//! Connected peers that can be asked to dial us.

use std::net::IpAddr;
use std::time::Duration;

use peerage_base::{Instant, PackedMap, Rng};
use peerage_identity::{Multiaddr, PeerId};

use super::Version;
use super::candidates::Candidate;
use super::limits::ReachabilityConfig;
use super::witness::{Witness, ip_of, suits};

/// Answers of no use in a row after which a server is left aside.
const STRIKES: u32 = 2;

#[derive(Debug, Default)]
struct Server {
    v1: bool,
    v2: bool,
    via: Multiaddr,
    /// The IP address that it sees us under: all that a v1 server dials.
    sees: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    /// It is of no use, rather than only in peace.
    benched: bool,
    strikes: u32,
}

/// Whom to ask, or when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Ask(PeerId, Version),
    Wait(Instant),
    Nobody,
}

/// The connected peers that speak AutoNAT.
#[derive(Debug, Default)]
pub(super) struct Servers {
    connected: PackedMap<PeerId, Server>,
    /// Who is not to be asked for now. Outlives the connection.
    pauses: PackedMap<PeerId, Pause>,
}

impl Servers {
    pub(super) fn set(
        &mut self,
        peer: PeerId,
        v1: bool,
        v2: bool,
        via: &Multiaddr,
        config: &ReachabilityConfig,
    ) {
        let room = self.connected.len() < config.servers || self.connected.contains_key(&peer);
        if !(v1 || v2) {
            self.connected.remove(&peer);
        } else if room {
            let server = self.connected.or_insert_with(peer, Server::default);
            (server.v1, server.v2, server.via) = (v1, v2, via.clone());
        }
    }

    pub(super) fn set_seen(&mut self, peer: &PeerId, ip: IpAddr) {
        if let Some(server) = self.connected.get_mut(peer) {
            server.sees = Some(ip);
        }
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
    }

    /// Whom `peer` counts as, if it is connected.
    pub(super) fn witness(&self, peer: &PeerId) -> Option<Witness> {
        self.connected.get(peer).map(|server| Witness::of(*peer, &server.via))
    }

    /// The IP address that a server sees us under.
    pub(super) fn sees(&self, peer: &PeerId) -> Option<IpAddr> {
        self.connected.get(peer)?.sees
    }

    /// Leaves a server in peace after it was asked.
    pub(super) fn pause(&mut self, peer: PeerId, now: Instant, config: &ReachabilityConfig) {
        let strikes = self.pauses.get(&peer).map_or(0, |pause| pause.strikes);
        self.put(peer, Pause { until: now + config.server_pause, benched: false, strikes }, now, config);
    }

    /// A server answered sensibly.
    pub(super) fn praise(&mut self, peer: &PeerId) {
        if let Some(pause) = self.pauses.get_mut(peer) {
            pause.strikes = 0;
        }
    }

    /// A server was of no use: twice in a row, and it is left aside.
    pub(super) fn strike(&mut self, peer: PeerId, now: Instant, config: &ReachabilityConfig) {
        let strikes = self.pauses.get(&peer).map_or(0, |pause| pause.strikes) + 1;
        if strikes >= STRIKES {
            self.bench(peer, config.server_bench, now, config);
        } else if let Some(pause) = self.pauses.get_mut(&peer) {
            pause.strikes = strikes;
        }
    }

    /// Leaves a server aside.
    pub(super) fn bench(
        &mut self,
        peer: PeerId,
        how_long: Duration,
        now: Instant,
        config: &ReachabilityConfig,
    ) {
        self.put(peer, Pause { until: now + how_long, benched: true, strikes: 0 }, now, config);
    }

    fn put(&mut self, peer: PeerId, pause: Pause, now: Instant, config: &ReachabilityConfig) {
        // A strike is remembered for as long again as the pause, or a server
        // that is asked every few minutes would never have two.
        self.pauses.retain(|_, pause| now < pause.until + config.server_bench);
        if self.pauses.len() >= config.servers
            && !self.pauses.contains_key(&peer)
            && let Some(first) = self.pauses.iter().min_by_key(|(_, pause)| pause.until).map(|(id, _)| *id)
        {
            self.pauses.remove(&first);
        }
        self.pauses.insert(peer, pause);
    }

    /// Whom to ask about a candidate: v2 before v1, networks that were not
    /// asked yet before others; among equals, any.
    pub(super) fn choose(
        &self,
        addr: &Multiaddr,
        candidate: &Candidate,
        config: &ReachabilityConfig,
        rng: &mut Rng,
        now: Instant,
    ) -> Choice {
        let mut wait: Option<Instant> = None;
        for version in [Version::V2, Version::V1] {
            let pool = self.pool(addr, candidate, version, config, now);
            let fresh = pool.iter().any(|(_, witness)| !candidate.asked.contains(witness));
            let best: Vec<PeerId> = pool
                .into_iter()
                .filter(|(_, witness)| !fresh || !candidate.asked.contains(witness))
                .map(|(peer, _)| peer)
                .collect();
            let paused =
                |peer: &PeerId| self.pauses.get(peer).map(|pause| pause.until).filter(|at| *at > now);
            let free: Vec<PeerId> = best.iter().copied().filter(|peer| paused(peer).is_none()).collect();
            if let Some(peer) = rng.pick(&free) {
                return Choice::Ask(*peer, version);
            }
            wait = wait.into_iter().chain(best.iter().filter_map(paused)).min();
        }
        if let Some(at) = wait {
            return Choice::Wait(at);
        }
        // Whoever is left aside may be of use again.
        let benched = self.connected.keys().filter_map(|peer| self.pauses.get(peer)).map(|pause| pause.until);
        benched.filter(|at| *at > now).min().map_or(Choice::Nobody, Choice::Wait)
    }

    /// The servers that can say something about `addr`.
    fn pool(
        &self,
        addr: &Multiaddr,
        candidate: &Candidate,
        version: Version,
        config: &ReachabilityConfig,
        now: Instant,
    ) -> Vec<(PeerId, Witness)> {
        let ip = ip_of(addr);
        let can = |(peer, server): &(&PeerId, &Server)| {
            let speaks = match version {
                Version::V2 => server.v2 && !candidate.refused.contains(peer),
                Version::V1 => server.v1 && server.sees == ip,
            };
            let benched = |pause: &Pause| pause.benched && pause.until > now;
            speaks
                && suits(addr.scope(), server.via.scope(), config.private_addresses)
                // Behind the same router, or on the same machine: it would get through in any case.
                && (config.private_addresses || ip_of(&server.via) != ip)
                && !self.pauses.get(peer).is_some_and(benched)
        };
        let servers = self.connected.iter().filter(can);
        servers.map(|(peer, server)| (*peer, Witness::of(*peer, &server.via))).collect()
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.connected.len().max(self.pauses.len())
    }
}
