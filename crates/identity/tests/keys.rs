//! Keys and peer ids against the vectors of the libp2p specs, go-libp2p,
//! js-libp2p and rust-libp2p, and against what strangers may send.

mod common;

use common::{bytes, hex, rows, text, vectors};
use k256::ecdsa::signature::Signer as _;
use peerage_identity::{
    KeyType, Keypair, PeerId, PeerIdError, PrivateKeyError, PublicKey, PublicKeyError, limits,
};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

/// All the forms of one id.
fn check_id(row: &serde_json::Value, id: PeerId) {
    assert_eq!(id.as_bytes(), hex(row, "peer_id_multihash_hex"));
    assert_eq!(id.to_string(), text(row, "base58btc"));
    assert_eq!(id.to_cid_text(), text(row, "cid_base32"));
    for form in ["base58btc", "cid_base32", "cid_base36"] {
        assert_eq!(text(row, form).parse(), Ok(id), "{form}");
    }
    assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
}

fn check_private(row: &serde_json::Value, key_type: KeyType) {
    let private = Keypair::from_protobuf(&hex(row, "private_key_protobuf_hex"));
    if key_type == KeyType::Ed25519 {
        let private = private.expect("an Ed25519 key");
        assert_eq!(private.public().to_protobuf(), hex(row, "public_key_protobuf_hex"));
        let again = Keypair::from_protobuf(&private.to_protobuf()).expect("an Ed25519 key");
        assert_eq!(again.peer_id(), private.peer_id());
    } else {
        assert_eq!(private.expect_err("another type"), PrivateKeyError::Unsupported(key_type));
    }
}

fn key_type(row: &serde_json::Value) -> KeyType {
    match text(row, "key_type") {
        "rsa" => KeyType::Rsa,
        "ed25519" => KeyType::Ed25519,
        "secp256k1" => KeyType::Secp256k1,
        "ecdsa" => KeyType::Ecdsa,
        other => panic!("{other}"),
    }
}

#[test]
fn spec_keys_give_their_ids() {
    let file = vectors("libp2p/peer-ids.json");
    for row in rows(&file, "keys") {
        let wire = hex(row, "public_key_protobuf_hex");
        let key = PublicKey::from_protobuf(&wire).unwrap();
        assert_eq!(key.key_type(), key_type(row));
        assert_eq!(key.to_protobuf(), wire);
        check_id(row, key.peer_id());
        check_private(row, key_type(row));
        let inline = matches!(key.key_type(), KeyType::Ed25519 | KeyType::Secp256k1);
        assert_eq!(key.peer_id().public_key(), inline.then_some(key));
    }
}

#[test]
fn text_forms_of_ids() {
    let file = vectors("libp2p/peer-ids.json");
    for row in rows(&file, "text_forms") {
        let id = PeerId::from_bytes(&hex(row, "multihash_hex")).unwrap();
        assert_eq!(id.to_string(), text(row, "base58btc"));
        assert_eq!(id.to_cid_text(), text(row, "cid_base32"));
        for form in ["base58btc", "cid_base32", "cid_base36"] {
            assert_eq!(text(row, form).parse(), Ok(id));
        }
        assert_eq!(text(row, "cid_base32").to_uppercase().parse(), Ok(id));
    }
    for row in rows(&file, "invalid") {
        assert!(text(row, "text").parse::<PeerId>().is_err(), "{row}");
    }
    let content = "bafybeihfg3d7rdltd43u3tfvncx7n5loqofbsobojcadtmokrljfthuc7y";
    assert_eq!(content.parse::<PeerId>(), Err(PeerIdError::Codec(0x70)));
    assert_eq!("".parse::<PeerId>(), Err(PeerIdError::Empty));
    assert_eq!("1".repeat(513).parse::<PeerId>(), Err(PeerIdError::TooLong(513)));
    // The bytes of a version 0 CID in base32.
    let v0 = multibase::encode(multibase::Base::Base32Lower, hex::decode("1220").unwrap());
    assert_eq!(v0.parse::<PeerId>(), Err(PeerIdError::Version));
}

