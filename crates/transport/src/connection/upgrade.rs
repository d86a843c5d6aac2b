//! From a byte stream to a connection: multistream for `/noise`, the
//! handshake, multistream for `/yamux/1.0.0` unless both sides named it in
//! the handshake.

use std::sync::Arc;
use std::time::Duration;

use peerage_base::SharedBudget;
use peerage_identity::{Keypair, PeerId, PublicKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::control::{Control, Incoming};
use super::driver::Driver;
use super::shared::Shared;
use crate::multistream::{self, NegotiateError};
use crate::noise::{self, NoiseError, SecureChannel};
use crate::yamux::{self, Machine};
use crate::{Clock, Config};

/// The muxer's name in multistream-select and in the handshake.
const YAMUX: &str = "/yamux/1.0.0";

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We opened the byte stream.
    Dialer,
    /// The peer did.
    Listener,
}

/// Why a byte stream did not become a connection.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// No agreement on Noise.
    #[error("negotiating encryption: {0}")]
    Security(NegotiateError),
    /// The handshake failed, or someone else answered.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// No agreement on yamux.
    #[error("negotiating the muxer: {0}")]
    Muxer(NegotiateError),
    /// It took longer than this.
    #[error("the handshake did not finish within {0:?}")]
    Timeout(Duration),
}

impl UpgradeError {
    /// True if the other host accepted the connection and dropped it before
    /// the handshake was over: deployed peers do so to whoever connects too
    /// often (js-libp2p: more than 5 times a second), or while they are full.
    #[must_use]
    pub const fn is_dropped(&self) -> bool {
        matches!(
            self,
            Self::Security(NegotiateError::Io(_))
                | Self::Noise(NoiseError::Io(_))
                | Self::Muxer(NegotiateError::Io(_))
        )
    }
}

/// A connection that was just made. Spawn the driver: nothing moves without it.
#[derive(Debug)]
pub struct Connection<T> {
    /// Who the peer is, proven by the handshake.
    pub peer: PeerId,
    /// The key that proved it.
    pub public_key: PublicKey,
    /// Opens streams and closes the connection.
    pub control: Control,
    /// The streams that the peer opens.
    pub incoming: Incoming,
    /// The task of this connection; ends with the connection.
    pub driver: Driver<T>,
}

/// Secures and multiplexes `io`.
///
/// `expected` is whom we dialled; anyone else is refused before learning who
/// we are. `inbound` is the budget, in bytes, for what all connections of the
/// local peer hold unread.
///
/// # Errors
/// [`UpgradeError`], within [`Config::handshake_timeout`].
pub async fn upgrade<T>(
    io: T,
    role: Role,
    keypair: &Keypair,
    expected: Option<PeerId>,
    config: Config,
    inbound: SharedBudget,
) -> Result<Connection<T>, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limit = config.handshake_timeout;
    timeout(limit, upgrade_unlimited(io, role, keypair, expected, config, inbound))
        .await
        .map_err(|_| UpgradeError::Timeout(limit))?
}

async fn upgrade_unlimited<T>(
    mut io: T,
    role: Role,
    keypair: &Keypair,
    expected: Option<PeerId>,
    config: Config,
    inbound: SharedBudget,
) -> Result<Connection<T>, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limit = config.handshake_timeout;
    negotiate(&mut io, role, noise::PROTOCOL, limit).await.map_err(UpgradeError::Security)?;
    let secured = noise::handshake(&mut io, role, keypair, expected.as_ref(), &[YAMUX]).await?;
    let mut channel = SecureChannel::new(io, secured.sealer, secured.opener);
    if secured.muxer.is_none() {
        negotiate(&mut channel, role, YAMUX, limit).await.map_err(UpgradeError::Muxer)?;
    }
    let clock = Clock::start();
    let yamux_role = match role {
        Role::Dialer => yamux::Role::Client,
        Role::Listener => yamux::Role::Server,
    };
    let machine = Machine::new(yamux_role, config.yamux.clone(), inbound.share(), clock.now());
    let shared = Arc::new(Shared::new(machine, clock, config));
    Ok(Connection {
        peer: secured.peer,
        public_key: secured.public_key,
        control: Control::new(Arc::clone(&shared), secured.peer),
        incoming: Incoming::new(Arc::clone(&shared)),
        driver: Driver::new(channel, shared),
    })
}

async fn negotiate<T>(io: &mut T, role: Role, protocol: &str, limit: Duration) -> Result<(), NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    match role {
        Role::Dialer => multistream::dial(io, &[protocol], limit).await.map(drop),
        Role::Listener => multistream::listen(io, |name| (name == protocol).then_some(()), limit).await,
    }
}
