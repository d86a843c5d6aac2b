//! Bytes to requests and responses and back, PROTOCOLS section "Kademlia DHT"
//! (ipfs/specs `routing/kad-dht.md`, "Message").
//!
//! A request and a response have the same form, so whoever reads says which it
//! expects. Left out on purpose: `connection` (a hint that nobody acts on),
//! `timeReceived` (the receiver's own note), `clusterLevelRaw` (unused).

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::kad::{self as wire, MessageType};
use peerage_wire::{DecodeError, Message as _, frame, scan};

use crate::limits::{
    ADDRS_KEPT_MAX, ADDRS_READ_MAX, CLOSER_PEERS_MAX, KEY_MAX, MESSAGE_FIELDS_MAX, PROVIDER_PEERS_MAX,
    REQUEST_MAX, RESPONSE_MAX, RESPONSE_SENT_MAX, VALUE_MAX,
};
use crate::message::{PeerInfo, Record, Request, Response};

/// Tags of `Message.closerPeers` and `Message.providerPeers`, whose fields are
/// counted one by one.
const PEERS: &[u32] = &[8, 9];

/// Of these, providers: popular blocks have thousands, and servers that know
/// them send all.
const PROVIDER_PEERS: u32 = 9;

/// Bytes of a peer in a message beside its id and addresses: tags and lengths.
const PEER_OVERHEAD: usize = 6;

/// The same of an address: a tag, and a length of up to two bytes.
const ADDR_OVERHEAD: usize = 3;

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
/// peers and addresses that cannot be read, are left out one by one; of many
/// providers some are taken from all over.
///
/// # Errors
/// See [`MessageError`].
pub fn decode_response(message: Bytes) -> Result<Response, MessageError> {
    if message.len() > RESPONSE_MAX {
        return Err(MessageError::TooLarge(message.len()));
    }
    let message =
        scan::thin(message, PROVIDER_PEERS, PROVIDER_PEERS_MAX).ok_or(MessageError::TooManyFields)?;
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
            provider_peers: write_peers(providers, &mut REQUEST_MAX.div_ceil(2)),
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
    let mut message = match response {
        Response::Closest { .. } => {
            wire::Message { r#type: MessageType::FindNode.into(), ..wire::Message::default() }
        }
        Response::Providers { .. } => with_key(MessageType::GetProviders, &key),
        Response::Value { record, .. } => wire::Message {
            record: record.as_ref().map(write_record),
            ..with_key(MessageType::GetValue, &key)
        },
        Response::Stored { record } => put_value(record),
        Response::Pong => wire::Message { r#type: MessageType::Ping.into(), ..wire::Message::default() },
    };
    let mut room = RESPONSE_SENT_MAX.saturating_sub(message.encoded_len());
    if let Response::Providers { providers, .. } = response {
        // Who asks gets on by those who are closer: these have the larger part.
        let mut share = room / 4;
        let (first, rest) = providers.split_at(fitting(providers, share));
        let first = write_peers(first, &mut share);
        room -= room / 4;
        message.closer_peers = write_peers(response.closer(), &mut room);
        room += share;
        let rest = write_peers(rest, &mut room);
        message.provider_peers = first.into_iter().chain(rest).collect();
    } else {
        message.closer_peers = write_peers(response.closer(), &mut room);
    }
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

/// Peers and their addresses. What is said of one in several places is put
/// together, so that nobody has more than one peer's share.
fn peers(peers: &[wire::Peer], max: usize) -> Vec<PeerInfo> {
    let mut read: Vec<PeerInfo> = Vec::new();
    let mut places: BTreeMap<PeerId, usize> = BTreeMap::new();
    for peer in peers {
        let Ok(id) = PeerId::from_bytes(&peer.id) else { continue };
        let known = places.get(&id).copied();
        if known.is_none() && read.len() >= max {
            continue;
        }
        let room = ADDRS_READ_MAX - known.map_or(0, |place| read[place].addrs.len());
        let addrs = peer.addrs.iter().take(room).filter_map(|addr| Multiaddr::from_bytes(addr).ok());
        let info = PeerInfo::new(id, addrs);
        match known {
            Some(place) => read[place].addrs.extend(info.addrs),
            None => {
                places.insert(id, read.len());
                read.push(info);
            }
        }
    }
    read
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

/// How many of these, from the first on, fit whole into so many bytes.
fn fitting(peers: &[PeerInfo], room: usize) -> usize {
    let size = |info: &PeerInfo| {
        let addrs = info.addrs.iter().take(ADDRS_KEPT_MAX).map(|addr| addr.as_bytes().len() + ADDR_OVERHEAD);
        PEER_OVERHEAD + info.peer.as_bytes().len() + addrs.sum::<usize>()
    };
    let mut taken = 0;
    peers
        .iter()
        .take_while(|info| {
            taken += size(info);
            taken <= room
        })
        .count()
}

/// Peers with as many of their addresses as fit into so many bytes; those in
/// front go first.
fn write_peers(peers: &[PeerInfo], room: &mut usize) -> Vec<wire::Peer> {
    let mut written = Vec::new();
    for info in peers {
        let id = Bytes::copy_from_slice(info.peer.as_bytes());
        let Some(mut left) = room.checked_sub(id.len() + PEER_OVERHEAD) else { break };
        let mut addrs = Vec::new();
        for addr in info.addrs.iter().take(ADDRS_KEPT_MAX) {
            if let Some(rest) = left.checked_sub(addr.as_bytes().len() + ADDR_OVERHEAD) {
                left = rest;
                addrs.push(Bytes::copy_from_slice(addr.as_bytes()));
            }
        }
        *room = left;
        written.push(wire::Peer { id, addrs, connection: 0 });
    }
    written
}
