//! How a world begins.

use std::sync::Arc;
use std::time::Duration;

use peerage_base::{Instant, Rng};
use peerage_dht::{Key, PeerInfo};
use peerage_engine::{Config, DhtMode};

use super::{Counts, Event, World};
use crate::address::Dealer;
use crate::draw::{self, Past};
use crate::host::{self, Host, HostId, Nat};
use crate::hostile::Behaviour;
use crate::oracle::Oracle;
use crate::queue::Queue;
use crate::trace::Trace;
use crate::world::life::BOOTSTRAP;

/// When the world begins: nodes were made some time before, each at another, so
/// that their timers are not in step.
const START: Duration = Duration::from_secs(600);

/// What a world is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Servers that are there at a time, on average.
    pub(crate) peers: u32,
    pub(crate) seed: u64,
    /// Servers come and go, and as many again are away.
    pub(crate) churn: bool,
    /// Sessions and pauses are so many times shorter than published.
    pub(crate) haste: u64,
    /// Of those who leave: without a word.
    pub(crate) silent_percent: u64,
    /// So many times as much is lost as published ([`crate::place::loss_ppm`]).
    pub(crate) loss_times: u64,
    /// Clients behind NATs, beside the servers.
    pub(crate) clients: u32,
    /// Of a thousand servers, so many behave so.
    pub(crate) hostile: Vec<(u32, Behaviour)>,
    /// There are blocks: peers offer Bitswap. Otherwise they do not, since the
    /// engine keeps some 400 bytes for each connection that could use it.
    pub(crate) blocks: bool,
    /// Calendars are off by up to so many seconds.
    pub(crate) skew: i64,
    /// Only the hosts that everyone knows are there in the beginning, and others
    /// find out by themselves whether they can be dialled.
    pub(crate) auto: bool,
}

impl Setup {
    /// A quiet world.
    pub(crate) const fn new(peers: u32, seed: u64) -> Self {
        Self {
            peers,
            seed,
            churn: false,
            haste: 1,
            silent_percent: 30,
            loss_times: 1,
            clients: 0,
            hostile: Vec::new(),
            blocks: false,
            skew: 0,
            auto: false,
        }
    }
}

