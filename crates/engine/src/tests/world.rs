//! Several engines in virtual time: links with latency, peers with bandwidth
//! and faults, stores in memory. Everything is drawn from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_content::{Cid, Multihash, Prefix};
use peerage_dht::{Failure, Network, Request, Response};
use peerage_exchange::{Incoming, Served};
use peerage_identity::{Multiaddr, PeerId};

use super::dag::{Blocks, Dag};
use super::export::Export;
use crate::*;

/// What is wrong with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// Every so-manieth block that it sends is wrong.
    Corrupt(u64),
    /// Takes every want and never answers.
    Mute,
    /// Sends every block under the codec for raw bytes.
    CallsAllRaw,
    /// Hangs up after every so-manieth block.
    HangsUp(u64),
}

/// Something that reaches a peer.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Connected(Connected),
    Identified(usize),
    Disconnected(usize),
    DialFailed(DialId, DialFailure),
    Message(usize, Incoming),
    Block(usize, Prefix, Bytes),
    Local(JobId, ItemId, Cid),
    Written(JobId, ItemId, Cid, u64, Bytes),
    Made(JobId),
    LookedUp(usize, Cid),
    Served(usize, Cid, Served),
    Held(usize, Cid),
    SwarmRequested(usize, Cid, Share),
    SwarmAnswered(usize, Cid, Vec<Bytes>),
    DhtRequested(usize, Network, peerage_dht::RequestId, Request),
    DhtAnswered(Network, peerage_dht::RequestId, Response),
    DhtSent(Network, peerage_dht::RequestId),
    DhtFailed(Network, peerage_dht::RequestId, Failure),
}

pub(super) struct Peer {
    pub(super) engine: Engine,
    pub(super) store: Blocks,
    pub(super) fault: Fault,
    pub(super) protocols: Protocols,
    /// False: nobody can connect to it.
    pub(super) listens: bool,
    /// So many connections it accepts and drops at once.
    pub(super) drops: u32,
    /// Nanoseconds that a byte takes on its uplink.
    pub(super) pace: u64,
    pub(super) disk: Duration,
    pub(super) payloads: BTreeMap<Token, Bytes>,
    pub(super) exports: BTreeMap<JobId, Export>,
    pub(super) ended: BTreeMap<JobId, Result<JobProgress, JobError>>,
    pub(super) answers: Vec<(JobId, Cid, bool)>,
    pub(super) progressed: Vec<(PeerId, Share)>,
    pub(super) dials: usize,
    pub(super) sent_blocks: u64,
    pub(super) sent_bytes: u64,
    pub(super) banned: BTreeSet<PeerId>,
    /// Blocks that came to it, by hash, and how often.
    pub(super) came: BTreeMap<Multihash, u32>,
    pub(super) requests: BTreeMap<RequestId, (usize, Cid)>,
    /// Everything that it asked of others' DHTs.
    pub(super) asked: Vec<(usize, Request)>,
    /// What its look-ups told.
    pub(super) found: Vec<(FindId, FindEvent)>,
    /// Peers that it hung up on for want of room.
    pub(super) trimmed: usize,
    uplink_free: Instant,
    pub(super) next: u64,
}

/// An input for a peer; with the connection that it travels on, if it does.
type Event = (usize, Option<((usize, usize), u64)>, Input);

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) peers: Vec<Peer>,
    queue: BTreeMap<(Instant, u64), Event>,
    /// Connected pairs, the smaller first, each connection with a number.
    pub(super) links: BTreeMap<(usize, usize), u64>,
    last: BTreeMap<(usize, usize), Instant>,
    next: u64,
    /// Everything that was put out, folded.
    pub(super) trace: u64,
    pub(super) config: Config,
}

