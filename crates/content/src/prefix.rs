//! The CID prefix that a Bitswap 1.1 block carries in place of its CID:
//! version, codec, hash function and digest length as four unsigned varints
//! (ipfs/specs bitswap.md; go-cid `Prefix`).

use cid::Version;

use crate::hash::{Algorithm, UnsupportedHash, digest_of_len};
use crate::limits::VARINT_MAX;
use crate::{Cid, codec, pb};

/// Everything of a CID but its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// CID version, 0 or 1.
    pub version: u64,
    /// Codec of the block.
    pub codec: u64,
    /// Multihash code.
    pub mh_code: u64,
    /// Length of the digest, in bytes.
    pub mh_len: u64,
}

/// Why bytes are no prefix, or a prefix makes no CID. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not four minimal varints of at most nine bytes.
    #[error("not a CID prefix")]
    Malformed,
    /// A version that does not exist, or version 0 with other than dag-pb and SHA2-256.
    #[error("no CID of version {0} has such a prefix")]
    Version(u64),
    /// A hash function that is unknown here.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedHash),
    /// A digest length that is too short to trust, or longer than the function gives.
    #[error("a digest of {0} bytes is not accepted")]
    DigestLength(u64),
}

impl Prefix {
    /// The prefix of `cid`.
    #[must_use]
    pub fn of(cid: &Cid) -> Self {
        Self {
            version: cid.version().into(),
            codec: cid.codec(),
            mh_code: cid.hash().code(),
            mh_len: u64::from(cid.hash().size()),
        }
    }

    /// Reads a prefix, all of `bytes`.
    ///
    /// # Errors
    /// Not four varints, bytes left over, or a version that does not exist.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrefixError> {
        let mut rest = bytes;
        let mut next = || -> Result<u64, PrefixError> {
            let (value, tail) = unsigned_varint::decode::u64(rest).map_err(|_| PrefixError::Malformed)?;
            // Of a number in ten bytes the reader drops bits.
            let whole = pb::varint_len(value) == rest.len() - tail.len();
            rest = tail;
            if whole && value <= VARINT_MAX { Ok(value) } else { Err(PrefixError::Malformed) }
        };
        let prefix = Self { version: next()?, codec: next()?, mh_code: next()?, mh_len: next()? };
        if !rest.is_empty() {
            return Err(PrefixError::Malformed);
        }
        let v0 = Self { version: 0, codec: codec::DAG_PB, mh_code: crate::hash::SHA2_256, mh_len: 32 };
        match prefix.version {
            0 if prefix != v0 => Err(PrefixError::Version(0)),
            0 | 1 => Ok(prefix),
            other => Err(PrefixError::Version(other)),
        }
    }

    /// The bytes of the prefix, as they stand in a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        for value in [self.version, self.codec, self.mh_code, self.mh_len] {
            let mut buffer = unsigned_varint::encode::u64_buffer();
            out.extend_from_slice(unsigned_varint::encode::u64(value, &mut buffer));
        }
        out
    }

    /// The CID of `data` under this prefix: how a received block gets its name.
    ///
    /// # Errors
    /// The function is unknown, or the length or version not possible.
    pub fn cid_of(&self, data: &[u8]) -> Result<Cid, PrefixError> {
        let algorithm = Algorithm::try_from(self.mh_code)?;
        let bad_len = PrefixError::DigestLength(self.mh_len);
        let len = usize::try_from(self.mh_len).map_err(|_| bad_len)?;
        let hash = digest_of_len(algorithm, len, data).ok_or(bad_len)?;
        let version = Version::try_from(self.version).map_err(|_| PrefixError::Version(self.version))?;
        Cid::new(version, self.codec, hash).map_err(|_| PrefixError::Version(self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_block() {
        for text in [
            "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        ] {
            let cid = crate::cid_text::parse(text).unwrap();
            let prefix = Prefix::parse(&Prefix::of(&cid).encode()).unwrap();
            let leaf: &[u8] = if cid.codec() == codec::RAW {
                b"hello world"
            } else {
                b"\x0a\x11\x08\x02\x12\x0bhello world\x18\x0b"
            };
            assert_eq!(prefix.cid_of(leaf), Ok(cid));
        }
    }

    #[test]
    fn refuses_what_is_no_prefix() {
        for (bytes, error) in [
            (&[][..], PrefixError::Malformed),
            (&[1, 0x55, 0x12], PrefixError::Malformed),
            (&[1, 0x55, 0x12, 32, 0], PrefixError::Malformed),
            (&[1, 0xd5, 0x00, 0x12, 32], PrefixError::Malformed), // 0x55, not minimal
            // Ten bytes, of whose last one no bit fits.
            (&[1, 0xd5, 128, 128, 128, 128, 128, 128, 128, 128, 2, 0x12, 32], PrefixError::Malformed),
            (&[2, 0x55, 0x12, 32], PrefixError::Version(2)),
            (&[0, 0x55, 0x12, 32], PrefixError::Version(0)),
        ] {
            assert_eq!(Prefix::parse(bytes), Err(error), "{bytes:?}");
        }
        let prefix = |mh_code, mh_len| Prefix { version: 1, codec: 0x55, mh_code, mh_len };
        assert_eq!(prefix(0x12, 33).cid_of(b""), Err(PrefixError::DigestLength(33)));
        assert_eq!(prefix(0x12, u64::MAX).cid_of(b""), Err(PrefixError::DigestLength(u64::MAX)));
        assert_eq!(prefix(0x12, 4).cid_of(b""), Err(PrefixError::DigestLength(4)));
        assert_eq!(prefix(0x00, 0).cid_of(b""), Err(PrefixError::Unsupported(UnsupportedHash(0))));
    }
}
