//! One stream of a connection, as its user holds it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::shared::{Shared, State, register};
use crate::multistream::{self, Echo, NegotiateError};
use crate::yamux::{
    ClassifyError, Read, ResetCause, ResetCode, StreamClass, StreamGone, StreamId, WriteError,
};

/// Most bytes that one `poll_write` copies; [`Stream::write_chunk`] copies none.
const COPY: usize = 64 * 1024;

/// Who reset a stream: what is in an [`io::Error`] of kind `ConnectionReset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamReset {
    /// The other side, with its reason.
    #[error("the peer reset the stream (code {:#x})", .0.0)]
    Peer(ResetCode),
    /// We did: more had come than was asked for.
    #[error("this side reset the stream: more was unread than had been asked for")]
    UnreadLimit,
    /// We did: the inbound budget was full.
    #[error("this side reset the stream to make room for others")]
    BudgetFull,
    /// We did, or it is over on both sides.
    #[error("the stream is over")]
    Local,
}

/// A stream: bytes in both directions, each of which ends by itself.
///
/// [`read_chunk`](Self::read_chunk) and [`write_chunk`](Self::write_chunk)
/// move buffers without copying; `AsyncRead` and `AsyncWrite` copy once.
/// What is written goes out without a flush.
///
/// Dropped before [`finish`](Self::finish) (or `shutdown`), the stream is
/// reset. Dropped after it, what was written still goes out, and what the
/// peer still sends is ignored.
pub struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
    /// The answer to our lazy proposal, while it has not come.
    echo: Option<Box<PendingEcho>>,
    /// What came with the answer and was not read.
    ahead: Bytes,
    finished: bool,
    read_end: bool,
}

