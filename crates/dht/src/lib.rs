//! Kademlia as a state machine, wire compatible with `/ipfs/kad/1.0.0` and
//! `/ipfs/lan/kad/1.0.0`.
//!
//! Spec: ipfs/specs `routing/kad-dht.md`, libp2p/specs `kad-dht`; where they
//! and deployed peers differ, deployed peers.

#![expect(dead_code, reason = "the machine that drives these parts comes next")]

pub mod codec;
mod key;
pub mod limits;
mod message;
mod providers;
mod reach;
mod table;
#[cfg(test)]
mod testing;
mod values;

pub use key::{Distance, KEY_BITS, Key};
pub use limits::{Config, Network};
pub use message::{PeerInfo, Record, Request, Response};
pub use table::BucketHealth;
pub use values::{Validator, ValueError, public_key_key};
