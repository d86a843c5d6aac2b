//! Ctrl-C: the first asks the command to end in order, the second ends the
//! program at once. SIGTERM asks like Ctrl-C, and so does SIGHUP, unless it is
//! ignored from the start: then `nohup` started us, to outlive the terminal.
//!
//! A thread of its own hears them, so that the program can be ended whatever
//! its other threads wait for.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::backend::Canceller;

/// How long ending in order may take in all, from the first Ctrl-C; then the
/// program ends as if there had been a second one. 5 s: what is done then takes
/// less than one (`execution.rs`, `main.rs`), unless a disk hangs or the
/// repository was just being opened, which a kill does not harm.
const END_TIME: Duration = Duration::from_secs(5);

/// Listens from now on. `code` is the exit status of an ending at once.
pub(crate) fn listen(canceller: Canceller, code: u8) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut signals = signals(&runtime)?;
    let hear = move || {
        runtime.block_on(attend(async || signals.next().await, canceller));
        std::process::exit(i32::from(code));
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(hear)?;
    Ok(())
}

fn signals(runtime: &Runtime) -> io::Result<Signals> {
    let _within = runtime.enter();
    Signals::new()
}

/// Cancels at the first signal; returns when the program is to end at once.
async fn attend(mut signal: impl AsyncFnMut(), canceller: Canceller) {
    signal().await;
    canceller.cancel();
    if tokio::time::timeout(END_TIME, signal()).await.is_err() {
        tracing::warn!("ending took longer than {END_TIME:?}");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_ended() {
        let (canceller, cancel) = Canceller::new();
        let begin = tokio::time::Instant::now();
        let mut signals = 1;
        let one = async || {
            if signals == 0 {
                std::future::pending::<()>().await;
            }
            signals -= 1;
        };
        attend(one, canceller).await;
        assert!(cancel.is_cancelled());
        assert_eq!(begin.elapsed(), END_TIME);
        // A second one is not made to wait.
        attend(async || {}, Canceller::new().0).await;
        assert_eq!(begin.elapsed(), END_TIME);
    }

    #[test]
    #[cfg(unix)]
    fn the_mask_of_ignored_signals() {
        let status = "Name:\tpeerage\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001002\nSigCgt:\t0000000000000001\n";
        assert!(is_ignored(status, 2) && is_ignored(status, 13));
        assert!(!is_ignored(status, 1) && !is_ignored(status, 0) && !is_ignored("", 1));
    }
}
