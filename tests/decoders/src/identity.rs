//! `peerage-identity`: keys, ids, addresses, what is signed.

use std::sync::LazyLock;

use peerage_identity::{
    Envelope, KeyType, Keypair, Multiaddr, PayloadKind, PeerId, PeerRecord, PublicKey, Scope, limits,
};
use peerage_wire::{Message as _, envelope as wire};
use serde_json::Value;

use crate::input::Values;
use crate::{Decoder, hexes, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "peer-id", run: peer_id, seeds: || ids().map(|id| id.to_bytes()).collect() },
    Decoder { name: "peer-id-text", run: peer_id_text, seeds: id_texts },
    Decoder {
        name: "public-key",
        run: public_key,
        seeds: || SIGNED.iter().map(|it| it.key.clone()).collect(),
    },
    Decoder { name: "signature", run: signature, seeds: signature_seeds },
    Decoder { name: "private-key", run: private_key, seeds: private_key_seeds },
    Decoder { name: "multiaddr", run: multiaddr, seeds: || addrs().map(|addr| addr.to_bytes()).collect() },
    Decoder {
        name: "multiaddr-text",
        run: multiaddr_text,
        seeds: || vector(MULTIADDRS, "string_to_bytes", "text").into_iter().map(String::into_bytes).collect(),
    },
    Decoder { name: "envelope", run: envelope, seeds: envelope_seeds },
    Decoder { name: "peer-record", run: peer_record, seeds: peer_record_seeds },
];

const MULTIADDRS: &str = include_str!("../../vectors/multiformats/multiaddr.json");
const SIGNATURES: &str = include_str!("../../vectors/libp2p/key-signatures.json");
const RECORDS: &str = include_str!("../../vectors/libp2p/signed-peer-record.json");

/// The texts of one field of all rows of a vector's list.
fn vector(file: &str, list: &str, field: &str) -> Vec<String> {
    let file: Value = serde_json::from_str(file).expect("vectors are JSON");
    let rows = file[list].as_array().expect("the vector has that list");
    rows.iter().filter_map(|row| row[field].as_str().map(str::to_owned)).collect()
}

fn bytes_of(file: &str, list: &str, field: &str) -> Vec<Vec<u8>> {
    let texts = vector(file, list, field);
    hexes(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Ours, wherever a key is needed that signs.
pub(crate) fn keypair() -> &'static Keypair {
    static KEYPAIR: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_seed([7; 32]));
    &KEYPAIR
}

/// A key, and what it signed.
struct Signed {
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

static SIGNED: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    let field = |name| bytes_of(SIGNATURES, "vectors", name);
    let (keys, messages) = (field("public_key_protobuf_hex"), field("message_hex"));
    let all = keys.into_iter().zip(messages).zip(field("signature_hex"));
    all.map(|((key, message), signature)| Signed { key, message, signature }).collect()
});

fn ids() -> impl Iterator<Item = PeerId> {
    SIGNED.iter().filter_map(|signed| Some(PublicKey::from_protobuf(&signed.key).ok()?.peer_id()))
}

fn id_texts() -> Vec<Vec<u8>> {
    let both = ids().flat_map(|id| [id.to_string(), id.to_cid_text()]);
    both.map(String::into_bytes).collect()
}

/// Some addresses of every kind.
pub(crate) fn addrs() -> impl Iterator<Item = Multiaddr> {
    let texts = vector(MULTIADDRS, "string_to_bytes", "text");
    texts.into_iter().filter_map(|text| text.parse().ok())
}

fn peer_id(bytes: &[u8]) -> bool {
    let Ok(id) = PeerId::from_bytes(bytes) else { return false };
    assert_eq!(id.as_bytes(), bytes);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.to_cid_text().parse(), Ok(id));
    assert!(id.public_key().is_none_or(|key| key.peer_id() == id), "an id holds its own key");
    true
}

fn peer_id_text(bytes: &[u8]) -> bool {
    let Some(id) = text(bytes).and_then(|text| text.parse::<PeerId>().ok()) else { return false };
    peer_id(id.as_bytes())
}

fn public_key(bytes: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_protobuf(bytes) else { return false };
    assert_eq!(key.to_protobuf(), bytes, "a key has one form, and so one id");
    assert_eq!(PeerId::from(&key), key.peer_id());
    assert!(!key.verify(b"message", b"") && !key.verify(b"message", &[0; 64]));
    true
}

fn signature(input: &[u8]) -> bool {
    let mut values = Values(input);
    let Some(signed) = values.pick(&SIGNED) else { return false };
    let Ok(key) = PublicKey::from_protobuf(&signed.key) else { return false };
    let valid = key.verify(&signed.message, values.0);
    // Of the others there are several for each message.
    if matches!(key.key_type(), KeyType::Ed25519 | KeyType::Rsa) {
        assert_eq!(valid, values.0 == signed.signature);
    }
    valid
}

fn signature_seeds() -> Vec<Vec<u8>> {
    (0..).zip(SIGNED.iter()).map(|(at, signed)| [&[at], &signed.signature[..]].concat()).collect()
}