#[test]
fn ids_have_bounded_multihashes() {
    let with = |code: u8, len: u8, digest: usize| {
        let mut bytes = vec![code, len];
        bytes.resize(2 + digest, 7);
        PeerId::from_bytes(&bytes)
    };
    assert!(with(0, 42, 42).is_ok());
    assert!(with(0x12, 32, 32).is_ok());
    assert_eq!(PeerId::from_bytes(&[]), Err(PeerIdError::Empty));
    for (code, len, digest) in
        [(0, 43, 43), (0, 42, 41), (0, 42, 43), (0x12, 31, 31), (0x12, 32, 33), (0x11, 20, 20)]
    {
        assert_eq!(with(code, len, digest), Err(PeerIdError::Multihash), "{code} {len} {digest}");
    }
    // Code 0 as a varint of two bytes.
    assert_eq!(PeerId::from_bytes(&[0x80, 0, 1, 7]), Err(PeerIdError::Multihash));
}

#[test]
fn signatures_of_every_type_verify_and_altered_ones_do_not() {
    let file = vectors("libp2p/key-signatures.json");
    let mut seen = std::collections::BTreeSet::new();
    for row in rows(&file, "vectors") {
        let key = PublicKey::from_protobuf(&hex(row, "public_key_protobuf_hex")).unwrap();
        let (message, signature) = (hex(row, "message_hex"), hex(row, "signature_hex"));
        assert_eq!(key.key_type(), key_type(row));
        assert!(key.verify(&message, &signature), "{row}");
        check_id(row, key.peer_id());
        check_private(row, key_type(row));
        seen.insert(key.key_type());

        for at in [0, 4, signature.len() / 2, signature.len() - 1] {
            let mut bad = signature.clone();
            bad[at] ^= 1;
            assert!(!key.verify(&message, &bad), "byte {at} of {row}");
        }
        assert!(!key.verify(&message[1..], &signature));
        assert!(!key.verify(&message, &signature[..signature.len() - 1]));
        assert!(!key.verify(&message, &[&signature[..], &[0]].concat()));
        assert!(!key.verify(&message, &[]));
        if let Ok(private) = Keypair::from_protobuf(&hex(row, "private_key_protobuf_hex")) {
            assert_eq!(private.sign(&message).as_slice(), signature);
        }
    }
    assert_eq!(seen.len(), 4);
}

/// An RSA key in protobuf form around a PKCS #1 public key.
fn rsa_protobuf(pkcs1: &[u8]) -> Vec<u8> {
    let der = |tag: u8, body: Vec<u8>| {
        let len = u16::try_from(body.len()).expect("a short body").to_be_bytes();
        [&[tag, 0x82][..], &len, &body].concat()
    };
    let bits = der(3, [&[0], pkcs1].concat());
    let algorithm = hex::decode("300d06092a864886f70d0101010500").expect("a short body");
    let spki = der(0x30, [algorithm, bits].concat());
    let mut out = vec![8, 0, 0x12];
    peerage_wire::varint::put(&mut out, spki.len() as u64);
    [out, spki].concat()
}

#[test]
fn rsa_keys_of_rust_libp2p() {
    for bits in [2048, 3072, 4096] {
        let file = bytes(&format!("libp2p/rust-libp2p-rsa-pk8/rsa-{bits}.pk8"));
        let private = RsaKeyPair::from_pkcs8(&file).unwrap();
        let key = PublicKey::from_protobuf(&rsa_protobuf(private.public().as_ref())).unwrap();
        assert!(key.peer_id().to_string().starts_with("Qm"));
        let mut signature = vec![0; bits / 8];
        private.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"message", &mut signature).unwrap();
        assert!(key.verify(b"message", &signature));
        assert!(!key.verify(b"another", &signature));
    }
}

