//! Bytes to messages and back, PROTOCOLS section "Bitswap"
//! (ipfs/specs bitswap-protocol.md, `Message` of all versions).
//!
//! Reading never copies a payload: blocks are slices of the message. Writing a
//! block writes only what stands before its payload. Hashing is not done here.

use bytes::{BufMut, Bytes, BytesMut};
use peerage_content::hash::wire_allowed;
use peerage_content::{Cid, Prefix, cid_text};
use peerage_wire::bitswap::{self as wire, BlockPresenceType, WantType};
use peerage_wire::{DecodeError, Message as _, frame, scan, varint};

use crate::limits::{CID_MAX, ENTRIES_PER_MESSAGE, MESSAGE_FIELDS_MAX, MESSAGE_MAX};
use crate::message::{Incoming, Outgoing, Presence, Version, WantEntry, WantKind};

/// Tag of `Message.wantlist`, whose entries are counted one by one.
const WANTLIST: u32 = 1;
/// Key bytes of `Message.blocks`, `Message.payload`, `Block.prefix`, `Block.data`.
const BLOCKS_KEY: u8 = 0x12;
const PAYLOAD_KEY: u8 = 0x1a;
const PREFIX_KEY: u8 = 0x0a;
const DATA_KEY: u8 = 0x12;

/// What an entry takes while it is decoded, in bytes: in protobuf's form and in ours.
const ENTRY_SIZE: usize = size_of::<wire::Entry>() + size_of::<WantEntry>();

/// Bitswap 1.0 names nothing: every block is CIDv0, dag-pb and SHA2-256.
const PREFIX_V0: Prefix = Prefix { version: 0, codec: 0x70, mh_code: 0x12, mh_len: 32 };

/// Why bytes are not a Bitswap message. The sender is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`MESSAGE_MAX`].
    #[error("a Bitswap message of {0} bytes, over the limit of {MESSAGE_MAX}")]
    TooLarge(usize),
    /// Over [`MESSAGE_FIELDS_MAX`], or not protobuf at all.
    #[error("not a Bitswap message, or one with more than {MESSAGE_FIELDS_MAX} fields")]
    TooManyFields,
    /// Not what the schema says.
    #[error("not a Bitswap message: {0}")]
    Malformed(#[from] DecodeError),
}

/// About what a message takes once it is decoded, in bytes, blocks left out:
/// those stay where they are. For room to be made before [`decode`].
///
/// # Errors
/// As [`decode`]: over a limit, or no message at all.
pub fn decoded_size(message: &[u8]) -> Result<usize, MessageError> {
    if message.len() > MESSAGE_MAX {
        return Err(MessageError::TooLarge(message.len()));
    }
    let fields = scan::fields(message, &[WANTLIST], MESSAGE_FIELDS_MAX);
    Ok(fields.ok_or(MessageError::TooManyFields)? * ENTRY_SIZE)
}

/// Reads a message, without its length prefix.
///
/// Entries, presences and blocks that no peer may send (a CID over
/// [`CID_MAX`], identity, a hash that is not allowed, an unreadable prefix)
/// are left out one by one, as boxo does.
///
/// # Errors
/// The message as a whole is unreadable or over a limit.
pub fn decode(message: Bytes) -> Result<Incoming, MessageError> {
    decoded_size(&message)?;
    let message = wire::Message::decode(message)?;
    let mut incoming = Incoming {
        pending_bytes: u32::try_from(message.pending_bytes).unwrap_or(0),
        blocks: Vec::with_capacity(message.blocks.len() + message.payload.len()),
        ..Incoming::default()
    };
    if let Some(wantlist) = message.wantlist {
        incoming.full = wantlist.full;
        for entry in wantlist.entries {
            let Some(cid) = read_cid(&entry.block) else { continue };
            if entry.cancel {
                incoming.cancels.push(cid);
                continue;
            }
            let Ok(kind) = WantType::try_from(entry.want_type) else { continue };
            let kind = match kind {
                WantType::Block => WantKind::Block,
                WantType::Have => WantKind::Have,
            };
            let send_dont_have = entry.send_dont_have;
            incoming.wants.push(WantEntry { cid, priority: entry.priority, kind, send_dont_have });
        }
    }
    for presence in message.block_presences {
        let Some(cid) = read_cid(&presence.cid) else { continue };
        match BlockPresenceType::try_from(presence.r#type) {
            Ok(BlockPresenceType::Present) => incoming.presences.push((cid, Presence::Have)),
            Ok(BlockPresenceType::Absent) => incoming.presences.push((cid, Presence::DontHave)),
            Err(_) => {}
        }
    }
    incoming.blocks.extend(message.blocks.into_iter().map(|data| (PREFIX_V0, data)));
    for block in message.payload {
        if let Ok(prefix) = Prefix::parse(&block.prefix) {
            incoming.blocks.push((prefix, block.data));
        }
    }
    Ok(incoming)
}

fn read_cid(bytes: &[u8]) -> Option<Cid> {
    if bytes.len() > CID_MAX {
        return None;
    }
    cid_text::from_bytes(bytes).ok().filter(|cid| wire_allowed(cid).is_ok())
}

