//! Signed envelopes: a payload, its type, the key that signed both.
//! Spec: libp2p/specs RFC 0002.

use bytes::Bytes;
use peerage_wire::{Message as _, envelope as wire, varint};

use crate::limits::ENVELOPE_MAX_BYTES;
use crate::{Keypair, PublicKey, PublicKeyError};

/// What a payload is: the domain that separates its signatures from others,
/// and the type written into the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadKind {
    /// Part of what is signed, not of what is sent.
    pub domain: &'static str,
    /// Written into the envelope.
    pub payload_type: &'static [u8],
}

impl PayloadKind {
    /// A peer record as go-libp2p and js-libp2p send it: the multicodec
    /// 0x0301 as two plain bytes.
    pub const PEER_RECORD: Self = Self { domain: "libp2p-peer-record", payload_type: &[0x03, 0x01] };

    /// A peer record as RFC 0003 has it and older rust-libp2p sends it.
    pub const PEER_RECORD_RFC: Self =
        Self { domain: "libp2p-routing-state", payload_type: b"/libp2p/routing-state-record" };

    /// The voucher of a relay (go-libp2p).
    pub const RELAY_VOUCHER: Self = Self { domain: "libp2p-relay-rsvp", payload_type: &[0x03, 0x02] };

    /// What the signature is over: each part after its length.
    fn signed_bytes(&self, payload: &[u8]) -> Vec<u8> {
        let parts = [self.domain.as_bytes(), self.payload_type, payload];
        let len: usize = parts.iter().map(|part| part.len() + varint::MAX_LEN).sum();
        let mut out = Vec::with_capacity(len);
        for part in parts {
            varint::put(&mut out, part.len() as u64);
            out.extend_from_slice(part);
        }
        out
    }
}

/// Why bytes are no envelope to believe. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`ENVELOPE_MAX_BYTES`], in bytes.
    #[error("a signed envelope of {0} bytes, over the limit of {ENVELOPE_MAX_BYTES}")]
    TooLong(usize),
    /// Not the protobuf message.
    #[error("not a signed envelope")]
    Protobuf,
    /// The key in it is none.
    #[error("signed envelope: {0}")]
    Key(#[from] PublicKeyError),
    /// A payload of a type that was not asked for.
    #[error("a signed envelope of an unexpected payload type")]
    PayloadType,
    /// The signature does not fit key, domain, type and payload.
    #[error("a signed envelope with a wrong signature")]
    Signature,
}

/// An envelope whose signature was checked.
///
/// ```
/// use peerage_identity::{Envelope, Keypair, PayloadKind};
/// const NOTE: PayloadKind = PayloadKind { domain: "example", payload_type: b"note" };
/// let keypair = Keypair::from_seed([1; 32]);
/// let bytes = Envelope::seal(&keypair, NOTE, b"hello");
/// let envelope = Envelope::open(&bytes, &[NOTE])?;
/// assert_eq!(envelope.key(), &keypair.public());
/// assert_eq!(envelope.payload().as_ref(), b"hello");
/// assert!(Envelope::open(&bytes, &[PayloadKind::PEER_RECORD]).is_err());
/// # Ok::<(), peerage_identity::EnvelopeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    key: PublicKey,
    kind: PayloadKind,
    payload: Bytes,
}

impl Envelope {
    /// Signs `payload` and encodes the envelope.
    #[must_use]
    pub fn seal(keypair: &Keypair, kind: PayloadKind, payload: &[u8]) -> Vec<u8> {
        wire::Envelope {
            public_key: keypair.public().to_protobuf().into(),
            payload_type: Bytes::from_static(kind.payload_type),
            payload: Bytes::copy_from_slice(payload),
            signature: Bytes::copy_from_slice(&keypair.sign(&kind.signed_bytes(payload))),
        }
        .encode_to_vec()
    }

    /// Reads an envelope of one of the `expected` kinds and checks its signature.
    /// Whether the signer is who it should be is the caller's to ask of [`key`](Self::key).
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn open(bytes: &[u8], expected: &[PayloadKind]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_MAX_BYTES {
            return Err(EnvelopeError::TooLong(bytes.len()));
        }
        let message = wire::Envelope::decode(bytes).map_err(|_| EnvelopeError::Protobuf)?;
        let kind = expected
            .iter()
            .find(|kind| kind.payload_type == message.payload_type)
            .ok_or(EnvelopeError::PayloadType)?;
        let key = PublicKey::from_protobuf(&message.public_key)?;
        if !key.verify(&kind.signed_bytes(&message.payload), &message.signature) {
            return Err(EnvelopeError::Signature);
        }
        Ok(Self { key, kind: *kind, payload: message.payload })
    }

    /// The key that signed.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Which of the expected kinds it is.
    #[must_use]
    pub const fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// What was signed.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }
}
