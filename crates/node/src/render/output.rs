//! The thread that writes. The command hands events to a bounded queue:
//! progress replaces older progress there and never waits; the rest waits
//! for the reader, which holds up that command and nothing else. A stdout
//! that takes no more ends the printing, not the peer.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Render;
use crate::api::{Event, Failure, Kind};

/// Most bytes of events that wait for the reader. 1 MiB: `cat`'s pieces, and
/// a thousand lines.
const WAITING_MAX: usize = 1024 * 1024;

/// What is printed, and where to.
#[derive(Debug)]
pub(crate) struct Output {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: there is something to print, or the end.
    filled: Condvar,
    /// For the command: there is room, stdout closed, or all is printed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    bytes: usize,
    /// Set at the end: the failure to print, if any.
    end: Option<Option<Failure>>,
    /// Writing to stdout failed, and why.
    broken: Option<Failure>,
    /// All is printed.
    printed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Starts the thread.
    pub(crate) fn start(
        mut renderer: Box<dyn Render>,
        mut out: Box<dyn Write + Send>,
        mut err: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || write_all(&thread, &mut *renderer, &mut *out, &mut *err))?;
        Ok(Self { shared })
    }

    /// Prints `event` some time later.
    pub(crate) async fn push(&self, event: Event) {
        let mut event = Some(event);
        loop {
            let changed = self.shared.changed.notified();
            self.offer(&mut event);
            if event.is_none() {
                return;
            }
            changed.await;
        }
    }

    /// Takes `slot`'s event if there is room, or if it can do without.
    fn offer(&self, slot: &mut Option<Event>) {
        let Some(event) = slot.take() else { return };
        let mut state = self.shared.lock();
        if event.is_progress() {
            if state.waiting.back().is_some_and(Event::is_progress)
                && let Some(old) = state.waiting.pop_back()
            {
                state.bytes -= old.weight();
            }
            if state.bytes > WAITING_MAX {
                return;
            }
        } else if state.bytes > WAITING_MAX {
            state.waiting.retain(|event| !event.is_progress());
            state.bytes = state.waiting.iter().map(Event::weight).sum();
            if state.bytes > WAITING_MAX {
                *slot = Some(event);
                return;
            }
        }
        state.bytes += event.weight();
        state.waiting.push_back(event);
        self.shared.filled.notify_one();
    }

    /// Returns once stdout takes no more, and says why.
    pub(crate) async fn broken(&self) -> Failure {
        loop {
            let changed = self.shared.changed.notified();
            if let Some(failure) = self.shared.lock().broken.clone() {
                return failure;
            }
            changed.await;
        }
    }

    /// Prints what waits, then why the command failed, if it did or if what it
    /// said was not written; returns that kind when all is printed, or after
    /// `patience` if the reader does not read. A reader that has gone away had
    /// enough, which is no failure unless what is printed is `read_to_its_end`.
    pub(crate) async fn finish(
        self,
        result: Result<(), Failure>,
        patience: Option<Duration>,
        read_to_its_end: bool,
    ) -> Option<Kind> {
        let failure = result.err();
        let kind = failure.as_ref().map(|failure| failure.kind);
        self.shared.lock().end = Some(failure);
        self.shared.filled.notify_one();
        let printed = async {
            loop {
                let changed = self.shared.changed.notified();
                if self.shared.lock().printed {
                    return;
                }
                changed.await;
            }
        };
        match patience {
            None => printed.await,
            Some(patience) => drop(tokio::time::timeout(patience, printed).await),
        }
        let kind = kind.or_else(|| self.shared.lock().broken.as_ref().map(|failure| failure.kind));
        kind.filter(|kind| *kind != Kind::Unread || read_to_its_end)
    }
}

