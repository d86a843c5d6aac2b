//! The Noise handshake against vectors byte for byte, and frames that were meddled with.

use std::path::Path;

use peerage_identity::Keypair;
use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::handshake::{Keys, handshake_with};
use super::*;
use crate::Role;

const YAMUX: &str = "/yamux/1.0.0";

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/libp2p/noise-xx.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn keypair(seed: u8) -> Keypair {
    Keypair::from_seed([seed; 32])
}

fn keys_of(side: &Value) -> Keys {
    let private = bytes(&side["static_x25519_private_hex"]);
    // The public half is what is signed: take it from an ordinary handshake state.
    let public = curve25519_public(&private);
    Keys {
        static_private: private,
        static_public: public,
        ephemeral: Some(bytes(&side["ephemeral_x25519_private_hex"])),
    }
}

/// X25519 of the base point, by way of the one public interface that has it:
/// the first handshake message begins with the ephemeral public key.
fn curve25519_public(private: &[u8]) -> Vec<u8> {
    let params = "Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap();
    let mut state = snow::Builder::new(params)
        .local_private_key(private)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(private)
        .build_initiator()
        .unwrap();
    let mut out = [0; 64];
    let len = state.write_message(&[], &mut out).unwrap();
    out[..len].to_vec()
}

/// Copies everything that passes from `from` to `to` into the result.
async fn tap(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buf = [0; 1024];
    loop {
        let read = from.read(&mut buf).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        seen.extend_from_slice(&buf[..read]);
        // The test may be over before its last bytes are read.
        let _ = to.write_all(&buf[..read]).await;
    }
    let _ = to.shutdown().await;
    seen
}

#[tokio::test]
async fn handshakes_are_those_of_the_vectors_byte_for_byte() {
    for vector in vectors()["libp2p_handshakes_self_generated"].as_array().unwrap() {
        let early = vector["name"].as_str().unwrap().contains("early");
        let muxers: &[&str] = if early { &[YAMUX] } else { &[] };
        let side = |name: &str| {
            let side = &vector[name];
            let seed = bytes(&side["identity_ed25519_seed_hex"]).try_into().unwrap();
            (Keypair::from_seed(seed), keys_of(side), side["peer_id"].as_str().unwrap().to_owned())
        };
        let ((key_i, keys_i, id_i), (key_r, keys_r, id_r)) = (side("initiator"), side("responder"));
        let ((mut a, a_far), (mut b, b_far)) = (duplex(4096), duplex(4096));
        let ((ar, aw), (br, bw)) = (tokio::io::split(a_far), tokio::io::split(b_far));
        let (sent_i, sent_r) = (tokio::spawn(tap(ar, bw)), tokio::spawn(tap(br, aw)));
        let (i, r) = tokio::join!(
            handshake_with(&mut a, Role::Dialer, &key_i, None, muxers, &keys_i),
            handshake_with(&mut b, Role::Listener, &key_r, None, muxers, &keys_r),
        );
        let (i, r) = (i.unwrap(), r.unwrap());
        assert_eq!((i.peer.to_string(), r.peer.to_string()), (id_r, id_i));
        assert_eq!((i.muxer.is_some(), r.muxer.is_some()), (early, early));

        let mut first = FrameWriter::new(i.sealer);
        let mut second = FrameWriter::new(r.sealer);
        let wire = vector["wire"].as_array().unwrap();
        let of = |who: &str| {
            wire.iter().filter(|w| w["from"] == who).flat_map(|w| bytes(&w["framed_hex"])).collect()
        };
        let (want_i, want_r): (Vec<u8>, Vec<u8>) = (of("initiator"), of("responder"));
        for (index, text) in vector["transport_plaintexts"].as_array().unwrap().iter().enumerate() {
            let writer = if index % 2 == 0 { &mut first } else { &mut second };
            writer.push(text.as_str().unwrap().as_bytes()).unwrap();
            writer.seal().unwrap();
        }
        a.write_all(first.sealed()).await.unwrap();
        b.write_all(second.sealed()).await.unwrap();
        drop((a, b));
        let (got_i, got_r) = (sent_i.await.unwrap(), sent_r.await.unwrap());
        assert_eq!(hex::encode(got_i), hex::encode(want_i));
        assert_eq!(hex::encode(got_r), hex::encode(want_r));
    }
}

