//! The connection manager: which connections are closed when there are more
//! than we want.
//!
//! A *mark* says that someone needs the connection now; it is never closed. A
//! *tag* says what it may be good for; the weights of a peer's tags and its score
//! add up, and those of least weight go first, among them whoever was of no use for
//! longest. go-libp2p's connection manager has the same two words.
//!
//! What others want of us is no reason to keep them, unless it is here and on
//! its way: a stranger could hold his place for ever by one want.

use std::time::Duration;

use peerage_base::{Instant, Now};
use peerage_dht::Network;
use peerage_identity::PeerId;

use super::{Engine, Timer};
use crate::output::{DisconnectReason, Output};
use crate::peers::Peer;
use crate::routing::Flight;

/// Weights of tags, in points of a score. Judgements: a peer that brought us
/// blocks is the likeliest to do so again, and has some for each; one in a table
/// saves a handshake at the next look-up.
mod weight {
    pub(super) const TOOK_BLOCKS: i32 = 10;
    pub(super) const NEAR: i32 = 20;
    pub(super) const SWARM: i32 = 10;
    pub(super) const WAN_TABLE: i32 = 5;
    pub(super) const LAN_TABLE: i32 = 5;
}

impl Engine {
    /// Closes what is too much.
    pub(super) fn trim(&mut self, now: Now) {
        if self.peers.len() > self.config.connections_high {
            let mut free: Vec<(i32, Instant, PeerId)> = Vec::new();
            for (id, peer) in self.peers.iter() {
                if !self.is_marked(id, now.instant) {
                    free.push((self.weight(id, now), peer.used, *id));
                }
            }
            free.sort_unstable();
            // Those that someone needs leave as many of the others as if they were none.
            let surplus = free.len().saturating_sub(self.config.connections_low);
            for (_, _, peer) in free.into_iter().take(surplus) {
                let reason = DisconnectReason::Surplus;
                self.outputs.push_back(Output::Disconnect { peer, reason });
            }
        }
        if self.peers.len() > self.config.connections_low {
            self.timers.set(Timer::Trim, now.instant + self.config.trim_interval);
        }
    }

    /// True if someone needs the connection now.
    fn is_marked(&self, peer: &PeerId, now: Instant) -> bool {
        let Some(entry) = self.peers.get(peer) else { return false };
        let young = |since: Instant, grace: Duration| now.since(since) < grace;
        let grace = self.config.connection_grace;
        if entry.by_user || young(entry.since, grace) || young(entry.used, grace) {
            return true;
        }
        self.is_served(peer) || self.serves_us(peer)
    }

    /// True if something of theirs would.
    fn is_served(&self, peer: &PeerId) -> bool {
        self.reachability.is_busy_with(peer) || self.exchange.peer_stats(peer).serving > 0
    }

    /// True if something of ours would come to nothing without it.
    fn serves_us(&self, peer: &PeerId) -> bool {
        if self.jobs.values().any(|job| job.search.uses(peer)) {
            return true;
        }
        let asked = |flight: &Flight| matches!(flight, Flight::Asked { peer: asked } if asked == peer);
        if self.routing.sides.iter().any(|side| side.flights.values().any(asked)) {
            return true;
        }
        self.reachability.asks(peer) || self.exchange.peer_stats(peer).live_wants > 0
    }

    /// Whom to hang up on when the shell has no room for a connection of our
    /// own making: of those who came to us the one of least use, of others one
    /// that nobody needs, though it be young: the refresh of a large table makes
    /// hundreds within the grace. `None` if all are the user's, or of use now.
    #[must_use]
    pub fn least_useful(&self, now: Now) -> Option<PeerId> {
        let rank = |(id, peer): (&PeerId, &Peer)| {
            let marked = self.is_marked(id, now.instant);
            let ours = peer.link().outbound;
            let needed = peer.by_user || self.serves_us(id) || ours && self.is_served(id);
            (!needed).then(|| (ours, marked, self.weight(id, now), peer.used, *id))
        };
        self.peers.iter().filter_map(rank).min().map(|(.., id)| id)
    }

    /// The sum of its tags, and its score.
    fn weight(&self, peer: &PeerId, now: Now) -> i32 {
        let stats = self.exchange.peer_stats(peer);
        let swarm = self.peers.get(peer).and_then(|peer| peer.protocols).is_some_and(|known| known.swarm);
        let in_table = |network| self.routing.dht(network).is_some_and(|dht| dht.is_in_table(peer));
        let tags: i32 = [
            (stats.sent_bytes > 0, weight::TOOK_BLOCKS),
            (self.near.contains_key(peer), weight::NEAR),
            (swarm, weight::SWARM),
            (in_table(Network::Wan), weight::WAN_TABLE),
            (in_table(Network::Lan), weight::LAN_TABLE),
        ]
        .iter()
        .map(|(tagged, weight)| if *tagged { *weight } else { 0 })
        .sum();
        tags + self.score(peer, now)
    }
}
