//! The payload of the handshake: who the peer is, signed over its Noise key,
//! and which muxers it offers.

use peerage_identity::{Keypair, PublicKey};
use peerage_wire::Message;
use peerage_wire::noise::{NoiseExtensions, NoiseHandshakePayload};
use peerage_wire::scan;

/// What the identity key signs, before the 32 bytes of the Noise key.
const SIGNATURE_PREFIX: &[u8] = b"noise-libp2p-static-key:";
/// Most fields in a payload, those of extensions included. go-libp2p ignores
/// lists of more than 100 muxers; the rest is a judgement.
const MAX_FIELDS: usize = 128;

/// Why the peer's payload is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not the protobuf message that it has to be, or far too many fields.
    #[error("the handshake payload is malformed")]
    Malformed,
    /// No public key in it.
    #[error("the handshake payload has no public key")]
    NoKey,
    /// A public key that we cannot read.
    #[error("the public key in the handshake payload is not acceptable")]
    BadKey,
    /// The signature over the Noise key does not fit the public key.
    #[error("the signature in the handshake payload is wrong")]
    BadSignature,
}

/// Our payload for the Noise key `static_public`.
pub(crate) fn encode(keypair: &Keypair, static_public: &[u8], muxers: &[&str]) -> Vec<u8> {
    NoiseHandshakePayload {
        identity_key: Some(keypair.public().to_protobuf().into()),
        identity_sig: Some(keypair.sign(&signed_bytes(static_public)).to_vec().into()),
        extensions: (!muxers.is_empty()).then(|| NoiseExtensions {
            webtransport_certhashes: Vec::new(),
            stream_muxers: muxers.iter().map(|&muxer| muxer.to_owned()).collect(),
        }),
    }
    .encode_to_vec()
}

/// The peer's verified key and the muxers that it offers.
pub(crate) fn decode(bytes: &[u8], static_public: &[u8]) -> Result<(PublicKey, Vec<String>), PayloadError> {
    const EXTENSIONS: u32 = 4;
    scan::fields(bytes, &[EXTENSIONS], MAX_FIELDS).ok_or(PayloadError::Malformed)?;
    let payload = NoiseHandshakePayload::decode(bytes).map_err(|_| PayloadError::Malformed)?;
    let key = payload.identity_key.ok_or(PayloadError::NoKey)?;
    let key = PublicKey::from_protobuf(&key).map_err(|_| PayloadError::BadKey)?;
    let signature = payload.identity_sig.ok_or(PayloadError::BadSignature)?;
    if !key.verify(&signed_bytes(static_public), &signature) {
        return Err(PayloadError::BadSignature);
    }
    Ok((key, payload.extensions.unwrap_or_default().stream_muxers))
}

fn signed_bytes(static_public: &[u8]) -> Vec<u8> {
    [SIGNATURE_PREFIX, static_public].concat()
}
