//! AutoNAT: peers dial each other to find out whether they can be dialled.
//!
//! libp2p `autonat/autonat-v1.md` and `autonat/autonat-v2.md`: the messages,
//! and who says what when. Each side is a few steps over a stream, so that
//! between them the shell can decide and dial. Left out on purpose: what is
//! tested, whom to ask, what to dial and what an answer is worth; the dials.

mod back;
pub(crate) mod codec;
pub mod v1;
pub mod v2;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use peerage_wire::Message;
use peerage_wire::frame::{self, Assembler, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AutonatError {
    /// The stream failed or ended too early, or the peer does not speak this.
    #[error("autonat: {0}")]
    Io(#[from] io::Error),
    /// It took longer than this.
    #[error("autonat took longer than {0:?}")]
    Timeout(Duration),
    /// A message over its limit.
    #[error("autonat: {0}")]
    Frame(#[from] FrameError),
    /// Not the message that has to come here, or with values that mean nothing.
    #[error("the peer's autonat message is malformed")]
    Malformed,
    /// The peer wants more bytes than the protocol allows before it dials.
    #[error("the peer asks for {0} bytes before it dials")]
    TooMuchData(u64),
    /// The peer sends the bytes that it owes in pieces too small.
    #[error("the peer sends what it owes in tiny pieces")]
    Trickle,
    /// The peer brings back a number that nobody waits for.
    #[error("the peer dialled back with a wrong number")]
    UnknownNonce,
}

/// A stream, message by message, until a deadline.
#[derive(Debug)]
struct Frames<T> {
    io: T,
    assembler: Assembler,
    ahead: Bytes,
    deadline: Instant,
    limit: Duration,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Frames<T> {
    /// Messages of at most `max` bytes, all within `limit`.
    fn new(io: T, max: usize, limit: Duration) -> Self {
        let deadline = Instant::now() + limit;
        Self { io, assembler: Assembler::new(max), ahead: Bytes::new(), deadline, limit }
    }

    /// The next message.
    async fn next(&mut self) -> Result<Bytes, AutonatError> {
        let limit = self.limit;
        timeout_at(self.deadline, self.read()).await.map_err(|_| AutonatError::Timeout(limit))?
    }

    async fn read(&mut self) -> Result<Bytes, AutonatError> {
        // Room for any of these messages: the largest has 8 KiB.
        let mut buf = [0; 2048];
        loop {
            while !self.ahead.is_empty() {
                if let Some(message) = self.assembler.push(&mut self.ahead)? {
                    return Ok(message);
                }
            }
            let read = self.io.read(&mut buf).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.ahead = Bytes::copy_from_slice(&buf[..read]);
        }
    }

    /// Writes one message, its length in front.
    async fn send(&mut self, message: &impl Message) -> Result<(), AutonatError> {
        self.write(&frame::encode(message)).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), AutonatError> {
        let writing = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        let limit = self.limit;
        Ok(timeout_at(self.deadline, writing).await.map_err(|_| AutonatError::Timeout(limit))??)
    }

    /// Ends our side.
    async fn finish(&mut self) -> Result<(), AutonatError> {
        let limit = self.limit;
        Ok(timeout_at(self.deadline, self.io.shutdown())
            .await
            .map_err(|_| AutonatError::Timeout(limit))??)
    }
}

#[cfg(test)]
mod tests;
