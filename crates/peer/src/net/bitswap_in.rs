//! Reads Bitswap streams that a peer opened: messages are put together,
//! decoded, and their blocks hashed and decoded on the workers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_content::{Node, Prefix, node};
use peerage_exchange::codec::{MessageError, decode};
use peerage_identity::PeerId;
use peerage_transport::{Stream, yamux::ResetCode};
use peerage_wire::frame::{Assembler, FrameError};
use tokio::time::{Instant, timeout_at};

use super::Net;
use crate::brain::Input;

/// Largest message (boxo's `MessageSizeMax`), in bytes.
const MESSAGE_MAX: usize = 4 << 20;

/// A small block is copied out of its message, so that it does not pin it:
/// below this part of the message.
const PIN_RATIO: usize = 4;

/// Most bytes taken from the stream at once.
const CHUNK: usize = 256 * 1024;

/// How often the brain hears of a message that is not whole yet.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Why a stream was given up. The peer's fault, all but the last.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a message arrives too slowly")]
    Slow,
    #[error("too much is unread already")]
    Budget,
    #[error(transparent)]
    Stream(#[from] std::io::Error),
}

/// Reads until the stream ends.
pub(super) async fn read(net: Arc<Net>, peer: PeerId, mut stream: Stream) {
    // We never answer on a stream that the peer opened.
    stream.finish();
    let mut budget = Assembly { net: Arc::clone(&net), held: 0 };
    match read_messages(&net, peer, &mut stream, &mut budget).await {
        Ok(()) => {}
        Err(ReadError::Stream(error)) => tracing::debug!(%peer, %error, "a Bitswap stream ended"),
        Err(error) => {
            tracing::debug!(%peer, %error, "a Bitswap stream is reset");
            stream.reset(ResetCode::PROTOCOL_VIOLATION);
        }
    }
}

/// The part of the inbound budget that the message in assembly holds.
struct Assembly {
    net: Arc<Net>,
    held: u64,
}

impl Assembly {
    fn hold(&mut self, bytes: u64) -> bool {
        if bytes <= self.held {
            return true;
        }
        let taken = self.net.inbound.take(bytes - self.held);
        if taken {
            self.held = bytes;
        }
        taken
    }

    fn release(&mut self) {
        self.net.inbound.give(std::mem::take(&mut self.held));
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.release();
    }
}

async fn read_messages(
    net: &Arc<Net>,
    peer: PeerId,
    stream: &mut Stream,
    budget: &mut Assembly,
) -> Result<(), ReadError> {
    let mut frames = Assembler::new(MESSAGE_MAX);
    let mut deadline: Option<Instant> = None;
    let mut told = Instant::now();
    loop {
        let next = match deadline {
            Some(at) => timeout_at(at, stream.read_chunk(CHUNK)).await.map_err(|_| ReadError::Slow)??,
            None => stream.read_chunk(CHUNK).await?,
        };
        let Some(mut chunk) = next else {
            return Ok(());
        };
        while !chunk.is_empty() {
            let Some(message) = frames.push(&mut chunk)? else { break };
            deadline = None;
            handle_message(net, peer, message).await?;
            budget.release();
        }
        if frames.is_empty() {
            continue;
        }
        if !budget.hold(frames.buffered() as u64) {
            return Err(ReadError::Budget);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            net.tell(Input::Arriving { peer });
        }
        if deadline.is_none() {
            let len = frames.expected().unwrap_or(0) as u64;
            let pace = Duration::from_secs(len / net.limits.message_pace.max(1));
            deadline = Some(Instant::now() + net.limits.message_grace + pace);
        }
    }
}

async fn handle_message(net: &Arc<Net>, peer: PeerId, message: Bytes) -> Result<(), ReadError> {
    let whole = message.len();
    let mut incoming = decode(message)?;
    let blocks = std::mem::take(&mut incoming.blocks);
    if !incoming.is_empty() {
        let room = net.pool.room(incoming.entry_bytes()).await;
        net.tell(Input::Message { peer, incoming, room });
    }
    for (prefix, data) in blocks {
        let data = if data.len() < whole / PIN_RATIO { Bytes::copy_from_slice(&data) } else { data };
        let room = net.pool.room(data.len()).await;
        let net_too = Arc::clone(net);
        net.pool.post(move || {
            if let Some(block) = verified(&prefix, data) {
                net_too.tell(Input::Block { peer, block, room });
            } else {
                tracing::debug!(%peer, "a block under a prefix that cannot be hashed");
            }
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
