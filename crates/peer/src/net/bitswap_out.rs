//! Writes Bitswap to one peer: wants, cancels and presences on one stream,
//! blocks on another, so that a want never waits behind a block. Both streams
//! are opened when there is something to say and closed when idle. Blocks go at the
//! rates that the user sets, piece by piece.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_content::{Cid, Prefix};
use peerage_exchange::codec::{encode, encode_block_header, encode_blocks};
use peerage_exchange::{Outgoing, Served, Version};
use peerage_transport::{Control, OpenError, Stream, ping};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::Net;
use super::pace::{PeerLines, Turn, Way};
use crate::brain::Input;
use crate::served::SentAll;

/// Blocks below this are packed into one message, in bytes.
const SMALL: usize = 16 * 1024;

/// How much is packed into one message. Boxo's target is 16 KiB; Helia gives
/// each message 10 s, which this takes at 50 kbit/s.
const PACKED: usize = 64 * 1024;

/// Entries that messages which wait are merged up to: a message of 50 KiB.
const MERGED: usize = 1_024;

/// How long a peer that was sent everything may take to ask for more: to read
/// and decode what came, and to write. A judgement.
const SETTLE: Duration = Duration::from_secs(2);

/// Entries that may wait for a peer that does not read, each message counted as
/// one more; beyond, the connection is closed. 1.7 MB; the exchange batches, so
/// that a peer that reads has one or two messages of at most 5,000 waiting.
const BACKLOG: u32 = 16_384;

/// Bytes of a message that a peer has to take in their time. What our own send
/// buffer holds: it is taken at once as long as the peer reads.
const STEP: usize = 256 * 1024;

/// A block on its way to a peer.
pub(crate) struct BlockOut {
    pub(crate) cid: Cid,
    pub(crate) data: Bytes,
    /// Whose turn it is under a rate of ours: in the order in which blocks were handed
    /// out, so that one goes after the other.
    pub(crate) turn: Turn,
}

/// The bytes of blocks in a message, as far as they wait for a rate of ours.
struct Fare<'a> {
    lines: &'a PeerLines,
    turn: Turn,
    /// Bytes that nothing was waited for yet.
    unpaid: usize,
    /// Bytes that may go.
    paid: usize,
}

impl Fare<'_> {
    /// Waits until some of it may go; how much.
    async fn pay(&mut self) -> usize {
        let Some(piece) = self.lines.piece(Way::Up) else { return usize::MAX };
        if self.paid == 0 && self.unpaid > 0 {
            let bytes = piece.min(self.unpaid);
            self.lines.wait(Way::Up, self.turn, bytes).await;
            self.unpaid -= bytes;
            self.paid = bytes;
        }
        // What is around the blocks costs nothing.
        if self.paid > 0 { self.paid } else { usize::MAX }
    }

    /// So many bytes went.
    fn went(&mut self, bytes: usize) {
        let unpaid = bytes.saturating_sub(self.paid);
        self.paid = self.paid.saturating_sub(bytes);
        self.unpaid = self.unpaid.saturating_sub(unpaid);
    }
}

/// What the writer of blocks is to do.
pub(crate) enum Queued {
    /// Send one.
    Block(BlockOut),
    /// Find out whether all before has come to the peer.
    Confirm(SentAll),
}

/// A message that waits, and its part of the backlog.
type Waiting = (Outgoing, OwnedSemaphorePermit);

/// The two writers of one peer; they end when this is dropped.
pub(crate) struct PeerWriters {
    /// The connection that they are on.
    pub(crate) number: u64,
    messages: mpsc::UnboundedSender<Waiting>,
    backlog: Arc<Semaphore>,
    pub(crate) blocks: mpsc::UnboundedSender<Queued>,
}

impl PeerWriters {
    /// Starts the writers on a connection with the peer.
    pub(crate) fn start(net: &Arc<Net>, control: &Control, number: u64, version: Version) -> Self {
        let (messages, outgoing) = mpsc::unbounded_channel();
        // Bounded by the send credit that the exchange spends on each block.
        let (blocks, queue) = mpsc::unbounded_channel();
        let writer =
            || Writer { net: Arc::clone(net), control: control.clone(), number, version, stream: None };
        tokio::spawn(write_messages(writer(), outgoing));
        tokio::spawn(write_blocks(writer(), queue));
        Self { number, messages, backlog: Arc::new(Semaphore::new(BACKLOG as usize)), blocks }
    }

