//! `/ipfs/ping/1.0.0`: 32 random bytes there and back.
//!
//! libp2p `ping/ping.md`. The opener may ping again on the same stream; the
//! listener answers until the stream ends.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// The protocol's name.
pub const PROTOCOL: &str = "/ipfs/ping/1.0.0";
/// Bytes of one ping.
pub const PAYLOAD: usize = 32;
/// How long an answer may take. 20 s as rust-libp2p.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a listener waits for the next ping. 60 s: four times the interval
/// at which rust-libp2p pings on one stream.
pub const IDLE: Duration = Duration::from_secs(60);

/// Why a ping came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The stream failed, ended, or the peer does not speak ping.
    #[error("ping: {0}")]
    Io(#[from] io::Error),
    /// No answer within [`TIMEOUT`].
    #[error("no answer to a ping within {TIMEOUT:?}")]
    Timeout,
    /// Other bytes came back.
    #[error("the peer answered a ping with other bytes")]
    WrongAnswer,
    /// The operating system gave no random bytes.
    #[error("no random bytes for a ping: {0}")]
    Random(#[from] getrandom::Error),
}

/// Pings once and says how long the answer took. Do it again on the same stream.
///
/// # Errors
/// See [`PingError`].
pub async fn ping<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T) -> Result<Duration, PingError> {
    let mut sent = [0; PAYLOAD];
    getrandom::fill(&mut sent)?;
    let start = Instant::now();
    let answer = timeout(TIMEOUT, exchange(io, &sent)).await.map_err(|_| PingError::Timeout)??;
    if answer == sent { Ok(start.elapsed()) } else { Err(PingError::WrongAnswer) }
}

async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    sent: &[u8; PAYLOAD],
) -> io::Result<[u8; PAYLOAD]> {
    io.write_all(sent).await?;
    io.flush().await?;
    let mut answer = [0; PAYLOAD];
    io.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Answers pings until the opener ends the stream or falls silent for [`IDLE`].
///
/// # Errors
/// If the stream fails, or ends within a ping.
pub async fn serve<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T) -> io::Result<()> {
    while let Ok(answered) = timeout(IDLE, answer(io)).await {
        if !answered? {
            break;
        }
    }
    io.shutdown().await
}

/// Answers one ping; false at the end of the stream.
async fn answer<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T) -> io::Result<bool> {
    let mut payload = [0; PAYLOAD];
    let first = io.read(&mut payload).await?;
    if first == 0 {
        return Ok(false);
    }
    io.read_exact(&mut payload[first..]).await?;
    io.write_all(&payload).await?;
    io.flush().await?;
    Ok(true)
}
