//! `peerage-wire`: varints, frames, the look at a message before it is decoded.

use bytes::Bytes;
use peerage_wire::frame::{Assembler, FrameError};
use peerage_wire::{scan, varint};

use crate::input::{Cuts, Values, however_cut};
use crate::{Decoder, hexes};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "varint",
        run: read_varint,
        seeds: || hexes(&["00", "7f", "8001", "ffffffffffffffff7f", "808080808000"]),
    },
    Decoder { name: "frame", run: frames, seeds: frame_seeds },
    Decoder {
        name: "scan",
        run: scanned,
        seeds: || {
            hexes(&[
                "01 02 0a00 0a00 0a00 1005",
                "01 01 0a0161 1005 0a0162 0a0163 0a0164",
                "01 ff 0a04 0a000a00",
            ])
        },
    },
];

fn read_varint(bytes: &[u8]) -> bool {
    let Ok(Some((value, used))) = varint::decode(bytes) else { return false };
    let mut again = Vec::new();
    varint::put(&mut again, value);
    assert_eq!(again, bytes[..used], "a number has one form");
    assert_eq!(varint::len(value), used);
    assert!((0..used).all(|cut| varint::decode(&bytes[..cut]) == Ok(None)));
    let mut rest = bytes;
    assert_eq!((varint::take(&mut rest), rest), (Some(value), &bytes[used..]));
    true
}

/// Longest message that is taken.
const MAX: usize = 1 << 17;

fn frames(input: &[u8]) -> bool {
    let (_, stream) = Cuts::of(input);
    let (messages, end) = however_cut(input, |pieces| assemble(pieces, stream.len()));
    let mut again = Vec::new();
    for message in &messages {
        varint::put(&mut again, message.len() as u64);
        again.extend_from_slice(message);
    }
    assert!(stream.starts_with(&again), "messages are all that has come");
    assert_eq!(again.len() == stream.len(), end == Ok(true), "the end is clean after a message");
    !messages.is_empty()
}

/// The messages of a stream, and whether it may end after them.
fn assemble(pieces: &mut dyn Iterator<Item = &[u8]>, len: usize) -> (Vec<Bytes>, Result<bool, FrameError>) {
    let (mut frames, mut messages) = (Assembler::new(MAX), Vec::new());
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            match frames.push(&mut piece) {
                Ok(message) => messages.extend(message),
                Err(error) => return (messages, Err(error)),
            }
            assert!(frames.buffered() <= 64 * 1024 + 2 * len, "memory is for what has come");
        }
    }
    (messages, Ok(frames.is_empty()))
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let mut large = vec![0xac, 0x02];
    large.extend([7; 300]);
    vec![
        Cuts::seed([1, 2, 3], b"\x02hi\x03the\x00"),
        Cuts::seed([32, 7, 1], &large),
        Cuts::seed([1, 1, 1], b"\x80\x80\x08claimed"),
        Cuts::seed([9, 9, 9], b"\xff\xff\xff\x7f"),
    ]
}

fn scanned(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (field, max) = (u32::from(values.u8() % 32), usize::from(values.u8()));
    let message = values.0;
    for nested in [&[][..], &[field]] {
        let Some(count) = scan::fields(message, nested, usize::MAX) else { continue };
        assert_eq!(scan::fields(message, nested, count), Some(count));
        assert!(count == 0 || scan::fields(message, nested, count - 1).is_none(), "the limit is one");
    }
    let message = Bytes::copy_from_slice(message);
    let thinned = scan::thin(message.clone(), field, max);
    // Both look at the same things, though the one also looks for a limit.
    assert_eq!(thinned.is_some(), scan::fields(&message, &[], usize::MAX).is_some());
    let Some(thinned) = thinned else { return false };
    assert!(thinned.len() <= message.len());
    assert_eq!(scan::thin(thinned.clone(), field, max), Some(thinned), "it is thin enough");
    true
}
