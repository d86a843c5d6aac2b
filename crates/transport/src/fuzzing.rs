//! Decoders of this crate that nobody outside has a use for, as the fuzzer
//! reaches them (`tests/decoders`). Behind the feature `fuzzing`; no part of the
//! crate's interface.
//!
//! Each takes bytes of a stranger and says whether they meant something. What
//! must hold of the answer and cannot be said in public types is asserted here.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use peerage_identity::{Keypair, Multiaddr, PeerId, PublicKey};
use peerage_wire::Message as _;

use crate::autonat::{codec as autonat, v1, v2};
use crate::mdns::{MAX_ADDRS, message as mdns};
use crate::multistream::{Echo, NegotiateError};
use crate::noise::{Opener, PayloadError, Sealer, payload};
use crate::portmap::upnp::messages as upnp;
use crate::portmap::{Gateway, gateway, natpmp, pcp};

/// The two ends of one direction of a Noise session.
#[must_use]
pub fn noise_pair(key: &[u8; 32]) -> (Sealer, Opener) {
    (Sealer::new(key), Opener::new(key))
}

/// The payload of a handshake, for the peer's Noise key.
///
/// # Errors
/// See [`PayloadError`].
pub fn noise_payload(bytes: &[u8], static_public: &[u8]) -> Result<(PublicKey, Vec<String>), PayloadError> {
    payload::decode(bytes, static_public)
}

/// Our payload.
#[must_use]
pub fn noise_payload_of(keypair: &Keypair, static_public: &[u8], muxers: &[&str]) -> Vec<u8> {
    payload::encode(keypair, static_public, muxers)
}

/// What follows the answer to a lazy proposal of `protocol`; none if that does not end.
///
/// # Errors
/// If it is another answer.
pub fn echo(protocol: &str, pieces: impl Iterator<Item = Bytes>) -> Result<Option<Vec<u8>>, NegotiateError> {
    let (mut echo, mut rest) = (Echo::new(protocol), None);
    for mut piece in pieces {
        if echo.check(&mut piece)? {
            rest.get_or_insert_with(Vec::new).extend_from_slice(&piece);
        }
    }
    Ok(rest)
}

/// A request of AutoNAT v1.
#[must_use]
pub fn autonat_v1_request(bytes: &[u8], peer: PeerId) -> bool {
    let Ok(request) = autonat::read_v1_request(bytes, &peer) else { return false };
    assert!(request.addrs.len() <= v1::MAX_ADDRS);
    let addrs: Vec<Multiaddr> = request.addrs.into_iter().map(|(_, addr)| addr).collect();
    let again = autonat::v1_request(peer, &addrs).encode_to_vec();
    let again = autonat::read_v1_request(&again, &peer).map(|request| request.addrs);
    assert_eq!(again.ok(), Some((0..).zip(addrs).collect()));
    true
}

/// An answer of AutoNAT v1.
#[must_use]
pub fn autonat_v1_response(bytes: &[u8]) -> bool {
    let Ok(outcome) = autonat::read_v1_response(bytes) else { return false };
    let response = match outcome.clone() {
        v1::Outcome::Reached(addr) => v1::Response::Reached(addr),
        v1::Outcome::Unreached => v1::Response::Unreached,
        v1::Outcome::Refused => v1::Response::Refused,
        v1::Outcome::Inconclusive => v1::Response::BadRequest,
    };
    let again = autonat::v1_response(&response).encode_to_vec();
    assert_eq!(autonat::read_v1_response(&again).ok(), Some(outcome));
    true
}

/// A request of AutoNAT v2.
#[must_use]
pub fn autonat_v2_request(bytes: &[u8]) -> bool {
    let Ok(request) = autonat::read_v2_request(bytes) else { return false };
    assert!(request.addrs.len() <= v2::MAX_ADDRS);
    let addrs: Vec<Multiaddr> = request.addrs.into_iter().map(|(_, addr)| addr).collect();
    let again = autonat::v2_request(&addrs, request.nonce).encode_to_vec();
    let want = v2::Request { addrs: (0..).zip(addrs).collect(), nonce: request.nonce };
    assert_eq!(autonat::read_v2_request(&again).ok(), Some(want));
    true
}

