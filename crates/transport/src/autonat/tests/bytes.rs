//! The messages: as go-libp2p's generated code lays them out, there and back,
//! and arbitrary bytes.

use ::bytes::Bytes;
use peerage_identity::{Keypair, Multiaddr};
use peerage_wire::autonat_v2::{DialBack, DialBackResponse, DialRequest};
use peerage_wire::{Message, frame};
use proptest::prelude::*;

use super::super::codec::*;
use super::super::{AutonatError, v1, v2};

fn addr() -> Multiaddr {
    "/ip4/1.2.3.4/tcp/4001".parse().unwrap()
}

/// `/ip4/1.2.3.4/tcp/4001`
const ADDR: &str = "0401020304060fa1";

fn hex_of(message: &impl Message) -> String {
    hex::encode(frame::encode(message))
}

#[test]
fn v2_as_go_lays_it_out() {
    let request = v2_request(&[addr()], 0x0102_0304_0506_0708);
    assert_eq!(hex_of(&request), format!("150a130a08{ADDR}110807060504030201"));
    let reply = |response| hex_of(&v2_reply(&V2Reply::Response(response)));
    assert_eq!(reply(v2::Response::Dialled(1, v2::DialStatus::Reached)), "0a120808c801100118c801");
    assert_eq!(reply(v2::Response::Dialled(0, v2::DialStatus::Unreached)), "07120508c8011864");
    assert_eq!(reply(v2::Response::Dialled(0, v2::DialStatus::NotDelivered)), "07120508c8011865");
    assert_eq!(reply(v2::Response::Busy), "0412020864");
    assert_eq!(reply(v2::Response::Refused), "0412020865");
    assert_eq!(reply(v2::Response::Failed), "021200");
    assert_eq!(hex_of(&v2_reply(&V2Reply::WantsData(0, 30_000))), "061a0410b0ea01");
    let data = frame::encode(&v2_data(Bytes::from(vec![0; 4000])));
    assert_eq!((hex::encode(&data[..8]).as_str(), data.len()), ("a61f22a31f0aa01f", 4008));
    assert_eq!(hex_of(&DialBack { nonce: 0x0102_0304_0506_0708 }), "09090807060504030201");
    assert_eq!(hex_of(&DialBackResponse::default()), "00");
}

#[test]
fn v1_as_go_lays_it_out() {
    let peer = Keypair::from_seed([7; 32]).peer_id();
    let id = hex::encode(peer.to_bytes());
    assert_eq!(hex_of(&v1_request(peer, &[addr()])), format!("38080012340a320a26{id}1208{ADDR}"));
    let response = |response| hex_of(&v1_response(&response));
    assert_eq!(response(v1::Response::Reached(addr())), format!("1008011a0c08001a08{ADDR}"));
    let text = hex::encode("dial failed");
    assert_eq!(response(v1::Response::Unreached), format!("1308011a0f0864120b{text}"));
    let text = hex::encode("bad request");
    assert_eq!(response(v1::Response::BadRequest), format!("1408011a1008c801120b{text}"));
}

#[test]
fn places_are_kept_when_addresses_cannot_be_read() {
    let addrs = vec![
        Bytes::from_static(b"\xff\x7f\x01"),
        addr().to_bytes().into(),
        Bytes::new(),
        addr().to_bytes().into(),
    ];
    let msg = peerage_wire::autonat_v2::message::Msg::DialRequest(DialRequest { addrs, nonce: 5 });
    let message = peerage_wire::autonat_v2::Message { msg: Some(msg) };
    let request = read_v2_request(&message.encode_to_vec()).unwrap();
    assert_eq!(request, v2::Request { addrs: vec![(1, addr()), (3, addr())], nonce: 5 });
}

#[test]
fn limits_hold() {
    let many = v2_request(&vec![addr(); 60], 1).encode_to_vec();
    assert_eq!(read_v2_request(&many).unwrap().addrs.len(), v2::MAX_ADDRS);
    // Thousands of empty addresses within 8 KiB.
    let many = [vec![0x0a, 0xd8, 0x36], [0x0a, 0x00].repeat(3500)].concat();
    assert!(matches!(read_v2_request(&many), Err(AutonatError::Malformed)));
    let peer = Keypair::from_seed([7; 32]).peer_id();
    let many = v1_request(peer, &vec![addr(); 60]).encode_to_vec();
    assert_eq!(read_v1_request(&many, &peer).unwrap().addrs.len(), v1::MAX_ADDRS);
}

