//! The store beside plain files, and how it opens with up to millions of blocks.
//! `cargo xtask bench store` runs it and makes tables of what it prints.
//!
//! `store speed DIR MIB` prints `NAME SECONDS` of each way, in turns;
//! `store fill DIR COUNT` puts blocks of 128 bytes; `store open DIR` prints how long
//! opening took, and the memory of a process that does nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use peerage_store::{Config, Durability, Multihash, Store};

/// Bytes of large blocks, and of plain writes and reads.
const LARGE: usize = 1 << 20;
/// Bytes of small blocks.
const SMALL: usize = 4 << 10;
/// Bytes of tiny blocks.
const TINY: usize = 128;
/// Blocks between two hand-overs to the kernel while a store is filled.
const FLUSH_EACH: u64 = 100_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["speed", dir, mib] => speed(Path::new(dir), mib.parse()?),
        ["fill", dir, count] => fill(Path::new(dir), count.parse()?),
        ["open", dir] => open(Path::new(dir)),
        _ => bail!("usage: store speed DIR MIB | fill DIR COUNT | open DIR"),
    }
}

/// The hash that the caller of a store has computed: of a number, since what is
/// measured is the store.
fn hash(n: u64) -> Multihash {
    let mut digest = [0; 32];
    let mut state = n.wrapping_add(1);
    for part in digest.chunks_exact_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    Multihash::wrap(0x12, &digest).unwrap_or_default()
}

fn block(n: u64, len: usize) -> Vec<u8> {
    let mut block = vec![0x5a; len];
    block[..8].copy_from_slice(&n.to_le_bytes());
    block
}

fn told<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let done = work()?;
    println!("{name} {:.6}", start.elapsed().as_secs_f64());
    Ok(done)
}

/// Each way once, on as many bytes.
fn speed(dir: &Path, mib: u64) -> Result<()> {
    let count = mib;
    let large = block(7, LARGE);
    let path: PathBuf = dir.join("plain");
    let plain = File::options().read(true).write(true).create_new(true).open(&path)?;
    told("plain_write", || {
        for n in 0..count {
            plain.write_all_at(&large, n * LARGE as u64)?;
        }
        Ok(plain.sync_data()?)
    })?;
    let (store, _) = Store::open(&dir.join("large"), Config::default())?;
    told("put_1mib", || {
        for n in 0..count {
            store.put_block(&hash(n), &large)?;
        }
        Ok(store.commit(Durability::Durable)?)
    })?;
    let mut buffer = vec![0; LARGE];
    told("plain_read", || {
        for n in 0..count {
            plain.read_exact_at(&mut buffer, n * LARGE as u64)?;
        }
        Ok(())
    })?;
    told("get_1mib", || {
        for n in 0..count {
            ensure!(store.read(&hash(n))?.is_some_and(|block| block.len() == LARGE), "block {n} is gone");
        }
        Ok(())
    })?;
    drop(store);
    let count = mib << 8;
    let small = block(7, SMALL);
    let (store, _) = Store::open(&dir.join("small"), Config::default())?;
    told("put_4kib", || {
        for n in 0..count {
            store.put_block(&hash(n), &small)?;
        }
        Ok(store.commit(Durability::Durable)?)
    })?;
    while store.maintain()? {}
    told("get_4kib", || {
        for n in 0..count {
            ensure!(store.read(&hash(n))?.is_some(), "block {n} is gone");
        }
        Ok(())
    })?;
    told("has_there", || {
        for n in 0..count {
            ensure!(store.len_of(&hash(n))?.is_some(), "block {n} is gone");
        }
        Ok(())
    })?;
    told("has_absent", || {
        for n in count..2 * count {
            ensure!(store.len_of(&hash(n))?.is_none(), "block {n} was never put");
        }
        Ok(())
    })
}

fn fill(dir: &Path, count: u64) -> Result<()> {
    let (store, _) = Store::open(dir, Config::default())?;
    told("fill", || {
        for n in 0..count {
            store.put_block(&hash(n), &block(n, TINY))?;
            if n % FLUSH_EACH == 0 {
                store.commit(Durability::Buffered)?;
                // As the upkeep of a peer does.
                store.maintain()?;
            }
        }
        while store.maintain()? {}
        Ok(store.commit(Durability::Durable)?)
    })?;
    println!("packs {}", store.sizes().packs);
    println!("index_bytes {}", store.sizes().index_bytes);
    println!("disk_bytes {}", store.sizes().pack_bytes);
    Ok(())
}

fn open(dir: &Path) -> Result<()> {
    let (store, report) = told("open", || Ok(Store::open(dir, Config::default())?))?;
    ensure!(!report.is_notable(), "{report:?}");
    let sizes = store.sizes();
    println!("blocks {}", sizes.blocks);
    println!("index_memory {}", sizes.memory_bytes);
    println!("rss {}", resident()?);
    // It is what it says.
    let last = sizes.blocks as u64 - 1;
    for n in [0, last / 2, last] {
        ensure!(store.read(&hash(n))?.is_some_and(|found| *found == *block(n, TINY)), "block {n}");
    }
    Ok(())
}

/// Bytes of memory of this process.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("asking Linux for memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
