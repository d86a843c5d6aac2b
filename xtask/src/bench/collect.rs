//! `cargo xtask bench collect`: what a collection of most of a large store costs those
//! who use it meanwhile.
//!
//! A peer has a store in which nine of ten bytes are of no use, one good file after
//! nine that were unpinned, so that every pack has to be rewritten. It serves the good
//! files to others, one after another, and fetches from another itself, first alone and
//! then while it collects. Real processes over loopback, the store on disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::process::Measured;
use super::report::{aligned, median};
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// Bytes of a file, good or not. 8 MiB: some of each are in every pack.
const FILE_BYTES: u64 = 8 << 20;

/// Files of which one is good.
const OF_WHICH_ONE_IS_GOOD: u64 = 10;

/// Seeds of files from here on: none is the beginning of what is transferred.
const OTHER_SEEDS: u64 = 1000;

/// Files that are added by one command.
const ADDED_AT_ONCE: u64 = 80;

/// Good files of one folder, which one transfer moves. 16, that is 128 MiB: some
/// tenths of a second, so that many transfers are made while it is collected.
const FILES_OF_A_TRANSFER: u64 = 16;

/// Bytes that a transfer moves.
const TRANSFER_BYTES: u64 = FILES_OF_A_TRANSFER * FILE_BYTES;

/// Between two looks at how many transfers there were.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How large the store is.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Size of the store, in GiB
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    gib: u64,
    /// Transfers each way before the collection
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

/// The program, and where its repositories are.
struct Bench {
    bin: PathBuf,
    dir: PathBuf,
}

/// A transfer: when it began and ended, in seconds.
type Span = (f64, f64);