#[test]
fn rsa_keys_outside_the_bounds_are_refused() {
    // A modulus of `bytes` bytes with its top bit set, exponent 65537.
    let key = |bytes: usize| {
        let len = u16::try_from(bytes + 1).unwrap().to_be_bytes();
        let modulus = [&[2, 0x82][..], &len, &[0], &vec![0xff; bytes]].concat();
        let numbers = [modulus, vec![2, 3, 1, 0, 1]].concat();
        let len = u16::try_from(numbers.len()).unwrap().to_be_bytes();
        PublicKey::from_protobuf(&rsa_protobuf(&[&[0x30, 0x82][..], &len, &numbers].concat()))
    };
    assert!(key(256).is_ok());
    let largest = key(1024).unwrap();
    assert!(largest.to_protobuf().len() < limits::KEY_MAX_BYTES);
    assert!(!largest.verify(b"message", &[1; 1024]));
    assert_eq!(key(255), Err(PublicKeyError::RsaBits(2040)));
    assert_eq!(key(1025), Err(PublicKeyError::RsaBits(8200)));
}

#[test]
fn secp256k1_takes_either_form_of_s() {
    let private = k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let point = private.verifying_key().to_sec1_point(true);
    let wire = [&[8, 2, 0x12, 33], point.as_bytes()].concat();
    let key = PublicKey::from_protobuf(&wire).unwrap();
    let low: k256::ecdsa::Signature = private.sign(b"message");
    let (r, s) = low.split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_ne!(low, high);
    for signature in [low, high] {
        assert!(key.verify(b"message", signature.to_der().as_bytes()));
        assert!(!key.verify(b"another", signature.to_der().as_bytes()));
    }
}

