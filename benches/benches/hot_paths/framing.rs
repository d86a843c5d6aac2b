//! Length-delimited messages put together from the chunks of a stream.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use peerage_wire::{frame, varint};

use crate::payload;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing");
    // A Bitswap block message in Noise-sized chunks, and many small ones.
    for (name, message, count, chunk) in [("1 MiB", 1 << 20, 4, 65_519), ("100 B", 100, 10_000, 65_519)] {
        let mut stream = BytesMut::new();
        for _ in 0..count {
            varint::put(&mut stream, message as u64);
            stream.extend_from_slice(&payload(message));
        }
        let stream = stream.freeze();
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |b| b.iter(|| assert_eq!(assemble(&stream, chunk), count)));
    }
    group.finish();
}

fn assemble(stream: &Bytes, chunk: usize) -> usize {
    let mut frames = frame::Assembler::new(4 << 20);
    let mut messages = 0;
    let mut rest = stream.clone();
    while !rest.is_empty() {
        let mut piece = rest.split_to(chunk.min(rest.len()));
        while !piece.is_empty() {
            if let Some(message) = frames.push(&mut piece).expect("the stream is well formed") {
                black_box(message);
                messages += 1;
            }
        }
    }
    messages
}
