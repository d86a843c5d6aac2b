//! The DHT: the table, a step of a look-up, and the messages that it sends.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_dht::codec::{decode_request, decode_response, encode_request, encode_response};
use peerage_dht::{Answer, Config, Dht, Mode, Output, PeerInfo, Request, RequestId, Response};
use peerage_identity::{Multiaddr, PeerId};

/// Servers of which a table is filled: some 200 get a place.
const SERVERS: u32 = 5_000;

const NOW: Now = Now::new(Instant::from_nanos(1_000_000_000), UnixTime(1_700_000_000));

fn peer(rng: &mut Rng) -> PeerId {
    let mut id = [0; 34];
    id[..2].copy_from_slice(&[0x12, 0x20]);
    rng.fill(&mut id[2..]);
    PeerId::from_bytes(&id).expect("a multihash of the right length")
}

/// Peers with three addresses, each in an IP group of its own.
fn peers(count: u32) -> Vec<PeerInfo> {
    let mut rng = Rng::new(1);
    let address = |n: u32, rest: &str| -> Multiaddr {
        format!("/ip4/{}.{}.1.9/{rest}", 60 + n / 256, n % 256).parse().expect("an address")
    };
    let info = |n| PeerInfo {
        peer: peer(&mut rng),
        addrs: ["tcp/4001", "udp/4001/quic-v1", "tcp/443/tls/ws"].map(|rest| address(n, rest)).to_vec(),
    };
    (0..count).map(info).collect()
}

fn empty() -> Dht {
    let mut dht = Dht::new(Config::default(), peer(&mut Rng::new(2)), 3, NOW);
    dht.set_mode(Mode::Server);
    dht
}

fn full(all: &[PeerInfo]) -> Dht {
    let mut dht = empty();
    for info in all {
        dht.add_known(info, &info.addrs[0], NOW);
    }
    dht
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("dht");
    let all = peers(SERVERS);
    let dht = full(&all);
    assert!((150..300).contains(&dht.stats().table_peers), "{:?}", dht.stats());

    group.bench_function(format!("offer {SERVERS} peers to an empty table"), |b| {
        b.iter(|| full(black_box(&all)));
    });
    let known = dht.peers();
    let mut dht = dht;
    let mut next = known.iter().cycle();
    group.bench_function("a known peer answered", |b| {
        b.iter(|| {
            let info = next.next().expect("it goes round");
            dht.add_known(info, &info.addrs[0], NOW)
        });
    });
    let mut rng = Rng::new(4);
    group.bench_function("answer FIND_NODE from a full table", |b| {
        b.iter(|| {
            let key = Bytes::copy_from_slice(peer(&mut rng).as_bytes());
            dht.handle_request(all[0].peer, &all[0].addrs[0], &Request::FindNode { key }, NOW)
        });
    });

    let key = Bytes::copy_from_slice(peer(&mut rng).as_bytes());
    let request = Request::FindNode { key };
    let answer = dht.handle_request(all[0].peer, &all[0].addrs[0], &request, NOW);
    let Answer::Respond(response) = answer else { panic!("a server answers") };
    assert_eq!(response.closer().len(), 20);
    group.bench_function("begin a look-up from a full table", |b| {
        let begun = |mut dht: Dht| {
            begin(&mut dht);
            dht
        };
        b.iter_batched(|| full(&known), begun, BatchSize::LargeInput);
    });
    group.bench_function("one answer in a look-up: 20 new peers", |b| {
        let fresh = Response::Closest { closer: all[all.len() - 20..].to_vec() };
        let ready = || {
            let mut dht = full(&known);
            let id = begin(&mut dht);
            (dht, id, fresh.clone())
        };
        let via = &known[0].addrs[0];
        b.iter_batched(
            ready,
            |(mut dht, id, response)| {
                dht.handle_response(id, via, response, NOW);
                dht
            },
            BatchSize::LargeInput,
        );
    });

    let bytes = unframed(encode_response(&request, &response));
    group.bench_function("encode 20 closest peers", |b| {
        b.iter(|| encode_response(&request, black_box(&response)));
    });
    group.bench_function(format!("decode 20 closest peers, {} bytes", bytes.len()), |b| {
        b.iter(|| decode_response(black_box(bytes.clone())).expect("what we encoded"));
    });
    let asked = unframed(encode_request(&request));
    group.bench_function("encode and decode a request", |b| {
        b.iter(|| {
            black_box(encode_request(&request));
            decode_request(black_box(asked.clone())).expect("what we encoded")
        });
    });
    group.finish();
}

/// The first request of a look-up.
fn begin(dht: &mut Dht) -> RequestId {
    dht.find_closest(b"a key", NOW).expect("none is running");
    loop {
        match dht.poll_output().expect("somebody is asked") {
            Output::SendRequest { id, .. } => return id,
            _ => continue,
        }
    }
}

/// The message behind its length.
fn unframed(framed: Bytes) -> Bytes {
    let mut chunk = framed;
    let mut frames = peerage_wire::frame::Assembler::new(4 << 20);
    frames.push(&mut chunk).expect("what we encoded").expect("a whole message")
}
