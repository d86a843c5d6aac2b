//! The DHTs' traffic: what they ask of others and are asked, over connections
//! that are dialled for it when there is none.

use peerage_base::Now;
use peerage_dht::{
    Answer, BucketHealth, Failure, Fullest, Mode, Network, PeerInfo, Request, RequestId, Response, Stats,
};
use peerage_identity::{Multiaddr, PeerId, Scope};

use super::Engine;
use crate::dials::Caller;
use crate::output::{DialId, Output};
use crate::peers::is_near;
use crate::routing::Flight;
use crate::score::Deed;

/// The state of one DHT, for people.
#[derive(Debug, Clone)]
pub struct DhtStatus {
    /// Which.
    pub network: Network,
    /// Whether others are answered.
    pub mode: Mode,
    /// How much is held.
    pub stats: Stats,
    /// The table, bucket by bucket.
    pub table: Vec<BucketHealth>,
}

impl Engine {
    /// Where others reach us, as concrete addresses of this machine; those
    /// that do not count in a DHT are left out there.
    pub fn set_listen(&mut self, addrs: Vec<Multiaddr>, now: Now) {
        self.reachability.set_listen(&addrs, now);
        self.listen = addrs;
        self.apply_addrs(now);
        self.route(now);
    }

    /// Has the DHTs tell others where we are, and answer them, as things are.
    pub(super) fn apply_addrs(&mut self, now: Now) {
        self.routing.set_addrs(&self.listen, self.reachability.reach());
        for find in self.finds.keys().copied().collect::<Vec<_>>() {
            self.review_find(find, now);
        }
        let serving = self.routing.apply_mode();
        if serving != self.serving {
            self.serving = serving;
            let (wan, lan) = serving;
            self.outputs.push_back(Output::ServeDht { wan, lan });
        }
    }

    /// Peers to begin with, of the configuration or an earlier run; addresses
    /// without `/p2p` are only dialled. With `by_user` they are connected to
    /// at once, and may be asked for anything.
    pub fn bootstrap(&mut self, addrs: &[Multiaddr], by_user: bool, now: Now) {
        let mut peers: Vec<PeerInfo> = Vec::new();
        for addr in addrs {
            match addr.peer_id() {
                Some(peer) => match peers.iter_mut().find(|info| info.peer == peer) {
                    Some(info) => info.addrs.push(addr.clone()),
                    None => peers.push(PeerInfo { peer, addrs: vec![addr.clone()] }),
                },
                None if by_user => {
                    self.dials.begin(Caller::User, None, std::slice::from_ref(addr), addrs);
                }
                None => {}
            }
        }
        if by_user {
            for info in &peers {
                self.dials.begin(Caller::User, Some(info.peer), &info.addrs, addrs);
            }
        }
        let private = self.config.routing.wan.private_addresses;
        for side in &mut self.routing.sides {
            let fits = |addr: &&Multiaddr| match (side.network, addr.scope()) {
                (_, Scope::Undialable) => false,
                (Network::Wan, Scope::Private | Scope::LinkLocal | Scope::Loopback) => private,
                (Network::Wan, _) | (Network::Lan, Scope::Private | Scope::LinkLocal | Scope::Loopback) => {
                    true
                }
                (Network::Lan, _) => false,
            };
            let infos = peers.iter().map(|info| PeerInfo {
                peer: info.peer,
                addrs: info.addrs.iter().filter(fits).cloned().collect(),
            });
            let infos: Vec<PeerInfo> = infos.filter(|info| !info.addrs.is_empty()).collect();
            if !infos.is_empty() {
                side.dht.bootstrap(infos, now);
            }
        }
        self.route(now);
    }

    /// Servers of a DHT that answered, worth remembering for
    /// [`bootstrap`](Self::bootstrap) after a restart.
    #[must_use]
    pub fn servers(&self, network: Network) -> Vec<PeerInfo> {
        self.routing.dht(network).map(peerage_dht::Dht::peers).unwrap_or_default()
    }

    /// How much a DHT holds; `None` if we are not in it.
    #[must_use]
    pub fn dht_stats(&self, network: Network) -> Option<Stats> {
        self.routing.dht(network).map(peerage_dht::Dht::stats)
    }