async fn pair(muxers_a: &[&str], muxers_b: &[&str]) -> (Secured, Secured) {
    let (mut a, mut b) = duplex(100);
    let (key_a, key_b) = (keypair(1), keypair(2));
    let expected = key_b.peer_id();
    let (a, b) = tokio::join!(
        handshake(&mut a, Role::Dialer, &key_a, Some(&expected), muxers_a),
        handshake(&mut b, Role::Listener, &key_b, None, muxers_b),
    );
    (a.unwrap(), b.unwrap())
}

#[tokio::test]
async fn the_muxer_is_the_first_of_the_initiators_that_both_offer() {
    let (a, b) = pair(&["/q", "/x", "/y"], &["/y", "/x"]).await;
    assert_eq!((a.muxer.as_deref(), b.muxer.as_deref()), (Some("/x"), Some("/x")));
    let (a, b) = pair(&["/x"], &["/y"]).await;
    assert_eq!((a.muxer, b.muxer), (None, None));
    let (a, b) = pair(&["/x"], &[]).await;
    assert_eq!((a.muxer, b.muxer), (None, None));
}

#[tokio::test]
async fn another_peer_is_refused_before_it_learns_who_we_are() {
    let (mut a, mut b) = duplex(4096);
    let (key_a, key_b, key_c) = (keypair(1), keypair(2), keypair(3));
    let (a, b) = tokio::join!(
        async move {
            let result = handshake(&mut a, Role::Dialer, &key_a, Some(&key_c.peer_id()), &[]).await;
            drop(a);
            result
        },
        handshake(&mut b, Role::Listener, &key_b, None, &[]),
    );
    let error = a.err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&keypair(2).peer_id().to_string()) && text.contains(&keypair(3).peer_id().to_string())
    );
    assert!(matches!(b.err().unwrap(), NoiseError::Io(_)));
}

#[tokio::test]
async fn garbage_is_no_handshake() {
    let cases: [&[u8]; 4] = [
        &[0, 0],
        &[0, 31, 1, 2, 3],
        &[0xff, 0xff, 1, 2],
        b"\x13/multistream/1.0.0\n and something more that follows",
    ];
    for case in cases {
        for role in [Role::Dialer, Role::Listener] {
            let (mut a, mut b): (DuplexStream, DuplexStream) = duplex(4096);
            b.write_all(case).await.unwrap();
            b.shutdown().await.unwrap();
            let result = handshake(&mut a, role, &keypair(1), None, &[]).await;
            assert!(matches!(result.err().unwrap(), NoiseError::Malformed | NoiseError::Io(_)));
        }
    }
}

#[tokio::test]
async fn payloads_are_judged() {
    use peerage_wire::Message as _;
    use peerage_wire::noise::NoiseHandshakePayload;
    let static_public = [7; 32];
    let good = payload::encode(&keypair(1), &static_public, &[YAMUX]);
    let (key, muxers) = payload::decode(&good, &static_public).unwrap();
    assert_eq!((key.peer_id(), muxers.as_slice()), (keypair(1).peer_id(), &[YAMUX.to_owned()][..]));
    assert_eq!(payload::decode(&good, &[8; 32]), Err(PayloadError::BadSignature));
    assert_eq!(payload::decode(&[], &static_public), Err(PayloadError::NoKey));
    assert_eq!(payload::decode(&[0xff; 9], &static_public), Err(PayloadError::Malformed));
    // Fields and extensions that we do not know are passed over: 15 and 99.
    let mut more = good.clone();
    more.extend_from_slice(&[0x7a, 1, 0, 0x98, 0x06, 5]);
    assert!(payload::decode(&more, &static_public).is_ok());
    let many = vec!["/m"; 300];
    assert_eq!(
        payload::decode(&payload::encode(&keypair(1), &static_public, &many), &static_public),
        Err(PayloadError::Malformed)
    );
    let mut parts = NoiseHandshakePayload::decode(good.as_slice()).unwrap();
    parts.identity_key = Some(keypair(2).public().to_protobuf().into());
    assert_eq!(payload::decode(&parts.encode_to_vec(), &static_public), Err(PayloadError::BadSignature));
    parts.identity_key = Some(vec![8, 1, 18, 1, 0].into());
    assert_eq!(payload::decode(&parts.encode_to_vec(), &static_public), Err(PayloadError::BadKey));
}

fn frames() -> (FrameWriter, FrameReader) {
    (FrameWriter::new(Sealer::new(&[9; 32])), FrameReader::new(Opener::new(&[9; 32])))
}

