//! `cargo xtask bench find`: how long a `get` takes that knows nothing but a
//! CID and one peer of the DHT, beside one that has a link, in turns.
//!
//! Of the servers only the 20 closest to the CID hold the record; the getters
//! begin at each server in turn, so that part of them have to ask a second one.
//! A whole process that fetches one small block is measured, from its start to
//! its end: its first byte came before that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use super::process::Measured;
use super::report::{aligned, median};
use super::workspace::{self, Payload};
use crate::command::build_bin;

/// One block: what comes first is all.
const SIZE: u64 = 16 << 10;

/// Look-ups for the record before it counts as not announced.
const ATTEMPTS: u32 = 100;

/// How many servers and getters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Servers of the DHT, each a process
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..=100))]
    servers: u16,
    /// How often each way is measured
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

struct Peerage {
    bin: PathBuf,
    dir: PathBuf,
}

impl Peerage {
    /// The program with a repository of its own.
    fn command(&self, name: &str, bootstrap: &str) -> Command {
        let mut command = Command::new(&self.bin);
        command
            .arg("--repo")
            .arg(self.dir.join(name))
            .args(["--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", bootstrap])
            .env("PEERAGE_MDNS", "off");
        command
    }

    /// One that serves, and what it said when it was ready.
    fn serve(&self, name: &str, bootstrap: &str, args: &[&str]) -> Result<(Measured, Value)> {
        let serving = Measured::spawn(name, self.command(name, bootstrap).args(args))?;
        let (ready, _) = serving.line("`ready`", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["event"] == "ready").then_some(line)
        })?;
        Ok((serving, ready))
    }

    /// Seconds that a `get` takes.
    fn get(&self, name: &str, bootstrap: &str, what: &str, source: &Path) -> Result<f64> {
        let dest = self.dir.join(format!("{name} got"));
        let mut get = self.command(name, bootstrap);
        let seconds = Measured::spawn(name, get.args(["get", what, "-o"]).arg(&dest))?.finish()?.seconds;
        workspace::assert_same(source, &dest)?;
        Ok(seconds)
    }

    /// Waits until a look-up names a provider.
    fn wait_for_record(&self, cid: &str, bootstrap: &str) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let output = self.command("finder", bootstrap).args(["find", cid]).output()?;
            if String::from_utf8_lossy(&output.stdout).contains("peer_id") {
                return Ok(());
            }
        }
        bail!("no look-up found who shares {cid}")
    }
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let payload = Payload::File(SIZE);
    let dir = workspace::folder(payload)?;
    let source = workspace::make(payload, dir.path())?;
    let peerage =
        Peerage { bin: build_bin(root, "peerage-node", "peerage", true)?, dir: dir.path().to_owned() };

    let mut servers = Vec::new();
    let mut addrs: Vec<String> = Vec::new();
    for n in 0..options.servers {
        let seed = addrs.first().map_or("none", String::as_str);
        let (server, ready) = peerage.serve(&format!("server {n}"), seed, &["up"])?;
        addrs.push(ready["addrs"][0].as_str().context("`ready` without an address")?.to_owned());
        servers.push(server);
    }
    let file = source.to_str().context("a temporary folder whose path is no UTF-8")?;
    let (sharer, ready) = peerage.serve("sharer", &addrs[0], &["share", "--announce", file])?;
    let text = |field: &str| ready[field].as_str().with_context(|| format!("`ready` without `{field}`"));
    let (cid, link) = (text("cid")?, text("link")?);
    peerage.wait_for_record(cid, &addrs[1])?;

    let (mut by_cid, mut by_link) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        let seed = &addrs[usize::from(run) % addrs.len()];
        by_cid.push(peerage.get(&format!("by CID {run}"), seed, cid, &source)?);
        by_link.push(peerage.get(&format!("by link {run}"), "none", link, &source)?);
    }
    sharer.interrupt()?;
    servers.into_iter().try_for_each(|server| server.interrupt().map(drop))?;

    println!(
        "one block of {SIZE} bytes, {} servers over loopback, {} runs each, in turns; a whole `get`, s",
        options.servers, options.runs
    );
    let link = median(by_link.clone());
    let row = |name: &str, mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        let middle = median(seconds.clone());
        let (least, most) = (seconds.first().copied(), seconds.last().copied());
        let cells = [Some(middle), least, most, Some(middle / link)]
            .map(|figure| format!("{:.3}", figure.unwrap_or(f64::NAN)));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let head = ["", "median", "least", "most", "of the link's"].map(str::to_owned).to_vec();
    print!("{}", aligned(&[head, row("by its CID", by_cid), row("by its link", by_link)]));
    Ok(())
}
