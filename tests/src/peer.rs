//! A peer: a repository, and the commands that are run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{Ended, Process};

/// Stretches the time that the workers take, in whole multiples.
pub const SLOWDOWN: &str = "PEERAGE_TEST_WORKER_SLOWDOWN";

/// A repository; its commands may run together.
#[derive(Debug)]
pub struct Peer {
    bin: PathBuf,
    repo: PathBuf,
}

/// A running `share` or `up`.
#[derive(Debug)]
pub struct Sharing {
    /// The process.
    pub process: Process,
    /// Its first line.
    pub ready: Value,
}

impl Peer {
    pub(crate) fn new(bin: PathBuf, repo: PathBuf) -> Self {
        Self { bin, repo }
    }

    /// Where its repository is.
    #[must_use]
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// A command without `--json` and without a network.
    #[must_use]
    pub fn plain(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.bin);
        command
            .args(args)
            .env("PEERAGE_PATH", &self.repo)
            .env("PEERAGE_BOOTSTRAP", "none")
            .env("PEERAGE_MDNS", "off")
            .env_remove("PEERAGE_LOG")
            .env_remove(SLOWDOWN);
        command
    }

    /// A command with `--json` that listens on loopback only.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.plain(args);
        command.args(["--json", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command
    }

    /// Starts a command.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, args: &[&str]) -> Result<Process> {
        Process::spawn(self.command(args), "")
    }

    /// Runs a command to its end, however that is.
    ///
    /// # Errors
    /// If it does not start, or hangs.
    pub fn run(&self, args: &[&str]) -> Result<Ended> {
        self.start(args)?.finish()
    }

    /// Runs a command that is to go through the owner of the repository.
    ///
    /// # Errors
    /// If it does not start, or hangs.
    pub fn run_attached(&self, args: &[&str]) -> Result<Ended> {
        let mut command = self.plain(args);
        command.arg("--json");
        Process::spawn(command, "")?.finish()
    }

    /// Fetches `link` to `dest`; returns the line `done`.
    ///
    /// # Errors
    /// If the exit status is not 0.
    pub fn get(&self, link: &str, dest: &Path) -> Result<Value> {
        self.run(&["get", link, "-o", text(dest)])?.with_status(0)?.event("done")
    }

    /// Shares with these arguments, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn share(&self, args: &[&str]) -> Result<Sharing> {
        Sharing::start(self.command(&[&["share"], args].concat()))
    }

    /// Runs `up`, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn up(&self) -> Result<Sharing> {
        Sharing::start(self.command(&["up"]))
    }

    /// Bytes that the repository takes on disk.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn repo_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        let mut open = vec![self.repo.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    open.push(entry.path());
                } else {
                    sum += metadata.len();
                }
            }
        }
        Ok(sum)
    }
}

impl Sharing {
    /// Starts `command` and waits for its line `ready`.
    ///
    /// # Errors
    /// If none comes.
    pub fn start(command: Command) -> Result<Self> {
        let mut process = Process::spawn(command, "")?;
        let ready = process.wait_for("ready")?;
        Ok(Self { process, ready })
    }

    /// The link of the first root.
    ///
    /// # Errors
    /// If `ready` has none.
    pub fn link(&self) -> Result<String> {
        field(&self.ready, "link")
    }

    /// The CID of the first root.
    ///
    /// # Errors
    /// If `ready` has none.
    pub fn cid(&self) -> Result<String> {
        field(&self.ready, "cid")
    }

    /// Where it can be dialled.
    ///
    /// # Errors
    /// If `ready` has no address.
    pub fn addr(&self) -> Result<String> {
        field(&self.ready["addrs"], 0)
    }

    /// Interrupts it; returns the line `closed`.
    ///
    /// # Errors
    /// If its exit status is not 0.
    pub fn close(self) -> Result<Value> {
        self.process.interrupt()?;
        self.process.finish()?.with_status(0)?.event("closed")
    }
}

/// A string of a JSON line.
///
/// # Errors
/// If there is none.
pub fn field(line: &Value, index: impl serde_json::value::Index) -> Result<String> {
    line[index].as_str().map(str::to_owned).with_context(|| format!("something is missing in {line}"))
}

/// A number of a JSON line.
///
/// # Errors
/// If there is none.
pub fn number(line: &Value, name: &str) -> Result<u64> {
    line[name].as_u64().with_context(|| format!("no number {name} in {line}"))
}

/// A path as an argument.
///
/// # Panics
/// If it is not UTF-8; those of the tests are.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have UTF-8 names")
}
