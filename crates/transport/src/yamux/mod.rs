//! yamux (`/yamux/1.0.0`): many streams over one secured connection, as a
//! state machine that does no I/O.
//!
//! Implements the libp2p yamux specification, with go-libp2p's error codes in
//! the length field of RST and GoAway. [`Machine`] is the hub; each concern
//! has its own file: `frame` (headers), `queue` (bytes), `window` (what the
//! peer may send), `admission` (inbound streams), `keepalive` (pings),
//! `receive` and `transmit` (the two directions of the hub), `unread` (what may
//! wait for its reader), `config` (every limit).
//!
//! Left out on purpose: anything with a clock, a socket or a task. Time comes
//! in as [`peerage_base::Instant`], decrypted bytes through
//! [`Machine::handle_input`], and what is to be sent goes out through
//! [`Machine::poll_transmit`].

mod admission;
mod config;
mod error;
mod event;
mod frame;
mod keepalive;
mod machine;
mod queue;
mod receive;
mod stream;
#[cfg(test)]
mod tests;
mod transmit;
mod unread;
mod window;

pub use config::{Config, INITIAL_WINDOW};
pub use error::{ClassifyError, GoAwayCode, OpenError, ProtocolError, ResetCode, StreamGone, WriteError};
pub use event::{Event, Read, ResetCause, Timer};
pub use frame::{HEADER_LEN, StreamId};
pub use machine::{Machine, Role};
pub use stream::StreamClass;
pub use transmit::Chunk;
