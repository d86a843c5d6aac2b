//! `peerage-torture`: what `cargo xtask torture` runs.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use peerage_tests::Place;
use peerage_torture::history::{Outcome, play};
use peerage_torture::operations::write_user_files;
use peerage_torture::{kills, program};

/// Time within which a store must open after a kill. 2 s: nobody wonders yet
/// whether anything happens.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// Rounds between two tellings of progress.
const TELL_EACH: u64 = 100;
/// Failures that are shown.
const SHOWN: usize = 20;

/// Bytes that the program's repositories and folders take. 2 GiB: some hundreds of
/// megabytes are the rule.
const ROOM: u64 = 2 << 30;

/// Tries to make a store break its word.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask torture", bin_name = "cargo xtask torture")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A real store, in a process that is killed at any moment, over and over
    Store {
        /// Kills
        #[arg(long, default_value_t = 1_000)]
        rounds: u64,
        /// What is done, and when it is killed, is drawn from this number
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// The whole program, its processes being killed at any moment, over and over
    Program {
        /// Commands that are run, most of them killed
        #[arg(long, default_value_t = 300)]
        rounds: u64,
        /// What is done is drawn from this number, and when it is killed, which is a time
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Histories on a disk and an index in memory that fail, tear and forget
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
    /// The process that is killed
    #[command(hide = true)]
    Live { dir: PathBuf, user_files: PathBuf, seed: u64 },
}

fn main() -> Result<()> {
    match Options::parse().task {
        Task::Store { rounds, seed } => store(rounds, seed),
        Task::Program { rounds, seed } => program(rounds, seed),
        Task::Doubles { seeds, from, threads } => doubles(from..from.saturating_add(seeds), threads.max(1)),
        Task::Live { dir, user_files, seed } => kills::live(&dir, &user_files, seed),
    }
}

fn store(rounds: u64, seed: u64) -> Result<()> {
    let this = std::env::current_exe()?;
    let program = |dir: &Path, user_files: &Path, seed: u64| {
        let mut command = Command::new(&this);
        command.arg("live").arg(dir).arg(user_files).arg(seed.to_string());
        command
    };
    let started = Instant::now();
    let report = kills::play(rounds, seed, &program, &mut |report| {
        if report.rounds % TELL_EACH == 0 {
            eprintln!("{} of {rounds} rounds", report.rounds);
        }
    })?;
    println!(
        "{rounds} kills in {:.1} s, {} of them while the store was being opened, {} after damage; {} lines of \
         what was promised, {} blocks compared: nothing lost, nothing wrong. Slowest opening: {:.3} s",
        started.elapsed().as_secs_f64(),
        report.opening,
        report.damaged,
        report.lines,
        report.compared,
        report.slowest_open.as_secs_f64(),
    );
    ensure!(report.slowest_open < OPEN_WITHIN, "opening took longer than {} s", OPEN_WITHIN.as_secs());
    Ok(())
}

fn program(rounds: u64, seed: u64) -> Result<()> {
    let place = Place::with_room(ROOM)?;
    let started = Instant::now();
    let played = program::play(&place, rounds, seed, &mut |report| {
        if report.rounds % TELL_EACH == 0 {
            eprintln!("{} of {rounds} rounds", report.rounds);
        }
    });
    let report = match played {
        Ok(report) => report,
        // Nobody can repeat the moment of a kill.
        Err(error) => return Err(error.context(format!("what is left is in {}", place.keep().display()))),
    };
    println!(
        "{rounds} rounds in {:.1} s: {} kills, {} of them before a command had said anything, {} after damage; {} \
         commands said that they are done; {} fetches went on after a kill with just what was missing, {:.1} MB less than all; {} times a \
         root had to be whole and was, {} times one need not be and was not; {} blocks verified: nothing lost, \
         nothing wrong. Slowest opening: {:.3} s; slowest `pin ls` after a kill: {:.3} s",
        started.elapsed().as_secs_f64(),
        report.kills,
        report.silent,
        report.damaged,
        report.acknowledged,
        report.resumed,
        report.spared as f64 / 1e6,
        report.whole,
        report.partial,
        report.blocks,
        report.slowest_open.as_secs_f64(),
        report.slowest_list.as_secs_f64(),
    );
    let slowest = report.slowest_open.max(report.slowest_list);
    ensure!(slowest < OPEN_WITHIN, "opening took longer than {} s", OPEN_WITHIN.as_secs());
    Ok(())
}

fn doubles(seeds: Range<u64>, threads: u64) -> Result<()> {
    let files = tempfile::tempdir().context("making a folder for files that are shared")?;
    write_user_files(files.path())?;
    let step = usize::try_from(threads).unwrap_or(1);
    let started = Instant::now();
    let (sum, mut failures) = std::thread::scope(|scope| {
        let some = |first: usize| {
            let (files, seeds) = (files.path(), seeds.clone());
            scope.spawn(move || {
                let (mut sum, mut failures) = (Outcome::default(), Vec::new());
                for seed in seeds.skip(first).step_by(step) {
                    match play(seed, files) {
                        Ok(outcome) => sum = sum.plus(outcome),
                        Err(error) => failures.push((seed, format!("{error:#}"))),
                    }
                }
                (sum, failures)
            })
        };
        let running: Vec<_> = (0..step).map(some).collect();
        let results = running.into_iter().map(|thread| thread.join().expect("a history panicked"));
        results.fold((Outcome::default(), Vec::new()), |(sum, mut all), (more, failures)| {
            all.extend(failures);
            (sum.plus(more), all)
        })
    });
    let Outcome { operations, failures: failed, kills, cuts, compared } = sum;
    println!(
        "{} histories in {:.1} s: {operations} operations, of which {failed} failed as they may; \
         {kills} kills, {cuts} power cuts, {compared} blocks compared after them",
        seeds.end - seeds.start,
        started.elapsed().as_secs_f64(),
    );
    failures.sort();
    for (_, failure) in failures.iter().take(SHOWN) {
        println!("  {failure}");
    }
    if failures.is_empty() { Ok(()) } else { bail!("{} histories broke the store's word", failures.len()) }
}
