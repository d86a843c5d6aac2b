//! Several machines joined in virtual time: links with latency and bandwidth,
//! peers that hold parts, lie, keep silent or leave. Bounds are checked after
//! every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_content::{Cid, Multihash};
use peerage_exchange::{
    BlockOutcome, Config, Exchange, Holding, Incoming, Order, Outgoing, Output, Served, SessionConfig,
    SessionId, Version,
};
use peerage_identity::PeerId;

pub(crate) const SESSION: SessionId = SessionId(1);

pub(crate) fn peer(n: usize) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend((n as u64).to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

pub(crate) fn cid(n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    digest[8..16].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(0x55, Multihash::wrap(0x12, &digest).unwrap())
}

/// How a node behaves as a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Honest,
    /// Reads wants and answers nothing.
    Silent,
    /// Says what it has and sends nothing.
    Promising,
    /// Every so many blocks are not what was asked for.
    Corrupt(u64),
}

pub(crate) struct Node {
    pub(crate) exchange: Exchange,
    pub(crate) held: BTreeMap<Cid, u32>,
    pub(crate) kind: Kind,
    latency: Duration,
    /// Upload, bytes a second.
    bandwidth: u64,
    busy_until: Instant,
    sent: u64,
    serving: BTreeMap<PeerId, Vec<u32>>,
    pub(crate) delivered: BTreeMap<Cid, u32>,
    pub(crate) stalls: u32,
    pub(crate) banned: BTreeSet<PeerId>,
    /// Offers blocks to others as they come.
    pub(crate) reshares: bool,
}

