//! What commands say of other peers: who was found where, how look-ups ended,
//! and how this peer stands (`find`, `find-peer`, `provide`, `peers --dht`, `status`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limits::Limits;

/// Who told of a peer, or keeps a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// The public DHT.
    Wan,
    /// The DHT of private networks.
    Lan,
    /// A router of the configuration.
    Router,
    /// The local network, or a connection.
    Local,
    /// Sent by an owner that is newer than we are.
    #[serde(other)]
    Unknown,
}

/// A peer and where it may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Located {
    pub(crate) peer_id: String,
    /// As they were told; perhaps wrong, perhaps none.
    pub(crate) addrs: Vec<String>,
    /// Who told of it first.
    pub(crate) source: Place,
}

/// `provide`: what became of it in one DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provided {
    pub(crate) cid: String,
    pub(crate) network: Place,
    /// Servers that the record was sent to. None confirms it.
    pub(crate) stored: u64,
    /// Why it is at none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// The end of a look-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Different peers that were found.
    pub(crate) found: u64,
    pub(crate) seconds: f64,
    /// What each DHT reports, and the routers together.
    pub(crate) networks: BTreeMap<Place, LookupReport>,
}

impl Finished {
    /// Peers that were asked, over all. Routers are none.
    pub(crate) fn asked(&self) -> u64 {
        let peers = self.networks.iter().filter(|(place, _)| **place != Place::Router);
        peers.map(|(_, report)| report.asked).sum()
    }
}

/// How a look-up went in one DHT.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LookupReport {
    /// `complete`, `unanswered`, `quorum`, `out_of_time`, `no_peers`; or `limit`:
    /// enough was found before; or `refused`: see `problem`.
    pub(crate) end: String,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Hops to the closest peer that answered.
    pub(crate) hops: u64,
    /// Bits of the distance between the key and the closest peer that answered.
    pub(crate) closest_bits: u64,
    pub(crate) seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// `peers --dht`: a server in the table of a DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DhtPeer {
    pub(crate) network: Place,
    /// Leading bits that its key shares with ours.
    pub(crate) bucket: u64,
    pub(crate) peer_id: String,
    pub(crate) addrs: Vec<String>,
}

/// `status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Someone runs a peer on the repository. If not, nothing but what the
    /// repository holds is known.
    #[serde(default = "yes")]
    pub(crate) running: bool,
    pub(crate) peer_id: String,
    pub(crate) agent: String,
    /// Concrete and dialable, with the peer id.
    pub(crate) addrs: Vec<String>,
    /// `public`, `private` or `unknown`.
    pub(crate) reachability: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mapping: Option<MappingState>,
    pub(crate) connections: Connections,
    /// Empty: we are in none.
    pub(crate) dht: Vec<DhtState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mdns: Option<MdnsState>,
    /// One a DHT.
    #[serde(default)]
    pub(crate) announcements: Vec<Announcements>,
    pub(crate) store: StoreState,
    /// None if nobody runs a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Limits>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// An owner that does not say so runs, or it would not answer.
fn yes() -> bool {
    true
}

/// Peers connected now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) inbound: u64,
    pub(crate) outbound: u64,
}

/// One DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DhtState {
    pub(crate) network: Place,
    /// `client` or `server`.
    pub(crate) mode: String,
    /// Servers in the table.
    pub(crate) peers: u64,
    pub(crate) buckets: Vec<BucketState>,
    /// Provider records kept for others.
    pub(crate) provider_records: u64,
    /// Values kept for others, and the bytes of them.
    pub(crate) values: u64,
    pub(crate) value_bytes: u64,
    /// Look-ups that run, those of the table included.
    pub(crate) lookups: u64,
    /// Requests that wait for an answer.
    pub(crate) requests: u64,
}

/// A bucket of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketState {
    /// Leading bits that its peers share with us.
    pub(crate) bucket: u64,
    pub(crate) peers: u64,
    /// Of those, peers that did not answer when they were last asked.
    pub(crate) failing: u64,
    /// Peers that wait for a place.
    pub(crate) waiting: u64,
}

/// What the home router does for us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MappingState {
    /// Where it says that others reach us.
    pub(crate) external: Vec<String>,
    /// Why it does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// The local network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MdnsState {
    /// Sockets that hear others, one for each interface and family.
    pub(crate) links: u64,
    /// Peers that made themselves known.
    pub(crate) peers: u64,
    /// What the system refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// What a DHT is told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Announcements {
    pub(crate) network: Place,
    /// There is somebody to tell, and an address of ours to tell.
    pub(crate) online: bool,
    /// Blocks that are announced.
    pub(crate) keys: u64,
    /// Of those, blocks that are new, failed, or whose turn has come.
    pub(crate) backlog: u64,
    /// Provider records sent since the start, and those that could not be.
    pub(crate) records: u64,
    pub(crate) records_failed: u64,
    /// Seconds until the next turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_due_seconds: Option<f64>,
}

/// The repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreState {
    pub(crate) pins: u64,
    /// Kept roots, pins apart.
    pub(crate) shares: u64,
    /// Blocks that it holds itself.
    pub(crate) blocks: u64,
    /// Blocks that are pieces of users' files.
    pub(crate) references: u64,
    /// Bytes on disk: blocks, sets of roots, journal and index.
    pub(crate) disk_bytes: u64,
    /// Bytes that it may take, if `--max-store` says so.
    #[serde(default)]
    pub(crate) max_bytes: Option<u64>,
    /// Bytes of blocks that nothing needs; `None` if there are too many blocks to
    /// look through for that.
    #[serde(default)]
    pub(crate) dead_bytes: Option<u64>,
}
