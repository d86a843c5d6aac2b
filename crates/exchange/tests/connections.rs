//! What becomes of wants when connections come and go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};
use peerage_content::{Cid, Multihash};
use peerage_exchange::{
    Config, Exchange, Holding, Incoming, Outgoing, Output, Served, SessionConfig, SessionId, Version,
    WantEntry, WantKind,
};
use peerage_identity::PeerId;

const SESSION: SessionId = SessionId(1);

fn now() -> Now {
    Now::new(Instant::START, UnixTime(0))
}

fn peer() -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([7; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn cid(n: u8) -> Cid {
    Cid::new_v1(0x55, Multihash::wrap(0x12, &[n; 32]).unwrap())
}

fn outputs(exchange: &mut Exchange) -> Vec<Output> {
    exchange.flush(now());
    std::iter::from_fn(|| exchange.poll_output()).collect()
}

fn message(exchange: &mut Exchange) -> Outgoing {
    let outputs = outputs(exchange);
    let [Output::SendMessage { message, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    message.clone()
}

#[test]
fn what_was_lost_with_one_connection_is_asked_anew_by_another() {
    let mut exchange = Exchange::new(Config::default(), 1, now());
    exchange.add_peer(peer(), Version::V1_2, now());
    exchange.open_session(SESSION, SessionConfig::default(), now()).unwrap();
    exchange.add_source(SESSION, peer(), Holding::Unknown, now()).unwrap();
    for n in 0..3 {
        exchange.want(SESSION, &cid(n), 100, now()).unwrap();
    }
    let first = message(&mut exchange);
    assert_eq!((first.full, first.wants.len()), (true, 3));
    // The peer wants something too, which is being read.
    let want = WantEntry { cid: cid(9), priority: 1, kind: WantKind::Block, send_dont_have: true };
    let wants = Incoming { wants: vec![want], ..Incoming::default() };
    exchange.handle_message(peer(), &wants, now());
    exchange.handle_lookup(peer(), &cid(9), Some(100), now());
    assert!(matches!(&outputs(&mut exchange)[..], [Output::Lookup { .. }, Output::ServeBlock { .. }]));

    exchange.restart_peer(peer(), Version::V1_2, now());
    let again = message(&mut exchange);
    assert!(again.full);
    let cids: BTreeSet<Cid> = again.wants.iter().map(|want| want.cid).collect();
    assert_eq!(cids, BTreeSet::from([cid(0), cid(1), cid(2)]));
    // What it asked of us goes on.
    exchange.handle_served(peer(), &cid(9), Served::Sent(100), now());
    assert_eq!(exchange.peer_stats(&peer()).sent_blocks, 1);
}

#[test]
fn what_our_own_limit_holds_up_is_waited_for_longer() {
    let deadline = |hold| {
        let mut exchange = Exchange::new(Config::default(), 1, now());
        exchange.add_peer(peer(), Version::V1_2, now());
        exchange.open_session(SESSION, SessionConfig::default(), now()).unwrap();
        exchange.add_source(SESSION, peer(), Holding::Unknown, now()).unwrap();
        exchange.want(SESSION, &cid(1), 100, now()).unwrap();
        message(&mut exchange);
        exchange.set_receiving_hold(hold);
        exchange.poll_timeout().unwrap().0
    };
    let hold = Duration::from_secs(60);
    assert_eq!(deadline(hold), deadline(Duration::ZERO) + hold);
}
