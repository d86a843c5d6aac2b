//! Hash functions by multihash code, and the check that a block is what its
//! CID says (multiformats/multihash; the allowlist is boxo's `verifcid`).
//!
//! Left out on purpose: SHA-3, Keccak and other functions that no deployed
//! IPFS software uses by default. They are errors with a name, not mismatches.

use std::fmt;
use std::str::FromStr;

use crate::limits::{CID_WIRE_MAX, DIGEST_MAX, DIGEST_MIN, IDENTITY_MAX};
use crate::{Cid, Multihash};

/// Multihash code of `identity`: the digest is the data itself.
pub const IDENTITY: u64 = 0x00;
/// Multihash code of SHA2-256.
pub const SHA2_256: u64 = 0x12;

/// A hash function that blocks can be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-1, 20 bytes (`0x11`).
    Sha1,
    /// SHA2-256, 32 bytes (`0x12`): what nearly every block has.
    Sha2_256,
    /// SHA2-512, 64 bytes (`0x13`).
    Sha2_512,
    /// BLAKE3 with any output length up to 64 bytes, 32 by default (`0x1e`).
    Blake3,
    /// SHA2-256 of SHA2-256, 32 bytes (`0x56`).
    DoubleSha2_256,
    /// BLAKE2b with 32 bytes of output (`0xb220`).
    Blake2b256,
    /// BLAKE2b with 64 bytes of output (`0xb240`).
    Blake2b512,
    /// BLAKE2s with 32 bytes of output (`0xb260`).
    Blake2s256,
}

/// The name in the multicodec table.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of [`Algorithm`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown hash function; there are sha1, sha2-256, sha2-512, blake3, dbl-sha2-256, blake2b-256, \
     blake2b-512 and blake2s-256"
)]
pub struct UnknownAlgorithm;

/// From the name in the multicodec table, in upper or lower case.
///
/// ```
/// use peerage_content::hash::Algorithm;
/// assert_eq!("blake2b-256".parse(), Ok(Algorithm::Blake2b256));
/// assert_eq!(Algorithm::Sha2_256.to_string(), "sha2-256");
/// ```
impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let named = |algorithm: &Self| algorithm.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named).ok_or(UnknownAlgorithm)
    }
}

/// The first `out.len()` bytes of SHA2-256, at most 32.
fn sha256(parts: &[&[u8]], out: &mut [u8]) {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    let len = out.len().min(32);
    out[..len].copy_from_slice(&digest.as_ref()[..len]);
}

/// A hash function that this crate does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hash function 0x{0:x} is not supported")]
pub struct UnsupportedHash(
    /// The multihash code.
    pub u64,
);

impl TryFrom<u64> for Algorithm {
    type Error = UnsupportedHash;

    fn try_from(code: u64) -> Result<Self, UnsupportedHash> {
        Ok(match code {
            0x11 => Self::Sha1,
            0x12 => Self::Sha2_256,
            0x13 => Self::Sha2_512,
            0x1e => Self::Blake3,
            0x56 => Self::DoubleSha2_256,
            0xb220 => Self::Blake2b256,
            0xb240 => Self::Blake2b512,
            0xb260 => Self::Blake2s256,
            other => return Err(UnsupportedHash(other)),
        })
    }
}