impl Bench {
    fn command(&self, repo: &str) -> Command {
        let mut command = Command::new(&self.bin);
        command
            .arg("--repo")
            .arg(self.dir.join(repo))
            .args(["--json", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .env("PEERAGE_BOOTSTRAP", "none")
            .env("PEERAGE_MDNS", "off");
        command
    }

    /// The events of a command that must succeed.
    fn events(&self, command: &mut Command) -> Result<Vec<Value>> {
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn add(&self, paths: &[PathBuf]) -> Result<Vec<String>> {
        let events = self.events(self.command("store").args(["add", "--copy"]).args(paths))?;
        let cid = |event: &Value| event["cid"].as_str().map(str::to_owned);
        Ok(events.iter().filter(|event| event["event"] == "added").filter_map(cid).collect())
    }

    /// Fills the store, and returns the CID of the folder that stays.
    fn fill(&self, bytes: u64) -> Result<String> {
        let (good, all) = (self.dir.join("good"), self.dir.join("all"));
        fs::create_dir(&good)?;
        let files = bytes / FILE_BYTES;
        let mut unpinned = Vec::new();
        for from in (0..files).step_by(usize::try_from(ADDED_AT_ONCE)?) {
            fs::create_dir(&all)?;
            let numbers = from..files.min(from + ADDED_AT_ONCE);
            let paths = numbers.map(|number| {
                let name = format!("{number:06}");
                let path = all.join(&name);
                fs::rename(
                    workspace::make_from(Payload::File(FILE_BYTES), &all, OTHER_SEEDS + number)?,
                    &path,
                )?;
                if number % OF_WHICH_ONE_IS_GOOD == 0 {
                    let part = good.join(part(number / OF_WHICH_ONE_IS_GOOD));
                    fs::create_dir_all(&part)?;
                    fs::copy(&path, part.join(&name))?;
                }
                Ok(path)
            });
            unpinned.extend(self.add(&paths.collect::<Result<Vec<_>>>()?)?);
            fs::remove_dir_all(&all)?;
            eprint!("\r{} of {files} files", from + ADDED_AT_ONCE);
        }
        eprintln!();
        let kept = self.add(std::slice::from_ref(&good))?.pop().context("nothing was added")?;
        for cids in unpinned.chunks(100) {
            self.events(self.command("store").args(["pin", "rm"]).args(cids))?;
        }
        Ok(kept)
    }

    /// A process that serves, and what it said when it was ready.
    fn serve(&self, name: &str, args: &[&str]) -> Result<(Measured, Value)> {
        let serving = Measured::spawn(name, self.command(name).args(args))?;
        let (ready, _) = serving.line("`ready`", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["event"] == "ready").then_some(line)
        })?;
        Ok((serving, ready))
    }

    /// Fetches into `dest`, over the network, and removes it.
    fn get(&self, repo: &str, args: &[&str], dest: &Path) -> Result<u64> {
        let mut get = self.command(repo);
        let events = self.events(get.args(["get", "--no-keep", "-o"]).arg(dest).args(args))?;
        let done = events.iter().find(|event| event["event"] == "done").context("no `done`")?;
        let fetched = done["sources"].as_object().context("no sources")?.values().filter_map(Value::as_u64);
        if dest.is_dir() {
            fs::remove_dir_all(dest)?;
        } else {
            fs::remove_file(dest)?;
        }
        Ok(fetched.sum())
    }
}

/// The folder that a good file is in.
fn part(good: u64) -> String {
    format!("{:03}", good / FILES_OF_A_TRANSFER)
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let disk = tempfile::Builder::new().prefix("peerage-bench-").tempdir()?;
    let memory = workspace::folder(Payload::File(TRANSFER_BYTES))?;
    let bench = Bench { bin: build_bin(root, "peerage-node", "peerage", true)?, dir: disk.path().to_owned() };
    let kept = bench.fill(options.gib << 30)?;
    let before = bytes_in(&disk.path().join("store"))?;
    let source = workspace::make(Payload::File(TRANSFER_BYTES), memory.path())?;
    let path = source.to_str().context("a temporary folder whose path is no UTF-8")?;
    let (sharer, ready) = bench.serve("sharer", &["share", path])?;
    let link = ready["link"].as_str().context("`ready` without a link")?.to_owned();
    let (owner, ready) = bench.serve("store", &["up"])?;
    let addr = ready["addrs"][0].as_str().context("`ready` without an address")?.to_owned();
    let good = (options.gib << 30) / FILE_BYTES / OF_WHICH_ONE_IS_GOOD;
    let using = Using { clock: Instant::now(), stop: AtomicBool::new(false), got: AtomicU64::new(0) };
    let measured = thread::scope(|scope| -> Result<_> {
        let getting = scope.spawn(|| {
            using.repeat(|number| {
                let dest = disk.path().join(format!("got {number}"));
                let bytes = bench.get("store", &[&link], &dest)?;
                using.got.fetch_add(1, Ordering::Relaxed);
                ensure!(bytes >= TRANSFER_BYTES, "only {bytes} bytes came over the network");
                Ok(())
            })
        });
        let sharing = scope.spawn(|| {
            using.repeat(|number| {
                let (repo, part) = (format!("getter {number}"), part(number * FILES_OF_A_TRANSFER % good));
                let dest = memory.path().join(&part);
                bench.get(&repo, &[&format!("{kept}/{part}"), "--from", &addr], &dest)?;
                Ok(fs::remove_dir_all(bench.dir.join(repo))?)
            })
        });
        while using.got.load(Ordering::Relaxed) < u64::from(options.runs) && !using.is_over() {
            thread::sleep(LOOK_EVERY);
        }
        let begun = using.now();
        let collected = bench.events(bench.command("store").arg("gc"));
        let span = (begun, using.now());
        using.stop.store(true, Ordering::Relaxed);
        let got = getting.join().expect("a thread panicked")?;
        let shared = sharing.join().expect("a thread panicked")?;
        Ok((got, shared, span, collected?.pop().context("`gc` said nothing")?))
    });
    owner.interrupt()?;
    sharer.interrupt()?;
    let (got, shared, span, collected) = measured?;
    let (after, live) = (bytes_in(&disk.path().join("store"))?, good * FILE_BYTES);
    let head = ["", "before, MB/s", "meanwhile, MB/s", "of before", "transfers"].map(str::to_owned).to_vec();
    print!("{}", aligned(&[head, row("get", &got, span)?, row("share", &shared, span)?]));
    println!(
        "\ncollected in {:.1} s, {:.0} MB given back; the repository took {:.0} MB and takes {:.0} MB, \
         {:.3} of what stays",
        span.1 - span.0,
        mb(collected["freed_bytes"].as_u64().unwrap_or(0)),
        mb(before),
        mb(after),
        mb(after) / mb(live),
    );
    Ok(())
}

/// Those who use the store.
struct Using {
    clock: Instant,
    stop: AtomicBool,
    /// Transfers to the store.
    got: AtomicU64,
}

impl Using {
    fn now(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Repeats a transfer until all are told to stop, and says when each one was.
    fn repeat(&self, mut transfer: impl FnMut(u64) -> Result<()>) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        while !self.is_over() {
            let begun = self.now();
            let done = transfer(spans.len() as u64);
            if done.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            done?;
            spans.push((begun, self.now()));
        }
        Ok(spans)
    }
}

/// The rates of transfers before a time, and of those that were begun and ended in it.
fn row(name: &str, transfers: &[Span], (begun, ended): Span) -> Result<Vec<String>> {
    let rates = |chosen: &dyn Fn(&Span) -> bool| {
        let chosen = transfers.iter().filter(|span| chosen(span));
        chosen.map(|(from, to)| mb(TRANSFER_BYTES) / (to - from)).collect::<Vec<_>>()
    };
    // The first one warms up.
    let before = rates(&|span| span.1 < begun && span.0 > transfers[0].0);
    let meanwhile = rates(&|span| span.0 > begun && span.1 < ended);
    ensure!(!before.is_empty() && !meanwhile.is_empty(), "{name}: too few transfers: take a larger store");
    let transfers = format!("{} and {}", before.len(), meanwhile.len());
    let (before, meanwhile) = (median(before), median(meanwhile));
    Ok(vec![
        name.to_owned(),
        format!("{before:.0}"),
        format!("{meanwhile:.0}"),
        format!("{:.2}", meanwhile / before),
        transfers,
    ])
}

#[expect(clippy::cast_precision_loss, reason = "figures of some digits")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes on disk of what is below a folder.
fn bytes_in(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes_in(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}
