//! Every limit of the yamux machine: its name, unit, default and reason.

use std::time::Duration;

/// Receive window of every new stream, in both directions, in bytes.
///
/// Fixed by the protocol; deltas extend it.
pub const INITIAL_WINDOW: u32 = 256 * 1024;

/// Limits and tunables of a [`Machine`](super::Machine).
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest payload of a data frame that we send, in bytes.
    ///
    /// Default 65,507: with its header a frame then fills one Noise message
    /// (65,535 less the tag of 16 and the header of 12) exactly, so that the
    /// other side decrypts a frame into one buffer. Larger frames gain
    /// nothing (the cost of a frame is already far below that of sealing
    /// 64 KiB) and make pings, window updates and other streams wait longer
    /// on slow links. go-yamux sends up to 65,524 and reads any size within
    /// the window, rust-yamux reads up to 1 MiB.
    pub max_frame_payload: usize,
    /// Largest receive window of one stream, in bytes. Default 16 MiB, as go-libp2p.
    ///
    /// Also the largest data frame that is drained for a stream that is gone:
    /// no honest peer can have been granted more.
    pub max_window: u32,
    /// The least round trip that window growth reckons with. Default 2 ms, a
    /// judgement: what sealing and opening a few 64 KiB messages on busy cores
    /// adds to a path whose ping takes microseconds.
    pub rtt_floor: Duration,
    /// A window larger than [`INITIAL_WINDOW`] that was not extended for this
    /// long shrinks back. Default 30 s, a judgement.
    pub window_idle: Duration,
    /// Unread bytes a connection may hold beyond what we asked of it
    /// ([`Machine::set_expected`](super::Machine::set_expected)). Default
    /// 4 MiB: sixteen full initial windows, two of the largest Bitswap blocks.
    pub unread_slack: u64,
    /// Bytes that one stream buffers for sending. Default 256 KiB: four
    /// frames, so that the sender is never idle for want of a wake-up.
    pub send_buffer: usize,
    /// A stream that is closed here and of which the peer takes nothing for
    /// this long is reset; looked at with every ping. Default 30 s, as a write
    /// may take: nobody counts what such streams still have to send.
    pub linger: Duration,
    /// Inbound streams of class [`Ordinary`](super::StreamClass::Ordinary).
    /// Default 64, a judgement: honest peers have a handful at once (identify,
    /// pings, questions), each of which costs us a task.
    pub max_inbound: usize,
    /// Inbound streams of class [`Bitswap`](super::StreamClass::Bitswap).
    /// Default 1,024: boxo opens a stream a message, marks its block as sent
    /// before it is written, and never repeats one that was reset.
    pub max_inbound_bitswap: usize,
    /// Inbound streams whose protocol is not negotiated yet. Default 512:
    /// [`ack_pending_below`](Self::ack_pending_below) plus the 256 that go-yamux
    /// and rust-yamux leave un-ACKed at most, so an honest peer never meets it.
    pub max_inbound_pending: usize,
    /// While as many un-negotiated inbound streams wait, the ACK of further
    /// ones is withheld: peers then stop opening. Default 256.
    pub ack_pending_below: usize,
    /// Outbound streams. Default 1,024, a judgement; rust-yamux ends the
    /// connection at 512 live streams of both sides, so shells stay far below.
    pub max_outbound: usize,
    /// Outbound streams that the peer has not ACKed. Default 256: the accept
    /// backlog of go-yamux and rust-yamux, which reset beyond it.
    pub max_unacked: usize,
    /// Pings of the peer that wait for an answer; more are dropped. Default 32, as go-yamux.
    pub max_pongs: usize,
    /// Resets that wait to be sent. A peer that makes us answer more without
    /// reading is [`Flooded`](super::ProtocolError::Flooded). Default 4,096,
    /// which is 48 KiB and twice all streams that a peer may have.
    pub max_queued_resets: usize,
    /// Time between pings, which measure the round trip and keep the path
    /// open. Default 30 s, as go-libp2p.
    pub ping_interval: Duration,
    /// A ping unanswered for this long, with nothing else heard meanwhile,
    /// means that the peer is gone. Default 20 s: twice go-yamux's, because
    /// a pong may stand behind a full send buffer on a slow uplink.
    pub ping_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_frame_payload: 65_535 - 16 - 12,
            max_window: 16 * 1024 * 1024,
            rtt_floor: Duration::from_millis(2),
            window_idle: Duration::from_secs(30),
            unread_slack: 4 * 1024 * 1024,
            send_buffer: 256 * 1024,
            linger: Duration::from_secs(30),
            max_inbound: 64,
            max_inbound_bitswap: 1024,
            max_inbound_pending: 512,
            ack_pending_below: 256,
            max_outbound: 1024,
            max_unacked: 256,
            max_pongs: 32,
            max_queued_resets: 4096,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}
