//! The task of a connection: bytes from the socket to the machine, and back.
//!
//! Each turn writes what the machine has to say, in batches of several Noise
//! messages sealed outside of the lock, then reads once. Reading never waits
//! for a reader: the machine resets streams that nobody reads.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep, sleep_until};

use super::ConnectionEnd;
use super::shared::{Shared, register};
use crate::noise::{FrameReader, FrameWriter, MAX_PLAINTEXT, NoiseError, SecureChannel};
use crate::yamux::{Chunk, ProtocolError};

/// The first read's size, in bytes; see [`Config::read_batch`](crate::Config::read_batch).
const FIRST_READ: usize = 8 * 1024;
/// Turns before other tasks of the runtime get theirs. A judgement: at most
/// 4 MiB in each direction.
const TURNS: usize = 16;
/// Reads after the socket refused a write. A judgement: about 16 MiB, far more
/// than a socket holds.
const LAST_READS: usize = 64;

/// The future that moves a connection's bytes. Ends with the connection.
/// Dropped, it ends the connection at once.
#[must_use = "a connection does nothing unless its driver is polled"]
pub struct Driver<T> {
    io: T,
    reader: FrameReader,
    writer: FrameWriter,
    /// Plaintext that came with the negotiation.
    ahead: Bytes,
    shared: Arc<Shared>,
    read_size: usize,
    /// Chunks under way from the machine to the writer; kept for its memory.
    chunks: Vec<Chunk>,
    /// Where in `chunks` each Noise message ends.
    messages: Vec<usize>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The connection is ending: why, and how long it may take.
    ending: Option<(ConnectionEnd, Pin<Box<Sleep>>)>,
    done: bool,
}

impl<T> std::fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl<T> Driver<T> {
    pub(super) fn new(channel: SecureChannel<T>, shared: Arc<Shared>) -> Self {
        let (io, reader, writer, ahead) = channel.into_parts();
        Self {
            io,
            reader,
            writer,
            ahead,
            shared,
            read_size: FIRST_READ,
            chunks: Vec::new(),
            messages: Vec::new(),
            timer: None,
            ending: None,
            done: false,
        }
    }

    /// Takes from the machine what fills one batch and seals it; false if
    /// there was nothing.
    fn gather(&mut self) -> Result<bool, NoiseError> {
        let batch = self.shared.config.write_batch;
        let (chunks, messages) = (&mut self.chunks, &mut self.messages);
        let bytes = self.shared.drive(|state, now| {
            let mut bytes = 0;
            while bytes < batch {
                match state.machine.poll_transmit(now, MAX_PLAINTEXT, chunks) {
                    0 => break,
                    more => bytes += more,
                }
                messages.push(chunks.len());
            }
            bytes
        });
        self.writer.reserve(bytes);
        let mut chunks = self.chunks.drain(..);
        let mut at = 0;
        for end in self.messages.drain(..) {
            for chunk in chunks.by_ref().take(end - at) {
                self.writer.push(chunk.as_ref())?;
            }
            self.writer.seal()?;
            at = end;
        }
        Ok(bytes > 0)
    }

    /// Hands opened frames to the machine.
    fn feed(&mut self) -> Result<(), ConnectionEnd> {
        let mut next = Some(std::mem::take(&mut self.ahead)).filter(|ahead| !ahead.is_empty());
        loop {
            let plain = match next.take() {
                Some(plain) => plain,
                None => match self.reader.open().map_err(noise_end)? {
                    Some(plain) => plain,
                    None => return Ok(()),
                },
            };
            self.shared
                .drive(|state, now| state.machine.handle_input(plain, now))
                .map_err(ConnectionEnd::Yamux)?;
            // Events are routed by now.
            let flooded = self
                .shared
                .drive(|state, _| state.flooded.then(|| state.machine.fail(ProtocolError::Flooded)));
            if let Some(error) = flooded {
                return Err(ConnectionEnd::Yamux(error));
            }
        }
    }

    /// Lets the machine know the time, and sets the timer anew; true if a
    /// timer was due.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> bool {
        let next = self.shared.drive(|state, now| {
            let (due, _) = state.machine.poll_timeout()?;
            if due > now {
                return Some((due, false));
            }
            state.machine.handle_timeout(now);
            Some((due, true))
        });
        let Some((due, fired)) = next else { return false };
        if fired {
            // Once every ping interval: an idle connection then holds no buffers.
            self.reader.release();
            self.writer.release();
            self.read_size = FIRST_READ;
            return true;
        }
        let deadline = self.shared.clock.tokio_time(due);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn begin_end(&mut self, end: ConnectionEnd) {
        if self.ending.is_none() {
            self.ending = Some((end, Box::pin(sleep(self.shared.config.close_timeout))));
        }
    }

    /// Whether the machine, its user or the peer wants the connection to end.
    fn check_end(&mut self) {
        let end = self.shared.drive(|state, _| {
            if state.closing {
                return Some(ConnectionEnd::Closed);
            }
            if state.silent {
                return Some(ConnectionEnd::Silent);
            }
            state.peer_going.filter(|_| state.machine.stream_count() == 0).map(ConnectionEnd::ClosedByPeer)
        });
        if let Some(end) = end {
            self.begin_end(end);
        }
    }