/// An answer of AutoNAT v2, or data that was asked for.
#[must_use]
pub fn autonat_v2_reply(bytes: &[u8]) -> bool {
    let data = autonat::read_v2_data(bytes);
    let Ok(reply) = autonat::read_v2_reply(bytes) else { return data.is_ok() };
    assert!(data.is_err(), "one message is not two");
    let again = autonat::v2_reply(&reply).encode_to_vec();
    assert_eq!(autonat::read_v2_reply(&again).ok(), Some(reply));
    true
}

/// A packet of mDNS.
#[must_use]
pub fn mdns_packet(bytes: &[u8]) -> bool {
    match mdns::parse(bytes) {
        Ok(mdns::Message::Question(question)) => {
            let again = mdns::parse(&mdns::ask(&question.known));
            assert!(
                matches!(again, Ok(mdns::Message::Question(asked)) if asked.peers),
                "we understand ourselves"
            );
            true
        }
        Ok(mdns::Message::Answer(answer)) => {
            for found in &answer.peers {
                assert!(found.addrs.len() <= MAX_ADDRS && !found.ttl.is_zero());
            }
            true
        }
        Err(_) => false,
    }
}

/// What we say of ourselves by mDNS.
#[must_use]
pub fn mdns_announcement(label: &[u8], local: PeerId, addrs: &[Multiaddr]) -> Vec<u8> {
    mdns::announce(&mdns::instance(label), local, addrs, Duration::from_secs(120), mdns::Form::Multicast)
}

/// A question of ours by mDNS.
#[must_use]
pub fn mdns_question() -> Vec<u8> {
    mdns::ask(&[])
}

/// A router's datagram, as PCP and as NAT-PMP, to questions for `port`.
#[must_use]
pub fn port_answer(bytes: &[u8], nonce: [u8; 12], port: u16) -> bool {
    let pcp = pcp::read_map(bytes, &nonce, port);
    let mapped = natpmp::read_map(bytes, port);
    let address = natpmp::read_address(bytes);
    assert!(mapped.is_none() || address.is_none(), "one answer is not two");
    matches!(pcp, Some(Ok(_))) || matches!(mapped, Some(Ok(_))) || matches!(address, Some(Ok(_)))
}

const GATEWAY: Gateway = Gateway { ip: Ipv4Addr::new(192, 168, 1, 1), local: Ipv4Addr::new(192, 168, 1, 5) };

/// An answer to the search for a gateway, of a router at 192.168.1.1.
#[must_use]
pub fn ssdp_answer(bytes: &[u8]) -> bool {
    let Some(place) = upnp::read_search(bytes, GATEWAY) else { return false };
    assert_eq!(*place.addr.ip(), GATEWAY.ip, "nobody else is believed");
    assert_eq!(upnp::Place::anywhere(&place.url()), Some(place));
    true
}

/// A gateway's description, of a router at 192.168.1.1.
#[must_use]
pub fn upnp_description(text: &str) -> bool {
    let place = upnp::Place { addr: SocketAddrV4::new(GATEWAY.ip, 5000), path: "/root.xml".to_owned() };
    let Ok(control) = upnp::read_description(text, &place) else { return false };
    assert_eq!(*control.place.addr.ip(), GATEWAY.ip, "nobody else is believed");
    assert_eq!(upnp::Place::anywhere(&control.place.url()), Some(control.place));
    true
}

/// The system's table of routes.
#[must_use]
pub fn routes(text: &str) -> bool {
    gateway::parse(text).is_some_and(|ip| !ip.is_unspecified())
}
