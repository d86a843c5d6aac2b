//! AutoNAT v2: is this address reachable? With proof.
//!
//! libp2p `autonat/autonat-v2.md`. The asker sends addresses and a number; the
//! server dials the first that it is willing to, brings the number there on a
//! stream of its own, and says what came of it. Before it dials another IP
//! address than the asker's it asks for bytes, so that nobody gains by making
//! it dial a third one. Left out: the dial, which needs a new connection from
//! another port than the one that the server listens on, closed afterwards.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use peerage_identity::Multiaddr;
use peerage_wire::autonat_v2::{DialBack, DialBackResponse};
use peerage_wire::{Message, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use super::back::is_consistent;
use super::codec::{self, V2Reply};
use super::{AutonatError, Frames};

pub use super::back::DialBacks;

/// What askers open.
pub const DIAL_PROTOCOL: &str = "/libp2p/autonat/2/dial-request";
/// What servers open on the connection that they made.
pub const BACK_PROTOCOL: &str = "/libp2p/autonat/2/dial-back";
/// Bytes of one message. 8 KiB as go-libp2p.
pub const MAX_MESSAGE: usize = 8192;
/// Bytes of one message of the dial-back. 1 KiB as go-libp2p.
pub const MAX_BACK_MESSAGE: usize = 1024;
/// Addresses of a request that are looked at. 50 as go-libp2p.
pub const MAX_ADDRS: usize = 50;
/// From the opening of the stream to the answer. 15 s as go-libp2p, on both sides.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// How long the dial may take. 10 s as go-libp2p.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long either side of the dial-back waits for the other. 5 s as go-libp2p.
pub const BACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes that are sent for a dial: the spec's upper end.
pub const MAX_DIAL_DATA: u64 = 100_000;
/// Bytes of one message of those. The spec allows 4,096; go-libp2p sends this.
const DATA_CHUNK: usize = 4000;
/// A message of those with fewer bytes, before the last, costs us more than it
/// costs the asker. As go-libp2p.
const MIN_DATA_CHUNK: usize = 100;
static ZEROS: [u8; DATA_CHUNK] = [0; DATA_CHUNK];

/// What an asker wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it wants to be dialled, the most wanted first, with the place of
    /// each in its list; those that cannot be read are left out.
    pub addrs: Vec<(u32, Multiaddr)>,
    /// What to bring back.
    pub nonce: u64,
}

/// What a dial came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialStatus {
    /// The number was brought back.
    Reached,
    /// There was a connection, but the number did not get through.
    NotDelivered,
    /// There was no connection.
    Unreached,
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// It failed for reasons of its own.
    Failed,
    /// Too much of late.
    Busy,
    /// It dials none of these.
    Refused,
    /// It dialled the address in this place of the list.
    Dialled(u32, DialStatus),
}

/// What an asker learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The address in this place was reached: the number came back.
    Reached(usize),
    /// The server says that it could not reach the address in this place.
    Unreached(usize),
    /// It would not dial any.
    Refused,
    /// It has too much to do.
    Busy,
    /// It says that it brought the number back, and it did not, or by a
    /// connection of another kind than the address.
    Lied,
    /// Nothing: an error of the server's.
    Inconclusive,
}

/// Asks whether we can be dialled at the first of `addrs` that the server is
/// willing to try. `nonce` has to be hard to guess, and new each time.
///
/// # Errors
/// See [`AutonatError`]. Drop the stream then, so that it is reset.
pub async fn ask<T>(
    io: T,
    addrs: &[Multiaddr],
    nonce: u64,
    backs: &DialBacks,
) -> Result<Outcome, AutonatError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(io, MAX_MESSAGE, TIMEOUT);
    let mut expected = backs.expect(nonce);
    frames.send(&codec::v2_request(addrs, nonce)).await?;
    let response = match codec::read_v2_reply(&frames.next().await?)? {
        V2Reply::Response(response) => response,
        V2Reply::WantsData(index, bytes) => {
            place(index, addrs)?;
            send_data(&mut frames, bytes).await?;
            match codec::read_v2_reply(&frames.next().await?)? {
                V2Reply::Response(response) => response,
                V2Reply::WantsData(..) => return Err(AutonatError::Malformed),
            }
        }
    };
    frames.finish().await?;
    let (index, status) = match response {
        Response::Failed => return Ok(Outcome::Inconclusive),
        Response::Busy => return Ok(Outcome::Busy),
        Response::Refused => return Ok(Outcome::Refused),
        Response::Dialled(index, status) => (place(index, addrs)?, status),
    };
    if status == DialStatus::Unreached {
        return Ok(Outcome::Unreached(index));
    }
    // It usually comes before the answer.
    let came = timeout(BACK_TIMEOUT, &mut expected.came).await.ok().and_then(Result::ok);
    let proven = came.is_some_and(|local| is_consistent(&local, &addrs[index]));
    Ok(match status {
        _ if proven => Outcome::Reached(index),
        DialStatus::Reached => Outcome::Lied,
        DialStatus::NotDelivered | DialStatus::Unreached => Outcome::Inconclusive,
    })
}

