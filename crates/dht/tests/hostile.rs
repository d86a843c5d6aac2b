//! Any sequence of inputs: nothing panics, every bound holds, every look-up ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_dht::codec::{decode_request, decode_response, encode_response};
use peerage_dht::limits::RESPONSE_SENT_MAX;
use peerage_dht::{
    Answer, Config, Dht, Failure, LookupId, Mode, Output, PeerInfo, Record, Request, RequestId, Response,
};
use peerage_identity::{Keypair, Multiaddr, PeerId};
use peerage_wire::frame::Assembler;
use proptest::prelude::*;

fn peer(n: u64) -> PeerId {
    let bytes = [&[0x12, 0x20][..], &[0; 24], &(n % 90).to_be_bytes()].concat();
    PeerId::from_bytes(&bytes).unwrap()
}

/// Public, private, relayed, by name, and nowhere.
fn addr(n: u64) -> Multiaddr {
    let text = match n % 7 {
        0 => format!("/ip4/10.0.0.{}/tcp/1", n % 256),
        1 => "/dns4/example.com/tcp/1".to_owned(),
        2 => "/ip4/0.0.0.0/tcp/1".to_owned(),
        3 => format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", peer(n)),
        _ => format!("/ip4/{}.{}.1.1/tcp/1", 60 + n % 50, n % 13),
    };
    text.parse().unwrap()
}

fn infos(rng: &mut Rng) -> Vec<PeerInfo> {
    let count = rng.below(25);
    (0..count)
        .map(|_| {
            let addrs = rng.below(4);
            PeerInfo { peer: peer(rng.next_u64()), addrs: (0..addrs).map(|_| addr(rng.next_u64())).collect() }
        })
        .collect()
}

fn record(rng: &mut Rng) -> Record {
    let keypair = Keypair::from_seed([u8::try_from(rng.below(40)).unwrap(); 32]);
    let mut value = keypair.public().to_protobuf();
    if rng.below(3) == 0 {
        value.pop();
    }
    Record { key: peerage_dht::public_key_key(&keypair.peer_id()), value: value.into() }
}

fn key(rng: &mut Rng) -> Bytes {
    match rng.below(4) {
        0 => record(rng).key,
        1 => Bytes::copy_from_slice(peer(rng.next_u64()).as_bytes()),
        _ => Bytes::copy_from_slice(&rng.below(30).to_be_bytes()),
    }
}

fn request(rng: &mut Rng) -> Request {
    let key = key(rng);
    match rng.below(6) {
        0 => Request::FindNode { key },
        1 => Request::GetProviders { key },
        2 => Request::AddProvider { key, providers: infos(rng) },
        3 => Request::GetValue { key },
        4 => Request::PutValue { record: record(rng) },
        _ => Request::Ping,
    }
}

/// Mostly of the kind that was asked for.
fn response(rng: &mut Rng, to: &Request) -> Response {
    let closer = infos(rng);
    match to {
        _ if rng.below(10) == 0 => Response::Pong,
        Request::GetProviders { .. } => Response::Providers { providers: infos(rng), closer },
        Request::GetValue { .. } => Response::Value { record: Some(record(rng)), closer },
        Request::PutValue { record } => Response::Stored { record: record.clone() },
        _ => Response::Closest { closer },
    }
}

struct Run {
    dht: Dht,
    rng: Rng,
    now: Instant,
    open: Vec<(RequestId, Request)>,
    lookups: BTreeSet<LookupId>,
    ended: BTreeSet<LookupId>,
}

impl Run {
    fn now(&mut self) -> Now {
        // The calendar jumps; the other clock does not.
        Now::new(self.now, UnixTime(self.rng.below(400_000)))
    }

    fn step(&mut self) {
        let now = self.now();
        let (n, m) = (self.rng.next_u64(), self.rng.next_u64());
        let rng = &mut self.rng;
        let begun = match rng.below(15) {
            0 => self.dht.find_closest(&key(rng), now).ok(),
            1 => self.dht.find_providers(&key(rng), now).ok(),
            2 => self.dht.find_value(&record(rng).key, now).ok(),
            3 => self.dht.find_peer(peer(n), now).ok(),
            4 => self.dht.provide(&key(rng), now).ok(),
            5 => {
                let record = record(rng);
                self.dht.put_value(&record.key, record.value, now).ok()
            }
            6 => {
                self.dht.handle_identified(peer(n), n % 3 > 0, &[addr(m), addr(n)], &addr(m), now);
                None
            }
            7 => {
                self.dht.handle_disconnected(&peer(n));
                None
            }
            8 => {
                let request = request(rng);
                if let Answer::Respond(response) = self.dht.handle_request(peer(n), &addr(m), &request, now) {
                    readable(&request, &response);
                }
                None
            }
            9 => {
                self.dht.bootstrap(infos(rng), now);
                self.dht.set_mode(if n.is_multiple_of(2) { Mode::Server } else { Mode::Client });
                self.dht.set_local_addrs(&[addr(n), addr(m)]);
                None
            }
            10 => {
                self.now += Duration::from_millis(n % 20_000);
                self.dht.handle_timeout(Now::new(self.now, now.unix));
                None
            }
            12 if n.is_multiple_of(4) => {
                if let Some(&lookup) = self.lookups.first() {
                    self.dht.cancel(lookup);
                    self.ended.insert(lookup);
                }
                None
            }
            _ => {
                self.answer(n, m, now);
                None
            }
        };
        self.lookups.extend(begun);
        self.drain();
    }

