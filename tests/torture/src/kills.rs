//! A real store on a real disk, in a process that is killed at any moment, over
//! and over. The process writes a line of everything that was promised; who
//! killed it opens the store, compares, damages what can be made again, and goes on.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_base::Rng;
use peerage_store::{Checked, Config, RepoLock, Store};

use crate::model::{End, Model};
use crate::operations::{Operator, write_user_files};
use crate::record::{Lines, read_line};

/// What the process says before it opens the store.
const BEGIN: &str = "begin";
/// Operations after which a process ends that nobody killed.
const OPERATIONS: u64 = 5_000;
/// Lines after which it is killed at the latest; most are told within some milliseconds.
const LINES: u64 = 1_200;
/// Of a hundred rounds, those in which the store is killed while it is opened, or
/// just after.
const EARLY: u64 = 25;
/// Of a hundred rounds, those that begin with damage.
const DAMAGED: u64 = 15;

/// What many rounds came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Rounds that were played.
    pub rounds: u64,
    /// Lines that the processes wrote before they were killed.
    pub lines: u64,
    /// Blocks that were compared afterwards.
    pub compared: u64,
    /// Processes that were killed before the store was open.
    pub opening: u64,
    /// Times that something was damaged.
    pub damaged: u64,
    /// The longest time that it took to open the store after a kill.
    pub slowest_open: Duration,
}

/// Small packs, so that they are sealed, merged and rewritten all the time.
fn config(rng: &mut Rng) -> Config {
    let mut within = |from: u64, to: u64| usize::try_from(from + rng.below(to - from)).unwrap_or(0);
    Config {
        pack_bytes: within(2_000, 60_000) as u64,
        pack_records: within(8, 80),
        merged_records: within(100, 2_000),
        merged_bytes: within(50_000, 1_000_000) as u64,
        merge_fan: within(2, 5),
        write_buffer: within(100, 8_000),
        // A busy machine is no reason to give up the index.
        index_deadline: Duration::from_secs(600),
        ..Config::default()
    }
}

/// The process that is killed: opens the store and does things.
///
/// # Errors
/// What the store does against its word, or the disk's.
pub fn live(dir: &Path, user_files: &Path, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    let config = config(&mut rng);
    let lock = RepoLock::acquire(dir, "peerage-torture")?;
    println!("{BEGIN}");
    let (store, _) = Store::open(lock.dir(), config)?;
    let mut operator = Operator::new(rng, user_files);
    let mut record = Lines(io::stdout().lock());
    for number in 0..OPERATIONS {
        operator.operate(&store, &mut record).with_context(|| format!("operation {number}"))?;
    }
    Ok(())
}

/// Plays rounds with a process that `program` starts, given a repository, a folder
/// of files and a seed, and shows how far it is.
///
/// # Errors
/// The first time that the store broke its word, with the number of the round.
pub fn play(
    rounds: u64,
    seed: u64,
    program: &dyn Fn(&Path, &Path, u64) -> Command,
    show: &mut dyn FnMut(&Report),
) -> Result<Report> {
    let temp = tempfile::tempdir()?;
    let (dir, user_files) = (temp.path().join("repository"), temp.path().join("files"));
    fs::create_dir(&user_files)?;
    write_user_files(&user_files)?;
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    let mut report = Report::default();
    for round in 0..rounds {
        let what = || format!("seed {seed}, round {round}");
        if report.rounds > 0 && rng.below(100) < DAMAGED {
            report.damaged += u64::from(damage(&dir, &mut rng)?);
        }
        let process = program(&dir, &user_files, rng.next_u64());
        let kill_at = if rng.below(100) < EARLY { 1 } else { 1 + rng.below(LINES) };
        let lines = live_and_be_killed(process, kill_at, &mut model).with_context(what)?;
        report.opening += u64::from(lines <= 1);
        report.lines += lines;
        let began = Instant::now();
        let lock = RepoLock::acquire(&dir, "peerage-torture")?;
        let (store, opened) = Store::open(lock.dir(), config(&mut rng))?;
        report.slowest_open = report.slowest_open.max(began.elapsed());
        ensure!(opened.lost_root_sets.is_empty(), "{}: {opened:?}", what());
        report.compared += model.numbers().count() as u64;
        model.check(&store, End::Kill).with_context(what)?;
        verify(&store).with_context(what)?;
        report.rounds += 1;
        show(&report);
    }
    Ok(report)
}

/// Starts the process, kills it after so many lines, and takes down what it wrote.
/// Returns how many lines there were in all.
fn live_and_be_killed(mut process: Command, kill_at: u64, model: &mut Model) -> Result<u64> {
    let mut child = process.stdout(Stdio::piped()).spawn().context("starting the process")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output is not piped")?);
    let mut count = 0;
    let mut killed = false;
    loop {
        if count >= kill_at && !killed {
            child.kill()?;
            killed = true;
        }
        let mut line = String::new();
        lines.read_line(&mut line)?;
        // A kill may cut the last line in two; what it says was not told.
        let Some(line) = line.strip_suffix('\n') else { break };
        count += 1;
        if line != BEGIN {
            read_line(line, model)?;
        }
    }
    let status = child.wait()?;
    if !killed && !status.success() {
        bail!("the process ended by itself: {status}");
    }
    Ok(count)
}

/// Nothing that is here is wrong.
fn verify(store: &Store) -> Result<()> {
    let mut wrong = Vec::new();
    let sum = store.verify_all(&mut |checked| {
        // What can be read in spite of it is no loss.
        if !matches!(checked, Checked::Progress { .. } | Checked::BadIndex { .. }) {
            wrong.push(format!("{checked:?}"));
        }
        ControlFlow::Continue(())
    })?;
    ensure!(wrong.is_empty() && sum.bad == 0, "wrong after a kill: {wrong:?}");
    Ok(())
}

/// Damages something that the store can make again. True if there was something.
pub(crate) fn damage(dir: &Path, rng: &mut Rng) -> Result<bool> {
    let index = dir.join("index");
    let path = match rng.below(4) {
        0 => {
            if index.exists() {
                fs::remove_dir_all(&index)?;
            }
            return Ok(true);
        }
        1 => pick(&files_below(&index, "")?, rng),
        2 => pick(&files_below(&dir.join("packs"), "pack")?, rng),
        _ => pick(&[dir.join("journal"), dir.join("journal.mirror")], rng),
    };
    let Some(path) = path else { return Ok(false) };
    let mut bytes = fs::read(&path)?;
    let of_pack = path.extension().is_some_and(|extension| extension == "pack");
    // The last bytes of a pack are its index.
    let from = if of_pack { bytes.len().saturating_sub(200) } else { 0 };
    let range = (bytes.len() - from) as u64;
    if range == 0 {
        return Ok(false);
    }
    for _ in 0..=rng.below(4) {
        let at = from + usize::try_from(rng.below(range)).unwrap_or(0);
        bytes[at] ^= 1 << rng.below(8);
    }
    fs::write(&path, bytes)?;
    Ok(true)
}

fn pick(paths: &[PathBuf], rng: &mut Rng) -> Option<PathBuf> {
    rng.pick(paths).cloned()
}

/// Files below a folder with this extension, or any; in a certain order.
fn files_below(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path, extension)?);
        } else if extension.is_empty() || path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