struct PendingEcho {
    echo: Echo,
    deadline: Pin<Box<Sleep>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self { shared, id, echo: None, ahead: Bytes::new(), finished: false, read_end: false }
    }

    /// Negotiates as the listener of a stream that the peer opened: `choose`
    /// is asked until it knows a proposal.
    ///
    /// # Errors
    /// If nothing is agreed within
    /// [`Config::negotiation_timeout`](crate::Config::negotiation_timeout).
    pub async fn accept<P>(&mut self, choose: impl FnMut(&str) -> Option<P>) -> Result<P, NegotiateError> {
        let limit = self.shared.config.negotiation_timeout;
        multistream::listen(self, choose, limit).await
    }

    /// Says what an accepted stream is for, so that it counts against the
    /// right limit. Do so once it is negotiated.
    ///
    /// # Errors
    /// If the class is full: the stream was reset then; or if it is gone.
    pub fn classify(&mut self, class: StreamClass) -> Result<(), ClassifyError> {
        self.shared.with(|state, _| state.machine.classify(self.id, class))
    }

    /// Waits until the peer has agreed to the protocol that this stream was
    /// opened for. Reading does the same.
    ///
    /// # Errors
    /// Of kind `Unsupported` if the peer refused.
    pub async fn negotiated(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_negotiated(cx)).await
    }

    /// The next bytes, at most `max` of them, without copying; none at the
    /// end of what the peer sends. `max` 0 reads nothing and waits for nothing.
    ///
    /// # Errors
    /// If the stream was reset (`ConnectionReset`), the connection is over
    /// (`ConnectionAborted`), or the peer refused the protocol (`Unsupported`).
    pub async fn read_chunk(&mut self, max: usize) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_read_chunk(cx, max)).await
    }

    /// As [`read_chunk`](Self::read_chunk), to be polled.
    pub fn poll_read_chunk(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Bytes>>> {
        if max == 0 {
            return Poll::Ready(Ok(Some(Bytes::new())));
        }
        ready!(self.poll_negotiated(cx))?;
        if !self.ahead.is_empty() {
            let now = self.ahead.len().min(max);
            return Poll::Ready(Ok(Some(self.ahead.split_to(now))));
        }
        self.poll_read_machine(cx, max)
    }

    /// Writes all of `data`, without copying unless it is small. Returns when
    /// the stream's send buffer has taken it.
    ///
    /// # Errors
    /// If the stream was finished (`BrokenPipe`) or reset (`ConnectionReset`),
    /// or the connection is over (`ConnectionAborted`).
    pub async fn write_chunk(&mut self, mut data: Bytes) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_chunk(cx, &mut data)).await
    }

    /// As [`write_chunk`](Self::write_chunk), to be polled: `data` shrinks by
    /// what was taken; ready once it is empty.
    pub fn poll_write_chunk(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        if data.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.shared.with(|state, _| {
            check_end(state)?;
            match state.machine.write(self.id, data) {
                Ok(_) if data.is_empty() => Poll::Ready(Ok(())),
                Ok(_) => {
                    if let Some(slot) = state.streams.get_mut(&self.id) {
                        register(&mut slot.writer, cx.waker());
                    }
                    Poll::Pending
                }
                Err(WriteError::Finished) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Err(WriteError::Reset) => Poll::Ready(Err(reset_error(state, self.id))),
            }
        })
    }

    /// Waits until all that was written has left the send buffer: whatever is
    /// sent on this connection from then on, on any stream, comes after it.
    ///
    /// # Errors
    /// If the stream was reset (`ConnectionReset`) or the connection is over
    /// (`ConnectionAborted`).
    pub async fn drained(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            self.shared.with(|state, _| {
                check_end(state)?;
                match state.machine.drain(self.id) {
                    Ok(true) => Poll::Ready(Ok(())),
                    Ok(false) => {
                        if let Some(slot) = state.streams.get_mut(&self.id) {
                            register(&mut slot.writer, cx.waker());
                        }
                        Poll::Pending
                    }
                    Err(StreamGone) => Poll::Ready(Err(reset_error(state, self.id))),
                }
            })
        })
        .await
    }

    /// Says that `bytes` of what was read are still held, such as a message in
    /// assembly; 0 once they are not. They count as if they were unread: against
    /// what the connection may hold, and in the inbound budget.
    ///
    /// # Errors
    /// If the stream is gone, also since it had to make room. Dropping the
    /// stream says that nothing is held.
    pub fn hold(&mut self, bytes: usize) -> io::Result<()> {
        self.shared.with(|state, _| {
            let held = state.machine.hold(self.id, bytes as u64);
            held.map_err(|StreamGone| check_end(state).err().unwrap_or_else(|| reset_error(state, self.id)))
        })
    }

    /// Ends our direction once what was written is sent; the peer's goes on.
    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            // A stream that is gone has nothing left to finish.
            let _ = self.shared.with(|state, _| state.machine.finish(self.id));
        }
    }

    /// Ends both directions at once, telling the peer `code`.
    pub fn reset(self, code: ResetCode) {
        self.shared.with(|state, _| state.machine.reset(self.id, code));
    }

    /// Sends the lazy proposal. The send buffer of a new stream has room for it.
    pub(super) fn propose(&mut self, protocol: &str) {
        let deadline = Box::pin(sleep(self.shared.config.negotiation_timeout));
        self.echo = Some(Box::new(PendingEcho { echo: Echo::new(protocol), deadline }));
        let mut proposal = multistream::proposal(protocol);
        // A reset in the meantime is found by the next read or write.
        let _ = self.shared.with(|state, _| state.machine.write(self.id, &mut proposal));
        debug_assert!(proposal.is_empty(), "the send buffer is smaller than a proposal");
    }

    fn poll_negotiated(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(mut pending) = self.echo.take() {
            let mut chunk = match self.poll_read_machine(cx, usize::MAX) {
                Poll::Ready(Ok(Some(chunk))) => chunk,
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let expired = pending.deadline.as_mut().poll(cx).is_ready();
                    self.echo = Some(pending);
                    if !expired {
                        return Poll::Pending;
                    }
                    let error = NegotiateError::Timeout(self.shared.config.negotiation_timeout);
                    return Poll::Ready(Err(self.fail(io::ErrorKind::TimedOut, error)));
                }
            };
            match pending.echo.check(&mut chunk) {
                Ok(true) => self.ahead = chunk,
                Ok(false) => self.echo = Some(pending),
                Err(error @ NegotiateError::Refused) => {
                    return Poll::Ready(Err(self.fail(io::ErrorKind::Unsupported, error)));
                }
                Err(error) => return Poll::Ready(Err(self.fail(io::ErrorKind::InvalidData, error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The negotiation came to nothing, and with it the stream.
    fn fail(&mut self, kind: io::ErrorKind, error: NegotiateError) -> io::Error {
        self.echo = None;
        self.finished = true;
        self.shared.with(|state, _| state.machine.reset(self.id, ResetCode::NEGOTIATION_FAILED));
        io::Error::new(kind, error)
    }

    fn poll_read_machine(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Bytes>>> {
        if self.read_end {
            return Poll::Ready(Ok(None));
        }
        let read = self.shared.with(|state, now| match state.machine.read(self.id, max, now) {
            Read::Data(data) => Poll::Ready(Ok(Some(data))),
            Read::Eof => Poll::Ready(Ok(None)),
            Read::Reset => {
                check_end(state)?;
                Poll::Ready(Err(reset_error(state, self.id)))
            }
            // Whatever had arrived before the end was read above.
            Read::Pending => {
                check_end(state)?;
                if let Some(slot) = state.streams.get_mut(&self.id) {
                    register(&mut slot.reader, cx.waker());
                }
                Poll::Pending
            }
        });
        self.read_end = matches!(read, Poll::Ready(Ok(None)));
        read
    }
}

fn check_end(state: &State) -> io::Result<()> {
    state.end.as_ref().map_or(Ok(()), |end| Err(end.to_io()))
}

fn reset_error(state: &State, id: StreamId) -> io::Error {
    let reset = match state.streams.get(&id).and_then(|slot| slot.reset) {
        Some((code, ResetCause::Peer)) => StreamReset::Peer(code),
        Some((_, ResetCause::UnreadLimit)) => StreamReset::UnreadLimit,
        Some((_, ResetCause::BudgetFull)) => StreamReset::BudgetFull,
        None => StreamReset::Local,
    };
    io::Error::new(io::ErrorKind::ConnectionReset, reset)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(chunk) = ready!(self.poll_read_chunk(cx, buf.remaining()))? {
            buf.put_slice(&chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let offered = buf.len().min(COPY);
        let mut data = Bytes::copy_from_slice(&buf[..offered]);
        let poll = self.poll_write_chunk(cx, &mut data);
        match offered - data.len() {
            0 => poll.map_ok(|()| 0),
            taken => Poll::Ready(Ok(taken)),
        }
    }

    /// What was written is on its way without this.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            state.streams.remove(&self.id);
            // Of a stream that is gone, too.
            let _ = state.machine.hold(self.id, 0);
            if self.finished {
                // A stream that is gone has nothing left to close.
                let _ = state.machine.close(self.id, now);
            } else {
                state.machine.reset(self.id, ResetCode::NONE);
            }
        });
    }
}
