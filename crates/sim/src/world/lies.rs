//! What hostile hosts answer.

use peerage_dht::{Answer, Key, PeerInfo, Request, Response};
use peerage_identity::PeerId;

use super::World;
use crate::host::{self, HostId};

/// Providers that a liar names: as many as we take of one response
/// (`peerage_dht::limits::PROVIDER_PEERS_MAX`).
const FALSE_PROVIDERS: usize = 256;

/// False peers that are made up once, of which each answer names a part.
const INVENTED: usize = 4_096;

/// The prefix in which they are said to be.
const NOWHERE: u64 = 9_000;

impl World {
    /// Names the hostile peers nearest to the key, and providers that do not exist.
    pub(super) fn lie(&mut self, request: &Request) -> Answer {
        let providers = match request {
            Request::GetProviders { .. } => self.false_providers(),
            _ => Vec::new(),
        };
        made_up(request, providers, |key| {
            let near = self.hostile.nearest(&Key::of(key), 20, |host| self.host(host).alive);
            near.into_iter().map(|host| self.host(host).info()).collect()
        })
    }

    fn false_providers(&mut self) -> Vec<PeerInfo> {
        while self.invented.len() < INVENTED {
            let peer = host::peer_id(HostId::MAX, &mut self.rng);
            let place = self.invented.len() as u64 % 64;
            let addr = self.dealer.in_prefix(NOWHERE + 1 + place);
            self.invented.push(PeerInfo { peer, addrs: vec![addr] });
        }
        let first = self.rng.below((INVENTED - FALSE_PROVIDERS) as u64);
        let first = usize::try_from(first).unwrap_or(0);
        self.invented[first..first + FALSE_PROVIDERS].to_vec()
    }

    /// Names peers very near to the key that do not exist.
    pub(super) fn invent(&mut self, request: &Request) -> Answer {
        made_up(request, Vec::new(), |key| {
            let target = Key::of(key);
            // An attacker can draw on; so many are nearer than most that exist.
            let mut all: Vec<PeerId> = (0..256).map(|_| host::peer_id(HostId::MAX, &mut self.rng)).collect();
            all.sort_by_cached_key(|peer| Key::of_peer(peer).distance(&target));
            all.truncate(20);
            let addr = self.dealer.in_prefix(NOWHERE);
            all.into_iter().map(|peer| PeerInfo { peer, addrs: vec![addr.clone()] }).collect()
        })
    }

    /// What it told somebody first, which was true then, again.
    pub(super) fn replay(&mut self, host: HostId, request: &Request) -> Answer {
        made_up(request, Vec::new(), |key| {
            if let Some(said) = self.replayed.get(&host) {
                return said.clone();
            }
            let there = |other| other != host && self.host(other).alive;
            let near = self.servers.nearest(&Key::of(key), 20, there);
            let said: Vec<PeerInfo> = near.into_iter().map(|host| self.host(host).info()).collect();
            self.replayed.insert(host, said.clone());
            said
        })
    }
}

fn made_up(
    request: &Request,
    providers: Vec<PeerInfo>,
    closer: impl FnOnce(&[u8]) -> Vec<PeerInfo>,
) -> Answer {
    match request {
        Request::FindNode { key } => Answer::Respond(Response::Closest { closer: closer(key) }),
        Request::GetProviders { key } => {
            Answer::Respond(Response::Providers { providers, closer: closer(key) })
        }
        Request::GetValue { key } => Answer::Respond(Response::Value { record: None, closer: closer(key) }),
        // Taken, and not kept.
        Request::AddProvider { .. } => Answer::Nothing,
        Request::PutValue { record } => Answer::Respond(Response::Stored { record: record.clone() }),
        Request::Ping => Answer::Respond(Response::Pong),
    }
}
