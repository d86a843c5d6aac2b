//! `/peerage/swarm/1.0.0` between hosts: who fetches a root asks its sources who
//! else does. An envelope holds nothing but the number of its host.

use bytes::Bytes;
use peerage_content::Cid;
use peerage_engine::{Record, RequestId, Share};
use peerage_identity::{PeerId, Scope};

use super::{Event, World};
use crate::host::{HostId, number};

/// A request with a signed record of two addresses.
const REQUEST_BYTES: u64 = 340;
/// Each record of an answer.
const RECORD_BYTES: u64 = 260;

impl World {
    pub(super) fn ask_swarm(&mut self, from: HostId, peer: &PeerId, root: Cid, share: Share) {
        let Some(to) = number(peer) else { return };
        if let Some((at, generation)) = self.arrival(from, to, REQUEST_BYTES) {
            self.queue.push(at, Event::SwarmAsked { from, to, generation, root, share });
        }
    }

    /// A request has come. Who cannot be dialled does not ask to be listed.
    pub(super) fn swarm_asked(&mut self, from: HostId, to: HostId, root: Cid, share: Share) {
        let peer = self.host(from).peer;
        let open = self.host(from).nat.is_open();
        let record = open.then(|| Bytes::copy_from_slice(&from.to_be_bytes()));
        self.swarm_requests += 1;
        let request = RequestId(self.swarm_requests);
        self.swarm_open = Some((request, from, root));
        self.act(to, |node, now| {
            node.engine.handle_swarm_request(request, peer, Scope::Public, root, record, share, now);
        });
        self.swarm_open = None;
    }

    /// A host answers the request that it is handling.
    pub(super) fn answer_swarm(&mut self, host: HostId, request: RequestId, records: &[Bytes]) {
        let Some((_, to, root)) = self.swarm_open.filter(|(open, ..)| *open == request) else { return };
        let hosts =
            records.iter().filter_map(|record| Some(HostId::from_be_bytes(record[..].try_into().ok()?)));
        let hosts: Vec<HostId> = hosts.collect();
        let bytes = 60 + RECORD_BYTES * hosts.len() as u64;
        if let Some((at, generation)) = self.arrival(host, to, bytes) {
            self.queue.push(at, Event::SwarmAnswered { from: host, to, generation, root, hosts });
        }
    }

    pub(super) fn swarm_answered(&mut self, from: HostId, to: HostId, root: Cid, hosts: &[HostId]) {
        let peer = self.host(from).peer;
        let record = |&host: &HostId| {
            let at = self.host(host);
            let envelope = Bytes::copy_from_slice(&host.to_be_bytes());
            Record { peer: at.peer, addrs: vec![at.addr.clone()], envelope }
        };
        let records: Vec<Record> = hosts.iter().map(record).collect();
        self.act(to, |node, now| node.engine.handle_swarm_answer(&peer, &root, records, now));
    }
}
