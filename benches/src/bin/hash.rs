//! How fast files can be hashed on this machine: as many threads as there are
//! cores read a file by 1 MiB and hash each with SHA-256. No chunks, no nodes, no
//! CIDs. `cargo xtask bench add` runs it beside `peerage add --only-hash`.
//!
//! `hash FILE` prints the last of the digests, so that all are computed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).context("usage: hash FILE")?;
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let next = AtomicU64::new(0);
    let work = || -> Result<u64> {
        let (mut buffer, mut sum) = (vec![0; PIECE], 0);
        loop {
            let offset = next.fetch_add(PIECE as u64, Ordering::Relaxed);
            let Some(left) = len.checked_sub(offset).filter(|left| *left > 0) else { return Ok(sum) };
            let piece = &mut buffer[..usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            file.read_exact_at(piece, offset)?;
            sum ^= u64::from(Sha256::digest(piece)[0]);
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let sums: Result<Vec<u64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("hashing does not panic")).collect()
    });
    println!("{:02x}", sums?.into_iter().fold(0, |sum, one| sum ^ one));
    Ok(())
}
