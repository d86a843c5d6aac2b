//! `cargo xtask bench transfer`: whole processes over loopback, interleaved,
//! so that what else the machine does hits all alike.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::aria2::Aria2;
use super::contender::{Ceiling, Contender};
use super::libp2p::{self, Libp2p};
use super::peerage::Peerage;
use super::report::{Series, json, table, verdict};
use super::sendme::Sendme;
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// What to send, how often, and against whom.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bytes of the file
    #[arg(long, default_value_t = 1 << 30, conflicts_with = "files")]
    size: u64,
    /// Send a folder of files instead, as COUNTxBYTES
    #[arg(long, value_parser = parse_files)]
    files: Option<Payload>,
    /// How often each program is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these programs: peerage, ceiling, aria2, sendme, libp2p
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also write every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_files(text: &str) -> Result<Payload, String> {
    let wanted = || format!("{text:?} is not COUNTxBYTES, such as 20000x4096");
    let (count, len) = text.split_once('x').ok_or_else(wanted)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wanted());
    Ok(Payload::Folder(number(count)?, number(len)?))
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let payload = options.files.unwrap_or(Payload::File(options.size));
    let (contenders, absent) = contenders(root, options, payload)?;
    ensure!(!contenders.is_empty(), "nothing to measure");

    let dir = workspace::folder(payload)?;
    let source = workspace::make(payload, dir.path())?;
    let mut all: Vec<Series> =
        contenders.iter().map(|contender| Series::new(contender.name(), contender.is_rival())).collect();
    for round in 1..=options.runs {
        for (contender, series) in contenders.iter().zip(&mut all) {
            let name = contender.name();
            let place = tempfile::tempdir_in(dir.path())?;
            let (run, dest) =
                contender.run(&source, place.path()).with_context(|| format!("{name}, run {round}"))?;
            if let Some(dest) = dest {
                workspace::assert_same(&source, &dest)
                    .with_context(|| format!("{name} sent something else"))?;
            }
            eprintln!("run {round} of {}: {name} {:.2} s", options.runs, run.getter.seconds);
            series.runs.push(run);
        }
    }

    println!("{}", headline(payload, options.runs));
    print!("{}", table(payload.bytes(), &all));
    print!("{}", verdict(&all));
    for (name, why) in &absent {
        println!("{name}: not measured, {why}");
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&json(payload.bytes(), &all, &absent))?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

type Absent = Vec<(&'static str, String)>;

fn contenders(root: &Path, options: &Options, payload: Payload) -> Result<(Vec<Box<dyn Contender>>, Absent)> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    if wanted("ceiling") {
        all.push(Box::new(Ceiling { bin: build_bin(root, "peerage-benches", "ceiling", true)? }));
    }
    if wanted("peerage") {
        all.push(Box::new(Peerage { bin: build_bin(root, "peerage-node", "peerage", true)? }));
    }
    if wanted("aria2") {
        all.push(Box::new(Aria2));
    }
    if wanted("sendme") {
        all.push(Box::new(Sendme));
    }
    if wanted("libp2p") && matches!(payload, Payload::File(_)) {
        let bin = libp2p::build(root)?;
        all.extend(Libp2p::all(&bin).map(|one| Box::new(one) as Box<dyn Contender>));
    }
    let mut absent = Vec::new();
    all.retain(|contender| match contender.absent(payload) {
        Some(why) => {
            absent.push((contender.name(), why));
            false
        }
        None => true,
    });
    Ok((all, absent))
}

fn headline(payload: Payload, runs: u32) -> String {
    let what = match payload {
        Payload::File(len) => format!("a file of {len} random bytes"),
        Payload::Folder(count, len) => format!("a folder of {count} files of {len} random bytes"),
    };
    format!(
        "{what} over loopback, {runs} runs each, interleaved; medians, memory the peak of all runs.\n\
         \"ready\" is the sender's preparation, \"get\" the getter from its start to its end."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_parsed() {
        assert_eq!(parse_files("20000x4096"), Ok(Payload::Folder(20_000, 4096)));
        assert!(parse_files("20000").is_err() && parse_files("ax1").is_err());
    }
}
