//! What earlier attempts to connect have taught: who could not be reached, and is
//! left alone for a while, and where who could be reached was.

use std::collections::VecDeque;

use peerage_base::{Instant, PackedMap};
use peerage_identity::{Multiaddr, PeerId};

use crate::addresses::ranked;
use crate::limits::Config;

/// Why a peer is not dialled for a while.
#[derive(Debug, Clone)]
struct Pause {
    failures: u32,
    until: Instant,
    /// Where it was not: anybody can say where a peer is.
    addrs: Vec<Multiaddr>,
}

/// Of peers that were dialled, no more than a bounded number.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Peers that could not be reached.
    pauses: PackedMap<PeerId, Pause>,
    /// Where peers were reached last, and in which order that was learned.
    reached: PackedMap<PeerId, Multiaddr>,
    reached_order: VecDeque<PeerId>,
}

impl Past {
    /// Where the peer was reached last.
    pub(super) fn reached(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.reached.get(peer)
    }

    /// A connection to the peer stands.
    pub(super) fn note_connected(&mut self, peer: &PeerId) {
        self.pauses.remove(peer);
    }

    /// Only where we dialled: others come from ports on which nobody listens.
    pub(super) fn note_reached(&mut self, peer: PeerId, addr: &Multiaddr, config: &Config) {
        if self.reached.insert(peer, addr.without_peer()).is_none() {
            self.reached_order.push_back(peer);
        }
        if self.reached.len() > config.reached
            && let Some(oldest) = self.reached_order.pop_front()
        {
            self.reached.remove(&oldest);
        }
    }

    /// The peer could not be reached at these addresses.
    pub(super) fn note_failed(&mut self, peer: PeerId, addrs: &[Multiaddr], now: Instant, config: &Config) {
        let failures = self.pauses.get(&peer).map_or(0, |pause| pause.failures);
        let length = config.pause_min.saturating_mul(1 << failures.min(16)).min(config.pause_max);
        let addrs = addrs.to_vec();
        let pause = Pause { failures: failures.saturating_add(1), until: now + length, addrs };
        self.pauses.insert(peer, pause);
        if self.pauses.len() > config.pauses {
            let soonest = self.pauses.iter().min_by_key(|(_, pause)| pause.until).map(|(peer, _)| *peer);
            soonest.and_then(|peer| self.pauses.remove(&peer));
        }
    }

    /// True if the peer could not be reached at these addresses a short while ago.
    pub(super) fn is_paused(&self, peer: &PeerId, addrs: &[Multiaddr], now: Instant) -> bool {
        let tried =
            |pause: &Pause| ranked(Some(*peer), addrs, None).iter().all(|addr| pause.addrs.contains(addr));
        self.pauses.get(peer).is_some_and(|pause| now < pause.until && tried(pause))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::world::{addr, peer_id};

    #[test]
    fn who_fails_is_left_alone_for_longer_each_time() {
        let (mut past, config) = (Past::default(), Config::default());
        let mut now = Instant::START;
        for length in [config.pause_min, config.pause_min * 2] {
            past.note_failed(peer_id(1), &[addr(1)], now, &config);
            assert!(past.is_paused(&peer_id(1), &[addr(1)], now + (length - Duration::from_nanos(1))));
            let elsewhere = [addr(1), addr(2)];
            assert!(!past.is_paused(&peer_id(1), &elsewhere, now), "it may be elsewhere");
            now += length;
            assert!(!past.is_paused(&peer_id(1), &[addr(1)], now));
        }
        past.note_connected(&peer_id(1));
        past.note_failed(peer_id(1), &[addr(1)], now, &config);
        assert!(!past.is_paused(&peer_id(1), &[addr(1)], now + config.pause_min), "that is forgotten");
        for n in 0..config.pauses + 10 {
            past.note_failed(peer_id(n), &[addr(1)], now, &config);
        }
        assert_eq!(past.pauses.len(), config.pauses);
    }

    #[test]
    fn where_the_last_ones_were_reached_is_known() {
        let (mut past, config) = (Past::default(), Config { reached: 2, ..Config::default() });
        for n in [1, 2, 1, 3] {
            past.note_reached(peer_id(n), &addr(n), &config);
        }
        assert_eq!(past.reached(&peer_id(1)), None);
        assert_eq!(past.reached(&peer_id(3)), Some(&addr(3).without_peer()));
    }
}
