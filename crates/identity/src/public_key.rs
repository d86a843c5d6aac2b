//! Public keys of peers: the four types of libp2p, their protobuf form and
//! the verification of signatures. Spec: libp2p/specs `peer-ids`.
//!
//! Left out on purpose: ECDSA on curves other than P-256, which no deployed
//! peer uses.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use k256::ecdsa::signature::Verifier as _;
use peerage_wire::{Message as _, keys};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use crate::limits::KEY_MAX_BYTES;
use crate::{PeerId, spki};

/// The type of a key, with its number in the protobuf form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// 0; PKCS #1 v1.5 signatures over SHA-256.
    Rsa,
    /// 1; RFC 8032.
    Ed25519,
    /// 2; ECDSA over SHA-256, signatures in DER.
    Secp256k1,
    /// 3; ECDSA on P-256 over SHA-256, signatures in DER.
    Ecdsa,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
            Self::Secp256k1 => "secp256k1",
            Self::Ecdsa => "ECDSA",
        })
    }
}

impl From<keys::KeyType> for KeyType {
    fn from(wire: keys::KeyType) -> Self {
        match wire {
            keys::KeyType::Rsa => Self::Rsa,
            keys::KeyType::Ed25519 => Self::Ed25519,
            keys::KeyType::Secp256k1 => Self::Secp256k1,
            keys::KeyType::Ecdsa => Self::Ecdsa,
        }
    }
}

/// Why bytes are no public key. Always the fault of whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Longer than any key, in bytes.
    #[error("a public key of {0} bytes, over the limit of {KEY_MAX_BYTES}")]
    TooLong(usize),
    /// Not the protobuf message.
    #[error("not a public key in protobuf form")]
    Protobuf,
    /// The message has another, canonical encoding, so that the key would have
    /// another peer id elsewhere.
    #[error("a public key that is not in its canonical protobuf form")]
    NotCanonical,
    /// A type that libp2p does not define.
    #[error("a public key of the unknown type {0}")]
    UnknownType(i32),
    /// The bytes are no key of the type that they claim.
    #[error("malformed {0} public key")]
    Malformed(KeyType),
    /// An RSA modulus outside [`RSA_BITS`](crate::limits::RSA_BITS), in bits.
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
}

/// A public key that was checked to be well-formed.
///
/// ```
/// use peerage_identity::{KeyType, Keypair, PublicKey};
/// let keypair = Keypair::from_seed([1; 32]);
/// let bytes = keypair.public().to_protobuf();
/// let key = PublicKey::from_protobuf(&bytes)?;
/// assert_eq!(key.key_type(), KeyType::Ed25519);
/// assert!(key.verify(b"message", &keypair.sign(b"message")));
/// assert!(!key.verify(b"another", &keypair.sign(b"message")));
/// # Ok::<(), peerage_identity::PublicKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Key);

#[derive(Clone, PartialEq, Eq)]
enum Key {
    Ed25519(VerifyingKey),
    Secp256k1(Box<k256::ecdsa::VerifyingKey>),
    /// The SPKI, and where in it the RSAPublicKey lies is found when needed.
    Rsa(Box<[u8]>),
    /// The SPKI.
    P256(Box<[u8]>),
}

impl PublicKey {
    /// Reads the protobuf form, in which keys travel.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.len() > KEY_MAX_BYTES {
            return Err(PublicKeyError::TooLong(bytes.len()));
        }
        let message = keys::PublicKey::decode(bytes).map_err(|_| PublicKeyError::Protobuf)?;
        let wire_type = keys::KeyType::try_from(message.r#type)
            .map_err(|_| PublicKeyError::UnknownType(message.r#type))?;
        let key = Self::from_data(KeyType::from(wire_type), &message.data)?;
        // Of every type: points have several forms, and one peer has one id.
        if key.to_protobuf() != bytes {
            return Err(PublicKeyError::NotCanonical);
        }
        Ok(key)
    }

    /// Reads the 32 bytes of an Ed25519 key.
    ///
    /// # Errors
    /// [`PublicKeyError::Malformed`] if they are no point of the curve.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError::Malformed(KeyType::Ed25519))?;
        Ok(Self(Key::Ed25519(key)))
    }

    pub(crate) const fn from_verifying_key(key: VerifyingKey) -> Self {
        Self(Key::Ed25519(key))
    }

    fn from_data(key_type: KeyType, data: &[u8]) -> Result<Self, PublicKeyError> {
        let malformed = PublicKeyError::Malformed(key_type);
        match key_type {
            KeyType::Ed25519 => Self::from_ed25519(data.try_into().map_err(|_| malformed)?),
            KeyType::Secp256k1 => {
                let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(data).map_err(|_| malformed)?;
                Ok(Self(Key::Secp256k1(Box::new(key))))
            }
            KeyType::Rsa => {
                let (_, bits) = spki::rsa(data).ok_or(malformed)?;
                if !spki::rsa_bits_ok(bits) {
                    return Err(PublicKeyError::RsaBits(bits));
                }
                Ok(Self(Key::Rsa(data.into())))
            }
            KeyType::Ecdsa => {
                spki::p256(data).ok_or(malformed)?;
                Ok(Self(Key::P256(data.into())))
            }
        }
    }

    /// The protobuf form.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        let (wire_type, data) = match &self.0 {
            Key::Ed25519(key) => (keys::KeyType::Ed25519, key.as_bytes().to_vec()),
            Key::Secp256k1(key) => (keys::KeyType::Secp256k1, key.to_sec1_point(true).as_bytes().to_vec()),
            Key::Rsa(spki) => (keys::KeyType::Rsa, spki.to_vec()),
            Key::P256(spki) => (keys::KeyType::Ecdsa, spki.to_vec()),
        };
        keys::PublicKey { r#type: wire_type.into(), data: data.into() }.encode_to_vec()
    }

    /// The type of this key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match &self.0 {
            Key::Ed25519(_) => KeyType::Ed25519,
            Key::Secp256k1(_) => KeyType::Secp256k1,
            Key::Rsa(_) => KeyType::Rsa,
            Key::P256(_) => KeyType::Ecdsa,
        }
    }

    /// True if the owner of this key signed `message` with `signature`.
    ///
    /// Ed25519 is strict: weak keys and signatures that have a second form
    /// are refused.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Key::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Key::Secp256k1(key) => k256::ecdsa::Signature::from_der(signature)
                // Go's library takes both forms of s, k256 only the low one.
                .is_ok_and(|signature| key.verify(message, &signature.normalize_s()).is_ok()),
            Key::Rsa(spki) => spki::rsa(spki).is_some_and(|(key, _)| {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).is_ok()
            }),
            Key::P256(spki) => spki::p256(spki).is_some_and(|point| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }),
        }
    }

    /// The id of the peer that owns this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::of_key_protobuf(&self.to_protobuf())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} of {})", self.key_type(), self.peer_id())
    }
}
