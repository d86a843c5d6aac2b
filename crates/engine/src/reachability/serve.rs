//! What we dial for others, so that they find out whether they can be reached.
//!
//! The two specs' sections on attacks: v1 dials the asker's own IP address
//! only; v2 any, but another than the asker's only after the asker has sent
//! more bytes than a handshake takes. Neither leads from the public network
//! into a private one, to ourselves, through a relay, or to a name, which
//! could mean anything by the time it is looked up. Any port but 0 is dialled,
//! as go-libp2p does: libp2p is at home on 443, too, and what we send first is
//! a handshake for one peer.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use peerage_base::{Instant, Rng};
use peerage_identity::{Multiaddr, PeerId};

use super::Version;
use super::limits::ReachabilityConfig;
use super::witness::{ip_of, plain, suits};

/// The window of the rates.
const MINUTE: Duration = Duration::from_secs(60);

/// A peer asks to be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialRequest {
    /// Who; the connection has proved it.
    pub peer: PeerId,
    /// The address of its end of the connection.
    pub via: Multiaddr,
    /// How it asked.
    pub version: Version,
    /// Where it wants to be dialled, with the place of each in its list; what
    /// could not be read is left out.
    pub addrs: Vec<(u32, Multiaddr)>,
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Say no.
    Refuse(Refusal),
    /// v2: dial one address, by a new connection that is closed afterwards.
    Dial {
        /// The address's place in the request.
        index: u32,
        /// Where.
        addr: Multiaddr,
        /// Bytes that the asker has to send first; 0: none.
        data: u32,
        /// How long to wait after that.
        wait: Duration,
    },
    /// v1: dial these until one answers, as above.
    DialAny {
        /// Where; all of the asker's IP address.
        addrs: Vec<Multiaddr>,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many of late. v2 `E_REQUEST_REJECTED`, v1 `E_DIAL_REFUSED`.
    Busy,
    /// No address that we would dial, or v1 and others cannot dial us.
    /// `E_DIAL_REFUSED`.
    Unwilling,
}

/// What the answer depends on beside the request.
pub(super) struct Circumstances<'a> {
    /// Others cannot dial us.
    pub(super) private: bool,
    /// An IP address is one of ours.
    pub(super) is_ours: &'a dyn Fn(IpAddr) -> bool,
    /// We reach public addresses of the family of this one.
    pub(super) reaches: &'a dyn Fn(IpAddr) -> bool,
}

#[derive(Debug)]
struct Served {
    at: Instant,
    peer: PeerId,
    network: Option<[u8; 6]>,
    version: Version,
    with_data: bool,
}

/// The requests of the last minute, and those that are being served.
#[derive(Debug, Default)]
pub(super) struct Serving {
    recent: VecDeque<Served>,
    running: VecDeque<(Instant, PeerId)>,
}

impl Serving {
    pub(super) fn decide(
        &mut self,
        request: &DialRequest,
        circumstances: &Circumstances<'_>,
        rng: &mut Rng,
        config: &ReachabilityConfig,
        now: Instant,
    ) -> Decision {
        self.forget(config, now);
        if !self.has_room(request, config) {
            return Decision::Refuse(Refusal::Busy);
        }
        let network = ip_of(&request.via).map(network);
        let (peer, version) = (request.peer, request.version);
        self.recent.push_back(Served { at: now, peer, network, version, with_data: false });
        let decision = match version {
            Version::V1 => dial_any(request, circumstances, config),
            Version::V2 => self.dial(request, circumstances, rng, config),
        };
        if !matches!(decision, Decision::Refuse(_)) {
            self.running.push_back((now, peer));
        }
        decision
    }

    /// One of the peer's requests is over.
    pub(super) fn end(&mut self, peer: &PeerId) {
        if let Some(index) = self.running.iter().position(|(_, other)| other == peer) {
            self.running.remove(index);
        }
    }

    /// True while one of the peer's requests is under way.
    pub(super) fn serves(&self, peer: &PeerId) -> bool {
        self.running.iter().any(|(_, other)| other == peer)
    }

