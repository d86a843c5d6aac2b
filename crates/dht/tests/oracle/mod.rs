//! A sweep in virtual time over an ideal network: sorted ids that name the
//! closest of any key, and servers that note what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_dht::sweep::{Output, Sweep, TaskId};
use peerage_dht::{End, Key, PeerInfo, Progress, Report, SweepConfig};
use peerage_identity::PeerId;

/// Servers that are told of a key.
pub(crate) const K: usize = 20;

const EPOCH: u64 = 1_700_000_000;

/// The multihash of a number, and back.
pub(crate) fn multihash(n: u32) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([7; 28]);
    bytes.extend(n.to_be_bytes());
    bytes
}

fn number(multihash: &[u8]) -> u32 {
    u32::from_be_bytes(multihash[30..].try_into().unwrap())
}

#[derive(Debug)]
enum Event {
    Closest(TaskId, Key),
    Announced(TaskId, usize),
    Keys(Key, Vec<Bytes>),
}

/// What happened in one hour.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hour {
    pub(crate) lookups: u64,
    pub(crate) records: u64,
}

pub(crate) struct Rig {
    pub(crate) sweep: Sweep,
    servers: Vec<(Key, PeerInfo)>,
    index: BTreeMap<PeerId, u32>,
    /// By key number, the servers that were told, since this was last emptied.
    pub(crate) told: BTreeMap<u32, BTreeSet<u32>>,
    pub(crate) hours: Vec<Hour>,
    /// Servers that cannot be told anything.
    pub(crate) dead: BTreeSet<u32>,
    /// Nobody answers.
    pub(crate) outage: bool,
    /// Look-ups end before the closest are known for certain.
    pub(crate) vague: bool,
    /// What is not as it should be in the report of a look-up.
    pub(crate) bend: Option<fn(&mut Report)>,
    /// The owner's keys, if it keeps them.
    pub(crate) owned: BTreeMap<Key, u32>,
    pub(crate) busiest: usize,
    telling: usize,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
    pub(crate) now: Instant,
    /// Time in which the machine slept, and its timers with it.
    pub(crate) slept: Duration,
}

