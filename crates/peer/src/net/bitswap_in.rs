//! Reads Bitswap streams that a peer opened: messages are put together,
//! decoded, and their blocks hashed and decoded on the workers. They are taken in at
//! the rates that the user sets.

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
use super::pace::{PeerLines, Way};
use super::payload::PayloadMeter;
use crate::brain::Input;
use crate::config::Limits;

/// A small block is copied out of its message, so that it does not pin it:
/// below this part of the message.
const PIN_RATIO: usize = 4;

/// Most bytes taken from the stream at once.
const CHUNK: usize = 256 * 1024;

/// The same at a rate of ours, while no block is known to come: the start of a message
/// and of its first block, and of that little.
const HEADER: usize = 1024;

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

    /// For so long it was us who did not take what may have come.
    fn pause(&mut self, time: Duration) {
        if let Some(begun) = &mut self.begun {
            *begun += time;
        }
    }

    /// When the message under way has to be whole, as far as its length is known by now.
    fn deadline(&self, expected: Option<usize>) -> Option<Instant> {
        let len = expected.unwrap_or(0) as u64;
        Some(self.begun? + self.grace + Duration::from_secs(len / self.rate))
    }
}

/// Takes in blocks at the rates of ours, so that the stream's window holds back who
/// sends faster.
struct Intake {
    lines: Arc<PeerLines>,
    meter: PayloadMeter,
    /// Bytes of blocks that came and were not waited for: those that could not be
    /// told from what stands before them.
    owed: usize,
    /// Bytes of blocks that were waited for and have not come.
    paid: usize,
}

impl Intake {
    fn new(lines: Arc<PeerLines>) -> Self {
        Self { lines, meter: PayloadMeter::default(), owed: 0, paid: 0 }
    }

    /// Waits until some of what comes may be taken in; how much.
    async fn pay(&mut self) -> usize {
        let Some(piece) = self.lines.piece(Way::Down) else {
            (self.owed, self.paid) = (0, 0);
            return CHUNK;
        };
        let ahead = usize::try_from(self.meter.ahead()).unwrap_or(usize::MAX);
        if ahead > 0 && self.paid == 0 || self.owed > 0 {
            let more = if self.paid == 0 { piece.min(ahead) } else { 0 };
            // Streams in turn, piece by piece: who sends and is not read for long gives up.
            let turn = self.lines.turn();
            self.lines.wait(Way::Down, turn, self.owed + more).await;
            (self.owed, self.paid) = (0, self.paid + more);
        }
        if ahead > 0 { self.paid.min(ahead) } else { HEADER }
    }

    /// This came.
    fn came(&mut self, chunk: &[u8]) {
        let payload = usize::try_from(self.meter.push(chunk)).unwrap_or(usize::MAX);
        self.owed += payload.saturating_sub(self.paid);
        self.paid = self.paid.saturating_sub(payload);
    }
}

async fn read_messages(net: &Arc<Net>, peer: PeerId, stream: &mut Stream) -> Result<(), ReadError> {
    let mut frames = Assembler::new(MESSAGE_MAX);
    let mut pace = Pace::new(&net.limits);
    // Whether the stream was told of a message in assembly.
    let mut held = false;
    let mut told = Instant::now();
    let mut intake = Intake::new(net.paced.of(peer));
    loop {
        let before = Instant::now();
        let most = intake.pay().await;
        pace.pause(before.elapsed());
        let next = match pace.deadline(frames.expected()) {
            Some(at) => timeout_at(at, stream.read_chunk(most)).await.map_err(|_| ReadError::Slow)??,
            None => stream.read_chunk(most).await?,
        };
        let Some(mut chunk) = next else {
            return Ok(());
        };
        intake.came(&chunk);
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
    use std::num::NonZeroU64;

    use peerage_content::{Cid, Multihash};
    use peerage_exchange::codec::encode_block_header;
    use peerage_exchange::{Outgoing, Version, codec};
    use peerage_identity::Keypair;
    use peerage_transport::Clock;

    use super::*;
    use crate::config::Rates;
    use crate::net::pace::Paced;

    fn cid(n: u8) -> Cid {
        Cid::new_v1(0x55, Multihash::wrap(0x12, &[n; 32]).unwrap())
    }

    /// A message with one block, as it comes.
    fn block(len: u32) -> Bytes {
        let mut message = encode_block_header(&Prefix::of(&cid(0)), len, Version::V1_2).to_vec();
        message.resize(message.len() + len as usize, 7);
        message.into()
    }

    /// Takes in a stream that is all here, and says how much when.
    async fn take(rates: Rates, mut stream: Bytes) -> Vec<(Duration, usize)> {
        let paced = Paced::new(rates, Clock::start());
        let mut intake = Intake::new(paced.of(Keypair::from_seed([1; 32]).peer_id()));
        let (start, mut taken) = (Instant::now(), Vec::new());
        while !stream.is_empty() {
            let most = intake.pay().await;
            let chunk = stream.split_to(most.min(stream.len()));
            intake.came(&chunk);
            taken.push((start.elapsed(), chunk.len()));
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_are_taken_in_at_the_rate_however_they_are_packed() {
        let rate = NonZeroU64::new(100_000);
        for (len, count) in [(1_000_000, 1), (50_000, 20), (1_000, 1_000)] {
            let stream = Bytes::from(block(len).repeat(count));
            for rates in
                [Rates { down: rate, ..Rates::default() }, Rates { down_per_peer: rate, ..Rates::default() }]
            {
                let taken = take(rates, stream.clone()).await;
                let whole = taken.last().unwrap().0.as_secs_f64();
                assert!((9.8..10.4).contains(&whole), "{whole} s of virtual time for blocks of {len}");
                for second in 0..8 {
                    let span = Duration::from_secs(second)..Duration::from_secs(second + 2);
                    let sum: usize =
                        taken.iter().filter(|(at, _)| span.contains(at)).map(|(_, len)| len).sum();
                    // Headers and prefixes are some 20 bytes a block.
                    assert!((193_000..=211_000).contains(&sum), "{sum} bytes in {span:?}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn words_are_taken_in_at_once() {
        let presences = (0..200).map(|n| (cid(n), peerage_exchange::Presence::Have)).collect();
        let words = codec::encode(&Outgoing { presences, ..Outgoing::default() }, Version::V1_2);
        let down = NonZeroU64::new(1);
        let taken = take(Rates { down, ..Rates::default() }, words.repeat(20).into()).await;
        assert_eq!(taken.last().unwrap().0, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_we_held_up_a_message_is_not_the_peers() {
        let mut pace = Pace::new(&Limits::default());
        let begun = Instant::now();
        pace.begun = Some(begun);
        pace.pause(Duration::from_secs(100));
        assert_eq!(pace.deadline(None), Some(begun + Duration::from_secs(100) + pace.grace));
    }

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
