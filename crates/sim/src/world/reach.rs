//! Whether a host can be dialled, and how it finds out: what others see of it, and
//! peers that dial it when they are asked (AutoNAT), by the engine's own words.

use std::net::IpAddr;
use std::time::Duration;

use peerage_engine::{DialDecision, DialRefusal, DialRequest, Probe, ProbeAnswer, ProbeId, Reach};
use peerage_identity::Multiaddr;

use super::{Event, World};
use crate::host::{HostId, Nat, number};

/// How long the shell dials for another (`peerage_peer`, `net::autonat`).
const DIAL_FOR_TIMEOUT: Duration = Duration::from_secs(5);

impl World {
    /// What a host says of its addresses by identify.
    pub(super) fn told_addrs(&self, host: HostId) -> Vec<Multiaddr> {
        let at = self.host(host);
        match at.node.as_ref().map(|node| node.engine.reach()) {
            Some(Reach::Public(addrs)) if self.setup.auto => addrs.clone(),
            _ => at.advertised(),
        }
    }

    /// Where another sees a host that connected to it. A port of its own for each
    /// of those whom it connects to has only who is behind a symmetric NAT.
    pub(super) fn seen_at(&self, host: HostId, by: HostId) -> Option<Multiaddr> {
        let at = self.host(host);
        let mut socket = at.addr.to_tcp_addr()?;
        let own = if at.nat == Nat::Symmetric { by % 20_000 } else { host % 20_000 };
        socket.set_port(30_000 + u16::try_from(own).unwrap_or(0));
        Some(Multiaddr::from_tcp_addr(socket))
    }

    /// Others are told by identify what a host is now.
    pub(super) fn push_identify(&mut self, host: HostId) {
        let links: Vec<_> = self.host(host).links.iter().map(|link| (link.other, link.generation)).collect();
        for (other, generation) in links {
            let after = Duration::from_micros(self.trip_micros(host, other));
            self.queue.push(self.now + after, Event::Identified { host: other, other: host, generation });
        }
    }

    /// It serves the public DHT from now on, or does not.
    pub(super) fn serves(&mut self, host: HostId, wan: bool) {
        if !self.setup.auto || self.host(host).serves == wan {
            return;
        }
        self.host_mut(host).serves = wan;
        if wan {
            let key = self.host(host).key;
            self.servers.insert(key, host);
        }
        self.push_identify(host);
    }

    /// A host asks another to dial it.
    pub(super) fn probe(&mut self, host: HostId, probe: Probe) {
        let to = number(&probe.peer).and_then(|to| Some((to, self.arrival(host, to, 200)?)));
        match to {
            Some((to, (at, generation))) => {
                self.queue.push(at, Event::Probe { from: host, to, generation, probe: Box::new(probe) });
            }
            None => drop(self.act(host, |node, now| {
                node.engine.handle_probe(probe.id, &ProbeAnswer::Failed, now);
            })),
        }
    }

    /// A host is asked to dial another.
    pub(super) fn dial_for(&mut self, from: HostId, to: HostId, probe: &Probe) {
        let Some(via) = self.seen_at(from, to) else { return };
        let addrs = (0..).zip(probe.addrs.iter().cloned()).collect();
        let request = DialRequest { peer: self.host(from).peer, via, version: probe.version, addrs };
        let decided = self.act(to, |node, now| node.engine.handle_dial_request(&request, now));
        let back = Duration::from_micros(self.trip_micros(to, from));
        let (after, answer) = match decided {
            None => return,
            Some(DialDecision::Refuse(DialRefusal::Busy)) => (back, ProbeAnswer::Busy),
            Some(DialDecision::Refuse(DialRefusal::Unwilling)) => (back, ProbeAnswer::Refused),
            Some(DialDecision::Dial { addr, data, wait, .. }) => {
                let sent = Duration::from_micros(u64::from(data) * 8_000 / self.host(from).up_kbps.max(1));
                match self.answers_at(&addr, from, to) {
                    true => (back * 4 + sent + wait, ProbeAnswer::Reached(addr)),
                    false => (DIAL_FOR_TIMEOUT + sent + wait, ProbeAnswer::Unreached(Some(addr))),
                }
            }
            Some(DialDecision::DialAny { addrs }) => {
                match addrs.into_iter().find(|addr| self.answers_at(addr, from, to)) {
                    Some(addr) => (back * 4, ProbeAnswer::Reached(addr)),
                    None => (DIAL_FOR_TIMEOUT, ProbeAnswer::Unreached(None)),
                }
            }
        };
        let session = self.host(from).session;
        let probed = Event::Probed { host: from, session, by: to, id: probe.id, answer };
        self.queue.push(self.now + after, probed);
    }

    /// A host learns what came of it.
    pub(super) fn probed(
        &mut self,
        host: HostId,
        session: u32,
        by: HostId,
        id: ProbeId,
        answer: &ProbeAnswer,
    ) {
        let peer = self.host(host).peer;
        self.act(by, |node, now| node.engine.handle_dialled_for(&peer, now));
        if self.host(host).session == session {
            self.act(host, |node, now| node.engine.handle_probe(id, answer, now));
        }
    }

    /// True if `from` can dial `host` there.
    fn answers_at(&self, addr: &Multiaddr, host: HostId, from: HostId) -> bool {
        let at = self.host(host);
        let open = at.alive && at.nat.is_open() && *addr == at.addr;
        open && self.passes(from, host) && self.passes(host, from)
    }
}

/// Where a host behind a router listens, as it sees that itself.
pub(super) fn behind_a_router(addr: &Multiaddr) -> Option<Multiaddr> {
    let mut socket = addr.to_tcp_addr()?;
    socket.set_ip(IpAddr::from([192, 168, 0, 17]));
    Some(Multiaddr::from_tcp_addr(socket))
}
