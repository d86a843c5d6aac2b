//! `sendme` of crates.io (iroh), for comparison: QUIC, BLAKE3.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::contender::{Contender, Run, installed};
use super::process::Measured;
use super::workspace::Payload;

/// Direct addresses only: nothing may leave the machine.
const LOCAL: &[&str] = &["--relay", "disabled", "--no-progress"];

/// `sendme` as found on PATH.
pub(crate) struct Sendme;

impl Contender for Sendme {
    fn name(&self) -> &'static str {
        "sendme"
    }

    fn absent(&self, _: Payload) -> Option<String> {
        (!installed("sendme")).then(|| "not on PATH; `cargo install sendme --locked` installs it".to_owned())
    }

    fn run(&self, source: &Path, dir: &Path) -> Result<(Run, Option<PathBuf>)> {
        let (from, to) = (dir.join("sender"), dir.join("getter"));
        std::fs::create_dir(&from)?;
        std::fs::create_dir(&to)?;
        let mut send = Command::new("sendme");
        send.current_dir(&from).arg("send").args(["--ticket-type", "addresses"]).args(LOCAL).arg(source);
        let sender = Measured::spawn("sendme send", &mut send)?;
        let (ticket, ready_seconds) = sender.line("its ticket", |line| {
            line.trim().strip_prefix("sendme receive ").map(|ticket| ticket.trim().to_owned())
        })?;
        let mut receive = Command::new("sendme");
        receive.current_dir(&to).arg("receive").args(LOCAL).arg(ticket);
        let getter = Measured::spawn("sendme receive", &mut receive)?.finish()?;
        let name = source.file_name().context("the payload has a name")?;
        Ok((Run { ready_seconds, sender: sender.interrupt()?, getter }, Some(to.join(name))))
    }
}
