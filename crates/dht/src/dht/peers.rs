//! Whom we know: connected peers, and which of them get into the table.
//!
//! A peer gets in when it has answered a request of this protocol over a
//! connection whose address suits this DHT. One that only says that it is a
//! server is asked first (go: `lookupCheckTimeout`).

use peerage_base::Now;
use peerage_identity::{Multiaddr, PeerId};

use super::{Dht, Purpose};
use crate::addrs::Addrs;
use crate::key::Key;
use crate::limits::Network;
use crate::message::{PeerInfo, Request};
use crate::output::{Failure, Output};
use crate::reach::{Standing, is_of_our_network, normal};
use crate::table::Admission;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Contact {
    /// As it says itself; only such as count in this DHT.
    addrs: Addrs,
    server: bool,
}

impl Dht {
    /// A connected peer said who it is: whether it offers this DHT's protocol,
    /// and its addresses. `via` is the remote address of the connection. Call
    /// it again when the peer says otherwise (identify push).
    pub fn handle_identified(
        &mut self,
        peer: PeerId,
        server: bool,
        addrs: &[Multiaddr],
        via: &Multiaddr,
        now: Now,
    ) {
        if peer == self.local.peer {
            return;
        }
        let addrs = self.reach.filter(&normal(peer, addrs).addrs);
        let standing = self.standing(via);
        // What somebody far away says of private networks is not for the LAN.
        let foreign = self.config.network == Network::Lan && standing == Standing::Outside;
        if foreign {
            self.contacts.remove(&peer);
        } else if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.server = server;
            contact.addrs.update(&addrs);
        } else if self.contacts.len() < self.config.contacts_max {
            self.contacts.insert(peer, Contact { addrs: addrs.as_slice().into(), server });
        }
        if !server {
            let left = self.table.remove(&peer);
            self.tell_removed(peer, left);
            return;
        }
        if self.table.contains(&peer) {
            if !foreign {
                self.table.set_addrs(&peer, &addrs);
            }
        } else if !addrs.is_empty() && self.table.has_room(&peer, standing) {
            self.check(PeerInfo { peer, addrs }, now);
        }
    }

    /// What a connection with this remote address makes of a peer.
    fn standing(&self, via: &Multiaddr) -> Standing {
        match self.reach.standing(via) {
            Standing::Outside
                if self.config.network == Network::Lan && is_of_our_network(via, &self.listen) =>
            {
                Standing::Exempt
            }
            standing => standing,
        }
    }

    /// Puts a server into the table as if it had answered over a connection
    /// with this remote address; true if it got a place or had one. Nothing is
    /// asked and nothing put out.
    ///
    /// For simulators and tests, which know all servers and begin with full
    /// tables: nobody's word is enough in a network.
    pub fn add_known(&mut self, info: &PeerInfo, via: &Multiaddr, now: Now) -> bool {
        let info = self.reach.filter_peer(info);
        let admission = self.table.answered(&info, self.standing(via), now.instant);
        matches!(admission, Admission::Added { .. } | Admission::Known)
    }

    /// The last connection to a peer ended.
    pub fn handle_disconnected(&mut self, peer: &PeerId) {
        self.contacts.remove(peer);
    }

    /// Asks a peer something harmless, to know whether it is there.
    pub(super) fn check(&mut self, info: PeerInfo, now: Now) {
        let mut checks = 0;
        for pending in self.requests.values().filter(|pending| pending.purpose == Purpose::Check) {
            checks += 1;
            if pending.to.peer == info.peer {
                return;
            }
        }
        if checks < self.config.checks_max {
            let key = bytes::Bytes::copy_from_slice(self.local.peer.as_bytes());
            self.send(info, Request::FindNode { key }, Purpose::Check, now);
        }
    }

    /// A peer answered, so it is a server and there.
    pub(super) fn peer_answered(&mut self, asked: &PeerInfo, via: &Multiaddr, now: Now) {
        let addrs = match self.contacts.get(&asked.peer) {
            Some(contact) if !contact.addrs.is_empty() => contact.addrs.to_vec(),
            _ => self.reach.filter(&asked.addrs),
        };
        let peer = asked.peer;
        let standing = self.standing(via);
        let lonely = self.table.len() == 0;
        match self.table.answered(&PeerInfo { peer, addrs }, standing, now.instant) {
            Admission::Added { evicted } => {
                if let Some(peer) = evicted {
                    self.out.queue.push_back(Output::PeerRemoved { peer });
                }
                self.out.queue.push_back(Output::PeerAdded { peer });
                if lonely {
                    self.begin_refresh(now);
                } else if self.table.len() <= self.config.refresh_min_peers {
                    self.refresh_soon(now);
                }
            }
            Admission::Waiting { oldest, answered } => {
                // Somebody waits for a place: is the one who was silent for longest there?
                if now.instant.since(answered) >= self.config.check_after
                    && let Some(info) = self.table.info(&oldest)
                {
                    self.check(info, now);
                }
            }
            Admission::Known | Admission::Refused => {}
        }
    }

    pub(super) fn peer_failed(&mut self, peer: &PeerId, failure: Failure, now: Now) {
        let left = match failure {
            Failure::Unsupported => self.table.remove(peer),
            Failure::NotTried => return,
            Failure::Unreachable | Failure::Malformed => {
                let info = self.table.info(peer);
                let left = self.table.failed(peer, now.instant);
                if left.is_some() {
                    info.into_iter().for_each(|info| self.refresh.remember(info, self.config.bootstrap_max));
                }
                left
            }
        };
        self.tell_removed(*peer, left);
    }

    fn tell_removed(&mut self, peer: PeerId, left: Option<Option<PeerId>>) {
        if let Some(instead) = left {
            self.out.queue.push_back(Output::PeerRemoved { peer });
            self.out.queue.extend(instead.map(|peer| Output::PeerAdded { peer }));
        }
    }

    /// Where a peer is, as it said itself or as it was found.
    pub(super) fn known(&self, peer: &PeerId) -> Option<PeerInfo> {
        match self.contacts.get(peer) {
            Some(contact) if !contact.addrs.is_empty() => {
                Some(PeerInfo { peer: *peer, addrs: contact.addrs.to_vec() })
            }
            _ => self.table.info(peer),
        }
    }

    /// A server that somebody named, if it may be asked: with addresses that
    /// count, or connected. Its own word on its addresses goes before others'.
    pub(super) fn worth_asking(&self, named: &PeerInfo, key: &Key) -> Option<PeerInfo> {
        if named.peer == self.local.peer {
            return None;
        }
        if let Some(contact) = self.contacts.get(&named.peer) {
            return contact.server.then(|| PeerInfo { peer: named.peer, addrs: contact.addrs.to_vec() });
        }
        let mut info = self.reach.filter_peer(named);
        if let Some(known) = self.table.info_at(key, &named.peer) {
            // Where it answered before; what others say comes behind.
            let told = std::mem::replace(&mut info.addrs, known.addrs);
            if told.iter().any(|addr| !info.addrs.contains(addr)) {
                info.addrs = self.reach.filter(&[&info.addrs[..], &told].concat());
            }
        }
        self.reach.is_askable(&info.addrs).then_some(info)
    }

    /// True if what comes by this address may be answered: on the LAN, what it
    /// knows is nobody's business outside.
    pub(super) fn may_ask(&self, via: &Multiaddr) -> bool {
        match self.config.network {
            Network::Wan => true,
            Network::Lan => self.standing(via) != Standing::Outside,
        }
    }
}
