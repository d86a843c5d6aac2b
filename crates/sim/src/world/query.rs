//! What scenarios ask nodes to find, and what came of it.

use std::time::Duration;

use peerage_base::Instant;
use peerage_content::{Cid, Multihash};
use peerage_dht::{Key, LookupError, Network, PeerInfo, Report, Request};
use peerage_engine::{FindEvent, FindId, Target};
use peerage_identity::PeerId;

use super::{Event, World};
use crate::host::{HostId, number};

/// The codec of raw bytes; which it is does not matter to the DHT.
const RAW: u64 = 0x55;

/// How long after a provide has ended it is counted who keeps its record: what
/// was written last has arrived by then, also if it was lost on the way twice.
const SETTLED: Duration = Duration::from_secs(2);

/// Servers that should keep a record: `k`.
pub(crate) const KEEPERS: usize = 20;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Providers,
    Provide,
    Peer(PeerId),
}

/// What is remembered of a report: thousands are, and a report has the
/// addresses of twenty peers.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) took: Duration,
    pub(crate) hops: u32,
    pub(crate) asked: u32,
    pub(crate) failed: u32,
    pub(crate) stored: u32,
    /// The closest that answered, as far as they exist.
    pub(crate) closest: Box<[HostId]>,
}

impl Summary {
    fn of(report: &Report) -> Self {
        Self {
            took: report.took,
            hops: report.hops,
            asked: report.progress.asked,
            failed: report.progress.failed,
            stored: report.stored,
            closest: report.closest.iter().filter_map(|info| number(&info.peer)).collect(),
        }
    }
}

/// How a query ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It ran to its end.
    Finished(Summary),
    /// The DHT did not begin it.
    Refused(LookupError),
    /// Who asked was gone before the end.
    AskerLeft,
    /// It was still under way when the results were counted.
    Open,
}

/// A query and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) host: HostId,
    pub(crate) kind: Kind,
    pub(crate) key: Vec<u8>,
    pub(crate) started: Instant,
    /// Who is to be found, and the session in which it was.
    pub(crate) sought: Option<(HostId, u32)>,
    /// When that one was named, which was there then, at an address that leads to it.
    pub(crate) named: Option<Duration>,
    /// It left before it was named, while the query ran.
    pub(crate) sought_left: bool,
    /// How often others were named.
    pub(crate) strangers: u64,
    /// Of a provide: how many of the [`KEEPERS`] closest honest servers that are
    /// there keep the record, a little after the end.
    pub(crate) kept: u64,
    pub(crate) outcome: Outcome,
}

impl Done {
    /// What the DHT said of it at its end.
    pub(crate) const fn report(&self) -> Option<&Summary> {
        match &self.outcome {
            Outcome::Finished(report) => Some(report),
            Outcome::Refused(_) | Outcome::AskerLeft | Outcome::Open => None,
        }
    }
}

impl World {
    /// Has a node begin a query for a multihash, or a peer; `sought` is who
    /// should be found. False if the node is not there.
    pub(crate) fn query(&mut self, host: HostId, kind: Kind, key: &[u8], sought: Option<HostId>) -> bool {
        let cid = Multihash::from_bytes(key).map(|hash| Cid::new_v1(RAW, hash));
        let now = self.clock(host);
        let sought = sought.map(|sought| (sought, self.host(sought).session));
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
            sought,
            named: None,
            sought_left: false,
            strangers: 0,
            kept: 0,
            outcome: Outcome::Open,
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
        match event {
            FindEvent::Progress(..) | FindEvent::Routers(_) => {}
            FindEvent::Found(_, peers) => {
                let Some(mut done) = self.asked.remove(&(host, find)) else { return };
                for info in &peers {
                    match done.sought {
                        Some((sought, _)) if self.leads_to(info, sought) => {
                            done.named.get_or_insert(self.now.since(done.started));
                        }
                        _ => done.strangers += 1,
                    }
                }
                self.asked.insert((host, find), done);
            }
            FindEvent::Finished(mut reports) => {
                let Some(mut done) = self.asked.remove(&(host, find)) else { return };
                self.trace.event(20, self.now.as_nanos(), [host.into(), find.0]);
                done.outcome = match reports.remove(&Network::Wan) {
                    Some(Ok(report)) => Outcome::Finished(Summary::of(&report)),
                    Some(Err(error)) => Outcome::Refused(error),
                    None => Outcome::Refused(LookupError::NoAddrs),
                };
                self.note_whether_left(&mut done);
                let stores = done.kind == Kind::Provide && done.report().is_some();
                if !stores {
                    return self.done.push(done);
                }
                let number = self.trace.events();
                self.settling.insert((host, number), done);
                self.queue.push(self.now + SETTLED, Event::Settled { host, number });
            }
        }
    }

    /// True if a peer is named by this that is there, and where it is.
    fn leads_to(&self, info: &PeerInfo, sought: HostId) -> bool {
        let at = self.host(sought);
        at.peer == info.peer && at.alive && info.addrs.iter().any(|addr| addr.without_peer() == at.addr)
    }

    fn note_whether_left(&self, done: &mut Done) {
        let gone = |(sought, session): (HostId, u32)| self.host(sought).session != session;
        done.sought_left = done.named.is_none() && done.sought.is_some_and(gone);
    }

    /// A provide has ended a little while ago: who keeps its record?
    pub(super) fn settled(&mut self, host: HostId, number: u64) {
        let Some(mut done) = self.settling.remove(&(host, number)) else { return };
        done.kept = self.keepers(&done.key, done.host);
        self.done.push(done);
    }

    /// How many of the [`KEEPERS`] closest honest servers that are there keep a record.
    pub(crate) fn keepers(&self, key: &[u8], provider: HostId) -> u64 {
        let there = |host: HostId| {
            let at = self.host(host);
            host != provider && at.node.is_some() && at.behaviour.has_node()
        };
        let nearest = self.servers.nearest(&Key::of(key), KEEPERS, there);
        let peer = self.host(provider).peer;
        let keeps = |host: &&HostId| {
            let now = self.clock(**host);
            self.host(**host).node.as_ref().is_some_and(|node| node.keeps(key, &peer, now))
        };
        nearest.iter().filter(keeps).count() as u64
    }

    /// A host leaves with what it asks for.
    pub(super) fn abandon(&mut self, host: HostId) {
        let range = (host, FindId(0))..=(host, FindId(u64::MAX));
        let gone: Vec<Done> = self.asked.extract_if(range, |_, _| true).map(|(_, done)| done).collect();
        self.done.extend(gone.into_iter().map(|done| Done { outcome: Outcome::AskerLeft, ..done }));
    }

    /// Runs until no query is open, at most so long.
    pub(crate) fn finish_queries(&mut self, longest: Duration) {
        let end = self.now + longest;
        while !(self.asked.is_empty() && self.settling.is_empty())
            && self.queue.next_at().is_some_and(|at| at <= end)
        {
            self.step();
        }
    }

    /// All queries since the last time; those that are still open count as such.
    pub(crate) fn take_done(&mut self) -> Vec<Done> {
        let mut done = std::mem::take(&mut self.done);
        for (_, mut open) in std::mem::take(&mut self.asked) {
            self.note_whether_left(&mut open);
            done.push(open);
        }
        // Ended, and not counted yet who keeps what: now is the time.
        for ((host, number), _) in self.settling.clone() {
            self.settled(host, number);
        }
        done.append(&mut self.done);
        done
    }
}
