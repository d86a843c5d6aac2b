//! One record of a pack, and the index entry that leads to it.
//!
//! `magic u32 | crc32c u32 | body length u32 | kind u8 | multihash length u8 | multihash | body`,
//! integers little-endian, the CRC over all that follows it. A block's body is
//! its bytes; a reference's is `file, offset, length` as varints, then head and
//! tail, each after a length byte: some 70 bytes in all for a sha2-256.

use crate::Multihash;
use crate::codec::{Reader, put_bytes, put_varint};
use crate::config::{MAX_BLOCK_BYTES, MAX_EDGE_BYTES};
use crate::facts::FileId;
use crate::runs::Pair;

pub(crate) const MAGIC: u32 = 0xB10C_0DA7;
/// Bytes before the multihash.
pub(crate) const FIXED_BYTES: usize = 14;
/// Bytes of the longest multihash: 64 of digest, a code of up to 9, a length.
const MAX_MULTIHASH_BYTES: usize = 76;
/// Bytes of the longest body of a reference.
const MAX_REFERENCE_BYTES: usize = 10 + 10 + 5 + 2 * (1 + MAX_EDGE_BYTES);
/// No record of a reference is longer than this.
pub(crate) const MAX_REFERENCE_RECORD: usize = FIXED_BYTES + MAX_MULTIHASH_BYTES + MAX_REFERENCE_BYTES;

/// What a record's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block = 1,
    Reference = 2,
}

/// A block that is a piece of a file: `head`, then `len` bytes of the file at
/// `offset`, then `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The file, as [`Store::add_file`](crate::Store::add_file) named it.
    pub file: FileId,
    /// Where the piece begins, in bytes.
    pub offset: u64,
    /// Bytes of the piece.
    pub len: u32,
    /// What stands before the piece in the block; at most 64 bytes.
    pub head: Vec<u8>,
    /// What stands after the piece in the block; at most 64 bytes.
    pub tail: Vec<u8>,
}

impl Reference {
    /// Bytes of the whole block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.head.len() + self.len as usize + self.tail.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.head.len() + self.tail.len());
        put_varint(&mut out, self.file.0);
        put_varint(&mut out, self.offset);
        put_varint(&mut out, u64::from(self.len));
        put_bytes(&mut out, &self.head);
        put_bytes(&mut out, &self.tail);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let reference = Self {
            file: FileId(reader.varint()?),
            offset: reader.varint()?,
            len: u32::try_from(reader.varint()?).ok()?,
            head: reader.bytes(MAX_EDGE_BYTES)?.to_vec(),
            tail: reader.bytes(MAX_EDGE_BYTES)?.to_vec(),
        };
        reader.end()?;
        (reference.block_len() <= MAX_BLOCK_BYTES).then_some(reference)
    }
}

/// Where a record is: what the indexes hold, 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The repository's key of the multihash.
    pub(crate) key: u64,
    /// Where the record begins in its pack.
    pub(crate) offset: u32,
    /// Kind in the two high bits, length of the block in the others.
    pub(crate) info: u32,
}

/// Bytes of a record before its body, with a multihash of SHA-256.
const ABOUT_PREFIX: u64 = (FIXED_BYTES + 34) as u64;
/// Bytes of a reference's record, some of which have a few bytes of the block.
const ABOUT_REFERENCE: u64 = ABOUT_PREFIX + 20;

impl Entry {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn new(key: u64, offset: u32, kind: Kind, block_len: u32) -> Self {
        Self { key, offset, info: (kind as u32) << 30 | (block_len & 0x3fff_ffff) }
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        match self.info >> 30 {
            1 => Some(Kind::Block),
            2 => Some(Kind::Reference),
            _ => None,
        }
    }

    pub(crate) fn block_len(self) -> u32 {
        self.info & 0x3fff_ffff
    }

