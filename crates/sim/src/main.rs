//! `peerage-sim`: plays scenarios; what `cargo xtask sim` runs.
//!
//! The figures go to the file of `--json`, which depends on scenario, peers and
//! seed alone. How long it took and how much memory, to stdout.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long it took is told; it is no part of the figures"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use peerage_sim::{Figures, SCENARIOS, Scenario};

/// Tens of thousands of peers that live for long and change all the time leave
/// holes, of which other allocators make less use.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Plays scenarios in the simulator.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Options {
    /// What to play; see `--list`
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// Servers that are there at a time, on average; of a crowd, those who get the file
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peers: u32,
    /// In which of its ways, if it has several; see `--list`
    #[arg(long, requires = "scenario")]
    play: Option<String>,
    /// What everything that is drawn comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Many seeds, from A up to and with B, instead of one
    #[arg(long, value_name = "A..B", conflicts_with = "seed")]
    seeds: Option<Seeds>,
    /// Write the figures here; of many seeds, a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the scenario's curve here, as SVG
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    plot: Option<PathBuf>,
    /// Worlds that are played at the same time; a scenario itself has one thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// Print nothing but one line a seed
    #[arg(long)]
    quiet: bool,
    /// Name all scenarios
    #[arg(long)]
    list: bool,
}

/// Both ends are played.
#[derive(Debug, Clone, Copy)]
struct Seeds(u64, u64);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").ok_or("write two numbers as A..B")?;
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number"));
        let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
        if first > last { Err("the second is less than the first".to_owned()) } else { Ok(Self(first, last)) }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False if a seed failed.
fn run(options: &Options) -> Result<bool> {
    if options.list {
        for scenario in SCENARIOS {
            println!("{:<14} {}", scenario.name, scenario.about);
            for play in scenario.plays {
                println!("  --play {:<14} {}", play.name, play.about);
            }
        }
        return Ok(true);
    }
    let name = options.scenario.as_deref().unwrap_or_default();
    let Some(scenario) = Scenario::named(name) else {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no scenario `{name}`; there are {}", names.join(", "));
    };
    if options.peers < scenario.least {
        bail!("`{name}` is played by {} peers at least", scenario.least);
    }
    let scenario = match &options.play {
        Some(play) => &scenario.played(play).with_context(|| {
            let plays: Vec<&str> = scenario.plays.iter().map(|play| play.name).collect();
            match &plays[..] {
                [] => format!("`{name}` is played in one way only"),
                plays => format!("`{name}` has no play `{play}`; there are {}", plays.join(", ")),
            }
        })?,
        None => scenario,
    };
    let Seeds(first, last) = options.seeds.unwrap_or(Seeds(options.seed, options.seed));
    let next = Mutex::new(first..=last);
    let played = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = take(&next) {
            let figures = play(scenario, options, seed);
            played.lock().unwrap_or_else(PoisonError::into_inner).push((seed, figures));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads {
            scope.spawn(work);
        }
        work();
    });
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by_key(|(seed, _)| *seed);
    let whole = played.iter().all(|(_, figures)| figures.as_ref().is_some_and(|f| f.failures.is_empty()));
    let figures: Vec<Figures> = played.into_iter().filter_map(|(_, figures)| figures).collect();
    if let Some(path) = &options.json {
        let text = match (&figures[..], options.seeds) {
            ([one], None) => serde_json::to_string_pretty(one)?,
            (all, _) => serde_json::to_string_pretty(all)?,
        };
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    if let (Some(path), [one]) = (&options.plot, &figures[..]) {
        let chart = one.chart.as_ref().with_context(|| format!("{name} has no curve"))?;
        peerage_sim::draw(chart, &one.curves[&chart.curve], path)?;
    }
    if let Some(kib) = peak_kib() {
        // What several worlds took together says nothing of one.
        let alive =
            figures.first().filter(|_| first == last).and_then(|one| one.values.get("world_most_alive"));
        let each = alive
            .map(|alive| format!(", {} KiB for each of {alive} peers that were there", kib / alive.max(&1)));
        println!("memory: {kib} KiB at most{}", each.unwrap_or_default());
    }
    Ok(whole)
}

fn take(next: &Mutex<std::ops::RangeInclusive<u64>>) -> Option<u64> {
    next.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Plays one seed and prints what came of it; none if an invariant broke.
fn play(scenario: &Scenario, options: &Options, seed: u64) -> Option<Figures> {
    let start = Instant::now();
    let begun = busy_seconds();
    let (name, peers) = (scenario.name, options.peers);
    let profile = if cfg!(debug_assertions) { "--debug " } else { "" };
    let way = options.play.as_ref().map(|play| format!(" --play {play}")).unwrap_or_default();
    let repeat = format!("cargo xtask sim {profile}{name}{way} --peers {peers} --seed {seed}");
    let Ok(figures) = catch_unwind(AssertUnwindSafe(|| scenario.play(peers, seed))) else {
        println!("{name} {peers} {seed}: an invariant is broken; to repeat: {repeat}");
        return None;
    };
    let seconds = start.elapsed().as_secs_f64();
    // What the core was ours for; other programs take the rest.
    let busy = busy_seconds().map_or(seconds, |end| end - begun.unwrap_or(0.0));
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let rate = figures.events as f64 / busy;
    println!(
        "{name} {peers} {seed}: {} after {} events in {seconds:.1} s ({rate:.0} a second of a core)",
        figures.trace, figures.events
    );
    for failure in &figures.failures {
        println!("{name} {peers} {seed}: FAILED: {failure}; to repeat: {repeat}");
    }
    if !options.quiet {
        for (name, value) in &figures.values {
            println!("  {name:<44} {value}");
        }
        for (name, rows) in &figures.curves {
            println!("  {name}:");
            for row in rows {
                let cells: Vec<String> = row.iter().map(|(name, value)| format!("{name} {value}")).collect();
                println!("    {}", cells.join(", "));
            }
        }
        for (name, text) in &figures.published {
            println!("  published, {name}: {text}");
        }
    }
    Some(figures)
}

/// How long this thread has run on a core, from Linux.
fn busy_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(stat.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// The most memory that this process had, from Linux.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