#[test]
fn one_point_has_one_form_and_so_one_peer_id() {
    let point = *k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap().verifying_key();
    let long = point.to_sec1_point(false);
    // SEC 1 leaves out the sign of y in the compact form, whose tag is 5.
    let compact = [&[5], &point.to_sec1_point(true).as_bytes()[1..]].concat();
    for bytes in [long.as_bytes(), &compact] {
        let wire = [&[8, 2, 0x12, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        assert_eq!(PublicKey::from_protobuf(&wire), Err(PublicKeyError::NotCanonical));
    }
}

#[test]
fn public_keys_must_be_canonical() {
    let good = Keypair::from_seed([3; 32]).public().to_protobuf();
    let data = &good[4..];
    let cases: &[(&str, Vec<u8>, PublicKeyError)] = &[
        ("data first", [&[0x12, 32], data, &[8, 1]].concat(), PublicKeyError::NotCanonical),
        ("unknown field", [&good[..], &[0x18, 1]].concat(), PublicKeyError::NotCanonical),
        ("long varint", [&[8, 0x81, 0, 0x12, 32], data].concat(), PublicKeyError::NotCanonical),
        ("type twice", [&[8, 0], &good[..]].concat(), PublicKeyError::NotCanonical),
        ("unknown type", [&[8, 4, 0x12, 32], data].concat(), PublicKeyError::UnknownType(4)),
        ("short", good[..20].to_vec(), PublicKeyError::Protobuf),
        ("too long", vec![0; limits::KEY_MAX_BYTES + 1], PublicKeyError::TooLong(8193)),
        ("31 bytes", [&[8, 1, 0x12, 31], &data[1..]].concat(), PublicKeyError::Malformed(KeyType::Ed25519)),
        ("no RSA key", [&[8, 0, 0x12, 32], data].concat(), PublicKeyError::Malformed(KeyType::Rsa)),
        ("no P-256 key", [&[8, 3, 0x12, 32], data].concat(), PublicKeyError::Malformed(KeyType::Ecdsa)),
    ];
    for (what, bytes, error) in cases {
        assert_eq!(PublicKey::from_protobuf(bytes), Err(*error), "{what}");
    }
    // Type left out: a required field, which prost reads as 0, then RSA.
    assert!(PublicKey::from_protobuf(&[&[0x12, 32], data].concat()).is_err());
}

#[test]
fn a_point_of_small_order_signs_nothing() {
    // The neutral element as key, and as R with s = 0: a lax verifier accepts any message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    if let Ok(key) = PublicKey::from_ed25519(&neutral) {
        assert!(!key.verify(b"anything", &signature));
    }
}

#[test]
fn private_keys_with_something_wrong() {
    let pair = Keypair::from_seed([5; 32]).to_protobuf();
    let data = &pair[4..];
    let legacy = [&[8, 1, 0x12, 96], data, &data[32..]].concat();
    let mut mismatch = pair.to_vec();
    mismatch[40] ^= 1;
    let mut unequal = legacy.clone();
    *unequal.last_mut().unwrap() ^= 1;
    let error = |bytes: &[u8]| Keypair::from_protobuf(bytes).map(|_| ()).unwrap_err();
    assert!(Keypair::from_protobuf(&legacy).is_ok());
    assert_eq!(error(&mismatch), PrivateKeyError::Mismatch);
    assert_eq!(error(&unequal), PrivateKeyError::Mismatch);
    assert_eq!(error(&[&[8, 1, 0x12, 32], &data[..32]].concat()), PrivateKeyError::Length(32));
    assert_eq!(error(&[&[8, 1, 0x12, 65], data, &[0]].concat()), PrivateKeyError::Length(65));
    assert_eq!(error(&[&[8, 9, 0x12, 64], data].concat()), PrivateKeyError::UnknownType(9));
    assert_eq!(error(&pair[..67]), PrivateKeyError::Protobuf);
    assert_eq!(error(&[&pair[..], &[0]].concat()), PrivateKeyError::Protobuf);
    assert_eq!(error(&[]), PrivateKeyError::Protobuf);
    assert_eq!(error(&vec![0; 9000]), PrivateKeyError::TooLong(9000));
    let unsupported = PrivateKeyError::Unsupported(KeyType::Rsa).to_string();
    assert!(unsupported.contains("RSA") && unsupported.contains("Ed25519"), "{unsupported}");
}

#[test]
fn debug_shows_no_secret() {
    let keypair = Keypair::from_seed([0xab; 32]);
    let shown = format!("{keypair:?} {keypair:#?}");
    let id = keypair.peer_id().to_string();
    assert_eq!(format!("{:?}", keypair.peer_id()), format!("PeerId(..{})", &id[id.len() - 8..]));
    assert_eq!(shown, format!("Keypair(of {id}) Keypair(of {id})"));
}

#[test]
fn generated_keys_differ() {
    let (a, b) = (Keypair::generate().unwrap(), Keypair::generate().unwrap());
    assert_ne!(a.peer_id(), b.peer_id());
    assert!(a.public().verify(b"x", &a.clone().sign(b"x")));
    assert!(!a.public().verify(b"x", &b.sign(b"x")));
}

proptest! {
    #[test]
    fn key_round_trips(seed: [u8; 32], message: Vec<u8>) {
        let keypair = Keypair::from_seed(seed);
        let key = PublicKey::from_protobuf(&keypair.public().to_protobuf()).unwrap();
        prop_assert!(key.verify(&message, &keypair.sign(&message)));
        let id = key.peer_id();
        prop_assert_eq!(id.public_key(), Some(key));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(id.to_cid_text().parse(), Ok(id));
        let again = Keypair::from_protobuf(&keypair.to_protobuf()).unwrap();
        prop_assert_eq!(again.sign(&message), keypair.sign(&message));
    }

    #[test]
    fn ids_sort_as_their_bytes(a in id(), b in id()) {
        prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text: String, head in 0u8..4) {
        let _ = Keypair::from_protobuf(&bytes);
        let framed = [&[8, head, 0x12, u8::try_from(bytes.len().min(127)).unwrap()], &bytes[..bytes.len().min(127)]].concat();
        for bytes in [&bytes, &framed] {
            if let Ok(key) = PublicKey::from_protobuf(bytes) {
                prop_assert_eq!(&key.to_protobuf(), bytes);
                prop_assert!(!key.verify(bytes, bytes));
            }
            if let Ok(id) = PeerId::from_bytes(bytes) {
                prop_assert_eq!(id.as_bytes(), &bytes[..]);
                let _ = id.public_key();
            }
        }
        if let Ok(id) = text.parse::<PeerId>() {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}

fn id() -> impl Strategy<Value = PeerId> {
    proptest::collection::vec(0u8..3, 0..=42).prop_map(|digest| {
        let len = u8::try_from(digest.len()).expect("within the bounds");
        PeerId::from_bytes(&[&[0, len], &digest[..]].concat()).expect("within the bounds")
    })
}
