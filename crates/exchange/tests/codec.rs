//! The codec: golden bytes, round trips, what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use bytes::{BufMut, Bytes, BytesMut};
use peerage_content::{Cid, Multihash, Prefix};
use peerage_exchange::codec::{
    MessageError, decode, decoded_size, encode, encode_block_header, encode_blocks,
};
use peerage_exchange::limits::{ENTRIES_PER_MESSAGE, MESSAGE_FIELDS_MAX, MESSAGE_MAX};
use peerage_exchange::{Incoming, Outgoing, Presence, Version, WantEntry, WantKind};
use peerage_wire::bitswap as wire;
use peerage_wire::{Message as _, frame::Assembler};
use proptest::prelude::*;

fn vector(name: &str) -> Bytes {
    let text = include_str!("../../../tests/vectors/libp2p/wire-frames.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let row = file["vectors"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    hex::decode(row["hex"].as_str().unwrap()).unwrap().into()
}

fn hello() -> Cid {
    Cid::read_bytes(
        &hex::decode("01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9").unwrap()[..],
    )
    .unwrap()
}

fn messages(mut stream: Bytes) -> Vec<Incoming> {
    let mut frames = Assembler::new(MESSAGE_MAX);
    let mut out = Vec::new();
    while !stream.is_empty() {
        out.push(decode(frames.push(&mut stream).unwrap().unwrap()).unwrap());
    }
    assert!(frames.is_empty());
    out
}

#[test]
fn golden_bytes() {
    let cid = hello();
    let want = |kind| WantEntry { cid, priority: 1, kind, send_dont_have: true };
    let rows = [
        (
            "bitswap want-have sendDontHave",
            Outgoing { full: true, wants: vec![want(WantKind::Have)], ..Outgoing::default() },
        ),
        ("bitswap want-block", Outgoing { wants: vec![want(WantKind::Block)], ..Outgoing::default() }),
        ("bitswap cancel", Outgoing { cancels: vec![cid], ..Outgoing::default() }),
        ("bitswap presence HAVE", Outgoing { presences: vec![(cid, Presence::Have)], ..Outgoing::default() }),
        (
            "bitswap presence DONT_HAVE",
            Outgoing { presences: vec![(cid, Presence::DontHave)], ..Outgoing::default() },
        ),
    ];
    for (name, message) in rows {
        let bytes = vector(name);
        assert_eq!(encode(&message, Version::V1_2), bytes, "{name}");
        let Outgoing { full, wants, cancels, presences } = message;
        let incoming = Incoming { full, wants, cancels, presences, ..Incoming::default() };
        assert_eq!(messages(bytes), [incoming], "{name}");
    }
    let block = vector("bitswap block response v1 raw");
    let data = Bytes::from_static(b"hello world");
    let prefix = Prefix::of(&cid);
    assert_eq!(messages(block.clone())[0].blocks, [(prefix, data.clone())]);
    let header = encode_block_header(&prefix, 11, Version::V1_2);
    assert_eq!([&header[..], &data[..]].concat(), block);
    assert_eq!(encode_blocks(&[(prefix, data)], Version::V1_1), block);
    let v0 = Prefix::parse(&vector("bitswap block response prefix of a CIDv0")).unwrap();
    let old = encode_blocks(&[(prefix, Bytes::from_static(b"x"))], Version::V1_0);
    assert_eq!(old, Bytes::from_static(b"\x03\x12\x01x"));
    assert_eq!(messages(old)[0].blocks, [(v0, Bytes::from_static(b"x"))]);
}

#[test]
fn what_no_peer_may_send_is_left_out_by_entry() {
    let good = hello();
    let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"inline").unwrap());
    let unknown = Cid::new_v1(0x55, Multihash::wrap(0xd5, &[7; 16]).unwrap());
    let short = Cid::new_v1(0x55, Multihash::wrap(0x12, &[7; 8]).unwrap());
    let mut blocks: Vec<Bytes> =
        [good, identity, unknown, short].iter().map(|cid| cid.to_bytes().into()).collect();
    blocks.push(vec![1; 169].into());
    blocks.push(Bytes::new());
    blocks.push([&good.to_bytes()[..], b"x"].concat().into());
    let entries: Vec<_> =
        blocks.iter().map(|block| wire::Entry { block: block.clone(), ..wire::Entry::default() }).collect();
    let odd = wire::Entry { block: blocks[0].clone(), want_type: 9, ..wire::Entry::default() };
    let presences =
        blocks.iter().map(|cid| wire::BlockPresence { cid: cid.clone(), ..wire::BlockPresence::default() });
    let message = wire::Message {
        wantlist: Some(wire::Wantlist { entries: [entries, vec![odd]].concat(), full: false }),
        block_presences: presences.collect(),
        payload: vec![wire::Block { prefix: Bytes::from_static(b"\x01"), data: Bytes::new() }],
        pending_bytes: -1,
        ..wire::Message::default()
    };
    let incoming = decode(message.encode_to_vec().into()).unwrap();
    assert_eq!(incoming.wants.iter().map(|want| want.cid).collect::<Vec<_>>(), [good]);
    assert_eq!(incoming.presences, [(good, Presence::Have)]);
    assert_eq!((incoming.blocks.len(), incoming.pending_bytes), (0, 0));
}

