//! `peerage-exchange`: Bitswap's messages.

use bytes::Bytes;
use peerage_content::{Cid, Leaf, Prefix, Profile};
use peerage_exchange::codec::{decode, decoded_size, encode, encode_blocks};
use peerage_exchange::limits::{CID_MAX, MESSAGE_FIELDS_MAX};
use peerage_exchange::{Outgoing, Presence, Version, WantEntry, WantKind};
use peerage_wire::frame::Assembler;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[Decoder { name: "bitswap", run: message, seeds }];

/// The messages in what was written.
fn messages(mut framed: Bytes) -> Vec<Bytes> {
    let (mut frames, mut messages) = (Assembler::new(8 << 20), Vec::new());
    while !framed.is_empty() {
        messages.extend(frames.push(&mut framed).expect("what we write are messages"));
    }
    assert!(frames.is_empty());
    messages
}

fn message(bytes: &[u8]) -> bool {
    let Ok(incoming) = decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert!(decoded_size(bytes).is_ok());
    let entries =
        incoming.wants.len() + incoming.cancels.len() + incoming.presences.len() + incoming.blocks.len();
    assert!(entries <= MESSAGE_FIELDS_MAX);
    let wanted = incoming.wants.iter().map(|want| &want.cid);
    let cids = wanted.chain(&incoming.cancels).chain(incoming.presences.iter().map(|(cid, _)| cid));
    assert!(cids.map(Cid::encoded_len).all(|len| len <= CID_MAX));

    let outgoing = Outgoing {
        full: incoming.full,
        wants: incoming.wants.clone(),
        cancels: incoming.cancels.clone(),
        presences: incoming.presences.clone(),
    };
    let (mut wants, mut cancels, mut presences) = (Vec::new(), Vec::new(), Vec::new());
    for message in messages(encode(&outgoing, Version::V1_2)) {
        let part = decode(message).expect("what we write we read");
        wants.extend(part.wants);
        cancels.extend(part.cancels);
        presences.extend(part.presences);
    }
    assert_eq!((wants, cancels, presences), (incoming.wants, incoming.cancels, incoming.presences));
    if !incoming.blocks.is_empty() {
        let [written] = &messages(encode_blocks(&incoming.blocks, Version::V1_1))[..] else {
            panic!("blocks are one message")
        };
        assert_eq!(decode(written.clone()).expect("what we write we read").blocks, incoming.blocks);
    }
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let leaf = |content: &[u8], profile: &Profile| Leaf::new(profile, content).cid;
    let (v0, v1) = (leaf(b"a", &Profile::UNIXFS_V0_2015), leaf(b"b", &Profile::default()));
    let want = |cid, kind| WantEntry { cid, priority: 9, kind, send_dont_have: true };
    let outgoing = Outgoing {
        full: true,
        wants: vec![want(v0, WantKind::Block), want(v1, WantKind::Have)],
        cancels: vec![v1],
        presences: vec![(v0, Presence::Have), (v1, Presence::DontHave)],
    };
    let blocks =
        [(Prefix::of(&v1), Bytes::from_static(b"b")), (Prefix::of(&v0), Bytes::from_static(b"\x0a\x00"))];
    let mut seeds = messages(encode(&outgoing, Version::V1_2));
    seeds.extend(messages(encode(&outgoing, Version::V1_0)));
    seeds.extend(messages(encode_blocks(&blocks, Version::V1_2)));
    seeds.extend(messages(encode_blocks(&blocks[1..], Version::V1_0)));
    seeds.into_iter().map(|seed| seed.to_vec()).collect()
}
