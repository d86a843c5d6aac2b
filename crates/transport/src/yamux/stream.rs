//! The state of one stream: two independent directions and what of the
//! handshake is still to be said.

use peerage_base::Instant;

use super::config::INITIAL_WINDOW;
use super::queue::ByteQueue;
use super::window::ReceiveWindow;

/// What an inbound stream is for, as far as its limit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamClass {
    /// Anything but Bitswap.
    Ordinary,
    /// Bitswap, of which peers open one stream a message.
    Bitswap,
}

/// Against which limit a stream counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Outbound,
    Pending,
    Inbound(StreamClass),
}

/// The direction from the peer to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    /// FIN arrived; there may be unread bytes, and the end is to be read.
    Finished,
    /// The end was read, or we do not want to read: what arrives is dropped.
    Over,
}

/// The direction from us to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// FIN follows what is buffered.
    Finishing,
    /// FIN was handed out.
    Over,
    /// The peer reset the stream after it had finished its own side: what it
    /// sent may still be read.
    Reset,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) counted: Counted,

    pub(super) receiving: Receiving,
    pub(super) unread: ByteQueue,
    pub(super) window: ReceiveWindow,
    /// Bytes that were read and that the user still holds.
    pub(super) held: u64,
    /// `Readable` was said and no read came back empty since.
    pub(super) told_readable: bool,

    pub(super) sending: Sending,
    pub(super) unsent: ByteQueue,
    /// Bytes the peer allows us to send.
    pub(super) send_credit: u32,
    /// A write was cut short; `Writable` is owed.
    pub(super) owes_writable: bool,
    /// `Writable` is owed when nothing is left to send.
    pub(super) owes_drained: bool,
    /// When it was closed, or something was last handed out since.
    pub(super) lingers_since: Option<Instant>,
    /// In the hub's ring of streams to send from.
    pub(super) in_ring: bool,

    /// Frames without payload to send, in one window update.
    pub(super) control: Control,
    /// The peer knows of the stream, and we know that it does.
    pub(super) acked: bool,
}

/// What the next window update of a stream says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Control {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) delta: u32,
    /// In the hub's queue of streams with something to say.
    pub(super) queued: bool,
}

impl Stream {
    pub(super) fn new(counted: Counted, now: Instant) -> Self {
        Self {
            counted,
            receiving: Receiving::Open,
            unread: ByteQueue::default(),
            window: ReceiveWindow::new(now),
            held: 0,
            told_readable: false,
            sending: Sending::Open,
            unsent: ByteQueue::default(),
            send_credit: INITIAL_WINDOW,
            owes_writable: false,
            lingers_since: None,
            owes_drained: false,
            in_ring: false,
            control: Control::default(),
            acked: false,
        }
    }

    /// Bytes that are unread, or read and held.
    pub(super) fn load(&self) -> u64 {
        u64::from(self.window.unread()) + self.held
    }

    /// Payload that may be sent now, in bytes.
    pub(super) fn sendable(&self) -> usize {
        match self.sending {
            Sending::Open | Sending::Finishing => {
                self.unsent.len().min(usize::try_from(self.send_credit).unwrap_or(usize::MAX))
            }
            Sending::Over | Sending::Reset => 0,
        }
    }

    /// FIN is due: everything before it was handed out.
    pub(super) fn fin_due(&self) -> bool {
        self.sending == Sending::Finishing && self.unsent.is_empty()
    }

    /// Nothing more will happen on this stream.
    pub(super) fn is_over(&self) -> bool {
        self.receiving == Receiving::Over && matches!(self.sending, Sending::Over | Sending::Reset)
    }
}