enum Event {
    Message { from: usize, to: usize, message: Outgoing },
    Block { from: usize, to: usize, cid: Cid, len: u32 },
    Lookup { node: usize, peer: PeerId, cid: Cid },
    Served { node: usize, peer: PeerId, cid: Cid, len: u32 },
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
    links: BTreeSet<(usize, usize)>,
    rng: Rng,
    /// A hash of all outputs in order.
    pub(crate) trace: u64,
    pub(crate) bytes_sent: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            now: Instant::START,
            events: BTreeMap::new(),
            next: 0,
            links: BTreeSet::new(),
            rng: Rng::new(seed),
            trace: 0,
            bytes_sent: 0,
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now::new(self.now, UnixTime(0))
    }

    pub(crate) fn node(
        &mut self,
        kind: Kind,
        bandwidth: u64,
        held: impl IntoIterator<Item = (Cid, u32)>,
    ) -> usize {
        let latency = Duration::from_millis(5 + self.rng.below(80));
        let seed = self.rng.next_u64();
        self.nodes.push(Node {
            exchange: Exchange::new(Config::default(), seed, self.clock()),
            held: held.into_iter().collect(),
            kind,
            latency,
            bandwidth,
            busy_until: Instant::START,
            sent: 0,
            serving: BTreeMap::new(),
            delivered: BTreeMap::new(),
            stalls: 0,
            banned: BTreeSet::new(),
            reshares: false,
        });
        self.nodes.len() - 1
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize, version: Version) {
        self.links.extend([(a, b), (b, a)]);
        let now = self.clock();
        for (at, other) in [(a, b), (b, a)] {
            self.nodes[at].exchange.add_peer(peer(other), version, now);
            self.flush(at);
        }
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
        // What was on the way is lost, and reads for the peer come to nothing.
        self.events.retain(|_, event| match event {
            Event::Message { from, to, .. } | Event::Block { from, to, .. } => {
                (*from, *to) != (a, b) && (*from, *to) != (b, a)
            }
            Event::Lookup { node, peer: p, .. } | Event::Served { node, peer: p, .. } => {
                (*node, *p) != (a, peer(b)) && (*node, *p) != (b, peer(a))
            }
        });
        let now = self.clock();
        for (at, other) in [(a, b), (b, a)] {
            self.nodes[at].serving.remove(&peer(other));
            self.nodes[at].exchange.remove_peer(peer(other), now);
            self.flush(at);
        }
    }

    /// Opens the session of `node` with these sources and wants.
    pub(crate) fn fetch(&mut self, node: usize, order: Order, sources: &[usize], wants: &[(Cid, u32)]) {
        let now = self.clock();
        let exchange = &mut self.nodes[node].exchange;
        exchange.open_session(SESSION, SessionConfig { order }, now).unwrap();
        for &source in sources {
            exchange.add_source(SESSION, peer(source), Holding::Unknown, now).unwrap();
        }
        for (cid, len) in wants {
            exchange.want(SESSION, cid, u64::from(*len), now).unwrap();
        }
        exchange.set_ending(SESSION, true, now);
        self.flush(node);
    }

    pub(crate) fn add_source(&mut self, node: usize, source: usize) {
        self.add_holder(node, source, Holding::Unknown);
    }

    pub(crate) fn add_holder(&mut self, node: usize, source: usize, holding: Holding) {
        let now = self.clock();
        self.nodes[node].exchange.add_source(SESSION, peer(source), holding, now).unwrap();
        self.flush(node);
    }

    /// Nothing goes out of a node for so long.
    pub(crate) fn hold_up(&mut self, node: usize, span: Duration) {
        let now = self.now;
        let node = &mut self.nodes[node];
        node.busy_until = node.busy_until.max(now) + span;
    }

    fn flush(&mut self, at: usize) {
        let now = self.clock();
        self.nodes[at].exchange.flush(now);
        self.drain(at);
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].exchange.poll_output() {
            self.note(&output);
            let now = self.now;
            let latency = self.nodes[at].latency;
            match output {
                Output::SendMessage { peer, message } => {
                    let to = self.index(&peer);
                    self.schedule(now + latency, Event::Message { from: at, to, message });
                }
                Output::Lookup { peer, cid } => {
                    let after = Duration::from_micros(50 + self.rng.below(500));
                    self.schedule(now + after, Event::Lookup { node: at, peer, cid });
                }
                Output::ServeBlock { peer, cid, len } => {
                    if self.nodes[at].kind == Kind::Promising {
                        continue;
                    }
                    let to = self.index(&peer);
                    let node = &mut self.nodes[at];
                    node.serving.entry(peer).or_default().push(len);
                    let span = Duration::from_nanos(u64::from(len) * 1_000_000_000 / node.bandwidth);
                    node.busy_until = node.busy_until.max(now) + span;
                    let done = node.busy_until;
                    node.sent += 1;
                    let wrong = matches!(node.kind, Kind::Corrupt(every) if node.sent.is_multiple_of(every));
                    let sent = if wrong { self::cid(1 << 40 | node.sent) } else { cid };
                    self.bytes_sent += u64::from(len);
                    self.schedule(done, Event::Served { node: at, peer, cid, len });
                    self.schedule(done + latency, Event::Block { from: at, to, cid: sent, len });
                }
                Output::Stalled { .. } => self.nodes[at].stalls += 1,
                Output::SourceUseless { .. } => {}
                Output::Ban { peer, .. } => {
                    self.nodes[at].banned.insert(peer);
                    let other = self.index(&peer);
                    self.disconnect(at, other);
                }
            }
        }
        self.check(at);
    }

    fn index(&self, id: &PeerId) -> usize {
        (0..self.nodes.len()).find(|n| peer(*n) == *id).unwrap()
    }

    fn note(&mut self, output: &Output) {
        for byte in format!("{:?}{output:?}", self.now).bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn check(&self, at: usize) {
        let node = &self.nodes[at];
        for other in 0..self.nodes.len() {
            let stats = node.exchange.peer_stats(&peer(other));
            assert!(stats.live_wants <= 960, "{} live wants", stats.live_wants);
            assert!(stats.held_wants <= 1024, "{} held wants", stats.held_wants);
            assert!(stats.outstanding_bytes <= 20 << 20);
        }
        let mut all = 0;
        for lens in node.serving.values() {
            let bytes: u64 = lens.iter().copied().map(u64::from).sum();
            assert!(bytes <= 2 << 20 || lens.len() <= 2, "{bytes} bytes ahead in {} blocks", lens.len());
            // One block each may go beyond what all may have together.
            all += bytes - lens.iter().copied().map(u64::from).max().unwrap_or(0);
        }
        assert!(all <= 16 << 20, "{all} bytes ahead of all");
    }

    /// One event or timeout; false if nothing will ever happen again.
    pub(crate) fn step(&mut self) -> bool {
        let timer =
            (0..self.nodes.len()).filter_map(|n| Some((self.nodes[n].exchange.poll_timeout()?.0, n))).min();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        match (timer, event) {
            (None, None) => return false,
            (Some((at, n)), event) if event.is_none_or(|e| at < e) => {
                self.now = self.now.max(at);
                let now = self.clock();
                self.nodes[n].exchange.handle_timeout(now);
                self.drain(n);
            }
            _ => {
                let ((at, _), event) = self.events.pop_first().unwrap();
                self.now = self.now.max(at);
                self.handle(event);
            }
        }
        true
    }

    fn handle(&mut self, event: Event) {
        let now = self.clock();
        match event {
            Event::Message { from, to, message } => {
                if self.nodes[to].kind == Kind::Silent {
                    return;
                }
                let Outgoing { full, wants, cancels, presences } = message;
                let incoming = Incoming { full, wants, cancels, presences, ..Incoming::default() };
                self.nodes[to].exchange.handle_message(peer(from), &incoming, now);
                self.drain(to);
            }
            Event::Block { from, to, cid, len } => self.block(from, to, &cid, len),
            Event::Lookup { node, peer, cid } => {
                let state = &mut self.nodes[node];
                let len = state.held.get(&cid).copied();
                state.exchange.handle_lookup(peer, &cid, len, now);
                self.drain(node);
            }
            Event::Served { node, peer, cid, len } => {
                let state = &mut self.nodes[node];
                let serving = state.serving.get_mut(&peer).unwrap();
                serving.remove(serving.iter().position(|l| *l == len).unwrap());
                state.exchange.handle_served(peer, &cid, Served::Sent(len), now);
                self.drain(node);
            }
        }
    }

    fn block(&mut self, from: usize, to: usize, cid: &Cid, len: u32) {
        let now = self.clock();
        let node = &mut self.nodes[to];
        match node.exchange.handle_block(peer(from), cid, len, now) {
            BlockOutcome::Wanted { sessions } => {
                assert_eq!(sessions, [SESSION]);
                let before = node.delivered.insert(*cid, len);
                assert_eq!(before, None, "a block is delivered once");
                node.held.insert(*cid, len);
                if node.reshares {
                    node.exchange.block_available(cid, len, now);
                    node.exchange.flush(now);
                }
            }
            BlockOutcome::Duplicate => {}
            BlockOutcome::Unknown => drop(node.exchange.charge_bad_block(peer(from), now)),
        }
        self.drain(to);
    }

    /// Steps until `node` has `count` blocks; when that was.
    pub(crate) fn run_until(&mut self, node: usize, count: usize, limit: Duration) -> Duration {
        let start = self.now;
        while self.nodes[node].delivered.len() < count {
            assert!(self.step(), "all is quiet with {} of {count}", self.nodes[node].delivered.len());
            assert!(self.now - start < limit, "{} of {count} in time", self.nodes[node].delivered.len());
        }
        self.now - start
    }
}
