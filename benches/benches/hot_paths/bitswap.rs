//! Bitswap messages: a full wantlist, presences, and blocks.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use peerage_content::{Cid, Leaf, Prefix, Profile};
use peerage_exchange::codec::{decode, encode, encode_blocks};
use peerage_exchange::{Outgoing, Presence, Version, WantEntry, WantKind};

use crate::payload;

/// As many wants as deployed peers keep.
const WANTS: u32 = 1024;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("bitswap");
    let cids: Vec<Cid> =
        (0..WANTS).map(|number| Leaf::new(&Profile::default(), &number.to_le_bytes()).cid).collect();
    let want = |cid: &Cid| WantEntry { cid: *cid, priority: 1, kind: WantKind::Block, send_dont_have: true };
    let wants = Outgoing { wants: cids.iter().map(want).collect(), ..Outgoing::default() };
    let presences = Outgoing {
        presences: cids.iter().map(|cid| (*cid, Presence::Have)).collect(),
        ..Outgoing::default()
    };
    group.throughput(Throughput::Elements(u64::from(WANTS)));
    for (name, message) in [("wants", &wants), ("presences", &presences)] {
        group.bench_function(format!("encode {WANTS} {name}"), |b| {
            b.iter(|| encode(black_box(message), Version::V1_2));
        });
        let bytes = unframed(encode(message, Version::V1_2));
        let decoded = decode(bytes.clone()).expect("what we encoded");
        assert_eq!(decoded.wants.len() + decoded.presences.len(), cids.len());
        group.bench_function(format!("decode {WANTS} {name}"), |b| {
            b.iter_batched(|| bytes.clone(), decode, BatchSize::SmallInput);
        });
    }

    let block = payload(1 << 20);
    let prefix = Prefix::of(&Leaf::new(&Profile::default(), &block).cid);
    let blocks = [(prefix, block)];
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("encode a block of 1 MiB", |b| {
        b.iter(|| encode_blocks(black_box(&blocks), Version::V1_2));
    });
    let bytes = unframed(encode_blocks(&blocks, Version::V1_2));
    assert_eq!(decode(bytes.clone()).expect("what we encoded").blocks.len(), 1);
    group.bench_function("decode a block of 1 MiB", |b| {
        b.iter_batched(|| bytes.clone(), decode, BatchSize::SmallInput);
    });
    group.finish();
}

/// The message behind its length.
fn unframed(framed: Bytes) -> Bytes {
    let mut chunk = framed;
    let mut frames = peerage_wire::frame::Assembler::new(4 << 20);
    frames.push(&mut chunk).expect("what we encoded").expect("a whole message")
}
