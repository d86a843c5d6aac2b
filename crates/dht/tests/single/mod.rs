//! One machine, and a hand that plays everybody else.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, UnixTime};
use peerage_dht::{Answer, Config, Dht, Mode, Output, PeerInfo, Request, RequestId, Response};
use peerage_identity::{Multiaddr, PeerId};

pub(crate) fn peer(n: u64) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend(n.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// A public address; those of numbers below 2,048 are of different groups.
pub(crate) fn addr(n: u64) -> Multiaddr {
    format!("/ip4/{}.{}.1.9/tcp/4001", 60 + n / 256 % 8, n % 256).parse().unwrap()
}

pub(crate) fn info(n: u64) -> PeerInfo {
    PeerInfo { peer: peer(n), addrs: vec![addr(n)] }
}

pub(crate) fn multihash(n: u64) -> Bytes {
    [&[0x12, 0x20][..], &[0; 24], &n.to_be_bytes()].concat().into()
}

/// Peer 0.
pub(crate) struct Single {
    pub(crate) dht: Dht,
    now: Instant,
    outputs: Vec<Output>,
}

impl Single {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::START + Duration::from_secs(1);
        let mut dht = Dht::new(config, peer(0), 7, Now::new(now, UnixTime(1_000_000)));
        dht.set_local_addrs(&[addr(0)]);
        Self { dht, now, outputs: Vec::new() }
    }

    /// A server that knows the peers 1 to `count`, as far as its buckets have room.
    pub(crate) fn server(count: u64) -> Self {
        let mut single = Self::new(Config::default());
        single.dht.set_mode(Mode::Server);
        single.learn(count);
        single
    }

    /// The peers 1 to `count` come, answer, and go; look-ups of the table end.
    pub(crate) fn learn(&mut self, count: u64) {
        for n in 1..=count {
            let now = self.now();
            self.dht.handle_identified(peer(n), true, &[addr(n)], &addr(n), now);
            self.answer_all(|_, _| Some(Response::Closest { closer: Vec::new() }));
            self.dht.handle_disconnected(&peer(n));
        }
        assert_eq!(self.dht.stats().requests, 0);
        self.outputs();
    }

    pub(crate) fn now(&self) -> Now {
        Now::new(self.now, UnixTime(1_000_000 + self.now.as_nanos() / 1_000_000_000))
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, _)) = self.dht.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.dht.handle_timeout(self.now());
        }
        self.now = end;
    }

    /// Peer `from` asks.
    pub(crate) fn ask(&mut self, from: u64, request: &Request) -> Answer {
        let now = self.now();
        self.dht.handle_request(peer(from), &addr(from), request, now)
    }

    /// All outputs since the last time, requests included.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.extend(std::iter::from_fn(|| self.dht.poll_output()));
        outputs
    }

    /// The requests sent since the last time; other outputs are kept.
    pub(crate) fn sent(&mut self) -> Vec<(RequestId, PeerId, Request)> {
        let mut sent = Vec::new();
        while let Some(output) = self.dht.poll_output() {
            match output {
                Output::SendRequest { id, peer, request, .. } => sent.push((id, peer, request)),
                other => self.outputs.push(other),
            }
        }
        sent
    }

    /// Answers every request as told until there are no more; `None` is silence.
    pub(crate) fn answer_all(&mut self, mut answer: impl FnMut(PeerId, &Request) -> Option<Response>) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return;
            }
            for (id, peer, request) in sent {
                let now = self.now();
                if let Some(response) = answer(peer, &request) {
                    self.dht.handle_response(id, &addr(number(&peer)), response, now);
                } else if !request.is_answered() {
                    self.dht.handle_sent(id, now);
                }
            }
        }
    }
}

/// The number of a peer that [`peer`] made.
pub(crate) fn number(peer: &PeerId) -> u64 {
    u64::from_be_bytes(peer.as_bytes()[26..34].try_into().unwrap())
}
