//! `peerage-dht`: messages, and values that others want kept.

use bytes::Bytes;
use peerage_base::{Now, UnixTime};
use peerage_dht::codec::{decode_request, decode_response, encode_request, encode_response};
use peerage_dht::limits::{
    ADDRS_READ_MAX, CLOSER_PEERS_MAX, KEY_MAX, PROVIDER_PEERS_MAX, REQUEST_MAX, RESPONSE_SENT_MAX,
};
use peerage_dht::{PeerInfo, Record, Request, Response, fuzzing, ipns_key, public_key_key};
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::frame::Assembler;
use peerage_wire::{Message as _, ipns, kad};

use crate::Decoder;
use crate::identity::{addrs, keypair};
use crate::input::Values;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "dht-request",
        run: request,
        seeds: || requests().map(|request| body(encode_request(&request))).to_vec(),
    },
    Decoder { name: "dht-response", run: response, seeds: response_seeds },
    Decoder { name: "dht-value", run: value, seeds: value_seeds },
];

/// A message without the length in front.
fn body(framed: Bytes) -> Vec<u8> {
    let mut framed = framed;
    let message = Assembler::new(8 << 20).push(&mut framed);
    message.ok().flatten().filter(|_| framed.is_empty()).expect("what we write is one message").to_vec()
}

fn check_peers(peers: &[PeerInfo], max: usize) {
    assert!(peers.len() <= max && peers.iter().all(|peer| peer.addrs.len() <= ADDRS_READ_MAX));
    let ids: std::collections::BTreeSet<PeerId> = peers.iter().map(|peer| peer.peer).collect();
    assert_eq!(ids.len(), peers.len(), "nobody is there twice");
}

fn request(bytes: &[u8]) -> bool {
    let Ok(request) = decode_request(Bytes::copy_from_slice(bytes)) else { return false };
    let written = body(encode_request(&request));
    assert!(written.len() <= REQUEST_MAX);
    let again = decode_request(written.into()).expect("what we write we read");
    match (&request, &again) {
        (Request::AddProvider { key, providers }, Request::AddProvider { key: kept, providers: fewer }) => {
            check_peers(providers, PROVIDER_PEERS_MAX);
            assert!(key == kept && fewer.len() <= providers.len());
        }
        _ => assert_eq!(again, request),
    }
    true
}

fn response(bytes: &[u8]) -> bool {
    let Ok(response) = decode_response(Bytes::copy_from_slice(bytes)) else { return false };
    check_peers(response.closer(), CLOSER_PEERS_MAX);
    let key = Bytes::from_static(b"key");
    let request = match &response {
        Response::Closest { .. } => Request::FindNode { key },
        Response::Providers { providers, .. } => {
            check_peers(providers, PROVIDER_PEERS_MAX);
            Request::GetProviders { key }
        }
        Response::Value { .. } => Request::GetValue { key },
        Response::Stored { record } => Request::PutValue { record: record.clone() },
        Response::Pong => Request::Ping,
    };
    assert!(response.answers(&request));
    let written = body(encode_response(&request, &response));
    assert!(
        written.len() <= RESPONSE_SENT_MAX
            || matches!(response, Response::Value { .. } | Response::Stored { .. })
    );
    let again = decode_response(written.into()).expect("what we write we read");
    assert!(again.answers(&request) && again.closer().len() <= response.closer().len());
    // What is cut for want of room is cut once.
    let twice = decode_response(body(encode_response(&request, &again)).into());
    assert_eq!(twice, Ok(again));
    true
}

fn peers() -> Vec<PeerInfo> {
    let peer = |seed| peerage_identity::Keypair::from_seed([seed; 32]).peer_id();
    let addrs: Vec<Multiaddr> = addrs().take(3).collect();
    (1..4).map(|seed| PeerInfo { peer: peer(seed), addrs: addrs.clone() }).collect()
}

fn record() -> Record {
    let key = keypair().public();
    Record { key: public_key_key(&key.peer_id()), value: key.to_protobuf().into() }
}