impl Algorithm {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Sha1,
        Self::Sha2_256,
        Self::Sha2_512,
        Self::Blake3,
        Self::DoubleSha2_256,
        Self::Blake2b256,
        Self::Blake2b512,
        Self::Blake2s256,
    ];

    /// Its name in the multicodec table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha2_256 => "sha2-256",
            Self::Sha2_512 => "sha2-512",
            Self::Blake3 => "blake3",
            Self::DoubleSha2_256 => "dbl-sha2-256",
            Self::Blake2b256 => "blake2b-256",
            Self::Blake2b512 => "blake2b-512",
            Self::Blake2s256 => "blake2s-256",
        }
    }

    /// The multihash code.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Sha1 => 0x11,
            Self::Sha2_256 => 0x12,
            Self::Sha2_512 => 0x13,
            Self::Blake3 => 0x1e,
            Self::DoubleSha2_256 => 0x56,
            Self::Blake2b256 => 0xb220,
            Self::Blake2b512 => 0xb240,
            Self::Blake2s256 => 0xb260,
        }
    }

    /// Length of a whole digest, in bytes (BLAKE3: the usual one).
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha2_256 | Self::Blake3 | Self::DoubleSha2_256 | Self::Blake2b256 | Self::Blake2s256 => 32,
            Self::Sha2_512 | Self::Blake2b512 => 64,
        }
    }

    /// Longest digest, in bytes; longer than [`Self::digest_len`] only for BLAKE3.
    #[must_use]
    pub const fn digest_max(self) -> usize {
        match self {
            Self::Blake3 => DIGEST_MAX,
            _ => self.digest_len(),
        }
    }

    /// The digest of `parts` one after the other, so that nobody has to join them.
    #[must_use]
    pub fn digest_parts(self, parts: &[&[u8]]) -> Multihash {
        let mut out = [0; DIGEST_MAX];
        let len = self.digest_len();
        self.fill(parts, &mut out[..len]);
        wrap(self.code(), &out[..len])
    }

    /// Writes the first `out.len()` bytes of the digest. `out` is at most
    /// [`Self::digest_max`] long, the callers' business.
    fn fill(self, parts: &[&[u8]], out: &mut [u8]) {
        fn run<D: blake2::Digest>(parts: &[&[u8]], out: &mut [u8]) {
            let mut hasher = D::new();
            for part in parts {
                hasher.update(part);
            }
            let digest = hasher.finalize();
            let len = out.len().min(digest.len());
            out[..len].copy_from_slice(&digest[..len]);
        }
        match self {
            Self::Sha1 => run::<sha1::Sha1>(parts, out),
            // Where the CPU has no SHA instructions ring is 1.6 times as fast as
            // the sha2 crate, elsewhere as fast; and every block passes here.
            Self::Sha2_256 => sha256(parts, out),
            Self::Sha2_512 => run::<sha2::Sha512>(parts, out),
            Self::Blake2b256 => run::<blake2::Blake2b256>(parts, out),
            Self::Blake2b512 => run::<blake2::Blake2b512>(parts, out),
            Self::Blake2s256 => run::<blake2::Blake2s256>(parts, out),
            Self::DoubleSha2_256 => {
                let mut inner = [0; 32];
                sha256(parts, &mut inner);
                sha256(&[&inner], out);
            }
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                for part in parts {
                    hasher.update(part);
                }
                hasher.finalize_xof().fill(out);
            }
        }
    }
}

/// The multihash of `data` under the function with multihash code `code`.
///
/// ```
/// use peerage_content::hash;
/// let mh = hash::digest(hash::SHA2_256, b"hello world").unwrap();
/// assert_eq!(mh.digest()[..4], [0xb9, 0x4d, 0x27, 0xb9]);
/// assert_eq!(hash::digest(0x1b, b"").unwrap_err().0, 0x1b);
/// ```
///
/// # Errors
/// The function is not one of [`Algorithm`]'s.
pub fn digest(code: u64, data: &[u8]) -> Result<Multihash, UnsupportedHash> {
    Ok(Algorithm::try_from(code)?.digest_parts(&[data]))
}

/// Why a block is not, or cannot be shown to be, what its CID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are others: whoever sent or stored them is at fault.
    #[error("the data does not match its hash")]
    Mismatch,
    /// The CID's function is unknown here; nobody is at fault.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedHash),
    /// The CID's digest is too short to trust, or longer than its function gives.
    #[error("a digest of {0} bytes verifies nothing")]
    DigestLength(usize),
}

/// Checks that `data` has the hash that `cid` names. Truncated digests of at
/// least 20 bytes count, as in boxo.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(cid: &Cid, data: &[u8]) -> Result<(), VerifyError> {
    verify_parts(cid.hash(), &[data])
}

