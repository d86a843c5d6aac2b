//! Chunking and hashing a file into UnixFS, and checking blocks.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use peerage_content::{FileBuilder, Leaf, Profile, verify};

use crate::payload;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("content");
    let data = payload(16 << 20);
    group.throughput(Throughput::Bytes(data.len() as u64));
    for profile in [Profile::UNIXFS_V1_2025, Profile::UNIXFS_V0_2015] {
        let name = format!("chunk and hash, {profile}");
        group.bench_function(name, |b| b.iter(|| build(&profile, &data)));
    }

    let profile = Profile::default();
    let block = &data[..profile.chunker.max_len()];
    let cid = Leaf::new(&profile, block).cid;
    group.throughput(Throughput::Bytes(block.len() as u64));
    group.bench_function("verify a block of 1 MiB", |b| b.iter(|| verify(&cid, black_box(block))));
    group.finish();
}

fn build(profile: &Profile, data: &[u8]) -> u64 {
    let mut builder = FileBuilder::new(profile);
    for chunk in data.chunks(profile.chunker.max_len()) {
        black_box(builder.push(&Leaf::new(profile, chunk)));
    }
    builder.finish().expect("a file with leaves").size
}