fn private_key(bytes: &[u8]) -> bool {
    let Ok(keypair) = Keypair::from_protobuf(bytes) else { return false };
    let again = Keypair::from_protobuf(&keypair.to_protobuf()).map(|again| again.peer_id());
    assert_eq!(again, Ok(keypair.peer_id()));
    true
}

fn private_key_seeds() -> Vec<Vec<u8>> {
    let mut seeds = bytes_of(SIGNATURES, "vectors", "private_key_protobuf_hex");
    seeds.retain(|key| key.len() <= 128);
    seeds.push(keypair().to_protobuf().to_vec());
    seeds
}

fn multiaddr(bytes: &[u8]) -> bool {
    let Ok(addr) = Multiaddr::from_bytes(bytes) else { return false };
    assert_eq!(addr.as_bytes(), bytes);
    assert_eq!(addr.to_string().parse().as_ref(), Ok(&addr), "{addr}");
    check_addr(&addr);
    true
}

fn check_addr(addr: &Multiaddr) {
    let local = keypair().peer_id();
    let with = addr.with_peer(local);
    assert!(with.peer_id() == Some(local) || with == *addr, "only nothing can follow a path");
    assert!(addr.without_peer().as_bytes().len() <= addr.as_bytes().len());
    let mut fewer = addr.clone();
    for _ in addr {
        assert!(fewer.pop());
    }
    assert!(fewer.is_empty() && !fewer.pop());
    if let Some((socket, protocol)) = addr.to_socket_addr() {
        let again = Multiaddr::from_socket_addr(socket, protocol);
        assert_eq!(again.to_socket_addr(), Some((socket, protocol)));
        assert!(addr.dns().is_none());
    }
    assert!(addr.to_tcp_addr().is_none_or(|tcp| addr.to_socket_addr().is_some_and(|(addr, _)| addr == tcp)));
    let _ = (addr.scope() == Scope::Public, addr.is_relayed());
    if addr.dns().is_some() {
        let resolved = addr.with_resolved([192, 0, 2, 1].into());
        let fits = resolved.as_bytes().len() <= limits::MULTIADDR_MAX_BYTES;
        assert!(!fits || Multiaddr::from_bytes(resolved.as_bytes()) == Ok(resolved));
    }
}

fn multiaddr_text(bytes: &[u8]) -> bool {
    let Some(addr) = text(bytes).and_then(|text| text.parse::<Multiaddr>().ok()) else { return false };
    multiaddr(addr.as_bytes())
}

const NOTE: PayloadKind = PayloadKind { domain: "fuzz", payload_type: b"note" };

/// An envelope as it is, or, as none of those has a signature that holds, one
/// that is signed here and whose field the input goes on with.
fn envelope(input: &[u8]) -> bool {
    let mut values = Values(input);
    let bytes = match values.u8() % 2 {
        0 => values.0.to_vec(),
        _ => [Envelope::seal(keypair(), NOTE, b"payload"), values.0.to_vec()].concat(),
    };
    let Ok(envelope) = Envelope::open(&bytes, &[NOTE, PayloadKind::PEER_RECORD]) else { return false };
    assert!(bytes.len() <= limits::ENVELOPE_MAX_BYTES);
    // Nobody but the key's owner can have signed this, and that signed one thing.
    if *envelope.key() == keypair().public() {
        assert_eq!((envelope.kind(), envelope.payload().as_ref()), (NOTE, &b"payload"[..]));
    }
    true
}

fn envelope_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = bytes_of(RECORDS, "vectors", "envelope_hex");
    seeds.iter_mut().for_each(|seed| seed.insert(0, 0));
    seeds.extend([vec![1], b"\x01\x28\x05".to_vec()]);
    seeds
}

/// A peer record that is signed here, or an envelope as it is.
fn peer_record(input: &[u8]) -> bool {
    let mut values = Values(input);
    let bytes = match values.u8() % 3 {
        0 => values.0.to_vec(),
        1 => Envelope::seal(keypair(), PayloadKind::PEER_RECORD, values.0),
        _ => Envelope::seal(keypair(), PayloadKind::PEER_RECORD_RFC, values.0),
    };
    let Ok(record) = PeerRecord::open(&bytes) else { return false };
    assert!(record.addrs.len() <= limits::RECORD_MAX_ADDRS);
    if record.peer_id == keypair().peer_id() {
        let again = PeerRecord::open(&PeerRecord::seal(keypair(), record.seq, &record.addrs));
        let again = again.expect("what we signed we read");
        assert_eq!((again.peer_id, again.seq), (record.peer_id, record.seq));
        assert!(again.addrs.len() <= record.addrs.len());
    }
    true
}

fn peer_record_seeds() -> Vec<Vec<u8>> {
    let addresses = addrs().take(5).map(|addr| wire::AddressInfo { multiaddr: addr.to_bytes().into() });
    let peer_id = keypair().peer_id().to_bytes().into();
    let record = wire::PeerRecord { peer_id, seq: 7, addresses: addresses.collect() }.encode_to_vec();
    let mut seeds = envelope_seeds()[..1].to_vec();
    seeds.extend([[&[1], &record[..]].concat(), [&[2], &record[..]].concat()]);
    seeds.extend(texts(&["\u{1}"]));
    seeds
}
