//! `cargo xtask bench swarm`: one file from some seeders to some getters, all of them
//! real processes on loopback, each with the same limit on what it sends, or with none.
//!
//! With a limit the figure is how near the last getter comes to what arithmetic
//! allows; without one, what the getters reach together beside a single one.

mod aria2;
mod peerage;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::process::Usage;
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// Who sends what to whom, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bytes of the file
    #[arg(long, default_value_t = 128 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// How many have the file
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    seeders: u16,
    /// How many fetch it, all at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    getters: u16,
    /// Bytes a second that each of them sends at most [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(16_000..))]
    up: Option<u64>,
    /// How often each program is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these programs: peerage, aria2
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also write every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Play {
    /// Of the file.
    bytes: u64,
    seeders: u16,
    getters: u16,
    /// Bytes a second that each sends at most.
    up: Option<u64>,
}

impl Play {
    /// The least time in which all getters can have the file, in seconds, if bytes
    /// were a fluid: the seeders must send it once, and all together once for each
    /// getter (Kumar and Ross, "Peer-assisted file distribution: the minimum
    /// distribution time", 2006; downlinks are not limited here). None without a limit.
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
    fn fluid_bound(&self) -> Option<f64> {
        let (bytes, up) = (self.bytes as f64, self.up? as f64);
        let (seeders, getters) = (f64::from(self.seeders), f64::from(self.getters));
        Some((bytes / (seeders * up)).max(getters * bytes / ((seeders + getters) * up)))
    }

    /// One of each: what several getters are compared with where nothing is limited.
    fn single(&self) -> Self {
        Self { seeders: 1, getters: 1, ..*self }
    }
}

/// One getter's run.
#[derive(Debug, Clone, Serialize)]
struct Got {
    /// From the start of the first getter until this one had the file.
    seconds: f64,
    /// Bytes of blocks that came more than once, of programs that tell.
    duplicate_bytes: Option<u64>,
    /// From its start until it was told to end, after all had the file.
    usage: Usage,
    #[serde(skip)]
    dest: PathBuf,
}

/// A program of which many copies exchange a file.
trait Program {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Why it does not take part, if so.
    fn absent(&self) -> Option<String>;

    /// Plays once, with everything that it writes below the empty folder `dir`.
    fn run(&self, play: &Play, source: &Path, dir: &Path) -> Result<Vec<Got>>;
}

/// All runs of one program.
#[derive(Debug, Serialize)]
struct Series {
    name: &'static str,
    runs: Vec<Vec<Got>>,
    /// Of [`Play::single`], as often, if that is compared with.
    single: Vec<Vec<Got>>,
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let play =
        Play { bytes: options.size, seeders: options.seeders, getters: options.getters, up: options.up };
    let (programs, absent) = programs(root, options)?;
    ensure!(!programs.is_empty(), "nothing to measure");
    let dir = workspace::folder(Payload::File(options.size * u64::from(1 + options.getters) / 2))?;
    let source = workspace::make(Payload::File(options.size), dir.path())?;
    let compared = play.up.is_none() && play.single() != play;

    let mut all: Vec<Series> = programs
        .iter()
        .map(|program| Series { name: program.name(), runs: Vec::new(), single: Vec::new() })
        .collect();
    for round in 1..=options.runs {
        for (program, series) in programs.iter().zip(&mut all) {
            let measured = |play: &Play| {
                once(program.as_ref(), play, &source, dir.path())
                    .with_context(|| format!("{}, run {round}", program.name()))
            };
            let got = measured(&play)?;
            eprintln!("run {round} of {}: {} {:.2} s", options.runs, program.name(), report::last(&got));
            series.runs.push(got);
            if compared {
                series.single.push(measured(&play.single())?);
            }
        }
    }

    println!("{}", report::headline(&play, options.runs));
    print!("{}", report::table(&play, &all));
    for (name, why) in &absent {
        println!("{name}: not measured, {why}");
    }
    if let Some(path) = &options.json {
        let value = serde_json::json!({"play": play, "fluid_bound": play.fluid_bound(), "programs": all});
        let text = serde_json::to_string_pretty(&value)?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn once(program: &dyn Program, play: &Play, source: &Path, dir: &Path) -> Result<Vec<Got>> {
    let place = tempfile::tempdir_in(dir)?;
    let all = program.run(play, source, place.path())?;
    all.iter()
        .try_for_each(|got| workspace::assert_same(source, &got.dest))
        .context("it sent something else")?;
    Ok(all)
}

type Absent = Vec<(&'static str, String)>;

fn programs(root: &Path, options: &Options) -> Result<(Vec<Box<dyn Program>>, Absent)> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut all: Vec<Box<dyn Program>> = Vec::new();
    if wanted("peerage") {
        all.push(Box::new(peerage::Peerage { bin: build_bin(root, "peerage-node", "peerage", true)? }));
    }
    if wanted("aria2") {
        all.push(Box::new(aria2::Aria2));
    }
    let mut absent = Vec::new();
    all.retain(|program| match program.absent() {
        Some(why) => {
            absent.push((program.name(), why));
            false
        }
        None => true,
    });
    Ok((all, absent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_seeders_or_of_all() {
        let play = Play { bytes: 100, seeders: 1, getters: 4, up: Some(10) };
        assert_eq!(play.fluid_bound(), Some(10.0), "the seeder sends it once");
        let play = Play { seeders: 4, ..play };
        assert_eq!(play.fluid_bound(), Some(5.0), "eight send it four times");
        assert_eq!(Play { up: None, ..play }.fluid_bound(), None);
    }
}
