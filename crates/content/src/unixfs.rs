//! The UnixFS message inside a dag-pb node (ipfs/specs unixfs.md; boxo
//! `unixfs.proto`).
//!
//! The encoder writes fields in ascending order, block sizes unpacked, as
//! every deployed writer does, since CIDs depend on it. The decoder is as
//! tolerant as boxo's: any order, packed or not, the last of a repeated
//! single field counts, unknown fields are skipped.

use crate::limits::LINKS_MAX;
use crate::pb::{self, Reader, Value, WireError};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// File bytes, as old and trickle leaves say it.
    Raw = 0,
    /// Folder in one block.
    Directory = 1,
    /// File.
    File = 2,
    /// Never used by anyone; not supported.
    Metadata = 3,
    /// Symbolic link.
    Symlink = 4,
    /// Folder in many blocks.
    HamtShard = 5,
}

/// Time of the last change of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Seconds since 1970, before it if negative.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What UnixFS 1.5 adds to a node, where someone chose to keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata {
    /// Permission bits. Only the low 12 mean anything.
    pub mode: Option<u32>,
    /// Time of the last change.
    pub mtime: Option<Mtime>,
}

impl Metadata {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mode.is_none() && self.mtime.is_none()
    }
}

/// A UnixFS message, borrowing from its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<'a> {
    /// What the node is.
    pub kind: Kind,
    /// File bytes, a symlink's target, or a shard's bit field.
    pub data: Option<&'a [u8]>,
    /// Bytes of the file under this node.
    pub filesize: Option<u64>,
    /// Bytes of the file under each link.
    pub blocksizes: Vec<u64>,
    /// Hash function of a shard: `0x22`.
    pub hash_type: Option<u64>,
    /// Fanout of a shard.
    pub fanout: Option<u64>,
    /// Mode and time, if kept.
    pub metadata: Metadata,
}

/// Why a node's data is not UnixFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnixFsError {
    /// Not protobuf.
    #[error("UnixFS: {0}")]
    Wire(#[from] WireError),
    /// A known field with a wrong type.
    #[error("UnixFS: field {0} has a wrong type")]
    Field(u32),
    /// No type, which is the one field that must be there.
    #[error("UnixFS: no type")]
    NoKind,
    /// A type that does not exist.
    #[error("UnixFS: unknown type {0}")]
    UnknownKind(u64),
    /// More block sizes than [`LINKS_MAX`].
    #[error("UnixFS: too many block sizes")]
    TooManyBlocks,
    /// A mode of more than 32 bits, or a time without seconds or with a second's worth of nanoseconds.
    #[error("UnixFS: a mode or time that cannot be")]
    Metadata,
}

