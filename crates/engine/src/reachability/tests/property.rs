//! Any sequence of inputs: no panic, every bound holds, no address is called
//! reachable without proof, and time always goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};
use peerage_identity::{Multiaddr, Scope};
use proptest::prelude::*;

use super::world::{addr, peer};
use crate::reachability::*;

#[derive(Debug, Clone)]
enum Step {
    Listen(Vec<usize>),
    Mapped(Vec<usize>),
    Observed(usize, u8, usize, bool),
    Peer(u8, bool, bool, usize),
    Gone(u8),
    Answer(usize, u8),
    Ask(u8, usize, bool, Vec<usize>),
    Served(u8),
    Wait(u32),
    Wake,
}

const ADDRS: &[&str] = &[
    "/ip4/93.184.216.34/tcp/4001",
    "/ip4/93.184.216.34/tcp/4002",
    "/ip4/94.1.1.1/tcp/4001",
    "/ip4/192.168.1.5/tcp/4001",
    "/ip4/127.0.0.1/tcp/4001",
    "/ip6/2a01:4f8::5/tcp/4001",
    "/ip6/2a01:4f8::6/tcp/0",
    "/ip6/::1/tcp/4001",
    "/ip4/1.2.3.4/udp/4001/quic-v1",
    "/dns4/example.com/tcp/4001",
    "/ip4/8.8.8.8/tcp/1/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN/p2p-circuit",
    "/ip4/50.1.0.1/tcp/4001",
    "/ip4/50.2.0.1/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/ip4/224.0.0.1/tcp/4001",
];

fn at(index: usize) -> Multiaddr {
    addr(ADDRS[index % ADDRS.len()])
}

fn all(indexes: &[usize]) -> Vec<Multiaddr> {
    indexes.iter().map(|index| at(*index)).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || 0..ADDRS.len();
    let places = || proptest::collection::vec(0..ADDRS.len(), 0..6);
    let step = prop_oneof![
        places().prop_map(Step::Listen),
        places().prop_map(Step::Mapped),
        (place(), 0..12u8, place(), any::<bool>()).prop_map(|(a, b, c, d)| Step::Observed(a, b, c, d)),
        (0..12u8, any::<bool>(), any::<bool>(), place()).prop_map(|(a, b, c, d)| Step::Peer(a, b, c, d)),
        (0..12u8).prop_map(Step::Gone),
        (0..4usize, 0..8u8).prop_map(|(a, b)| Step::Answer(a, b)),
        (0..4usize, 0..8u8).prop_map(|(a, b)| Step::Answer(a, b)),
        (0..12u8, place(), any::<bool>(), places()).prop_map(|(a, b, c, d)| Step::Ask(a, b, c, d)),
        (0..12u8).prop_map(Step::Served),
        (0..5_000_000u32).prop_map(Step::Wait),
        Just(Step::Wake),
    ];
    proptest::collection::vec(step, 0..150)
}

struct Run {
    machine: Reachability,
    now: Instant,
    private: bool,
    under_way: BTreeMap<ProbeId, (Instant, Probe)>,
    /// Addresses that at least one server has said to be reachable.
    claimed: Vec<Multiaddr>,
    told: Reach,
}

