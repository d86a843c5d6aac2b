//! Writers over in-memory pipes in virtual time: slow readers, silent ones, floods.

use std::num::NonZeroU64;
use std::sync::Arc;

use peerage_base::SharedBudget;
use peerage_content::{Multihash, hash};
use peerage_exchange::Presence;
use peerage_identity::Keypair;
use peerage_transport::yamux::StreamClass;
use peerage_transport::{Connection, Role, upgrade};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::config::{Config, Rates};
use crate::pool::Pool;

fn net() -> (Arc<Net>, mpsc::UnboundedReceiver<Input>) {
    let (inbox, inputs) = mpsc::unbounded_channel();
    let keypair = Keypair::from_seed([1; 32]);
    (Net::new(&Config::new("unused"), keypair, Pool::start(1, 1 << 20, 1).unwrap(), inbox), inputs)
}

/// Two sides of a connection. What the first sends arrives at `pace` bytes a second.
async fn pair(pace: u64) -> (Control, Connection<DuplexStream>) {
    let ((ours, ours_far), (theirs_far, theirs)) = (duplex(64 * 1024), duplex(64 * 1024));
    let (mut up_from, mut down_to) = tokio::io::split(ours_far);
    let (mut down_from, mut up_to) = tokio::io::split(theirs_far);
    tokio::spawn(async move {
        let mut some = vec![0; usize::try_from(pace / 20).unwrap()];
        while let Ok(len @ 1..) = up_from.read(&mut some).await {
            sleep(Duration::from_millis(50)).await;
            if up_to.write_all(&some[..len]).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move { drop(tokio::io::copy(&mut down_from, &mut down_to).await) });
    let (us, them) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
    let config = peerage_transport::Config::default;
    let (ours, theirs) = tokio::join!(
        upgrade(ours, Role::Dialer, &us, Some(them.peer_id()), config(), SharedBudget::new(32 << 20)),
        upgrade(theirs, Role::Listener, &them, None, config(), SharedBudget::new(32 << 20)),
    );
    let ours = ours.unwrap();
    tokio::spawn(ours.driver);
    // Streams that they open are none of ours.
    std::mem::forget(ours.incoming);
    (ours.control, theirs.unwrap())
}

fn block(len: usize, seed: u8) -> BlockOut {
    let data = Bytes::from(vec![seed; len]);
    BlockOut { cid: Cid::new_v1(0x55, hash::digest(0x12, &data).unwrap()), data, turn: u64::from(seed) }
}

#[tokio::test(start_paused = true)]
async fn a_block_is_sent_once_to_who_reads_slowly() {
    let (net, mut inputs) = net();
    // Slower than half a minute for the block, faster than the slowest that is allowed.
    let (control, theirs) = pair(15_000).await;
    tokio::spawn(theirs.driver);
    let mut incoming = theirs.incoming;
    let read = tokio::spawn(async move {
        let mut stream = incoming.next().await.unwrap();
        stream.accept(|name| (name == Version::V1_2.protocol()).then_some(())).await.unwrap();
        stream.classify(StreamClass::Bitswap).unwrap();
        let mut read = 0;
        while let Some(chunk) = stream.read_chunk(usize::MAX).await.unwrap() {
            read += chunk.len();
        }
        read
    });
    let writers = PeerWriters::start(&net, &control, 1, Version::V1_2);
    assert!(writers.blocks.send(Queued::Block(block(1 << 20, 1))).is_ok());
    let sent = inputs.recv().await.unwrap();
    assert!(matches!(sent, Input::Served { served: Served::Sent(len), .. } if len == 1 << 20));
    drop(writers);
    let read = read.await.unwrap();
    assert!((1 << 20..(1 << 20) + 100).contains(&read), "{read} bytes for one block");
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_costs_its_connection_and_no_credit() {
    let (net, mut inputs) = net();
    let (control, theirs) = pair(1 << 20).await;
    // The connection is read, the streams are not.
    tokio::spawn(theirs.driver);
    let writers = PeerWriters::start(&net, &control, 7, Version::V1_2);
    for seed in 0..4 {
        assert!(writers.blocks.send(Queued::Block(block(1 << 20, seed))).is_ok());
    }
    let mut failed = 0;
    let mut given_up = false;
    while failed < 4 || !given_up {
        match inputs.recv().await.unwrap() {
            Input::Served { served: Served::Failed, .. } => failed += 1,
            Input::WriterFailed { number: 7, .. } => given_up = true,
            _ => panic!("something else"),
        }
    }
    drop(theirs.incoming);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wants_from_one_who_does_not_read_costs_little() {
    let (net, _inputs) = net();
    let (control, theirs) = pair(1 << 20).await;
    tokio::spawn(theirs.driver);
    let writers = PeerWriters::start(&net, &control, 1, Version::V1_2);
    let refused =
        |n: u64| (Cid::new_v1(0x55, Multihash::wrap(0x12, &n.to_be_bytes()).unwrap()), Presence::DontHave);
    let message = Outgoing { presences: (0..4_000).map(refused).collect(), ..Outgoing::default() };
    let mut taken = 0;
    while writers.send(message.clone()) {
        taken += 1;
        // All that can be written is.
        sleep(Duration::from_millis(100)).await;
        assert!(taken < 100, "no end");
    }
    assert!(taken < 40, "{taken} messages of 4,000");
    // A message beyond the whole backlog still goes to who has nothing waiting.
    let idle = PeerWriters::start(&net, &control, 1, Version::V1_2);
    let presences = (0..40_000).map(refused).collect();
    assert!(idle.send(Outgoing { presences, ..Outgoing::default() }));
}

#[test]
fn small_blocks_fill_a_message_and_no_more() {
    let (queue, mut waiting) = mpsc::unbounded_channel();
    let mut batches = Vec::new();
    for len in [4_096; 40].into_iter().chain([SMALL, 10, 10]) {
        assert!(queue.send(Queued::Block(block(len, 0))).is_ok());
    }
    let mut ahead = waiting.try_recv().ok();
    while let Some(Queued::Block(first)) = ahead.take().or_else(|| waiting.try_recv().ok()) {
        let mut batch = Vec::new();
        ahead = pack(first, &mut batch, &mut waiting);
        batches.push(batch.len());
    }
    assert_eq!(batches, [16, 16, 8, 1, 2]);
}

/// A pair over a pipe that is fast, and the time at which each piece of what the first
/// sends on its first stream comes to the second, to the end.
async fn arrivals(up: u64, blocks: &[usize]) -> Vec<(Duration, usize)> {
    let (net, _inputs) = net();
    net.paced.set(Rates { up: NonZeroU64::new(up), ..Rates::default() });
    let (control, theirs) = pair(50_000_000).await;
    tokio::spawn(theirs.driver);
    let mut incoming = theirs.incoming;
    let writers = PeerWriters::start(&net, &control, 1, Version::V1_2);
    for (seed, &len) in (0..=u8::MAX).cycle().zip(blocks) {
        assert!(writers.blocks.send(Queued::Block(block(len, seed))).is_ok());
    }
    let start = tokio::time::Instant::now();
    let mut stream = incoming.next().await.unwrap();
    stream.accept(|name| (name == Version::V1_2.protocol()).then_some(())).await.unwrap();
    stream.classify(StreamClass::Bitswap).unwrap();
    drop(writers);
    let mut came = Vec::new();
    while let Some(chunk) = stream.read_chunk(usize::MAX).await.unwrap() {
        came.push((start.elapsed(), chunk.len()));
    }
    came
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_within_a_block_and_across_small_ones() {
    let small = [500; 2_000];
    for blocks in [&[1_000_000][..], &small] {
        let came = arrivals(100_000, blocks).await;
        let whole = came.last().unwrap().0.as_secs_f64();
        // Headers cost nothing: 45 bytes for each of the small blocks.
        assert!((9.7..10.1).contains(&whole), "{whole} s of virtual time");
        let extra = if blocks.len() > 1 { 1.1 } else { 1.0 };
        for second in 1..7 {
            let span = Duration::from_secs(second)..Duration::from_secs(second + 2);
            let sum: usize = came.iter().filter(|(at, _)| span.contains(at)).map(|(_, len)| len).sum();
            // The pipe moves what there is every 50 ms.
            let most = 211_000.0 * extra;
            assert!(sum >= 189_000 && (sum as f64) < most, "{sum} bytes in {span:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_our_own_rate_is_not_the_peers_fault() {
    // 100 s for one block, of which a piece is written every second or so.
    let came = arrivals(1_000, &[100_000]).await;
    assert!(came.last().unwrap().0 > Duration::from_secs(95), "{came:?}");
}
