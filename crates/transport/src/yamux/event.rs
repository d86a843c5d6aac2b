//! What the machine tells its shell.

use std::time::Duration;

use bytes::Bytes;

use super::{GoAwayCode, ResetCode, StreamId};

/// Something that happened on the connection, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream. It is un-negotiated until
    /// [`classify`](super::Machine::classify).
    StreamOpened {
        /// The new stream.
        id: StreamId,
    },
    /// There is something to [`read`](super::Machine::read): data or the end.
    /// Not repeated until a read returned [`Read::Pending`].
    Readable {
        /// The stream.
        id: StreamId,
    },
    /// A write that was cut short may go on, or will find out that it cannot.
    Writable {
        /// The stream.
        id: StreamId,
    },
    /// The stream is gone; unread and unsent bytes are dropped. Not sent for
    /// [`reset`](super::Machine::reset) by the shell itself.
    Reset {
        /// The stream.
        id: StreamId,
        /// The code that the peer sent, or that we sent.
        code: ResetCode,
        /// Who reset it, and why.
        cause: ResetCause,
    },
    /// Both sides finished and everything was read and handed out for
    /// sending; the stream is gone.
    Closed {
        /// The stream.
        id: StreamId,
    },
    /// An [`open`](super::Machine::open) that was refused for the number of
    /// streams may be tried again.
    OpenReady,
    /// The peer will open and accept no more streams; existing ones go on
    /// until they end or the connection does.
    GoAway {
        /// The peer's reason.
        code: GoAwayCode,
    },
    /// Our ping came back.
    Pong {
        /// The time it took.
        rtt: Duration,
    },
    /// A ping went unanswered and nothing else was heard: close the connection.
    PeerSilent,
}

/// Who reset a stream without being asked by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// The peer sent RST.
    Peer,
    /// We did: it held the most unread bytes when the connection held more
    /// than was asked of it and the slack.
    UnreadLimit,
    /// We did: it held the most unread bytes of its connection, which was the
    /// one furthest beyond what was asked of it when the inbound budget of all
    /// connections was full.
    BudgetFull,
}

/// What [`Machine::read`](super::Machine::read) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, never empty.
    Data(Bytes),
    /// Nothing yet; an [`Event::Readable`] will come.
    Pending,
    /// The peer finished and everything was read. The stream may be gone
    /// after this; remember it.
    Eof,
    /// The stream was reset or is long gone.
    Reset,
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// It is time to ping, and to shrink idle windows.
    Ping,
    /// The answer to a ping is overdue.
    PingTimeout,
}
