//! Those who wait, in virtual time.

use std::time::Duration;

use peerage_identity::Keypair;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::*;

fn rate(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

fn paced(rates: Rates) -> Arc<Paced> {
    Paced::new(rates, Clock::start())
}

fn peer(n: u8) -> PeerId {
    Keypair::from_seed([n; 32]).peer_id()
}

/// Sends so much to a peer, piece by piece; when that is done.
async fn send(paced: Arc<Paced>, to: u8, turn: u8, bytes: usize) -> (Turn, Duration) {
    let (start, turn) = (Instant::now(), Turn::from(turn));
    let lines = paced.of(peer(to));
    let mut left = bytes;
    while left > 0 {
        let piece = lines.piece(Way::Up).unwrap_or(left).min(left);
        lines.wait(Way::Up, turn, piece).await;
        left -= piece;
    }
    (turn, start.elapsed())
}

async fn all(mut tasks: JoinSet<(Turn, Duration)>) -> Vec<(Turn, f64)> {
    let mut ended = Vec::new();
    while let Some(result) = tasks.join_next().await {
        let (turn, after) = result.unwrap();
        ended.push((turn, (after.as_secs_f64() * 10.0).round()));
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn blocks_go_one_after_another_at_the_rate() {
    let paced = paced(Rates { up: rate(1_000_000), ..Rates::default() });
    let mut tasks = JoinSet::new();
    for turn in [2, 0, 1] {
        tasks.spawn(send(Arc::clone(&paced), turn, turn, 1_000_000));
    }
    // In tenths of a second.
    assert_eq!(all(tasks).await, [(0, 10.0), (1, 20.0), (2, 30.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_at_its_own_rate_leaves_the_rest_to_others() {
    let paced = paced(Rates { up: rate(1_000_000), up_per_peer: rate(250_000), ..Rates::default() });
    let mut tasks = JoinSet::new();
    for turn in 0..8 {
        // Two blocks to each of four.
        tasks.spawn(send(Arc::clone(&paced), turn / 2, turn, 500_000));
    }
    let ended = all(tasks).await;
    assert!(ended[..4].iter().all(|(turn, at)| turn % 2 == 0 && (19.0..=20.0).contains(at)), "{ended:?}");
    assert!(ended[4..].iter().all(|(turn, at)| turn % 2 == 1 && (39.0..=40.0).contains(at)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn other_rates_count_at_once() {
    let paced = paced(Rates { up: rate(1), ..Rates::default() });
    let mut tasks = JoinSet::new();
    for turn in 0..3 {
        tasks.spawn(send(Arc::clone(&paced), 0, turn, 100_000));
    }
    sleep(Duration::from_secs(1)).await;
    assert!(tasks.try_join_next().is_none());
    paced.set(Rates { up: rate(100_000), ..Rates::default() });
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(tasks.try_join_next().map(|task| task.unwrap().0), Some(0));
    paced.set(Rates::default());
    yield_now().await;
    let now = Instant::now();
    assert_eq!(all(tasks).await.len(), 2);
    assert_eq!(Instant::now(), now);
    assert_eq!(paced.rates(), Rates::default());
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_holds_up_nobody() {
    let paced = paced(Rates { up: rate(1_000), ..Rates::default() });
    let lines = paced.of(peer(0));
    lines.wait(Way::Up, 0, 10_000).await;
    // The next is first in the line, keeps the time, and goes away.
    let gone = lines.wait(Way::Up, 1, 10_000);
    let (gone, last) = tokio::join!(timeout(Duration::from_secs(5), gone), async {
        yield_now().await;
        let start = Instant::now();
        lines.wait(Way::Up, 2, 10).await;
        start.elapsed().as_secs()
    });
    assert!(gone.is_err());
    assert_eq!(last, 10);
    drop(lines);
    // What is kept of a peer goes with its streams.
    drop(paced.of(peer(1)));
    let (two, three) = (paced.of(peer(2)), paced.of(peer(2)));
    assert!(Arc::ptr_eq(&two, &three) && paced.peers().lines.len() == 1);
}
