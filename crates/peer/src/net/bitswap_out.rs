//! Writes Bitswap to one peer: wants, cancels and presences on one stream,
//! blocks on another, so that a want never waits behind a block. Both streams
//! are opened when there is something to say and closed when idle.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_content::{Cid, Prefix};
use peerage_exchange::codec::{encode, encode_block_header, encode_blocks};
use peerage_exchange::{Outgoing, Served, Version};
use peerage_transport::{Control, OpenError, Stream, ping};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Net;
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

/// Messages that may wait for a peer that does not read: after this many it
/// is closed. The exchange batches, so that a peer that reads has one or two.
const BACKLOG: usize = 256;

/// A block on its way to a peer.
pub(crate) struct BlockOut {
    pub(crate) cid: Cid,
    pub(crate) data: Bytes,
}

/// What the writer of blocks is to do.
pub(crate) enum Queued {
    /// Send one.
    Block(BlockOut),
    /// Find out whether all before has come to the peer.
    Confirm(SentAll),
}

/// The two writers of one peer; they end when this is dropped.
pub(crate) struct PeerWriters {
    messages: mpsc::Sender<Outgoing>,
    pub(crate) blocks: mpsc::UnboundedSender<Queued>,
}

impl PeerWriters {
    /// Starts the writers on a connection with the peer.
    pub(crate) fn start(net: &Arc<Net>, control: &Control, version: Version) -> Self {
        let (messages, outgoing) = mpsc::channel(BACKLOG);
        // Bounded by the send credit that the exchange spends on each block.
        let (blocks, queue) = mpsc::unbounded_channel();
        let writer = Writer { net: Arc::clone(net), control: control.clone(), version, stream: None };
        tokio::spawn(write_messages(writer, outgoing));
        let writer = Writer { net: Arc::clone(net), control: control.clone(), version, stream: None };
        tokio::spawn(write_blocks(writer, queue));
        Self { messages, blocks }
    }

    /// Queues a message; false if the peer does not read.
    pub(crate) fn send(&self, message: Outgoing) -> bool {
        self.messages.try_send(message).is_ok()
    }
}

/// One outbound stream that is opened at need.
struct Writer {
    net: Arc<Net>,
    control: Control,
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
        let reused = self.stream.is_some();
        match self.try_write(chunks).await {
            Err(WriteError::Io(_)) if reused => self.try_write(chunks).await,
            result => result,
        }
    }

    async fn try_write(&mut self, chunks: &[Bytes]) -> Result<(), WriteError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.control.open(self.version.protocol()).await?,
        };
        for chunk in chunks {
            timeout(self.net.limits.write_timeout, stream.write_chunk(chunk.clone()))
                .await
                .map_err(|_| WriteError::Stuck)??;
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Waits until the connection has taken all that was written, and finishes
    /// the stream: what is unread of it then survives the connection's end.
    async fn drain(&mut self) -> Result<(), WriteError> {
        if let Some(stream) = &mut self.stream {
            let drained = timeout(self.net.limits.write_timeout, stream.drained()).await;
            drained.map_err(|_| WriteError::Stuck)??;
        }
        self.idle();
        Ok(())
    }

    fn idle(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.finish();
        }
    }

    /// A stream that fails again on a live connection: the peer is of no use.
    fn give_up(&self, error: &WriteError) {
        let peer = self.control.peer();
        tracing::debug!(%peer, %error, "cannot write Bitswap");
        self.net.tell(Input::WriterFailed { peer });
    }
}

async fn write_messages(mut writer: Writer, mut outgoing: mpsc::Receiver<Outgoing>) {
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
        let Some(mut message) = message else { return writer.idle() };
        while message.wants.len() + message.presences.len() < MERGED {
            let Ok(next) = outgoing.try_recv() else { break };
            if next.full || !next.cancels.is_empty() {
                // A cancel takes back what was said before it; within one
                // message it would come first.
                ahead = Some(next);
                break;
            }
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
        let mut len = first.data.len();
        batch.push(first);
        while len < SMALL {
            match queue.try_recv() {
                Ok(Queued::Block(next)) if next.data.len() < SMALL && len + next.data.len() <= PACKED => {
                    len += next.data.len();
                    batch.push(next);
                }
                next => {
                    ahead = next.ok();
                    break;
                }
            }
        }
        let written = writer.write(&chunks(&batch, writer.version)).await;
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
