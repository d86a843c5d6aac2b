//! multistream-select 1.0: agreeing on a protocol by name.
//!
//! <https://github.com/multiformats/multistream-select> and libp2p's
//! `connections/README.md`. A token is a varint length, text and a newline.
//! Both sides send the header without waiting; the dialer proposes, the
//! listener echoes or answers `na`. Nothing beyond the last token is ever
//! read, so what a lazy dialer sent in the same flight stays in the stream.
//!
//! Left out on purpose: `ls` (go-multistream no longer answers it either; it
//! gets `na`) and simultaneous open.

mod lazy;
mod token;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

pub(crate) use lazy::Echo;
pub use lazy::proposal;
pub use token::MAX_TOKEN;

/// The first token of each side.
pub const HEADER: &str = "/multistream/1.0.0";
/// What refuses a proposal.
pub const REFUSAL: &str = "na";
/// Proposals that a listener answers before it gives up. A judgement: no
/// implementation knows as many protocols for one purpose.
pub const MAX_PROPOSALS: usize = 64;

/// Why no protocol was agreed on.
#[derive(Debug, thiserror::Error)]
pub enum NegotiateError {
    /// The stream failed or ended.
    #[error("the stream ended during negotiation: {0}")]
    Io(#[from] io::Error),
    /// It took longer than this.
    #[error("the peer did not finish negotiation within {0:?}")]
    Timeout(Duration),
    /// Something that is not a multistream token.
    #[error("the peer does not speak multistream-select: {0}")]
    Malformed(#[from] token::TokenError),
    /// The first token was another one.
    #[error("the peer speaks another version of multistream-select")]
    WrongHeader,
    /// The listener answered a proposal with something else.
    #[error("the peer answered our proposal with another protocol")]
    WrongAnswer,
    /// The peer speaks none of our protocols.
    #[error("the peer refused every protocol that we proposed")]
    Refused,
    /// The dialer proposed more than [`MAX_PROPOSALS`].
    #[error("the peer proposed more than {MAX_PROPOSALS} protocols that we do not speak")]
    TooManyProposals,
}

/// Proposes `protocols` in order until the listener takes one, and returns
/// the index of that one. The header goes out with the first proposal.
///
/// # Errors
/// If none is taken, the peer breaks the protocol, or it takes longer than `limit`.
pub async fn dial<T>(io: &mut T, protocols: &[&str], limit: Duration) -> Result<usize, NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    timeout(limit, dial_unlimited(io, protocols)).await.map_err(|_| NegotiateError::Timeout(limit))?
}

async fn dial_unlimited<T>(io: &mut T, protocols: &[&str]) -> Result<usize, NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    for (index, protocol) in protocols.iter().enumerate() {
        if index == 0 {
            exchange_headers(io, &proposal(protocol)).await?;
        } else {
            send(io, protocol).await?;
        }
        match token::read(io).await? {
            answer if answer == protocol.as_bytes() => return Ok(index),
            answer if answer == REFUSAL.as_bytes() => {}
            _ => return Err(NegotiateError::WrongAnswer),
        }
    }
    Err(NegotiateError::Refused)
}

/// Answers proposals until `choose` knows one, and returns what it made of it.
///
/// # Errors
/// If the peer gives up, breaks the protocol, or it takes longer than `limit`.
pub async fn listen<T, P>(
    io: &mut T,
    choose: impl FnMut(&str) -> Option<P>,
    limit: Duration,
) -> Result<P, NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    timeout(limit, listen_unlimited(io, choose)).await.map_err(|_| NegotiateError::Timeout(limit))?
}

async fn listen_unlimited<T, P>(
    io: &mut T,
    mut choose: impl FnMut(&str) -> Option<P>,
) -> Result<P, NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut header = Vec::new();
    token::put(&mut header, HEADER);
    exchange_headers(io, &header).await?;
    for _ in 0..MAX_PROPOSALS {
        let proposed = token::read(io).await?;
        let chosen = std::str::from_utf8(&proposed).ok().and_then(|name| Some((choose(name)?, name)));
        match chosen {
            Some((chosen, name)) => {
                send(io, name).await?;
                return Ok(chosen);
            }
            None => send(io, REFUSAL).await?,
        }
    }
    Err(NegotiateError::TooManyProposals)
}

/// Writes `out`, which begins with our header, and reads the peer's at the
/// same time: neither side waits for the other, however little the stream buffers.
async fn exchange_headers<T>(io: &mut T, out: &[u8]) -> Result<(), NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let header = async {
        match token::read(&mut reader).await? {
            header if header == HEADER.as_bytes() => Ok(()),
            _ => Err(NegotiateError::WrongHeader),
        }
    };
    tokio::try_join!(write(&mut writer, out), header).map(drop)
}

async fn send<T: AsyncWrite + Unpin>(io: &mut T, text: &str) -> Result<(), NegotiateError> {
    let mut out = Vec::new();
    token::put(&mut out, text);
    write(io, &out).await
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> Result<(), NegotiateError> {
    io.write_all(bytes).await?;
    io.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests;