impl Run {
    fn time(&self) -> Now {
        Now::new(self.now, UnixTime(0))
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                ReachabilityOutput::Changed(reach) => {
                    assert_ne!(reach, self.told, "no news");
                    if let Reach::Public(addrs) = &reach {
                        assert!(!addrs.is_empty() && addrs.iter().all(|addr| self.claimed.contains(addr)));
                    }
                    self.told = reach;
                }
                ReachabilityOutput::Probe(probe) => {
                    assert!((1..=16).contains(&probe.addrs.len()));
                    let public = probe.addrs.iter().all(|addr| addr.scope() == Scope::Public);
                    assert!(public || self.private, "{probe:?}");
                    // Those that were given up may still be answered.
                    let young = |at: Instant| self.now.since(at) < Duration::from_secs(40);
                    let mut others = self.under_way.values().filter(|(at, _)| young(*at));
                    assert!(others.all(|(_, other)| other.peer != probe.peer));
                    self.under_way.insert(probe.id, (self.now, probe));
                }
            }
        }
        assert_eq!(&self.told, self.machine.reach());
        assert!(self.machine.verdicts().count() <= 16);
        assert!(self.machine.weights() <= 512);
    }

    fn answer(&mut self, which: usize, kind: u8) {
        let id = self.under_way.keys().nth(which).copied();
        let Some((_, probe)) = id.and_then(|id| self.under_way.remove(&id)) else { return };
        let first = probe.addrs[0].clone();
        let last = probe.addrs.last().unwrap().clone();
        let answer = match kind {
            0 => Answer::Reached(first),
            1 => Answer::Reached(last),
            2 => Answer::Unreached(Some(first)),
            3 => Answer::Unreached(None),
            4 => Answer::Refused,
            5 => Answer::Lied,
            6 => Answer::Busy,
            _ => Answer::Reached(addr("/ip4/7.7.7.7/tcp/7")),
        };
        if let Answer::Reached(addr) = &answer {
            self.claimed.push(addr.clone());
        }
        self.machine.handle_answer(probe.id, &answer, self.time());
    }

    fn ask(&mut self, index: u8, via: usize, v2: bool, addrs: &[usize]) {
        let via = at(via);
        let version = if v2 { Version::V2 } else { Version::V1 };
        let addrs: Vec<(u32, Multiaddr)> = (0..).zip(all(addrs)).collect();
        let request = DialRequest { peer: peer(index), via: via.clone(), version, addrs };
        let ip = |addr: &Multiaddr| addr.to_socket_addr().map(|(socket, _)| socket.ip());
        let dialled = match self.machine.handle_dial_request(&request, &std::iter::empty(), self.time()) {
            Decision::Refuse(_) => vec![],
            Decision::Dial { index, addr, data, .. } => {
                assert!(v2);
                let named = &request.addrs.iter().find(|(place, _)| *place == index).unwrap().1;
                assert_eq!(named.without_peer(), addr);
                assert_eq!(ip(&addr) == ip(&via), data == 0);
                vec![addr]
            }
            Decision::DialAny { addrs } => {
                assert!(!v2 && addrs.len() <= 8 && addrs.iter().all(|addr| ip(addr) == ip(&via)));
                addrs
            }
        };
        for addr in dialled {
            let near = self.private && via.scope() != Scope::Public;
            assert!(addr.scope() == Scope::Public || near, "{addr} over {via}");
            assert!(addr.to_tcp_addr().is_some_and(|socket| socket.port() != 0));
        }
    }

    fn wake(&mut self) {
        let mut turns = 0;
        while let Some(wake) = self.machine.poll_timeout().filter(|at| *at <= self.now) {
            turns += 1;
            assert!(turns < 3, "it does not sleep: {wake:?} at {:?}", self.now);
            self.machine.handle_timeout(self.time());
            self.drain();
        }
    }

    fn step(&mut self, step: &Step) {
        let now = self.time();
        match step {
            Step::Listen(addrs) => self.machine.set_listen(&all(addrs), now),
            Step::Mapped(addrs) => self.machine.handle_mapped(&all(addrs), now),
            Step::Observed(seen, by, via, outbound) => {
                self.machine.handle_observed(&at(*seen), peer(*by), &at(*via), *outbound, now);
            }
            Step::Peer(index, v1, v2, via) => {
                let via = if *via == 0 { at(0) } else { addr(&format!("/ip4/50.{index}.0.1/tcp/1")) };
                self.machine.handle_peer(peer(*index), *v1, *v2, &via, now);
            }
            Step::Gone(index) => self.machine.handle_disconnected(&peer(*index)),
            Step::Answer(which, kind) => self.answer(*which, *kind),
            Step::Ask(index, via, v2, addrs) => self.ask(*index, *via, *v2, addrs),
            Step::Served(index) => self.machine.handle_served(&peer(*index)),
            Step::Wait(millis) => self.now += Duration::from_millis(u64::from(*millis)),
            Step::Wake => self.machine.handle_timeout(now),
        }
        self.drain();
        self.wake();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence_of_inputs(steps in steps(), seed: u64, private: bool) {
        let config = ReachabilityConfig { private_addresses: private, observers: 2, ..ReachabilityConfig::default() };
        let machine = Reachability::new(config, seed, Now::default());
        let mut run = Run {
            machine,
            now: Instant::START,
            private,
            under_way: BTreeMap::new(),
            claimed: Vec::new(),
            told: Reach::Unknown,
        };
        for step in &steps {
            run.step(step);
        }
    }
}
