//! The codec: golden bytes, round trips, limits, arbitrary bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use bytes::Bytes;
use peerage_dht::codec::{MessageError, decode_request, decode_response, encode_request, encode_response};
use peerage_dht::limits::{
    ADDRS_KEPT_MAX, ADDRS_READ_MAX, CLOSER_PEERS_MAX, KEY_MAX, MESSAGE_FIELDS_MAX, PROVIDER_PEERS_MAX,
    REQUEST_MAX, RESPONSE_MAX, RESPONSE_SENT_MAX, VALUE_MAX,
};
use peerage_dht::{PeerInfo, Record, Request, Response};
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::kad as wire;
use peerage_wire::{Message as _, frame::Assembler};
use proptest::prelude::*;

fn vector(name: &str) -> Bytes {
    let text = include_str!("../../../tests/vectors/libp2p/wire-frames.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let row = file["vectors"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    hex::decode(row["hex"].as_str().unwrap()).unwrap().into()
}

/// The one message of a stream.
fn body(mut stream: Bytes) -> Bytes {
    let body = Assembler::new(RESPONSE_MAX).push(&mut stream).unwrap().unwrap();
    assert!(stream.is_empty());
    body
}

fn hex_bytes(text: &str) -> Bytes {
    hex::decode(text).unwrap().into()
}

fn peer(n: u64) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend(n.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

#[test]
fn golden_requests() {
    let peer_key = hex_bytes("0024080112209e3b433cbd31c2b8a6ebbdca998bd0f4c2141c9c9af5422e976051b1e63af14d");
    let multihash = hex_bytes("1220e536c7f88d731f374dccb568aff6f56e838a19382e488039b1ca8ad2599e82fe");
    let provider = PeerInfo {
        peer: PeerId::from_bytes(&hex_bytes(
            "0024080112202d3af2995789ecf7000efd8d1b75382e908543c35c206d66a9c347912ba7356a",
        ))
        .unwrap(),
        addrs: vec!["/ip4/1.2.3.4/tcp/4001".parse().unwrap()],
    };
    let rows = [
        ("kad FIND_NODE request (delimited)", Request::FindNode { key: peer_key.clone() }),
        ("kad GET_PROVIDERS request", Request::GetProviders { key: multihash.clone() }),
        ("kad ADD_PROVIDER", Request::AddProvider { key: multihash, providers: vec![provider] }),
        ("kad PING", Request::Ping),
    ];
    for (name, request) in rows {
        let golden = vector(name);
        assert_eq!(decode_request(body(golden.clone())), Ok(request.clone()), "{name}");
        assert_eq!(encode_request(&request), golden, "{name}");
    }
    let go = vector("kad FIND_NODE request with clusterLevelRaw=1");
    assert_eq!(decode_request(body(go)), Ok(Request::FindNode { key: peer_key }));
}

/// Written by hand from the table of fields: type 4, closerPeers (8) with an
/// id, two addresses, one of an unknown protocol, and `connection` 1; then an
/// unknown field, which is skipped.
#[test]
fn golden_response() {
    let id = hex::encode(peer(7).as_bytes());
    let known = "1208040102030406".to_owned() + "0fa1";
    let unknown = "120299 7f".replace(' ', "");
    let peer_field = format!("0a22{id}{known}{unknown}1801");
    let message = format!("080442{:02x}{peer_field}f20105aabbccddee", peer_field.len() / 2);
    let found = PeerInfo { peer: peer(7), addrs: vec!["/ip4/1.2.3.4/tcp/4001".parse().unwrap()] };
    assert_eq!(decode_response(hex_bytes(&message)), Ok(Response::Closest { closer: vec![found] }));
}

#[test]
fn what_a_message_may_not_be() {
    let message = |r#type, key: &[u8]| wire::Message {
        r#type,
        key: Bytes::copy_from_slice(key),
        ..wire::Message::default()
    };
    let request = |message: &wire::Message| decode_request(message.encode_to_vec().into());
    for kind in [1, 2, 3, 4] {
        assert_eq!(request(&message(kind, b"")), Err(MessageError::Key(0)));
        assert_eq!(request(&message(kind, &[1; KEY_MAX + 1])), Err(MessageError::Key(KEY_MAX + 1)));
        assert!(request(&message(kind, &[1; KEY_MAX])).is_ok());
    }
    assert_eq!(request(&message(6, b"a")), Err(MessageError::UnknownType(6)));
    assert_eq!(request(&message(0, b"a")), Err(MessageError::Record));
    let record = |key: &[u8], len| wire::Record {
        key: Bytes::copy_from_slice(key),
        value: vec![0; len].into(),
        time_received: String::new(),
    };
    let put = |record| wire::Message { record: Some(record), ..message(0, b"a") };
    assert_eq!(request(&put(record(b"b", 1))), Err(MessageError::Record));
    assert_eq!(request(&put(record(b"a", VALUE_MAX + 1))), Err(MessageError::Value(VALUE_MAX + 1)));
    assert!(request(&put(record(b"a", VALUE_MAX))).is_ok());
    let add = decode_response(message(2, b"a").encode_to_vec().into());
    assert_eq!(add, Err(MessageError::Unanswerable));
    let long = Bytes::from(vec![0; REQUEST_MAX + 1]);
    assert_eq!(decode_request(long), Err(MessageError::TooLarge(REQUEST_MAX + 1)));
    // An empty peer takes two bytes on the wire and fifty times that when decoded.
    let many = [&[0x08, 4][..], &[0x42, 0].repeat(MESSAGE_FIELDS_MAX)].concat();
    assert_eq!(decode_response(many.into()), Err(MessageError::TooManyFields));
}

#[test]
fn peers_and_addresses_beyond_the_limits_are_left_out() {
    let addr: Multiaddr = "/ip4/1.2.3.4/tcp/4001".parse().unwrap();
    let wire_peer = |n: u64, addrs: usize| wire::Peer {
        id: Bytes::copy_from_slice(peer(n).as_bytes()),
        addrs: vec![Bytes::copy_from_slice(addr.as_bytes()); addrs],
        connection: 0,
    };
    let mut closer_peers: Vec<wire::Peer> = (0..100).map(|n| wire_peer(n, 1)).collect();
    closer_peers[0] = wire_peer(0, 500);
    closer_peers[1].id = Bytes::from_static(b"nobody");
    let message = wire::Message {
        r#type: 3,
        provider_peers: (0..PROVIDER_PEERS_MAX as u64 + 9).map(|n| wire_peer(n, 1)).collect(),
        closer_peers,
        ..wire::Message::default()
    };
    let response = decode_response(message.encode_to_vec().into()).unwrap();
    let Response::Providers { providers, closer } = response else { panic!("{response:?}") };
    assert_eq!((closer.len(), providers.len()), (CLOSER_PEERS_MAX, PROVIDER_PEERS_MAX));
    assert_eq!(closer[0].addrs.len(), ADDRS_READ_MAX);
    assert_eq!(closer[1].peer, peer(2));
}

#[test]
fn a_block_that_everybody_has_can_be_found() {
    // What go sends of the empty folder: all that it knows, with all their addresses.
    let addrs = |n: u64| (0..13).map(move |m| format!("/ip4/5.{}.{m}.1/tcp/{}", n % 200, n + 1));
    let bytes = |text: String| Bytes::copy_from_slice(text.parse::<Multiaddr>().unwrap().as_bytes());
    let popular = wire::Message {
        r#type: 3,
        provider_peers: (0..5_000)
            .map(|n| wire::Peer {
                id: Bytes::copy_from_slice(peer(n).as_bytes()),
                addrs: addrs(n).map(bytes).collect(),
                connection: 0,
            })
            .collect(),
        ..wire::Message::default()
    };
    let Ok(Response::Providers { providers, .. }) = decode_response(popular.encode_to_vec().into()) else {
        panic!("refused");
    };
    assert_eq!(providers.len(), PROVIDER_PEERS_MAX);
    assert!(providers.iter().all(|info| info.addrs.len() == 13));
    assert!(providers.iter().any(|info| info.peer == peer(4_999)), "from its end, too");
}

#[test]
fn one_peer_named_often_is_one_peer() {
    let entry = |host: u64| wire::Peer {
        id: Bytes::copy_from_slice(peer(1).as_bytes()),
        addrs: (0..40)
            .map(|port| format!("/ip4/5.6.7.{host}/tcp/{}", port + 1).parse::<Multiaddr>().unwrap())
            .map(|addr| Bytes::copy_from_slice(addr.as_bytes()))
            .collect(),
        connection: 0,
    };
    let message =
        wire::Message { r#type: 4, closer_peers: (0..9).map(entry).collect(), ..wire::Message::default() };
    let response = decode_response(message.encode_to_vec().into()).unwrap();
    let [info] = response.closer() else { panic!("{response:?}") };
    assert_eq!((info.peer, info.addrs.len()), (peer(1), ADDRS_READ_MAX));
}

#[test]
fn a_response_is_no_larger_than_all_peers_read() {
    let long = format!("/dns4/{}.example/tcp/4001", "a".repeat(60));
    let info = |n: u64| PeerInfo {
        peer: peer(n),
        addrs: (0..16).map(|m| format!("{long}/p2p/{}", peer(n * 16 + m)).parse().unwrap()).collect(),
    };
    let response = Response::Providers {
        providers: (0..64).map(info).collect(),
        closer: (100..120).map(info).collect(),
    };
    let bytes = encode_response(&Request::GetProviders { key: vec![7; KEY_MAX].into() }, &response);
    assert!(bytes.len() <= 16 * 1024 && bytes.len() > 15 * 1024, "{}", bytes.len());
    let read = wire::Message::decode(body(bytes)).unwrap();
    assert!(read.provider_peers.len() > 1 && read.closer_peers.len() > 4);
}

#[test]
fn an_address_loses_its_peer_id_and_one_of_another_is_left_out() {
    let addr: Multiaddr = "/ip4/1.2.3.4/tcp/4001".parse().unwrap();
    let bytes = |addr: &Multiaddr| Bytes::copy_from_slice(addr.as_bytes());
    let message = wire::Message {
        r#type: 4,
        closer_peers: vec![wire::Peer {
            id: Bytes::copy_from_slice(peer(1).as_bytes()),
            addrs: vec![bytes(&addr.with_peer(peer(1))), bytes(&addr.with_peer(peer(2)))],
            connection: 0,
        }],
        ..wire::Message::default()
    };
    let closer = vec![PeerInfo { peer: peer(1), addrs: vec![addr] }];
    assert_eq!(decode_response(message.encode_to_vec().into()), Ok(Response::Closest { closer }));
}

fn key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 1..=KEY_MAX).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    (key(), proptest::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(key, value)| Record { key, value: value.into() })
}