    fn answer(&mut self, n: u64, m: u64, now: Now) {
        let Some(index) = usize::try_from(n).unwrap().checked_rem(self.open.len()) else { return };
        let (id, request) = self.open.swap_remove(index);
        match m % 5 {
            0 => self.dht.handle_request_failed(id, Failure::Unreachable, now),
            1 => self.dht.handle_request_failed(id, Failure::Unsupported, now),
            2 => self.dht.handle_sent(id, now),
            _ => {
                let response = response(&mut self.rng, &request);
                self.dht.handle_response(id, &addr(m), response, now);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.dht.poll_output() {
            match output {
                Output::SendRequest { id, addrs, request, peer: to, .. } => {
                    assert!(to != peer(0), "we do not ask ourselves");
                    assert!(addrs.len() <= 32);
                    self.open.push((id, request));
                }
                Output::LookupFinished { lookup, report } => {
                    assert!(self.ended.insert(lookup), "once");
                    assert!(report.closest.len() <= Config::default().asked_max);
                    assert_eq!(report.closest.len(), report.groups.len());
                    assert!(report.progress.answered + report.progress.failed <= report.progress.asked);
                }
                Output::ProvidersFound { lookup, .. } | Output::ValueFound { lookup, .. } => {
                    assert!(!self.ended.contains(&lookup), "nothing after the end");
                }
                _ => {}
            }
        }
        let stats = self.dht.stats();
        assert!(stats.lookups <= 7 && stats.contacts <= 30 && stats.values <= 10);
        assert!(stats.provider_records <= 40);
        let health = self.dht.table_health();
        assert!(health.iter().all(|bucket| bucket.peers <= 20 && bucket.waiting <= 10));
        assert_eq!(health.iter().map(|bucket| bucket.peers).sum::<usize>(), stats.table_peers);
    }
}

/// What is answered can be read, by those too who read no more than this.
fn readable(request: &Request, response: &Response) {
    let mut framed = encode_response(request, response);
    assert!(framed.len() <= 16 * 1024);
    let body = Assembler::new(RESPONSE_SENT_MAX).push(&mut framed).unwrap().unwrap();
    assert_eq!(decode_response(body).as_ref(), Ok(response));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_breaks_it(seed in any::<u64>(), steps in 100u32..600, paths in 1usize..4) {
        let config = Config {
            paths,
            lookups_max: 6,
            contacts_max: 30,
            values_max: 10,
            providers_max: 40,
            checks_max: 20,
            ..Config::default()
        };
        let now = Now::default();
        let mut run = Run {
            dht: Dht::new(config, peer(0), seed, now),
            rng: Rng::new(seed),
            now: now.instant,
            open: Vec::new(),
            lookups: BTreeSet::new(),
            ended: BTreeSet::new(),
        };
        for _ in 0..steps {
            run.step();
        }
        // Left alone, all ends within its deadlines: to search and to store.
        let end = run.now + Duration::from_secs(90);
        while let Some((at, _)) = run.dht.poll_timeout().filter(|(at, _)| *at <= end) {
            run.now = run.now.max(at);
            let now = run.now();
            run.dht.handle_timeout(now);
            run.drain();
        }
        prop_assert!(run.lookups.iter().all(|lookup| run.ended.contains(lookup)));
    }

    /// Whatever bytes can be read can be answered.
    #[test]
    fn any_message_is_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..6) {
        let mut dht = Dht::new(Config::default(), peer(0), 1, Now::default());
        dht.set_mode(Mode::Server);
        let framed = [&[0x08, kind][..], &bytes].concat();
        let now = Now::default();
        if let Ok(request) = decode_request(framed.clone().into())
            && let Answer::Respond(response) = dht.handle_request(peer(1), &addr(4), &request, now)
        {
            readable(&request, &response);
        }
        if let Ok(response) = decode_response(framed.into()) {
            dht.bootstrap([PeerInfo { peer: peer(1), addrs: vec![addr(4)] }], Now::default());
            if let Some(Output::SendRequest { id, .. }) = dht.poll_output() {
                dht.handle_response(id, &addr(4), response, Now::default());
            }
        }
    }
}
