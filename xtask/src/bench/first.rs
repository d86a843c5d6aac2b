//! `cargo xtask bench first`: the time from the start of a `get -o -` by a direct
//! link, with an empty repository, until its first byte can be read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;

use super::peerage::{command, link};
use super::process::Measured;
use super::report::{aligned, median};
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// How often, and of what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bytes of the file
    #[arg(long, default_value_t = 256 << 20)]
    size: u64,
    /// How often it is fetched
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Also write every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let bin = build_bin(root, "peerage-node", "peerage", true)?;
    let payload = Payload::File(options.size);
    let dir = workspace::folder(payload)?;
    let source = workspace::make(payload, dir.path())?;
    let mut share = command(&bin, &dir.path().join("sharer"));
    let sharer = Measured::spawn("peerage share", share.arg("share").arg(&source))?;
    let (link, _) = link(&sharer)?;

    let mut series = [("first byte", Vec::new()), ("a start alone", Vec::new())];
    for _ in 0..options.runs {
        let place = tempfile::tempdir_in(dir.path())?;
        let mut get = command(&bin, &place.path().join("getter"));
        series[0].1.push(first_byte(get.args(["get", &link, "-o", "-"]))?);
        // What of it no protocol can save.
        series[1].1.push(first_byte(Command::new(&bin).arg("version"))?);
    }
    sharer.interrupt()?;

    println!(
        "a direct link of {} bytes, {} runs, from the start of the process; ms",
        options.size, options.runs
    );
    let mut rows = vec![["", "median", "least", "most"].map(str::to_owned).to_vec()];
    for (name, seconds) in &series {
        let ms = |seconds: f64| format!("{:.1}", seconds * 1e3);
        rows.push(vec![
            (*name).to_owned(),
            ms(median(seconds.clone())),
            ms(seconds.iter().copied().fold(f64::INFINITY, f64::min)),
            ms(seconds.iter().copied().fold(0.0, f64::max)),
        ]);
    }
    print!("{}", aligned(&rows));
    if let Some(path) = &options.json {
        let value =
            json!({"bytes": options.size, "first_byte_seconds": series[0].1, "start_seconds": series[1].1});
        std::fs::write(path, format!("{value:#}\n"))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Ends the process when it is no longer looked at.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Seconds until it has written something.
fn first_byte(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = Running(child.context("starting peerage")?);
    let mut stdout = child.0.stdout.take().context("stdout was asked for")?;
    let came = stdout.read(&mut [0; 1])?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(came == 1, "it ended without a byte");
    Ok(seconds)
}
