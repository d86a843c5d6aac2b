//! Kademlia as a state machine, wire compatible with `/ipfs/kad/1.0.0` and
//! `/ipfs/lan/kad/1.0.0`.
//!
//! Spec: ipfs/specs `routing/kad-dht.md`, libp2p/specs `kad-dht`; where they
//! and deployed peers differ, deployed peers. The machine knows peers and
//! requests, not streams: [`codec`] is for the shell that moves those. See
//! [`Dht`] for how it is driven.
//!
//! Left out on purpose: republishing values ([`sweep`] is for provider records),
//! making IPNS records, and whether we can be reached from outside, which
//! decides the [`Mode`].

mod addrs;
pub mod codec;
mod crowd;
mod dht;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ipns;
mod key;
pub mod limits;
mod lookup;
mod message;
mod output;
mod providers;
mod reach;
pub mod sweep;
mod table;
#[cfg(test)]
mod testing;
mod values;

pub use dht::{Dht, Stats};
pub use ipns::ipns_key;
pub use key::{Distance, KEY_BITS, Key};
pub use limits::{Config, Network, SweepConfig};
pub use message::{PeerInfo, Record, Request, Response, merge};
pub use output::{
    AnnounceId, Answer, End, Failure, LookupError, LookupId, Mode, Output, Progress, Report, RequestId, Timer,
};
pub use providers::Fullest;
pub use reach::Group as IpGroup;
pub use table::BucketHealth;
pub use values::{Validator, ValueError, public_key_key};