pub(crate) fn peer_id(n: usize) -> PeerId {
    // An Ed25519 key in an identity multihash: any 32 bytes will do.
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([7; 24]);
    bytes.extend((n as u64).to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

pub(crate) fn addr(n: usize) -> Multiaddr {
    format!("/ip4/10.0.0.{}/tcp/4001", n + 1).parse().unwrap()
}

/// The address of a peer as a link has it.
pub(super) fn hint(n: usize) -> Multiaddr {
    format!("/ip4/10.0.0.{}/tcp/4001/p2p/{}", n + 1, peer_id(n)).parse().unwrap()
}

pub(super) fn hints(of: impl IntoIterator<Item = usize>) -> Sources {
    Sources { hints: of.into_iter().map(hint).collect(), ..Sources::default() }
}

fn number_of(addr: &Multiaddr) -> usize {
    let text = addr.to_string();
    let rest = text.strip_prefix("/ip4/10.0.0.").unwrap();
    rest.split('/').next().unwrap().parse::<usize>().unwrap() - 1
}

fn number_of_id(id: &PeerId) -> usize {
    let bytes = id.to_bytes();
    usize::from(bytes[bytes.len() - 1])
}

impl Peer {
    fn new(n: usize, config: &Config, seed: u64, now: Now) -> Self {
        Self {
            engine: Engine::new(peer_id(n), config.clone(), peerage_exchange::Config::default(), seed, now),
            store: Blocks::new(),
            fault: Fault::None,
            protocols: Protocols::of(["/ipfs/bitswap/1.2.0", SWARM_PROTOCOL]),
            listens: true,
            drops: 0,
            pace: 10,
            disk: Duration::from_micros(300),
            payloads: BTreeMap::new(),
            exports: BTreeMap::new(),
            ended: BTreeMap::new(),
            answers: Vec::new(),
            progressed: Vec::new(),
            dials: 0,
            sent_blocks: 0,
            sent_bytes: 0,
            banned: BTreeSet::new(),
            came: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: Vec::new(),
            found: Vec::new(),
            trimmed: 0,
            uplink_free: Instant::START,
            next: 0,
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, count: usize) -> Self {
        Self::with(seed, count, Config::default())
    }

    pub(super) fn with(seed: u64, count: usize, config: Config) -> Self {
        let mut rng = Rng::new(seed);
        let now = Now::default();
        let peers = (0..count).map(|n| Peer::new(n, &config, rng.next_u64(), now)).collect();
        let (queue, links, last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now: Instant::START, rng, peers, queue, links, last, next: 0, trace: 0, config }
    }

    pub(super) fn clock(&self) -> Now {
        Now::new(self.now, UnixTime(1_800_000_000 + self.seconds()))
    }

    pub(super) fn seconds(&self) -> u64 {
        self.now.as_nanos() / 1_000_000_000
    }

    /// Gives a peer all blocks of a DAG, and has it served.
    pub(super) fn share(&mut self, n: usize, dag: &Dag) {
        self.peers[n].store.extend(dag.blocks.clone());
        self.peers[n].engine.serve_root(dag.root, dag.bytes());
    }

    pub(super) fn fetch(&mut self, n: usize, job: u64, root: Cid, sources: Sources) {
        let now = self.clock();
        self.peers[n].exports.insert(JobId(job), Export::default());
        self.peers[n].engine.start_fetch(JobId(job), root, sources, true, Order::RarestFirst, now);
        self.perform_all(n);
    }

    pub(super) fn outcome(&self, n: usize, job: u64) -> Option<&Result<JobProgress, JobError>> {
        self.peers[n].ended.get(&JobId(job))
    }

    pub(super) fn export(&self, n: usize, job: u64) -> &Export {
        &self.peers[n].exports[&JobId(job)]
    }

    /// One more peer; its number.
    pub(super) fn add(&mut self, seed: u64) -> usize {
        let n = self.peers.len();
        let now = self.clock();
        self.peers.push(Peer::new(n, &self.config, seed, now));
        n
    }

    /// A peer is gone without a word, and cannot be reached any more.
    pub(super) fn vanish(&mut self, n: usize) {
        self.peers[n].listens = false;
        for other in 0..self.peers.len() {
            self.cut(n, other);
        }
    }

    /// A peer learns by mDNS of another.
    pub(super) fn discover(&mut self, n: usize, other: usize) {
        let now = self.clock();
        self.peers[n].engine.handle_discovered(peer_id(other), &[addr(other)], now);
        self.perform_all(n);
    }

    /// Puts peers into the DHT of the local network, as servers.
    pub(super) fn join(&mut self, peers: impl IntoIterator<Item = usize>) {
        for n in peers {
            let now = self.clock();
            self.peers[n].protocols.lan_dht = true;
            self.peers[n].engine.set_listen(vec![addr(n)], now);
            self.perform_all(n);
        }
    }

    pub(super) fn bootstrap(&mut self, n: usize, from: usize) {
        let now = self.clock();
        self.peers[n].engine.bootstrap(&[hint(from)], false, now);
        self.perform_all(n);
    }

    /// Has something happen to a peer in a while.
    pub(super) fn later(&mut self, n: usize, after: Duration, input: Input) {
        self.queue.insert((self.now + after, self.next), (n, None, input));
        self.next += 1;
    }

    /// Has something travel over the connection of two peers, in order.
    pub(super) fn send(&mut self, from: usize, to: usize, after: Duration, input: Input) {
        let pair = (from.min(to), from.max(to));
        let Some(&number) = self.links.get(&pair) else { return };
        let latency = Duration::from_millis(2 + (pair.0 as u64 * 7 + pair.1 as u64 * 13) % 40);
        let at = (self.now + after + latency).max(self.last.get(&(from, to)).copied().unwrap_or_default());
        self.last.insert((from, to), at);
        self.queue.insert((at, self.next), (to, Some((pair, number)), input));
        self.next += 1;
    }

    /// When `bytes` more are on the uplink of a peer.
    pub(super) fn uplink(&mut self, n: usize, bytes: usize) -> Duration {
        let peer = &mut self.peers[n];
        let free = peer.uplink_free.max(self.now) + Duration::from_nanos(peer.pace * bytes as u64);
        peer.uplink_free = free;
        free - self.now
    }

    pub(super) fn dial(&mut self, from: usize, dial: DialId, addrs: &[Multiaddr]) {
        self.peers[from].dials += 1;
        let to = addrs.first().map(number_of).filter(|to| *to != from);
        let to = to.filter(|to| self.peers.get(*to).is_some_and(|peer| peer.listens));
        let Some(to) = to else {
            let failed = Input::DialFailed(dial, DialFailure::Unreachable);
            return self.later(from, Duration::from_millis(30), failed);
        };
        if self.peers[to].drops > 0 {
            self.peers[to].drops -= 1;
            let failed = Input::DialFailed(dial, DialFailure::Dropped);
            return self.later(from, Duration::from_millis(30), failed);
        }
        self.connect(from, to, Some(dial));
    }

    /// Gives an attempt up: the other side may still see a connection, which is
    /// closed at once.
    pub(super) fn cancel_dial(&mut self, from: usize, dial: DialId) {
        let ours = |event: &Event| match event {
            (n, Some((pair, _)), Input::Connected(connected)) => {
                (*n == from && connected.dial == Some(dial)).then_some(Some(*pair))
            }
            (n, None, Input::DialFailed(failed, _)) => (*n == from && *failed == dial).then_some(None),
            _ => None,
        };
        let found = self.queue.iter().find_map(|(key, event)| Some((*key, ours(event)?)));
        let Some((key, pair)) = found else { return };
        self.queue.remove(&key);
        let known = |world: &Self, pair: (usize, usize)| {
            let engine = &world.peers[from].engine;
            engine.is_connected(&peer_id(pair.0)) || engine.is_connected(&peer_id(pair.1))
        };
        if let Some((a, b)) = pair.filter(|pair| !known(self, *pair)) {
            self.cut(a, b);
        }
    }

    pub(super) fn connect(&mut self, from: usize, to: usize, dial: Option<DialId>) {
        let pair = (from.min(to), from.max(to));
        if !self.links.contains_key(&pair) {
            self.links.insert(pair, self.next);
            self.next += 1;
        }
        let connected = |n: usize, dial| Connected {
            peer: peer_id(n),
            addr: addr(n),
            dial,
            by_user: false,
            outbound: dial.is_some(),
        };
        self.send(to, from, Duration::ZERO, Input::Connected(connected(to, dial)));
        self.send(from, to, Duration::ZERO, Input::Connected(connected(from, None)));
        self.send(to, from, Duration::ZERO, Input::Identified(to));
        self.send(from, to, Duration::ZERO, Input::Identified(from));
    }

    /// Ends a connection: what is under way on it is lost.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        let pair = (a.min(b), a.max(b));
        if let Some(number) = self.links.remove(&pair) {
            // A handshake that was under way is a dial that failed.
            let dials = self.queue.values().filter_map(|(n, link, input)| match input {
                Input::Connected(Connected { dial: Some(dial), .. }) if *link == Some((pair, number)) => {
                    Some((*n, *dial))
                }
                _ => None,
            });
            for (n, dial) in dials.collect::<Vec<_>>() {
                self.later(n, Duration::ZERO, Input::DialFailed(dial, DialFailure::Unreachable));
            }
            self.later(a, Duration::ZERO, Input::Disconnected(b));
            self.later(b, Duration::ZERO, Input::Disconnected(a));
        }
    }

    pub(super) fn disconnect(&mut self, from: usize, peer: &PeerId) {
        self.peers[from].banned.insert(*peer);
        self.cut(from, number_of_id(peer));
    }

    /// Blocks that a peer is looking for here.
    pub(super) fn looking(&self, n: usize) -> usize {
        self.queue.values().filter(|(at, _, input)| *at == n && matches!(input, Input::Local(..))).count()
    }

    /// True while folders are being made or files finished.
    pub(super) fn is_making(&self, n: usize, job: JobId) -> bool {
        self.queue
            .values()
            .any(|(at, _, input)| *at == n && matches!(input, Input::Made(made) if *made == job))
    }

    pub(super) fn number(&self, peer: &PeerId) -> usize {
        number_of_id(peer)
    }

    /// Lets the next thing happen; false if nothing will.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        let due = |(n, peer): (usize, &Peer)| peer.engine.poll_timeout().map(|(at, _)| (at, n));
        let timer = self.peers.iter().enumerate().filter_map(due).min();
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let next = timer.map(|(at, _)| at).into_iter().chain(event).min();
        let Some(next) = next.filter(|&at| at <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= next) {
            let Some((_, (n, link, input))) = self.queue.pop_first() else { return false };
            if link.is_none_or(|(pair, number)| self.links.get(&pair) == Some(&number)) {
                self.handle(n, input);
                self.perform_all(n);
            }
        } else if let Some((_, n)) = timer {
            let now = self.clock();
            self.peers[n].engine.handle_timeout(now);
            self.perform_all(n);
            let again = self.peers[n].engine.poll_timeout();
            assert!(again.is_none_or(|(at, _)| at > self.now), "a timer fires and fires: {again:?}");
        }
        self.check();
        true
    }

    /// Runs until a job of a peer is over, or for so many seconds.
    pub(super) fn run(&mut self, n: usize, job: u64, seconds: u64) -> &Result<JobProgress, JobError> {
        let until = self.now + Duration::from_secs(seconds);
        while self.outcome(n, job).is_none() && self.step(until) {}
        let weights = self.peers[n].engine.weights();
        self.outcome(n, job)
            .unwrap_or_else(|| panic!("job {job} of {n} is not over after {seconds} s: {weights:?}"))
    }

    pub(super) fn run_for(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.step(until) {}
    }

    /// What holds after every step.
    fn check(&self) {
        for peer in &self.peers {
            let weights = peer.engine.weights();
            let most = self.config.fetch_credit + weights.len() as u64 * (2 << 21);
            assert!(peer.engine.credit_used() <= most, "{} bytes of credit", peer.engine.credit_used());
            if weights.is_empty() {
                assert_eq!(peer.engine.credit_used(), 0, "credit that nobody gives back");
            }
            for (known, live, _) in weights {
                assert!(
                    known <= self.config.frontier_max && live <= self.config.live_items,
                    "{known} {live}"
                );
            }
            assert!(peer.payloads.is_empty(), "payloads are released with the input that brought them");
        }
    }
}
