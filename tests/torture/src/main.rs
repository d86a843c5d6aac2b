//! `peerage-torture`: what `cargo xtask torture` runs.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use peerage_torture::history::{Outcome, UserFiles, play};

/// Tries to make a store break its word.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Histories on a disk and an index that fail, tear and forget
    Doubles {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first one
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Threads
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
}

fn main() -> Result<()> {
    match Options::parse().task {
        Task::Doubles { seeds, from, threads } => doubles(from..from.saturating_add(seeds), threads.max(1)),
    }
}

fn doubles(seeds: Range<u64>, threads: u64) -> Result<()> {
    let files = UserFiles::new().context("writing the files that are shared")?;
    let started = Instant::now();
    let (sum, mut failures) = std::thread::scope(|scope| {
        let some = |first: u64| {
            let (files, seeds) = (&files, seeds.clone());
            scope.spawn(move || {
                let (mut sum, mut failures) = (Outcome::default(), Vec::new());
                for seed in seeds
                    .skip(usize::try_from(first).unwrap_or(0))
                    .step_by(usize::try_from(threads).unwrap_or(1))
                {
                    match play(seed, files) {
                        Ok(outcome) => sum = sum.plus(outcome),
                        Err(error) => failures.push((seed, format!("{error:#}"))),
                    }
                }
                (sum, failures)
            })
        };
        let running: Vec<_> = (0..threads).map(some).collect();
        let results = running.into_iter().filter_map(|thread| thread.join().ok());
        results.fold((Outcome::default(), Vec::new()), |(sum, mut all), (more, failures)| {
            all.extend(failures);
            (sum.plus(more), all)
        })
    });
    let Outcome { operations, failures: failed, kills, cuts, compared } = sum;
    println!(
        "{} histories in {:.1} s: {operations} operations, {failed} of which failed as they may; \
         {kills} kills, {cuts} power cuts, {compared} blocks compared after them",
        seeds.end - seeds.start,
        started.elapsed().as_secs_f64(),
    );
    failures.sort();
    for (_, failure) in failures.iter().take(20) {
        println!("  {failure}");
    }
    if failures.is_empty() { Ok(()) } else { bail!("{} histories broke the store's word", failures.len()) }
}
