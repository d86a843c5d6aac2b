//! Bytes to requests and responses and back, PROTOCOLS section "Kademlia DHT"
//! (ipfs/specs `routing/kad-dht.md`, "Message").
//!
//! A request and a response have the same form, so whoever reads says which it
//! expects. Left out on purpose: `connection` (a hint that nobody acts on),
//! `timeReceived` (the receiver's own note), `clusterLevelRaw` (unused).

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::kad::{self as wire, MessageType};
use peerage_wire::{DecodeError, Message as _, frame, scan};

use crate::limits::{
    ADDRS_KEPT_MAX, ADDRS_READ_MAX, CLOSER_PEERS_MAX, KEY_MAX, MESSAGE_FIELDS_MAX, PROVIDER_PEERS_MAX,
    REQUEST_MAX, RESPONSE_MAX, VALUE_MAX,
};
use crate::message::{PeerInfo, Record, Request, Response};

/// Tags of `Message.closerPeers` and `Message.providerPeers`, whose fields are
/// counted one by one.
const PEERS: &[u32] = &[8, 9];

/// Why bytes are no message of the DHT. The sender is at fault; a stream on
/// which one came is reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`REQUEST_MAX`] or [`RESPONSE_MAX`].
    #[error("a DHT message of {0} bytes")]
    TooLarge(usize),
    /// Over [`MESSAGE_FIELDS_MAX`], or not protobuf at all.
    #[error("not a DHT message, or one with more than {MESSAGE_FIELDS_MAX} fields")]
    TooManyFields,
    /// Not what the schema says.
    #[error("not a DHT message: {0}")]
    Malformed(#[from] DecodeError),
    /// A type that the protocol does not define.
    #[error("a DHT message of the unknown type {0}")]
    UnknownType(i32),
    /// A key of no byte, or over [`KEY_MAX`].
    #[error("a key of {0} bytes; 1 to {KEY_MAX} are allowed")]
    Key(usize),
    /// A value over [`VALUE_MAX`].
    #[error("a value of {0} bytes, over the limit of {VALUE_MAX}")]
    Value(usize),
    /// PUT_VALUE without a record, or with one for another key.
    #[error("a record that is missing or stands under another key")]
    Record,
    /// ADD_PROVIDER has no answer.
    #[error("an answer to a message that has none")]
    Unanswerable,
}

/// Reads a request, without its length prefix. Peers and addresses that cannot
/// be read are left out one by one.
///
/// # Errors
/// See [`MessageError`].
pub fn decode_request(message: Bytes) -> Result<Request, MessageError> {
    let message = parse(message, REQUEST_MAX)?;
    let kind = kind(&message)?;
    Ok(match kind {
        MessageType::FindNode => Request::FindNode { key: key(&message.key)? },
        MessageType::GetProviders => Request::GetProviders { key: key(&message.key)? },
        MessageType::AddProvider => Request::AddProvider {
            key: key(&message.key)?,
            providers: peers(&message.provider_peers, PROVIDER_PEERS_MAX),
        },
        MessageType::GetValue => Request::GetValue { key: key(&message.key)? },
        MessageType::PutValue => Request::PutValue { record: full_record(&message)? },
        MessageType::Ping => Request::Ping,
    })
}

/// Reads a response, without its length prefix. Peers beyond the limits, and
/// peers and addresses that cannot be read, are left out one by one.
///
/// # Errors
/// See [`MessageError`].
pub fn decode_response(message: Bytes) -> Result<Response, MessageError> {
    let message = parse(message, RESPONSE_MAX)?;
    let closer = peers(&message.closer_peers, CLOSER_PEERS_MAX);
    Ok(match kind(&message)? {
        MessageType::FindNode => Response::Closest { closer },
        MessageType::GetProviders => {
            Response::Providers { providers: peers(&message.provider_peers, PROVIDER_PEERS_MAX), closer }
        }
        MessageType::GetValue => Response::Value {
            record: message.record.as_ref().map(|found| record(found, None)).transpose()?,
            closer,
        },
        MessageType::PutValue => Response::Stored { record: full_record(&message)? },
        MessageType::Ping => Response::Pong,
        MessageType::AddProvider => return Err(MessageError::Unanswerable),
    })
}

