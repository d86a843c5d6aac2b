//! The handle of a connection, and the streams that the peer opens.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use peerage_identity::PeerId;

use super::shared::{Shared, Slot, register};
use super::{ConnectionEnd, Stream};
use crate::multistream::{self, NegotiateError};
use crate::yamux::{self, GoAwayCode};

/// Why no stream was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection is over.
    #[error("the connection is over: {0}")]
    Ended(ConnectionEnd),
    /// The connection takes no new streams.
    #[error(transparent)]
    Muxer(yamux::OpenError),
    /// No protocol was agreed on.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
}

/// Opens streams on a connection and closes it. Cheap to clone; the
/// connection does not end when every handle is dropped.
#[derive(Clone)]
pub struct Control {
    pub(super) shared: Arc<Shared>,
    peer: PeerId,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>, peer: PeerId) -> Self {
        Self { shared, peer }
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Opens a stream for `protocol` and does not wait for the peer's
    /// consent: what is written goes out in the same flight, and a refusal is
    /// found by the first read (or [`Stream::negotiated`]).
    ///
    /// Waits while the peer leaves too many streams unacknowledged.
    ///
    /// # Errors
    /// If the connection ends or takes no more streams.
    pub async fn open(&self, protocol: &str) -> Result<Stream, OpenError> {
        let mut stream = self.open_bare().await?;
        stream.propose(protocol);
        Ok(stream)
    }

    /// Opens a stream and proposes `protocols` in order; the index is that of
    /// the one that the peer took. Takes a round trip for each.
    ///
    /// # Errors
    /// If the peer takes none, or the connection ends.
    pub async fn open_any(&self, protocols: &[&str]) -> Result<(Stream, usize), OpenError> {
        let mut stream = self.open_bare().await?;
        let limit = self.shared.config.negotiation_timeout;
        let index = multistream::dial(&mut stream, protocols, limit).await?;
        Ok((stream, index))
    }

    /// Opens a stream without negotiating anything on it.
    ///
    /// # Errors
    /// If the connection ends or takes no more streams.
    pub async fn open_bare(&self) -> Result<Stream, OpenError> {
        poll_fn(|cx| self.poll_open(cx)).await
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<Result<Stream, OpenError>> {
        self.shared.with(|state, now| {
            if let Some(end) = &state.end {
                return Poll::Ready(Err(OpenError::Ended(end.clone())));
            }
            match state.machine.open(now) {
                Ok(id) => {
                    state.streams.insert(id, Slot::default());
                    Poll::Ready(Ok(Stream::new(Arc::clone(&self.shared), id)))
                }
                Err(yamux::OpenError::Backlog | yamux::OpenError::TooMany) => {
                    // Rarely more than a few; a waker that is stale is only woken once.
                    if !state.openers.iter().any(|waker| waker.will_wake(cx.waker())) {
                        state.openers.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(OpenError::Muxer(error))),
            }
        })
    }

    /// Tells the peer that we go, sends what can be sent within
    /// [`Config::close_timeout`](crate::Config::close_timeout), and ends the
    /// connection. Returns at once; [`ended`](Self::ended) waits.
    pub fn close(&self, code: GoAwayCode) {
        let driver = self.shared.with(|state, _| {
            if state.end.is_none() {
                state.machine.go_away(code);
                state.closing = true;
            }
            state.driver.take()
        });
        driver.into_iter().for_each(Waker::wake);
    }

    /// Waits until the connection is over and says why.
    pub async fn ended(&self) -> ConnectionEnd {
        poll_fn(|cx| {
            self.shared.drive(|state, _| match &state.end {
                Some(end) => Poll::Ready(end.clone()),
                None => {
                    if !state.end_watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
                        state.end_watchers.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Why the connection is over, if it is.
    #[must_use]
    pub fn end(&self) -> Option<ConnectionEnd> {
        self.shared.drive(|state, _| state.end.clone())
    }

    /// The least of the last round trips, from the muxer's pings; none before the first.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.drive(|state, _| state.machine.rtt())
    }

    /// Streams that are open, in both directions.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.shared.drive(|state, _| state.machine.stream_count())
    }

    /// Bytes that arrived and were not read, over all streams.
    #[must_use]
    pub fn unread_bytes(&self) -> u64 {
        self.shared.drive(|state, _| state.machine.unread_bytes())
    }

    /// Says how many bytes we have asked of this peer and not got yet; beyond
    /// that and a slack its fullest unread stream is reset.
    pub fn set_expected(&self, bytes: u64) {
        self.shared.drive(|state, _| state.machine.set_expected(bytes));
    }
}

/// The streams that the peer opens. Dropped, further ones are reset.
pub struct Incoming {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next stream, not negotiated yet (see [`Stream::accept`]); none
    /// when the connection is over.
    pub async fn next(&mut self) -> Option<Stream> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), to be polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.shared.drive(|state, _| {
            if let Some(id) = state.accepted.pop_front() {
                return Poll::Ready(Some(Stream::new(Arc::clone(&self.shared), id)));
            }
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            if let Some(waker) = &mut state.incoming {
                register(waker, cx.waker());
            }
            Poll::Pending
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.with(|state, _| {
            state.incoming = None;
            for id in std::mem::take(&mut state.accepted) {
                state.streams.remove(&id);
                state.machine.reset(id, yamux::ResetCode::GATED);
            }
        });
    }
}
