//! Identify messages: ours within what rust-libp2p reads, the peer's within
//! what go-libp2p would read.

use bytes::{BufMut, Bytes, BytesMut};
use peerage_identity::{Multiaddr, PublicKey};
use peerage_wire::identify::Identify;
use peerage_wire::{Message, frame, scan, varint};

use super::{IdentifyError, Info};

/// Bytes of one message that we read, as go-libp2p.
pub const MAX_MESSAGE: usize = 8192;
/// Messages that we read of one exchange, as go-libp2p.
pub const MAX_MESSAGES: usize = 10;
/// Bytes of one message that we send: what rust-libp2p reads.
pub const MAX_OWN_MESSAGE: usize = 4096;
/// With a signed record a message may have this many bytes; above, the record
/// goes into a message of its own, as in go-libp2p, so that readers of one
/// message still see the rest.
pub const SPLIT_ABOVE: usize = 2048;
/// Addresses that we keep of a peer, as go-libp2p of connected ones.
pub const MAX_ADDRS: usize = 500;
/// Protocols that we keep of a peer, as go-libp2p.
pub const MAX_PROTOCOLS: usize = 1024;
/// Bytes of a version that we keep. A judgement: it is for showing.
pub const MAX_TEXT: usize = 256;
/// Bytes of a protocol's name that we keep: no longer one can be negotiated.
const MAX_PROTOCOL: usize = crate::multistream::MAX_TOKEN;
/// Fields of one message: the most addresses and protocols, and the rest.
const MAX_FIELDS: usize = MAX_ADDRS + MAX_PROTOCOLS + 16;

/// `info` as one or two messages, each with its length in front.
///
/// A message keeps within [`MAX_OWN_MESSAGE`]: addresses, then protocols,
/// that do not fit are left out from the end of their lists.
#[must_use]
pub fn encode(info: &Info) -> Bytes {
    let mut message = Identify {
        public_key: info.public_key.as_ref().map(|key| key.to_protobuf().into()),
        observed_addr: info.observed_addr.as_ref().map(|addr| addr.to_bytes().into()),
        protocol_version: info.protocol_version.as_deref().map(cut),
        agent_version: info.agent_version.as_deref().map(cut),
        ..Identify::default()
    };
    // Protocols first: without them the peer does not ask us for anything.
    let mut room = MAX_OWN_MESSAGE.saturating_sub(message.encoded_len());
    message.protocols =
        info.protocols.iter().map_while(|name| fit(&mut room, name.len()).then(|| name.clone())).collect();
    message.listen_addrs = info
        .listen_addrs
        .iter()
        .map(Multiaddr::as_bytes)
        .map_while(|addr| fit(&mut room, addr.len()).then(|| Bytes::copy_from_slice(addr)))
        .collect();
    let record = info.signed_peer_record.clone().filter(|record| record.len() < MAX_OWN_MESSAGE - 8);
    let Some(record) = record else { return frame::encode(&message) };
    if message.encoded_len() + record.len() + 4 <= SPLIT_ABOVE {
        message.signed_peer_record = Some(record);
        return frame::encode(&message);
    }
    let second = Identify { signed_peer_record: Some(record), ..Identify::default() };
    let mut out = BytesMut::new();
    out.put(frame::encode(&message));
    out.put(frame::encode(&second));
    out.freeze()
}

/// Whether a repeated field of `len` bytes still fits; takes its room if so.
fn fit(room: &mut usize, len: usize) -> bool {
    // A tag of one byte, the length, the bytes.
    let needed = 1 + varint::len(len as u64) + len;
    let fits = needed <= *room;
    if fits {
        *room -= needed;
    }
    fits
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Adds what `bytes`, one more message, says: lists grow, the rest is
/// replaced. What we cannot read of it (an address of an unknown kind, a key
/// of an unknown type) is left out.
pub(super) fn merge(info: &mut Info, bytes: &[u8]) -> Result<(), IdentifyError> {
    scan::fields(bytes, &[], MAX_FIELDS).ok_or(IdentifyError::Malformed)?;
    let message = Identify::decode(bytes).map_err(|_| IdentifyError::Malformed)?;
    let addrs = message.listen_addrs.iter().filter_map(|addr| Multiaddr::from_bytes(addr).ok());
    info.listen_addrs.extend(addrs.take(MAX_ADDRS.saturating_sub(info.listen_addrs.len())));
    let protocols = message.protocols.into_iter().filter(|name| name.len() < MAX_PROTOCOL);
    info.protocols.extend(protocols.take(MAX_PROTOCOLS.saturating_sub(info.protocols.len())));
    replace(&mut info.public_key, message.public_key.and_then(|key| PublicKey::from_protobuf(&key).ok()));
    replace(
        &mut info.observed_addr,
        message.observed_addr.and_then(|addr| Multiaddr::from_bytes(&addr).ok()),
    );
    replace(&mut info.protocol_version, message.protocol_version.as_deref().map(cut));
    replace(&mut info.agent_version, message.agent_version.as_deref().map(cut));
    // A copy, so that the record does not pin its message.
    let record = message.signed_peer_record.map(|record| Bytes::copy_from_slice(&record));
    replace(&mut info.signed_peer_record, record);
    Ok(())
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}
