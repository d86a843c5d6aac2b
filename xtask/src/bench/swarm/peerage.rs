//! Our program: some `share`, the others `get` and serve on until all are done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::peerage::command;
use super::super::process::Measured;
use super::{Got, Play, Program};

/// Longer than any run takes: they are told to end.
const SEED_FOR: &str = "1h";

/// The release build of `peerage`.
pub(super) struct Peerage {
    pub(super) bin: PathBuf,
}

impl Peerage {
    fn command(&self, play: &Play, repo: &Path) -> Command {
        let mut command = command(&self.bin, repo);
        if let Some(up) = play.up {
            command.arg("--max-up").arg(format!("{up}B/s"));
        }
        command
    }
}

impl Program for Peerage {
    fn name(&self) -> &'static str {
        "peerage"
    }

    fn absent(&self) -> Option<String> {
        None
    }

    fn run(&self, play: &Play, source: &Path, dir: &Path) -> Result<Vec<Got>> {
        let mut seeders = Vec::new();
        let (mut link, mut others) = (None, Vec::new());
        for n in 0..play.seeders {
            let mut share = self.command(play, &dir.join(format!("seeder-{n}")));
            let seeder = Measured::spawn("peerage share", share.arg("share").arg(source))?;
            let (ready, _) = seeder.line("`ready`", |line| event(line, "ready"))?;
            if link.is_none() {
                link = ready["link"].as_str().map(str::to_owned);
            } else {
                others.extend(address(&ready));
            }
            seeders.push(seeder);
        }
        let link = link.context("the first seeder printed no link")?;

        let mut getters = Vec::new();
        for n in 0..play.getters {
            let dest = dir.join(format!("got-{n}"));
            let mut get = self.command(play, &dir.join(format!("getter-{n}")));
            get.args(["get", &link, "--seed-for", SEED_FOR, "-o"]).arg(&dest);
            others.iter().for_each(|other| {
                get.args(["--from", other]);
            });
            getters.push((Measured::spawn("peerage get", &mut get)?, dest));
        }
        let begun = getters.first().context("somebody fetches")?.0.start();
        let mut done = Vec::new();
        for (getter, _) in &getters {
            let (done_event, after) = getter.line("`done`", |line| event(line, "done"))?;
            done.push((
                (getter.start() - begun).as_secs_f64() + after,
                done_event["duplicate_bytes"].as_u64(),
            ));
        }
        let ended = getters.into_iter().zip(done).map(|((getter, dest), (seconds, duplicate_bytes))| {
            Ok(Got { seconds, duplicate_bytes, usage: getter.interrupt()?, dest })
        });
        let all = ended.collect::<Result<Vec<_>>>()?;
        seeders.into_iter().try_for_each(|seeder| seeder.interrupt().map(drop))?;
        Ok(all)
    }
}

/// The line's object, if it is that event.
fn event(line: &str, name: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["event"] == name).then_some(line)
}

/// Where a seeder that is `ready` can be dialled, with its peer id.
fn address(ready: &Value) -> Option<String> {
    let (addr, peer) = (ready["addrs"][0].as_str()?, ready["peer_id"].as_str()?);
    Some(if addr.contains("/p2p/") { addr.to_owned() } else { format!("{addr}/p2p/{peer}") })
}
