//! Windows and budgets: growth with bandwidth x delay, what it may take, and
//! what happens when more is unread than may be.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::Instant;

use super::pair::{BUDGET, Lone, Pair};
use crate::yamux::frame::Kind;
use crate::yamux::{Config, Event, INITIAL_WINDOW, ResetCause, ResetCode, Role, StreamId};

const MIB: usize = 1024 * 1024;

/// Sends `total` bytes over one stream to a reader that reads at once.
fn transfer(pair: &mut Pair, total: usize) -> (StreamId, Duration) {
    let id = pair.open(0);
    let start = pair.now;
    let chunk = Bytes::from(vec![5; MIB]);
    let (mut pending, mut written, mut read) = (Bytes::new(), 0, 0);
    while read < total {
        loop {
            if pending.is_empty() && written < total {
                pending = chunk.slice(..MIB.min(total - written));
                written += pending.len();
            }
            if pending.is_empty() || pair.ends[0].write(id, &mut pending).unwrap() == 0 {
                break;
            }
        }
        assert!(pair.step(), "stalled at {read} of {total}");
        read += pair.read_all(1, id).0.len();
    }
    (id, pair.now - start)
}

/// A path of 100 MB/s and 100 ms, of which a window of 256 KiB uses 1/40.
fn long_fat(config: Config) -> Pair {
    Pair::with(0, config, Duration::from_millis(50), 10)
}

#[test]
fn a_window_grows_to_what_the_path_carries_and_is_given_back() {
    let mut pair = long_fat(Config { send_buffer: 16 * MIB, ..Config::default() });
    let (id, took) = transfer(&mut pair, 200 * MIB);
    let ideal = Duration::from_nanos(200 * MIB as u64 * 10);
    assert!(took < ideal * 2, "took {took:?} of {ideal:?}");
    let reserved = pair.budgets[1].used();
    assert!(reserved > 8 * MIB as u64 && reserved <= BUDGET / 2, "{reserved}");
    pair.ends[0].finish(id).unwrap();
    pair.ends[1].finish(id).unwrap();
    pair.settle();
    pair.read_all(0, id);
    pair.read_all(1, id);
    assert_eq!((pair.budgets[0].used(), pair.budgets[1].used()), (0, 0));
}

#[test]
fn a_window_that_may_not_grow_is_used_whole() {
    let window = 4 * MIB;
    let max_window = u32::try_from(window).unwrap();
    let mut pair = long_fat(Config { max_window, send_buffer: 16 * MIB, ..Config::default() });
    let (_, took) = transfer(&mut pair, 100 * MIB);
    // At best a window each round trip of 100 ms.
    let ideal = Duration::from_millis(100) * 100 / 4;
    assert!(took < ideal * 5 / 4, "took {took:?} of {ideal:?}");
}

#[test]
fn an_idle_window_shrinks_back() {
    let mut pair = long_fat(Config { send_buffer: 16 * MIB, ..Config::default() });
    let (id, _) = transfer(&mut pair, 50 * MIB);
    assert!(pair.budgets[1].used() > 0);
    pair.pass(Duration::from_secs(61));
    assert_eq!(pair.budgets[1].used(), 0);
    // The peer may still use the credit that it has; that is charged as it arrives.
    pair.write(0, id, &[1; 3 * MIB]);
    pair.settle();
    assert_eq!(pair.budgets[1].used(), 3 * MIB as u64);
    pair.read_all(1, id);
    assert_eq!(pair.budgets[1].used(), 0);
}

#[test]
fn a_window_stays_small_where_a_small_one_is_enough() {
    // 1 MB/s and 20 ms: 20 KB are under way.
    let mut pair = Pair::with(0, Config::default(), Duration::from_millis(10), 1000);
    transfer(&mut pair, 4 * MIB);
    assert_eq!(pair.budgets[1].used(), 0);
}

#[test]
fn growth_leaves_half_of_the_budget() {
    let mut pair = long_fat(Config { send_buffer: 16 * MIB, ..Config::default() });
    let others = pair.budgets[1].share();
    assert!(others.take(BUDGET / 2 - 300 * 1024));
    let before = pair.budgets[1].used();
    let (_, took) = transfer(&mut pair, 20 * MIB);
    assert_eq!(pair.budgets[1].used() - before, 256 * 1024);
    assert!(took > Duration::from_secs(3));
}

