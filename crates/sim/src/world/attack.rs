//! What hostile hosts do of their own accord.

use bytes::Bytes;
use peerage_base::Instant;
use peerage_content::Cid;
use peerage_dht::{Key, Network, Request, RequestId};
use peerage_exchange::{Incoming, WantEntry, WantKind};

use super::{Event, World};
use crate::host::{self, HostId, Nat};
use crate::hostile::Behaviour;

/// Wants in a message of a flood: as many as are held of one peer.
const WANTS: usize = 1_024;

impl World {
    /// Adds liars whose keys are nearer to `target` than all honest servers',
    /// with addresses in so many prefixes of their own, and has them make
    /// themselves known to the `victims` servers nearest to it. Returns them.
    ///
    /// Ids are drawn until one fits, as an attacker does with key pairs.
    pub(crate) fn eclipse(
        &mut self,
        target: &Key,
        identities: u32,
        groups: u64,
        victims: usize,
    ) -> Vec<HostId> {
        let honest = |host: HostId| self.host(host).behaviour == Behaviour::Honest;
        let near = self.servers.nearest(target, victims, honest);
        let nearest = near.first().map_or(0, |&host| target.common_prefix(&self.host(host).key));
        self.attack += 1;
        // Each attack has prefixes that nobody else has.
        let first = 5_000 + self.attack * 256 % 4_000;
        let mut sybils = Vec::new();
        for n in 0..identities {
            let host = self.add_host(Behaviour::Liar, Nat::Open);
            let peer = loop {
                let peer = host::peer_id(host, &mut self.rng);
                if target.common_prefix(&Key::of_peer(&peer)) > nearest {
                    break peer;
                }
            };
            let prefix = first + u64::from(n) % groups.max(1);
            let (addr, region) = (self.dealer.in_prefix(prefix), self.dealer.region(prefix));
            // They are rented, where there is room.
            let line = host::line(true, region, &mut self.rng);
            let at = self.host_mut(host);
            (at.peer, at.key, at.addr, at.region) = (peer, Key::of_peer(&peer), addr, region);
            (at.line_micros, at.up_kbps, at.down_kbps) = line;
            let key = at.key;
            self.start(host, self.now);
            self.hostile.insert(key, host);
            self.servers.insert(key, host);
            sybils.push(host);
        }
        for &sybil in &sybils {
            for &victim in &near {
                self.approach(sybil, victim);
            }
        }
        sybils
    }

    /// A hostile host connects to another.
    pub(crate) fn approach(&mut self, host: HostId, to: HostId) {
        let (session, to_session) = (self.host(host).session, self.host(to).session);
        let trips: u64 = (0..6).map(|_| self.trip_micros(host, to)).sum();
        let at = self.now + std::time::Duration::from_micros(trips);
        self.queue.push(at, Event::Dialed { host, session, dial: None, to, to_session });
    }

    /// Over its connections a host sends requests without end, so many to each,
    /// a millisecond apart: every other a record of a block that nobody has.
    pub(crate) fn flood(&mut self, host: HostId, count: u32) {
        let links: Vec<HostId> = self.host(host).links.iter().map(|link| link.other).collect();
        let info = self.host(host).info();
        for to in links {
            for n in 0..count {
                let mut key = vec![0; 34];
                key[..2].copy_from_slice(&[0x12, 0x20]);
                self.rng.fill(&mut key[2..]);
                let key = Bytes::from(key);
                let request = match n % 2 {
                    0 => Request::AddProvider { key, providers: vec![info.clone()] },
                    _ => Request::GetProviders { key },
                };
                let Some(link) = self.host(host).link(to) else { break };
                let generation = link.generation;
                let nanos = self.now.as_nanos() + u64::from(n) * 1_000_000 + 50_000_000;
                let id = (Network::Wan, RequestId(0));
                let event = Event::Request { from: host, to, generation, id, request };
                self.queue.push(Instant::from_nanos(nanos), event);
            }
            self.flood_wants(host, to);
        }
    }

    /// Twice as many wants as a peer may have at another, of blocks that nobody has.
    fn flood_wants(&mut self, host: HostId, to: HostId) {
        let Some(generation) = self.host(host).link(to).map(|link| link.generation) else { return };
        let want = |cid| WantEntry { cid, priority: 1, kind: WantKind::Block, send_dont_have: false };
        for half in 1..=2u32 {
            let wants = (0..WANTS).map(|_| want(Cid::new_v1(0x55, self.random_hash()))).collect();
            let message = Incoming { wants, ..Incoming::default() };
            let at = self.now + std::time::Duration::from_millis(50) * half;
            self.queue.push(at, Event::Message { from: host, to, generation, message });
        }
    }
}