/// A place in our list.
fn place(index: u32, addrs: &[Multiaddr]) -> Result<usize, AutonatError> {
    let index = usize::try_from(index).map_err(|_| AutonatError::Malformed)?;
    if index < addrs.len() { Ok(index) } else { Err(AutonatError::Malformed) }
}

async fn send_data<T>(frames: &mut Frames<T>, bytes: u64) -> Result<(), AutonatError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    if bytes > MAX_DIAL_DATA {
        return Err(AutonatError::TooMuchData(bytes));
    }
    let whole = frame::encode(&codec::v2_data(Bytes::from_static(&ZEROS)));
    let mut left = usize::try_from(bytes).map_err(|_| AutonatError::TooMuchData(bytes))?;
    while left > 0 {
        // The last may be larger than what is owed: the spec wants servers to
        // bear that, and one encoding serves for all.
        frames.write(&whole).await?;
        left = left.saturating_sub(DATA_CHUNK);
    }
    Ok(())
}

/// The server's side, between the request and the answer.
#[derive(Debug)]
pub struct Serving<T> {
    frames: Frames<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<T> {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// See [`AutonatError`]. Drop the stream then, so that it is reset.
    pub async fn receive(io: T) -> Result<(Self, Request), AutonatError> {
        let mut frames = Frames::new(io, MAX_MESSAGE, TIMEOUT);
        let request = codec::read_v2_request(&frames.next().await?)?;
        Ok((Self { frames }, request))
    }

    /// Asks for `bytes` bytes before the address in place `index` is dialled,
    /// and reads them. Never more than a message in memory.
    ///
    /// # Errors
    /// If they do not come, or too slowly, or in tiny pieces.
    pub async fn take_data(&mut self, index: u32, bytes: u32) -> Result<(), AutonatError> {
        self.frames.send(&codec::v2_reply(&V2Reply::WantsData(index, bytes.into()))).await?;
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let come = codec::read_v2_data(&self.frames.next().await?)?;
            if come < MIN_DATA_CHUNK.min(left) {
                return Err(AutonatError::Trickle);
            }
            left = left.saturating_sub(come);
        }
        Ok(())
    }

    /// By when the dial, and the number's delivery, have to be over for the
    /// answer to be of use.
    #[must_use]
    pub fn dial_deadline(&self) -> Instant {
        (Instant::now() + DIAL_TIMEOUT).min(self.frames.deadline)
    }

    /// Answers.
    ///
    /// # Errors
    /// See [`AutonatError`].
    pub async fn answer(mut self, response: Response) -> Result<(), AutonatError> {
        self.frames.send(&codec::v2_reply(&V2Reply::Response(response))).await?;
        self.frames.finish().await
    }
}

/// The server's side of the dial-back, on a stream of the connection that it
/// made: brings `nonce`, and waits for the answer, so that the connection can
/// be closed then. Ok is [`DialStatus::Reached`], an error
/// [`DialStatus::NotDelivered`], as is a stream that cannot be opened.
///
/// [`BACK_PROTOCOL`] has to be agreed on already (`Control::open_any`): of a
/// lazy proposal a refusal and an answer could look alike, since either may be
/// overtaken by a reset.
///
/// # Errors
/// See [`AutonatError`].
pub async fn dial_back<T>(io: T, nonce: u64) -> Result<(), AutonatError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(io, MAX_BACK_MESSAGE, BACK_TIMEOUT);
    frames.send(&DialBack { nonce }).await?;
    frames.finish().await?;
    // One byte tells: the answer has nothing in it but its own being.
    match timeout_at(frames.deadline, frames.io.read(&mut [0])).await {
        Ok(Ok(_)) => Ok(()),
        // go-libp2p resets the stream behind its answer, which may overtake it.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(AutonatError::Timeout(BACK_TIMEOUT)),
    }
}

/// The asker's side of the dial-back, on a stream that was opened for
/// [`BACK_PROTOCOL`] by whomever, over a connection that came in at our address
/// `local`: takes the number to whoever waits for it.
///
/// # Errors
/// If nobody waits for it, or it makes no sense. Drop the stream then, so that
/// it is reset.
pub async fn receive_dial_back<T>(io: T, local: &Multiaddr, backs: &DialBacks) -> Result<(), AutonatError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(io, MAX_BACK_MESSAGE, BACK_TIMEOUT);
    let message = frames.next().await?;
    let back = DialBack::decode(message).map_err(|_| AutonatError::Malformed)?;
    if !backs.deliver(back.nonce, local) {
        return Err(AutonatError::UnknownNonce);
    }
    frames.send(&DialBackResponse::default()).await?;
    frames.finish().await
}
