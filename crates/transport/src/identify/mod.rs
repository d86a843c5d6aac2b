//! Identify (`/ipfs/id/1.0.0`) and identify push (`/ipfs/id/push/1.0.0`):
//! what a peer speaks, where it listens, and how it sees us.
//!
//! libp2p `identify/README.md`. In identify the listener of the stream talks,
//! in push the opener; then the talker ends the stream. go-libp2p spreads
//! what it says over several messages, rust-libp2p says it in one and reads
//! only one.

mod codec;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId, PeerRecord, PublicKey};
use peerage_wire::frame::{Assembler, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

pub use codec::{
    MAX_ADDRS, MAX_MESSAGE, MAX_MESSAGES, MAX_OWN_MESSAGE, MAX_PROTOCOLS, MAX_TEXT, SPLIT_ABOVE, encode,
};

/// Asks the other side.
pub const PROTOCOL: &str = "/ipfs/id/1.0.0";
/// Tells the other side.
pub const PUSH_PROTOCOL: &str = "/ipfs/id/push/1.0.0";
/// How long one exchange may take. go-libp2p allows 5 s; twice that, since
/// the round trips of a slow uplink that is full come out of it too.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// What one peer says of itself, and of the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// The peer's key, if it said one that can be read. The connection's own
    /// is proven; this one is not.
    pub public_key: Option<PublicKey>,
    /// Where it listens.
    pub listen_addrs: Vec<Multiaddr>,
    /// What it speaks.
    pub protocols: Vec<String>,
    /// The address that it sees the other under.
    pub observed_addr: Option<Multiaddr>,
    /// Such as `ipfs/0.1.0`; Kubo sends none. Never a reason to refuse.
    pub protocol_version: Option<String>,
    /// The program and its version, as it calls itself. Escape before printing.
    pub agent_version: Option<String>,
    /// An envelope with a peer record, not opened yet: see [`record`](Self::record).
    pub signed_peer_record: Option<Bytes>,
}

impl Info {
    /// The signed record, if there is one that `peer` itself signed. Its
    /// addresses go before `listen_addrs`.
    #[must_use]
    pub fn record(&self, peer: &PeerId) -> Option<PeerRecord> {
        let record = PeerRecord::open(self.signed_peer_record.as_ref()?).ok()?;
        (record.peer_id == *peer).then_some(record)
    }

    /// Where `peer` listens: what it signed, else what it said.
    #[must_use]
    pub fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.record(peer).map_or_else(|| self.listen_addrs.clone(), |record| record.addrs)
    }
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// The stream failed, or ended before a message.
    #[error("identify: {0}")]
    Io(#[from] io::Error),
    /// Nothing came, or was taken, within this.
    #[error("the peer did not identify itself within {0:?}")]
    Timeout(Duration),
    /// A message over its limit.
    #[error("identify: {0}")]
    Frame(#[from] FrameError),
    /// Not the protobuf message that it has to be, or too many fields.
    #[error("the peer's identify message is malformed")]
    Malformed,
}

/// Says `info` and ends our side of the stream: what the listener of
/// [`PROTOCOL`] and the opener of [`PUSH_PROTOCOL`] do.
///
/// # Errors
/// If the stream fails or takes nothing for [`TIMEOUT`].
pub async fn send<T: AsyncWrite + Unpin>(io: &mut T, info: &Info) -> Result<(), IdentifyError> {
    let messages = encode(info);
    let sending = async {
        io.write_all(&messages).await?;
        io.shutdown().await
    };
    timeout_at(Instant::now() + TIMEOUT, sending).await.map_err(|_| IdentifyError::Timeout(TIMEOUT))??;
    Ok(())
}

/// Reads what the other side says until it ends its side: what the opener of
/// [`PROTOCOL`] and the listener of [`PUSH_PROTOCOL`] do. A talker that does
/// not end the stream has `limit`; what it said until then counts.
///
/// # Errors
/// See [`IdentifyError`].
pub async fn receive<T: AsyncRead + Unpin>(io: &mut T, limit: Duration) -> Result<Info, IdentifyError> {
    let deadline = Instant::now() + limit;
    let mut frames = Assembler::new(MAX_MESSAGE);
    let mut info = None;
    let mut messages = 0;
    let mut buf = vec![0; MAX_MESSAGE];
    loop {
        let read = match timeout_at(deadline, io.read(&mut buf)).await {
            Ok(read) => read?,
            Err(_) => return info.ok_or(IdentifyError::Timeout(limit)),
        };
        if read == 0 {
            let whole = info.filter(|_| frames.is_empty());
            return whole.ok_or_else(|| IdentifyError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut chunk = Bytes::copy_from_slice(&buf[..read]);
        while !chunk.is_empty() {
            let Some(message) = frames.push(&mut chunk)? else { break };
            codec::merge(info.get_or_insert_default(), &message)?;
            messages += 1;
            if messages == MAX_MESSAGES {
                return info.ok_or(IdentifyError::Malformed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
