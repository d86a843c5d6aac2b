//! A peer that does what it must not: each violation ends the connection or
//! is ignored, none panics, none keeps memory.

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::Lone;
use crate::yamux::frame::{Flags, Header, Kind};
use crate::yamux::{Config, Event, OpenError, ProtocolError, Read, ResetCause, ResetCode, Role, StreamId};

const SYN: u16 = 1;
const FIN: u16 = 4;
const RST: u16 = 8;

fn server() -> Lone {
    Lone::new(Role::Server, Config::default())
}

/// After `error` the machine says GoAway, holds nothing and takes nothing.
fn is_over(mut lone: Lone, error: ProtocolError) {
    assert_eq!(lone.budget.used(), 0);
    assert_eq!((lone.machine.stream_count(), lone.machine.unread_bytes()), (0, 0));
    assert_eq!(lone.sent(), [Header::go_away(1)]);
    assert_eq!(lone.events(), []);
    assert_eq!(lone.machine.poll_timeout(), None);
    assert_eq!(lone.machine.open(lone.now), Err(OpenError::Closing));
    assert_eq!(lone.say(Kind::Ping, SYN, 0, 1, b""), Err(error));
    assert_eq!(lone.sent(), []);
}

#[test]
fn more_than_the_window_is_refused_by_its_header() {
    let mut lone = server();
    lone.syn(1);
    lone.data(1, 262_144 - 10);
    let error = ProtocolError::WindowExceeded { id: StreamId::new(1), len: 11, window: 10 };
    assert_eq!(lone.say(Kind::Data, 0, 1, 11, b""), Err(error));
    is_over(lone, error);
}

#[test]
fn a_huge_frame_is_refused_even_on_its_first_stream_or_a_gone_one() {
    let mut lone = server();
    let error = lone.say(Kind::Data, SYN, 1, u32::MAX, b"").unwrap_err();
    assert!(matches!(error, ProtocolError::WindowExceeded { len: u32::MAX, .. }));
    is_over(lone, error);
    let mut lone = server();
    let error = ProtocolError::FrameTooLarge(16 * 1024 * 1024 + 1);
    assert_eq!(lone.say(Kind::Data, 0, 9, 16 * 1024 * 1024 + 1, b""), Err(error));
    is_over(lone, error);
}

#[test]
fn ids_have_a_parity_and_are_used_once() {
    let mut lone = server();
    let error = ProtocolError::WrongParity(StreamId::new(2));
    assert_eq!(lone.say(Kind::WindowUpdate, SYN, 2, 0, b""), Err(error));
    is_over(lone, error);
    // While it is open, after it was reset, and when it was refused.
    let reuse = ProtocolError::IdReused(StreamId::new(5));
    for second in [SYN, SYN | RST] {
        let mut lone = server();
        lone.syn(5);
        assert_eq!(lone.say(Kind::WindowUpdate, second, 5, 0, b""), Err(reuse));
        let mut lone = server();
        lone.syn(5);
        lone.machine.reset(StreamId::new(5), ResetCode::NONE);
        assert_eq!(lone.say(Kind::Data, second, 5, 0, b""), Err(reuse));
        is_over(lone, reuse);
    }
    let mut lone = Lone::new(Role::Client, Config { max_inbound_pending: 0, ..Config::default() });
    lone.syn(4);
    assert_eq!(lone.sent(), [Header::window_update(StreamId::new(4), Flags::RST, 0x1002)]);
    assert!(lone.say(Kind::WindowUpdate, SYN, 4, 0, b"").is_err());
}

#[test]
fn ids_may_come_out_of_order() {
    let mut lone = server();
    for id in [7, 1, 5, 9, 3, 11] {
        lone.syn(id);
    }
    assert_eq!(lone.machine.stream_count(), 6);
    assert!(lone.say(Kind::WindowUpdate, SYN, 3, 0, b"").is_err());
}

#[test]
fn an_id_too_old_to_know_is_refused_alone() {
    let mut lone = server();
    lone.syn(u32::MAX);
    lone.sent();
    // Among the newest 512 that were skipped.
    lone.syn(u32::MAX - 1024);
    lone.syn(u32::MAX - 1026);
    lone.syn(1);
    let sent: Vec<_> = lone.sent().iter().map(|header| (header.flags, header.id.as_u32())).collect();
    assert_eq!(sent, [(Flags::RST, u32::MAX - 1026), (Flags::RST, 1), (Flags::ACK, u32::MAX - 1024)]);
}

#[test]
fn stream_frames_for_the_session_are_refused() {
    for (kind, flags) in [(Kind::Data, 0), (Kind::WindowUpdate, SYN), (Kind::WindowUpdate, RST)] {
        let mut lone = server();
        assert_eq!(lone.say(kind, flags, 0, 0, b""), Err(ProtocolError::SessionStream));
        is_over(lone, ProtocolError::SessionStream);
    }
}

#[test]
fn a_window_beyond_32_bits_is_refused() {
    let mut lone = server();
    lone.syn(1);
    lone.say(Kind::WindowUpdate, 0, 1, u32::MAX - 262_144, b"").unwrap();
    let error = ProtocolError::WindowOverflow(StreamId::new(1));
    assert_eq!(lone.say(Kind::WindowUpdate, 0, 1, 1, b""), Err(error));
    is_over(lone, error);
}

