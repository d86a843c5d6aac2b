//! What scenarios ask nodes to find, and what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_base::Instant;
use peerage_content::{Cid, Multihash};
use peerage_dht::{Network, Report, Request};
use peerage_engine::{FindEvent, FindId, Target};
use peerage_identity::PeerId;

use super::World;
use crate::host::HostId;

/// The codec of raw bytes; which it is does not matter to the DHT.
const RAW: u64 = 0x55;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Providers,
    Provide,
    Peer(PeerId),
}

/// A query and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) host: HostId,
    pub(crate) kind: Kind,
    pub(crate) key: Vec<u8>,
    pub(crate) started: Instant,
    /// Providers that were named.
    pub(crate) providers: BTreeSet<PeerId>,
    /// When the first useful thing was named.
    pub(crate) first: Option<Duration>,
    /// None if its host left before the end.
    pub(crate) report: Option<Report>,
}

impl World {
    /// Has a node begin a query for a multihash, or a peer. False if the node is
    /// not there.
    pub(crate) fn query(&mut self, host: HostId, kind: Kind, key: &[u8]) -> bool {
        let cid = Multihash::from_bytes(key).map(|hash| Cid::new_v1(RAW, hash));
        let now = self.clock(host);
        let Some(node) = self.host_mut(host).node.as_mut() else { return false };
        let find = match (kind, cid) {
            (Kind::Peer(peer), _) => node.find(Target::Peer(peer), now),
            (Kind::Providers, Ok(cid)) => node.find(Target::Providers(cid), now),
            (Kind::Provide, Ok(cid)) => node.provide(cid, now),
            (_, Err(_)) => return false,
        };
        let done = Done {
            host,
            kind,
            key: key.to_vec(),
            started: self.now,
            providers: BTreeSet::new(),
            first: None,
            report: None,
        };
        self.asked.insert((host, find), done);
        self.flush(host);
        true
    }

    /// Puts a record into a node, as if it had come so many seconds ago.
    pub(crate) fn place(&mut self, host: HostId, by: HostId, key: &[u8], ago: u64) {
        let info = self.host(by).info();
        let mut now = self.clock(host);
        now.unix.0 -= ago;
        let request = Request::AddProvider { key: key.to_vec().into(), providers: vec![info.clone()] };
        if let Some(node) = self.host_mut(host).node.as_mut() {
            node.connected(info.peer, info.addrs[0].clone(), None, now);
            node.asked(Network::Wan, info.peer, &request, now);
            node.disconnected(info.peer, now);
        }
    }

    /// News of a query.
    pub(super) fn found(&mut self, host: HostId, find: FindId, event: FindEvent) {
        let now = self.now;
        let Some(done) = self.asked.get_mut(&(host, find)) else { return };
        match event {
            FindEvent::Progress(..) => {}
            FindEvent::Found(_, peers) => {
                done.providers.extend(peers.iter().map(|info| info.peer));
                done.first.get_or_insert(now.since(done.started));
            }
            FindEvent::Finished(mut reports) => {
                let Some(mut done) = self.asked.remove(&(host, find)) else { return };
                self.trace.event(20, now.as_nanos(), [host.into(), find.0]);
                done.report = reports.remove(&Network::Wan).and_then(Result::ok);
                self.done.push(done);
            }
        }
    }

    /// A host leaves with what it asks for.
    pub(super) fn abandon(&mut self, host: HostId) {
        let range = (host, FindId(0))..=(host, FindId(u64::MAX));
        let gone: Vec<Done> = self.asked.extract_if(range, |_, _| true).map(|(_, done)| done).collect();
        self.done.extend(gone);
    }
}
