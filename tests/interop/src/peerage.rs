//! Our own program, as a user would run it, with `--json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::path_from_env;
use crate::process::{COMMAND, Process, START};
use crate::profile::Profile;

/// How long a command may take to end after an interrupt: it promises a
/// second, the machine may be busy.
const END: Duration = Duration::from_secs(20);

/// What of the program's log is asked for: connections that come and go.
const LOG: &str = "peerage_peer::net::connection=debug";

/// The same of the streams that blocks come by.
const LOG_STREAMS: &str = "peerage_peer::net::bitswap_in=debug";

/// A repository of its own; commands on it run one after another or together.
#[derive(Debug)]
pub struct Peerage {
    bin: PathBuf,
    repo: TempDir,
    slowdown: Option<u32>,
    /// Where it listens.
    listen: &'static str,
    /// Peers of the DHT to begin with, and flags of the network.
    network: Vec<String>,
    /// The program and arguments that run it elsewhere than here.
    within: Vec<String>,
}

/// A running `share`, `up` or `get --seed-for`.
#[derive(Debug)]
pub struct Serving {
    process: Process,
    /// The line that told it was ready: `ready`, or `done` of a `get`.
    pub line: Value,
}

impl Peerage {
    /// A fresh repository for the program that `PEERAGE_BIN` names.
    ///
    /// # Errors
    /// If the program is not named or no temporary folder can be made.
    pub fn new() -> Result<Self> {
        Ok(Self {
            bin: path_from_env("PEERAGE_BIN")?,
            repo: TempDir::with_prefix("peerage-")?,
            slowdown: None,
            listen: "/ip4/127.0.0.1/tcp/0",
            network: Vec::new(),
            within: Vec::new(),
        })
    }

    /// The same with worker threads that take `times` as long as they need.
    ///
    /// # Errors
    /// As [`Peerage::new`].
    pub fn with_slow_workers(times: u32) -> Result<Self> {
        Ok(Self { slowdown: Some(times), ..Self::new()? })
    }

    /// The same in a DHT that these peers are in already, with these flags.
    ///
    /// # Errors
    /// As [`Peerage::new`].
    pub fn in_dht(peers: &[&str], flags: &[&str]) -> Result<Self> {
        let peers = peers.iter().flat_map(|peer| ["--bootstrap", peer]);
        let network = flags.iter().copied().chain(peers).map(str::to_owned).collect();
        Ok(Self { network, ..Self::new()? })
    }

    /// The same on all interfaces of another network namespace, which
    /// `within`, a program with arguments, runs it in.
    ///
    /// # Errors
    /// As [`Peerage::new`].
    pub fn within(within: &[String]) -> Result<Self> {
        Ok(Self { listen: "/ip4/0.0.0.0/tcp/0", within: within.to_vec(), ..Self::new()? })
    }

    /// Where its repository is.
    #[must_use]
    pub fn repo(&self) -> &Path {
        self.repo.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.plain(args);
        command.arg("--json");
        command
    }

    /// The program, which is to print what a person would see.
    fn plain(&self, args: &[&str]) -> Command {
        let mut command = match self.within.split_first() {
            Some((program, before)) => {
                let mut command = Command::new(program);
                command.args(before).arg(&self.bin);
                command
            }
            None => Command::new(&self.bin),
        };
        command
            .args(args)
            .arg("--repo")
            .arg(self.repo.path())
            .env("PEERAGE_BOOTSTRAP", "none")
            .env("PEERAGE_MDNS", "off")
            .env("PEERAGE_LOG", LOG)
            .env_remove("PEERAGE_PATH");
        if let Some(times) = self.slowdown {
            command.env("PEERAGE_TEST_WORKER_SLOWDOWN", times.to_string());
        }
        command
    }

    fn networked(&self, args: &[&str]) -> Command {
        self.in_network(self.command(args))
    }

    fn in_network(&self, mut command: Command) -> Command {
        command.args(["--listen", self.listen]).args(&self.network);
        command
    }

    /// Runs a networked command that ends by itself and returns its lines.
    ///
    /// # Errors
    /// If its exit status is not 0.
    pub fn run(&self, args: &[&str]) -> Result<Vec<Value>> {
        self.run_as(&format!("peerage {}", args.join(" ")), args)
    }

    /// The same with a name for messages.
    fn run_as(&self, name: &str, args: &[&str]) -> Result<Vec<Value>> {
        let mut process = Process::spawn(name, self.networked(args))?;
        let mut lines = Vec::new();
        while let Some(line) = process.next(COMMAND)? {
            lines.push(line);
        }
        let status = process.finish(END)?;
        ensure!(status.success(), "{name}: {status}; {}", process.last_words());
        // In a DHT two may dial each other at once.
        if self.network.is_empty() {
            assert_no_reconnect(&process)?;
        }
        Ok(lines)
    }

