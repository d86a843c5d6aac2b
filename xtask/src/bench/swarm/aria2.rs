//! `aria2c`: BitTorrent without encryption; a tracker of our own tells all of all.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::super::aria2::{COMMON, absent};
use super::super::contender::utf8;
use super::super::process::Measured;
use super::super::torrent::{self, Tracker};
use super::{Got, Play, Program};

/// Longer than any run takes, in minutes: they are told to end.
const SEED_TIME: &str = "--seed-time=60";

/// `aria2c` as found on PATH.
pub(super) struct Aria2;

fn command(play: &Play) -> Command {
    let mut command = Command::new("aria2c");
    command.args(COMMON);
    if let Some(up) = play.up {
        command.arg(format!("--max-overall-upload-limit={up}"));
    }
    command
}

impl Program for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn absent(&self) -> Option<String> {
        absent()
    }

    fn run(&self, play: &Play, source: &Path, dir: &Path) -> Result<Vec<Got>> {
        let tracker = Tracker::start()?;
        let file = dir.join("payload.torrent");
        fs::write(&file, torrent::describe(source, &tracker.announce_url())?)?;
        let name = source.file_name().context("the payload has a name")?;
        let seeded = source.parent().context("the payload lies in a folder")?;

        let mut seeders = Vec::new();
        for _ in 0..play.seeders {
            let mut seed = command(play);
            seed.args(["--seed-ratio=0", "--check-integrity=true", "--dir", utf8(seeded)?]).arg(&file);
            seeders.push(Measured::spawn("aria2c, seeding", &mut seed)?);
            tracker.wait_for_seeder()?;
        }

        let mut getters = Vec::new();
        for n in 0..play.getters {
            let to = dir.join(format!("getter-{n}"));
            fs::create_dir(&to)?;
            let mut get = command(play);
            get.args(["--seed-ratio=0", SEED_TIME, "--dir", utf8(&to)?]).arg(&file);
            getters.push((Measured::spawn("aria2c, getting", &mut get)?, to.join(name)));
        }
        let begun = getters.first().context("somebody fetches")?.0.start();
        // Which of them, the tracker cannot tell; nor does it matter to the figures.
        let at = |at: Instant| (at - begun).as_secs_f64();
        let done =
            getters.iter().map(|_| Ok(at(tracker.wait_for_getter()?))).collect::<Result<Vec<f64>>>()?;
        let ended = getters.into_iter().zip(done).map(|((getter, dest), seconds)| {
            Ok(Got { seconds, duplicate_bytes: None, usage: getter.interrupt()?, dest })
        });
        let all = ended.collect::<Result<Vec<_>>>()?;
        seeders.into_iter().try_for_each(|seeder| seeder.interrupt().map(drop))?;
        Ok(all)
    }
}
