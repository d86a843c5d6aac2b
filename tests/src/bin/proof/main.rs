//! `cargo xtask proof`: what the project promises, in the sizes that it
//! promises it for. Prints a line a claim with its figures, and fails if one
//! does not hold. Takes part of their names as a filter.
//!
//! The same in small is in `tests/tests/system`; speed against other programs
//! is `cargo xtask bench transfer`.

mod full_disk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use peerage_tests::peer::{SLOWDOWN, number, text};
use peerage_tests::{MIB, Place, Process, data};

/// 1 GiB, in bytes.
const GIB: u64 = 1024 * MIB;

/// What a kill may cost: what was on its way, in bytes (ARCHITECTURE, staging and resume).
const PER_KILL: u64 = 48 * MIB;

/// Where the kills are drawn from.
const SEED: u64 = 0x7065_6572;

/// A claim, and what shows it; the figures come back as text.
type Claim = (&'static str, fn() -> Result<String>);

const CLAIMS: &[Claim] = &[
    ("1 GiB of random data", random),
    ("1 GiB of zeros", zeros),
    ("20,000 files of 4 KiB", small_files),
    ("a flat folder of 9,000", flat_folder),
    ("ten kills in 1 GiB", kills),
    ("served on by the getter", served_on),
    ("a full disk", full_disk::outside),
];

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    if filter == full_disk::INSIDE {
        return print_inside();
    }
    let mut failed = false;
    for (name, show) in CLAIMS.iter().filter(|(name, _)| name.contains(&filter)) {
        match show() {
            Ok(figures) => println!("{name:<26} ok      {figures}"),
            Err(error) => {
                failed = true;
                println!("{name:<26} FAILED  {error:#}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

/// The figures alone: the process outside prints the claim.
fn print_inside() -> ExitCode {
    match full_disk::inside() {
        Ok(figures) => println!("{figures}"),
        Err(error) => {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What a transfer between two fresh repositories came to.
struct Transfer {
    sent: u64,
    /// Bytes of the getter's repository.
    repo: u64,
    ready_seconds: f64,
    get_seconds: f64,
}

impl Transfer {
    fn of(bytes: u64, make: impl Fn(&Path) -> Result<()>) -> Result<Self> {
        let place = Place::with_room(bytes.saturating_mul(3) + GIB)?;
        let (source, dest) = (place.path("source"), place.path("dest"));
        make(&source)?;
        let start = Instant::now();
        let sharing = place.peer("a").share(&[text(&source)])?;
        let ready_seconds = start.elapsed().as_secs_f64();
        let getter = place.peer("b");
        let start = Instant::now();
        getter.get(&sharing.link()?, &dest)?;
        let get_seconds = start.elapsed().as_secs_f64();
        data::assert_same(&source, &dest)?;
        let sent = number(&sharing.close()?, "sent_bytes")?;
        Ok(Self { sent, repo: getter.repo_bytes()?, ready_seconds, get_seconds })
    }

    fn figures(&self) -> String {
        let Self { sent, repo, ready_seconds, get_seconds } = self;
        format!("ready {ready_seconds:.2} s, get {get_seconds:.2} s, sent {sent} B, repository {repo} B")
    }
}

fn random() -> Result<String> {
    let done = Transfer::of(GIB, |path| data::random(path, GIB, 1))?;
    ensure!(done.repo <= GIB / 100 + 4_000_000, "the repository holds {} bytes", done.repo);
    Ok(done.figures())
}

fn zeros() -> Result<String> {
    let done = Transfer::of(GIB, |path| data::zeros(path, GIB))?;
    ensure!(done.sent < 2 * MIB, "{} bytes were sent", done.sent);
    Ok(done.figures())
}

fn small_files() -> Result<String> {
    let done = Transfer::of(20_000 * 4096, |path| data::many(path, 20_000, 4096, 2))?;
    ensure!(done.repo <= 20_000 * 400 + 4_000_000, "the repository holds {} bytes", done.repo);
    Ok(done.figures())
}

fn flat_folder() -> Result<String> {
    Ok(Transfer::of(9000, |path| data::many(path, 9000, 100, 3))?.figures())
}

fn kills() -> Result<String> {
    let place = Place::with_room(4 * GIB)?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::random(&source, GIB, 4)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let getter = place.peer("b");
    let mut at: Vec<u64> = data::draw(SEED, 1, GIB * 9 / 10).take(10).collect();
    at.sort_unstable();
    for &at in &at {
        let mut command = getter.command(&["get", &sharing.link()?, "-o", text(&dest)]);
        // Slow enough that it tells how far it is before it is through.
        command.env(SLOWDOWN, "10");
        let mut get = Process::spawn(command, "")?;
        let line = get.wait_until(|line| line["event"] == "done" || line["bytes"].as_u64() >= Some(at))?;
        ensure!(line["event"] == "progress", "it was through before it could be killed at {at}: {line}");
        get.kill()?;
        ensure!(!dest.exists(), "a part has the name of the whole");
    }
    getter.get(&sharing.link()?, &dest)?;
    data::assert_same(&source, &dest)?;
    let sent = number(&sharing.close()?, "sent_bytes")?;
    ensure!(sent <= GIB + 10 * PER_KILL, "{sent} bytes were sent");
    let each = sent.saturating_sub(GIB) / 10 / MIB;
    Ok(format!("seed {SEED:#x}, sent {sent} B, {each} MiB more a kill"))
}

fn served_on() -> Result<String> {
    let place = Place::with_room(4 * GIB)?;
    let source = place.path("source");
    data::random(&source, GIB, 5)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let cid = sharing.cid()?;
    let second = place.peer("b");
    second.get(&sharing.link()?, &place.path("second"))?;
    sharing.close()?;
    let up = second.up()?;
    let third = place.path("third");
    let start = Instant::now();
    place.peer("c").run(&["get", &cid, "--from", &up.addr()?, "-o", text(&third)])?.with_status(0)?;
    let seconds = start.elapsed().as_secs_f64();
    up.close()?;
    data::assert_same(&source, &third)?;
    let repo = second.repo_bytes()?;
    ensure!(repo <= GIB / 100 + 4_000_000, "the repository holds {repo} bytes");
    Ok(format!("get {seconds:.2} s from the second peer, whose repository holds {repo} B"))
}
