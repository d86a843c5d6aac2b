//! Whose turn it is on a line that the user limits: blocks are handed out one after the
//! other, as time passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};
use peerage_content::{Cid, Multihash};
use peerage_exchange::{Config, Exchange, Incoming, Output, Served, Version, WantEntry, WantKind};
use peerage_identity::PeerId;

const MIB: u32 = 1 << 20;
const RAW: u64 = 0x55;
const DAG_PB: u64 = 0x70;

fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn cid(codec: u64, n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(codec, Multihash::wrap(0x12, &digest).unwrap())
}

/// One who serves leaves of 1 MiB, and nodes of 15 KiB, at 1 MiB a second.
struct Sharer {
    exchange: Exchange,
    now: Instant,
    handed: Vec<(PeerId, Cid)>,
}

impl Sharer {
    fn new(peers: u8) -> Self {
        let mut exchange = Exchange::new(Config::default(), 1, at(Instant::START));
        (0..peers).for_each(|n| exchange.add_peer(peer(n), Version::V1_2, at(Instant::START)));
        exchange.limit_sending(NonZeroU64::new(MIB.into()), at(Instant::START));
        Self { exchange, now: Instant::START, handed: Vec::new() }
    }

    /// A peer wants these, the first most of all.
    fn want(&mut self, from: u8, cids: impl IntoIterator<Item = Cid>) {
        let entry = |(n, cid): (i32, Cid)| WantEntry {
            cid,
            priority: -n,
            kind: WantKind::Block,
            send_dont_have: true,
        };
        let wants = (0..).zip(cids).map(entry).collect();
        self.exchange.handle_message(peer(from), &Incoming { wants, ..Incoming::default() }, at(self.now));
        self.drain();
    }

    /// What it hands out is on the line at once.
    fn drain(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Lookup { peer, cid } => {
                    let len = if cid.codec() == RAW { MIB } else { 15 << 10 };
                    self.exchange.handle_lookup(peer, &cid, Some(len), at(self.now));
                }
                Output::ServeBlock { peer, cid, len } => {
                    self.handed.push((peer, cid));
                    self.exchange.handle_served(peer, &cid, Served::Sent(len), at(self.now));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lets so much time pass.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((due, _)) = self.exchange.poll_timeout().filter(|(due, _)| *due <= end) {
            self.now = self.now.max(due);
            self.exchange.handle_timeout(at(self.now));
            self.drain();
        }
        self.now = end;
    }
}

fn at(instant: Instant) -> Now {
    Now::new(instant, UnixTime(0))
}

fn leaves(numbers: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Cid> {
    numbers.into_iter().map(|n| cid(RAW, n))
}

#[test]
fn what_was_sent_least_often_goes_first() {
    let mut sharer = Sharer::new(3);
    sharer.want(0, leaves(0..3));
    sharer.pass(Duration::from_secs(5));
    // While the line is busy, one wants most what was sent before, another only that.
    sharer.want(0, leaves([9]));
    sharer.want(1, leaves(0..5));
    sharer.want(2, leaves(0..3));
    sharer.pass(Duration::from_secs(12));
    let cids: Vec<Cid> = sharer.handed[4..].iter().map(|(_, cid)| *cid).collect();
    assert_eq!((cids.len(), &cids[..2]), (8, &[cid(RAW, 3), cid(RAW, 4)][..]));
    // Of the rest each goes out once before any goes out again.
    let (once, again) = cids[2..].split_at(3);
    assert_eq!(BTreeSet::from_iter(once), BTreeSet::from_iter(again));
}

#[test]
fn nodes_go_before_leaves_however_often_they_were_sent() {
    let mut sharer = Sharer::new(9);
    let root = cid(DAG_PB, 99);
    for n in 0..8 {
        sharer.want(n, leaves(u64::from(n) * 10..u64::from(n) * 10 + 10));
        sharer.want(n, [root]);
    }
    sharer.pass(Duration::from_secs(3));
    let nodes = sharer.handed.iter().filter(|(_, cid)| *cid == root).count();
    assert_eq!(nodes, 8);
    assert!((3..=4).contains(&(sharer.handed.len() - nodes)), "{:?}", sharer.handed);
}

#[test]
fn who_asks_for_what_others_have_is_not_starved() {
    let mut sharer = Sharer::new(2);
    sharer.want(0, leaves(0..100));
    sharer.pass(Duration::from_secs(105));
    let before = sharer.handed.len();
    assert_eq!(before, 100);
    sharer.want(0, leaves(100..400));
    sharer.want(1, leaves(0..100));
    sharer.pass(Duration::from_secs(180));
    let other = sharer.handed[before..].iter().filter(|(to, _)| *to == peer(1)).count();
    // Eight pass it for each of the two in turn.
    assert!((9..=20).contains(&other), "{other} of {}", sharer.handed.len() - before);
}

#[test]
fn no_more_is_handed_out_than_the_rate() {
    let mut sharer = Sharer::new(4);
    (0..4).for_each(|n| sharer.want(n, leaves(u64::from(n) * 100..u64::from(n) * 100 + 100)));
    for second in 1..=60 {
        sharer.pass(Duration::from_secs(1));
        // One that is on the line, and what comes a little early.
        let handed = sharer.handed.len();
        assert!((second..=second + 1).contains(&handed), "{handed} blocks after {second} s");
    }
    // Without a rate, as much as there is credit for; here all is taken at once.
    sharer.exchange.limit_sending(None, at(sharer.now));
    sharer.drain();
    assert_eq!(sharer.handed.len(), 400);
    // Everyone got the same.
    let fourth = |n| sharer.handed[..60].iter().filter(|(to, _)| *to == peer(n)).count();
    assert!((0..4).all(|n| (14..=16).contains(&fourth(n))));
}
