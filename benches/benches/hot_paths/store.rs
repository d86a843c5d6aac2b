//! Putting blocks into packs and reading them back, through the files that
//! they lie in.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use peerage_content::{Cid, Leaf, Profile};
use peerage_store::{Config, Durability, Store};
use tempfile::TempDir;

use crate::payload;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.sample_size(10);
    for (name, len, count) in [("1 MiB", 1 << 20, 32), ("4 KiB", 4 << 10, 2000)] {
        let blocks: Vec<(Cid, bytes::Bytes)> = (0..count)
            .map(|number: u32| {
                let mut block = payload(len).to_vec();
                block[..4].copy_from_slice(&number.to_le_bytes());
                (Leaf::new(&Profile::default(), &block).cid, block.into())
            })
            .collect();
        group.throughput(Throughput::Bytes(len as u64 * u64::from(count)));
        group.bench_function(format!("put, {name}"), |b| {
            b.iter_batched(fresh, |(store, dir)| (put(&store, &blocks), store, dir), BatchSize::PerIteration);
        });
        let (store, _dir) = fresh();
        put(&store, &blocks);
        group.bench_function(format!("get, {name}"), |b| {
            b.iter(|| {
                for (cid, block) in &blocks {
                    let read = store.read(cid.hash()).expect("a working disk").expect("the block");
                    assert_eq!(black_box(read).len(), block.len());
                }
            });
        });
    }
    group.finish();
}

fn fresh() -> (Store, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (store, _) = Store::open(dir.path(), Config::default()).expect("an empty repository");
    (store, dir)
}

fn put(store: &Store, blocks: &[(Cid, bytes::Bytes)]) {
    for (cid, block) in blocks {
        store.put_block(cid.hash(), block).expect("a working disk");
    }
    store.commit(Durability::Buffered).expect("a working disk");
}