    fn finish(&mut self, end: ConnectionEnd) -> ConnectionEnd {
        self.done = true;
        tracing::debug!(%end, "connection ended");
        let wakers = self.shared.drive(|state, _| state.end(end.clone()));
        wakers.into_iter().for_each(Waker::wake);
        end
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Writes until there is nothing left, the socket takes no more or it is
    /// the others' turn; true if anything was written. Pending, it wakes `cx`.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(bool, Poll<()>), ConnectionEnd> {
        let mut progress = false;
        for _ in 0..TURNS {
            while !self.writer.sealed().is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, self.writer.sealed()) {
                    Poll::Ready(Ok(0)) => return Err(ConnectionEnd::lost(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => self.writer.advance(written),
                    Poll::Ready(Err(error)) => return Err(ConnectionEnd::lost(error)),
                    Poll::Pending => return Ok((progress, Poll::Pending)),
                }
                progress = true;
            }
            if !self.gather().map_err(noise_end)? {
                return match Pin::new(&mut self.io).poll_flush(cx) {
                    Poll::Ready(Err(error)) => Err(ConnectionEnd::lost(error)),
                    Poll::Ready(Ok(())) => Ok((progress, Poll::Ready(()))),
                    Poll::Pending => Ok((progress, Poll::Pending)),
                };
            }
        }
        // Nothing else would: the socket takes more, and the machine has more.
        cx.waker().wake_by_ref();
        Ok((true, Poll::Pending))
    }

    /// Reads once and hands on what came; true if anything did.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionEnd> {
        let wanted = self.reader.front_len().unwrap_or(0).max(self.read_size);
        let raw = self.reader.raw();
        let held = raw.len();
        raw.reserve(wanted.saturating_sub(held).max(FIRST_READ));
        match pin!(self.io.read_buf(raw)).poll(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(ConnectionEnd::lost(error)),
            Poll::Ready(Ok(0)) => Err(self.end_of_input()),
            Poll::Ready(Ok(read)) => {
                if read >= self.read_size {
                    self.read_size = (self.read_size * 2).min(self.shared.config.read_batch);
                }
                self.feed()?;
                Ok(true)
            }
        }
    }

    /// The socket takes nothing more, perhaps since the peer has said all and
    /// left: what it said is read before the end.
    fn read_rest(&mut self, cx: &mut Context<'_>, end: ConnectionEnd) -> ConnectionEnd {
        for _ in 0..LAST_READS {
            match self.poll_read(cx) {
                Ok(true) => {}
                Ok(false) => break,
                Err(known) => return known,
            }
        }
        end
    }

    fn end_of_input(&self) -> ConnectionEnd {
        let going = self.shared.drive(|state, _| state.peer_going);
        match going {
            Some(code) if self.reader.is_empty() => ConnectionEnd::ClosedByPeer(code),
            _ => ConnectionEnd::lost(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends what is left, closes the socket, and is ready.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let expired = match &mut self.ending {
            Some((_, deadline)) => deadline.as_mut().poll(cx).is_ready(),
            None => return Poll::Pending,
        };
        if !expired && let Ok((_, flushed)) = self.poll_write(cx) {
            ready!(flushed);
            // Whatever comes of it, the connection is over.
            let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
        }
        let end = self.ending.take().map_or(ConnectionEnd::Closed, |(end, _)| end);
        Poll::Ready(self.finish(end))
    }

    /// One turn; true if there may be more to do at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionEnd> {
        let wrote = match self.poll_write(cx) {
            Ok((wrote, _)) => wrote,
            Err(end) => return Err(self.read_rest(cx, end)),
        };
        let read = self.poll_read(cx)?;
        let timed = self.poll_timers(cx);
        self.check_end();
        Ok((wrote || read || timed) && self.ending.is_none())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = ConnectionEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let this = &mut *self;
        this.shared.drive(|state, _| {
            register(&mut state.driver, cx.waker());
            state.machine.wake_for_room(cx.waker());
            state.machine.make_room();
        });
        if !this.ahead.is_empty()
            && let Err(end) = this.feed()
        {
            this.begin_end(end);
        }
        for _ in 0..TURNS {
            if this.ending.is_some() {
                return this.poll_ending(cx);
            }
            match this.turn(cx) {
                Ok(true) => {}
                Ok(false) if this.ending.is_some() => {}
                Ok(false) => return Poll::Pending,
                // The peer broke a protocol: it is told, if it still reads.
                Err(end @ ConnectionEnd::Yamux(_)) => this.begin_end(end),
                Err(end) => return Poll::Ready(this.finish(end)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        if !self.done {
            self.finish(ConnectionEnd::Closed);
        }
    }
}

fn noise_end(error: NoiseError) -> ConnectionEnd {
    ConnectionEnd::Noise(Arc::new(error))
}