    /// Runs a networked command that prints bytes of a file, and returns them.
    ///
    /// # Errors
    /// If its exit status is not 0, or it threw away what it had asked for.
    pub fn bytes(&self, args: &[&str]) -> Result<Vec<u8>> {
        let name = format!("peerage {}", args.join(" "));
        let mut command = self.in_network(self.plain(args));
        command.env("PEERAGE_LOG", format!("{LOG},{LOG_STREAMS}"));
        let mut process = Process::spawn(&name, command)?;
        let bytes = process.output(COMMAND)?;
        let said = process.last_words();
        ensure!(!said.contains("this side reset the stream"), "{name}: {said}");
        Ok(bytes)
    }

    /// Shares `path` until interrupted.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn share(&self, path: &Path) -> Result<Serving> {
        let path = path.to_str().context("a UTF-8 path")?;
        Serving::start("peerage share", self.networked(&["share", path]), "ready", START)
    }

    /// Shares `path` until one peer has everything.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn share_once(&self, path: &Path) -> Result<Serving> {
        let path = path.to_str().context("a UTF-8 path")?;
        Serving::start("peerage share --once", self.networked(&["share", "--once", path]), "ready", START)
    }

    /// Shares `path`, and tells the DHT, until interrupted.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn share_announced(&self, path: &Path) -> Result<Serving> {
        let path = path.to_str().context("a UTF-8 path")?;
        Serving::start(
            "peerage share --announce",
            self.networked(&["share", "--announce", path]),
            "ready",
            START,
        )
    }

    /// Serves what it has until interrupted.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn up(&self) -> Result<Serving> {
        Serving::start("peerage up", self.networked(&["up"]), "ready", START)
    }

    /// Fetches `cid` from whoever the DHT names; returns the line `done`.
    ///
    /// # Errors
    /// If the fetch fails.
    pub fn get_by_cid(&self, cid: &str, dest: &Path) -> Result<Value> {
        let dest = dest.to_str().context("a UTF-8 path")?;
        let lines = self.run(&["get", cid, "-o", dest])?;
        let done = lines.into_iter().find(|line| line["event"] == "done");
        done.context("`get` succeeded without the event `done`")
    }

    /// Fetches `cid` from the peer at `from` to `dest`; returns the line `done`.
    ///
    /// # Errors
    /// If the fetch fails.
    pub fn get(&self, cid: &str, from: &str, dest: &Path) -> Result<Value> {
        let dest = dest.to_str().context("a UTF-8 path")?;
        let lines = self.run(&["get", cid, "--from", from, "-o", dest])?;
        let done = lines.into_iter().find(|line| line["event"] == "done");
        done.context("`get` succeeded without the event `done`")
    }

    /// Fetches `cid` and goes on serving it; returns once the data is in place.
    ///
    /// The address is found with [`Serving::addr`] only if `get` printed
    /// `ready`, so `listen` is given here.
    ///
    /// # Errors
    /// If the fetch fails.
    pub fn get_and_seed(&self, cid: &str, from: &str, dest: &Path, listen: &str) -> Result<Serving> {
        let dest = dest.to_str().context("a UTF-8 path")?;
        let args = ["get", cid, "--from", from, "-o", dest, "--seed-for", "60s", "--listen", listen];
        Serving::start("peerage get --seed-for", self.command(&args), "done", COMMAND)
    }

    /// Adds and pins a file or folder, and returns its CID.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add(&self, path: &Path, profile: Profile) -> Result<String> {
        let path = path.to_str().context("a UTF-8 path")?;
        let lines = self.run(&["add", "--hidden", "--profile", profile.name(), path])?;
        let added = lines.iter().find(|line| line["event"] == "added");
        crate::text(added.context("`add` succeeded without the event `added`")?, "cid")
    }

    /// Writes what the repository holds of `cid` to `dest`.
    ///
    /// # Errors
    /// If something is missing.
    pub fn get_offline(&self, cid: &str, dest: &Path) -> Result<()> {
        self.run(&["get", cid, "--offline", "-o", dest.to_str().context("a UTF-8 path")?]).map(|_| ())
    }

    /// The CIDs of the pins.
    ///
    /// # Errors
    /// If the command fails.
    pub fn pins(&self) -> Result<Vec<String>> {
        self.run(&["pin", "ls"])?.iter().map(|line| crate::text(line, "cid")).collect()
    }

    /// The CIDs that adding `paths` would give, hidden entries included, in
    /// that order; needs no repository.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn hash_each(&self, paths: &[PathBuf], profile: Profile) -> Result<Vec<String>> {
        let mut args = vec!["add", "--only-hash", "--hidden", "--profile", profile.name()];
        for path in paths {
            args.push(path.to_str().context("a UTF-8 path")?);
        }
        let lines = self.run_as("peerage add --only-hash", &args)?;
        lines.iter().filter(|line| line["event"] == "added").map(|line| crate::text(line, "cid")).collect()
    }

    /// Connects to the peer at `addr` and returns what it learnt of it.
    ///
    /// # Errors
    /// If the dial fails.
    pub fn connect(&self, addr: &str) -> Result<Value> {
        let connected = self.run(&["connect", addr])?.into_iter().find(|line| line["event"] == "connected");
        connected.context("`connect` succeeded without the event `connected`")
    }

    /// Pings the peer at `addr` until the command ends by itself.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn ping(&self, addr: &str) -> Result<Vec<Value>> {
        self.run(&["ping", addr])
    }

    /// Its peer id, from `peerage id`.
    ///
    /// # Errors
    /// If the command fails or prints none.
    pub fn peer_id(&self) -> Result<String> {
        let mut process = Process::spawn("peerage id", self.command(&["id"]))?;
        let line = process.next(START)?.context("`peerage id` printed nothing")?;
        let status = process.finish(END)?;
        ensure!(status.success(), "peerage id: {status}; {}", process.last_words());
        crate::text(&line, "peer_id")
    }
}