    /// Puts a server into the table of a DHT: [`peerage_dht::Dht::add_known`],
    /// for simulators and tests.
    pub fn add_known(&mut self, network: Network, info: &PeerInfo, via: &Multiaddr, now: Now) -> bool {
        self.routing.side(network).is_some_and(|side| side.dht.add_known(info, via, now))
    }

    /// True if a DHT keeps here that `provider` has this block:
    /// [`peerage_dht::Dht::keeps_provider`], for simulators and tests.
    #[must_use]
    pub fn keeps_provider(&self, network: Network, multihash: &[u8], provider: &PeerId, now: Now) -> bool {
        self.routing.dht(network).is_some_and(|dht| dht.keeps_provider(multihash, provider, now))
    }

    /// How near the provider records that a DHT keeps here come to their bounds:
    /// [`peerage_dht::Dht::fullest_providers`].
    #[must_use]
    pub fn fullest_providers(&self, network: Network) -> Fullest {
        self.routing.dht(network).map(peerage_dht::Dht::fullest_providers).unwrap_or_default()
    }

    /// The state of the DHTs; empty if we are in none.
    #[must_use]
    pub fn dht_status(&self) -> Vec<DhtStatus> {
        let status = |side: &crate::routing::Side| DhtStatus {
            network: side.network,
            mode: side.dht.mode(),
            stats: side.dht.stats(),
            table: side.dht.table_health(),
        };
        self.routing.sides.iter().map(status).collect()
    }

    /// A peer asks, on a stream of that DHT. The stream is read on unless it
    /// is to be reset.
    pub fn handle_dht_request(
        &mut self,
        network: Network,
        peer: PeerId,
        request: &Request,
        now: Now,
    ) -> Answer {
        let (burst, rate) = (self.config.dht_burst, self.config.dht_rate);
        let Some(entry) = self.peers.get_mut(&peer) else { return Answer::Reset };
        if !entry.allowance.take(burst, rate, now.instant) {
            // To refuse would lose what has no answer without a word to the
            // sender, and have it take us for broken.
            return Answer::Later(self.config.dht_later);
        }
        let Some(via) = self.via(network, &peer) else { return Answer::Reset };
        let answer = match self.routing.side(network) {
            Some(side) => side.dht.handle_request(peer, &via, request, now),
            None => Answer::Reset,
        };
        self.route(now);
        answer
    }

    /// The address by which a connected peer takes part in a DHT. One that mDNS
    /// shows near is so though it is connected by a global address, as the
    /// hosts of one network do that has IPv6.
    pub(super) fn via(&self, network: Network, peer: &PeerId) -> Option<Multiaddr> {
        let via = self.peers.get(peer)?.via(network);
        let near = self.near.get(peer).filter(|_| network == Network::Lan && !is_near(via));
        Some(near.and_then(|addrs| addrs.iter().find(|addr| is_near(addr))).unwrap_or(via).clone())
    }

    /// The answer to an [`Output::DhtRequest`].
    pub fn handle_dht_response(&mut self, network: Network, id: RequestId, response: Response, now: Now) {
        if let Some(peer) = self.landed(network, id, now)
            && let Some(via) = self.via(network, &peer)
            && let Some(side) = self.routing.side(network)
        {
            if self.scores.points(&peer, now.instant, &self.config) <= self.config.score_doubted {
                side.dht.handle_doubted(id);
            }
            side.dht.handle_response(id, &via, response, now);
            self.peers.touch(&peer, now.instant);
            self.score_deed(&peer, Deed::Answered, now);
        }
        self.route(now);
    }

    /// An [`Output::DhtRequest`] that has no answer was written.
    pub fn handle_dht_sent(&mut self, network: Network, id: RequestId, now: Now) {
        if let Some(peer) = self.landed(network, id, now) {
            self.peers.touch(&peer, now.instant);
        }
        if let Some(side) = self.routing.side(network) {
            side.dht.handle_sent(id, now);
        }
        self.route(now);
    }

    /// An [`Output::DhtRequest`] came to nothing.
    pub fn handle_dht_failed(&mut self, network: Network, id: RequestId, failure: Failure, now: Now) {
        if let Some(peer) = self.routing.side(network).and_then(|side| side.asked(id)) {
            match failure {
                Failure::Unreachable => self.score_deed(&peer, Deed::Silent, now),
                Failure::Malformed => self.score_deed(&peer, Deed::Malformed, now),
                Failure::Unsupported | Failure::NotTried => {}
            }
        }
        self.request_failed(network, id, failure, now);
        self.route(now);
    }

