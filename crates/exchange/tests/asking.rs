//! The asking side alone: whom it asks for what, beside sources that answer as the test
//! says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peerage_base::{Instant, Now, UnixTime};
use peerage_content::{Cid, Multihash};
use peerage_exchange::{
    Config, Exchange, Holding, Incoming, Outgoing, Output, Presence, Room, SessionConfig, SessionId, Version,
    WantEntry, WantKind,
};
use peerage_identity::PeerId;

const SESSION: SessionId = SessionId(1);

fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn cid(n: u8) -> Cid {
    Cid::new_v1(0x55, Multihash::wrap(0x12, &[n; 32]).unwrap())
}

fn now() -> Now {
    Now::new(Instant::START, UnixTime(0))
}

/// A session that has these sources.
fn session(seed: u64, sources: impl IntoIterator<Item = (u8, Holding)>) -> Exchange {
    let mut exchange = Exchange::new(Config::default(), seed, now());
    exchange.open_session(SESSION, SessionConfig::default(), now()).unwrap();
    for (n, holding) in sources {
        exchange.add_peer(peer(n), Version::V1_2, now());
        exchange.add_source(SESSION, peer(n), holding, now()).unwrap();
    }
    exchange
}

/// All that is said to a peer.
fn said(exchange: &mut Exchange, to: u8) -> Outgoing {
    exchange.flush(now());
    let mut all = Outgoing::default();
    while let Some(output) = exchange.poll_output() {
        if let Output::SendMessage { peer: named, message } = output
            && named == peer(to)
        {
            all.wants.extend(message.wants);
            all.cancels.extend(message.cancels);
        }
    }
    all
}

fn say(exchange: &mut Exchange, from: u8, words: impl IntoIterator<Item = (Cid, Presence)>) {
    let message = Incoming { presences: words.into_iter().collect(), ..Incoming::default() };
    exchange.handle_message(peer(from), &message, now());
}

#[test]
fn who_gets_the_same_is_asked_what_it_has_and_says_what_comes_later() {
    let mut exchange = session(1, [(1, Holding::Unknown), (2, Holding::Part)]);
    (0..100).for_each(|n| exchange.want(SESSION, &cid(n), 1 << 20, now()).unwrap());
    let first = said(&mut exchange, 2);
    let (blocks, words): (Vec<&WantEntry>, Vec<&WantEntry>) =
        first.wants.iter().partition(|want| want.kind == WantKind::Block);
    assert!(blocks.len() <= 1, "{blocks:?}");
    assert!(words.len() > 90, "{}", words.len());
    say(&mut exchange, 2, words.iter().map(|want| (want.cid, Presence::DontHave)));
    // It keeps these wants: none is taken back.
    let kept = said(&mut exchange, 2);
    assert!(kept.cancels.is_empty() && kept.wants.is_empty(), "{kept:?}");
    assert!(exchange.peer_stats(&peer(2)).live_wants >= words.len());
    // Now it has one, and is asked for it.
    let later = words[50].cid;
    say(&mut exchange, 2, [(later, Presence::Have)]);
    let asked = said(&mut exchange, 2);
    assert!(asked.wants.iter().any(|want| want.cid == later && want.kind == WantKind::Block), "{asked:?}");
    // What comes from elsewhere it need not tell of any more.
    let other = words[51].cid;
    exchange.handle_block(peer(1), &other, 1 << 20, now());
    assert_eq!(said(&mut exchange, 2).cancels, [other]);
}

#[test]
fn no_more_is_asked_for_than_there_is_room() {
    let mut exchange = session(1, [(1, Holding::Unknown), (2, Holding::Unknown)]);
    exchange.set_room(SESSION, Room { bytes: 250, least: 0 }, now());
    (0..10).for_each(|n| exchange.want(SESSION, &cid(n), 100, now()).unwrap());
    exchange.flush(now());
    let stats = |exchange: &Exchange| exchange.session_stats(SESSION).unwrap();
    assert_eq!((stats(&exchange).asked, stats(&exchange).asked_bytes), (2, 200));
    // More room, and a block of which nothing is believed.
    exchange.set_room(SESSION, Room { bytes: 1_000, least: 400 }, now());
    exchange.flush(now());
    assert_eq!((stats(&exchange).asked, stats(&exchange).asked_bytes), (4, 1_000));
    // However little room there is, one block is asked for.
    let mut exchange = session(1, [(1, Holding::Unknown)]);
    exchange.set_room(SESSION, Room { bytes: 0, least: 0 }, now());
    exchange.want(SESSION, &cid(1), 100, now()).unwrap();
    exchange.flush(now());
    assert_eq!(stats(&exchange).asked_bytes, 100);
}

#[test]
fn a_crowd_does_not_begin_at_one_place() {
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut exchange = session(seed, [(1, Holding::Unknown)]);
        (0..200).for_each(|n| exchange.want(SESSION, &cid(n), 1 << 20, now()).unwrap());
        let asked: Vec<Cid> = said(&mut exchange, 1).wants.iter().map(|want| want.cid).collect();
        let at = (0..200).find(|n| cid(*n) == asked[0]).unwrap();
        // But goes on in order, for the sake of the sharer's disk.
        assert_eq!(asked[1], cid((at + 1) % 200));
        first.insert(at);
    }
    assert!(first.len() > 10, "{first:?}");
}
