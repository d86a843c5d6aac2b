//! Our program: `share` and `get`, each with a fresh repository.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use super::contender::{Contender, Run};
use super::process::Measured;
use super::workspace::Payload;

/// The release build of `peerage`.
pub(crate) struct Peerage {
    pub(crate) bin: PathBuf,
}

/// The program with a repository of its own, for itself on loopback.
pub(crate) fn command(bin: &Path, repo: &Path) -> Command {
    let mut command = Command::new(bin);
    alone(&mut command, repo, Ipv4Addr::LOCALHOST);
    command
}

/// Has the program meet nobody but whom it is told of, and listen at `ip`.
pub(crate) fn alone(command: &mut Command, repo: &Path, ip: Ipv4Addr) {
    command
        .arg("--repo")
        .arg(repo)
        .args(["--json", "--listen", &format!("/ip4/{ip}/tcp/0")])
        .env("PEERAGE_BOOTSTRAP", "none")
        .env("PEERAGE_MDNS", "off");
}

/// The link that a `share` prints, and the seconds that it took.
pub(crate) fn link(sharer: &Measured) -> Result<(String, f64)> {
    sharer.line("`ready`", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["event"] == "ready").then(|| line["link"].as_str().map(str::to_owned))?
    })
}

impl Contender for Peerage {
    fn name(&self) -> &'static str {
        "peerage"
    }

    fn is_rival(&self) -> bool {
        false
    }

    fn absent(&self, _: Payload) -> Option<String> {
        None
    }

    fn run(&self, source: &Path, dir: &Path) -> Result<(Run, Option<PathBuf>)> {
        let dest = dir.join("got");
        let mut share = command(&self.bin, &dir.join("sharer"));
        let sender = Measured::spawn("peerage share", share.arg("share").arg(source))?;
        let (link, ready_seconds) = link(&sender)?;
        let mut get = command(&self.bin, &dir.join("getter"));
        let getter = Measured::spawn("peerage get", get.args(["get", &link, "-o"]).arg(&dest))?.finish()?;
        Ok((Run { ready_seconds, sender: sender.interrupt()?, getter }, Some(dest)))
    }
}