#[test]
fn limits() {
    let large = Bytes::from(vec![0; MESSAGE_MAX + 1]);
    assert_eq!(decode(large), Err(MessageError::TooLarge(MESSAGE_MAX + 1)));
    let many = Bytes::from(b"\x12\x00".repeat(MESSAGE_FIELDS_MAX + 1));
    assert_eq!(decode(many), Err(MessageError::TooManyFields));
    // The same, inside the wantlist.
    let mut nested = BytesMut::from(&b"\x0a"[..]);
    let entries = b"\x0a\x00".repeat(MESSAGE_FIELDS_MAX);
    peerage_wire::varint::put(&mut nested, entries.len() as u64);
    nested.put_slice(&entries);
    assert_eq!(decode(nested.freeze()), Err(MessageError::TooManyFields));
    assert_eq!(decode(Bytes::new()), Ok(Incoming::default()));
}

#[test]
fn a_block_is_a_slice_of_its_message() {
    let prefix = Prefix::of(&hello());
    let message = encode_blocks(&[(prefix, vec![7; 5000].into())], Version::V1_2);
    let body = Assembler::new(MESSAGE_MAX).push(&mut message.clone()).unwrap().unwrap();
    let range = body.as_ptr_range();
    let block = decode(body).unwrap().blocks.remove(0).1;
    assert!(range.contains(&block.as_ptr()));
}

#[test]
fn long_messages_are_split_and_old_peers_spared() {
    let cid = |n: u64| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        Cid::new_v1(0x55, Multihash::wrap(0x12, &digest).unwrap())
    };
    let kind = |n| if n % 2 == 0 { WantKind::Block } else { WantKind::Have };
    let count = ENTRIES_PER_MESSAGE as u64 + 10;
    let message = Outgoing {
        full: true,
        wants: (0..count)
            .map(|n| WantEntry { cid: cid(n), priority: 7, kind: kind(n), send_dont_have: true })
            .collect(),
        cancels: vec![cid(99_999)],
        presences: vec![(cid(5), Presence::Have)],
    };
    let parts = messages(encode(&message, Version::V1_2));
    assert_eq!(parts[0].cancels, message.cancels, "cancels make room first");
    assert!(parts[0].wants.is_empty());
    assert_eq!(parts.iter().map(|part| part.full).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(parts.iter().flat_map(|part| part.wants.clone()).collect::<Vec<_>>(), message.wants);
    assert_eq!(parts.iter().flat_map(|part| part.presences.clone()).collect::<Vec<_>>(), message.presences);
    let old = messages(encode(&message, Version::V1_1));
    assert!(old.iter().all(|part| part.presences.is_empty()));
    let wants: Vec<_> = old.iter().flat_map(|part| &part.wants).collect();
    assert_eq!(wants.len() as u64, count / 2);
    assert!(wants.iter().all(|want| want.kind == WantKind::Block && !want.send_dont_have));
    assert!(encode(&Outgoing::default(), Version::V1_2).is_empty());
}

