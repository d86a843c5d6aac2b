//! Why a job ended without what it was to bring, and whose fault that is.

use peerage_content::{Cid, hamt::Misfit, name};
use peerage_identity::{Multiaddr, PeerId};

use crate::routing::RouterReport;

/// The end of a job that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Nobody who can be reached has it. The network's, or the link's, fault.
    #[error("{0}")]
    NotFound(NotFound),
    /// What came was not what was asked for, and no other source is left. The
    /// fault of the peers that are named.
    #[error("{} sent wrong data and nobody else has it", list(.0.iter()))]
    Unverified(Vec<PeerId>),
    /// The CID names nothing that can be asked for: an unknown or forbidden
    /// hash function. The link's fault, or that of the DAG's maker.
    #[error("{cid} cannot be fetched: {why}")]
    Unwantable {
        /// The CID.
        cid: Cid,
        /// What is wrong with it.
        why: String,
    },
    /// As many jobs run as may. Ours; try again when one has ended.
    #[error("too many transfers at once; wait for one to end")]
    TooManyJobs,
    /// The blocks are what their CIDs say, but make no file or folder. The
    /// fault of whoever made the DAG.
    #[error("{}block {cid} is malformed: {why}", place(.path))]
    Malformed {
        /// The block.
        cid: Cid,
        /// Where in the folder it lies; empty for the root.
        path: Vec<String>,
        /// What is wrong with it.
        why: String,
    },
    /// Nodes of a sharded folder that do not fit together, or an entry where no
    /// look-up finds it. The fault of whoever made the DAG.
    #[error("{}{shard}", place(.path))]
    BadShard {
        /// The node.
        shard: Misfit,
        /// The folder; empty for the root.
        path: Vec<String>,
    },
    /// The DAG has more levels than we follow: our limit, not its maker's fault.
    #[error("{}it lies more than {limit} levels below the root, which is our limit; get a folder in it by its own CID",
        place(.path))]
    TooDeep {
        /// Where in the folder it lies; empty for a part of a file.
        path: Vec<String>,
        /// The limit, in nodes below the root.
        limit: u32,
    },
    /// A folder holds a name that is not written to disk. Its maker's fault.
    #[error("the folder holds an entry that cannot be written here, \"{}\": {why}", name::escape(&.path.join("/")))]
    Name {
        /// Where.
        path: Vec<String>,
        /// What is wrong with it.
        why: String,
    },
}

/// What was tried before a job gave up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotFound {
    /// Addresses that could not be reached, each with the last reason.
    pub unreachable: Vec<(Multiaddr, String)>,
    /// Peers that were reached and did not have it, or could not be asked.
    pub without: Vec<(PeerId, String)>,
    /// What was found in the DHT and by routers.
    pub providers: Providers,
    /// What came of asking the routers, if there are any.
    pub routers: Option<RouterReport>,
    /// True if some of it had come before the last source was lost.
    pub partly: bool,
}

impl NotFound {
    /// True if nobody was named who might have had it.
    #[must_use]
    pub fn is_of_nobody(&self) -> bool {
        self.unreachable.is_empty() && self.without.is_empty() && self.providers.found == 0 && !self.partly
    }
}

/// Peers that were named as having it, and why they were not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Providers {
    /// All of them.
    pub found: usize,
    /// Of those, peers that did not answer.
    pub unreachable: usize,
    /// That are reached by QUIC only.
    pub quic: usize,
    /// That are behind relays.
    pub relayed: usize,
    /// That are reached by other ways which we cannot go.
    pub other: usize,
    /// Whose addresses nobody knows.
    pub nowhere: usize,
}

impl std::fmt::Display for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { found, unreachable, quic, relayed, other, nowhere } = *self;
        write!(f, "{found} provider{}", if found == 1 { "" } else { "s" })?;
        let kinds = [
            (unreachable, "unreachable"),
            (quic, "by QUIC only"),
            (relayed, "behind relays"),
            (other, "by other ways only"),
            (nowhere, "without an address"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        for (nth, (count, kind)) in kinds.enumerate() {
            write!(f, "{} {count} {kind}", if nth == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.partly {
            f.write_str("the last source was lost (what has come is kept; run it again to go on)")?;
        } else if self.is_of_nobody() && self.routers.is_none() {
            f.write_str("not all of it is here, and there is nobody to ask")?;
        } else {
            f.write_str("not found")?;
        }
        if self.providers.found > 0 {
            write!(f, "; {}", self.providers)?;
        }
        for (addr, why) in &self.unreachable {
            write!(f, "; {addr}: {}", name::escape(why))?;
        }
        for (peer, why) in &self.without {
            write!(f, "; {peer} {why}")?;
        }
        for failure in self.routers.iter().flat_map(|routers| &routers.failures) {
            write!(f, "; {}", name::escape(failure))?;
        }
        Ok(())
    }
}

fn list<'a>(peers: impl Iterator<Item = &'a PeerId>) -> String {
    peers.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn place(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", name::escape(&path.join("/"))) }
}
