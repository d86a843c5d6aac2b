//! Errors and codes: what the peer did wrong, what we may not do, and the
//! numbers that go-libp2p puts on the wire.

use thiserror::Error;

use super::StreamId;

/// Why a stream was reset, as carried in the length of an RST frame.
///
/// Zero says nothing; rust-yamux neither sends nor reads codes. Values from
/// go-libp2p `core/network/mux.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// No reason given.
    pub const NONE: Self = Self(0);
    /// multistream-select found no common protocol.
    pub const NEGOTIATION_FAILED: Self = Self(0x1001);
    /// A limit of the sender of the code was met.
    pub const RESOURCE_LIMIT_EXCEEDED: Self = Self(0x1002);
    /// Too many requests.
    pub const RATE_LIMITED: Self = Self(0x1003);
    /// The stream's protocol was violated.
    pub const PROTOCOL_VIOLATION: Self = Self(0x1004);
    /// Another stream took its place.
    pub const SUPPLANTED: Self = Self(0x1005);
    /// Idle for too long.
    pub const GARBAGE_COLLECTED: Self = Self(0x1006);
    /// The sender of the code shuts down.
    pub const SHUTDOWN: Self = Self(0x1007);
    /// Refused by policy.
    pub const GATED: Self = Self(0x1008);
}

/// Why a connection ends, as carried in the length of a GoAway frame.
///
/// 0 to 2 are yamux's own, the rest go-libp2p's (`core/network/conn.go`).
/// Treat unknown codes as [`NORMAL`](Self::NORMAL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GoAwayCode(pub u32);

impl GoAwayCode {
    /// An orderly end.
    pub const NORMAL: Self = Self(0);
    /// The receiver of the code violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// Something broke at the sender of the code.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// A limit of the sender of the code was met.
    pub const RESOURCE_LIMIT_EXCEEDED: Self = Self(0x1001);
    /// Too many requests.
    pub const RATE_LIMITED: Self = Self(0x1002);
    /// Another connection took its place.
    pub const SUPPLANTED: Self = Self(0x1004);
    /// Closed for being idle or to make room.
    pub const GARBAGE_COLLECTED: Self = Self(0x1005);
    /// The sender of the code shuts down.
    pub const SHUTDOWN: Self = Self(0x1006);
    /// Refused by policy.
    pub const GATED: Self = Self(0x1007);
}

/// The peer violated yamux; the connection is over.
///
/// A GoAway with code 1 is waiting in `poll_transmit`; send it if the
/// connection still takes bytes, then close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Version other than 0.
    #[error("peer sent a yamux frame of version {0}")]
    UnknownVersion(u8),
    /// Type other than data, window update, ping, go-away.
    #[error("peer sent a yamux frame of unknown type {0}")]
    UnknownType(u8),
    /// Data or a window update for stream 0, which is the session.
    #[error("peer sent a stream frame for the session itself")]
    SessionStream,
    /// The peer opened a stream with an id of our parity.
    #[error("peer opened stream {0}, whose id is for us to use")]
    WrongParity(StreamId),
    /// The peer opened a stream whose id it had used before.
    #[error("peer opened stream {0} twice")]
    IdReused(StreamId),
    /// More data than the window that we granted.
    #[error("peer sent {len} bytes on stream {id}, whose window is {window}")]
    WindowExceeded {
        /// The stream.
        id: StreamId,
        /// Bytes that the frame announced.
        len: u32,
        /// Bytes that we had granted.
        window: u32,
    },
    /// A data frame for a stream that is gone, larger than any window.
    #[error("peer sent a frame of {0} bytes for a stream that is gone")]
    FrameTooLarge(u32),
    /// Window deltas that add up to more than 32 bits.
    #[error("peer granted stream {0} a window beyond 32 bits")]
    WindowOverflow(StreamId),
    /// The peer opens or resets streams faster than they can be dealt with.
    #[error("peer opens and resets streams beyond its limits")]
    Flooded,
}

/// Why [`Machine::open`](super::Machine::open) did not open a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Too many streams that the peer has not ACKed; an
    /// [`Event::OpenReady`](super::Event::OpenReady) will come.
    #[error("the peer has not acknowledged earlier streams")]
    Backlog,
    /// Our limit of outbound streams; an
    /// [`Event::OpenReady`](super::Event::OpenReady) will come.
    #[error("too many outbound streams on this connection")]
    TooMany,
    /// The peer sent GoAway.
    #[error("the peer is closing this connection")]
    PeerGoingAway,
    /// We sent GoAway, or the connection failed.
    #[error("this connection is closing")]
    Closing,
    /// All stream ids are used; the connection must be replaced.
    #[error("all stream ids of this connection are used")]
    IdsExhausted,
}

/// Why [`Machine::write`](super::Machine::write) took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Our side was finished before.
    #[error("the stream is finished")]
    Finished,
    /// The stream was reset, or is long closed.
    #[error("the stream was reset")]
    Reset,
}

/// The class is full: the stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClassifyError {
    /// As many streams of the class are open as may be.
    #[error("too many inbound streams of this class")]
    LimitReached,
    /// No such inbound stream.
    #[error("the stream is gone")]
    Gone,
}

/// The stream is no more: it was reset, or both sides closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stream is gone")]
pub struct StreamGone;
