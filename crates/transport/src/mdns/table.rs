//! Who is on the network: peers that answered, their addresses, and until when
//! that holds. Bounded in all and by host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use peerage_base::Instant;
use peerage_identity::{Multiaddr, PeerId};

use super::limits::{Config, MAX_ADDRS, MAX_ADDRS_A_HOST};
use super::message::{Announcement, Instance};

/// What became known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// This peer is there, or its addresses are others now. They hold until
    /// something else is said.
    Discovered {
        /// Who, by its own account: a connection proves it.
        peer: PeerId,
        /// Where, without `/p2p`; never empty, at most
        /// [`MAX_ADDRS`](super::MAX_ADDRS).
        addrs: Vec<Multiaddr>,
    },
    /// This peer left, or was not heard of for as long as it said. No reason to
    /// end a connection: whoever takes its address can say so in its name.
    Expired {
        /// Who.
        peer: PeerId,
    },
}

/// The shortest and longest time that an announcement is believed for,
/// whatever it says. Judgements: less would make us ask all the time, more
/// would keep what has long gone.
const TTL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(75 * 60));
/// An address that an announcement leaves out goes if it was last heard
/// longer ago than this (RFC 6762 section 10.2): one answer may be several packets.
const BURST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    instance: Instance,
    seen: Instant,
    ttl: Duration,
    source: IpAddr,
    /// What each host said; several may say the same. Never empty.
    heard: Vec<Heard>,
}

#[derive(Debug)]
struct Heard {
    addr: Multiaddr,
    /// The host that said so; another interface of it may say something else.
    source: IpAddr,
    /// The name under which it said so, and can take it back.
    instance: Instance,
    seen: Instant,
    until: Instant,
}

impl Known {
    /// Where it is, each once.
    fn addrs(&self) -> Vec<Multiaddr> {
        let mut addrs = Vec::new();
        for heard in &self.heard {
            if !addrs.contains(&heard.addr) {
                addrs.push(heard.addr.clone());
            }
        }
        addrs
    }

    /// Whether `source` may add an address; in place of one of the host that
    /// said most, if there are too many.
    fn make_room(&mut self, source: IpAddr) -> bool {
        let said = |by: IpAddr| self.heard.iter().filter(|heard| heard.source == by).count();
        let ours = said(source);
        if ours >= MAX_ADDRS_A_HOST {
            return false;
        }
        if self.heard.len() < MAX_ADDRS {
            return true;
        }
        let talker = self.heard.iter().map(|heard| (said(heard.source), heard.source)).max();
        let Some((_, talker)) = talker.filter(|(count, _)| *count > ours + 1) else { return false };
        let oldest = self.heard.iter().enumerate().filter(|(_, heard)| heard.source == talker);
        let oldest = oldest.min_by_key(|(_, heard)| heard.seen).map(|(at, _)| at);
        oldest.is_some_and(|at| {
            self.heard.remove(at);
            true
        })
    }
}

#[derive(Debug)]
pub(super) struct Table {
    max_peers: usize,
    max_peers_a_host: usize,
    peers: BTreeMap<PeerId, Known>,
    /// Peers with news, and those whose discovery was told.
    changed: BTreeSet<PeerId>,
    told: BTreeSet<PeerId>,
}

impl Table {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_peers: config.max_peers,
            max_peers_a_host: config.max_peers_a_host,
            peers: BTreeMap::new(),
            changed: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Takes in what `source` said. The addresses have been looked through.
    pub(super) fn observe(&mut self, said: Announcement, source: IpAddr, now: Instant) {
        if said.addrs.is_empty() || !self.has_room(said.peer, source) {
            return;
        }
        let ttl = said.ttl.clamp(TTL.0, TTL.1);
        let until = now + ttl;
        let known = self.peers.entry(said.peer).or_insert_with(|| Known {
            instance: said.instance.clone(),
            seen: now,
            ttl,
            source,
            heard: Vec::new(),
        });
        known.instance = said.instance.clone();
        (known.seen, known.ttl) = (now, ttl);
        let before = known.addrs();
        let mut new = said.addrs;
        new.retain(|addr| {
            let same = |heard: &&mut Heard| heard.source == source && heard.addr == *addr;
            let Some(heard) = known.heard.iter_mut().find(same) else { return true };
            heard.instance = said.instance.clone();
            (heard.seen, heard.until) = (now, until);
            false
        });
        // First, or they would leave no room for those that are said instead.
        known.heard.retain(|heard| heard.source != source || now.since(heard.seen) <= BURST);
        for addr in new {
            let is_new = !known.heard.iter().any(|heard| heard.source == source && heard.addr == addr);
            if is_new && known.make_room(source) {
                let instance = said.instance.clone();
                known.heard.push(Heard { addr, source, instance, seen: now, until });
            }
        }
        if known.addrs() != before {
            self.changed.insert(said.peer);
        }
    }

    fn has_room(&self, peer: PeerId, source: IpAddr) -> bool {
        // What nobody takes from us counts as well.
        let full = self.peers.len().max(self.changed.len()) >= self.max_peers;
        let of_host = || self.peers.values().filter(|known| known.source == source).count();
        self.peers.contains_key(&peer) || !full && of_host() < self.max_peers_a_host
    }

    /// Whoever called itself so at `source` has left; what others say of that
    /// peer, or it under another name, stands.
    pub(super) fn forget(&mut self, instance: &Instance, source: IpAddr) {
        self.drop_heard(|heard| heard.source == source && heard.instance == *instance);
    }

    /// Drops what no longer holds.
    pub(super) fn expire(&mut self, now: Instant) {
        self.drop_heard(|heard| heard.until <= now);
    }

    fn drop_heard(&mut self, is_over: impl Fn(&Heard) -> bool) {
        let changed = &mut self.changed;
        self.peers.retain(|peer, known| {
            if known.heard.iter().any(&is_over) {
                let before = known.addrs();
                known.heard.retain(|heard| !is_over(heard));
                if known.heard.is_empty() || known.addrs() != before {
                    changed.insert(*peer);
                }
            }
            !known.heard.is_empty()
        });
    }

    /// When something no longer holds.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.peers.values().flat_map(|known| &known.heard).map(|heard| heard.until).min()
    }

    /// When to ask again, so that a peer that is still there does not expire:
    /// at 80 and 90 percent of its time (RFC 6762 section 5.2), if nothing was
    /// asked since.
    pub(super) fn next_refresh(&self, asked: Instant) -> Option<Instant> {
        let points = |known: &Known| {
            let part = |percent| known.seen + known.ttl * percent / 100;
            [part(80), part(90)].into_iter().find(|point| *point > asked)
        };
        self.peers.values().filter_map(points).min()
    }

    /// Those that need not answer: known for more than half of their time.
    pub(super) fn known(&self, now: Instant) -> Vec<(Instance, u32)> {
        let fresh = |known: &&Known| now.since(known.seen) < known.ttl / 2;
        let left = |known: &Known| known.ttl.saturating_sub(now.since(known.seen)).as_secs();
        self.peers
            .values()
            .filter(fresh)
            .map(|known| (known.instance.clone(), u32::try_from(left(known)).unwrap_or(u32::MAX)))
            .collect()
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        loop {
            let peer = self.changed.pop_first()?;
            if let Some(known) = self.peers.get(&peer) {
                self.told.insert(peer);
                return Some(News::Discovered { peer, addrs: known.addrs() });
            }
            if self.told.remove(&peer) {
                return Some(News::Expired { peer });
            }
        }
    }
}