    pub(crate) fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.key.to_le_bytes());
        out[8..12].copy_from_slice(&self.offset.to_le_bytes());
        out[12..].copy_from_slice(&self.info.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self { key: reader.u64()?, offset: reader.u32()?, info: reader.u32()? })
    }

    /// As a pair in the order of entries.
    pub(crate) fn by_key(self) -> Pair {
        (self.key, u64::from(self.offset) << 32 | u64::from(self.info))
    }

    /// As a pair in the order of records.
    pub(crate) fn by_offset(self) -> Pair {
        let (key, place) = self.by_key();
        (place, key)
    }

    /// From a pair of [`by_key`](Self::by_key).
    pub(crate) fn of_key((key, place): Pair) -> Self {
        let [a, b, c, d, e, f, g, h] = place.to_be_bytes();
        let (offset, info) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        Self { key, offset, info }
    }

    /// From a pair of [`by_offset`](Self::by_offset).
    pub(crate) fn of_offset((place, key): Pair) -> Self {
        Self::of_key((key, place))
    }

    /// About how many bytes the whole record has: of a block it is certain but for
    /// the length of its multihash.
    pub(crate) fn about_bytes(self) -> u64 {
        match self.kind() {
            Some(Kind::Block) => ABOUT_PREFIX + u64::from(self.block_len()),
            _ => ABOUT_REFERENCE,
        }
    }

    /// Bytes to read for the whole record; for a reference, for no less than it.
    pub(crate) fn read_len(self, mh: &Multihash) -> usize {
        match self.kind() {
            Some(Kind::Block) => FIXED_BYTES + mh.encoded_len() + self.block_len() as usize,
            _ => MAX_REFERENCE_RECORD,
        }
    }
}

/// Head and multihash of a record, with the CRC of all of it; the body follows.
pub(crate) fn encode_prefix(kind: Kind, mh: &Multihash, body: &[u8]) -> Vec<u8> {
    let mh = mh.to_bytes();
    let mut out = Vec::with_capacity(FIXED_BYTES + mh.len());
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.push(kind as u8);
    out.push(u8::try_from(mh.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&mh);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[8..]), body);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The fixed part of a record, its values within limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) crc: u32,
    pub(crate) kind: Kind,
    pub(crate) mh_len: usize,
    pub(crate) body_len: usize,
}

impl Prefix {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let crc = reader.u32()?;
        let body_len = usize::try_from(reader.u32()?).ok()?;
        let (kind, limit) = match reader.u8()? {
            1 => (Kind::Block, MAX_BLOCK_BYTES),
            2 => (Kind::Reference, MAX_REFERENCE_BYTES),
            _ => return None,
        };
        let mh_len = usize::from(reader.u8()?);
        (body_len <= limit && (2..=MAX_MULTIHASH_BYTES).contains(&mh_len)).then_some(Self {
            crc,
            kind,
            mh_len,
            body_len,
        })
    }

    /// Bytes of the whole record.
    pub(crate) fn total(self) -> usize {
        FIXED_BYTES + self.mh_len + self.body_len
    }

    /// Where the body begins.
    pub(crate) fn body_at(self) -> usize {
        FIXED_BYTES + self.mh_len
    }
}

/// A record whose CRC is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) mh: Multihash,
    pub(crate) body: &'a [u8],
    /// Bytes of the whole record.
    pub(crate) total: usize,
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with; `None` if it is short or damaged.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let prefix = Prefix::decode(bytes)?;
        let record = bytes.get(..prefix.total())?;
        if crc32c::crc32c(&record[8..]) != prefix.crc {
            return None;
        }
        let mh = Reader(&record[FIXED_BYTES..]).multihash(prefix.mh_len)?;
        Some(Self { kind: prefix.kind, mh, body: &record[prefix.body_at()..], total: prefix.total() })
    }

    /// Length of the block that it stands for.
    pub(crate) fn block_len(&self) -> Option<u32> {
        let len = match self.kind {
            Kind::Block => self.body.len(),
            Kind::Reference => Reference::decode(self.body)?.block_len(),
        };
        u32::try_from(len).ok()
    }
}

/// The multihash of a record of which only the beginning is at hand, unchecked.
pub(crate) fn multihash_of(bytes: &[u8]) -> Option<Multihash> {
    let prefix = Prefix::decode(bytes)?;
    Reader(bytes.get(FIXED_BYTES..)?).multihash(prefix.mh_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_about_seventy_bytes_and_comes_back() {
        let mh = Multihash::wrap(0x12, &[7; 32]).unwrap();
        let reference = Reference {
            file: FileId(70_000),
            offset: 9 << 30,
            len: 1 << 18,
            head: vec![1; 14],
            tail: vec![2; 4],
        };
        let body = reference.encode();
        let mut bytes = encode_prefix(Kind::Reference, &mh, &body);
        bytes.extend_from_slice(&body);
        assert!(bytes.len() < 100, "{}", bytes.len());
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.mh, mh);
        assert_eq!(Reference::decode(record.body), Some(reference));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(Record::decode(&bad).is_none(), "byte {at}");
            assert!(Record::decode(&bytes[..at]).is_none(), "cut at {at}");
        }
    }
}
