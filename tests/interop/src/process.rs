//! A child process that prints JSON lines and is told commands on its stdin.
//!
//! Two threads read its pipes, so that it never stalls on a full one; what it
//! said on stderr appears in every error about it.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a peer may take to start. Node loads 300 packages on a busy machine.
pub const START: Duration = Duration::from_secs(90);

/// How long one command, such as a transfer, may take; a little over the
/// deadlines that the helper scripts have themselves.
pub const COMMAND: Duration = Duration::from_secs(200);

/// Lines of stderr that are kept for error messages.
const STDERR_LINES: usize = 40;

/// A running child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// By lines, each with its end.
    stdout: Receiver<Vec<u8>>,
    stderr: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts `command` with its three pipes held here; `name` is for messages.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        let stdin = child.stdin.take();
        let (sender, stdout) = channel();
        let pipe = child.stdout.take().context("stdout was asked for")?;
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let mut line = Vec::new();
                if !matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) || sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&stderr);
        let pipe = child.stderr.take().context("stderr was asked for")?;
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == STDERR_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(Self { name: name.to_owned(), child, stdin, stdout, stderr })
    }

    /// The next line of stdout, or none at its end.
    ///
    /// # Errors
    /// If it does not come within `limit`, or is no JSON.
    pub fn next(&self, limit: Duration) -> Result<Option<Value>> {
        match self.stdout.recv_timeout(limit) {
            Ok(line) => serde_json::from_slice(&line).map(Some).with_context(|| {
                format!("{} printed what is no JSON: {}", self.name, String::from_utf8_lossy(&line))
            }),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} said nothing for {limit:?}; {}", self.name, self.last_words())
            }
        }
    }

    /// Reads on to the line whose `event` is `name`, passing over others.
    ///
    /// # Errors
    /// If the process ends first, or `limit` passes.
    pub fn wait_for(&self, name: &str, limit: Duration) -> Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .next(left)
                .with_context(|| format!("waiting for the event {name:?}"))?
                .with_context(|| format!("{} ended before {name:?}; {}", self.name, self.last_words()))?;
            if line["event"] == name {
                return Ok(line);
            }
        }
    }

    /// Sends a command with its arguments and returns the answer.
    ///
    /// # Errors
    /// If the answer says that the command failed, or none comes in time.
    pub fn ask(&mut self, words: &[&str]) -> Result<Value> {
        let what = words.join(" ");
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        let sent = stdin
            .write_all(words.join("\t").as_bytes())
            .and_then(|()| stdin.write_all(b"\n"))
            .and_then(|()| stdin.flush());
        sent.with_context(|| format!("telling {} `{what}`; {}", self.name, self.last_words()))?;
        let answer = self
            .next(COMMAND)
            .with_context(|| format!("waiting for the answer to `{what}`"))?
            .with_context(|| format!("{} ended over `{what}`; {}", self.name, self.last_words()))?;
        if answer["ok"] != true {
            bail!("{} failed at `{what}`: {}; {}", self.name, answer["error"], self.last_words());
        }
        Ok(answer)
    }

    /// Interrupts it, as Ctrl-C does.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn interrupt(&self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).with_context(|| format!("interrupting {}", self.name))
    }

    /// Waits for its end: reads stdout until that closes, then the status.
    ///
    /// # Errors
    /// If it runs for longer than `limit`.
    pub fn finish(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.stdin = None;
        let end = Instant::now() + limit;
        while self.next(end.saturating_duration_since(Instant::now()))?.is_some() {}
        Ok(self.child.wait()?)
    }

    /// What it prints until its end, which need not be JSON.
    ///
    /// # Errors
    /// If it runs for longer than `limit`, or fails.
    pub fn output(&mut self, limit: Duration) -> Result<Vec<u8>> {
        self.stdin = None;
        let end = Instant::now() + limit;
        let mut output = Vec::new();
        loop {
            match self.stdout.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => output.extend(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} runs for longer than {limit:?}; {}", self.name, self.last_words())
                }
            }
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{}: {status}; {}", self.name, self.last_words());
        Ok(output)
    }

    /// The most memory that it has had resident so far, in bytes, from
    /// Linux's `/proc`; none elsewhere.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_memory(&self) -> Result<Option<u64>> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).map(str::parse::<u64>);
        Ok(Some(kibibytes.with_context(|| format!("{} has ended", self.name))?? << 10))
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it last said on stderr, for messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            return "its stderr is empty".to_owned();
        }
        let lines: Vec<&str> = kept.iter().map(String::as_str).collect();
        format!("its stderr ends:\n{}", lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Failing here means that it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
