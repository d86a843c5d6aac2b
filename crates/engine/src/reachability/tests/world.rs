//! Our own machine among servers of many kinds, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};
use peerage_identity::{Keypair, Multiaddr, PeerId};

use crate::reachability::*;

pub(super) fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

pub(super) fn peer(index: u8) -> PeerId {
    Keypair::from_seed([index; 32]).peer_id()
}

/// The address of server `index`, in a network of its own.
pub(super) fn via(index: u8) -> Multiaddr {
    addr(&format!("/ip4/50.{index}.0.1/tcp/4001"))
}

/// What a server does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It dials the first address that it can, and says what came of it.
    Honest,
    /// The same, of IPv4 only.
    OnlyV4,
    /// It says that it could not reach us.
    Denies,
    /// v2: it says that it reached us, and no nonce comes. v1: it says so.
    Boasts,
    /// It never answers.
    Silent,
    /// It answers what makes no sense.
    Broken,
    /// It has too much to do.
    Busy,
}

pub(super) struct World {
    pub(super) machine: Reachability,
    pub(super) now: Instant,
    pub(super) servers: BTreeMap<PeerId, Kind>,
    /// Where we really can be dialled.
    pub(super) open: BTreeSet<Multiaddr>,
    answers: VecDeque<(Instant, ProbeId, Answer)>,
    pub(super) probes: Vec<(Instant, Probe)>,
    pub(super) changes: Vec<(Instant, Reach)>,
    pub(super) delay: Duration,
    wakes: usize,
}

impl World {
    pub(super) fn new(config: ReachabilityConfig, seed: u64) -> Self {
        Self {
            machine: Reachability::new(config, seed, Now::default()),
            now: Instant::START,
            servers: BTreeMap::new(),
            open: BTreeSet::new(),
            answers: VecDeque::new(),
            probes: Vec::new(),
            changes: Vec::new(),
            delay: Duration::from_millis(800),
            wakes: 0,
        }
    }

    /// A peer that listens on one public address.
    pub(super) fn public() -> Self {
        let mut world = Self::new(ReachabilityConfig::default(), 1);
        world.open.insert(addr(HOME));
        world.machine.set_listen(&[addr(HOME), addr("/ip4/127.0.0.1/tcp/4001")], world.time());
        world
    }

    pub(super) fn time(&self) -> Now {
        Now::new(self.now, UnixTime(1_700_000_000 + self.now.as_nanos() / 1_000_000_000))
    }

    pub(super) fn connect(&mut self, index: u8, v1: bool, v2: bool, kind: Kind) {
        self.servers.insert(peer(index), kind);
        self.machine.handle_peer(peer(index), v1, v2, &via(index), self.time());
        self.drain();
    }

    /// Server `index` says that it sees us at `text`, over a connection of ours.
    pub(super) fn observe(&mut self, index: u8, text: &str) {
        self.machine.handle_observed(&addr(text), peer(index), &via(index), true, self.time());
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                ReachabilityOutput::Changed(reach) => self.changes.push((self.now, reach)),
                ReachabilityOutput::Probe(probe) => {
                    if let Some(answer) = self.answer(&probe) {
                        self.answers.push_back((self.now + self.delay, probe.id, answer));
                    }
                    self.probes.push((self.now, probe));
                }
            }
        }
    }

    fn answer(&self, probe: &Probe) -> Option<Answer> {
        let kind = self.servers[&probe.peer];
        let can = |addr: &&Multiaddr| kind != Kind::OnlyV4 || addr.to_tcp_addr().unwrap().is_ipv4();
        let first = probe.addrs.iter().find(can);
        Some(match (kind, probe.version) {
            (Kind::Silent, _) => return None,
            (Kind::Broken, _) => Answer::Failed,
            (Kind::Busy, _) => Answer::Busy,
            (Kind::Boasts, Version::V2) => Answer::Lied,
            (Kind::Boasts, Version::V1) => Answer::Reached(probe.addrs[0].clone()),
            (Kind::Denies, Version::V1) => Answer::Unreached(None),
            (Kind::Denies, Version::V2) => Answer::Unreached(Some(probe.addrs[0].clone())),
            (_, Version::V2) => match first {
                None => Answer::Refused,
                Some(addr) if self.open.contains(addr) => Answer::Reached(addr.clone()),
                Some(addr) => Answer::Unreached(Some(addr.clone())),
            },
            (_, Version::V1) => match probe.addrs.iter().find(|addr| self.open.contains(*addr)) {
                Some(addr) => Answer::Reached(addr.clone()),
                None => Answer::Unreached(None),
            },
        })
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, how_long: Duration) {
        let end = self.now + how_long;
        loop {
            self.drain();
            let answer = self.answers.front().map(|(at, ..)| *at);
            let wake = self.machine.poll_timeout();
            let Some(next) = [answer, wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.wakes = if next <= self.now { self.wakes + 1 } else { 0 };
            assert!(self.wakes < 100, "it wakes again and again at {next:?}");
            self.now = self.now.max(next);
            if answer == Some(next) {
                let (_, id, answer) = self.answers.pop_front().unwrap();
                self.machine.handle_answer(id, &answer, self.time());
            } else {
                self.machine.handle_timeout(self.time());
            }
        }
        self.now = end;
    }

    pub(super) fn reach(&self) -> &Reach {
        self.machine.reach()
    }
}

/// Where we listen in most tests.
pub(super) const HOME: &str = "/ip4/93.184.216.34/tcp/4001";

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
