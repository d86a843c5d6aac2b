//! Hundreds of machines joined in virtual time: links with latency and loss,
//! connections that come and go, peers that lie, keep silent, leave and come.
//! Every message goes through the codec. Bounds are checked after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_dht::codec::{decode_request, decode_response, encode_request, encode_response};
use peerage_dht::limits::RESPONSE_MAX;
use peerage_dht::{
    AnnounceId, Answer, Config, Dht, Failure, Key, LookupId, Mode, Output, PeerInfo, Report, Request,
    RequestId, Response,
};
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::frame::Assembler;

/// Connections that a node keeps; the oldest makes room.
const CONNECTIONS: usize = 40;

/// Unix time when a world begins.
pub(crate) const EPOCH: u64 = 1_700_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    /// Asks, and is not asked.
    Client,
    /// Reads requests and answers nothing.
    Silent,
    /// Names the hostile peers nearest to the key, and knows no provider.
    Hostile,
    /// Names peers very near to the key that do not exist.
    Inventor,
}

impl Kind {
    pub(crate) const fn is_honest(self) -> bool {
        matches!(self, Self::Server | Self::Client)
    }
}

pub(crate) struct Node {
    pub(crate) dht: Dht,
    pub(crate) kind: Kind,
    pub(crate) info: PeerInfo,
    pub(crate) alive: bool,
    latency: Duration,
    wake: Option<Instant>,
    connections: VecDeque<usize>,
    pub(crate) reports: BTreeMap<LookupId, Report>,
    pub(crate) providers: BTreeMap<LookupId, BTreeSet<PeerId>>,
    pub(crate) found: BTreeMap<LookupId, BTreeSet<Multiaddr>>,
    pub(crate) values: BTreeMap<LookupId, Bytes>,
    pub(crate) announced: BTreeMap<AnnounceId, usize>,
}

#[derive(Debug)]
enum Event {
    Request { from: usize, to: usize, id: RequestId, bytes: Bytes },
    Response { from: usize, to: usize, id: RequestId, bytes: Bytes },
    Sent { node: usize, id: RequestId },
    Failed { node: usize, id: RequestId },
    Wake { node: usize },
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    by_peer: BTreeMap<PeerId, usize>,
    pub(crate) now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
    pub(crate) rng: Rng,
    pub(crate) config: Config,
    /// All on one machine.
    pub(crate) loopback: bool,
    /// Messages lost, in a thousand.
    pub(crate) loss: u64,
    /// Requests sent.
    pub(crate) requests: u64,
    /// A hash of all outputs in order, if it is asked for.
    pub(crate) trace: Option<u64>,
}

