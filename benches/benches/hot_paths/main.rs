//! Criterion benchmarks of what every byte passes through, a file per layer.

use criterion::{criterion_group, criterion_main};

mod bitswap;
mod content;
mod dht;
mod framing;
mod noise;
mod sim;
mod store;
mod yamux;

/// Bytes that are repeatable and do not compress.
fn payload(len: usize) -> bytes::Bytes {
    let mut rng = peerage_base::Rng::new(len as u64);
    std::iter::repeat_with(|| rng.next_u64().to_le_bytes()).flatten().take(len).collect()
}

criterion_group!(
    hot_paths,
    framing::bench,
    noise::bench,
    yamux::bench,
    content::bench,
    store::bench,
    bitswap::bench,
    dht::bench,
    sim::bench
);
criterion_main!(hot_paths);
