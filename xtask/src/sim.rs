//! `cargo xtask sim`: plays scenarios in the simulator, with a release build;
//! and what CI plays of them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, run as execute};

/// What CI plays: everything at once.
const STORM: [&str; 4] = ["storm", "--peers", "1000", "--quiet"];

/// Worlds that are played at the same time.
const THREADS: &str = "2";

/// Runs the simulator with these arguments.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    execute(cargo(root).args(["run", "--release", "--locked", "--package", "peerage-sim", "--"]).args(args))
}

/// Twenty seeds in release, two of them in debug: both must end well and alike.
pub(crate) fn check(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for the figures")?;
    let (release, debug) = (folder.path().join("release.json"), folder.path().join("debug.json"));
    for (profile, seeds, file) in [(Some("--release"), "1..20", &release), (None, "1..2", &debug)] {
        let mut command = cargo(root);
        command.args(["run", "--locked", "--package", "peerage-sim"]).args(profile).arg("--").args(STORM);
        command.args(["--seeds", seeds, "--threads", THREADS, "--json"]).arg(file);
        execute(&mut command)?;
    }
    let (release, debug) = (figures(&release)?, figures(&debug)?);
    for figures in debug {
        let seed = &figures["seed"];
        ensure!(release.contains(&figures), "seed {seed} gives other figures in debug than in release");
    }
    Ok(())
}

fn figures(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}