fn requests() -> [Request; 6] {
    let key = Bytes::from_static(b"\x12\x20some key");
    [
        Request::FindNode { key: key.clone() },
        Request::GetProviders { key: key.clone() },
        Request::AddProvider { key: key.clone(), providers: peers() },
        Request::GetValue { key },
        Request::PutValue { record: record() },
        Request::Ping,
    ]
}

fn response_seeds() -> Vec<Vec<u8>> {
    let [find, providers, _, get, put, ping] = requests();
    let all = [
        (find, Response::Closest { closer: peers() }),
        (providers, Response::Providers { providers: peers(), closer: peers() }),
        (get, Response::Value { record: Some(record()), closer: peers() }),
        (put, Response::Stored { record: record() }),
        (ping, Response::Pong),
    ];
    let mut seeds: Vec<_> =
        all.iter().map(|(request, response)| body(encode_response(request, response))).collect();
    // The same peer in two places.
    let peer = || kad::Peer { id: keypair().peer_id().to_bytes().into(), ..kad::Peer::default() };
    let twice = kad::Message { r#type: 4, closer_peers: vec![peer(), peer()], ..kad::Message::default() };
    seeds.push(twice.encode_to_vec());
    seeds
}

/// When values are looked at: 2024.
const NOW: u64 = 1_704_067_200;

/// A value under a key: both as they are, or an IPNS record whose signed part is
/// signed here, and whose fields are what the rest says.
fn value(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (key, value) = match values.u8() % 3 {
        0 => (values.bytes().to_vec(), values.0.to_vec()),
        1 => (public_key_key(&keypair().peer_id()).to_vec(), values.0.to_vec()),
        _ => {
            let len = values.u16().into();
            let data = values.take(len);
            let signature = keypair().sign(&[b"ipns-signature:", data].concat());
            let record = ipns::IpnsRecord {
                data: Some(Bytes::copy_from_slice(data)),
                signature_v2: Some(signature.to_vec().into()),
                ..ipns::IpnsRecord::default()
            };
            (ipns_key(&keypair().peer_id()).to_vec(), [&record.encode_to_vec(), values.0].concat())
        }
    };
    let record = Record { key: key.into(), value: value.into() };
    let now = Now { unix: UnixTime(NOW), ..Now::default() };
    let valid = fuzzing::validate(&record, now).is_ok();
    assert!(!valid || record.key.len() <= KEY_MAX);
    assert!(fuzzing::compare(&record.key, &record.value, &record.value).is_eq());
    let worse = fuzzing::compare(&record.key, b"", &record.value);
    assert_eq!(worse, fuzzing::compare(&record.key, &record.value, b"").reverse());
    assert!(!valid || worse.is_le(), "nothing is better than something");
    valid
}

/// The signed part of an IPNS record.
fn signed_part(until: &[u8]) -> Vec<u8> {
    let before = b"\xa5\x63TTL\x18\x3c\x65Value\x4e/ipfs/bafkqaaa\x68Sequence\x03\x68Validity\x58";
    let len = [u8::try_from(until.len()).unwrap_or(0)];
    [&before[..], &len, until, b"\x6cValidityType\x00"].concat()
}

fn value_seeds() -> Vec<Vec<u8>> {
    let signed = |data: &[u8]| {
        let len = u16::try_from(data.len()).unwrap_or(0).to_le_bytes();
        [&[2], &len[..], data].concat()
    };
    let own = record();
    vec![
        signed(&signed_part(b"2099-01-01T00:00:00.123456789Z")),
        signed(&signed_part(b"2001-01-01T00:00:00Z")),
        // Sequence as a field, too: what the record repeats is the same.
        [signed(&signed_part(b"2099-01-01T00:00:00Z")), vec![0x28, 3]].concat(),
        [&[1], &own.value[..]].concat(),
        [&[0, u8::try_from(own.key.len()).unwrap_or(0)], &own.key[..], &own.value].concat(),
    ]
}