    /// Queues a message; false if the peer does not read.
    pub(crate) fn send(&self, message: Outgoing) -> bool {
        let entries = message.wants.len() + message.cancels.len() + message.presences.len();
        let share = u32::try_from(entries).unwrap_or(u32::MAX).saturating_add(1).min(BACKLOG);
        let Ok(share) = Arc::clone(&self.backlog).try_acquire_many_owned(share) else { return false };
        self.messages.send((message, share)).is_ok()
    }
}

/// One outbound stream that is opened at need.
struct Writer {
    net: Arc<Net>,
    control: Control,
    number: u64,
    version: Version,
    stream: Option<Stream>,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the peer does not read")]
    Stuck,
}

impl Writer {
    /// Writes chunks that belong together; once more on a new stream if the
    /// old one turns out to be closed.
    async fn write(&mut self, chunks: &[Bytes]) -> Result<(), WriteError> {
        self.write_at(chunks, None).await
    }

    /// The same at the rates of ours. The last chunk has so many bytes of blocks.
    async fn write_at(
        &mut self,
        chunks: &[Bytes],
        payload: Option<(&PeerLines, Turn, usize)>,
    ) -> Result<(), WriteError> {
        let reused = self.stream.is_some();
        let fare = || payload.map(|(lines, turn, unpaid)| Fare { lines, turn, unpaid, paid: 0 });
        match self.try_write(chunks, fare()).await {
            Err(WriteError::Io(_)) if reused => self.try_write(chunks, fare()).await,
            result => result,
        }
    }

