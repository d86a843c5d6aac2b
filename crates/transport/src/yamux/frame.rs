//! The header codec: 12 bytes, big-endian (yamux specification, "Framing").
//!
//! Turns bytes into a checked [`Header`] and back. Unknown flag bits are
//! ignored, as go-yamux does; whether ids and lengths make sense is for the
//! machine to say.

use std::fmt;

use super::ProtocolError;

/// Length of a frame header in bytes.
pub const HEADER_LEN: usize = 12;

/// A stream of one connection: odd if the connection's dialer opened it, even
/// if the listener did; 0 is the session itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The session.
    pub(super) const SESSION: Self = Self(0);

    pub(super) const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data = 0,
    WindowUpdate = 1,
    Ping = 2,
    GoAway = 3,
}

/// The flags of a frame, a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const SYN: Self = Self(1);
    pub(super) const ACK: Self = Self(2);
    pub(super) const FIN: Self = Self(4);
    pub(super) const RST: Self = Self(8);

    #[cfg(test)]
    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) const fn with_if(self, flag: Self, on: bool) -> Self {
        if on { Self(self.0 | flag.0) } else { self }
    }
}

/// A frame header. `len` is the payload's length for data, the delta for
/// window updates, the code for RST on a window update and for go-away, the
/// opaque value for pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) id: StreamId,
    pub(super) len: u32,
}

impl Header {
    pub(super) const fn window_update(id: StreamId, flags: Flags, delta: u32) -> Self {
        Self { kind: Kind::WindowUpdate, flags, id, len: delta }
    }

    pub(super) const fn ping(flags: Flags, value: u32) -> Self {
        Self { kind: Kind::Ping, flags, id: StreamId::SESSION, len: value }
    }

    pub(super) const fn go_away(code: u32) -> Self {
        Self { kind: Kind::GoAway, flags: Flags::NONE, id: StreamId::SESSION, len: code }
    }

    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[1] = self.kind as u8;
        bytes[2..4].copy_from_slice(&self.flags.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.id.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(ProtocolError::UnknownVersion(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(ProtocolError::UnknownType(other)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            id: StreamId(u32::from_be_bytes([i0, i1, i2, i3])),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}