fn body(mut stream: Bytes) -> Bytes {
    Assembler::new(RESPONSE_MAX).push(&mut stream).unwrap().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        Self {
            nodes: Vec::new(),
            by_peer: BTreeMap::new(),
            now: Instant::START,
            events: BTreeMap::new(),
            next: 0,
            rng: Rng::new(seed),
            config,
            loopback: false,
            loss: 0,
            requests: 0,
            trace: None,
        }
    }

    /// A world of `count` servers that joined one after the other.
    pub(crate) fn of_servers(seed: u64, count: usize) -> Self {
        let mut world = Self::new(seed, Config::default());
        for _ in 0..count {
            world.join(Kind::Server);
            world.run_for(Duration::from_millis(500));
        }
        world.run_for(Duration::from_secs(60));
        world
    }

    pub(crate) fn clock(&self) -> Now {
        let seconds = self.now.as_nanos() / 1_000_000_000;
        Now::new(self.now, UnixTime(EPOCH + seconds))
    }

    /// A node that knows one honest server that is there, if there is one.
    pub(crate) fn join(&mut self, kind: Kind) -> usize {
        let index = self.nodes.len();
        let mut id = vec![0x12, 0x20];
        id.extend((0..4).flat_map(|_| self.rng.next_u64().to_be_bytes()));
        let peer = PeerId::from_bytes(&id).unwrap();
        let addr = if self.loopback {
            format!("/ip4/127.0.0.1/tcp/{}", 4001 + index)
        } else {
            // Of these groups some have several peers.
            let group = self.rng.below(3000);
            format!("/ip4/{}.{}.{}.{}/tcp/4001", 60 + group / 256, group % 256, index / 256, index % 256)
        };
        let info = PeerInfo { peer, addrs: vec![addr.parse().unwrap()] };
        let mut dht = Dht::new(self.config.clone(), peer, self.rng.next_u64(), self.clock());
        dht.set_local_addrs(&info.addrs);
        dht.set_mode(if kind == Kind::Client { Mode::Client } else { Mode::Server });
        let known = self.random_server().map(|other| self.nodes[other].info.clone());
        self.nodes.push(Node {
            dht,
            kind,
            info,
            alive: true,
            latency: Duration::from_millis(5 + self.rng.below(75)),
            wake: None,
            connections: VecDeque::new(),
            reports: BTreeMap::new(),
            providers: BTreeMap::new(),
            found: BTreeMap::new(),
            values: BTreeMap::new(),
            announced: BTreeMap::new(),
        });
        self.by_peer.insert(peer, index);
        self.act(index, |dht, now| dht.bootstrap(known, now));
        index
    }

    pub(crate) fn leave(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for other in std::mem::take(&mut self.nodes[node].connections) {
            self.disconnected(other, node);
        }
    }

    pub(crate) fn random_server(&mut self) -> Option<usize> {
        let servers: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| self.nodes[n].alive && self.nodes[n].kind == Kind::Server)
            .collect();
        self.rng.pick(&servers).copied()
    }

    /// Gives a node an input and does what it wants then.
    pub(crate) fn act<T>(&mut self, node: usize, input: impl FnOnce(&mut Dht, Now) -> T) -> T {
        let now = self.clock();
        let result = input(&mut self.nodes[node].dht, now);
        self.flush(node);
        result
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until this look-up has ended.
    pub(crate) fn finish(&mut self, node: usize, lookup: LookupId) -> Report {
        while !self.nodes[node].reports.contains_key(&lookup) {
            self.step();
        }
        self.nodes[node].reports[&lookup].clone()
    }

    fn step(&mut self) {
        let ((at, _), event) = self.events.pop_first().expect("a timer is always set");
        self.now = at;
        match event {
            Event::Request { from, to, id, bytes } => self.deliver_request(from, to, id, bytes),
            Event::Response { from, to, id, bytes } => {
                if self.nodes[to].alive {
                    let via = self.nodes[from].info.addrs[0].clone();
                    let response = decode_response(bytes).unwrap();
                    self.act(to, |dht, now| dht.handle_response(id, &via, response, now));
                }
            }
            Event::Sent { node, id } => self.act(node, |dht, now| dht.handle_sent(id, now)),
            Event::Failed { node, id } => {
                self.act(node, |dht, now| dht.handle_request_failed(id, Failure::Unreachable, now));
            }
            Event::Wake { node } => {
                // Only if it is the latest: earlier ones change nothing.
                if self.nodes[node].wake == Some(at) && self.nodes[node].alive {
                    self.nodes[node].wake = None;
                    self.act(node, Dht::handle_timeout);
                }
            }
        }
    }

    fn deliver_request(&mut self, from: usize, to: usize, id: RequestId, bytes: Bytes) {
        if !self.nodes[to].alive {
            return;
        }
        self.connect(from, to);
        let request = decode_request(bytes).unwrap();
        let (peer, via) = (self.nodes[from].info.peer, self.nodes[from].info.addrs[0].clone());
        let answer = match self.nodes[to].kind {
            Kind::Silent => Answer::Nothing,
            Kind::Hostile => {
                self.lie(&request, |world, key| world.nearest(key, |node| node.kind == Kind::Hostile))
            }
            Kind::Inventor => self.lie(&request, Self::invented),
            Kind::Server | Kind::Client => {
                self.act(to, |dht, now| dht.handle_request(peer, &via, &request, now))
            }
        };
        let delay = self.delay(from, to);
        match answer {
            Answer::Respond(response) => {
                let bytes = body(encode_response(&request, &response));
                if !self.lost() {
                    self.at(delay, Event::Response { from: to, to: from, id, bytes });
                }
            }
            Answer::Nothing => {}
            Answer::Reset | Answer::Later(_) => self.at(delay, Event::Failed { node: from, id }),
        }
    }

    fn lie(&mut self, request: &Request, closer: impl Fn(&mut Self, &[u8]) -> Vec<PeerInfo>) -> Answer {
        match request {
            Request::FindNode { key } => Answer::Respond(Response::Closest { closer: closer(self, key) }),
            Request::GetProviders { key } => {
                Answer::Respond(Response::Providers { providers: Vec::new(), closer: closer(self, key) })
            }
            Request::GetValue { key } => {
                Answer::Respond(Response::Value { record: None, closer: closer(self, key) })
            }
            Request::AddProvider { .. } => Answer::Nothing,
            Request::PutValue { record } => Answer::Respond(Response::Stored { record: record.clone() }),
            Request::Ping => Answer::Respond(Response::Pong),
        }
    }

    /// The nearest of many that were drawn: an attacker can draw on.
    fn invented(&mut self, key: &[u8]) -> Vec<PeerInfo> {
        let target = Key::of(key);
        let mut all: Vec<PeerInfo> = Vec::new();
        for _ in 0..200 {
            let mut id = vec![0x12, 0x20];
            id.extend((0..4).flat_map(|_| self.rng.next_u64().to_be_bytes()));
            let peer = PeerId::from_bytes(&id).unwrap();
            all.push(PeerInfo { peer, addrs: vec!["/ip4/99.99.99.99/tcp/1".parse().unwrap()] });
        }
        all.sort_by_cached_key(|info| Key::of_peer(&info.peer).distance(&target));
        all.truncate(20);
        all
    }

    /// The 20 nodes nearest to a key that are there and as wanted.
    pub(crate) fn nearest(&self, key: &[u8], wanted: impl Fn(&Node) -> bool) -> Vec<PeerInfo> {
        let target = Key::of(key);
        let nodes = self.nodes.iter().filter(|node| node.alive && node.kind != Kind::Client && wanted(node));
        let mut all: Vec<&Node> = nodes.collect();
        all.sort_by_key(|node| Key::of_peer(&node.info.peer).distance(&target));
        all.truncate(20);
        all.into_iter().map(|node| node.info.clone()).collect()
    }

    /// Both are connected and say who they are.
    fn connect(&mut self, a: usize, b: usize) {
        if self.nodes[a].connections.contains(&b) {
            return;
        }
        for (at, other) in [(a, b), (b, a)] {
            self.nodes[at].connections.push_back(other);
            let Node { info, kind, .. } = &self.nodes[other];
            let (info, server) = (info.clone(), *kind != Kind::Client);
            self.act(at, |dht, now| {
                dht.handle_identified(info.peer, server, &info.addrs, &info.addrs[0], now);
            });
        }
        for node in [a, b] {
            if self.nodes[node].connections.len() > CONNECTIONS
                && let Some(oldest) = self.nodes[node].connections.pop_front()
            {
                self.disconnected(node, oldest);
                self.disconnected(oldest, node);
            }
        }
    }

    fn disconnected(&mut self, node: usize, other: usize) {
        self.nodes[node].connections.retain(|&n| n != other);
        let peer = self.nodes[other].info.peer;
        self.act(node, |dht, _| dht.handle_disconnected(&peer));
    }

    fn flush(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].dht.poll_output() {
            if let Some(trace) = &mut self.trace {
                for byte in format!("{node} {:?} {output:?}", self.now).bytes() {
                    *trace = (*trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            if self.nodes[node].alive {
                self.perform(node, output);
            }
        }
        self.check(node);
        let wake = self.nodes[node].dht.poll_timeout().map(|(at, _)| at.max(self.now));
        if wake != self.nodes[node].wake && self.nodes[node].alive {
            self.nodes[node].wake = wake;
            if let Some(at) = wake {
                self.at(at - self.now, Event::Wake { node });
            }
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        let at = &mut self.nodes[node];
        match output {
            Output::SendRequest { id, peer, addrs, request } => self.send(node, id, &peer, &addrs, &request),
            Output::ProvidersFound { lookup, providers, .. } => {
                let peers = providers.into_iter().map(|info| info.peer);
                at.providers.entry(lookup).or_default().extend(peers);
            }
            Output::PeerFound { lookup, info } => {
                at.found.entry(lookup).or_default().extend(info.addrs);
            }
            Output::ValueFound { lookup, value } => drop(at.values.insert(lookup, value)),
            Output::LookupFinished { lookup, report } => drop(at.reports.insert(lookup, report)),
            Output::Announced { id, told } => drop(at.announced.insert(id, told)),
            Output::CancelRequest { .. }
            | Output::Invented { .. }
            | Output::Progress { .. }
            | Output::PeerAdded { .. }
            | Output::PeerRemoved { .. } => {}
        }
    }

    fn send(&mut self, from: usize, id: RequestId, peer: &PeerId, addrs: &[Multiaddr], request: &Request) {
        self.requests += 1;
        // Who does not exist, or is gone, is silent as often as it refuses.
        let Some(&to) = self.by_peer.get(peer) else { return };
        let connected = self.nodes[from].connections.contains(&to);
        let target = &self.nodes[to];
        if !target.alive || (!connected && !addrs.contains(&target.info.addrs[0])) {
            if to % 2 == 0 {
                self.at(Duration::from_millis(100), Event::Failed { node: from, id });
            }
            return;
        }
        let mut delay = self.delay(from, to);
        if !connected {
            // TCP, Noise and yamux take two and a half round trips.
            delay *= 6;
        }
        if !request.is_answered() {
            self.at(delay, Event::Sent { node: from, id });
        }
        if !self.lost() {
            let bytes = body(encode_request(request));
            self.at(delay, Event::Request { from, to, id, bytes });
        }
    }

    fn lost(&mut self) -> bool {
        self.loss > 0 && self.rng.below(1000) < self.loss
    }

    fn delay(&self, a: usize, b: usize) -> Duration {
        self.nodes[a].latency + self.nodes[b].latency
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + delay, self.next), event);
    }

    fn check(&self, node: usize) {
        let (dht, config) = (&self.nodes[node].dht, &self.config);
        let stats = dht.stats();
        assert!(stats.contacts <= config.contacts_max);
        assert!(stats.lookups <= config.lookups_max + 1);
        // Of each look-up at most alpha and k, of checks their limit, and corrections.
        let per_lookup = config.parallelism + config.bucket_size;
        let corrections = config.asked_max;
        let announced = stats.announcements * config.announce_window;
        assert!(stats.requests <= stats.lookups * per_lookup + config.checks_max + corrections + announced);
        assert!(stats.announcements <= config.announcements_max);
        assert!(stats.provider_records <= config.providers_max);
        assert!(stats.values <= config.values_max && stats.value_bytes <= config.values_bytes_max);
    }
}
