//! What takes part in a transfer measurement.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::process::{Measured, Usage};
use super::workspace::Payload;

/// One run of one contender.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Run {
    /// From the sender's start until it could be fetched from.
    pub(crate) ready_seconds: f64,
    /// The sender, from start to end.
    pub(crate) sender: Usage,
    /// The getter, from start to end: its seconds are the figure.
    pub(crate) getter: Usage,
}

/// A program that sends a file or folder from one process to another.
pub(crate) trait Contender {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Why it does not take part in sending `payload`, if so.
    fn absent(&self, payload: Payload) -> Option<String>;

    /// Sends `source` once, with everything it writes below the empty folder
    /// `dir`, and returns where the result lies, if it writes one.
    fn run(&self, source: &Path, dir: &Path) -> Result<(Run, Option<PathBuf>)>;

    /// True if it is measured beside us, and not as a bound of what is possible.
    fn is_rival(&self) -> bool {
        true
    }
}

/// No protocol: one thread encrypts and one decrypts, hashes and writes.
pub(crate) struct Ceiling {
    pub(crate) bin: PathBuf,
}

impl Contender for Ceiling {
    fn name(&self) -> &'static str {
        "ceiling"
    }

    fn absent(&self, payload: Payload) -> Option<String> {
        matches!(payload, Payload::Folder(..)).then(|| "it sends single files".to_owned())
    }

    fn is_rival(&self) -> bool {
        false
    }

    fn run(&self, source: &Path, dir: &Path) -> Result<(Run, Option<PathBuf>)> {
        let sender = Measured::spawn("ceiling send", Command::new(&self.bin).arg("send").arg(source))?;
        let (port, ready_seconds) = sender.line("its port", |line| line.parse::<u16>().ok())?;
        let dest = dir.join("got");
        let mut receive = Command::new(&self.bin);
        receive.args(["recv", &format!("127.0.0.1:{port}")]).arg(&dest);
        let getter = Measured::spawn("ceiling recv", &mut receive)?.finish()?;
        Ok((Run { ready_seconds, sender: sender.finish()?, getter }, Some(dest)))
    }
}

/// True if `program` can be found on PATH.
pub(crate) fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// The path as text, for programs that take only that.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}