impl Serving {
    fn start(name: &str, command: Command, event: &str, limit: Duration) -> Result<Self> {
        let process = Process::spawn(name, command)?;
        let line = process.wait_for(event, limit)?;
        Ok(Self { process, line })
    }

    /// The address to dial, ending in the peer id.
    ///
    /// # Errors
    /// If the line names none.
    pub fn addr(&self) -> Result<String> {
        Ok(crate::texts(&self.line, "addrs")?.remove(0))
    }

    /// The CID that is served.
    ///
    /// # Errors
    /// If the line names none.
    pub fn cid(&self) -> Result<String> {
        crate::text(&self.line, "cid")
    }

    /// Waits until it says that others reach it, and returns where.
    ///
    /// # Errors
    /// If it does not.
    pub fn reachable(&self) -> Result<Vec<String>> {
        loop {
            let line = self.process.wait_for("reachable", COMMAND)?;
            if line["reachability"] == "public" {
                return crate::texts(&line, "addrs");
            }
        }
    }

    /// The peer id.
    ///
    /// # Errors
    /// If the line names none.
    pub fn peer_id(&self) -> Result<String> {
        crate::text(&self.line, "peer_id")
    }

    /// The most memory that it has had resident so far, in bytes; none where
    /// the system does not tell as Linux does.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_memory(&self) -> Result<Option<u64>> {
        self.process.peak_memory()
    }

    /// Fails unless it has had one connection with `peer_id` so far, and has it
    /// still: whoever connects again has lost one.
    ///
    /// # Errors
    /// If there were others.
    pub fn assert_connected_once(&self, peer_id: &str) -> Result<()> {
        let said = self.process.last_words();
        let of_peer: Vec<&str> = said.lines().filter(|line| line.contains(peer_id)).collect();
        // "disconnected" has the other word in it.
        let once = matches!(of_peer[..], [line] if line.contains(" connected peer="));
        ensure!(once, "not one connection with {peer_id}: {of_peer:#?}");
        Ok(())
    }

    /// Waits until it ends by itself; returns what it said since it was ready.
    ///
    /// # Errors
    /// If it does not, or not well.
    pub fn finish(mut self) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        while let Some(line) = self.process.next(COMMAND)? {
            lines.push(line);
        }
        let status = self.process.finish(END)?;
        ensure!(status.success(), "{}: {status}; {}", self.process.name(), self.process.last_words());
        assert_no_reconnect(&self.process)?;
        Ok(lines)
    }

    /// Interrupts one that is in a DHT, where peers may dial each other at once.
    ///
    /// # Errors
    /// If it does not end cleanly.
    pub fn leave(mut self) -> Result<()> {
        self.process.interrupt()?;
        self.process.wait_for("closed", END)?;
        let status = self.process.finish(END)?;
        ensure!(status.success(), "{}: {status}; {}", self.process.name(), self.process.last_words());
        Ok(())
    }

    /// Interrupts it and returns the line `closed`.
    ///
    /// # Errors
    /// If it does not end cleanly.
    pub fn close(mut self) -> Result<Value> {
        self.process.interrupt()?;
        let closed = self.process.wait_for("closed", END)?;
        let status = self.process.finish(END)?;
        ensure!(status.success(), "{}: {status}; {}", self.process.name(), self.process.last_words());
        assert_no_reconnect(&self.process)?;
        Ok(closed)
    }
}

/// Fails if a program that has ended was connected to one peer more than once:
/// then a connection was lost on the way, or not used.
fn assert_no_reconnect(process: &Process) -> Result<()> {
    let said = process.last_words();
    let mut seen = BTreeSet::new();
    for (_, rest) in said.lines().filter_map(|line| line.split_once(" connected peer=")) {
        let peer = rest.split_whitespace().next();
        ensure!(seen.insert(peer), "{} connected again: {said}", process.name());
    }
    Ok(())
}
