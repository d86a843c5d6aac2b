//! What streams are for: opening, writing, reading, ending, and being told.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Lone, Pair};
use crate::yamux::frame::{Flags, Kind};
use crate::yamux::{
    ClassifyError, Config, Event, GoAwayCode, OpenError, Read, ResetCause, ResetCode, Role, StreamClass,
    StreamGone, StreamId, WriteError,
};

fn id(number: u32) -> StreamId {
    StreamId::new(number)
}

#[test]
fn a_request_and_its_answer() {
    let mut pair = Pair::new(1);
    let id = pair.open(0);
    assert_eq!(pair.take_events(1), [Event::StreamOpened { id }]);
    pair.write(0, id, b"question");
    pair.ends[0].finish(id).unwrap();
    pair.ends[0].finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.take_events(1), [Event::Readable { id }]);
    assert_eq!(pair.read_all(1, id), (b"question".to_vec(), Read::Eof));
    assert_eq!(pair.ends[0].write(id, &mut Bytes::from_static(b"x")), Err(WriteError::Finished));
    pair.write(1, id, b"answer");
    pair.ends[1].finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.take_events(1), [Event::Closed { id }]);
    assert_eq!(pair.take_events(0), [Event::Readable { id }]);
    assert_eq!(pair.read_all(0, id), (b"answer".to_vec(), Read::Eof));
    assert_eq!(pair.take_events(0), [Event::Closed { id }]);
    assert_eq!(pair.ends.each_ref().map(crate::yamux::Machine::stream_count), [0, 0]);
    assert_eq!(pair.ends[0].finish(id), Err(StreamGone));
    assert_eq!(pair.ends[0].read(id, 1, pair.now), Read::Reset);
}

#[test]
fn both_sides_open_with_their_own_parity() {
    let mut pair = Pair::new(2);
    assert_eq!([pair.open(0), pair.open(0), pair.open(1), pair.open(1)], [1, 3, 2, 4].map(id));
}

#[test]
fn readable_is_said_once_until_a_read_comes_back_empty() {
    let mut pair = Pair::new(0);
    let id = pair.open(0);
    pair.take_events(1);
    for _ in 0..3 {
        pair.write(0, id, &[1; 5000]);
        pair.settle();
    }
    assert_eq!(pair.take_events(1), [Event::Readable { id }]);
    assert_eq!(pair.read_all(1, id), (vec![1; 15_000], Read::Pending));
    pair.write(0, id, b"more");
    pair.settle();
    assert_eq!(pair.take_events(1), [Event::Readable { id }]);
}

#[test]
fn a_full_send_buffer_takes_no_more_and_says_when_it_does() {
    let mut pair = Pair::new(3);
    let id = pair.open(0);
    let mut data = Bytes::from(vec![9; 700 * 1024]);
    let mut got = Vec::new();
    assert_eq!(pair.ends[0].write(id, &mut data), Ok(256 * 1024));
    assert_eq!(pair.ends[0].streams[&id].unsent.len(), 256 * 1024);
    assert_eq!(pair.ends[0].write(id, &mut data), Ok(0));
    for _ in 0..2 {
        pair.settle();
        assert_eq!(pair.take_events(0), [Event::Writable { id }]);
        pair.ends[0].write(id, &mut data).unwrap();
        got.extend(pair.read_all(1, id).0);
    }
    pair.settle();
    got.extend(pair.read_all(1, id).0);
    assert!(data.is_empty());
    assert_eq!(got, vec![9; 700 * 1024]);
}

#[test]
fn nothing_unread_stops_the_other_streams() {
    let mut pair = Pair::new(4);
    let (stuck, free) = (pair.open(0), pair.open(0));
    pair.write(0, stuck, &[1; 256 * 1024]);
    pair.settle();
    pair.write(0, stuck, &[2; 1000]);
    pair.write(0, free, b"through");
    pair.ends[0].finish(stuck).unwrap();
    pair.settle();
    assert_eq!(pair.read_all(1, free).0, b"through");
    assert_eq!(pair.ends[1].unread_bytes(), 256 * 1024);
    pair.read_all(1, stuck);
    pair.settle();
    assert_eq!(pair.read_all(1, stuck), (vec![2; 1000], Read::Eof));
}

