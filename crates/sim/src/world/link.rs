//! Connections and how long things take on them.

use std::time::Duration;

use peerage_base::Instant;
use peerage_engine::{DialFailure, DialId};
use peerage_identity::{Multiaddr, PeerId};

use super::{Event, World};
use crate::host::{HostId, Link, number};
use crate::place::{between_micros, loss_ppm};

/// Messages one after the other, each of which waits for the one before, until
/// both can send requests: TCP's three, and Noise's three with the
/// negotiations of protocols that travel with them. Three round trips.
const HANDSHAKE_TRIPS: u32 = 6;

/// How long a dial that nobody answers is waited for: what the shell waits for
/// a public address (`peerage_transport::tcp::DIAL_TIMEOUT`).
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Of a hundred addresses where no peer listens any more, so many refuse at
/// once: the machine is there, and the peer is not. The others say nothing,
/// being switched off, behind a firewall, or somebody else's by now. A
/// judgement: crawlers of the public DHT see mostly timeouts and some refusals.
const REFUSING_PERCENT: u16 = 20;

/// The shortest time after which TCP sends again (Linux; RFC 6298 has 1 s).
const RETRANSMIT_MICROS: u64 = 200_000;

/// Connections of a host in all, as the shell has it (`connections` of
/// `peerage_peer::Limits`); it takes no more.
pub(super) const CONNECTIONS: usize = 512;

/// What is no longer than so many bytes does not wait in the sender's line for what
/// is: connections share it, and wants have streams of their own. A judgement.
const SMALL: u64 = 16 << 10;

/// The other end is gone without a word: keepalives notice after this and up
/// to half of it more.
const KEEPALIVE: Duration = Duration::from_secs(30);

impl World {
    /// Microseconds from one host to another, without its line being busy.
    pub(super) fn trip_micros(&mut self, from: HostId, to: HostId) -> u64 {
        let (a, b) = (self.host(from), self.host(to));
        let base = between_micros(a.region, b.region) + a.line_micros + b.line_micros;
        let loss = loss_ppm(a.region, b.region) * self.setup.loss_times;
        // Queues on the way: up to a tenth, seldom more.
        let mut micros = base + self.rng.below(base / 10 + 1);
        let mut again = RETRANSMIT_MICROS + 2 * base;
        while loss > 0 && self.rng.below(1_000_000) < loss {
            self.counts.retransmitted += 1;
            micros += again;
            again *= 2;
        }
        micros
    }

    fn trip(&mut self, from: HostId, to: HostId) -> Duration {
        Duration::from_micros(self.trip_micros(from, to))
    }

    /// When so many bytes are there, if they are sent now over a connection.
    /// None if there is no such connection, or nothing passes.
    pub(super) fn arrival(&mut self, from: HostId, to: HostId, bytes: u64) -> Option<(Instant, u32)> {
        self.host(from).link(to)?;
        let passes = self.passes(from, to);
        let now = self.now;
        let trip = self.trip(from, to);
        let sender = self.host_mut(from);
        // 8 bits are 8,000,000 nanoseconds at a kilobit a second.
        let takes = Duration::from_nanos(bytes * 8_000_000 / sender.up_kbps.max(1));
        sender.up_free = sender.up_free.max(now) + takes;
        let sent = if bytes <= SMALL { now + takes } else { sender.up_free };
        let receiver = self.host_mut(to);
        let through = Duration::from_nanos(bytes * 8_000_000 / receiver.down_kbps.max(1));
        // What waits in the sender's line does not hold up what comes from elsewhere
        // meanwhile: it takes its share of the receiver's line, from now on.
        receiver.down_free = receiver.down_free.max(now) + through;
        let mut arrives = receiver.down_free.max(sent + trip + through);
        self.counts.bytes += bytes;
        let link = self.host_mut(from).link_mut(to)?;
        arrives = arrives.max(link.arrived);
        link.arrived = arrives;
        passes.then_some((arrives, link.generation))
    }

    pub(super) fn dial(&mut self, host: HostId, dial: DialId, peer: &PeerId, addrs: &[Multiaddr]) {
        self.counts.dials += 1;
        self.host_mut(host).dialing.insert(dial);
        let session = self.host(host).session;
        let named = number(peer).filter(|&n| (n as usize) < self.hosts.len() && self.host(n).peer == *peer);
        let reached = named.filter(|&to| {
            let target = self.host(to);
            to != host
                && target.alive
                && target.nat.is_open()
                && addrs.iter().any(|addr| addr.without_peer() == target.addr)
                && self.passes(host, to)
                && self.passes(to, host)
        });
        if let Some(to) = reached {
            let trips = (0..HANDSHAKE_TRIPS).map(|_| self.trip_micros(host, to)).sum();
            let to_session = self.host(to).session;
            let at = self.now + Duration::from_micros(trips);
            self.queue.push(at, Event::Dialed { host, session, dial: Some(dial), to, to_session });
            return;
        }
        self.counts.dials_failed += 1;
        let refuses =
            peer.as_bytes().last_chunk().is_some_and(|end| u16::from_be_bytes(*end) % 100 < REFUSING_PERCENT);
        let after = match named.filter(|_| refuses) {
            Some(to) => 2 * self.trip(host, to),
            None => DIAL_TIMEOUT,
        };
        self.queue.push(self.now + after, Event::DialFailed { host, session, dial });
    }

