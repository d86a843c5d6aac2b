//! Ctrl-C: the first asks the command to end in order, the second ends the
//! program at once. SIGTERM asks like Ctrl-C, and so does SIGHUP, unless it is
//! ignored from the start: then `nohup` started us, to outlive the terminal.

use std::io;

use crate::backend::Canceller;

/// Listens from now on. `code` is the exit status of an ending at once.
pub(crate) fn listen(canceller: Canceller, code: u8) -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        canceller.cancel();
        signals.next().await;
        std::process::exit(i32::from(code));
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None if it is ignored.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = SignalKind::hangup();
        let ignored = std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| is_ignored(&status, hangup.as_raw_value()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!ignored).then(|| signal(hangup)).transpose()?,
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether the process with this status (Linux, proc_pid_status(5)) ignores
/// the signal of this number. A handler may not be asked for without `unsafe`.
#[cfg(unix)]
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(signal - 1).ok().and_then(|bit| 1u64.checked_shl(bit));
    mask & bit.unwrap_or(0) != 0
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::is_ignored;

    #[test]
    fn the_mask_of_ignored_signals() {
        let status = "Name:\tpeerage\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001002\nSigCgt:\t0000000000000001\n";
        assert!(is_ignored(status, 2) && is_ignored(status, 13));
        assert!(!is_ignored(status, 1) && !is_ignored(status, 0) && !is_ignored("", 1));
    }
}
