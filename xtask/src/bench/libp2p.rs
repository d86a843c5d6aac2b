//! rust-libp2p's `/perf` stream, for comparison: over TCP with Noise and yamux, and
//! over QUIC. Its program is in `benches/libp2p-perf`. It reads and writes no file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::contender::{Contender, Run};
use super::process::Measured;
use super::workspace::Payload;
use crate::command::{cargo, run as execute};

/// Below the target directory, as its workspace is another one.
const TARGET: &str = "target/libp2p-perf";

/// Builds the program and returns where it is.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let target = root.join(TARGET);
    let mut build = cargo(&root.join("benches/libp2p-perf"));
    execute(build.args(["build", "--release", "--locked", "--target-dir"]).arg(&target))?;
    let bin = target.join("release/libp2p-perf");
    ensure!(bin.is_file(), "cargo built no {}", bin.display());
    Ok(bin)
}

/// The program over one transport.
pub(crate) struct Libp2p {
    name: &'static str,
    transport: &'static str,
    bin: PathBuf,
}

impl Libp2p {
    /// One for each transport.
    pub(crate) fn all(bin: &Path) -> [Self; 2] {
        [("libp2p tcp", "tcp"), ("libp2p quic", "quic")].map(|(name, transport)| Self {
            name,
            transport,
            bin: bin.to_owned(),
        })
    }
}

impl Contender for Libp2p {
    fn name(&self) -> &'static str {
        self.name
    }

    fn absent(&self, payload: Payload) -> Option<String> {
        matches!(payload, Payload::Folder(..)).then(|| "it sends bytes, not files".to_owned())
    }

    fn run(&self, source: &Path, _: &Path) -> Result<(Run, Option<PathBuf>)> {
        let bytes = source.metadata().context("the size of the payload")?.len();
        let mut serve = Command::new(&self.bin);
        let sender = Measured::spawn("libp2p-perf serve", serve.args(["serve", self.transport]))?;
        let (addr, ready_seconds) =
            sender.line("its address", |line| line.starts_with('/').then(|| line.to_owned()))?;
        let mut get = Command::new(&self.bin);
        let getter = Measured::spawn("libp2p-perf get", get.args(["get", &addr, &bytes.to_string()]))?;
        let run = Run { ready_seconds, getter: getter.finish()?, sender: sender.interrupt()? };
        Ok((run, None))
    }
}
