//! Every limit of this crate outside yamux: its name, unit, default and reason.

use std::time::Duration;

use crate::yamux;

/// Limits and tunables of a connection.
#[derive(Debug, Clone)]
pub struct Config {
    /// From the first byte to a multiplexed connection. Default 15 s, as
    /// go-libp2p accepts and dials (`p2p/net/upgrader`, `p2p/net/swarm`).
    pub handshake_timeout: Duration,
    /// Negotiation of one stream's protocol. Default 10 s, as go-libp2p
    /// (`p2p/host/basic`, `DefaultNegotiationTimeout`).
    pub negotiation_timeout: Duration,
    /// After a close, how long what is queued may take to reach the socket.
    /// Default 500 ms: Ctrl-C has to end the whole program within a second.
    pub close_timeout: Duration,
    /// Streams of one connection that have a handle, or wait to be accepted.
    /// Default 4,096: what all limits of yamux let live at once
    /// (2,624), and half as many again that were reset and not dropped yet. A peer
    /// that opens and resets streams beyond it is cut off.
    pub max_handles: usize,
    /// Bytes sealed for one write to the socket. Default 256 KiB: four full
    /// Noise messages; beyond that a write costs no less per byte.
    pub write_batch: usize,
    /// Most bytes asked of the socket in one read. Default 256 KiB, as
    /// `write_batch`. The buffer grows to this only while reads fill it, and
    /// an idle connection holds none.
    pub read_batch: usize,
    /// The muxer's limits; its defaults but for `max_window`, which is 4 MiB,
    /// the unread bytes that a connection may hold beyond what was asked of
    /// it: one stream whose reader pauses must never be reset for that.
    pub yamux: yamux::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(15),
            negotiation_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_millis(500),
            max_handles: 4096,
            write_batch: 256 * 1024,
            read_batch: 256 * 1024,
            yamux: yamux::Config { max_window: 4 * 1024 * 1024, ..yamux::Config::default() },
        }
    }
}
