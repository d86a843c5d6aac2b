//! `cargo xtask sim`: plays scenarios in the simulator, with a release build;
//! and what CI plays of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, run as execute};

/// What CI plays: everything at once.
const STORM: [&str; 4] = ["storm", "--peers", "1000", "--quiet"];

/// Worlds that are played at the same time.
const THREADS: &str = "2";

/// Has it built with overflow checks and the like; else it is a release build.
const DEBUG: &str = "--debug";

/// The simulator's allocator gives back at once what is free: its memory is measured.
const MALLOC: &str = "narenas:2,dirty_decay_ms:0,muzzy_decay_ms:0";

/// Runs the simulator with these arguments.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let debug = args.iter().any(|arg| arg == DEBUG);
    let args = args.iter().filter(|arg| *arg != DEBUG);
    execute(simulator(root, debug).args(args))
}

fn simulator(root: &Path, debug: bool) -> Command {
    let mut command = cargo(root);
    command.env("MALLOC_CONF", MALLOC);
    command.args(["run", "--locked", "--package", "peerage-sim"]);
    command.args((!debug).then_some("--release")).arg("--");
    command
}

/// Twenty seeds in release, two of them in debug: both must end well and alike.
pub(crate) fn check(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for the figures")?;
    let (release, debug) = (folder.path().join("release.json"), folder.path().join("debug.json"));
    for (debug, seeds, file) in [(false, "1..20", &release), (true, "1..2", &debug)] {
        let mut command = simulator(root, debug);
        command.args(STORM).args(["--seeds", seeds, "--threads", THREADS, "--json"]).arg(file);
        execute(&mut command)?;
    }
    let (release, debug) = (figures(&release)?, figures(&debug)?);
    for figures in debug {
        let seed = &figures["seed"];
        ensure!(
            release.contains(&figures),
            "seed {seed} gives other figures in debug than in release; to repeat: \
             cargo xtask sim [{DEBUG}] storm --peers 1000 --seed {seed} --json FILE"
        );
    }
    Ok(())
}

fn figures(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}
