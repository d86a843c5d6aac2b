//! The UnixFS message inside a dag-pb node (ipfs/specs unixfs.md; boxo
//! `unixfs.proto`).
//!
//! The encoder writes fields in ascending order, block sizes unpacked, as
//! every deployed writer does, since CIDs depend on it. The decoder reads what
//! boxo's does, in the same way: any order, packed or not, the last of a repeated
//! single field counts and repeated times add up, unknown fields are skipped, and
//! so are known ones of another wire type. The type and the mode are their low 32
//! bits, and a time with a second's worth of nanoseconds is none.
//!
//! Left out on purpose: groups, which boxo skips as it does any unknown field.
//! Sizes are not judged here: boxo takes those that contradict what a file holds
//! ([`crate::node`] does not).

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

    /// What a file keeps of it: no mode 0. Kubo says nothing of such a mode,
    /// though it does of a folder's, and the same file is to have the same CID.
    #[must_use]
    pub(crate) const fn of_file(self) -> Self {
        match self.mode {
            Some(0) => Self { mode: None, ..self },
            _ => self,
        }
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
    /// No type, which is the one field that must be there.
    #[error("UnixFS: no type")]
    NoKind,
    /// A type that does not exist.
    #[error("UnixFS: unknown type {0}")]
    UnknownKind(u32),
    /// More block sizes than [`LINKS_MAX`].
    #[error("UnixFS: too many block sizes")]
    TooManyBlocks,
    /// A time without seconds.
    #[error("UnixFS: a time without seconds")]
    NoSeconds,
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
        let mut time = None;
        let mut data_at = base;
        while let Some((number, value)) = reader.next()? {
            match (number, value) {
                (1, Value::Varint(value)) => kind = Some(low_bits(value)),
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
                (7, Value::Varint(mode)) => this.metadata.mode = Some(low_bits(mode)),
                (8, Value::Bytes { bytes, .. }) => time.get_or_insert_with(Time::default).merge(bytes)?,
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
        this.metadata.mtime = time.map(Time::mtime).transpose()?.flatten();
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

/// A number of a field that has 32 bits, as protobuf reads it.
const fn low_bits(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A time as it is read. Protobuf puts messages of a repeated field together.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    seconds: Option<i64>,
    nanoseconds: u32,
}

impl Time {
    fn merge(&mut self, bytes: &[u8]) -> Result<(), UnixFsError> {
        let mut reader = Reader::new(bytes, 0)?;
        while let Some((number, value)) = reader.next()? {
            match (number, value) {
                (1, Value::Varint(value)) => self.seconds = Some(value.cast_signed()),
                (2, Value::Fixed32(value)) => self.nanoseconds = value,
                _ => {}
            }
        }
        Ok(())
    }

    fn mtime(self) -> Result<Option<Mtime>, UnixFsError> {
        let Self { seconds, nanoseconds } = self;
        let seconds = seconds.ok_or(UnixFsError::NoSeconds)?;
        Ok((nanoseconds < 1_000_000_000).then_some(Mtime { seconds, nanoseconds }))
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
            (b"\x0a\x01\x02", UnixFsError::NoKind),
            (b"\x08\x02\x42\x00", UnixFsError::NoSeconds),
            (b"\x08\x02\x42\x05\x15\x07\x00\x00\x00", UnixFsError::NoSeconds),
            (b"\x08\x02\x22\x01\xff", UnixFsError::Wire(WireError::Truncated)),
            (b"\x08\x02\xa3\x01\x08\x01\xa4\x01", UnixFsError::Wire(WireError::Key)),
        ] {
            assert_eq!(Data::decode(bytes), Err(error), "{bytes:?}");
        }
    }

    /// Each was given to Kubo 0.43.1 (`ipfs block put`, `ipfs cat`, `ipfs files stat`).
    #[test]
    fn what_no_writer_makes_is_read_as_kubo_reads_it() {
        let file = |mode, mtime: Option<(i64, u32)>| {
            let mut data = Data::new(Kind::File);
            (data.data, data.filesize) = (Some(&b"hi"[..]), Some(2));
            let mtime = mtime.map(|(seconds, nanoseconds)| Mtime { seconds, nanoseconds });
            data.metadata = Metadata { mode, mtime };
            Ok(data)
        };
        let hi = b"\x08\x02\x12\x02hi\x18\x02";
        for (front, back, want) in [
            // Data, then mode, time and block sizes, of another wire type.
            (&b"\x10\x00"[..], &b""[..], file(None, None)),
            (b"\x0a\x01\x02", b"\x3a\x01x", file(None, None)),
            (b"", b"\x40\x07\x2a\x01x", file(None, None)),
            (b"", b"\x21\x09\0\0\0\0\0\0\0", file(None, None)),
            // More than 32 bits of a mode, here 0644.
            (b"", b"\x38\xa4\x83\x80\x80\x10", file(Some(0o644), None)),
            // A whole second of nanoseconds, and nanoseconds of another type.
            (b"", b"\x42\x08\x08\xe8\x07\x15\x00\xca\x9a\x3b", file(None, None)),
            (b"", b"\x42\x05\x08\xe8\x07\x10\x07", file(None, Some((1000, 0)))),
            // A time in two parts.
            (b"", b"\x42\x03\x08\xe8\x07\x42\x05\x15\x07\0\0\0", file(None, Some((1000, 7)))),
            (b"\x42\x05\x15\x07\0\0\0", b"\x42\x03\x08\xe8\x07", file(None, Some((1000, 7)))),
        ] {
            let bytes = [front, hi, back].concat();
            assert_eq!(Data::decode(&bytes), want, "{bytes:x?}");
        }
        // More than 32 bits of a type.
        assert_eq!(Data::decode(b"\x08\x82\x80\x80\x80\x10\x12\x02hi\x18\x02"), file(None, None));
    }

    #[test]
    fn times_before_1970_survive() {
        let mut data = Data::new(Kind::Directory);
        data.metadata =
            Metadata { mode: Some(0o755), mtime: Some(Mtime { seconds: -1, nanoseconds: 999_999_999 }) };
        assert_eq!(Data::decode(&data.encode()), Ok(data));
    }
}