    /// The two are connected, if both are still there.
    pub(super) fn connect(&mut self, host: HostId, dial: Option<DialId>, to: HostId, to_session: u32) {
        let target = self.host(to);
        if !target.alive || target.session != to_session || !self.passes(host, to) || !self.passes(to, host) {
            if let Some(dial) = dial {
                self.act(host, |node, now| node.dial_failed(dial, now));
            }
            return;
        }
        let generation = |at: HostId, other: HostId| self.host(at).link(other).map(|link| link.generation);
        if generation(host, to).is_some_and(|one| generation(to, host) == Some(one)) {
            let (peer, addr) = (self.host(to).peer, self.host(to).addr.clone());
            self.act(host, |node, now| node.connected(peer, addr, dial, now));
            return;
        }
        let full = |world: &Self, host: HostId| world.host(host).links.len() >= CONNECTIONS;
        // As the shell does: whoever dialled hangs up on another for it.
        if full(self, host) {
            let least = self.act(host, |node, now| node.least_useful(now)).flatten();
            least.and_then(|peer| number(&peer)).into_iter().for_each(|other| self.disconnect(host, other));
        }
        if full(self, host) || full(self, to) {
            self.counts.connections_refused += 1;
            let failure = if full(self, host) { DialFailure::NoRoom } else { DialFailure::Dropped };
            if let Some(dial) = dial {
                self.act(host, |node, now| node.dial_refused(dial, failure, now));
            }
            return;
        }
        self.counts.connections += 1;
        self.generation += 1;
        let generation = self.generation;
        for (at, other) in [(host, to), (to, host)] {
            // One of them may still have the connection that the other had in an
            // earlier session; what comes from now on comes by the new one.
            let link = Link { other, generation, arrived: self.now };
            self.host_mut(at).set_link(link);
        }
        for (at, other) in [(host, to), (to, host)] {
            let (peer, addr) = (self.host(other).peer, self.host(other).addr.clone());
            let dial = dial.filter(|_| at == host);
            self.act(at, |node, now| node.connected(peer, addr, dial, now));
            let after = self.trip(other, at);
            self.queue.push(self.now + after, Event::Identified { host: at, other, generation });
        }
    }

    /// Whether something that has arrived came over a connection that the
    /// receiver has. If it is there and has not, since it was started anew, it
    /// says so (TCP's RST), and the sender learns that the connection is gone.
    pub(super) fn is_linked(&mut self, host: HostId, from: HostId, generation: u32) -> bool {
        if self.host(host).link(from).is_some_and(|link| link.generation == generation) {
            return true;
        }
        if self.host(host).alive && self.passes(host, from) {
            let after = self.trip(host, from);
            self.queue.push(self.now + after, Event::Closed { host: from, other: host, generation });
        }
        false
    }

    /// A host closes a connection; the other learns of it.
    pub(super) fn disconnect(&mut self, host: HostId, other: HostId) {
        let Some(link) = self.lose(host, other) else { return };
        let after = if self.passes(host, other) { self.trip(host, other) } else { self.keepalive() };
        let generation = link.generation;
        self.queue.push(self.now + after, Event::Closed { host: other, other: host, generation });
    }

    /// A host has lost a connection, and with it what it waits for there.
    pub(super) fn lose(&mut self, host: HostId, other: HostId) -> Option<Link> {
        let link = self.host_mut(host).remove_link(other)?;
        self.host_mut(host).open.retain(|_, at| *at != other);
        let peer = self.host(other).peer;
        self.act(host, |node, now| node.disconnected(peer, now));
        Some(link)
    }

    /// A host is gone. The others are told, or notice.
    pub(super) fn drop_links(&mut self, host: HostId, silently: bool) {
        for link in std::mem::take(&mut self.host_mut(host).links) {
            let after = if silently || !self.passes(host, link.other) {
                self.keepalive()
            } else {
                self.trip(host, link.other)
            };
            let generation = link.generation;
            self.queue.push(self.now + after, Event::Closed { host: link.other, other: host, generation });
        }
    }

    /// Connections through which nothing passes break, later.
    pub(super) fn break_blocked(&mut self) {
        let mut broken = Vec::new();
        for (host, at) in (0..).zip(&self.hosts) {
            for link in &at.links {
                if !self.passes(host, link.other) || !self.passes(link.other, host) {
                    broken.push((host, link.other, link.generation));
                }
            }
        }
        for (host, other, generation) in broken {
            let after = self.keepalive();
            self.queue.push(self.now + after, Event::Closed { host, other, generation });
        }
    }

    fn keepalive(&mut self) -> Duration {
        let half = u64::try_from(KEEPALIVE.as_millis()).unwrap_or(0) / 2;
        KEEPALIVE + Duration::from_millis(self.rng.below(half))
    }
}
