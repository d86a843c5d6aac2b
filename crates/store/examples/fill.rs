//! Puts N blocks of 128 bytes, looks them up, reads them, reopens; prints the times.
//!
//! `cargo run --release -p peerage-store --example fill -- 200000`

use std::time::Instant;

use peerage_store::{Config, Multihash, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(200_000), |arg| arg.parse())?;
    let temp = tempfile::tempdir()?;
    let block = |n: u64| n.to_le_bytes().repeat(16);
    let hashes: Vec<Multihash> =
        (0..count).map(|n| peerage_content::hash::digest(0x12, &block(n))).collect::<Result<_, _>>()?;
    let (store, _) = Store::open(temp.path(), Config::default())?;
    let start = Instant::now();
    for (n, hash) in (0..).zip(&hashes) {
        store.put_block(hash, &block(n))?;
    }
    println!("put      {:?}", start.elapsed());
    let start = Instant::now();
    store.sync()?;
    while store.maintain()? {}
    println!("sync     {:?}", start.elapsed());
    let start = Instant::now();
    let found = hashes.iter().filter(|hash| matches!(store.len_of(hash), Ok(Some(128)))).count();
    println!("has      {:?} ({found} found)", start.elapsed());
    let start = Instant::now();
    let found = hashes.iter().filter(|hash| matches!(store.read(hash), Ok(Some(_)))).count();
    println!("read     {:?} ({found} found)", start.elapsed());
    drop(store);
    let start = Instant::now();
    let (store, report) = Store::open(temp.path(), Config::default())?;
    println!("open     {:?}, {} records scanned", start.elapsed(), report.scanned_records);
    println!("{:?}", store.sizes());
    Ok(())
}