prop_compose! {
    fn any_cid()(digest in any::<[u8; 32]>(), v0 in any::<bool>()) -> Cid {
        let hash = Multihash::wrap(0x12, &digest).unwrap();
        if v0 { Cid::new_v0(hash).unwrap() } else { Cid::new_v1(0x55, hash) }
    }
}

prop_compose! {
    fn any_want()(cid in any_cid(), priority: i32, have: bool, send_dont_have: bool) -> WantEntry {
        WantEntry { cid, priority, kind: if have { WantKind::Have } else { WantKind::Block }, send_dont_have }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(
        wants in proptest::collection::vec(any_want(), 0..20),
        cancels in proptest::collection::vec(any_cid(), 0..20),
        presences in proptest::collection::vec((any_cid(), any::<bool>()), 0..20),
        full: bool,
    ) {
        let presences: Vec<_> = presences
            .into_iter()
            .map(|(cid, have)| (cid, if have { Presence::Have } else { Presence::DontHave }))
            .collect();
        let message = Outgoing { full, wants, cancels, presences };
        let parts = messages(encode(&message, Version::V1_2));
        prop_assert_eq!(parts.iter().flat_map(|p| p.wants.clone()).collect::<Vec<_>>(), message.wants.clone());
        prop_assert_eq!(parts.iter().flat_map(|p| p.cancels.clone()).collect::<Vec<_>>(), message.cancels);
        prop_assert_eq!(parts.iter().flat_map(|p| p.presences.clone()).collect::<Vec<_>>(), message.presences);
        prop_assert_eq!(parts.iter().any(|p| p.full), full && !message.wants.is_empty());
    }

    #[test]
    fn blocks_round_trip(
        blocks in proptest::collection::vec((any_cid(), proptest::collection::vec(any::<u8>(), 0..400)), 0..8),
        old: bool,
    ) {
        let version = if old { Version::V1_0 } else { Version::V1_2 };
        let blocks: Vec<(Prefix, Bytes)> =
            blocks.into_iter().map(|(cid, data)| (Prefix::of(&cid), data.into())).collect();
        let got = messages(encode_blocks(&blocks, version)).remove(0).blocks;
        prop_assert_eq!(got.len(), blocks.len());
        for ((prefix, data), (sent, payload)) in got.into_iter().zip(blocks) {
            prop_assert_eq!(&data, &payload);
            prop_assert!(old || prefix == sent);
            // The header alone is what stands before the payload.
            let len = u32::try_from(payload.len()).unwrap();
            let mut alone = BytesMut::from(&encode_block_header(&sent, len, version)[..]);
            alone.put(payload);
            prop_assert_eq!(&messages(alone.freeze())[0].blocks[0].1, &data);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(bytes.into());
    }

    #[test]
    fn damaged_messages_never_panic(
        wants in proptest::collection::vec(any_want(), 1..4),
        at: proptest::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode(&Outgoing { wants, ..Outgoing::default() }, Version::V1_2).to_vec();
        bytes.remove(0);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(bytes.into());
    }
}

/// Whoever decodes a message has to know before what that will take.
#[test]
fn the_entries_of_a_message_weigh_what_they_take() {
    assert_eq!(decoded_size(&[]), Ok(0));
    let want = WantEntry { cid: hello(), priority: 1, kind: WantKind::Block, send_dont_have: false };
    let message = Outgoing { wants: vec![want; 1000], ..Outgoing::default() };
    let bytes = encode(&message, Version::V1_2);
    let weight = decoded_size(&bytes[3..]).unwrap();
    assert_eq!(messages(bytes.clone())[0].wants.len(), 1000);
    assert!(weight >= 1000 * size_of::<WantEntry>() && weight > bytes.len(), "{weight}");
}
