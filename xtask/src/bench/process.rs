//! A measured child process: how long it ran, its peak memory, its processor
//! time.
//!
//! Memory is `VmHWM` of `/proc`, which only grows, read every few milliseconds
//! since it is gone with the process. Processor time is read from the zombie,
//! so it is complete. Linux only, as the figures are.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::Serialize;

/// Between two looks at a process's memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// After this a process counts as stuck and is killed.
const STUCK_AFTER: Duration = Duration::from_secs(900);

/// What a process took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory, in bytes.
    pub(crate) peak_rss: u64,
}

/// A process under measurement; killed if dropped before its end.
pub(crate) struct Measured {
    name: String,
    child: Child,
    /// Held so that a process that reads it does not see its end.
    stdin: Option<ChildStdin>,
    start: Instant,
    /// Each with when it came, which may be long before anybody reads it here.
    lines: Receiver<(Instant, String)>,
    peak: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Measured {
    /// Starts `command`; its stdout can be read by line, its stderr is dropped
    /// unless it fails to start.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = Pid::from_child(&child);
        let (peak, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        // One that ends before the sampler's first turn has a figure, too.
        look(pid, &peak);
        let sampler = {
            let (peak, ended) = (Arc::clone(&peak), Arc::clone(&ended));
            thread::spawn(move || sample(pid, start, &peak, &ended))
        };
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read on though nobody listens: the process must not stall.
                sender.send((Instant::now(), line)).ok();
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, stdin, start, lines, peak, ended, sampler: Some(sampler) })
    }

    /// When it was started.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The first line that `pick` accepts, with the seconds from the start until it came.
    pub(crate) fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> Result<(T, f64)> {
        loop {
            match self.lines.recv_timeout(STUCK_AFTER) {
                Ok((at, line)) => {
                    if let Some(picked) = pick(&line) {
                        return Ok((picked, (at - self.start).as_secs_f64()));
                    }
                }
                Err(_) => bail!("{} ended or was stuck before it printed {what}", self.name),
            }
        }
    }

    /// Waits for its end, which must be a success.
    pub(crate) fn finish(mut self) -> Result<Usage> {
        let (status, usage) = self.end()?;
        ensure!(status.success(), "{}: {status}", self.name);
        Ok(usage)
    }

    /// Ends a process that serves until told otherwise, as Ctrl-C does.
    pub(crate) fn interrupt(mut self) -> Result<Usage> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .with_context(|| format!("interrupting {}", self.name))?;
        // A shell that was itself started in the background ignores interrupts,
        // and so do its children; the end of stdin they notice.
        self.stdin = None;
        Ok(self.end()?.1)
    }

    fn end(&mut self) -> Result<(ExitStatus, Usage)> {
        let pid = Pid::from_child(&self.child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .with_context(|| format!("waiting for {}", self.name))?;
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds(pid)?;
        self.stop_sampling();
        let peak_rss = self.peak.load(Ordering::Relaxed);
        let status = self.child.wait()?;
        Ok((status, Usage { seconds, cpu_seconds, peak_rss }))
    }

    /// Afterwards nobody but `child` refers to the process id.
    fn stop_sampling(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            sampler.join().ok();
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.stop_sampling();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn sample(pid: Pid, start: Instant, peak: &AtomicU64, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        look(pid, peak);
        if start.elapsed() > STUCK_AFTER {
            kill_process(pid, Signal::KILL).ok();
            return;
        }
        thread::sleep(SAMPLE_EVERY);
    }
}

fn look(pid: Pid, peak: &AtomicU64) {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok();
    if let Some(bytes) = status.as_deref().and_then(peak_of) {
        peak.fetch_max(bytes, Ordering::Relaxed);
    }
}

/// `VmHWM` of `/proc/PID/status`, in bytes; a zombie has none.
fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn cpu_seconds(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = ticks_of(&stat).with_context(|| format!("no times in {path}"))?;
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(f64::from(ticks) / f64::from(per_second))
}

/// User and system time of `/proc/PID/stat`: fields 14 and 15, counted after
/// the name, which may hold anything.
fn ticks_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t    1024 kB\nVmRSS:\t 1 kB\n"), Some(1 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
        assert_eq!(ticks_of("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 13"), Some(42));
        assert_eq!(ticks_of("7 (a"), None);
    }

    #[test]
    fn a_process_is_measured_and_a_failure_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two; read line"]);
        let child = Measured::spawn("sh", &mut command).unwrap();
        let (line, _) = child.line("two", |line| (line == "two").then(|| line.to_owned())).unwrap();
        assert_eq!(line, "two");
        let usage = child.interrupt().unwrap();
        assert!(usage.peak_rss > 0 && usage.seconds > 0.0);
        let failing = Measured::spawn("sh", Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert!(failing.finish().is_err());
    }
}
