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
//! Peers find each other and what they have in the DHTs, on the local network
//! ([`Config::mdns`]) and by HTTP routers ([`Config::routers`]). A peer asks
//! others whether it can be dialled ([`Peer::reachability`]), has its home
//! router help ([`Config::portmap`]), and remembers servers of the DHTs across
//! restarts. What is neither announced nor looked for by name
//! ([`Sources::find`]) is named to nobody:
//!
//! ```no_run
#![doc = include_str!("../examples/find.rs")]
//! ```
//!
//! - `brain`: the one task that owns the engine
//! - `net`: sockets and streams
//! - `pool`: the worker threads
//! - `files`: import and export
//! - `served`, `tally`: which blocks others may have, and were sent
//! - `remember`: what a restart begins with
//! - `peer`, `share`, `get`, `query`, `entries`, `find`, `keep`, `collect`, `verify`, `moved`: the API

mod ahead;
mod brain;
mod cancel;
mod car;
mod collect;
mod config;
mod entries;
mod files;
mod find;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod join;
mod keep;
mod link;
mod listing;
mod moved;
mod net;
mod notices;
mod peer;
mod places;
mod pool;
mod query;
mod remember;
pub mod router;
mod seen;
mod served;
mod share;
mod sort;
mod tally;
mod upkeep;
mod verify;

pub use brain::{PeerInfo, Reachability, Totals};
pub use car::check::{CarCheck, CarFound, CarSummary, check_car};
pub use car::export::{CarExport, CarExportError, CarPiece};
pub use car::fault::{CarFault, CarProblem};
pub use car::import::{BadSection, CarImportError, CarImported, WholeDag};
pub use car::read::CarReadError;
pub use collect::{CollectError, Collected, Collecting};
pub use config::{Config, Limits, MEMORY_MIN, Rates};
pub use entries::Entries;
pub use files::export::ExportError;
pub use files::import::{IgnoreError, Ignored, ImportError, ImportProgress, Preserve, Remark, Remarks};
pub use find::{AnnounceError, Announcing, Find, PUBLIC_PEERS, public_peers};
pub use get::{Done, Get, GetError, GetEvent, GetOptions};
pub use keep::{Missing, PinError, PinOptions, ServingKept};
pub use link::*;
pub use listing::{KeysWanted, Listing};
pub use moved::{Finding, FoundAgain};
pub use net::dial::DialError;
pub use net::mapping::{MappedPorts, MappingStatus};
pub use notices::Heard;
pub use peer::{Peer, PingError, Pinger, StartError};
pub use query::{Query, QueryError, Reading};
pub use share::{AddError, AddOptions, Added, Share, only_hash, only_hash_stream};
pub use verify::{Repaired, VerifyError, VerifySum, Verifying};

pub use peerage_dht::sweep::{Cursor, Stats as SweepStats};
pub use peerage_dht::{
    End, Key, LookupError, Mode, Network, PeerInfo as FoundPeer, Progress as FindProgress, Report,
};
pub use peerage_engine::{
    Announcements, DhtMode, DhtStatus, FindEvent, JobError, JobProgress, NotFound, Order, Reach,
    RouterReport, Share as Progress, Source, Sources, Verdict,
};
pub use peerage_transport::mdns::Status as MdnsStatus;
pub use peerage_transport::portmap::Failure as MappingFailure;
