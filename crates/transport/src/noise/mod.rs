//! `/noise`: Noise_XX_25519_ChaChaPoly_SHA256 with libp2p's handshake payload.
//!
//! libp2p `noise/README.md`. The handshake is `snow`'s; what it agrees on is
//! used by [`Sealer`] and [`Opener`], which work in place in large buffers.
//! A frame is a big-endian u16 length and a Noise message, in the handshake
//! and after it.
//!
//! Left out on purpose: 0-RTT payloads (others refuse them), resumption, and
//! prologues, which only WebRTC and WebTransport use.

mod channel;
mod frames;
mod handshake;
pub(crate) mod payload;
#[cfg(test)]
mod tests;

pub use channel::SecureChannel;
pub use frames::{FrameReader, FrameWriter, MAX_PLAINTEXT, Opener, Sealer};
pub use handshake::{NoiseError, Secured, handshake};
pub use payload::PayloadError;

/// The protocol's name in multistream-select.
pub const PROTOCOL: &str = "/noise";
