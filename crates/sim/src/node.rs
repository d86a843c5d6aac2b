//! The seam between the world and what runs in a host: the engine of a peer,
//! as it is, with the little that its shell adds.

use std::sync::Arc;

use peerage_base::{Instant, Now};
use peerage_content::Cid;
use peerage_dht::{Answer, Failure, Fullest, Network, PeerInfo, Request, RequestId, Response, Stats};
use peerage_engine::{
    Config, Connected, DialFailure, DialId, Engine, FindId, Identified, JobId, Output, Protocols, Target,
};
use peerage_exchange::Version;
use peerage_identity::{Multiaddr, PeerId};

/// Names a request of one of a node's DHTs.
pub(crate) type Asked = (Network, RequestId);

/// What runs in a host.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) engine: Engine,
    next_find: u64,
}

/// What others learn of a peer by identify.
pub(crate) fn protocols(serves: bool, blocks: bool) -> Protocols {
    let bitswap = blocks.then_some(Version::V1_2);
    Protocols { bitswap, swarm: blocks, wan_dht: serves, lan_dht: serves, ..Protocols::default() }
}

impl Node {
    /// A peer that can be reached at `addrs`.
    pub(crate) fn new(
        config: &Arc<Config>,
        local: PeerId,
        addrs: Vec<Multiaddr>,
        seed: u64,
        now: Now,
    ) -> Self {
        let exchange = peerage_exchange::Config::default();
        let mut engine = Engine::new(local, Arc::clone(config), exchange, seed, now);
        engine.set_listen(addrs, now);
        Self { engine, next_find: 0 }
    }

    /// Puts peers into the table, as if they had answered.
    pub(crate) fn seed(&mut self, peers: &[PeerInfo], now: Now) {
        for info in peers {
            self.engine.add_known(Network::Wan, info, &info.addrs[0], now);
        }
    }

    pub(crate) fn bootstrap(&mut self, peers: &[Multiaddr], now: Now) {
        self.engine.bootstrap(peers, false, now);
    }

    pub(crate) fn connected(&mut self, peer: PeerId, addr: Multiaddr, dial: Option<DialId>, now: Now) {
        self.engine
            .handle_connected(&Connected { peer, addr, dial, by_user: false, outbound: dial.is_some() }, now);
    }

    pub(crate) fn identified(&mut self, peer: PeerId, identified: &Identified, now: Now) {
        self.engine.handle_identified(peer, identified, now);
    }

    pub(crate) fn dial_failed(&mut self, dial: DialId, now: Now) {
        self.engine.handle_dial_failed(dial, DialFailure::Unreachable, "does not answer", now);
    }

    /// One of the two has as many connections as it may.
    pub(crate) fn dial_refused(&mut self, dial: DialId, failure: DialFailure, now: Now) {
        self.engine.handle_dial_failed(dial, failure, "too many connections", now);
    }

    /// Whom it would hang up on first.
    pub(crate) fn least_useful(&self, now: Now) -> Option<PeerId> {
        self.engine.least_useful(now)
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Now) {
        self.engine.handle_disconnected(peer, now);
    }

    pub(crate) fn responded(&mut self, (network, id): Asked, response: Response, now: Now) {
        self.engine.handle_dht_response(network, id, response, now);
    }

    pub(crate) fn sent(&mut self, (network, id): Asked, now: Now) {
        self.engine.handle_dht_sent(network, id, now);
    }

    pub(crate) fn failed(&mut self, (network, id): Asked, now: Now) {
        self.engine.handle_dht_failed(network, id, Failure::Unreachable, now);
    }

    pub(crate) fn asked(&mut self, network: Network, peer: PeerId, request: &Request, now: Now) -> Answer {
        self.engine.handle_dht_request(network, peer, request, now)
    }

    /// Begins a look-up of the user's.
    pub(crate) fn find(&mut self, target: Target, now: Now) -> FindId {
        self.next_find += 1;
        self.engine.find(FindId(self.next_find), target, now);
        FindId(self.next_find)
    }

    /// Tells the DHT of a block.
    pub(crate) fn provide(&mut self, cid: Cid, now: Now) -> FindId {
        self.next_find += 1;
        self.engine.provide_once(FindId(self.next_find), cid, now);
        FindId(self.next_find)
    }

    pub(crate) fn timeout(&mut self, now: Now) {
        self.engine.handle_timeout(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout().map(|(at, _)| at)
    }

    /// How much its part in the public DHT holds.
    pub(crate) fn stats(&self) -> Stats {
        self.engine.dht_stats(Network::Wan).unwrap_or_default()
    }

    /// True if it keeps this record for others.
    pub(crate) fn keeps(&self, multihash: &[u8], provider: &PeerId, now: Now) -> bool {
        self.engine.keeps_provider(Network::Wan, multihash, provider, now)
    }

    /// The most records of others that it keeps, by what bounds them.
    pub(crate) fn fullest(&self) -> Fullest {
        self.engine.fullest_providers(Network::Wan)
    }

    /// True while this fetch goes on.
    pub(crate) fn fetches(&self, job: JobId) -> bool {
        self.engine.progress(job).is_some()
    }

    /// The servers in its table.
    pub(crate) fn table(&self) -> Vec<PeerInfo> {
        self.engine.servers(Network::Wan)
    }

    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.engine.poll_output()
    }
}
