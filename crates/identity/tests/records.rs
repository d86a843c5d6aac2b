//! Envelopes and peer records: go-libp2p's own record, both deployed forms,
//! other key types, and what a forger may try.

mod common;

use bytes::Bytes;
use common::{hex, rows, text, vectors};
use peerage_identity::{
    Envelope, EnvelopeError, Keypair, Multiaddr, PayloadKind, PeerRecord, PeerRecordError, PublicKey, limits,
};
use peerage_wire::{Message as _, envelope as wire};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

fn addrs(count: u16) -> Vec<Multiaddr> {
    (0..count).map(|port| Multiaddr::from_tcp_addr(([192, 0, 2, 1], port).into())).collect()
}

#[test]
fn the_record_of_go() {
    let file = vectors("libp2p/signed-peer-record.json");
    for row in rows(&file, "vectors") {
        let sealed = hex(row, "envelope_hex");
        let envelope = Envelope::open(&sealed, &[PayloadKind::PEER_RECORD]).unwrap();
        assert_eq!(envelope.key().to_protobuf(), hex(row, "public_key_hex"));
        assert_eq!(envelope.payload(), &hex(row, "payload_hex"));
        assert_eq!(envelope.kind().domain, text(row, "domain"));

        let record = PeerRecord::open(&sealed).unwrap();
        assert_eq!(record.peer_id.to_string(), text(row, "peer_id_base58"));
        assert_eq!(Some(record.seq), row["seq"].as_u64());
        let expected: Vec<Vec<u8>> = row["addresses_hex"]
            .as_array()
            .unwrap()
            .iter()
            .map(|addr| hex::decode(addr.as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(record.addrs.iter().map(Multiaddr::to_bytes).collect::<Vec<_>>(), expected);

        // The same bytes when we make it with the same key.
        let keypair = Keypair::from_protobuf(&hex(row, "private_key_protobuf_hex")).unwrap();
        assert_eq!(PeerRecord::seal(&keypair, record.seq, &record.addrs), sealed);
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 0x10;
            assert!(PeerRecord::open(&bad).is_err(), "byte {at}");
        }
    }
}

#[test]
fn the_form_of_the_rfc_is_read() {
    let keypair = Keypair::from_seed([1; 32]);
    let go = PeerRecord::seal(&keypair, 7, &addrs(2));
    let payload = Envelope::open(&go, &[PayloadKind::PEER_RECORD]).unwrap().payload().clone();
    let rfc = Envelope::seal(&keypair, PayloadKind::PEER_RECORD_RFC, &payload);
    assert_eq!(PeerRecord::open(&rfc).unwrap(), PeerRecord::open(&go).unwrap());
    // The domain of one form with the type of the other.
    let mixed = PayloadKind { domain: "libp2p-routing-state", payload_type: &[3, 1] };
    let mixed = Envelope::seal(&keypair, mixed, &payload);
    assert_eq!(PeerRecord::open(&mixed), Err(PeerRecordError::Envelope(EnvelopeError::Signature)),);
}

#[test]
fn a_record_speaks_for_its_signer_only() {
    let (alice, mallory) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
    let of_alice = PeerRecord::seal(&alice, 7, &addrs(1));
    let payload = Envelope::open(&of_alice, &[PayloadKind::PEER_RECORD]).unwrap().payload().clone();
    let forged = Envelope::seal(&mallory, PayloadKind::PEER_RECORD, &payload);
    assert_eq!(PeerRecord::open(&forged), Err(PeerRecordError::Signer));

    let mut swapped = wire::Envelope::decode(&of_alice[..]).unwrap();
    swapped.public_key = mallory.public().to_protobuf().into();
    assert_eq!(
        PeerRecord::open(&swapped.encode_to_vec()),
        Err(PeerRecordError::Envelope(EnvelopeError::Signature)),
    );
    let voucher = Envelope::seal(&alice, PayloadKind::RELAY_VOUCHER, &payload);
    assert_eq!(PeerRecord::open(&voucher), Err(PeerRecordError::Envelope(EnvelopeError::PayloadType)),);
    let nonsense = Envelope::seal(&alice, PayloadKind::PEER_RECORD, &[0xff]);
    assert_eq!(PeerRecord::open(&nonsense), Err(PeerRecordError::Protobuf));
}

#[test]
fn records_signed_by_ecdsa_keys() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let private = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let prefix = hex::decode("0803125b3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    let key_bytes = [prefix, private.public_key().as_ref().to_vec()].concat();
    let key = PublicKey::from_protobuf(&key_bytes).unwrap();

    let record = wire::PeerRecord { peer_id: key.peer_id().to_bytes().into(), seq: 3, addresses: vec![] };
    let payload = record.encode_to_vec();
    let mut signed = b"\x12libp2p-peer-record\x02\x03\x01".to_vec();
    peerage_wire::varint::put(&mut signed, payload.len() as u64);
    signed.extend(&payload);
    let signature = private.sign(&random, &signed).unwrap();
    let envelope = wire::Envelope {
        public_key: key_bytes.into(),
        payload_type: Bytes::from_static(&[3, 1]),
        payload: payload.into(),
        signature: Bytes::copy_from_slice(signature.as_ref()),
    };
    assert_eq!(PeerRecord::open(&envelope.encode_to_vec()).unwrap().peer_id, key.peer_id());
}

#[test]
fn sizes_are_bounded() {
    let keypair = Keypair::from_seed([1; 32]);
    let count = u16::try_from(limits::RECORD_MAX_ADDRS).unwrap();
    let many = PeerRecord::open(&PeerRecord::seal(&keypair, 1, &addrs(count + 50))).unwrap();
    assert_eq!(many.addrs, addrs(count));

    // Long addresses: as many as an envelope holds.
    let path = "x".repeat(900);
    let long: Vec<Multiaddr> =
        (0..60).map(|i| format!("/tcp/{i}/http-path/{path}").parse().unwrap()).collect();
    let sealed = PeerRecord::seal(&keypair, 1, &long);
    assert!(sealed.len() <= limits::ENVELOPE_MAX_BYTES);
    let kept = PeerRecord::open(&sealed).unwrap().addrs;
    assert!(kept.len() >= 16 && kept == long[..kept.len()], "{}", kept.len());

    // What others send: more addresses than are kept, far more, and too many bytes.
    let foreign = |addresses: Vec<wire::AddressInfo>| {
        let record = wire::PeerRecord { peer_id: keypair.peer_id().to_bytes().into(), seq: 1, addresses };
        PeerRecord::open(&Envelope::seal(&keypair, PayloadKind::PEER_RECORD, &record.encode_to_vec()))
    };
    let info = |addr: &Multiaddr| wire::AddressInfo { multiaddr: addr.to_bytes().into() };
    assert_eq!(foreign(addrs(count + 50).iter().map(info).collect()).unwrap().addrs.len(), 128);
    assert_eq!(foreign(vec![wire::AddressInfo::default(); 2000]), Err(PeerRecordError::Protobuf));
    assert!(matches!(
        foreign(long.iter().map(info).collect()),
        Err(PeerRecordError::Envelope(EnvelopeError::TooLong(_)))
    ));
    // Addresses that we cannot read do not hide the others.
    let unknown = wire::AddressInfo { multiaddr: Bytes::from_static(&[2]) };
    let mixed = vec![unknown, info(&addrs(1)[0])];
    assert_eq!(foreign(mixed).unwrap().addrs, addrs(1));
}

#[test]
fn ones_own_id_is_left_out_of_addresses() {
    let keypair = Keypair::from_seed([1; 32]);
    let other = Keypair::from_seed([2; 32]).peer_id();
    let given = [addrs(1)[0].with_peer(keypair.peer_id()), addrs(1)[0].with_peer(other)];
    let record = PeerRecord::open(&PeerRecord::seal(&keypair, 1, &given)).unwrap();
    assert_eq!(record.addrs, [addrs(1)[0].clone(), given[1].clone()]);
}

#[test]
fn the_identify_frame_holds_a_key_and_addresses() {
    let file = vectors("libp2p/wire-frames.json");
    let row = rows(&file, "vectors")
        .iter()
        .find(|row| text(row, "name").starts_with("identify message"))
        .expect("the row is there");
    let frame = hex(row, "hex");
    let message = peerage_wire::identify::Identify::decode(&frame[1..]).unwrap();
    let key = PublicKey::from_protobuf(message.public_key()).unwrap();
    assert_eq!(key.to_protobuf(), message.public_key());
    let listen = Multiaddr::from_bytes(&message.listen_addrs[0]).unwrap();
    assert_eq!(listen.to_string(), "/ip4/127.0.0.1/tcp/4001");
    let observed = Multiaddr::from_bytes(message.observed_addr()).unwrap();
    assert_eq!(observed.to_string(), "/ip4/10.0.0.1/tcp/50000");
}

proptest! {
    #[test]
    fn envelopes_round_trip(seed: [u8; 32], payload: Vec<u8>) {
        let keypair = Keypair::from_seed(seed);
        let kind = PayloadKind { domain: "test", payload_type: b"type" };
        let envelope = Envelope::open(&Envelope::seal(&keypair, kind, &payload), &[kind]).unwrap();
        prop_assert_eq!(envelope.key(), &keypair.public());
        prop_assert_eq!(envelope.payload(), &payload);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(PeerRecord::open(&bytes).is_err());
        let keypair = Keypair::from_seed([1; 32]);
        let _ = PeerRecord::open(&Envelope::seal(&keypair, PayloadKind::PEER_RECORD, &bytes));
    }
}
