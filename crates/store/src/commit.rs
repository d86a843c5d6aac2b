//! Group commit: who asks for a sync while one runs shares the next one with all
//! who asked meanwhile, so that many small commits cost as few syncs as the disk allows.
//!
//! A sync that fails is the last one. The kernel may drop what it could not
//! write and report success to the next sync (Rebello et al., "Can Applications
//! Recover from fsync Failures?", USENIX ATC 2020), so nothing that was written
//! since the last good one can be promised by this process any more. When the
//! repository is opened again, what is there is looked at.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::WriteError;
use crate::pack::set::lock;

/// What a change survives once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// A kill of the process: the kernel has it. For what can be had again, such as
    /// the blocks of a fetch that goes on.
    Buffered,
    /// A power cut: the disk has it. Before anybody is told that it is done.
    Durable,
}

/// The syncs of a store.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Syncs that were begun.
    begun: u64,
    /// The last one of those that succeeded.
    done: u64,
    running: bool,
    /// What the disk said when a sync failed.
    broken: Option<String>,
}

/// Why a sync did not make everything safe.
pub(crate) enum Failure {
    /// It was not begun; what waits in memory still does.
    Before(WriteError),
    /// The disk's, in the middle of it.
    Within(std::io::Error),
}

impl Commits {
    /// No sync is to be trusted any more.
    pub(crate) fn break_off(&self, cause: &WriteError) {
        let cause = match cause {
            WriteError::Unsynced(cause) => cause.clone(),
            other => other.to_string(),
        };
        lock(&self.state).broken.get_or_insert(cause);
    }

    /// Returns once a sync that was begun after this call has succeeded; `sync`
    /// does one if nobody else does.
    pub(crate) fn commit(&self, sync: impl Fn() -> Result<(), Failure>) -> Result<(), WriteError> {
        let mut state = lock(&self.state);
        let wanted = state.begun + 1;
        loop {
            if let Some(cause) = &state.broken {
                return Err(WriteError::Unsynced(cause.clone()));
            }
            if state.done >= wanted {
                return Ok(());
            }
            if state.running {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            state.begun += 1;
            let this = state.begun;
            drop(state);
            // Should it panic, those who wait must not wait for ever.
            let running = Running(self);
            let result = sync();
            state = lock(&self.state);
            match result {
                Ok(()) => state.done = this,
                Err(Failure::Before(error)) => {
                    drop(state);
                    drop(running);
                    return Err(error);
                }
                Err(Failure::Within(error)) => state.broken = Some(error.to_string()),
            }
            drop(state);
            drop(running);
            state = lock(&self.state);
        }
    }
}

/// A sync that runs.
struct Running<'a>(&'a Commits);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).running = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_shares_one_sync_that_began_after_he_asked() {
        let commits = Commits::default();
        let syncs = AtomicU64::new(0);
        let (entered, first_runs) = channel();
        let (let_go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let sync = || {
            if syncs.fetch_add(1, Ordering::SeqCst) == 0 {
                entered.send(()).unwrap();
                lock(&gate).recv().unwrap();
            }
            Ok(())
        };
        thread::scope(|scope| {
            let (commits, sync) = (&commits, &sync);
            scope.spawn(move || commits.commit(sync).unwrap());
            first_runs.recv().unwrap();
            // All of these ask while the first sync runs, or after it; none may
            // rely on it. However they come, two more syncs are enough for those
            // who came before it ended.
            let waiting: Vec<_> =
                (0..20).map(|_| scope.spawn(move || commits.commit(|| Ok(())).unwrap())).collect();
            let_go.send(()).unwrap();
            waiting.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let state = lock(&commits.state);
        assert!(state.done >= 2 && state.done == state.begun && !state.running);
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_sync_is_the_last_but_one_that_was_not_begun_is_not() {
        let commits = Commits::default();
        let full = || Err(Failure::Before(io::Error::from(io::ErrorKind::StorageFull).into()));
        assert!(matches!(commits.commit(full), Err(WriteError::Io(_))));
        commits.commit(|| Ok(())).unwrap();
        let broken = || Err(Failure::Within(io::Error::other("the drive is gone")));
        assert!(matches!(commits.commit(broken), Err(WriteError::Unsynced(_))));
        let again = commits.commit(|| unreachable!("it cannot be trusted"));
        assert!(again.unwrap_err().to_string().contains("the drive is gone"));
    }
}
