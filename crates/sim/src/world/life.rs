//! Sessions: hosts that leave, come back, and crash.

use std::time::Duration;

use peerage_base::{Instant, Now};
use peerage_identity::Multiaddr;

use super::reach::behind_a_router;
use super::{Event, World};
use crate::draw;
use crate::host::{HostId, number};
use crate::node::Node;

/// Peers of the table that are remembered across restarts.
const REMEMBERED: usize = 8;

/// Hosts that are always there and that everyone knows.
pub(crate) const BOOTSTRAP: HostId = 8;

impl World {
    /// Starts the node of a host, at a moment that may lie in the past.
    pub(crate) fn start(&mut self, host: HostId, at: Instant) {
        let seed = self.rng.next_u64();
        let now = Now::new(at, self.clock(host).unix);
        let target = &self.hosts[host as usize];
        let finds_out = self.setup.auto && host >= BOOTSTRAP;
        let mut addrs = target.advertised();
        let config = &self.configs[if finds_out { 2 } else { usize::from(addrs.is_empty()) }];
        if finds_out && addrs.is_empty() {
            addrs.extend(behind_a_router(&target.addr));
        }
        let node = Node::new(config, target.peer, addrs, seed, now);
        let target = self.host_mut(host);
        let was = std::mem::replace(&mut target.alive, true);
        if target.behaviour.has_node() {
            target.node = Some(Box::new(node));
        }
        self.alive += u64::from(!was);
        self.largest.alive = self.largest.alive.max(self.alive);
    }

    /// From now on nobody leaves, and who is away stays away.
    pub(crate) const fn calm(&mut self) {
        self.calm = true;
    }

    /// The session ends; when the next begins is drawn.
    pub(super) fn leave(&mut self, host: HostId) {
        if self.calm {
            return;
        }
        let silently = self.rng.below(100) < self.setup.silent_percent;
        self.stop(host, silently);
        let away = Duration::from_secs(draw::away_seconds(&mut self.rng) / self.setup.haste.max(1));
        let session = self.host(host).session;
        self.queue.push(self.now + away, Event::Return { host, session });
    }

    /// Ends a host's session.
    pub(crate) fn stop(&mut self, host: HostId, silently: bool) {
        self.counts.left += 1;
        self.abandon(host);
        let table = self.host(host).node.as_ref().map(|node| node.table()).unwrap_or_default();
        let remembered = table.iter().filter_map(|info| number(&info.peer)).take(REMEMBERED).collect();
        let at = self.host_mut(host);
        let was = std::mem::replace(&mut at.alive, false);
        at.node = None;
        at.session += 1;
        at.wakes.clear();
        // What was on its way is lost, and keeps nothing waiting.
        (at.up_free, at.down_free) = (Instant::START, Instant::START);
        at.open.clear();
        at.dialing.clear();
        at.remembered = remembered;
        if let Some(shelf) = &mut at.shelf {
            shelf.crash(false);
        }
        self.alive -= u64::from(was);
        self.drop_links(host, silently);
    }

    /// A host comes back as it was when it left.
    pub(super) fn come_back(&mut self, host: HostId) {
        if self.calm {
            return;
        }
        self.restart(host, true);
        let here = Duration::from_secs(draw::session_seconds(&mut self.rng) / self.setup.haste.max(1));
        let session = self.host(host).session;
        self.queue.push(self.now + here, Event::Leave { host, session });
    }

    /// Starts a host that was stopped; without its disk it has no
    /// blocks and knows only the bootstrap peers. What others asked it to keep was
    /// in memory, and is lost either way.
    pub(crate) fn restart(&mut self, host: HostId, disk: bool) {
        self.counts.joined += 1;
        if let Some(shelf) = self.host_mut(host).shelf.as_mut().filter(|_| !disk) {
            shelf.crash(true);
        }
        self.start(host, self.now);
        let remembered = std::mem::take(&mut self.host_mut(host).remembered);
        let known = remembered.into_iter().filter(|_| disk);
        let named = |other: HostId| self.host(other).addr.with_peer(self.host(other).peer);
        let known: Vec<Multiaddr> = known.chain(0..BOOTSTRAP).map(named).collect();
        self.act(host, |node, now| node.bootstrap(&known, now));
    }
}