fn open_all(reader: &mut FrameReader, sealed: &[u8], size: usize) -> Result<Vec<u8>, NoiseError> {
    let mut out = Vec::new();
    for piece in sealed.chunks(size) {
        reader.raw().extend_from_slice(piece);
        while let Some(plain) = reader.open()? {
            out.extend_from_slice(&plain);
        }
    }
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn frames_round_trip(
        lens in proptest::collection::vec(prop_oneof![0usize..300, 65_500usize..65_540, 130_000usize..140_000], 1..6),
        size in prop_oneof![1usize..100, 1000usize..300_000],
    ) {
        let (mut writer, mut reader) = frames();
        let mut want = Vec::new();
        for (index, len) in lens.iter().enumerate() {
            let data: Vec<u8> = (0..*len).map(|i| u8::try_from((i * 7 + index) % 251).unwrap()).collect();
            writer.push(&data).unwrap();
            if index % 2 == 0 {
                writer.seal().unwrap();
            }
            want.extend_from_slice(&data);
        }
        writer.seal().unwrap();
        // Large input a byte at a time would only be slow.
        let size = if want.len() > 10_000 { size.max(500) } else { size };
        let sealed = writer.sealed().to_vec();
        prop_assert!(open_all(&mut reader, &sealed, size).unwrap() == want);
        prop_assert!(reader.is_empty());
        writer.advance(sealed.len());
        prop_assert!(writer.sealed().is_empty());
    }

    #[test]
    fn a_flipped_bit_is_found(at in 2usize..120, bit in 0u8..8) {
        let (mut writer, mut reader) = frames();
        writer.push(&[1; 104]).unwrap();
        writer.seal().unwrap();
        let mut sealed = writer.sealed().to_vec();
        sealed[at] ^= 1 << bit;
        prop_assert!(matches!(open_all(&mut reader, &sealed, 999), Err(NoiseError::Forged)));
    }
}

#[test]
fn frames_without_plaintext_are_neither_data_nor_the_end() {
    let (mut writer, mut reader) = frames();
    let mut empty = vec![0, 16];
    empty.extend_from_slice(&Sealer::new(&[9; 32]).seal_empty());
    reader.raw().extend_from_slice(&empty);
    assert_eq!(reader.open().unwrap(), None);
    assert!(reader.is_empty());
    // The next message has the next nonce.
    let mut skipped = FrameReader::new(Opener::new(&[9; 32]));
    writer.push(b"x").unwrap();
    writer.seal().unwrap();
    skipped.raw().extend_from_slice(writer.sealed());
    assert_eq!(skipped.open().unwrap().unwrap(), "x");
    reader.raw().extend_from_slice(writer.sealed());
    assert!(matches!(reader.open(), Err(NoiseError::Forged)));
    // Too short for a tag.
    let (_, mut reader) = frames();
    reader.raw().extend_from_slice(&[0, 15]);
    reader.raw().extend_from_slice(&[0; 15]);
    assert!(matches!(reader.open(), Err(NoiseError::Forged)));
}

#[test]
fn one_full_message_fills_one_buffer() {
    let (mut writer, mut reader) = frames();
    for _ in 0..4 {
        writer.push(&vec![5; MAX_PLAINTEXT]).unwrap();
    }
    writer.seal().unwrap();
    assert_eq!(writer.sealed().len(), 4 * (2 + 65_535));
    reader.raw().extend_from_slice(writer.sealed());
    for _ in 0..4 {
        assert_eq!(reader.open().unwrap().unwrap().len(), MAX_PLAINTEXT);
    }
    assert_eq!(reader.open().unwrap(), None);
}

#[test]
fn little_data_pins_no_large_buffer() {
    let (mut writer, mut reader) = frames();
    writer.push(&[1; 100]).unwrap();
    writer.seal().unwrap();
    let first = writer.sealed().len();
    writer.push(&[2; 60_000]).unwrap();
    writer.seal().unwrap();
    let (head, rest) = writer.sealed().split_at(writer.sealed().len() - 1);
    reader.raw().reserve(256 * 1024);
    reader.raw().extend_from_slice(head);
    let plain = reader.open().unwrap().unwrap();
    assert_eq!(plain.len(), 100);
    assert!(plain.try_into_mut().unwrap().capacity() < first * 4);
    assert!(reader.open().unwrap().is_none());
    // What has come of the second frame stays, in no more memory than it takes.
    reader.release();
    assert!(reader.raw().capacity() < 70_000);
    reader.raw().extend_from_slice(rest);
    assert_eq!(reader.open().unwrap().unwrap().len(), 60_000);
}