impl World {
    pub(crate) fn new(setup: Setup, config: Config) -> Self {
        let mut world = Self {
            rng: Rng::new(setup.seed),
            configs: [DhtMode::Server, DhtMode::Client, DhtMode::Auto].map(|mode| {
                let mut config = config.clone();
                config.routing.mode = mode;
                Arc::new(config)
            }),
            config,
            now: Instant::START + START,
            queue: Queue::new(),
            hosts: Vec::with_capacity(setup.peers as usize),
            servers: Oracle::default(),
            hostile: Oracle::default(),
            dealer: Dealer::new(),
            trace: Trace::new(),
            past: Vec::new(),
            generation: 0,
            calm: false,
            attack: 0,
            blocked: Vec::new(),
            library: super::blocks::Library::default(),
            asked: std::collections::BTreeMap::new(),
            settling: std::collections::BTreeMap::new(),
            invented: Vec::new(),
            replayed: std::collections::BTreeMap::new(),
            acted: 0,
            done: Vec::new(),
            swarm_requests: 0,
            swarm_open: None,
            counts: Counts::default(),
            largest: super::check::Largest::default(),
            alive: 0,
            setup,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let (peers, clients, churn) = (self.setup.peers, self.setup.clients, self.setup.churn);
        let servers = if churn { peers * 2 } else { peers };
        let mut present = Vec::new();
        for n in 0..servers {
            let behaviour = if n < BOOTSTRAP { Behaviour::Honest } else { self.draw_behaviour() };
            let host = self.add_host(behaviour, Nat::Open);
            let past = match churn && n >= BOOTSTRAP {
                true => draw::past(&mut self.rng),
                false => Past::always(),
            };
            let (here, seconds) = (past.here, past.remaining);
            self.past.push(past);
            if here {
                present.push(host);
            }
            if seconds > 0 {
                let at = self.now + Duration::from_secs(seconds / self.setup.haste.max(1));
                let event = match here {
                    true => Event::Leave { host, session: 0 },
                    false => Event::Return { host, session: 0 },
                };
                self.queue.push(at, event);
            }
        }
        let keys: Vec<(Key, HostId)> = (0..).zip(&self.hosts).map(|(n, host)| (host.key, n)).collect();
        let mut here = Oracle::default();
        here.extend(present.iter().map(|&host| (self.host(host).key, host)));
        let bad = keys.iter().filter(|(_, n)| !self.host(*n).behaviour.has_node());
        self.hostile.extend(bad.copied().collect::<Vec<_>>());
        self.servers.extend(keys);
        for _ in 0..clients {
            let nat = if self.rng.below(2) == 0 { Nat::Cone } else { Nat::Symmetric };
            let nat = if self.setup.auto && self.rng.below(3) == 0 { Nat::Forwarded } else { nat };
            present.push(self.add_host(Behaviour::Honest, nat));
        }
        let there = if self.setup.auto { BOOTSTRAP } else { HostId::MAX };
        for host in present.into_iter().filter(|&host| host < there) {
            self.begin(host, &here);
        }
    }

    fn draw_behaviour(&mut self) -> Behaviour {
        let mut at = self.rng.below(1_000);
        for &(permille, behaviour) in &self.setup.hostile {
            if at < u64::from(permille) {
                return behaviour;
            }
            at -= u64::from(permille);
        }
        Behaviour::Honest
    }

    /// One more host, which is not there yet.
    pub(crate) fn add_host(&mut self, behaviour: Behaviour, nat: Nat) -> HostId {
        let n = HostId::try_from(self.hosts.len()).expect("hosts are fewer");
        let cloud = nat == Nat::Open && self.rng.below(4) == 0;
        let peer = host::peer_id(n, &mut self.rng);
        let (addr, region) = self.dealer.deal(cloud, &mut self.rng);
        let (line_micros, up_kbps, down_kbps) = host::line(cloud, region, &mut self.rng);
        let skew = match self.setup.skew {
            0 => 0,
            most => i64::try_from(self.rng.below(2 * most.unsigned_abs())).unwrap_or(0) - most,
        };
        self.hosts.push(Host {
            peer,
            key: Key::of_peer(&peer),
            addr,
            region,
            line_micros,
            up_kbps,
            down_kbps,
            nat,
            behaviour,
            skew,
            side: 0,
            serves: nat == Nat::Open && !(self.setup.auto && n >= BOOTSTRAP),
            alive: false,
            session: 0,
            node: None,
            wakes: Vec::new(),
            links: Vec::new(),
            open: std::collections::BTreeMap::new(),
            dialing: std::collections::BTreeSet::new(),
            up_free: Instant::START,
            down_free: Instant::START,
            shelf: None,
            remembered: Vec::new(),
        });
        n
    }

    /// Starts a host that has been there for a while: its table is filled from
    /// what is known of the whole world.
    fn begin(&mut self, host: HostId, known: &Oracle) {
        let past = u64::try_from(START.as_nanos()).unwrap_or(u64::MAX);
        let at = Instant::from_nanos(self.rng.below(past));
        self.start(host, at);
        if self.host(host).node.is_none() {
            return;
        }
        let seeds = self.seeds(host, known);
        let unix = self.clock(host).unix;
        if let Some(node) = &mut self.host_mut(host).node {
            node.seed(&seeds, peerage_base::Now::new(at, unix));
        }
        self.flush(host);
    }

    /// Who is in its table: of each bucket as many as fit, drawn by chance.
    fn seeds(&mut self, host: HostId, known: &Oracle) -> Vec<PeerInfo> {
        let key = self.host(host).key;
        let mut seeds = Vec::new();
        for prefix in 0.. {
            if known.within(&key, prefix) <= 1 {
                break;
            }
            let bucket = known.bucket(&key, prefix);
            let wanted = self.config.routing.wan.bucket_size;
            // Some are refused for their address; one more draw stands in.
            let mut chosen: Vec<HostId> = match bucket.len() <= wanted {
                true => bucket.iter().map(|(_, other)| *other).collect(),
                false => (0..wanted + 4).filter_map(|_| self.rng.pick(bucket).map(|(_, n)| *n)).collect(),
            };
            chosen.sort_unstable();
            chosen.dedup();
            seeds.extend(chosen.into_iter().filter(|&other| other != host).map(|n| self.host(n).info()));
        }
        seeds
    }
}
