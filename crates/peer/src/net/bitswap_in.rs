//! Reads Bitswap streams that a peer opened: messages are put together,
//! decoded, and their blocks hashed and decoded on the workers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_content::{Node, Prefix, node};
use peerage_exchange::codec::{MessageError, decode, decoded_size};
use peerage_exchange::limits::MESSAGE_MAX;
use peerage_identity::PeerId;
use peerage_transport::{Stream, yamux::ResetCode};
use peerage_wire::frame::{Assembler, FrameError};
use tokio::time::{Instant, timeout_at};

use super::Net;
use crate::brain::Input;
use crate::config::Limits;

/// A small block is copied out of its message, so that it does not pin it:
/// below this part of the message.
const PIN_RATIO: usize = 4;

/// Most bytes taken from the stream at once.
const CHUNK: usize = 256 * 1024;

/// How often the brain hears of a message that is not whole yet.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Why a stream was given up. The peer's fault, all but perhaps the last.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a message arrives too slowly")]
    Slow,
    #[error(transparent)]
    Stream(#[from] std::io::Error),
}

/// Reads until the stream ends.
pub(super) async fn read(net: Arc<Net>, peer: PeerId, mut stream: Stream) {
    // We never answer on a stream that the peer opened.
    stream.finish();
    match read_messages(&net, peer, &mut stream).await {
        Ok(()) => {}
        Err(ReadError::Stream(error)) => tracing::debug!(%peer, %error, "a Bitswap stream ended"),
        Err(error) => {
            tracing::debug!(%peer, %error, "a Bitswap stream is reset");
            stream.reset(ResetCode::PROTOCOL_VIOLATION);
        }
    }
}

/// How fast a message has to come.
struct Pace {
    grace: Duration,
    /// Bytes a second.
    rate: u64,
    /// When the first byte of the message under way had come.
    begun: Option<Instant>,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self { grace: limits.message_grace, rate: limits.message_pace.max(1), begun: None }
    }

    /// When the message under way has to be whole, as far as its length is known by now.
    fn deadline(&self, expected: Option<usize>) -> Option<Instant> {
        let len = expected.unwrap_or(0) as u64;
        Some(self.begun? + self.grace + Duration::from_secs(len / self.rate))
    }
}

async fn read_messages(net: &Arc<Net>, peer: PeerId, stream: &mut Stream) -> Result<(), ReadError> {
    let mut frames = Assembler::new(MESSAGE_MAX);
    let mut pace = Pace::new(&net.limits);
    // Whether the stream was told of a message in assembly.
    let mut held = false;
    let mut told = Instant::now();
    loop {
        let next = match pace.deadline(frames.expected()) {
            Some(at) => timeout_at(at, stream.read_chunk(CHUNK)).await.map_err(|_| ReadError::Slow)??,
            None => stream.read_chunk(CHUNK).await?,
        };
        let Some(mut chunk) = next else {
            return Ok(());
        };
        while !chunk.is_empty() {
            let Some(message) = frames.push(&mut chunk)? else { break };
            pace.begun = None;
            handle_message(net, peer, message).await?;
            if std::mem::take(&mut held) {
                stream.hold(0)?;
            }
        }
        if frames.is_empty() {
            continue;
        }
        stream.hold(frames.buffered())?;
        held = true;
        pace.begun.get_or_insert_with(Instant::now);
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            net.tell(Input::Arriving { peer });
        }
    }
}

async fn handle_message(net: &Arc<Net>, peer: PeerId, message: Bytes) -> Result<(), ReadError> {
    let whole = message.len();
    // Many short entries are many times as large once they are decoded.
    let room = net.pool.room(decoded_size(&message)?).await;
    let mut incoming = decode(message)?;
    let blocks = std::mem::take(&mut incoming.blocks);
    if incoming.is_empty() {
        drop(room);
    } else {
        net.tell(Input::Message { peer, incoming, room });
    }
    for (prefix, data) in blocks {
        let data = if data.len() < whole / PIN_RATIO { Bytes::copy_from_slice(&data) } else { data };
        let room = net.pool.room(data.len()).await;
        let net_too = Arc::clone(net);
        net.pool.post(move || {
            net_too.tell(match verified(&prefix, data) {
                Some(block) => Input::Block { peer, block, room },
                None => Input::BadBlock { peer },
            });
        });
    }
    Ok(())
}

/// A block that was hashed, and what it means.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) cid: peerage_content::Cid,
    pub(crate) data: Bytes,
    pub(crate) node: Result<Node, peerage_content::DecodeError>,
}

/// Hashes `data` to the CID that its prefix makes of it.
fn verified(prefix: &Prefix, data: Bytes) -> Option<Block> {
    let cid = prefix.cid_of(&data).ok()?;
    let node = node::decode(&cid, &data);
    Some(Block { cid, data, node })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_comes_in_two_pieces_gives_the_whole_time() {
        let limits = Limits { message_pace: 1000, ..Limits::default() };
        let mut pace = Pace::new(&limits);
        let mut frames = Assembler::new(MESSAGE_MAX);
        assert_eq!(pace.deadline(frames.expected()), None);
        let begun = Instant::now();
        pace.begun = Some(begun);
        // 4 MiB, as a varint.
        assert!(frames.push(&mut Bytes::from_static(&[0x80, 0x80])).unwrap().is_none());
        assert_eq!(pace.deadline(frames.expected()), Some(begun + limits.message_grace));
        assert!(frames.push(&mut Bytes::from_static(&[0x80, 0x02])).unwrap().is_none());
        let whole = Duration::from_secs((4 << 20) / 1000);
        assert_eq!(pace.deadline(frames.expected()), Some(begun + limits.message_grace + whole));
    }
}