impl Rig {
    pub(crate) fn new(servers: u32, config: SweepConfig) -> Self {
        let mut rng = Rng::new(u64::from(servers));
        let mut all: Vec<(Key, PeerInfo)> = (0..servers)
            .map(|_| {
                let mut id = [0; 34];
                id[..2].copy_from_slice(&[0x12, 0x20]);
                rng.fill(&mut id[2..]);
                let peer = PeerId::from_bytes(&id).unwrap();
                (Key::of_peer(&peer), PeerInfo { peer, addrs: Vec::new() })
            })
            .collect();
        all.sort_by_key(|(key, _)| *key);
        let index = all.iter().zip(0..).map(|((_, info), n)| (info.peer, n)).collect();
        let now = Instant::START;
        Self {
            sweep: Sweep::new(config, 1, Now::new(now, UnixTime(EPOCH))),
            servers: all,
            index,
            told: BTreeMap::new(),
            hours: Vec::new(),
            dead: BTreeSet::new(),
            outage: false,
            vague: false,
            bend: None,
            owned: BTreeMap::new(),
            busiest: 0,
            telling: 0,
            events: BTreeMap::new(),
            next: 0,
            now,
            slept: Duration::ZERO,
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now::new(self.now, UnixTime(EPOCH + self.now.as_nanos() / 1_000_000_000 + self.slept.as_secs()))
    }

    /// The true k closest, nearest first.
    pub(crate) fn closest(&self, key: &Key) -> Vec<u32> {
        // All that share so many bits with the key that there are k of them.
        let shares = |n: usize, bits: usize| self.servers[n].0.common_prefix(key) >= bits;
        let at = self.servers.partition_point(|(other, _)| other < key);
        let (mut from, mut to) = (at, at);
        for bits in (0..=64).rev() {
            while from > 0 && shares(from - 1, bits) {
                from -= 1;
            }
            while to < self.servers.len() && shares(to, bits) {
                to += 1;
            }
            if to - from >= K {
                break;
            }
        }
        let mut found: Vec<usize> = (from..to).collect();
        found.sort_by_key(|&n| self.servers[n].0.distance(key));
        found.truncate(K);
        found.into_iter().map(|n| u32::try_from(n).unwrap()).collect()
    }

    /// Gives the sweep an input and does what it wants then.
    pub(crate) fn act<T>(&mut self, input: impl FnOnce(&mut Sweep, Now) -> T) -> T {
        let now = self.clock();
        let result = input(&mut self.sweep, now);
        while let Some(output) = self.sweep.poll_output() {
            self.perform(output);
        }
        result
    }

    fn hour(&mut self) -> &mut Hour {
        let hour = usize::try_from(self.now.as_nanos() / 3_600_000_000_000).unwrap();
        if self.hours.len() <= hour {
            self.hours.resize(hour + 1, Hour::default());
        }
        &mut self.hours[hour]
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::FindClosest { id, key } => {
                self.hour().lookups += 1;
                self.at(Duration::from_secs(2), Event::Closest(id, Key::of(&key)));
            }
            Output::Announce { id, peer, multihashes } => {
                let server = self.index[&peer.peer];
                let failed = self.outage || self.dead.contains(&server);
                self.hour().records += multihashes.len() as u64;
                self.telling += 1;
                self.busiest = self.busiest.max(self.telling);
                let count = if failed { 0 } else { multihashes.len() };
                for multihash in &multihashes[..count] {
                    self.told.entry(number(multihash)).or_default().insert(server);
                }
                let took = Duration::from_millis(500 + 5 * multihashes.len() as u64);
                self.at(took, Event::Announced(id, count));
            }
            Output::ListKeys { from, max } => {
                let keys = self.owned.range(from..).take(max).map(|(_, &n)| multihash(n).into()).collect();
                self.at(Duration::from_millis(10), Event::Keys(from, keys));
            }
        }
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + delay, self.next), event);
    }

    fn report(&self, key: &Key) -> Report {
        let closest = if self.outage { Vec::new() } else { self.closest(key) };
        let answered = u32::try_from(closest.len()).unwrap();
        let mut report = Report {
            end: match (self.outage, self.vague) {
                (true, _) => End::NoPeers,
                (false, true) => End::OutOfTime,
                (false, false) => End::Complete,
            },
            progress: Progress { asked: answered, answered, ..Progress::default() },
            closest: closest.iter().map(|&n| self.servers[n as usize].1.clone()).collect(),
            groups: vec![None; closest.len()],
            hops: 3,
            stored: 0,
            took: Duration::from_secs(2),
        };
        self.bend.into_iter().for_each(|bend| bend(&mut report));
        report
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let wake = self.sweep.poll_timeout().map(|(at, _)| at.max(self.now));
            let Some(at) = event.into_iter().chain(wake).min().filter(|at| *at <= end) else { break };
            self.now = at;
            if event != Some(at) {
                self.act(Sweep::handle_timeout);
                continue;
            }
            let Some((_, event)) = self.events.pop_first() else { break };
            match event {
                Event::Closest(id, key) => {
                    let report = self.report(&key);
                    self.act(|sweep, now| sweep.handle_closest(id, &report, now));
                }
                Event::Announced(id, told) => {
                    self.telling -= 1;
                    self.act(|sweep, now| sweep.handle_announced(id, told, now));
                }
                Event::Keys(from, keys) => self.act(|sweep, now| sweep.handle_keys(from, &keys, now)),
            }
        }
        self.now = end;
    }

    /// Keys that were not announced to exactly the servers closest to them.
    pub(crate) fn wrong(&self, keys: impl Iterator<Item = u32>) -> usize {
        keys.filter(|&n| {
            let truth: BTreeSet<u32> = self.closest(&Key::of(&multihash(n))).into_iter().collect();
            self.told.get(&n) != Some(&truth)
        })
        .count()
    }

    pub(crate) fn lookups(&self) -> u64 {
        self.hours.iter().map(|hour| hour.lookups).sum()
    }

    /// The process ends and another begins.
    pub(crate) fn restart(&mut self, config: SweepConfig) {
        let cursor = self.sweep.cursor();
        self.events.clear();
        self.telling = 0;
        let now = self.clock();
        self.sweep = Sweep::new(config, 2, now);
        self.sweep.resume(cursor, now);
    }
}
