//! Our own key: Ed25519, the only type that we sign with.
//! Spec: libp2p/specs `peer-ids`, the private key's protobuf form.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use peerage_wire::{keys, varint};
use zeroize::Zeroizing;

use crate::limits::KEY_MAX_BYTES;
use crate::{KeyType, PeerId, PublicKey};

/// Tags of the two fields: 1 as varint, 2 as bytes.
const TAG_TYPE: u64 = 0x08;
const TAG_DATA: u64 = 0x12;

/// What stands before the 64 bytes of an Ed25519 key.
const ED25519_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 64];

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no randomness for a key: {0}")]
pub struct EntropyError(#[from] getrandom::Error);

/// Why bytes are no private key that we can sign with. Says nothing of their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// Longer than any key, in bytes.
    #[error("a private key of {0} bytes, over the limit of {KEY_MAX_BYTES}")]
    TooLong(usize),
    /// Not the protobuf message.
    #[error("not a private key in libp2p's protobuf form")]
    Protobuf,
    /// A type that libp2p does not define.
    #[error("a private key of the unknown type {0}")]
    UnknownType(i32),
    /// A type that we verify but do not sign with.
    #[error("a private key of type {0}; only Ed25519 is supported for one's own key")]
    Unsupported(KeyType),
    /// Neither 64 nor 96 bytes of key.
    #[error("an Ed25519 private key of {0} bytes; 64 or 96 are expected")]
    Length(usize),
    /// The public half is not that of the private half.
    #[error("an Ed25519 private key whose public half does not belong to it")]
    Mismatch,
}

/// An Ed25519 key that signs. Wiped from memory when dropped; `Debug` shows
/// the peer id only.
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key of an RFC 8032 seed. For tests and simulations, and for who
    /// keeps seeds: whoever knows `seed` is this peer.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads libp2p's protobuf form: seed and public key (64 bytes), or the
    /// old form that repeats the public key (96 bytes).
    ///
    /// # Errors
    /// See [`PrivateKeyError`].
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        if bytes.len() > KEY_MAX_BYTES {
            return Err(PrivateKeyError::TooLong(bytes.len()));
        }
        let (wire_type, data) = split(bytes).ok_or(PrivateKeyError::Protobuf)?;
        match keys::KeyType::try_from(wire_type) {
            Ok(keys::KeyType::Ed25519) => {}
            Ok(other) => return Err(PrivateKeyError::Unsupported(other.into())),
            Err(_) => return Err(PrivateKeyError::UnknownType(wire_type)),
        }
        let (pair, repeated) = data.split_first_chunk::<64>().ok_or(PrivateKeyError::Length(data.len()))?;
        match repeated.len() {
            0 => {}
            32 if *repeated == pair[32..] => {}
            32 => return Err(PrivateKeyError::Mismatch),
            _ => return Err(PrivateKeyError::Length(data.len())),
        }
        SigningKey::from_keypair_bytes(pair).map(Self).map_err(|_| PrivateKeyError::Mismatch)
    }

    /// libp2p's protobuf form, 64 bytes of key. The caller keeps it secret.
    #[must_use]
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        let pair = Zeroizing::new(self.0.to_keypair_bytes());
        // Exactly as large as needed: a buffer that grew would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(ED25519_HEAD.len() + pair.len()));
        bytes.extend_from_slice(&ED25519_HEAD);
        bytes.extend_from_slice(pair.as_ref());
        bytes
    }

    /// Signs `message`: 64 bytes, always the same for the same message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_verifying_key(self.0.verifying_key())
    }

    /// The id of the peer that owns this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.public().peer_id()
    }
}

/// Type and data of a private key's message.
///
/// By hand, since `prost` would copy the secret to where it cannot be wiped.
/// Both fields are always there, in order (the encoding is deterministic).
fn split(mut bytes: &[u8]) -> Option<(i32, &[u8])> {
    let bytes = &mut bytes;
    let mut field = |tag: u64| -> Option<u64> {
        if varint::take(bytes)? != tag {
            return None;
        }
        varint::take(bytes)
    };
    let wire_type = field(TAG_TYPE)?;
    let len = field(TAG_DATA)?;
    if usize::try_from(len).ok()? != bytes.len() {
        return None;
    }
    Some((i32::try_from(wire_type).ok()?, bytes))
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair(of {})", self.peer_id())
    }
}
