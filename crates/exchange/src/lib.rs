//! Bitswap as a state machine: wantlists, sessions, the scheduler that decides
//! whom to ask for which block, and the serving side with its ledger.
//!
//! Spec: <https://specs.ipfs.tech/bitswap-protocol/>. The machine knows peers
//! and messages, not streams, and never sees a payload byte: [`codec`] is for
//! the shell that moves those. See [`Exchange`] for how it is driven.

mod client;
pub mod codec;
mod exchange;
mod ledger;
pub mod limits;
mod message;
mod outbox;
mod output;
mod server;
#[cfg(test)]
mod testing;

pub use exchange::Exchange;
pub use limits::Config;
pub use message::{Incoming, Outgoing, Presence, Version, WantEntry, WantKind};
pub use output::{
    BlockOutcome, Holding, Order, Output, PeerStats, Room, Served, SessionConfig, SessionId, SessionStats,
    SourceError, Timer, Verdict, WantError,
};
