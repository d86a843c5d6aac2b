//! Decoders of this crate that nobody outside has a use for, as the fuzzer
//! reaches them (`tests/decoders`). Behind the feature `fuzzing`; no part of the
//! crate's interface.

use bytes::Bytes;
use peerage_engine::Record;
use peerage_identity::{PeerId, Scope};

use crate::net::swarm;
use crate::remember;
use crate::router::http::Target;
use crate::router::records::{Format, Reader};
use crate::router::{Found, Limits, RouterError};

/// A router's answer, as lines or as one object.
///
/// # Errors
/// See [`RouterError`]; what was read before it is lost here.
pub fn router_answer<'a>(
    lines: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Found>, RouterError> {
    let format = if lines { Format::Lines } else { Format::Json };
    let mut reader = Reader::new(format, Limits::default());
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece, &mut found)?;
    }
    found.extend(reader.finish()?);
    Ok(found)
}

/// What `Content-Type` says of an answer: whether it is lines, if it can be read.
#[must_use]
pub fn router_format(content_type: &str) -> Option<bool> {
    Format::of(content_type).map(|format| format == Format::Lines)
}

/// The URL of a router, and where it sends us.
#[must_use]
pub fn router_url(url: &str, location: &str) -> bool {
    let Ok(target) = Target::parse(url) else { return false };
    let text = target.to_string();
    assert_eq!(Target::parse(&text).map(|again| again.to_string()).as_ref(), Ok(&text));
    if let Ok(led) = target.redirected(location) {
        let secured = |target: &Target| target.to_string().starts_with("https://");
        assert!(secured(&led) || !secured(&target), "who asked for TLS gets no less");
    }
    true
}

/// What is remembered of a server of a DHT.
#[must_use]
pub fn remembered(bytes: &[u8]) -> bool {
    let Some(server) = remember::decode(bytes) else { return false };
    let again = remember::decode(&remember::encode(&server));
    let addrs: Vec<_> = server.addrs.iter().map(peerage_identity::Multiaddr::without_peer).collect();
    assert!(again.is_none_or(|again| addrs.starts_with(&again.addrs)));
    true
}

/// A request of `/peerage/swarm/1.0.0`: whether it has a record of `peer`, if it is one.
#[must_use]
pub fn swarm_request(message: Bytes, peer: PeerId, scope: Scope) -> Option<bool> {
    swarm::parse_request(message, peer, scope).map(|request| request.record.is_some())
}

/// An answer of `/peerage/swarm/1.0.0`.
#[must_use]
pub fn swarm_response(message: Bytes, scope: Scope) -> Option<Vec<Record>> {
    swarm::parse_response(message, scope)
}
