//! `cargo xtask fuzz`: decoders under libFuzzer with AddressSanitizer, on the
//! stable toolchain.
//!
//! Installs cargo-fuzz below `target/tools`, builds `fuzz/` once, and runs its one
//! binary for each decoder. What it finds worth keeping goes to `target/fuzz/corpus`,
//! by `--keep` the least of it to `fuzz/corpus`, which `cargo xtask test` replays.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, output, run as execute};

/// The version that is installed.
const CARGO_FUZZ: &str = "0.13.2";

/// Longest input that is made, in bytes. A judgement: decoders refuse what is long
/// by a length, and short inputs are tried far more often.
const MAX_LEN: u32 = 4096;

/// Memory at which a run fails, in MiB. A judgement: no decoder takes more than some
/// MiB for an input this short; the sanitizer and the corpus take some hundred.
const RSS_LIMIT_MB: u32 = 2048;

/// Time that one input may take, in seconds. A judgement: honest ones take
/// milliseconds, and the machine may be busy.
const TIMEOUT: u32 = 20;

/// Time for each decoder unless `--seconds` says another, in seconds.
const SECONDS: u32 = 60;

/// Lines that are shown of what a run said when it failed: the panic or the
/// sanitizer's finding, and where.
const LINES: usize = 40;

/// Which decoders, and how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Decoders by their names; all of them if none is named
    names: Vec<String>,
    /// Seconds for each
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
    /// Decoders at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Only name them
    #[arg(long)]
    list: bool,
    /// Afterwards add to `fuzz/corpus` the least that reaches all that was reached
    #[arg(long)]
    keep: bool,
    /// Run one decoder on this file alone, as of a crash
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// What came of one decoder.
struct Outcome {
    name: String,
    executions: u64,
    coverage: u64,
    features: u64,
    seconds: f64,
    failure: Option<Failure>,
}

struct Failure {
    /// The input that did it, if one was written.
    input: Option<PathBuf>,
    lines: Vec<String>,
}

/// Runs what `options` say.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let all = names(root)?;
    if options.list {
        all.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    for name in &options.names {
        ensure!(all.contains(name), "there is no decoder `{name}`: `cargo xtask fuzz --list` names them");
    }
    let chosen = if options.names.is_empty() { all } else { options.names.clone() };
    let fuzzer = Fuzzer::build(root)?;
    if let Some(input) = &options.input {
        let [name] = &chosen[..] else { bail!("name the one decoder that --input is for") };
        let input = input.canonicalize().with_context(|| format!("opening {}", input.display()))?;
        return execute(fuzzer.command(name).arg(input));
    }
    let outcomes = run_all(&fuzzer, &chosen, options)?;
    if options.keep {
        chosen.iter().try_for_each(|name| fuzzer.keep(name))?;
    }
    report(&outcomes)
}