/// [`verify`] for a multihash and bytes in several pieces.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify_parts(hash: &Multihash, parts: &[&[u8]]) -> Result<(), VerifyError> {
    let want = hash.digest();
    if hash.code() == IDENTITY {
        let mut rest = want;
        for part in parts {
            rest = rest.strip_prefix(*part).ok_or(VerifyError::Mismatch)?;
        }
        return if rest.is_empty() { Ok(()) } else { Err(VerifyError::Mismatch) };
    }
    let algorithm = Algorithm::try_from(hash.code())?;
    if want.len() < DIGEST_MIN || want.len() > algorithm.digest_max() {
        return Err(VerifyError::DigestLength(want.len()));
    }
    let mut out = [0; DIGEST_MAX];
    let got = &mut out[..want.len()];
    algorithm.fill(parts, got);
    if got == want { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// The data of an identity CID, which holds its block in its digest. Such a
/// block is never asked for, sent or stored.
#[must_use]
pub fn inline(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// Why a CID may not travel in Bitswap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOnWire {
    /// Its data is in the CID.
    #[error("an identity CID is not requested from anyone")]
    Identity,
    /// Nobody could verify the block.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedHash),
    /// The digest has a length that is not safe or not possible, in bytes.
    #[error("a digest of {0} bytes is not accepted")]
    DigestLength(usize),
    /// The CID is longer than 168 bytes.
    #[error("a CID of {0} bytes is too long")]
    TooLong(usize),
}

/// Whether `cid` may be asked for, announced or served in Bitswap: a known
/// function, a digest of at least 20 bytes, a CID of at most 168, no identity.
///
/// # Errors
/// What is wrong with it.
pub fn wire_allowed(cid: &Cid) -> Result<(), NotOnWire> {
    let hash = cid.hash();
    if hash.code() == IDENTITY {
        return Err(NotOnWire::Identity);
    }
    let algorithm = Algorithm::try_from(hash.code())?;
    let len = hash.digest().len();
    if len < DIGEST_MIN || len > algorithm.digest_max() {
        return Err(NotOnWire::DigestLength(len));
    }
    if cid.encoded_len() > CID_WIRE_MAX {
        return Err(NotOnWire::TooLong(cid.encoded_len()));
    }
    Ok(())
}

/// The multihash of `digest`, which is at most [`IDENTITY_MAX`] bytes.
pub(crate) fn wrap(code: u64, digest: &[u8]) -> Multihash {
    Multihash::wrap(code, digest).expect("digests here have at most 128 bytes")
}

/// The identity multihash of `parts`, if they are at most [`IDENTITY_MAX`] bytes.
pub(crate) fn identity(parts: &[&[u8]]) -> Option<Multihash> {
    let mut data = [0; IDENTITY_MAX];
    let mut len = 0;
    for part in parts {
        data.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    Some(wrap(IDENTITY, &data[..len]))
}

/// The multihash of the first `len` bytes of `data`'s digest.
pub(crate) fn digest_of_len(algorithm: Algorithm, len: usize, data: &[u8]) -> Option<Multihash> {
    if len < DIGEST_MIN || len > algorithm.digest_max() {
        return None;
    }
    let mut out = [0; DIGEST_MAX];
    algorithm.fill(&[data], &mut out[..len]);
    Some(wrap(algorithm.code(), &out[..len]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_a_mismatch() {
        let mh = digest(SHA2_256, b"abc").unwrap();
        assert_eq!(verify_parts(&mh, &[b"a", b"", b"bc"]), Ok(()));
        assert_eq!(verify_parts(&mh, &[b"abd"]), Err(VerifyError::Mismatch));
    }

    #[test]
    fn short_digests_verify_nothing() {
        let mh = digest(SHA2_256, b"abc").unwrap();
        for (len, fine) in [(0, false), (19, false), (20, true), (32, true)] {
            let cut = Cid::new_v1(0x55, wrap(SHA2_256, &mh.digest()[..len]));
            assert_eq!(verify(&cut, b"abc").is_ok(), fine, "{len}");
            assert_eq!(wire_allowed(&cut).is_ok(), fine, "{len}");
        }
        let mut long = [0; 33];
        long[..32].copy_from_slice(mh.digest());
        let cid = Cid::new_v1(0x55, wrap(SHA2_256, &long));
        assert_eq!(verify(&cid, b"abc"), Err(VerifyError::DigestLength(33)));
    }

    #[test]
    fn identity_holds_its_data_and_stays_off_the_wire() {
        let cid = Cid::new_v1(0x55, wrap(IDENTITY, b"abc"));
        assert_eq!(inline(&cid), Some(&b"abc"[..]));
        assert_eq!(verify(&cid, b"abc"), Ok(()));
        assert_eq!(verify(&cid, b"abcd"), Err(VerifyError::Mismatch));
        assert_eq!(verify(&cid, b"ab"), Err(VerifyError::Mismatch));
        assert_eq!(wire_allowed(&cid), Err(NotOnWire::Identity));
    }

    #[test]
    fn names_and_codes_go_both_ways() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(algorithm.name().to_uppercase().parse(), Ok(algorithm));
            assert_eq!(Algorithm::try_from(algorithm.code()), Ok(algorithm));
            // The error lists every name.
            assert!(UnknownAlgorithm.to_string().contains(algorithm.name()), "{algorithm}");
        }
        for name in ["", "sha2", "sha256", "sha2-256 ", "identity", "blake2b-128"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }

    #[test]
    fn unknown_functions_have_a_name() {
        let cid = Cid::new_v1(0x55, wrap(0x1b, &[0; 32]));
        assert_eq!(wire_allowed(&cid), Err(NotOnWire::Unsupported(UnsupportedHash(0x1b))));
        assert_eq!(verify(&cid, b""), Err(VerifyError::Unsupported(UnsupportedHash(0x1b))));
    }
}