/// Writes a message with its length in front; several if it is long, and if it
/// has cancels beside wants, the cancels first. Nothing if it is empty.
///
/// To a peer below 1.2 no presence and no want-have is written, since it would
/// take the one for nothing and the other for a want of the block.
#[must_use]
pub fn encode(message: &Outgoing, version: Version) -> Bytes {
    let mut parts = Vec::new();
    let cancels = message.cancels.iter().map(|cid| wire::Entry {
        block: cid.to_bytes().into(),
        cancel: true,
        ..wire::Entry::default()
    });
    push_wantlists(&mut parts, false, cancels);
    let presences = version.has_presences();
    let wants = message.wants.iter().filter(|want| presences || want.kind == WantKind::Block);
    let full = message.full;
    push_wantlists(&mut parts, full, wants.map(|want| write_want(want, presences)));
    if presences {
        for chunk in message.presences.chunks(ENTRIES_PER_MESSAGE) {
            let block_presences = chunk.iter().map(write_presence).collect();
            // The answers go with the last wants, if there is room for both.
            match parts.last_mut() {
                Some(part) if entries(part) + chunk.len() <= ENTRIES_PER_MESSAGE => {
                    part.block_presences = block_presences;
                }
                _ => parts.push(wire::Message { block_presences, ..wire::Message::default() }),
            }
        }
    }
    match parts.as_slice() {
        [] => Bytes::new(),
        [one] => frame::encode(one),
        many => {
            let mut out = BytesMut::new();
            for part in many {
                out.put(frame::encode(part));
            }
            out.freeze()
        }
    }
}

fn entries(message: &wire::Message) -> usize {
    message.wantlist.as_ref().map_or(0, |list| list.entries.len()) + message.block_presences.len()
}

fn push_wantlists(
    parts: &mut Vec<wire::Message>,
    full: bool,
    mut entries: impl Iterator<Item = wire::Entry>,
) {
    let mut first = true;
    loop {
        let entries: Vec<_> = entries.by_ref().take(ENTRIES_PER_MESSAGE).collect();
        if entries.is_empty() {
            return;
        }
        let wantlist = Some(wire::Wantlist { entries, full: full && first });
        parts.push(wire::Message { wantlist, ..wire::Message::default() });
        first = false;
    }
}

fn write_want(want: &WantEntry, presences: bool) -> wire::Entry {
    wire::Entry {
        block: want.cid.to_bytes().into(),
        priority: want.priority,
        cancel: false,
        want_type: match want.kind {
            WantKind::Block => WantType::Block.into(),
            WantKind::Have => WantType::Have.into(),
        },
        send_dont_have: want.send_dont_have && presences,
    }
}

fn write_presence((cid, presence): &(Cid, Presence)) -> wire::BlockPresence {
    let kind = match presence {
        Presence::Have => BlockPresenceType::Present,
        Presence::DontHave => BlockPresenceType::Absent,
    };
    wire::BlockPresence { cid: cid.to_bytes().into(), r#type: kind.into() }
}

/// All of a message with one block of `len` bytes that stands before the
/// payload, the length prefix included: write this, then the payload.
///
/// `prefix` is that of the CID that was asked for ([`Prefix::of`]), since old
/// peers look their wants up by CID.
#[must_use]
pub fn encode_block_header(prefix: &Prefix, len: u32, version: Version) -> Bytes {
    let len = u64::from(len);
    let mut out = BytesMut::with_capacity(48);
    match version {
        Version::V1_0 => {
            varint::put(&mut out, (1 + varint::len(len)) as u64 + len);
            put_block_key(&mut out, prefix, len, version);
        }
        Version::V1_1 | Version::V1_2 => {
            let block = block_len(&prefix.encode(), len);
            varint::put(&mut out, (1 + varint::len(block)) as u64 + block);
            put_block_key(&mut out, prefix, len, version);
        }
    }
    out.freeze()
}

/// Several small blocks as one message, length prefix included. Copies them:
/// for blocks of some KiB, whose framing and system calls cost more.
#[must_use]
pub fn encode_blocks(blocks: &[(Prefix, Bytes)], version: Version) -> Bytes {
    let payload: usize = blocks.iter().map(|(_, data)| data.len()).sum();
    let mut body = BytesMut::with_capacity(payload + blocks.len() * 32);
    for (prefix, data) in blocks {
        put_block_key(&mut body, prefix, data.len() as u64, version);
        body.put_slice(data);
    }
    let mut out = BytesMut::with_capacity(body.len() + varint::MAX_LEN);
    varint::put(&mut out, body.len() as u64);
    out.put(body);
    out.freeze()
}

/// The fields of one block up to its payload.
fn put_block_key(out: &mut BytesMut, prefix: &Prefix, len: u64, version: Version) {
    if version == Version::V1_0 {
        out.put_u8(BLOCKS_KEY);
        varint::put(out, len);
        return;
    }
    let prefix = prefix.encode();
    out.put_u8(PAYLOAD_KEY);
    varint::put(out, block_len(&prefix, len));
    out.put_u8(PREFIX_KEY);
    varint::put(out, prefix.len() as u64);
    out.put_slice(&prefix);
    out.put_u8(DATA_KEY);
    varint::put(out, len);
}

/// Length of a `Block` message.
fn block_len(prefix: &[u8], len: u64) -> u64 {
    let prefix_len = prefix.len() as u64;
    (2 + varint::len(prefix_len) + varint::len(len)) as u64 + prefix_len + len
}
