//! What slow, greedy and leaving peers can do to those who are served beside
//! them, and what they can cost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;

use peerage_base::Now;
use peerage_content::{Cid, Multihash};
use peerage_exchange::limits::REFUSALS_MAX;
use peerage_exchange::{Config, Exchange, Incoming, Output, Served, Version, WantEntry, WantKind};
use peerage_identity::PeerId;

const MIB: u32 = 1 << 20;

fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn cid(n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(0x55, Multihash::wrap(0x12, &digest).unwrap())
}

/// One who serves blocks of 1 MiB to whoever asks.
struct Sharer {
    exchange: Exchange,
    /// Blocks that are on the way, oldest first.
    sending: BTreeMap<PeerId, Vec<Cid>>,
    refusals: usize,
}

impl Sharer {
    fn new(peers: u8) -> Self {
        let mut exchange = Exchange::new(Config::default(), 1, Now::default());
        for n in 0..peers {
            exchange.add_peer(peer(n), Version::V1_2, Now::default());
        }
        Self { exchange, sending: BTreeMap::new(), refusals: 0 }
    }

    fn want(&mut self, from: u8, wants: impl Iterator<Item = u64>) {
        let want = |n| WantEntry { cid: cid(n), priority: 1, kind: WantKind::Block, send_dont_have: true };
        let message = Incoming { wants: wants.map(want).collect(), ..Incoming::default() };
        self.exchange.handle_message(peer(from), &message, Now::default());
        self.drain();
    }

    fn drain(&mut self) {
        self.exchange.flush(Now::default());
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Lookup { peer, cid } => {
                    self.exchange.handle_lookup(peer, &cid, Some(MIB), Now::default());
                }
                Output::ServeBlock { peer, cid, .. } => self.sending.entry(peer).or_default().push(cid),
                Output::SendMessage { message, .. } => self.refusals += message.presences.len(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The oldest block to a peer is sent; false if there is none.
    fn sent(&mut self, to: u8) -> bool {
        let Some(blocks) = self.sending.get_mut(&peer(to)).filter(|blocks| !blocks.is_empty()) else {
            return false;
        };
        let cid = blocks.remove(0);
        self.exchange.handle_served(peer(to), &cid, Served::Sent(MIB), Now::default());
        self.drain();
        true
    }

    fn under_way(&self, to: u8) -> usize {
        self.sending.get(&peer(to)).map_or(0, Vec::len)
    }
}

#[test]
fn slow_readers_do_not_hold_up_a_fast_one() {
    let mut sharer = Sharer::new(10);
    // Eight peers take all credit and do not read.
    for n in 0..8 {
        sharer.want(n, 0..100);
    }
    assert_eq!((0..8).map(|n| sharer.under_way(n)).sum::<usize>(), 16);
    sharer.want(8, 0..50);
    let count = (0..).take_while(|_| sharer.sent(8)).count();
    assert_eq!(count, 50);
    // One more that does not read costs one block.
    sharer.want(9, 0..100);
    assert_eq!(sharer.under_way(9), 1);
}

#[test]
fn who_leaves_makes_room_for_those_who_stay() {
    let mut sharer = Sharer::new(9);
    for n in 0..9 {
        sharer.want(n, 0..100);
    }
    assert_eq!(sharer.under_way(8), 1);
    sharer.exchange.remove_peer(peer(0), Now::default());
    sharer.drain();
    assert_eq!(sharer.under_way(8), 2);
}

#[test]
fn more_wants_than_are_held_are_refused_so_often_and_no_more() {
    let mut sharer = Sharer::new(1);
    sharer.want(0, 0..32_000);
    assert_eq!(sharer.exchange.peer_stats(&peer(0)).held_wants, 1_022, "two are being sent");
    assert_eq!(sharer.refusals, REFUSALS_MAX);
}