#[test]
fn a_reset_drops_both_directions_and_carries_its_code() {
    let mut pair = Pair::new(5);
    let id = pair.open(0);
    pair.write(0, id, &[1; 1000]);
    pair.settle();
    pair.take_events(1);
    pair.write(0, id, &[1; 1000]);
    pair.ends[0].reset(id, ResetCode::GARBAGE_COLLECTED);
    pair.settle();
    let reset = Event::Reset { id, code: ResetCode::GARBAGE_COLLECTED, cause: ResetCause::Peer };
    assert_eq!(pair.take_events(1), [reset]);
    assert_eq!(pair.ends[1].read(id, 10, pair.now), Read::Reset);
    assert_eq!(pair.ends[1].write(id, &mut Bytes::from_static(b"x")), Err(WriteError::Reset));
    assert_eq!(pair.take_events(0), []);
    assert_eq!(pair.budgets[1].used(), 0);
}

#[test]
fn a_reset_after_fin_leaves_what_was_sent() {
    let mut pair = Pair::new(6);
    let id = pair.open(0);
    pair.write(0, id, b"complete");
    pair.ends[0].finish(id).unwrap();
    pair.settle();
    // The answer does not fit, so that its writer waits to be told.
    let mut answer = Bytes::from(vec![1; 600_000]);
    pair.ends[1].write(id, &mut answer).unwrap();
    pair.take_events(1);
    pair.ends[0].reset(id, ResetCode::NONE);
    pair.settle();
    assert!(pair.take_events(1).contains(&Event::Writable { id }));
    assert_eq!(pair.ends[1].write(id, &mut answer), Err(WriteError::Reset));
    assert_eq!(pair.read_all(1, id), (b"complete".to_vec(), Read::Eof));
    assert_eq!(pair.take_events(1), [Event::Closed { id }]);
}

#[test]
fn a_stream_reset_before_it_was_sent_was_never_there() {
    let mut lone = Lone::new(Role::Client, Config::default());
    let id = lone.machine.open(lone.now).unwrap();
    lone.machine.reset(id, ResetCode::NONE);
    assert_eq!(lone.sent(), []);
    assert_eq!(lone.machine.open(lone.now), Ok(StreamId::new(3)));
}

#[test]
fn close_sends_what_was_written_and_ignores_what_comes() {
    let mut pair = Pair::new(7);
    let id = pair.open(0);
    pair.write(1, id, &[1; 3000]);
    pair.settle();
    pair.write(0, id, b"last words");
    pair.ends[0].close(id, pair.now).unwrap();
    assert_eq!(pair.budgets[0].used(), 0);
    pair.settle();
    assert_eq!(pair.take_events(0), [Event::Readable { id }, Event::Closed { id }]);
    pair.write(1, id, &[2; 3000]);
    pair.ends[1].finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.read_all(1, id), (b"last words".to_vec(), Read::Eof));
    assert_eq!(pair.ends.each_ref().map(crate::yamux::Machine::stream_count), [0, 0]);
}

#[test]
fn go_away_stops_new_streams_and_leaves_the_others() {
    let mut pair = Pair::new(8);
    let id = pair.open(0);
    pair.take_events(1);
    pair.ends[1].go_away(GoAwayCode::SHUTDOWN);
    assert_eq!(pair.ends[1].open(pair.now), Err(OpenError::Closing));
    // This one crosses the GoAway on the way.
    let late = pair.ends[0].open(pair.now).unwrap();
    pair.settle();
    let told = pair.take_events(0);
    assert!(told.contains(&Event::GoAway { code: GoAwayCode::SHUTDOWN }));
    assert!(told.contains(&Event::Reset { id: late, code: ResetCode::SHUTDOWN, cause: ResetCause::Peer }));
    assert_eq!(pair.ends[0].open(pair.now), Err(OpenError::PeerGoingAway));
    pair.write(0, id, b"still here");
    pair.settle();
    assert_eq!(pair.read_all(1, id).0, b"still here");
}

#[test]
fn streams_share_by_bytes_not_by_writes() {
    let mut lone = Lone::new(Role::Client, Config::default());
    let streams: Vec<StreamId> = (0..3).map(|_| lone.machine.open(lone.now).unwrap()).collect();
    lone.sent();
    for (at, &id) in streams.iter().enumerate() {
        // The same amount, in writes of very different sizes.
        for _ in 0..[1, 50, 200][at] {
            lone.machine.write(id, &mut vec![0; 200_000 / [1, 50, 200][at]].into()).unwrap();
        }
    }
    let (first_nine, mut sums) = (lone.sent(), [0_u32; 3]);
    for header in &first_nine[..9] {
        let at = streams.iter().position(|&id| id == header.id).unwrap();
        sums[at] += header.len;
    }
    assert_eq!(sums, [3 * 65_507; 3]);
}