/// Writes a request with its length in front.
#[must_use]
pub fn encode_request(request: &Request) -> Bytes {
    let message = match request {
        Request::FindNode { key } => with_key(MessageType::FindNode, key),
        Request::GetProviders { key } => with_key(MessageType::GetProviders, key),
        Request::AddProvider { key, providers } => wire::Message {
            provider_peers: write_peers(providers),
            ..with_key(MessageType::AddProvider, key)
        },
        Request::GetValue { key } => with_key(MessageType::GetValue, key),
        Request::PutValue { record } => put_value(record),
        Request::Ping => wire::Message { r#type: MessageType::Ping.into(), ..wire::Message::default() },
    };
    frame::encode(&message)
}

/// Writes the response to `request` with its length in front.
#[must_use]
pub fn encode_response(request: &Request, response: &Response) -> Bytes {
    let key = match request {
        Request::GetProviders { key } | Request::GetValue { key } => key.clone(),
        _ => Bytes::new(),
    };
    let message = match response {
        Response::Closest { closer } => wire::Message {
            r#type: MessageType::FindNode.into(),
            closer_peers: write_peers(closer),
            ..wire::Message::default()
        },
        Response::Providers { providers, closer } => wire::Message {
            closer_peers: write_peers(closer),
            provider_peers: write_peers(providers),
            ..with_key(MessageType::GetProviders, &key)
        },
        Response::Value { record, closer } => wire::Message {
            closer_peers: write_peers(closer),
            record: record.as_ref().map(write_record),
            ..with_key(MessageType::GetValue, &key)
        },
        Response::Stored { record } => put_value(record),
        Response::Pong => wire::Message { r#type: MessageType::Ping.into(), ..wire::Message::default() },
    };
    frame::encode(&message)
}

fn parse(message: Bytes, max: usize) -> Result<wire::Message, MessageError> {
    if message.len() > max {
        return Err(MessageError::TooLarge(message.len()));
    }
    scan::fields(&message, PEERS, MESSAGE_FIELDS_MAX).ok_or(MessageError::TooManyFields)?;
    Ok(wire::Message::decode(message)?)
}

fn kind(message: &wire::Message) -> Result<MessageType, MessageError> {
    MessageType::try_from(message.r#type).map_err(|_| MessageError::UnknownType(message.r#type))
}

/// A key, copied so that it does not hold the whole message in memory.
fn key(key: &Bytes) -> Result<Bytes, MessageError> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(MessageError::Key(key.len()));
    }
    Ok(Bytes::copy_from_slice(key))
}

fn full_record(message: &wire::Message) -> Result<Record, MessageError> {
    record(message.record.as_ref().ok_or(MessageError::Record)?, Some(&message.key))
}

fn record(record: &wire::Record, expected: Option<&Bytes>) -> Result<Record, MessageError> {
    if record.value.len() > VALUE_MAX {
        return Err(MessageError::Value(record.value.len()));
    }
    if expected.is_some_and(|expected| *expected != record.key) {
        return Err(MessageError::Record);
    }
    Ok(Record { key: key(&record.key)?, value: Bytes::copy_from_slice(&record.value) })
}

fn peers(peers: &[wire::Peer], max: usize) -> Vec<PeerInfo> {
    let read = |peer: &wire::Peer| {
        let id = PeerId::from_bytes(&peer.id).ok()?;
        let addrs = peer.addrs.iter().take(ADDRS_READ_MAX);
        Some(PeerInfo::new(id, addrs.filter_map(|addr| Multiaddr::from_bytes(addr).ok())))
    };
    peers.iter().filter_map(read).take(max).collect()
}

fn with_key(kind: MessageType, key: &Bytes) -> wire::Message {
    wire::Message { r#type: kind.into(), key: key.clone(), ..wire::Message::default() }
}

fn put_value(record: &Record) -> wire::Message {
    wire::Message { record: Some(write_record(record)), ..with_key(MessageType::PutValue, &record.key) }
}

fn write_record(record: &Record) -> wire::Record {
    wire::Record { key: record.key.clone(), value: record.value.clone(), time_received: String::new() }
}

fn write_peers(peers: &[PeerInfo]) -> Vec<wire::Peer> {
    let write = |info: &PeerInfo| wire::Peer {
        id: Bytes::copy_from_slice(info.peer.as_bytes()),
        addrs: info
            .addrs
            .iter()
            .take(ADDRS_KEPT_MAX)
            .map(|addr| Bytes::copy_from_slice(addr.as_bytes()))
            .collect(),
        connection: 0,
    };
    peers.iter().map(write).collect()
}