#[test]
fn updates_come_by_half_windows() {
    let mut lone = Lone::new(Role::Server, Config::default());
    lone.syn(1);
    lone.sent();
    let id = StreamId::new(1);
    for _ in 0..4 {
        lone.data(1, INITIAL_WINDOW / 4);
    }
    let mut deltas = Vec::new();
    while let crate::yamux::Read::Data(_) = lone.machine.read(id, 32 * 1024, lone.now) {
        deltas.extend(lone.sent().iter().map(|header| header.len));
    }
    assert_eq!(deltas, [INITIAL_WINDOW / 2; 2]);
}

fn reset(id: u32, cause: ResetCause) -> Event {
    Event::Reset { id: StreamId::new(id), code: ResetCode::RESOURCE_LIMIT_EXCEEDED, cause }
}

#[test]
fn the_fullest_stream_is_reset_when_more_is_unread_than_was_asked_for() {
    let mut lone = Lone::new(Role::Server, Config::default());
    // 20 streams of 200 KiB and one that is full: just under 4 MiB and 256 KiB.
    (0..21).for_each(|n| lone.syn(2 * n + 1));
    lone.data(9, 256 * 1024);
    let mut asked = 0;
    for n in 0..21 {
        if n != 4 {
            if lone.machine.unread_bytes() > 4_000_000 {
                asked = 300 * 1024;
            }
            lone.machine.set_expected(asked);
            lone.data(2 * n + 1, 200 * 1024);
        }
    }
    assert!(!lone.events().iter().any(|event| matches!(event, Event::Reset { .. })));
    assert_eq!(lone.machine.unread_bytes(), 4256 * 1024);
    assert_eq!(lone.budget.used(), 4256 * 1024);
    lone.machine.set_expected(0);
    lone.data(1, 1);
    assert_eq!(lone.events(), [reset(9, ResetCause::UnreadLimit)]);
    assert_eq!(lone.machine.unread_bytes(), 4000 * 1024 + 1);
    assert_eq!(lone.budget.used(), 4000 * 1024 + 1);
    // What was on its way for it is ignored.
    lone.data(9, 1000);
    assert_eq!(lone.events(), []);
}

#[test]
fn the_fullest_stream_is_reset_when_the_budget_is_full() {
    let mut lone = Lone::within(Role::Server, Config::default(), 300 * 1024);
    (0..3).for_each(|n| lone.syn(2 * n + 1));
    lone.data(1, 200 * 1024);
    lone.data(3, 50 * 1024);
    lone.events();
    lone.data(5, 60 * 1024);
    assert_eq!(lone.events(), [reset(1, ResetCause::BudgetFull), Event::Readable { id: StreamId::new(5) }]);
    // Other connections hold the rest: the one that would be fullest is the arriving one.
    let others = lone.budget.share();
    others.set_due(190 * 1024);
    assert!(others.take(190 * 1024));
    lone.data(3, 80 * 1024);
    assert_eq!(lone.events(), [reset(3, ResetCause::BudgetFull)]);
    assert_eq!(lone.budget.used(), 250 * 1024);
    drop(lone.machine);
    assert_eq!(lone.budget.used(), 190 * 1024);
}

#[test]
fn single_bytes_cost_about_a_byte() {
    let mut lone = Lone::new(Role::Server, Config::default());
    lone.syn(1);
    for _ in 0..50_000 {
        lone.say(Kind::Data, 0, 1, 1, b"x").unwrap();
    }
    let mut reads = 0;
    while let crate::yamux::Read::Data(_) = lone.machine.read(StreamId::new(1), usize::MAX, Instant::START) {
        reads += 1;
    }
    assert_eq!(reads, 50_000_usize.div_ceil(16 * 1024));
}

#[test]
fn a_large_payload_is_not_copied() {
    let mut lone = Lone::new(Role::Server, Config::default());
    lone.syn(1);
    let mut frame = crate::yamux::frame::Header {
        kind: Kind::Data,
        flags: crate::yamux::frame::Flags::NONE,
        id: StreamId::new(1),
        len: 60_000,
    }
    .encode()
    .to_vec();
    frame.resize(60_012, 3);
    let frame = Bytes::from(frame);
    lone.machine.handle_input(frame.clone(), lone.now).unwrap();
    let crate::yamux::Read::Data(data) = lone.machine.read(StreamId::new(1), usize::MAX, lone.now) else {
        panic!("nothing to read");
    };
    assert_eq!((data.len(), data.as_ptr()), (60_000, frame[12..].as_ptr()));
}

