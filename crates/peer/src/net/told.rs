//! What a peer says of itself, checked by the task that reads it: a signature
//! takes its time, and the brain has none.

use peerage_engine::Protocols;
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::identify;

/// What one identify message says.
pub(crate) struct Told {
    /// Its agent, if it names one.
    pub(crate) agent: Option<String>,
    /// What it speaks.
    protocols: Vec<String>,
    /// Where it listens: what it signed, else what it said.
    pub(crate) addrs: Vec<Multiaddr>,
    /// Where it sees us.
    pub(crate) observed: Option<Multiaddr>,
    /// Later records have higher numbers; 0 without one.
    pub(crate) seq: u64,
}

impl Told {
    /// What `peer` said, with its signature checked.
    pub(crate) fn check(info: identify::Info, peer: &PeerId) -> Self {
        let record = info.record(peer);
        let seq = record.as_ref().map_or(0, |record| record.seq);
        Self {
            agent: info.agent_version,
            protocols: info.protocols,
            addrs: record.map_or(info.listen_addrs, |record| record.addrs),
            observed: info.observed_addr,
            seq,
        }
    }

    /// What of that we speak, too.
    pub(crate) fn protocols(&self) -> Protocols {
        Protocols::of(self.protocols.iter().map(String::as_str))
    }
}