#[test]
fn frames_for_unknown_streams_are_drained() {
    let mut lone = server();
    lone.data(33, 100_000);
    lone.data(44, 100_000);
    lone.say(Kind::WindowUpdate, FIN, 33, u32::MAX, b"").unwrap();
    lone.say(Kind::WindowUpdate, RST, 35, 5, b"").unwrap();
    lone.say(Kind::Data, RST | FIN, 37, 3, b"abc").unwrap();
    lone.say(Kind::WindowUpdate, SYN | RST, 39, 0, b"").unwrap();
    assert_eq!((lone.events(), lone.sent()), (vec![], vec![]));
    lone.syn(1);
    assert_eq!(lone.machine.stream_count(), 1);
}

#[test]
fn flags_ride_on_any_frame() {
    let mut lone = server();
    let id = StreamId::new(1);
    lone.say(Kind::Data, SYN | FIN, 1, 3, b"all").unwrap();
    assert_eq!(lone.events(), [Event::StreamOpened { id }, Event::Readable { id }]);
    assert_eq!(lone.machine.read(id, 2, lone.now), Read::Data(Bytes::from_static(b"al")));
    assert_eq!(lone.machine.read(id, 2, lone.now), Read::Data(Bytes::from_static(b"l")));
    assert_eq!(lone.machine.read(id, 2, lone.now), Read::Eof);
    // Data after FIN is dropped; RST on data carries no code, and its payload is drained.
    lone.data(1, 10);
    lone.say(Kind::Data, SYN, 3, 0, b"").unwrap();
    lone.say(Kind::Data, RST, 3, 4, b"gone").unwrap();
    let reset = Event::Reset { id: StreamId::new(3), code: ResetCode::NONE, cause: ResetCause::Peer };
    assert_eq!(lone.events().last(), Some(&reset));
    assert_eq!((lone.machine.stream_count(), lone.budget.used()), (1, 0));
}

#[test]
fn a_reset_in_the_middle_of_a_frame_drains_the_rest() {
    let mut lone = server();
    lone.syn(1);
    lone.say(Kind::Data, FIN, 1, 1000, &[0; 400]).unwrap();
    lone.machine.reset(StreamId::new(1), ResetCode::NONE);
    assert_eq!(lone.budget.used(), 0);
    lone.machine.handle_input(vec![0; 600].into(), lone.now).unwrap();
    lone.syn(3);
    assert_eq!((lone.machine.stream_count(), lone.budget.used()), (1, 0));
}

#[test]
fn pings_are_answered_in_order_up_to_a_bound() {
    let mut lone = server();
    (100..200).for_each(|value| lone.say(Kind::Ping, SYN, 0, value, b"").unwrap());
    let pongs: Vec<Header> = (100..132).map(|value| Header::ping(Flags::ACK, value)).collect();
    assert_eq!(lone.sent(), pongs);
}

#[test]
fn wrong_pongs_are_ignored() {
    let mut lone = server();
    lone.say(Kind::Ping, 2, 0, 999, b"").unwrap();
    lone.say(Kind::Ping, 0, 0, 998, b"").unwrap();
    assert_eq!((lone.events(), lone.machine.rtt(), lone.sent()), (vec![], None, vec![]));
}

#[test]
fn provoking_resets_without_reading_them_ends_the_connection() {
    let config = Config { max_inbound_pending: 1, ..Config::default() };
    let mut lone = Lone::new(Role::Server, config);
    let flood = (0..5000).map(|n| lone.say(Kind::WindowUpdate, SYN, 2 * n + 1, 0, b""));
    let refused = flood.take_while(Result::is_ok).count();
    assert_eq!(refused, 1 + 4096);
    is_over(lone, ProtocolError::Flooded);
}

#[test]
fn opening_and_resetting_forever_leaves_nothing_behind() {
    let mut lone = server();
    for n in 0..20_000 {
        lone.syn(2 * n + 1);
        lone.machine.write(StreamId::new(2 * n + 1), &mut Bytes::from_static(b"hello")).unwrap();
        lone.say(Kind::WindowUpdate, RST, 2 * n + 1, 0, b"").unwrap();
        lone.events();
    }
    assert!(lone.machine.output.stale_len() < 200);
    assert!(!lone.machine.has_transmit());
}

/// Bytes that look like frames more often than chance has it.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..2000_u32, any::<u32>(), Just(262_144)];
    let frame =
        (0..5_u8, 0..16_u16, 0..12_u32, len, 0..3000_usize).prop_map(|(kind, flags, id, len, body)| {
            let mut bytes = vec![0, kind, 0, u8::try_from(flags).unwrap()];
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.resize(12 + body.min(if kind == 0 { len as usize } else { 0 }), 7);
            bytes
        });
    prop::collection::vec(frame, 0..40).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn nothing_that_arrives_panics_or_keeps_budget(
        bytes in prop_oneof![frames(), prop::collection::vec(any::<u8>(), 0..500)],
        cut in 1..600_usize,
        client: bool,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut lone = Lone::within(role, Config { unread_slack: 3000, ..Config::default() }, 5000);
        lone.machine.open(lone.now).unwrap();
        let mut result = Ok(());
        for piece in bytes.chunks(cut) {
            result = result.and(lone.machine.handle_input(Bytes::copy_from_slice(piece), lone.now));
            for event in lone.events() {
                if let Event::Readable { id } | Event::StreamOpened { id } = event {
                    lone.machine.read(id, 100, lone.now);
                    _ = lone.machine.write(id, &mut Bytes::from_static(b"answer"));
                }
            }
            lone.sent();
            prop_assert!(lone.machine.unread_bytes() <= 3000);
            prop_assert_eq!(lone.budget.used(), lone.machine.unread_bytes());
        }
        drop(lone.machine);
        prop_assert_eq!(lone.budget.used(), 0);
    }
}