#[test]
fn small_writes_leave_in_large_frames_that_fill_a_message() {
    let mut lone = Lone::new(Role::Client, Config::default());
    let id = lone.machine.open(lone.now).unwrap();
    lone.sent();
    (0..150).for_each(|_| _ = lone.machine.write(id, &mut vec![0; 1000].into()).unwrap());
    let lens: Vec<u32> = lone.sent().iter().map(|header| header.len).collect();
    assert_eq!(lens, [65_507, 65_507, 150_000 - 2 * 65_507]);
}

#[test]
fn opening_waits_for_acks_and_says_when_to_go_on() {
    let mut lone = Lone::new(Role::Client, Config::default());
    let opened: Vec<StreamId> = (0..256).map(|_| lone.machine.open(lone.now).unwrap()).collect();
    assert_eq!(lone.machine.open(lone.now), Err(OpenError::Backlog));
    assert_eq!(lone.sent().len(), 256);
    lone.say(Kind::WindowUpdate, 2, opened[9].as_u32(), 0, b"").unwrap();
    assert_eq!(lone.events(), [Event::OpenReady]);
    assert!(lone.machine.open(lone.now).is_ok());
    // A reset of an un-ACKed stream makes room too.
    assert_eq!(lone.machine.open(lone.now), Err(OpenError::Backlog));
    lone.say(Kind::WindowUpdate, 8, opened[0].as_u32(), 0, b"").unwrap();
    assert_eq!(lone.events().first(), Some(&Event::OpenReady));
}

#[test]
fn ids_run_out_and_are_not_used_again() {
    let mut lone = Lone::new(Role::Client, Config::default());
    lone.machine.next_id = Some(u32::MAX - 2);
    assert_eq!(lone.machine.open(lone.now), Ok(id(u32::MAX - 2)));
    assert_eq!(lone.machine.open(lone.now), Ok(id(u32::MAX)));
    assert_eq!(lone.machine.open(lone.now), Err(OpenError::IdsExhausted));
}

#[test]
fn outbound_streams_are_limited() {
    let config = Config { max_outbound: 2, ..Config::default() };
    let mut lone = Lone::new(Role::Server, config);
    let id = lone.machine.open(lone.now).unwrap();
    lone.machine.open(lone.now).unwrap();
    assert_eq!(lone.machine.open(lone.now), Err(OpenError::TooMany));
    lone.machine.reset(id, ResetCode::NONE);
    assert_eq!(lone.events(), [Event::OpenReady]);
}

#[test]
fn each_class_has_its_limit() {
    let config = Config { max_inbound: 2, max_inbound_bitswap: 3, ..Config::default() };
    let mut lone = Lone::new(Role::Server, config);
    for number in [1, 3, 5, 7, 9, 11] {
        lone.syn(number);
    }
    for number in [1, 3] {
        lone.machine.classify(id(number), StreamClass::Ordinary).unwrap();
    }
    lone.sent();
    assert_eq!(lone.machine.classify(id(5), StreamClass::Ordinary), Err(ClassifyError::LimitReached));
    let sent = lone.sent();
    assert_eq!((sent[0].id, sent[0].flags, sent[0].len), (id(5), Flags::RST, 0x1002));
    assert_eq!(lone.machine.classify(id(5), StreamClass::Ordinary), Err(ClassifyError::Gone));
    for number in [7, 9, 11] {
        lone.machine.classify(id(number), StreamClass::Bitswap).unwrap();
    }
    // Moving one between classes frees its place.
    assert_eq!(lone.machine.classify(id(1), StreamClass::Bitswap), Err(ClassifyError::LimitReached));
    lone.machine.classify(id(9), StreamClass::Ordinary).unwrap();
    lone.machine.classify(id(3), StreamClass::Bitswap).unwrap();
    assert_eq!(lone.machine.stream_count(), 4);
}

#[test]
fn acks_are_withheld_while_many_streams_are_unnegotiated() {
    let mut lone = Lone::new(Role::Server, Config::default());
    (0..600).for_each(|n| lone.syn(2 * n + 1));
    let sent = lone.sent();
    let count = |flag| sent.iter().filter(|header| header.flags == flag).count();
    // 256 ACKed, 256 waiting, the rest refused.
    assert_eq!((count(Flags::ACK), count(Flags::RST)), (256, 88));
    assert_eq!(lone.machine.stream_count(), 512);
    lone.machine.classify(id(1), StreamClass::Bitswap).unwrap();
    lone.machine.reset(id(3), ResetCode::NONE);
    // One that waited itself is ACKed when it is classified.
    lone.machine.classify(id(1001), StreamClass::Bitswap).unwrap();
    let acked: Vec<u32> =
        lone.sent().iter().filter(|h| h.flags == Flags::ACK).map(|h| h.id.as_u32()).collect();
    assert_eq!(acked, [513, 515, 1001]);
}