fn info() -> impl Strategy<Value = PeerInfo> {
    let addr = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
        format!("/ip4/{}/tcp/{port}", std::net::Ipv4Addr::from(ip)).parse::<Multiaddr>().unwrap()
    });
    (any::<u64>(), proptest::collection::vec(addr, 0..=ADDRS_KEPT_MAX))
        .prop_map(|(n, addrs)| PeerInfo { peer: peer(n), addrs })
}

fn infos(max: usize) -> impl Strategy<Value = Vec<PeerInfo>> {
    proptest::collection::vec(info(), 0..=max)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        key().prop_map(|key| Request::FindNode { key }),
        key().prop_map(|key| Request::GetProviders { key }),
        (key(), infos(3)).prop_map(|(key, providers)| Request::AddProvider { key, providers }),
        key().prop_map(|key| Request::GetValue { key }),
        record().prop_map(|record| Request::PutValue { record }),
        Just(Request::Ping),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        infos(CLOSER_PEERS_MAX).prop_map(|closer| Response::Closest { closer }),
        (infos(30), infos(CLOSER_PEERS_MAX))
            .prop_map(|(providers, closer)| Response::Providers { providers, closer }),
        (proptest::option::of(record()), infos(CLOSER_PEERS_MAX))
            .prop_map(|(record, closer)| Response::Value { record, closer }),
        record().prop_map(|record| Response::Stored { record }),
        Just(Response::Pong),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(request in request()) {
        let bytes = encode_request(&request);
        prop_assert_eq!(decode_request(body(bytes)), Ok(request));
    }

    #[test]
    fn responses_round_trip(request in request(), response in response()) {
        // What is larger than may be sent is cut.
        let providers = match &response {
            Response::Providers { providers, .. } => &providers[..],
            _ => &[],
        };
        let peers = providers.iter().chain(response.closer());
        let size: usize = peers.map(|info| 48 + 24 * info.addrs.len()).sum();
        prop_assume!(size + 1024 <= RESPONSE_SENT_MAX);
        let bytes = body(encode_response(&request, &response));
        let read = wire::Message::decode(bytes.clone()).unwrap();
        let echoes = matches!(response, Response::Providers { .. } | Response::Value { .. });
        if let (true, Request::GetProviders { key } | Request::GetValue { key }) = (echoes, &request) {
            prop_assert_eq!(&read.key, key);
        }
        prop_assert_eq!(decode_response(bytes), Ok(response));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_request(bytes.clone().into());
        let _ = decode_response(bytes.into());
    }

    /// What was a message and lost or changed a byte reads, or fails, but keeps the limits.
    #[test]
    fn damaged_messages_keep_the_limits(
        response in response(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = body(encode_response(&Request::Ping, &response)).to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(response) = decode_response(bytes.into()) {
            prop_assert!(response.closer().len() <= CLOSER_PEERS_MAX);
        }
    }
}