    fn forget(&mut self, config: &ReachabilityConfig, now: Instant) {
        while self.recent.front().is_some_and(|served| now.since(served.at) >= MINUTE) {
            self.recent.pop_front();
        }
        while self.running.front().is_some_and(|(at, _)| now.since(*at) >= config.serving_timeout) {
            self.running.pop_front();
        }
    }

    fn has_room(&self, request: &DialRequest, config: &ReachabilityConfig) -> bool {
        let network = ip_of(&request.via).map(network);
        let of_version = || self.recent.iter().filter(|served| served.version == request.version);
        let of_peer = of_version().filter(|served| served.peer == request.peer).count();
        let of_network = of_version().filter(|served| served.network == network).count();
        let running = self.running.iter().filter(|(_, peer)| *peer == request.peer).count();
        let (total, per_peer) = match request.version {
            Version::V1 => (config.serve_v1_per_minute, config.serve_v1_per_peer),
            Version::V2 => (config.serve_per_minute, config.serve_per_peer),
        };
        of_version().count() < total
            && of_peer < per_peer
            && (of_network < config.serve_per_network || config.private_addresses)
            && running < config.serving_per_peer
            && self.running.len() < config.serving
    }

    /// v2: the first address that we are willing to dial.
    fn dial(
        &mut self,
        request: &DialRequest,
        circumstances: &Circumstances<'_>,
        rng: &mut Rng,
        config: &ReachabilityConfig,
    ) -> Decision {
        let addrs = request.addrs.iter().take(config.requested_addrs);
        let willing = addrs.filter_map(|(index, addr)| {
            Some((*index, plain(addr).filter(|_| may_dial(request, addr, circumstances, config))?))
        });
        let Some((index, addr)) = { willing }.next() else {
            return Decision::Refuse(Refusal::Unwilling);
        };
        if ip_of(&addr) == ip_of(&request.via) {
            return Decision::Dial { index, addr, data: 0, wait: Duration::ZERO };
        }
        if self.recent.iter().filter(|served| served.with_data).count() >= config.serve_with_data {
            return Decision::Refuse(Refusal::Busy);
        }
        if let Some(served) = self.recent.back_mut() {
            served.with_data = true;
        }
        let more = u64::from(config.dial_data_max.saturating_sub(config.dial_data_min)) + 1;
        let data = config.dial_data_min + u32::try_from(rng.below(more)).unwrap_or(0);
        let longest = u64::try_from(config.dial_wait_max.as_nanos()).unwrap_or(u64::MAX);
        Decision::Dial { index, addr, data, wait: Duration::from_nanos(rng.below(longest)) }
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.recent.len().max(self.running.len())
    }
}

/// v1: the asker's own IP address, with the ports that it names, and where it
/// comes from, since others dial from the port on which they listen.
fn dial_any(
    request: &DialRequest,
    circumstances: &Circumstances<'_>,
    config: &ReachabilityConfig,
) -> Decision {
    let Some(ip) = ip_of(&request.via).filter(|_| !request.via.is_relayed() && !circumstances.private) else {
        return Decision::Refuse(Refusal::Unwilling);
    };
    let mut addrs = Vec::new();
    let named = request.addrs.iter().map(|(_, addr)| addr).chain([&request.via]);
    // Another IP address is replaced by the asker's, as go-libp2p does.
    let named = named.filter_map(plain).map(|addr| addr.with_resolved(ip));
    for addr in named.filter(|addr| may_dial(request, addr, circumstances, config)) {
        if addrs.len() < config.v1_dials && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() { Decision::Refuse(Refusal::Unwilling) } else { Decision::DialAny { addrs } }
}

/// True if this address may be dialled for whoever asks over this connection.
fn may_dial(
    request: &DialRequest,
    addr: &Multiaddr,
    circumstances: &Circumstances<'_>,
    config: &ReachabilityConfig,
) -> bool {
    let Some(ip) = ip_of(addr) else { return false };
    let other = addr.peer_id().is_some_and(|named| named != request.peer);
    let near = config.private_addresses;
    let own = (circumstances.is_ours)(ip) && !near;
    !other && !own && suits(addr.scope(), request.via.scope(), near) && (near || (circumstances.reaches)(ip))
}

/// Whoever has one address of it is likely to have the rest.
fn network(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [4, 0, 0, a, b, c]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            [a, b, c, d, e, f]
        }
    }
}