#[test]
fn pings_are_answered_and_measure_the_path() {
    let mut pair = Pair::with(9, Config::default(), Duration::from_millis(40), 0);
    pair.settle();
    let rtts: Vec<Event> = pair.events.iter().flatten().copied().collect();
    assert_eq!(rtts, [Event::Pong { rtt: Duration::from_millis(80) }; 2]);
    assert_eq!(pair.ends[0].rtt(), Some(Duration::from_millis(80)));
    pair.pass(Duration::from_secs(95));
    assert_eq!(pair.events[0].len(), 4, "one at once, one every 30 s");
    assert!(!pair.take_events(0).contains(&Event::PeerSilent));
}

#[test]
fn a_silent_peer_is_noticed_but_not_one_that_only_leaves_pings_unanswered() {
    for (talks, silent) in [(false, true), (true, false)] {
        let mut lone = Lone::new(Role::Client, Config::default());
        let mut events = Vec::new();
        for second in 1..=60_u64 {
            lone.now = peerage_base::Instant::from_nanos(second * 1_000_000_000);
            if talks && second % 5 == 0 {
                lone.data(77, 10);
            }
            lone.machine.handle_timeout(lone.now);
            lone.sent();
            events.extend(lone.events());
        }
        assert_eq!(events.contains(&Event::PeerSilent), silent);
    }
}

#[test]
fn a_peer_that_does_not_even_take_our_ping_is_noticed() {
    let mut lone = Lone::new(Role::Client, Config::default());
    lone.say(Kind::Ping, 2, 0, 1, b"").unwrap();
    assert!(matches!(lone.events()[..], [Event::Pong { .. }]));
    while let Some((at, _)) = lone.machine.poll_timeout()
        && at < peerage_base::Instant::from_nanos(55_000_000_000)
    {
        lone.machine.handle_timeout(at);
    }
    assert_eq!(lone.events(), [Event::PeerSilent]);
}

#[test]
fn whoever_waits_until_all_is_sent_is_told() {
    let mut pair = Pair::new(7);
    let id = pair.open(0);
    pair.settle();
    assert_eq!(pair.ends[0].drain(id), Ok(true));
    // More than the peer's window, so that some of it waits for the reader.
    let mut data = Bytes::from(vec![1; 256 * 1024]);
    let mut rest = Bytes::from(vec![1; 1000]);
    pair.ends[0].write(id, &mut data).unwrap();
    assert_eq!(pair.ends[0].drain(id), Ok(false));
    pair.settle();
    assert_eq!(pair.take_events(0), [Event::Writable { id }], "all of the window was sent");
    assert_eq!(pair.ends[0].drain(id), Ok(true));
    pair.ends[0].write(id, &mut rest).unwrap();
    assert_eq!(pair.ends[0].drain(id), Ok(false));
    pair.settle();
    assert_eq!(pair.take_events(0), [], "there is no window for the rest");
    pair.read_all(1, id);
    pair.settle();
    assert_eq!(pair.take_events(0), [Event::Writable { id }]);
    assert_eq!(pair.ends[0].drain(id), Ok(true));
    pair.ends[1].reset(id, ResetCode::NONE);
    pair.settle();
    assert_eq!(pair.ends[0].drain(id), Err(StreamGone));
}

#[test]
fn go_away_follows_what_was_queued_before_it() {
    let mut lone = Lone::new(Role::Client, Config::default());
    let mut open = || lone.machine.open(lone.now).unwrap();
    let (id, blocked) = (open(), open());
    lone.machine.write(id, &mut Bytes::from(vec![1; 200_000])).unwrap();
    lone.machine.finish(id).unwrap();
    // More than the window: what the peer does not take yet holds nothing up.
    lone.machine.write(blocked, &mut Bytes::from(vec![1; 262_144])).unwrap();
    lone.sent();
    lone.machine.write(blocked, &mut Bytes::from(vec![1; 1000])).unwrap();
    let late = lone.machine.open(lone.now).unwrap();
    lone.machine.write(late, &mut Bytes::from(vec![1; 100_000])).unwrap();
    lone.machine.go_away(GoAwayCode::NORMAL);
    let sent = lone.sent();
    assert_eq!(sent.iter().filter(|header| header.kind == Kind::Data).count(), 2);
    assert_eq!(sent.iter().position(|header| header.kind == Kind::GoAway), Some(sent.len() - 1));
    assert!(!lone.machine.has_transmit());
}
