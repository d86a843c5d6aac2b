//! `cargo xtask bench add`: how fast `add --only-hash` is, beside a program that
//! only reads and hashes the same file on as many threads, in turns.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::process::{Measured, Usage};
use super::report::{aligned, median};
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// What is hashed, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Size of the file, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    mib: u64,
    /// How often each way is measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

/// One way to hash a file.
struct Way {
    name: &'static str,
    program: PathBuf,
    args: &'static [&'static str],
    usages: Vec<Usage>,
}

impl Way {
    fn run(&mut self, file: &Path) -> Result<()> {
        let mut command = Command::new(&self.program);
        self.usages.push(Measured::spawn(self.name, command.args(self.args).arg(file))?.finish()?);
        Ok(())
    }

    fn median(&self, of: impl Fn(&Usage) -> f64) -> f64 {
        median(self.usages.iter().map(of).collect())
    }
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let payload = Payload::File(options.mib << 20);
    let dir = workspace::folder(payload)?;
    let file = workspace::make(payload, dir.path())?;
    let hash = build_bin(root, "peerage-benches", "hash", true)?;
    let peerage = build_bin(root, "peerage-node", "peerage", true)?;
    let way =
        |name, program: &PathBuf, args| Way { name, program: program.clone(), args, usages: Vec::new() };
    let mut ways = [
        way("read and hash", &hash, &[]),
        way("unixfs-v1-2025", &peerage, &["add", "--only-hash"]),
        way("unixfs-v0-2015", &peerage, &["add", "--only-hash", "--profile", "unixfs-v0-2015"]),
        way("rabin", &peerage, &["add", "--only-hash", "--chunker", "rabin"]),
        way("buzhash", &peerage, &["add", "--only-hash", "--chunker", "buzhash"]),
        way("blake3", &peerage, &["add", "--only-hash", "--hash", "blake3"]),
    ];
    // The first of each brings the programs into memory.
    for run in 0..=options.runs {
        for way in &mut ways {
            way.run(&file)?;
            if run == 0 {
                way.usages.clear();
            }
        }
    }
    let first = &ways[0];
    let base = first.median(|usage| usage.seconds);
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
    let row = |way: &Way| {
        let seconds = way.median(|usage| usage.seconds);
        let peak = way.usages.iter().map(|usage| usage.peak_rss).max().unwrap_or(0);
        vec![
            way.name.to_owned(),
            format!("{seconds:.3}"),
            format!("{:.3}", way.median(|usage| usage.cpu_seconds)),
            format!("{:.0}", payload.bytes() as f64 / 1e6 / seconds),
            format!("{:.2}", base / seconds),
            format!("{:.1}", peak as f64 / 1e6),
        ]
    };
    println!("`add --only-hash` of {} MiB, {} runs each, in turns; medians", options.mib, options.runs);
    let head = ["", "s", "cpu s", "MB/s", "of the first", "peak MB"].map(str::to_owned).to_vec();
    print!("{}", aligned(&std::iter::once(head).chain(ways.iter().map(row)).collect::<Vec<_>>()));
    Ok(())
}
