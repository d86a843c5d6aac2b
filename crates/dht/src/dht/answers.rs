//! What we answer others. Spec: ipfs/specs `routing/kad-dht.md`, "RPC
//! messages"; go's `handlers.go`.

use bytes::Bytes;
use peerage_base::Now;
use peerage_identity::{Multiaddr, PeerId};

use super::Dht;
use crate::key::Key;
use crate::limits::PROVIDERS_ANSWERED;
use crate::message::{PeerInfo, Record, Request, Response};
use crate::output::{Answer, Mode};
use crate::values::Sender;

impl Dht {
    /// A peer asks, over a connection with this remote address. A stream that
    /// is not reset is read on: deployed peers send many requests on one.
    ///
    /// Addresses that do not count in this DHT are neither taken nor told, so
    /// the WAN knows of no private network.
    pub fn handle_request(&mut self, peer: PeerId, via: &Multiaddr, request: &Request, now: Now) -> Answer {
        if self.mode == Mode::Client || !self.may_ask(via) {
            return Answer::Reset;
        }
        match request {
            Request::FindNode { key } => {
                let mut closer = Vec::with_capacity(self.config.bucket_size + 1);
                closer.extend(PeerId::from_bytes(key).ok().and_then(|target| self.whereabouts(&target)));
                let near = self.closer(key, &peer);
                let first = closer.first().map(|info: &PeerInfo| info.peer);
                closer.extend(near.into_iter().filter(|info| Some(info.peer) != first));
                Answer::Respond(Response::Closest { closer })
            }
            Request::GetProviders { key } => {
                let hashed = Key::of(key);
                let mut providers = self.providers.get(&hashed, PROVIDERS_ANSWERED, now.unix, &mut self.rng);
                self.complete(&mut providers);
                Answer::Respond(Response::Providers { providers, closer: self.closer(key, &peer) })
            }
            Request::AddProvider { key, providers } => self.add_provider(peer, via, key, providers, now),
            Request::GetValue { key } => {
                let record = self.values.get(key, &self.validators, now).cloned();
                Answer::Respond(Response::Value { record, closer: self.closer(key, &peer) })
            }
            Request::PutValue { record } => self.store_value(peer, via, record, now),
            Request::Ping => Answer::Respond(Response::Pong),
        }
    }

    /// Only the sender itself counts: nobody can name another as a provider.
    fn add_provider(
        &mut self,
        peer: PeerId,
        via: &Multiaddr,
        key: &Bytes,
        providers: &[PeerInfo],
        now: Now,
    ) -> Answer {
        let Some(named) = providers.iter().find(|info| info.peer == peer && !info.addrs.is_empty()) else {
            return Answer::Reset;
        };
        let provider = self.reach.filter_peer(named);
        // No room is our business; the sender expects no answer anyway.
        self.providers.add(&Key::of(key), &provider, self.reach.sender_group(via), now.unix);
        Answer::Nothing
    }

    fn store_value(&mut self, peer: PeerId, via: &Multiaddr, record: &Record, now: Now) -> Answer {
        match self.values.put(
            Sender { peer, group: self.reach.sender_group(via) },
            record,
            &self.validators,
            now,
        ) {
            Ok(()) => Answer::Respond(Response::Stored { record: record.clone() }),
            Err(_) => Answer::Reset,
        }
    }

    /// Gives providers the addresses that are known by now. Ours may have
    /// changed since we announced.
    pub(super) fn complete(&self, providers: &mut [PeerInfo]) {
        for info in providers {
            if info.peer == self.local.peer {
                info.addrs.clone_from(&self.local.addrs);
            } else if info.addrs.is_empty() {
                info.addrs = self.known(&info.peer).map_or_else(Vec::new, |known| known.addrs);
            }
        }
    }

    /// Servers close to a key, for `asker`, who knows itself.
    fn closer(&self, key: &[u8], asker: &PeerId) -> Vec<PeerInfo> {
        self.table.closest(&Key::of(key), self.config.bucket_size, Some(asker), false)
    }

    /// Where exactly this peer is: a server or not, or ourselves.
    fn whereabouts(&self, target: &PeerId) -> Option<PeerInfo> {
        let known = if *target == self.local.peer { Some(self.local.clone()) } else { self.known(target) };
        known.filter(|info| !info.addrs.is_empty())
    }
}
