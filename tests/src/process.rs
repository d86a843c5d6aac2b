//! A child process that prints JSON lines.
//!
//! Two threads read its pipes, so that it never stalls on a full one; what it
//! said on stderr is in every error about it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, kill_process};
use serde_json::Value;

pub use rustix::process::Signal;

/// How long anything may take before it counts as hung. The longest test
/// takes seconds; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of stdout that were not read before.
    pub lines: Vec<String>,
    /// All of stderr.
    pub stderr: String,
}

impl Process {
    /// Starts `command` and gives it `input` on stdin.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(mut command: Command, input: &str) -> Result<Self> {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let name = format!("peerage {}", words.join(" "));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut stdin = child.stdin.take().context("stdin was asked for")?;
        // It may have ended without reading.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let (sender, stdout) = channel();
        let pipe = child.stdout.take().context("stdout was asked for")?;
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let pipe = child.stderr.take().context("stderr was asked for")?;
        let stderr = thread::spawn(move || {
            let lines = BufReader::new(pipe).lines().map_while(Result::ok);
            lines.map(|line| line + "\n").collect()
        });
        Ok(Self { name, child, stdout, stderr: Some(stderr) })
    }

    /// Reads on to the line whose `event` is `name`, passing over others.
    ///
    /// # Errors
    /// If the process ends first, or hangs.
    pub fn wait_for(&mut self, name: &str) -> Result<Value> {
        self.wait_until(|line| line["event"] == name).with_context(|| format!("waiting for the event {name}"))
    }

    /// Reads on to a line that `matches`.
    ///
    /// # Errors
    /// If the process ends first, or hangs.
    pub fn wait_until(&mut self, matches: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        while let Some(line) = self.line(end)? {
            let value: Value = serde_json::from_str(&line)
                .with_context(|| format!("{} printed what is no JSON: {line}", self.name))?;
            if matches(&value) {
                return Ok(value);
            }
        }
        let status = self.child.wait()?;
        let words = self.last_words();
        bail!("{}: {status} too early; its stderr: {words}", self.name);
    }

    fn line(&mut self, end: Instant) -> Result<Option<String>> {
        match self.stdout.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill().ok();
                let words = self.last_words();
                bail!("{} hung; its stderr: {words}", self.name)
            }
        }
    }

    /// Interrupts it, as Ctrl-C does.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// Reads on until it has said so many lines, so much time is over, or it has ended.
    pub fn watch(&mut self, time: Duration, lines: usize) -> Vec<String> {
        let end = Instant::now() + time;
        let next = || self.stdout.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).take(lines).collect()
    }

    /// Kills it, as a power cut would, and waits until it is gone. The last line that
    /// it said may be cut in two.
    ///
    /// # Errors
    /// If the system refuses, or something holds its pipe.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it hangs.
    pub fn finish(mut self) -> Result<Ended> {
        let end = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        while let Some(line) = self.line(end)? {
            lines.push(line);
        }
        let status = self.child.wait()?;
        Ok(Ended { name: self.name.clone(), status, lines, stderr: self.last_words() })
    }

    /// Reads nothing more of its stdout, as the end of a pipe does.
    pub fn close_stdout(&mut self) {
        // The thread that reads ends at the next line, and closes the pipe.
        self.stdout = channel().1;
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that it has read so far, by whatever calls.
    ///
    /// # Errors
    /// If the system does not say: only Linux does.
    pub fn bytes_read(&self) -> Result<u64> {
        let path = format!("/proc/{}/io", self.pid());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        Ok(read.with_context(|| format!("no rchar in {text}"))?.parse()?)
    }

    fn last_words(&mut self) -> String {
        let words = self.stderr.take().map(JoinHandle::join);
        words.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Failing here means that it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// Itself, if it ended with `status`.
    ///
    /// # Errors
    /// If it did not; with all that it said.
    pub fn with_status(self, status: i32) -> Result<Self> {
        ensure!(
            self.status.code() == Some(status),
            "{}: {}, not {status}; it said: {} {}",
            self.name,
            self.status,
            self.lines.join("\n"),
            self.stderr
        );
        Ok(self)
    }

    /// Its lines, read as JSON.
    ///
    /// # Errors
    /// If one is none.
    pub fn events(&self) -> Result<Vec<Value>> {
        let parse = |line: &String| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        self.lines.iter().map(parse).collect()
    }

    /// The only line with this `event`.
    ///
    /// # Errors
    /// If there is none, or more.
    pub fn event(&self, name: &str) -> Result<Value> {
        let mut found = self.events()?.into_iter().filter(|line| line["event"] == name);
        let first = found.next();
        let first =
            first.with_context(|| format!("{} said no {name}: {}", self.name, self.lines.join("\n")))?;
        ensure!(found.next().is_none(), "{} said {name} twice", self.name);
        Ok(first)
    }

    /// The error on stderr, whose kind must be `kind`; returns its message.
    ///
    /// # Errors
    /// If there is none, or another.
    pub fn error(&self, kind: &str) -> Result<String> {
        let mut lines = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let error = lines.rfind(|line| line["event"] == "error");
        let error = error.with_context(|| format!("{} said no error: {}", self.name, self.stderr))?;
        ensure!(error["kind"] == kind, "{}: the error is not of kind {kind}: {error}", self.name);
        error["message"].as_str().map(str::to_owned).context("an error without a message")
    }
}
