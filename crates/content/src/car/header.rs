//! The two headers: a small map in DAG-CBOR, and, for version 2, 40 bytes
//! behind it.
//!
//! The map is read as go-car reads it, with keys in any order, numbers of any
//! width, and no roots in any form (absent, null, an empty list), since files
//! like these are about. Left out on purpose: indefinite lengths, which
//! DAG-CBOR does not have, and keys besides the two.

use super::error::{CarError, Fault, HeaderFault};
use crate::limits::CAR_ROOTS_MAX;
use crate::{Cid, cid_text, pb};

/// The first 11 bytes of every version 2: a header that says so, with its length.
const PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";

/// Length of the second header of a version 2, in bytes.
pub(super) const V2_LEN: usize = 40;

/// Offsets and sizes over this cannot be files' (go-car: signed numbers).
const FILE_MAX: u64 = i64::MAX as u64;

/// What the beginning of a CAR says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where whoever made the CAR says that its DAGs start. Often one, maybe
    /// none; not verified, and maybe not in the file.
    pub roots: Vec<Cid>,
    /// What version 2 has more; none in a version 1.
    pub v2: Option<V2>,
}

/// The second header of a version 2. Offsets count from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V2 {
    /// Bits that describe the file; all but [`Self::fully_indexed`] reserved.
    pub characteristics: [u8; 16],
    /// Where the data begins, which is a whole version 1, in bytes.
    pub data_offset: u64,
    /// Length of the data, in bytes.
    pub data_size: u64,
    /// Where the index begins, in bytes; none if there is none. Behind the data,
    /// if [`super::Options::index`] asks for it; else not looked at.
    pub index_offset: Option<u64>,
}

impl Header {
    /// The version, 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u64 {
        if self.v2.is_some() { 2 } else { 1 }
    }

    /// Where the (inner) version 1 begins, in bytes: what offsets in an index
    /// are relative to.
    #[must_use]
    pub const fn data_offset(&self) -> u64 {
        match &self.v2 {
            Some(v2) => v2.data_offset,
            None => 0,
        }
    }
}

impl V2 {
    /// Where it begins, in bytes from the start of the file.
    pub const OFFSET: u64 = PRAGMA.len() as u64;

    /// Whether the index has all sections, those with identity CIDs, too.
    #[must_use]
    pub const fn fully_indexed(&self) -> bool {
        self.characteristics[0] & 0x80 != 0
    }

    /// Where the data ends, in bytes.
    pub(super) const fn data_end(&self) -> u64 {
        self.data_offset.saturating_add(self.data_size)
    }

    /// Reads what follows [`PRAGMA`]. Where the index is matters only to who reads it.
    pub(super) fn parse(bytes: &[u8; V2_LEN], with_index: bool) -> Result<Self, CarError> {
        let number = |at: usize| {
            let mut le = [0; 8];
            le.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(le)
        };
        let start = Self::OFFSET;
        let error = |at: u64, fault| Err(CarError { offset: start + at, fault });
        let mut characteristics = [0; 16];
        characteristics.copy_from_slice(&bytes[..16]);
        let (data_offset, data_size, index_offset) = (number(16), number(24), number(32));
        if data_offset < start + V2_LEN as u64 || data_offset > FILE_MAX {
            return error(16, Fault::DataOffset(data_offset));
        }
        if data_size == 0 || data_size > FILE_MAX - data_offset {
            return error(24, Fault::DataSize(data_size));
        }
        let possible = index_offset >= data_offset + data_size && index_offset <= FILE_MAX;
        if with_index && index_offset != 0 && !possible {
            return error(32, Fault::IndexOffset(index_offset));
        }
        let index_offset = (index_offset != 0).then_some(index_offset);
        Ok(Self { characteristics, data_offset, data_size, index_offset })
    }
}

/// A header, which may be of any version.
pub(super) struct Parsed {
    pub(super) version: u64,
    pub(super) roots: Vec<Cid>,
    /// Whether it is [`PRAGMA`], byte by byte.
    pub(super) pragma: bool,
}

