//! `ping`, for people: each round trip as it comes, and what they come to.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::text::{millis, tame};

/// What was printed so far.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Round trips, in seconds.
    times: Vec<f64>,
    unanswered: u64,
}

impl Pings {
    pub(super) fn answered(
        &mut self,
        peer: &str,
        addr: &str,
        seconds: f64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.times.is_empty() {
            let at = if addr.is_empty() { String::new() } else { format!(" at {}", escape(addr)) };
            writeln!(out, "{peer}{at}")?;
        }
        self.times.push(seconds);
        writeln!(out, "  {}", millis(seconds))
    }

    pub(super) fn failed(&mut self, message: &str, out: &mut dyn Write) -> io::Result<()> {
        self.unanswered += 1;
        writeln!(out, "  no answer: {}", tame(message))
    }

    /// The summary, if there is something to sum up.
    pub(super) fn finish(&self, out: &mut dyn Write) -> io::Result<()> {
        let times = &self.times;
        if times.is_empty() {
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "it is for display")]
        let average = times.iter().sum::<f64>() / times.len() as f64;
        let lowest = times.iter().copied().fold(f64::INFINITY, f64::min);
        let sent = times.len() as u64 + self.unanswered;
        writeln!(
            out,
            "{sent} sent, {} answered, lowest {}, average {}",
            times.len(),
            millis(lowest),
            millis(average)
        )
    }
}