    /// A request is not under way any more; whom it went to.
    fn landed(&mut self, network: Network, id: RequestId, now: Now) -> Option<PeerId> {
        match self.routing.side(network)?.flights.remove(&id)? {
            Flight::Asked { peer } => Some(peer),
            Flight::Dialing { dial, peer, .. } => {
                self.leave_dial(dial, network, id, now);
                Some(peer)
            }
        }
    }

    pub(super) fn request_failed(&mut self, network: Network, id: RequestId, failure: Failure, now: Now) {
        self.landed(network, id, now);
        if let Some(side) = self.routing.side(network) {
            side.dht.handle_request_failed(id, failure, now);
        }
    }

    /// A DHT wants a peer to be asked.
    pub(super) fn send_request(
        &mut self,
        network: Network,
        id: RequestId,
        peer: PeerId,
        addrs: &[Multiaddr],
        request: Request,
        now: Now,
    ) {
        let flight = if self.scores.is_shunned(&peer, now.instant) {
            return self.request_failed(network, id, Failure::NotTried, now);
        } else if self.peers.get(&peer).is_some() {
            self.outputs.push_back(Output::DhtRequest { network, id, peer, request });
            Flight::Asked { peer }
        } else if self.dials.is_paused(&peer, addrs, now.instant) {
            return self.request_failed(network, id, Failure::NotTried, now);
        } else {
            let dial = self.dials.begin(Caller::Dht(network, id), Some(peer), addrs, &[]);
            Flight::Dialing { dial, peer, request: Box::new(request) }
        };
        let queued = matches!(flight, Flight::Dialing { dial, .. } if !self.dials.is_running(dial));
        if let Some(side) = self.routing.side(network) {
            if queued {
                side.dht.handle_postponed(id);
            }
            side.flights.insert(id, flight);
        }
    }

    /// A DHT does not wait for an answer any more.
    pub(super) fn cancel_request(&mut self, network: Network, id: RequestId, silent: bool, now: Now) {
        let asked = self.routing.side(network).and_then(|side| side.asked(id)).filter(|_| silent);
        asked.into_iter().for_each(|peer| self.score_deed(&peer, Deed::Silent, now));
        match self.routing.side(network).and_then(|side| side.flights.remove(&id)) {
            Some(Flight::Asked { .. }) => self.outputs.push_back(Output::DhtCancel { network, id }),
            Some(Flight::Dialing { dial, .. }) => self.leave_dial(dial, network, id, now),
            None => {}
        }
    }

    fn leave_dial(&mut self, dial: DialId, network: Network, id: RequestId, now: Now) {
        let caller = Caller::Dht(network, id);
        self.dials.leave(dial, caller, now.instant, &self.config, &mut self.outputs);
    }

    /// A peer is connected, by whatever way: what waits for that is sent.
    pub(super) fn send_waiting(&mut self, peer: PeerId, now: Now) {
        for side in &mut self.routing.sides {
            let network = side.network;
            for (id, flight) in &mut side.flights {
                if let Flight::Dialing { peer: to, request, .. } = flight
                    && *to == peer
                {
                    side.dht.handle_begun(*id, now);
                    let request = Request::clone(request);
                    self.outputs.push_back(Output::DhtRequest { network, id: *id, peer, request });
                    *flight = Flight::Asked { peer };
                }
            }
        }
    }

    /// The last connection with a peer is gone, and what was asked of it with it.
    pub(super) fn lose_requests(&mut self, peer: PeerId, now: Now) {
        for network in [Network::Wan, Network::Lan] {
            let Some(side) = self.routing.side(network) else { continue };
            side.dht.handle_disconnected(&peer);
            let lost = |flight: &Flight| matches!(flight, Flight::Asked { peer: asked } if *asked == peer);
            let lost: Vec<RequestId> =
                side.flights.iter().filter(|(_, flight)| lost(flight)).map(|(id, _)| *id).collect();
            for id in lost {
                self.outputs.push_back(Output::DhtCancel { network, id });
                self.request_failed(network, id, Failure::Unreachable, now);
            }
        }
    }
}