/// Reads the map of a header whose length is at `offset` of its file.
pub(super) fn parse_at(body: &[u8], offset: u64) -> Result<Parsed, CarError> {
    let start = offset + pb::varint_len(body.len() as u64) as u64;
    let (version, roots) = parse(body)
        .map_err(|(at, fault)| CarError { offset: start + at as u64, fault: Fault::Header(fault) })?;
    Ok(Parsed { version, roots, pragma: *body == PRAGMA[1..] })
}

/// The version and roots; an error says at which byte of the map.
fn parse(bytes: &[u8]) -> Result<(u64, Vec<Cid>), (usize, HeaderFault)> {
    let mut cbor = Cbor { bytes, at: 0 };
    cbor.map().map_err(|fault| (cbor.at, fault))
}

/// Major types of CBOR.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const LIST: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
}

/// The byte of null.
const NULL: u8 = 0xf6;

/// The tag of a CID.
const CID_TAG: u64 = 42;

/// A cursor that stays at the value that is wrong.
struct Cbor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cbor<'a> {
    fn map(&mut self) -> Result<(u64, Vec<Cid>), HeaderFault> {
        let pairs = self.head(major::MAP, HeaderFault::NotAMap)?;
        let (mut version, mut roots) = (None, None);
        for _ in 0..pairs {
            let start = self.at;
            match self.string(major::TEXT, HeaderFault::Key)? {
                b"version" if version.is_none() => {
                    version = Some(self.head(major::UNSIGNED, HeaderFault::NoVersion)?);
                }
                b"roots" if roots.is_none() => roots = Some(self.roots()?),
                _ => {
                    self.at = start;
                    return Err(HeaderFault::Key);
                }
            }
        }
        if self.at < self.bytes.len() {
            return Err(HeaderFault::Trailing);
        }
        Ok((version.ok_or(HeaderFault::NoVersion)?, roots.unwrap_or_default()))
    }

    fn roots(&mut self) -> Result<Vec<Cid>, HeaderFault> {
        if self.bytes.get(self.at) == Some(&NULL) {
            self.at += 1;
            return Ok(Vec::new());
        }
        let start = self.at;
        let count = self.head(major::LIST, HeaderFault::Roots)?;
        if count > CAR_ROOTS_MAX as u64 {
            self.at = start;
            return Err(HeaderFault::TooManyRoots);
        }
        (0..count).map(|_| self.root()).collect()
    }

    fn root(&mut self) -> Result<Cid, HeaderFault> {
        let start = self.at;
        let mut link = || {
            if self.head(major::TAG, HeaderFault::Roots)? != CID_TAG {
                return Err(HeaderFault::Roots);
            }
            // A zero, the multibase prefix of bytes as they are, stands before the CID.
            let bytes = self.string(major::BYTES, HeaderFault::Roots)?;
            let bytes = bytes.strip_prefix(&[0]).ok_or(HeaderFault::Cid)?;
            cid_text::from_bytes(bytes).map_err(|_| HeaderFault::Cid)
        };
        let root = link();
        if root.is_err() {
            self.at = start;
        }
        root
    }

    fn string(&mut self, major: u8, other: HeaderFault) -> Result<&'a [u8], HeaderFault> {
        let len = usize::try_from(self.head(major, other)?).map_err(|_| HeaderFault::Cut)?;
        let bytes = self.bytes[self.at..].get(..len).ok_or(HeaderFault::Cut)?;
        self.at += len;
        Ok(bytes)
    }

    /// The number in the head of a value, which is of type `major` or `other` is wrong.
    fn head(&mut self, major: u8, other: HeaderFault) -> Result<u64, HeaderFault> {
        let rest = &self.bytes[self.at..];
        let first = *rest.first().ok_or(HeaderFault::Cut)?;
        if first >> 5 != major {
            return Err(other);
        }
        let width = match first & 0x1f {
            small @ 0..=23 => {
                self.at += 1;
                return Ok(u64::from(small));
            }
            wide @ 24..=27 => 1 << (wide - 24),
            _ => return Err(other),
        };
        let bytes = rest.get(1..=width).ok_or(HeaderFault::Cut)?;
        self.at += 1 + width;
        Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] = b"\xd8\x2a\x45\0\x01\x55\0\0"; // the empty identity CID

    fn with(head: &[u8], tail: &[u8]) -> Vec<u8> {
        [head, ROOT, tail].concat()
    }

    #[test]
    fn reads_what_is_about() {
        let root = cid_text::from_bytes(&ROOT[4..]).unwrap();
        for (bytes, roots) in [
            (with(b"\xa2\x65roots\x81", b"\x67version\x01"), 1),
            (with(b"\xa2\x67version\x01\x65roots\x81", b""), 1), // not in canonical order
            (b"\xa2\x65roots\x80\x67version\x01".to_vec(), 0),
            (b"\xa2\x65roots\xf6\x67version\x01".to_vec(), 0), // go-car, when given nil
            (b"\xa1\x67version\x01".to_vec(), 0),
            (b"\xa1\x78\x07version\x1b\0\0\0\0\0\0\0\x01".to_vec(), 0), // numbers wider than needed
        ] {
            assert_eq!(parse(&bytes), Ok((1, vec![root; roots])), "{bytes:x?}");
        }
        assert_eq!(parse(&PRAGMA[1..]), Ok((2, vec![])));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        use HeaderFault as F;
        let count = (CAR_ROOTS_MAX as u64 + 1).to_be_bytes();
        let many = [&b"\xa2\x65roots\x9b"[..], &count].concat();
        for (bytes, at, fault) in [
            (b"".to_vec(), 0, F::Cut),
            (b"\xa1\x67versio".to_vec(), 2, F::Cut),
            (b"\xa1\x67version".to_vec(), 9, F::Cut),
            (b"\xa1\x67version\x19\x01".to_vec(), 9, F::Cut),
            (b"\xa1\x7b\xff\xff\xff\xff\xff\xff\xff\xffversion".to_vec(), 10, F::Cut),
            (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), 9, F::Cut),
            (b"hello".to_vec(), 0, F::NotAMap),
            (b"\xbf\x67version\x01\xff".to_vec(), 0, F::NotAMap), // indefinite length
            (b"\xa0".to_vec(), 1, F::NoVersion),
            (b"\xa1\x65roots\x80".to_vec(), 8, F::NoVersion),
            (b"\xa1\x67version\x20".to_vec(), 9, F::NoVersion), // -1
            (b"\xa1\x67version\xf9\x3c\0".to_vec(), 9, F::NoVersion), // 1.0
            (b"\xa1\x67version\x01\0".to_vec(), 10, F::Trailing),
            (b"\xa2\x67version\x01\x67version\x01".to_vec(), 10, F::Key),
            (b"\xa2\x67version\x01\x64more\x01".to_vec(), 10, F::Key),
            (b"\xa1\x01\x01".to_vec(), 1, F::Key),
            (b"\xa1\x65roots\x01".to_vec(), 7, F::Roots),
            (b"\xa1\x65roots\x9f\xff".to_vec(), 7, F::Roots),
            (b"\xa1\x65roots\x81\x40".to_vec(), 8, F::Roots), // bytes without the tag
            (b"\xa1\x65roots\x81\xd8\x2b\x40".to_vec(), 8, F::Roots), // another tag
            (b"\xa1\x65roots\x81\xd8\x2a\x60".to_vec(), 8, F::Roots), // text
            (b"\xa1\x65roots\x81\xd8\x2a\x40".to_vec(), 8, F::Cid),
            (b"\xa1\x65roots\x81\xd8\x2a\x44\x01\x55\0\0".to_vec(), 8, F::Cid), // no zero before
            (b"\xa1\x65roots\x81\xd8\x2a\x46\0\x01\x55\0\0\0".to_vec(), 8, F::Cid),
            (many, 7, F::TooManyRoots),
        ] {
            assert_eq!(parse(&bytes), Err((at, fault)), "{bytes:x?}");
        }
        let second = with(b"\xa1\x65roots\x82", b"\x01");
        assert_eq!(parse(&second), Err((16, F::Roots)));
    }
}
