//! The yamux machine: frames of a peer that says what it likes, cut anywhere,
//! while its other user reads, writes and ends streams.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, SharedBudget};
use peerage_transport::yamux::{
    Chunk, Config, Event, GoAwayCode, Machine, Read, ResetCode, Role, StreamClass, StreamId,
};

use crate::Decoder;
use crate::input::{Cuts, Values, however_cut};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "yamux",
        run: cut,
        seeds: || scripts().map(|frames| Cuts::seed([12, 5, 1], &frames)).to_vec(),
    },
    Decoder { name: "yamux-used", run: used, seeds: used_seeds },
];

const NOW: Instant = Instant::START;

/// All that a machine made of a stream: events, bytes, what it sends.
#[derive(Debug, PartialEq)]
struct Made {
    events: Vec<Event>,
    read: Vec<(StreamId, Vec<u8>, bool)>,
    sent: Vec<u8>,
    streams: usize,
    failed: bool,
}

/// The frames come at once or in pieces; only then is anything read.
fn cut(input: &[u8]) -> bool {
    let made = however_cut(input, |pieces| {
        let budget = SharedBudget::new(1 << 30);
        let mut machine = Machine::new(Role::Server, Config::default(), budget.share(), NOW);
        let mut failed = false;
        for piece in pieces {
            failed |= machine.handle_input(Bytes::copy_from_slice(piece), NOW).is_err();
        }
        let events: Vec<Event> = std::iter::from_fn(|| machine.poll_event()).collect();
        let ids = events.iter().filter_map(|event| match event {
            Event::StreamOpened { id } => Some(*id),
            _ => None,
        });
        let read = ids.map(|id| {
            let mut data = Vec::new();
            loop {
                match machine.read(id, usize::MAX, NOW) {
                    Read::Data(more) => data.extend_from_slice(&more),
                    end => return (id, data, end == Read::Eof),
                }
            }
        });
        let read = read.collect();
        let made = Made { events, read, sent: sent(&mut machine), streams: machine.stream_count(), failed };
        drop(machine);
        assert_eq!(budget.used(), 0, "what was taken is given back");
        made
    });
    !made.failed && !made.events.is_empty()
}

/// All that a machine wants to send.
fn sent(machine: &mut Machine) -> Vec<u8> {
    let mut chunks: Vec<Chunk> = Vec::new();
    while machine.poll_transmit(NOW, 65_519, &mut chunks) > 0 {}
    chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect()
}

/// Narrow limits, so that short inputs meet them.
fn narrow() -> Config {
    Config {
        unread_slack: 1024,
        send_buffer: 256,
        max_inbound: 3,
        max_inbound_bitswap: 3,
        max_inbound_pending: 4,
        ack_pending_below: 2,
        max_outbound: 3,
        max_unacked: 2,
        max_pongs: 3,
        max_queued_resets: 6,
        ..Config::default()
    }
}

/// Pieces of frames, and between them what the user of the streams does.
fn used(input: &[u8]) -> bool {
    let mut values = Values(input);
    let role = if values.u8().is_multiple_of(2) { Role::Server } else { Role::Client };
    let budget = SharedBudget::new(8 * 1024);
    let (other, mut now) = (budget.share(), NOW);
    let mut machine = Machine::new(role, narrow(), budget.share(), now);
    let (mut ids, mut failed, mut heard): (Vec<StreamId>, bool, usize) = (Vec::new(), false, 0);
    while !values.is_empty() {
        let id = values.pick(&ids).copied();
        match (values.u8() % 16, id) {
            (0..=5, _) => {
                let piece = values.bytes();
                failed |= machine.handle_input(Bytes::copy_from_slice(piece), now).is_err();
            }
            (6, _) => drop(machine.open(now).map(|id| ids.push(id))),
            (7, Some(id)) => drop(machine.read(id, usize::from(values.u8()), now)),
            (8, Some(id)) => drop(machine.write(id, &mut Bytes::copy_from_slice(values.bytes()))),
            (9, Some(id)) => drop(machine.finish(id)),
            (10, Some(id)) => drop(machine.close(id, now)),
            (11, Some(id)) => machine.reset(id, ResetCode::SHUTDOWN),
            (12, Some(id)) => {
                let class = if values.u8() > 127 { StreamClass::Ordinary } else { StreamClass::Bitswap };
                let _ = machine.classify(id, class);
            }
            (13, Some(id)) => drop(machine.hold(id, values.u8().into())),
            (14, _) => {
                now += Duration::from_secs(values.u8().into());
                machine.handle_timeout(now);
            }
            (15, _) => match values.u8() % 4 {
                0 => machine.set_expected(values.u8().into()),
                1 => drop(other.take(values.u16().into())),
                2 => machine.make_room(),
                _ => machine.go_away(GoAwayCode::NORMAL),
            },
            _ => {}
        }
        while let Some(event) = machine.poll_event() {
            heard += 1;
            if let Event::StreamOpened { id } = event {
                ids.push(id);
            }
        }
        drop(sent_at(&mut machine, now));
        assert!(machine.unread_bytes() <= 2 * budget.limit(), "unread bytes are bounded");
        assert!(!failed || machine.stream_count() == 0, "after a violation nothing is left");
    }
    drop(machine);
    drop(other);
    assert_eq!(budget.used(), 0, "what was taken is given back");
    !failed && heard > 0
}

fn sent_at(machine: &mut Machine, now: Instant) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    machine.poll_transmit(now, 300, &mut chunks);
    chunks
}

fn frame(kind: u8, flags: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let payload = if kind == 0 { payload } else { &[] };
    [&[0, kind, 0, flags, 0, 0, 0, id], &len[..], payload].concat()
}

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;
const RST: u8 = 8;

/// What peers say, frame by frame.
fn scripts() -> [Vec<u8>; 4] {
    [
        [frame(WINDOW, SYN, 1, b""), frame(DATA, 0, 1, b"hello"), frame(DATA, FIN, 1, b"")].concat(),
        [frame(DATA, SYN, 1, b"at once"), frame(WINDOW, RST, 1, b"12"), frame(DATA, 0, 1, b"late")].concat(),
        [frame(PING, SYN, 0, b"1234"), frame(PING, ACK, 0, b"1234"), frame(GO_AWAY, 0, 0, b"")].concat(),
        [frame(WINDOW, SYN, 3, b""), frame(WINDOW, SYN | FIN, 5, b""), frame(DATA, SYN | RST, 7, b"x")]
            .concat(),
    ]
}

fn used_seeds() -> Vec<Vec<u8>> {
    let say = |frames: &[u8]| [&[0, 0, u8::try_from(frames.len()).unwrap_or(0)], frames].concat();
    let act = |what: &[u8]| what.to_vec();
    let [first, second, third, fourth] = scripts();
    vec![
        [vec![0], say(&first), act(&[0, 12, 1]), act(&[0, 7, 200]), act(&[0, 8, 2, 1, 2]), act(&[0, 10])]
            .concat(),
        [vec![0], say(&second), say(&third), act(&[0, 13, 9]), act(&[0, 15, 1, 0, 9]), say(&fourth)].concat(),
        [vec![1], act(&[0, 6]), act(&[0, 6]), act(&[0, 8, 3, 1, 2, 3]), act(&[0, 9]), say(&third)].concat(),
    ]
}
