//! AutoNAT v1: am I reachable at any of these addresses?
//!
//! libp2p `autonat/autonat-v1.md`. The opener writes one message and reads
//! one. The answer proves nothing. Left out: the dial between the two messages
//! of the server.

use std::time::Duration;

use peerage_identity::{Multiaddr, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::{AutonatError, Frames, codec};

/// The protocol's name.
pub const PROTOCOL: &str = "/libp2p/autonat/1.0.0";
/// Bytes of one message, as go-libp2p.
pub const MAX_MESSAGE: usize = 4096;
/// Addresses of a request that are looked at. 16 as go-libp2p.
pub const MAX_ADDRS: usize = 16;
/// How long an asker waits. 30 s as go-libp2p.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server takes from the opening of the stream to its answer. 30 s:
/// after that nobody waits for it. go-libp2p has 60 s.
pub const SERVE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the dials of one request may take together. 15 s as go-libp2p.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// What an asker wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it wants to be dialled, with the place of each in the list.
    pub addrs: Vec<(u32, Multiaddr)>,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// This address answered.
    Reached(Multiaddr),
    /// None did.
    Unreached,
    /// We do not dial these, or too much of late.
    Refused,
    /// The request makes no sense.
    BadRequest,
}

/// What an asker learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server says that it reached this address.
    Reached(Multiaddr),
    /// It says that it reached none.
    Unreached,
    /// It would not dial any.
    Refused,
    /// Nothing: an error of the server's, or success without an address.
    Inconclusive,
}

/// Asks whether `local` can be dialled at any of `addrs`.
///
/// # Errors
/// See [`AutonatError`]. Drop the stream then, so that it is reset.
pub async fn ask<T>(io: T, local: PeerId, addrs: &[Multiaddr]) -> Result<Outcome, AutonatError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(io, MAX_MESSAGE, ASK_TIMEOUT);
    frames.send(&codec::v1_request(local, addrs)).await?;
    let outcome = codec::read_v1_response(&frames.next().await?)?;
    frames.finish().await?;
    Ok(outcome)
}

/// The server's side, between the request and the answer.
#[derive(Debug)]
pub struct Serving<T> {
    frames: Frames<T>,
    since: Instant,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<T> {
    /// Reads what `peer` asks for. One that asks for another peer, or makes no
    /// sense, is told so.
    ///
    /// # Errors
    /// See [`AutonatError`]; the stream is over then.
    pub async fn receive(io: T, peer: &PeerId) -> Result<(Self, Request), AutonatError> {
        let mut frames = Frames::new(io, MAX_MESSAGE, SERVE_TIMEOUT);
        let message = frames.next().await?;
        match codec::read_v1_request(&message, peer) {
            Ok(request) => Ok((Self { frames, since: Instant::now() }, request)),
            Err(error) => {
                frames.send(&codec::v1_response(&Response::BadRequest)).await?;
                frames.finish().await?;
                Err(error)
            }
        }
    }

    /// By when the dials have to be over.
    #[must_use]
    pub fn dial_deadline(&self) -> Instant {
        (self.since + DIAL_TIMEOUT).min(self.frames.deadline)
    }

    /// Answers. That nothing was reached is said only once all the time for
    /// dialling is over: how fast a dial fails would tell a stranger about
    /// the ports behind its own address.
    ///
    /// # Errors
    /// See [`AutonatError`].
    pub async fn answer(mut self, response: &Response) -> Result<(), AutonatError> {
        if *response == Response::Unreached {
            sleep_until(self.dial_deadline()).await;
        }
        self.frames.send(&codec::v1_response(response)).await?;
        self.frames.finish().await
    }
}
