//! Authenticated, multiplexed libp2p connections over any byte stream.
//!
//! [`upgrade`] turns a byte stream (a TCP socket, an in-memory pipe) into a
//! [`Connection`]: multistream-select, Noise XX with the libp2p payload, then
//! yamux. [`tcp`] and [`dns`] find byte streams; [`identify`], [`ping`] and
//! [`perf`] are the protocols that every connection speaks, [`autonat`] tells
//! whether a peer can be dialled; [`multistream`] negotiates all others.
//! [`mdns`] finds peers on the local network, [`portmap`] a way through the
//! home router.
//!
//! The yamux [`machine`](yamux) does no I/O; everything else here is its
//! tokio shell. Left out on purpose: policy. Who is dialled, how many
//! connections there are and which protocols are spoken is for the peer.

pub mod autonat;
mod clock;
mod config;
mod connection;
pub mod dns;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod identify;
mod interfaces;
pub mod mdns;
pub mod multistream;
pub mod noise;
pub mod perf;
pub mod ping;
pub mod portmap;
pub mod tcp;
pub mod yamux;

pub use clock::Clock;
pub use config::Config;
pub use connection::{
    Connection, ConnectionEnd, Control, Driver, Incoming, OpenError, Role, Stream, StreamReset, UpgradeError,
    upgrade,
};
