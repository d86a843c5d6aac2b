//! Peer ids: the multihash of a peer's public key. Spec: libp2p/specs
//! `peer-ids` (bytes, base58), RFC 0001 (CID text).

use std::fmt;
use std::str::FromStr;

use multibase::Base;
use peerage_wire::varint;
use sha2::{Digest as _, Sha256};

use crate::PublicKey;
use crate::limits::{INLINE_KEY_MAX_BYTES, PEER_ID_TEXT_MAX_CHARS};

/// Multihash codes, and the codec of a peer id as CID (multicodec table).
const IDENTITY: u8 = 0x00;
const SHA2_256: u8 = 0x12;
const SHA2_256_LEN: usize = 32;
const LIBP2P_KEY: u64 = 0x72;

/// Code, length, digest.
const MAX_BYTES: usize = 2 + INLINE_KEY_MAX_BYTES;

/// Why bytes or text are no peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {
    /// Nothing there.
    #[error("an empty peer id")]
    Empty,
    /// More text than any id has, in characters.
    #[error("a peer id of {0} characters")]
    TooLong(usize),
    /// Neither base58 starting with `Qm` or `1` nor multibase.
    #[error("a peer id in no known text form")]
    Text,
    /// A CID of something else than a key, e.g. of content; the codec's number.
    #[error("a CID of codec {0:#x} is not a peer id (0x72)")]
    Codec(u64),
    /// Not a CID of version 1.
    #[error("a peer id's CID must have version 1")]
    Version,
    /// Not an identity multihash of at most 42 bytes nor a SHA2-256 of 32.
    #[error("a peer id is a SHA2-256 multihash or an identity one of at most 42 bytes")]
    Multihash,
}

/// A peer's id. Small and `Copy`; ordered by its bytes.
///
/// ```
/// use peerage_identity::PeerId;
/// let id: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
/// let cid = "bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l";
/// assert_eq!(id.to_cid_text(), cid);
/// assert_eq!(cid.parse(), Ok(id));
/// assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
/// # Ok::<(), peerage_identity::PeerIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    /// The multihash, zeros behind it; first, so that the derived order is
    /// that of the bytes.
    bytes: [u8; MAX_BYTES],
    len: u8,
}

impl PeerId {
    /// Reads the multihash, the form in which ids stand in messages.
    ///
    /// # Errors
    /// [`PeerIdError::Empty`] or [`PeerIdError::Multihash`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        // Both lengths are below 128, so a varint of one byte.
        match *bytes {
            [] => Err(PeerIdError::Empty),
            [IDENTITY, len, ref key @ ..]
                if usize::from(len) == key.len() && key.len() <= INLINE_KEY_MAX_BYTES =>
            {
                Ok(Self::new(IDENTITY, key))
            }
            [SHA2_256, len, ref digest @ ..]
                if usize::from(len) == digest.len() && digest.len() == SHA2_256_LEN =>
            {
                Ok(Self::new(SHA2_256, digest))
            }
            _ => Err(PeerIdError::Multihash),
        }
    }

    /// The id of the key with this protobuf form.
    pub(crate) fn of_key_protobuf(key: &[u8]) -> Self {
        if key.len() <= INLINE_KEY_MAX_BYTES {
            Self::new(IDENTITY, key)
        } else {
            Self::new(SHA2_256, &Sha256::digest(key))
        }
    }

    /// `digest` has at most 42 bytes.
    fn new(code: u8, digest: &[u8]) -> Self {
        let mut bytes = [0; MAX_BYTES];
        let len = u8::try_from(digest.len()).expect("callers check the length");
        bytes[0] = code;
        bytes[1] = len;
        bytes[2..2 + digest.len()].copy_from_slice(digest);
        Self { bytes, len: len + 2 }
    }

    /// The multihash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The multihash, owned.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// The text form as CID, base32 (`bafz..`).
    #[must_use]
    pub fn to_cid_text(&self) -> String {
        let mut cid = Vec::with_capacity(2 + MAX_BYTES);
        varint::put(&mut cid, 1);
        varint::put(&mut cid, LIBP2P_KEY);
        cid.extend_from_slice(self.as_bytes());
        multibase::encode(Base::Base32Lower, cid)
    }

    /// The key itself, if the id holds it (Ed25519 and secp256k1) and it is well-formed.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        match self.as_bytes() {
            [IDENTITY, _, key @ ..] => PublicKey::from_protobuf(key).ok(),
            _ => None,
        }
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Reads base58 (`Qm..`, `1..`) or a CID in any multibase.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        if text.is_empty() {
            return Err(PeerIdError::Empty);
        }
        if text.len() > PEER_ID_TEXT_MAX_CHARS {
            return Err(PeerIdError::TooLong(text.len()));
        }
        if text.starts_with("Qm") || text.starts_with('1') {
            let bytes = bs58::decode(text).into_vec().map_err(|_| PeerIdError::Text)?;
            return Self::from_bytes(&bytes);
        }
        let (_, bytes) = multibase::decode(text).map_err(|_| PeerIdError::Text)?;
        let mut rest = bytes.as_slice();
        if varint::take(&mut rest) != Some(1) {
            return Err(PeerIdError::Version);
        }
        match varint::take(&mut rest) {
            Some(LIBP2P_KEY) => Self::from_bytes(rest),
            Some(codec) => Err(PeerIdError::Codec(codec)),
            None => Err(PeerIdError::Multihash),
        }
    }
}

impl TryFrom<&[u8]> for PeerId {
    type Error = PeerIdError;
    fn try_from(bytes: &[u8]) -> Result<Self, PeerIdError> {
        Self::from_bytes(bytes)
    }
}

impl From<&PublicKey> for PeerId {
    fn from(key: &PublicKey) -> Self {
        key.peer_id()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bs58::encode(self.as_bytes()).into_string())
    }
}

/// The last eight characters: enough to tell peers apart in a log.
impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bs58::encode(self.as_bytes()).into_string();
        write!(f, "PeerId(..{})", &text[text.len().saturating_sub(8)..])
    }
}
