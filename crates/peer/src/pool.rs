//! The worker threads: all hashing and all file I/O happen here, so that the
//! network's tasks never wait for a disk.
//!
//! One pool a peer, a thread a core. What waits is bounded in bytes: whoever
//! brings work from the network first takes room for its payload; work that
//! the engine asks for is bounded by the credit that the engine spent on it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type Work = Box<dyn FnOnce() + Send>;

/// A handle to the workers; they end when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    /// All the room that there is, in KiB.
    kib: u32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    closed: bool,
}

/// Room in the pool for one payload; given back when dropped.
pub(crate) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// Starts `threads` workers, with room for so many bytes of payload. With
    /// `slowdown` above 1 each piece of work is stretched to that many times its length:
    /// for tests of slow machines.
    pub(crate) fn start(threads: usize, room: u64, slowdown: u32) -> std::io::Result<Self> {
        let queue = Arc::new(Queue { state: Mutex::default(), wake: Condvar::new() });
        let mut handles = Vec::new();
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            let name = format!("peerage-worker-{number}");
            handles.push(thread::Builder::new().name(name).spawn(move || queue.run(slowdown))?);
        }
        let kib = u32::try_from(room / 1024).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new(kib as usize));
        Ok(Self(Arc::new(Inner { queue, room, kib, threads: Mutex::new(handles) })))
    }

    /// Waits for room for a payload of `len` bytes.
    pub(crate) async fn room(&self, len: usize) -> Room {
        let kib = u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.0.kib);
        // Never closed, so this only fails when the process is going down.
        Room { _permit: Arc::clone(&self.0.room).acquire_many_owned(kib).await.ok() }
    }

    /// Does `work` on a worker, after what was posted before it has begun; not
    /// at all if the pool is closed.
    pub(crate) fn post(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.0.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            // Before `work` is dropped, which may be long.
            drop(state);
            return;
        }
        state.work.push_back(Box::new(work));
        drop(state);
        self.0.queue.wake.notify_one();
    }

    /// Takes no more work, and waits until all that was posted is done.
    pub(crate) async fn close(&self) {
        let inner = Arc::clone(&self.0);
        drop(tokio::task::spawn_blocking(move || inner.end()).await);
    }

    /// Does `work` on a worker and waits for what it returns; `None` if it
    /// panicked, or the pool is closed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.post(move || drop(done.send(work())));
        result.await.ok()
    }
}

impl Queue {
    fn run(&self, slowdown: u32) {
        loop {
            let work = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    if let Some(work) = state.work.pop_front() {
                        break work;
                    }
                    if state.closed {
                        return;
                    }
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let began = Instant::now();
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a worker's task panicked");
            }
            if slowdown > 1 {
                thread::sleep(began.elapsed().saturating_mul(slowdown - 1).min(Duration::from_secs(1)));
            }
        }
    }
}

impl Inner {
    fn end(&self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let me = thread::current().id();
        for handle in threads {
            // The last handle may be dropped by a worker itself.
            if handle.thread().id() != me {
                drop(handle.join());
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_returns_and_a_panic_does_not_end_the_worker() {
        let pool = Pool::start(1, 16 << 10, 1).unwrap();
        assert_eq!(pool.run(|| 2 + 2).await, Some(4));
        assert_eq!(pool.run(|| -> u8 { panic!("on purpose") }).await, None);
        assert_eq!(pool.run(|| 5).await, Some(5));
    }

    #[tokio::test]
    async fn closing_waits_for_what_was_posted_and_takes_no_more() {
        let pool = Pool::start(1, 16 << 10, 1).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let done = Arc::new(Mutex::new(0));
        pool.post(move || gate.recv().unwrap());
        for _ in 0..10 {
            let done = Arc::clone(&done);
            pool.post(move || *done.lock().unwrap() += 1);
        }
        let closing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.close().await }
        });
        open.send(()).unwrap();
        closing.await.unwrap();
        assert_eq!(*done.lock().unwrap(), 10);
        assert_eq!(pool.run(|| 1).await, None);
    }

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let pool = Pool::start(1, 16 << 10, 1).unwrap();
        let all = pool.room(usize::MAX).await;
        assert_eq!(pool.0.room.available_permits(), 0);
        drop(all);
        drop(pool.room(1).await);
        assert_eq!(pool.0.room.available_permits(), 16);
    }
}
