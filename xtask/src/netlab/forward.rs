//! Carries packets between two TUN devices, a thread for each direction, as two lines
//! say; and tells how true to them it was.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde::Serialize;

use super::line::{Line, Spec};
use super::tun::Tun;

/// Packets that are read before those that are due are written: reading as many takes
/// well below a millisecond.
const READ_AT_ONCE: usize = 32;

/// The largest packet that IP knows, in bytes.
const MAX_PACKET: usize = 1 << 16;

/// What is later than this counts as late.
const LATE: Duration = Duration::from_millis(1);

/// The stretches of time that [`Tally::curve`] counts bytes in.
const STRETCH: Duration = Duration::from_millis(100);

/// What became of the packets of one direction.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Lost by chance, as told.
    pub(crate) lost: u64,
    /// Dropped, as the line's queue was full.
    pub(crate) overflowed: u64,
    /// Written more than a millisecond after they were due.
    pub(crate) late: u64,
    /// How late the latest was.
    pub(crate) latest_ms: f64,
    /// Bytes in each tenth of a second since the line began.
    pub(crate) curve: Vec<u64>,
}

impl Tally {
    /// Bytes were delivered, when they were `behind`.
    fn delivered(&mut self, bytes: usize, now: Duration, behind: Duration) {
        self.late += u64::from(behind > LATE);
        self.latest_ms = self.latest_ms.max(behind.as_secs_f64() * 1e3);
        let stretch = usize::try_from(now.as_millis() / STRETCH.as_millis()).unwrap_or(usize::MAX);
        if self.curve.len() <= stretch {
            self.curve.resize(stretch + 1, 0);
        }
        self.curve[stretch] += bytes as u64;
    }
}

/// A line that is at work; dropped, it carries nothing more.
pub(crate) struct Forwarder {
    stop: Arc<OwnedFd>,
    threads: Vec<JoinHandle<Result<Tally>>>,
}

impl Forwarder {
    /// Joins two devices. Both directions are alike; each has its own chance.
    pub(crate) fn start(ends: [Tun; 2], spec: Spec, seed: u64) -> Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).context("making an eventfd")?);
        let ends = Arc::new(ends);
        let mut threads = Vec::new();
        for direction in 0..2 {
            let (ends, stop) = (Arc::clone(&ends), Arc::clone(&stop));
            let line = Line::new(spec, seed.wrapping_mul(2).wrapping_add(direction as u64));
            let carry = move || carry(&ends[direction], &ends[1 - direction], line, &stop);
            threads.push(thread::Builder::new().name(format!("line {direction}")).spawn(carry)?);
        }
        Ok(Self { stop, threads })
    }

    /// Stops, and tells of each direction.
    ///
    /// # Errors
    /// If a device failed meanwhile.
    pub(crate) fn finish(mut self) -> Result<[Tally; 2]> {
        self.signal();
        let mut tallies = [Tally::default(), Tally::default()];
        for (thread, tally) in self.threads.drain(..).zip(&mut tallies) {
            *tally = thread.join().map_err(|_| anyhow!("a forwarding thread panicked"))??;
        }
        Ok(tallies)
    }

    fn signal(&self) {
        // It fails only if the counter is full, and then they have been told.
        rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).ok();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.signal();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn carry(from: &Tun, to: &Tun, mut line: Line, stop: &OwnedFd) -> Result<Tally> {
    let start = Instant::now();
    let mut buffer = vec![0; MAX_PACKET];
    let mut tally = Tally::default();
    loop {
        for _ in 0..READ_AT_ONCE {
            let Some(len) = from.receive(&mut buffer).context("reading a TUN device")? else { break };
            line.handle_packet(&buffer[..len], start.elapsed());
        }
        let now = start.elapsed();
        while let Some(arrival) = line.poll_arrival(now) {
            to.send(&arrival.packet).context("writing a TUN device")?;
            let now = start.elapsed();
            tally.delivered(arrival.packet.len(), now, now.saturating_sub(arrival.due));
        }
        if stopped(from, stop, line.poll_timeout().map(|due| due.saturating_sub(start.elapsed())))? {
            let counts = line.counts();
            return Ok(Tally {
                packets: counts.arrived,
                bytes: counts.arrived_bytes,
                lost: counts.lost,
                overflowed: counts.overflowed,
                ..tally
            });
        }
    }
}

/// Waits for a packet, the time that the next one is due, or the end.
fn stopped(from: &Tun, stop: &OwnedFd, wait: Option<Duration>) -> Result<bool> {
    let mut fds = [PollFd::new(from, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    let wait = wait.map(Timespec::try_from).transpose()?;
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[1].revents().is_empty()),
        Err(error) => Err(error).context("waiting for packets"),
    }
}
