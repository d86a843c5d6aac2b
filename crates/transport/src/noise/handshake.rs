//! The three messages of Noise XX, each with its length in front.

use std::io;

use peerage_identity::{Keypair, PeerId, PublicKey};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroize;

use super::{Opener, PayloadError, Sealer, payload};
use crate::Role;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// The longest handshake message that we read, in bytes. An RSA-8192 key, its
/// signature and a hundred muxers stay below half of it.
const MAX_HANDSHAKE_MESSAGE: usize = 8 * 1024;

/// Why a Noise session could not be made or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum NoiseError {
    /// The stream failed or ended.
    #[error("the stream ended during the Noise handshake: {0}")]
    Io(#[from] io::Error),
    /// A handshake message that is too long or cannot be decrypted.
    #[error("the peer's Noise handshake is malformed")]
    Malformed,
    /// The peer's payload is not acceptable.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Someone else answered.
    #[error("the peer is {actual}, not {expected}")]
    WrongPeer {
        /// Whom we dialled.
        expected: PeerId,
        /// Who answered.
        actual: PeerId,
    },
    /// A message whose tag is wrong: garbage, or someone in between.
    #[error("the peer sent a Noise message that does not decrypt")]
    Forged,
    /// As many messages were sent as one key allows.
    #[error("every nonce of this connection is used")]
    Exhausted,
    /// Keys could not be made.
    #[error("no Noise key could be made: {0}")]
    Local(snow::Error),
}

/// What a handshake agreed on.
pub struct Secured {
    /// Encrypts what we send.
    pub sealer: Sealer,
    /// Decrypts what the peer sends.
    pub opener: Opener,
    /// The peer's key, proven.
    pub public_key: PublicKey,
    /// The peer's id, derived from that key.
    pub peer: PeerId,
    /// The muxer that both offered: no further negotiation is needed.
    pub muxer: Option<String>,
}

/// Keys of one handshake. A fresh static key for every connection costs
/// microseconds and leaves nothing to keep secret.
pub(super) struct Keys {
    pub(super) static_private: Vec<u8>,
    pub(super) static_public: Vec<u8>,
    pub(super) ephemeral: Option<Vec<u8>>,
}

impl Keys {
    fn generate() -> Result<Self, NoiseError> {
        let pair = Builder::new(params()).generate_keypair().map_err(NoiseError::Local)?;
        Ok(Self { static_private: pair.private, static_public: pair.public, ephemeral: None })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.static_private.zeroize();
    }
}

fn params() -> NoiseParams {
    PATTERN.parse().expect("the pattern is one that snow knows")
}

/// Runs the handshake over `io`, offering `muxers` for early negotiation.
///
/// The caller bounds the time. Nothing beyond the handshake is read.
///
/// # Errors
/// If the stream ends, the peer's messages are not acceptable, or it is not
/// the `expected` one.
pub async fn handshake<T>(
    io: &mut T,
    role: Role,
    keypair: &Keypair,
    expected: Option<&PeerId>,
    muxers: &[&str],
) -> Result<Secured, NoiseError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    handshake_with(io, role, keypair, expected, muxers, &Keys::generate()?).await
}

pub(super) async fn handshake_with<T>(
    io: &mut T,
    role: Role,
    keypair: &Keypair,
    expected: Option<&PeerId>,
    muxers: &[&str],
    keys: &Keys,
) -> Result<Secured, NoiseError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut noise = build(role, keys)?;
    let ours = payload::encode(keypair, &keys.static_public, muxers);
    let (public_key, peer, theirs) = match role {
        Role::Dialer => {
            send(io, &mut noise, &[]).await?;
            let answer = receive(io, &mut noise).await?;
            // Our identity is only told to whom we wanted to reach.
            let identified = identify(&answer, &noise, expected)?;
            send(io, &mut noise, &ours).await?;
            identified
        }
        Role::Listener => {
            receive(io, &mut noise).await?;
            send(io, &mut noise, &ours).await?;
            let answer = receive(io, &mut noise).await?;
            identify(&answer, &noise, expected)?
        }
    };
    // The first of the initiator's list that the responder knows too.
    let muxer = match role {
        Role::Dialer => muxers.iter().map(|&muxer| muxer.to_owned()).find(|muxer| theirs.contains(muxer)),
        Role::Listener => theirs.into_iter().find(|muxer| muxers.contains(&muxer.as_str())),
    };
    let (mut to_responder, mut to_initiator) = noise.dangerously_get_raw_split();
    let (sealer, opener) = match role {
        Role::Dialer => (Sealer::new(&to_responder), Opener::new(&to_initiator)),
        Role::Listener => (Sealer::new(&to_initiator), Opener::new(&to_responder)),
    };
    to_responder.zeroize();
    to_initiator.zeroize();
    Ok(Secured { sealer, opener, public_key, peer, muxer })
}

fn build(role: Role, keys: &Keys) -> Result<HandshakeState, NoiseError> {
    let mut builder =
        Builder::new(params()).local_private_key(&keys.static_private).map_err(NoiseError::Local)?;
    if let Some(ephemeral) = &keys.ephemeral {
        builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
    }
    match role {
        Role::Dialer => builder.build_initiator(),
        Role::Listener => builder.build_responder(),
    }
    .map_err(NoiseError::Local)
}

fn identify(
    payload: &[u8],
    noise: &HandshakeState,
    expected: Option<&PeerId>,
) -> Result<(PublicKey, PeerId, Vec<String>), NoiseError> {
    let static_public = noise.get_remote_static().ok_or(NoiseError::Malformed)?;
    let (key, muxers) = payload::decode(payload, static_public)?;
    let actual = key.peer_id();
    match expected {
        Some(expected) if *expected != actual => Err(NoiseError::WrongPeer { expected: *expected, actual }),
        _ => Ok((key, actual, muxers)),
    }
}

async fn send<T: AsyncWrite + Unpin>(
    io: &mut T,
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), NoiseError> {
    let mut frame = vec![0; 2 + MAX_HANDSHAKE_MESSAGE];
    let len = noise.write_message(payload, &mut frame[2..]).map_err(NoiseError::Local)?;
    let prefix = u16::try_from(len).map_err(|_| NoiseError::Malformed)?;
    frame[..2].copy_from_slice(&prefix.to_be_bytes());
    io.write_all(&frame[..2 + len]).await?;
    io.flush().await?;
    Ok(())
}

async fn receive<T: AsyncRead + Unpin>(
    io: &mut T,
    noise: &mut HandshakeState,
) -> Result<Vec<u8>, NoiseError> {
    let len = usize::from(io.read_u16().await?);
    if len > MAX_HANDSHAKE_MESSAGE {
        return Err(NoiseError::Malformed);
    }
    let mut message = vec![0; len];
    io.read_exact(&mut message).await?;
    let mut payload = vec![0; len];
    let len = noise.read_message(&message, &mut payload).map_err(|_| NoiseError::Malformed)?;
    payload.truncate(len);
    Ok(payload)
}