impl<'a> Data<'a> {
    /// A message of a kind and nothing else.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: None,
            filesize: None,
            blocksizes: Vec::new(),
            hash_type: None,
            fanout: None,
            metadata: Metadata { mode: None, mtime: None },
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// See [`UnixFsError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UnixFsError> {
        Self::decode_at(bytes, 0).map(|(data, _)| data)
    }

    /// [`Self::decode`] of bytes at offset `base` of a block, and the offset
    /// of their data in that block.
    pub(crate) fn decode_at(bytes: &'a [u8], base: usize) -> Result<(Self, usize), UnixFsError> {
        let mut reader = Reader::new(bytes, base)?;
        let mut kind = None;
        let mut this = Self::new(Kind::Raw);
        let mut data_at = base;
        while let Some((number, value)) = reader.next()? {
            match (number, value) {
                (1, Value::Varint(value)) => kind = Some(value),
                (2, Value::Bytes { bytes, at }) => {
                    this.data = Some(bytes);
                    data_at = at;
                }
                (3, Value::Varint(size)) => this.filesize = Some(size),
                (4, Value::Varint(size)) => this.push_blocksize(size)?,
                (4, Value::Bytes { bytes, .. }) => {
                    let mut packed = Reader::new(bytes, 0)?;
                    while let Some(size) = packed.next_varint()? {
                        this.push_blocksize(size)?;
                    }
                }
                (5, Value::Varint(code)) => this.hash_type = Some(code),
                (6, Value::Varint(fanout)) => this.fanout = Some(fanout),
                (7, Value::Varint(mode)) => {
                    this.metadata.mode = Some(u32::try_from(mode).map_err(|_| UnixFsError::Metadata)?);
                }
                (8, Value::Bytes { bytes, .. }) => this.metadata.mtime = Some(decode_mtime(bytes)?),
                (1..=8, _) => return Err(UnixFsError::Field(number)),
                _ => {}
            }
        }
        this.kind = match kind.ok_or(UnixFsError::NoKind)? {
            0 => Kind::Raw,
            1 => Kind::Directory,
            2 => Kind::File,
            3 => Kind::Metadata,
            4 => Kind::Symlink,
            5 => Kind::HamtShard,
            other => return Err(UnixFsError::UnknownKind(other)),
        };
        Ok((this, data_at))
    }

    fn push_blocksize(&mut self, size: u64) -> Result<(), UnixFsError> {
        if self.blocksizes.len() == LINKS_MAX {
            return Err(UnixFsError::TooManyBlocks);
        }
        self.blocksizes.push(size);
        Ok(())
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let data = self.data.unwrap_or_default();
        let mut out = Vec::with_capacity(data.len() + self.blocksizes.len() * 5 + 64);
        pb::put_u64(&mut out, 1, self.kind as u64);
        if let Some(data) = self.data {
            pb::put_bytes(&mut out, 2, data);
        }
        self.encode_after_data(&mut out);
        out
    }

    /// The fields that follow the data.
    pub(crate) fn encode_after_data(&self, out: &mut Vec<u8>) {
        if let Some(size) = self.filesize {
            pb::put_u64(out, 3, size);
        }
        for &size in &self.blocksizes {
            pb::put_u64(out, 4, size);
        }
        if let Some(code) = self.hash_type {
            pb::put_u64(out, 5, code);
        }
        if let Some(fanout) = self.fanout {
            pb::put_u64(out, 6, fanout);
        }
        if let Some(mode) = self.metadata.mode {
            pb::put_u64(out, 7, u64::from(mode));
        }
        if let Some(mtime) = self.metadata.mtime {
            let mut time = Vec::with_capacity(16);
            pb::put_u64(&mut time, 1, mtime.seconds.cast_unsigned());
            if mtime.nanoseconds != 0 {
                time.push(2 << 3 | 5);
                time.extend_from_slice(&mtime.nanoseconds.to_le_bytes());
            }
            pb::put_bytes(out, 8, &time);
        }
    }
}

fn decode_mtime(bytes: &[u8]) -> Result<Mtime, UnixFsError> {
    let mut reader = Reader::new(bytes, 0)?;
    let (mut seconds, mut nanoseconds) = (None, 0);
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Value::Varint(value)) => seconds = Some(value.cast_signed()),
            (2, Value::Fixed32(value)) => nanoseconds = value,
            (1 | 2, _) => return Err(UnixFsError::Metadata),
            _ => {}
        }
    }
    match seconds {
        Some(seconds) if nanoseconds < 1_000_000_000 => Ok(Mtime { seconds, nanoseconds }),
        _ => Err(UnixFsError::Metadata),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_unpacked_sizes_in_any_order_read_alike() {
        let mut want = Data::new(Kind::File);
        want.filesize = Some(303);
        want.blocksizes = vec![1, 2, 300];
        assert_eq!(want.encode(), b"\x08\x02\x18\xaf\x02\x20\x01\x20\x02\x20\xac\x02");
        assert_eq!(Data::decode(&want.encode()), Ok(want.clone()));
        // Packed, size before type, an unknown field between.
        let odd = b"\x22\x04\x01\x02\xac\x02\x18\xaf\x02\x9a\x06\x01x\x08\x02";
        assert_eq!(Data::decode(odd), Ok(want));
    }

    #[test]
    fn refuses_what_is_not_unixfs() {
        for (bytes, error) in [
            (&b""[..], UnixFsError::NoKind),
            (b"\x08\x06", UnixFsError::UnknownKind(6)),
            (b"\x12\x00", UnixFsError::NoKind),
            (b"\x08\x02\x10\x00", UnixFsError::Field(2)),
            (b"\x08\x02\x42\x00", UnixFsError::Metadata),
            (b"\x08\x02\x42\x07\x08\x01\x15\x00\xca\x9a\x3b", UnixFsError::Metadata),
            (b"\x08\x02\x22\x01\xff", UnixFsError::Wire(WireError::Truncated)),
        ] {
            assert_eq!(Data::decode(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn times_before_1970_survive() {
        let mut data = Data::new(Kind::Directory);
        data.metadata =
            Metadata { mode: Some(0o755), mtime: Some(Mtime { seconds: -1, nanoseconds: 999_999_999 }) };
        assert_eq!(Data::decode(&data.encode()), Ok(data));
    }
}
