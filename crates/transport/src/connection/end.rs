//! How a connection ends.

use std::io;
use std::sync::Arc;

use crate::noise::NoiseError;
use crate::yamux::{GoAwayCode, ProtocolError};

/// Why a connection is over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionEnd {
    /// We closed it, or dropped its driver.
    #[error("closed by this side")]
    Closed,
    /// The peer said that it goes, and went. Codes other than
    /// [`GoAwayCode::NORMAL`] are its reason.
    #[error("closed by the peer (code {:#x})", .0.0)]
    ClosedByPeer(GoAwayCode),
    /// The byte stream failed, or ended without a word.
    #[error("connection lost: {0}")]
    Lost(Arc<io::Error>),
    /// The peer answers neither pings nor anything else.
    #[error("the peer fell silent")]
    Silent,
    /// The peer's Noise messages are not acceptable.
    #[error(transparent)]
    Noise(Arc<NoiseError>),
    /// The peer violated yamux.
    #[error(transparent)]
    Yamux(ProtocolError),
}

impl ConnectionEnd {
    /// As what a stream of this connection reports.
    pub(super) fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::Silent => io::ErrorKind::TimedOut,
            Self::Noise(_) | Self::Yamux(_) => io::ErrorKind::InvalidData,
            Self::Closed | Self::ClosedByPeer(_) | Self::Lost(_) => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.clone())
    }

    pub(super) fn lost(error: io::Error) -> Self {
        Self::Lost(Arc::new(error))
    }
}
