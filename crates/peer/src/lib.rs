//! An embeddable Peerage peer: sockets, tasks, worker threads and files around
//! the engine, behind a small asynchronous API.
//!
//! [`Peer::start`] takes a repository and runs until [`Peer::shutdown`], or
//! until the last handle is dropped. Two of them in one program:
//!
//! ```no_run
#![doc = include_str!("../examples/share_and_get.rs")]
//! ```
//!
//! - `brain`: the one task that owns the engine
//! - `net`: sockets and streams
//! - `pool`: the worker threads
//! - `files`: import and export
//! - `served`, `tally`: which blocks others may have, and were sent
//! - `peer`, `share`, `get`, `query`, `find`, `keep`: the API

mod brain;
mod config;
mod files;
mod find;
mod get;
mod keep;
mod link;
mod net;
mod peer;
mod pool;
mod query;
pub mod router;
mod served;
mod share;
mod tally;
mod upkeep;

pub use brain::{PeerInfo, Totals};
pub use config::{Config, Limits};
pub use files::export::ExportError;
pub use files::import::{ImportError, ImportProgress, Remark, Remarks};
pub use find::{AnnounceError, Announcing, Find, PUBLIC_PEERS, public_peers};
pub use get::{Done, Get, GetError, GetEvent, GetOptions};
pub use keep::{PinError, ServingKept};
pub use link::*;
pub use net::dial::DialError;
pub use peer::{Peer, PingError, Pinger, StartError};
pub use query::{Query, QueryError, Reading};
pub use share::{AddError, AddOptions, Added, Share, only_hash};

pub use peerage_dht::sweep::{Cursor, Stats as SweepStats};
pub use peerage_dht::{End, Mode, Network, PeerInfo as FoundPeer, Progress as FindProgress, Report};
pub use peerage_engine::{
    Announcements, DhtMode, DhtStatus, FindEvent, JobError, JobProgress, NotFound, Share as Progress, Source,
    Sources,
};
pub use peerage_transport::mdns::Status as MdnsStatus;