/// The names of the decoders: the folders of the corpus, as a test keeps them equal.
fn names(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/corpus");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

fn run_all(fuzzer: &Fuzzer, names: &[String], options: &Options) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for group in names.chunks(options.jobs.max(1)) {
        let finished = std::thread::scope(|scope| {
            let run = |name: &String| {
                let name = name.clone();
                scope.spawn(move || fuzzer.fuzz(&name, options.seconds))
            };
            let running: Vec<_> = group.iter().map(run).collect();
            running.into_iter().map(|one| one.join().expect("a run does not panic")).collect::<Vec<_>>()
        });
        for outcome in finished {
            let outcome = outcome?;
            eprintln!("{}", line(&outcome));
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn line(outcome: &Outcome) -> String {
    let result = match &outcome.failure {
        None => "ok",
        Some(_) => "CRASHED",
    };
    format!(
        "{:<20} {:>12} {:>9.0} {:>9} {:>9}  {result}",
        outcome.name,
        outcome.executions,
        outcome.executions as f64 / outcome.seconds.max(0.001),
        outcome.coverage,
        outcome.features
    )
}

fn report(outcomes: &[Outcome]) -> Result<()> {
    println!(
        "\n{:<20} {:>12} {:>9} {:>9} {:>9}",
        "decoder", "executions", "a second", "coverage", "features"
    );
    outcomes.iter().for_each(|outcome| println!("{}", line(outcome)));
    let mut failed = Vec::new();
    for outcome in outcomes {
        let Some(failure) = &outcome.failure else { continue };
        println!("\n{}:\n{}", outcome.name, failure.lines.join("\n"));
        let repeat = failure.input.as_ref().map(|input| {
            format!(
                "input: {}\nto repeat: cargo xtask fuzz {} --input {}",
                input.display(),
                outcome.name,
                input.display()
            )
        });
        println!("{}", repeat.unwrap_or_else(|| "no input was written".to_owned()));
        failed.push(outcome.name.as_str());
    }
    ensure!(failed.is_empty(), "crashed: {}", failed.join(", "));
    Ok(())
}

/// The binary that fuzzes, and its folders.
struct Fuzzer {
    root: PathBuf,
    binary: PathBuf,
    /// Where what is found goes.
    work: PathBuf,
}

impl Fuzzer {
    fn build(root: &Path) -> Result<Self> {
        let target = target(root)?;
        let tool = installed(&target)?;
        let mut build = Command::new(tool);
        // What sanitizers need is in the stable compiler, and asks for this.
        build.current_dir(root).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", target.join("fuzz"));
        execute(build.args(["fuzz", "build", "--fuzz-dir", "fuzz", "decode"]))?;
        let binary = target.join("fuzz").join(host()?).join("release/decode");
        ensure!(binary.is_file(), "cargo-fuzz built no {}", binary.display());
        Ok(Self { root: root.to_owned(), binary, work: target.join("fuzz") })
    }

    fn command(&self, decoder: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.root).env("PEERAGE_DECODER", decoder).env("RUST_BACKTRACE", "1");
        for (name, value) in [("max_len", MAX_LEN), ("rss_limit_mb", RSS_LIMIT_MB), ("timeout", TIMEOUT)] {
            command.arg(format!("-{name}={value}"));
        }
        command
    }

    fn kept(&self, decoder: &str) -> PathBuf {
        self.root.join("fuzz/corpus").join(decoder)
    }

    fn found(&self, decoder: &str) -> PathBuf {
        self.work.join("corpus").join(decoder)
    }

    /// Runs one decoder for so many seconds, or until it crashes.
    fn fuzz(&self, decoder: &str, seconds: u32) -> Result<Outcome> {
        let (found, artifacts) = (self.found(decoder), self.root.join("fuzz/artifacts").join(decoder));
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        let mut command = self.command(decoder);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-reload=0"])
            // New inputs go to the first.
            .args([&found, &self.kept(decoder)])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {}", self.binary.display()))?;
        let said = BufReader::new(child.stderr.take().context("it has an output")?);
        let mut outcome = Outcome {
            name: decoder.to_owned(),
            executions: 0,
            coverage: 0,
            features: 0,
            seconds: 0.0,
            failure: None,
        };
        let mut failure = Failure { input: None, lines: Vec::new() };
        for line in said.split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            outcome.read(&line);
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                failure.input = Some(PathBuf::from(path.trim()));
            }
            let begins = line.contains(" panicked at ") || line.contains(" ERROR: ");
            if (begins || !failure.lines.is_empty()) && failure.lines.len() < LINES {
                failure.lines.push(line);
            }
        }
        let status = child.wait()?;
        outcome.seconds = start.elapsed().as_secs_f64();
        outcome.failure = (!status.success()).then_some(failure);
        Ok(outcome)
    }

    /// Adds to the corpus of the repository what reaches more.
    fn keep(&self, decoder: &str) -> Result<()> {
        let mut merge = self.command(decoder);
        // By places reached alone: with how often each was, ten times as much is kept.
        merge.args(["-merge=1", "-use_counters=0"]).args([self.kept(decoder), self.found(decoder)]);
        let merged = merge.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(merged.success(), "merging what was found of {decoder}: {merged}");
        Ok(())
    }
}

impl Outcome {
    /// Takes the figures from a line of libFuzzer.
    fn read(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or(self.executions);
            return;
        }
        let mut words = line.split_ascii_whitespace();
        let Some(count) = words.next().and_then(|word| word.strip_prefix('#')?.parse().ok()) else { return };
        self.executions = count;
        while let Some(word) = words.next() {
            let figure = match word {
                "cov:" => &mut self.coverage,
                "ft:" => &mut self.features,
                _ => continue,
            };
            *figure = words.next().and_then(|word| word.parse().ok()).unwrap_or(*figure);
        }
    }
}

/// The target directory of the workspace.
fn target(root: &Path) -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("reading `cargo metadata`")?;
    Ok(metadata.target_directory.into())
}

/// What the compiler calls this machine.
fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?.context("rustc is not installed")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// The program cargo-fuzz, installed if it is not yet.
fn installed(target: &Path) -> Result<PathBuf> {
    let place = target.join("tools").join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = place.join("bin/cargo-fuzz");
    if !program.is_file() {
        let mut install = cargo(target.parent().unwrap_or(target));
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]).arg(&place);
        execute(&mut install).context("installing cargo-fuzz")?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_come() {
        let mut outcome = Outcome {
            name: String::new(),
            executions: 0,
            coverage: 0,
            features: 0,
            seconds: 1.0,
            failure: None,
        };
        outcome.read(
            "#2025\tNEW    cov: 65 ft: 70 corp: 22/117b lim: 17 exec/s: 0 rss: 40Mb L: 16/16 MS: 1 Insert-",
        );
        assert_eq!((outcome.executions, outcome.coverage, outcome.features), (2025, 65, 70));
        outcome.read("#4000\tpulse  exec/s: 2");
        outcome.read("INFO: seed corpus: files: 5");
        assert_eq!((outcome.executions, outcome.coverage), (4000, 65));
        outcome.read("stat::number_of_executed_units: 5000");
        assert_eq!(outcome.executions, 5000);
    }
}