    async fn try_write(&mut self, chunks: &[Bytes], mut fare: Option<Fare<'_>>) -> Result<(), WriteError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.in_time(0, self.control.open(self.version.protocol())).await?,
        };
        for (nth, chunk) in chunks.iter().enumerate() {
            let mut rest = chunk.clone();
            while !rest.is_empty() {
                let mut most = STEP;
                if let Some(fare) = &mut fare {
                    // Before the header, too: from then on the peer counts the time.
                    let paid = fare.pay().await;
                    most = if nth + 1 < chunks.len() { STEP } else { paid.min(STEP) };
                }
                let step = rest.split_to(rest.len().min(most));
                let len = step.len();
                self.in_time(len, stream.write_chunk(step)).await?;
                if let Some(fare) = fare.as_mut().filter(|_| nth + 1 == chunks.len()) {
                    fare.went(len);
                }
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Waits for what a peer that reads does in the time for so many bytes.
    async fn in_time<T, E: Into<WriteError>>(
        &self,
        bytes: usize,
        what: impl Future<Output = Result<T, E>>,
    ) -> Result<T, WriteError> {
        let done = timeout(self.net.limits.time_for(bytes as u64), what).await;
        done.map_err(|_| WriteError::Stuck)?.map_err(Into::into)
    }

    /// Waits until the connection has taken all that was written, and finishes
    /// the stream: what is unread of it then survives the connection's end.
    async fn drain(&mut self) -> Result<(), WriteError> {
        if let Some(mut stream) = self.stream.take() {
            self.in_time(STEP, stream.drained()).await?;
            self.stream = Some(stream);
        }
        self.idle();
        Ok(())
    }

    fn idle(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.finish();
        }
    }

    /// A stream that fails again on a live connection: that is of no use.
    fn give_up(&self, error: &WriteError) {
        let peer = self.control.peer();
        tracing::debug!(%peer, %error, "cannot write Bitswap");
        self.net.tell(Input::WriterFailed { peer, number: self.number });
    }
}

async fn write_messages(mut writer: Writer, mut outgoing: mpsc::UnboundedReceiver<Waiting>) {
    let idle = writer.net.limits.stream_idle;
    let mut ahead = None;
    loop {
        let message = match ahead.take() {
            Some(message) => Some(message),
            None => match timeout(idle, outgoing.recv()).await {
                Err(_) => {
                    writer.idle();
                    outgoing.recv().await
                }
                Ok(message) => message,
            },
        };
        let Some((mut message, mut share)) = message else { return writer.idle() };
        while message.wants.len() + message.presences.len() < MERGED {
            let Ok((next, next_share)) = outgoing.try_recv() else { break };
            if next.full || !next.cancels.is_empty() {
                // A cancel takes back what was said before it; within one
                // message it would come first.
                ahead = Some((next, next_share));
                break;
            }
            share.merge(next_share);
            message.wants.extend(next.wants);
            message.presences.extend(next.presences);
        }
        let chunk = encode(&message, writer.version);
        if let Err(error) = writer.write(&[chunk]).await {
            return writer.give_up(&error);
        }
    }
}

async fn write_blocks(mut writer: Writer, mut queue: mpsc::UnboundedReceiver<Queued>) {
    let idle = writer.net.limits.stream_idle;
    let peer = writer.control.peer();
    let lines = writer.net.paced.of(peer);
    let mut batch = Vec::new();
    let mut ahead: Option<Queued> = None;
    loop {
        let first = match ahead.take() {
            Some(block) => Some(block),
            None => match timeout(idle, queue.recv()).await {
                Err(_) => {
                    writer.idle();
                    queue.recv().await
                }
                Ok(block) => block,
            },
        };
        let first = match first {
            Some(Queued::Block(block)) => block,
            Some(Queued::Confirm(sent)) => {
                if let Err(error) = writer.drain().await {
                    return fail_rest(&writer, &error, &mut queue, None).await;
                }
                tokio::spawn(confirm(Arc::clone(&writer.net), writer.control.clone(), sent));
                continue;
            }
            None => return writer.idle(),
        };
        ahead = pack(first, &mut batch, &mut queue);
        let payload = batch.iter().map(|block| block.data.len()).sum();
        let payload = batch.first().map(|first| (&*lines, first.turn, payload));
        let written = writer.write_at(&chunks(&batch, writer.version), payload).await;
        for block in batch.drain(..) {
            let served = match &written {
                Ok(()) => Served::Sent(u32::try_from(block.data.len()).unwrap_or(u32::MAX)),
                Err(_) => Served::Failed,
            };
            writer.net.tell(Input::Served { peer, cid: block.cid, served });
        }
        if let Err(error) = written {
            return fail_rest(&writer, &error, &mut queue, ahead).await;
        }
    }
}

/// Puts small blocks that wait behind a small one into its message; what is
/// next and does not fit is returned.
fn pack(
    first: BlockOut,
    batch: &mut Vec<BlockOut>,
    queue: &mut mpsc::UnboundedReceiver<Queued>,
) -> Option<Queued> {
    let mut len = first.data.len();
    batch.push(first);
    if len >= SMALL {
        return None;
    }
    loop {
        match queue.try_recv() {
            Ok(Queued::Block(next)) if next.data.len() < SMALL && len + next.data.len() <= PACKED => {
                len += next.data.len();
                batch.push(next);
            }
            next => return next.ok(),
        }
    }
}

/// What is still queued has failed, too; its credit must come back.
async fn fail_rest(
    writer: &Writer,
    error: &WriteError,
    queue: &mut mpsc::UnboundedReceiver<Queued>,
    ahead: Option<Queued>,
) {
    writer.give_up(error);
    let peer = writer.control.peer();
    let mut next = ahead;
    loop {
        if let Some(Queued::Block(block)) = next {
            writer.net.tell(Input::Served { peer, cid: block.cid, served: Served::Failed });
        }
        next = queue.recv().await;
        if next.is_none() {
            return;
        }
    }
}

/// Says that all has come to the peer that was sent before: it answers what is
/// sent after that, whatever it answers. Then its turn is to ask for more.
async fn confirm(net: Arc<Net>, control: Control, sent: SentAll) {
    loop {
        let Ok(mut stream) = control.open(ping::PROTOCOL).await else { return };
        stream.finish();
        match stream.negotiated().await {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::Unsupported => break,
            // Much may be on the way before it.
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(_) => return,
        }
    }
    sleep(SETTLE).await;
    net.tell(Input::Received(sent));
}

fn chunks(batch: &[BlockOut], version: Version) -> Vec<Bytes> {
    match batch {
        [block] => {
            let len = u32::try_from(block.data.len()).unwrap_or(u32::MAX);
            vec![encode_block_header(&Prefix::of(&block.cid), len, version), block.data.clone()]
        }
        blocks => {
            let blocks: Vec<_> =
                blocks.iter().map(|block| (Prefix::of(&block.cid), block.data.clone())).collect();
            vec![encode_blocks(&blocks, version)]
        }
    }
}

#[cfg(test)]
mod tests;