#[test]
fn what_is_held_counts_as_unread_until_it_is_let_go() {
    let mut lone = Lone::new(Role::Server, Config::default());
    let ids = [1, 3, 5].map(StreamId::new);
    for id in ids {
        lone.syn(id.as_u32());
        lone.data(id.as_u32(), 256 * 1024);
        while let crate::yamux::Read::Data(_) = lone.machine.read(id, usize::MAX, lone.now) {}
    }
    lone.events();
    assert_eq!(lone.machine.hold(ids[0], 2 << 20), Ok(()));
    assert_eq!(lone.machine.hold(ids[1], 2 << 20), Ok(()));
    assert_eq!((lone.machine.unread_bytes(), lone.budget.used()), (4 << 20, 4 << 20));
    assert_eq!(lone.machine.hold(ids[2], 1), Ok(()));
    assert_eq!(lone.events(), [reset(3, ResetCause::UnreadLimit)], "more than was asked for, and the slack");
    // Its memory is still there until its user has heard of it.
    assert_eq!(lone.budget.used(), (4 << 20) + 1);
    assert_eq!(lone.machine.hold(ids[1], 0), Err(crate::yamux::StreamGone));
    assert_eq!((lone.machine.unread_bytes(), lone.budget.used()), ((2 << 20) + 1, (2 << 20) + 1));
    assert_eq!(lone.machine.hold(ids[2], 3 << 20), Err(crate::yamux::StreamGone), "the fullest itself");
    assert_eq!(lone.machine.hold(ids[2], 0), Err(crate::yamux::StreamGone));
    assert_eq!(lone.machine.hold(ids[0], 0), Ok(()));
    assert_eq!((lone.machine.unread_bytes(), lone.budget.used()), (0, 0));
}

#[test]
fn streams_that_the_peer_resets_may_not_hold_more_than_live_ones() {
    let mut lone = Lone::new(Role::Server, Config::default());
    for id in [1, 3] {
        lone.syn(id);
        lone.machine.hold(StreamId::new(id), 3 << 20).unwrap();
        let told = lone.say(Kind::WindowUpdate, 8, id, 0, b"");
        assert_eq!(told.is_ok(), id == 1, "{told:?}");
    }
    assert_eq!(lone.budget.used(), 6 << 20);
}

#[test]
fn the_connection_furthest_beyond_what_was_asked_of_it_makes_room() {
    let mut stalling = Lone::within(Role::Server, Config::default(), 1 << 20);
    let mut honest = Lone::new(Role::Server, Config::default());
    honest.machine =
        crate::yamux::Machine::new(Role::Server, Config::default(), stalling.budget.share(), honest.now);
    stalling.syn(1);
    honest.syn(1);
    let id = StreamId::new(1);
    stalling.machine.hold(id, 1 << 20).unwrap();
    stalling.events();
    honest.data(1, 100_000);
    assert_eq!(honest.events()[1..], [Event::Readable { id }], "what arrives from others is taken");
    stalling.machine.make_room();
    assert_eq!(stalling.events(), [reset(1, ResetCause::BudgetFull)]);
    assert!(stalling.machine.hold(id, 0).is_err());
    honest.machine.make_room();
    assert_eq!(stalling.budget.used(), 100_000);
}

#[test]
fn a_closed_stream_of_which_the_peer_takes_nothing_is_reset() {
    let mut pair = Pair::new(3);
    let (stuck, slow) = (pair.open(0), pair.open(0));
    for id in [stuck, slow] {
        pair.write(0, id, &vec![1; 256 * 1024]);
        pair.settle();
        pair.write(0, id, &vec![1; 200 * 1024]);
        pair.ends[0].close(id, pair.now).unwrap();
    }
    let mut read = 0;
    for _ in 0..6 {
        pair.pass(Config::default().linger / 2);
        read += pair.read_all(1, slow).0.len();
    }
    assert_eq!(read, 456 * 1024, "the slow one goes on");
    let code = ResetCode::GARBAGE_COLLECTED;
    assert!(pair.take_events(1).contains(&Event::Reset { id: stuck, code, cause: ResetCause::Peer }));
    assert_eq!(pair.ends[0].stream_count(), 0);
}
