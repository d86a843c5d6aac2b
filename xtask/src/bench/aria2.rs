//! `aria2c`, for comparison: BitTorrent without encryption, one seeder and one
//! getter that find each other by a tracker of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::contender::{Contender, Run, installed, utf8};
use super::process::Measured;
use super::torrent::{self, Tracker};
use super::workspace::Payload;

/// One connection, no discovery but the tracker, nothing preallocated.
pub(crate) const COMMON: &[&str] = &[
    "--no-conf=true",
    "--enable-dht=false",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--file-allocation=none",
    "--interface=127.0.0.1",
    "--summary-interval=0",
    "--show-console-readout=false",
    "--console-log-level=error",
];

/// `aria2c` as found on PATH.
pub(crate) struct Aria2;

/// Why it cannot be measured at all, if so.
pub(crate) fn absent() -> Option<String> {
    (!installed("aria2c")).then(|| "aria2c is not on PATH; `apt install aria2` installs it".to_owned())
}

impl Contender for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn absent(&self, payload: Payload) -> Option<String> {
        if matches!(payload, Payload::Folder(..)) {
            return Some("its torrent is of a single file here".to_owned());
        }
        absent()
    }

    fn run(&self, source: &Path, dir: &Path) -> Result<(Run, Option<PathBuf>)> {
        let tracker = Tracker::start()?;
        let file = dir.join("payload.torrent");
        fs::write(&file, torrent::describe(source, &tracker.announce_url())?)?;
        let to = dir.join("getter");
        fs::create_dir(&to)?;
        let seeded = source.parent().context("the payload lies in a folder")?;

        let mut seed = Command::new("aria2c");
        seed.args(COMMON)
            .args(["--seed-ratio=0", "--check-integrity=true", "--dir", utf8(seeded)?])
            .arg(&file);
        let start = std::time::Instant::now();
        let sender = Measured::spawn("aria2c, seeding", &mut seed)?;
        tracker.wait_for_seeder()?;
        let ready_seconds = start.elapsed().as_secs_f64();

        let mut get = Command::new("aria2c");
        get.args(COMMON).args(["--seed-time=0", "--dir", utf8(&to)?]).arg(&file);
        let getter = Measured::spawn("aria2c, getting", &mut get)?.finish()?;
        let name = source.file_name().context("the payload has a name")?;
        Ok((Run { ready_seconds, sender: sender.interrupt()?, getter }, Some(to.join(name))))
    }
}
