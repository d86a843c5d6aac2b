//! The brain of a Peerage peer, as a state machine: whom to dial, whom to ask
//! for what, what to serve, and where what arrives belongs.
//!
//! [`Engine`] reads no clock, opens no socket and never sees payload bytes. Its
//! shell hands in what happened, with the time, and does every [`Output`] in
//! order. See [`Engine`] for the contract.
//!
//! - `fetch`: a DAG turned into wants, file ranges and blocks to keep
//! - `search`: where a job looks for its blocks, and when it gives up
//! - `swarm`: how the getters of one root find each other
//! - `reachability`: whether others can dial us, and whom we dial for them
//! - `peers`: who is connected, and what they speak
//! - `routing`: the DHTs, and who waits for which of their look-ups
//! - `score`: what we think of peers, by what they did to us
//! - `dials`: attempts to connect, and who is not tried again yet
//! - `addresses`: which addresses can be dialled, and in which order
//! - `engine`: the hub, which routes between these and the exchange
//!
//! Left out, for the crate above: sockets and files (`peer`).

mod addresses;
mod dials;
mod engine;
mod error;
mod fetch;
mod limits;
mod output;
mod peers;
mod reachability;
mod routing;
mod score;
mod search;
mod swarm;

pub use peerage_exchange::Order;

pub use addresses::{DIAL_ADDRS_MAX, Way};
pub use dials::DialFailure;
pub use engine::{AnnounceError, Announcements, DhtStatus, Engine, JobProgress, Timer};
pub use error::{JobError, NotFound, Providers};
pub use fetch::{Arrived, DirKey, FileKey, ItemId, Progress};
pub use limits::{Config, DhtMode, Routing};
pub use output::{At, DialId, DisconnectReason, FindId, JobId, Output, RequestId, RouterQuestion, Token};
pub use peers::{Connected, Identified, Protocols};
pub use reachability::{
    Answer as ProbeAnswer, Decision as DialDecision, DialRequest, Probe, ProbeId, Reach, Reachability,
    ReachabilityConfig, ReachabilityOutput, Refusal as DialRefusal, Verdict, Version as AutonatVersion,
};
pub use routing::{FindEvent, RouterReport, SeekProgress, Source, Target};
pub use search::Sources;
pub use swarm::{PROTOCOL as SWARM_PROTOCOL, Record, Share};

#[cfg(test)]
mod tests;