#[test]
fn what_means_nothing_is_malformed() {
    let malformed = |hex_text: &str| {
        matches!(read_v2_reply(&hex::decode(hex_text).unwrap()), Err(AutonatError::Malformed))
    };
    assert!(malformed(""), "no message in it");
    assert!(malformed("1203089603"), "a status that we do not know");
    assert!(malformed("120308c801"), "dialled, and no word of how it went");
    assert!(malformed("120608c80118ac02"), "an outcome that we do not know");
    assert!(malformed("0a0b110807060504030201"), "a request");
    assert!(!malformed("12020864"));
    let peer = Keypair::from_seed([7; 32]).peer_id();
    let other = v1_request(Keypair::from_seed([8; 32]).peer_id(), &[addr()]).encode_to_vec();
    assert!(matches!(read_v1_request(&other, &peer), Err(AutonatError::Malformed)), "for another peer");
    let response = v1_response(&v1::Response::Refused).encode_to_vec();
    assert!(matches!(read_v1_request(&response, &peer), Err(AutonatError::Malformed)));
    let request = v1_request(peer, &[addr()]).encode_to_vec();
    assert!(matches!(read_v1_response(&request), Err(AutonatError::Malformed)));
    // Success without an address, and errors of the server's, tell nothing.
    for text in ["08011a020800", "08011a0308ac02", "08011a0308c801"] {
        assert_eq!(
            read_v1_response(&hex::decode(text).unwrap()).unwrap(),
            v1::Outcome::Inconclusive,
            "{text}"
        );
    }
}

fn any_addrs() -> impl Strategy<Value = Vec<Multiaddr>> {
    let one =
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| Multiaddr::from_tcp_addr((ip, port).into()));
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn requests_there_and_back(addrs in any_addrs(), nonce: u64, seed: [u8; 32]) {
        let numbered: Vec<_> = (0..).zip(addrs.iter().cloned()).collect();
        let bytes = v2_request(&addrs, nonce).encode_to_vec();
        prop_assert!(bytes.len() <= v2::MAX_MESSAGE);
        prop_assert_eq!(read_v2_request(&bytes).unwrap(), v2::Request { addrs: numbered.clone(), nonce });
        let peer = Keypair::from_seed(seed).peer_id();
        let read = read_v1_request(&v1_request(peer, &addrs).encode_to_vec(), &peer).unwrap();
        prop_assert_eq!(&read.addrs[..], &numbered[..numbered.len().min(v1::MAX_ADDRS)]);
    }

    #[test]
    fn replies_there_and_back(index: u32, bytes: u64, which in 0..7usize) {
        use v2::{DialStatus, Response};
        let replies = [
            V2Reply::WantsData(index, bytes),
            V2Reply::Response(Response::Failed),
            V2Reply::Response(Response::Busy),
            V2Reply::Response(Response::Refused),
            V2Reply::Response(Response::Dialled(index, DialStatus::Reached)),
            V2Reply::Response(Response::Dialled(index, DialStatus::NotDelivered)),
            V2Reply::Response(Response::Dialled(index, DialStatus::Unreached)),
        ];
        prop_assert_eq!(&read_v2_reply(&v2_reply(&replies[which]).encode_to_vec()).unwrap(), &replies[which]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let peer = Keypair::from_seed([7; 32]).peer_id();
        let _ = (read_v1_request(&bytes, &peer), read_v1_response(&bytes));
        let _ = (read_v2_request(&bytes), read_v2_reply(&bytes), read_v2_data(&bytes));
    }

    /// Right messages with a few bytes changed reach further than noise does.
    #[test]
    fn damaged_messages_never_panic(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let peer = Keypair::from_seed([7; 32]).peer_id();
        let addrs = vec![addr(); 5];
        let messages = [
            v1_request(peer, &addrs).encode_to_vec(),
            v1_response(&v1::Response::Reached(addr())).encode_to_vec(),
            v2_request(&addrs, 7).encode_to_vec(),
            v2_reply(&V2Reply::Response(v2::Response::Dialled(3, v2::DialStatus::Reached))).encode_to_vec(),
            v2_data(Bytes::from(vec![0; 200])).encode_to_vec(),
        ];
        for mut bytes in messages {
            for (at, flip) in &flips {
                let at = at % bytes.len();
                bytes[at] ^= flip;
            }
            let _ = (read_v1_request(&bytes, &peer), read_v1_response(&bytes));
            if let Ok(request) = read_v2_request(&bytes) {
                prop_assert!(request.addrs.len() <= v2::MAX_ADDRS);
            }
            if let Ok(len) = read_v2_data(&bytes) {
                prop_assert!(len <= bytes.len());
            }
            let _ = read_v2_reply(&bytes);
        }
    }
}