fn write_all(shared: &Shared, renderer: &mut dyn Render, out: &mut dyn Write, err: &mut dyn Write) {
    let mut closed = false;
    loop {
        let event = {
            let mut state = shared.lock();
            loop {
                if let Some(event) = state.waiting.pop_front() {
                    state.bytes -= event.weight();
                    break Some(event);
                }
                if state.end.is_some() {
                    break None;
                }
                state = shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        shared.changed.notify_waiters();
        let done = event.is_none();
        let result = match event {
            // What goes to stderr is still of use.
            Some(event @ Event::Notice { .. }) => renderer.event(event, &mut io::sink(), err),
            Some(_) | None if closed => Ok(()),
            Some(event) => renderer.event(event, out, err),
            None => renderer.finish(out),
        };
        if let Err(error) = result {
            closed = true;
            shared.lock().broken = Some(Failure::unwritten(&error));
            shared.changed.notify_waiters();
        }
        if done {
            break;
        }
    }
    let failure = {
        let mut state = shared.lock();
        state.end.take().flatten().or_else(|| state.broken.clone())
    };
    if let Some(failure) = failure.filter(|failure| failure.kind != Kind::Unread) {
        renderer.failure(&failure, err);
    }
    drop(err.flush());
    shared.lock().printed = true;
    shared.changed.notify_waiters();
}

/// Prints text of our own (help, a completion script) on stdout.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::unwritten(&error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Progress;
    use crate::api::{Data, NoticeKind};
    use crate::render::Json;
    use std::sync::mpsc;

    /// Writes go where the test can see them; each waits for a permit.
    struct Reader {
        permits: mpsc::Receiver<()>,
        written: Written,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<u8>>>;

    fn output() -> (Output, mpsc::Sender<()>, Written, Written) {
        let (permits, receiver) = mpsc::channel();
        let (err_permits, err_receiver) = mpsc::channel();
        for _ in 0..100 {
            err_permits.send(()).unwrap();
        }
        let (out, err) = (Arc::default(), Arc::default());
        let reader = Reader { permits: receiver, written: Arc::clone(&out) };
        let err_reader = Reader { permits: err_receiver, written: Arc::clone(&err) };
        let output = Output::start(Box::new(Json), Box::new(reader), Box::new(err_reader)).unwrap();
        (output, permits, out, err)
    }

    fn text(bytes: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(bytes.lock().unwrap().clone()).unwrap()
    }

    fn progress(bytes: u64) -> Event {
        Event::Progress(Progress { bytes, ..Progress::default() })
    }

    #[tokio::test]
    async fn an_unread_stdout_costs_progress_and_nothing_else() {
        let (output, permits, out, _) = output();
        for bytes in 0..100_000 {
            output.push(progress(bytes)).await;
        }
        output.push(Event::Closed { sent_bytes: 1, received_bytes: 2 }).await;
        for _ in 0..10 {
            permits.send(()).unwrap();
        }
        assert_eq!(output.finish(Ok(()), None, false).await, None);
        let text = text(&out);
        assert!(text.lines().count() <= 3, "{text}");
        assert!(text.contains("\"bytes\":99999"), "{text}");
        assert!(text.ends_with("\"received_bytes\":2}\n"));
    }

    #[tokio::test]
    async fn what_matters_waits_for_the_reader() {
        let (output, permits, out, _) = output();
        let piece = || Event::Data(Data { bytes: vec![0; WAITING_MAX] });
        {
            // One is in the writer's hands, one waits; the third has no room.
            let all = async {
                for _ in 0..4 {
                    output.push(piece()).await;
                }
            };
            tokio::pin!(all);
            assert!(poll(&mut all).await.is_pending());
            for _ in 0..10 {
                permits.send(()).unwrap();
            }
            all.await;
        }
        assert_eq!(output.finish(Ok(()), None, false).await, None);
        assert_eq!(text(&out).lines().count(), 4);
    }

    async fn poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
    }

    #[tokio::test]
    async fn a_closed_stdout_is_noticed_and_stderr_goes_on() {
        let (output, permits, out, err) = output();
        drop(permits);
        output.push(progress(1)).await;
        assert_eq!(output.broken().await.kind, Kind::Unread);
        output.push(Event::notice(NoticeKind::Other, "still here")).await;
        output.push(progress(2)).await;
        let failure = Failure::new(Kind::Failed, "no");
        assert_eq!(output.finish(Err(failure), None, false).await, Some(Kind::Failed));
        assert_eq!(text(&out), "");
        assert_eq!(text(&err).lines().count(), 2);
    }

    #[tokio::test]
    async fn who_goes_away_early_had_enough_unless_only_all_of_it_is_of_use() {
        for (read_to_its_end, kind) in [(false, None), (true, Some(Kind::Unread))] {
            let (output, permits, _, err) = output();
            drop(permits);
            output.push(Event::Data(Data { bytes: vec![0] })).await;
            let unread = Failure::new(Kind::Unread, "nobody reads on");
            assert_eq!(output.finish(Err(unread), None, read_to_its_end).await, kind);
            assert_eq!(text(&err), "", "nothing is said about it");
        }
    }

    /// Takes nothing.
    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stdout_that_cannot_be_written_is_a_failure() {
        let err: Written = Arc::default();
        let (permits, receiver) = mpsc::channel();
        permits.send(()).unwrap();
        let reader = Reader { permits: receiver, written: Arc::clone(&err) };
        let output = Output::start(Box::new(Json), Box::new(FullDisk), Box::new(reader)).unwrap();
        output.push(progress(1)).await;
        assert_eq!(output.finish(Ok(()), None, false).await, Some(Kind::NoSpace));
        assert!(text(&err).contains("cannot write to stdout"), "{}", text(&err));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_command_does_not_wait_for_a_reader() {
        let (output, permits, _, _) = output();
        output.push(progress(1)).await;
        assert_eq!(output.finish(Ok(()), Some(Duration::from_millis(100)), false).await, None);
        drop(permits);
    }
}
