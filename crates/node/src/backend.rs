//! The one code path of every command: a [`Backend`] executes a request,
//! says what happens into a [`Sink`], and stops when its [`Cancel`] says so.
//! The owner's backend is `local`; the control server runs requests of other
//! processes on the same one.

use std::future::Future;

use tokio::sync::{mpsc, watch};

use crate::api::{Event, Failure, Request};

/// Events between a command and who prints them. 16: each waits for the
/// slower side anyway, and `cat`'s are 64 KiB.
pub(crate) const EVENTS_QUEUED: usize = 16;

/// Executes requests.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Does what `request` asks. Dropping the future ends it at once; when
    /// `cancel` fires it ends in order (`closed` is said, staging is kept)
    /// with [`Failure::interrupted`], or with success if that is its way to end.
    fn run(
        &self,
        request: Request,
        out: Sink,
        cancel: Cancel,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Where a command's events go.
#[derive(Debug, Clone)]
pub(crate) struct Sink(mpsc::Sender<Event>);

impl Sink {
    /// A sink, and where its events come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(EVENTS_QUEUED);
        (Self(sender), receiver)
    }

    /// Says `event`, waiting for room; progress is dropped instead. Nobody
    /// listening is no error: whoever went away also cancels.
    pub(crate) async fn send(&self, event: Event) {
        if event.is_progress() {
            drop(self.0.try_send(event));
        } else {
            drop(self.0.send(event).await);
        }
    }

    /// Says `event` if there is room now: for progress, from threads.
    pub(crate) fn try_send(&self, event: Event) {
        drop(self.0.try_send(event));
    }
}

/// Tells a command to end.
#[derive(Debug)]
pub(crate) struct Canceller(watch::Sender<bool>);

/// Hears that it is to end; also when the [`Canceller`] is gone.
#[derive(Debug, Clone)]
pub(crate) struct Cancel(watch::Receiver<bool>);

impl Canceller {
    pub(crate) fn new() -> (Self, Cancel) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Cancel(receiver))
    }

    pub(crate) fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl Cancel {
    /// Returns once cancelled.
    pub(crate) async fn cancelled(&self) {
        let mut receiver = self.0.clone();
        drop(receiver.wait_for(|&cancelled| cancelled).await);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Progress;

    #[tokio::test]
    async fn cancelling_reaches_every_clone() {
        let (canceller, cancel) = Canceller::new();
        let other = cancel.clone();
        assert!(!other.is_cancelled());
        canceller.cancel();
        other.cancelled().await;
        assert!(cancel.is_cancelled());
        let (canceller, cancel) = Canceller::new();
        drop(canceller);
        cancel.cancelled().await;
        assert!(cancel.is_cancelled());
    }

    #[tokio::test]
    async fn progress_is_dropped_rather_than_waited_for() {
        let (sink, mut events) = Sink::new();
        for bytes in 0..100 {
            sink.send(Event::Progress(Progress { bytes, ..Progress::default() })).await;
        }
        drop(sink);
        let mut count = 0;
        while events.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, EVENTS_QUEUED);
    }
}
