//! Addresses of ours that are worth testing, and what is known of each.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerage_base::{Instant, Now, PackedMap};
use peerage_identity::{Multiaddr, PeerId, Scope};

use super::limits::ReachabilityConfig;
use super::observed::Seen;
use super::witness::{Witness, ip_of, plain};

/// What the probes of one address have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Not enough, or too long ago.
    #[default]
    Unknown,
    /// It can be dialled from outside.
    Reachable,
    /// It cannot.
    Unreachable,
}

/// One address, and its tests.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidate {
    pub(super) verdict: Verdict,
    /// When the verdict was last confirmed.
    confirmed_at: Instant,
    /// Failures since the last success.
    failures: u32,
    /// Probes since the last one that showed anything.
    useless: u32,
    /// Who has been asked since the verdict last changed or was confirmed.
    pub(super) asked: BTreeSet<Witness>,
    /// Who claimed to have reached it, without proof.
    vouched: BTreeSet<Witness>,
    /// Who would not dial it: perhaps no one has IPv6.
    pub(super) refused: BTreeSet<PeerId>,
    /// When it is to be tested.
    pub(super) due: Instant,
}

impl Candidate {
    fn new(now: Instant) -> Self {
        Self { due: now, ..Self::default() }
    }

    /// It was reached, and there is proof.
    pub(super) fn reached(&mut self, pause: Duration, now: Instant) {
        self.verdict = Verdict::Reachable;
        self.confirm(pause, now);
        self.failures = 0;
    }

    /// Someone is asked about it.
    pub(super) fn ask(&mut self, witness: Witness, config: &ReachabilityConfig) {
        if self.asked.len() >= config.servers {
            self.asked.clear();
        }
        self.asked.insert(witness);
    }

    /// A server says that it was reached. True if enough servers say so.
    pub(super) fn vouch(&mut self, by: Witness, config: &ReachabilityConfig, now: Instant) -> bool {
        if self.vouched.len() < config.vouchers && self.vouched.insert(by) {
            self.useless = 0;
            self.due = self.due.max(now);
        } else {
            self.showed_nothing(config, now);
        }
        self.vouched.len() >= config.vouchers
    }

    /// A server could not reach it; `pause` is how long it is left alone if
    /// that settles it.
    pub(super) fn failed(&mut self, pause: Duration, config: &ReachabilityConfig, now: Instant) {
        self.failures = self.failures.saturating_add(1).min(config.failures);
        self.useless = 0;
        if self.failures >= config.failures {
            self.verdict = Verdict::Unreachable;
            self.vouched.clear();
            self.confirm(pause, now);
        } else if self.verdict == Verdict::Reachable {
            self.due = now + config.doubt_interval;
        } else {
            self.due = self.due.max(now);
        }
    }

    /// `peer` would not dial it.
    pub(super) fn refuse(&mut self, peer: PeerId, config: &ReachabilityConfig) {
        // More than this are not remembered; who refused then is asked again.
        if self.refused.len() < config.servers {
            self.refused.insert(peer);
        }
    }

    /// A probe showed nothing.
    pub(super) fn showed_nothing(&mut self, config: &ReachabilityConfig, now: Instant) {
        self.useless += 1;
        // Another answer may have put it off already.
        self.due = self.due.max(now);
        if self.useless >= config.useless {
            self.useless = 0;
            self.due = now + config.retry_interval;
        }
    }

    /// Forgets a verdict that is too old; true if it was.
    pub(super) fn expire(&mut self, config: &ReachabilityConfig, now: Instant) -> bool {
        let old = self.verdict != Verdict::Unknown && now >= self.expires_at(config);
        if old {
            self.verdict = Verdict::Unknown;
            self.failures = 0;
            self.vouched.clear();
        }
        old
    }

    pub(super) fn expires_at(&self, config: &ReachabilityConfig) -> Instant {
        self.confirmed_at + config.verdict_age
    }

    /// True if it is unknown whether it can be reached, though someone could say.
    pub(super) fn is_open(&self) -> bool {
        self.verdict == Verdict::Unknown && self.refused.is_empty()
    }

    fn confirm(&mut self, pause: Duration, now: Instant) {
        self.confirmed_at = now;
        self.due = now + pause;
        self.useless = 0;
        self.asked.clear();
        self.refused.clear();
    }
}

/// The addresses, in the order in which they were told: what we listen on,
/// what a port mapper opened, what peers see.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) listen: Vec<Multiaddr>,
    pub(super) mapped: Vec<Multiaddr>,
    order: Vec<Multiaddr>,
    by_addr: PackedMap<Multiaddr, Candidate>,
}

impl Candidates {
    /// Works out anew what is worth testing; what is known of the rest is forgotten.
    pub(super) fn refresh(&mut self, seen: &[Seen], config: &ReachabilityConfig, now: Now) {
        let worth = |addr: &Multiaddr| match addr.scope() {
            Scope::Public => true,
            Scope::Loopback | Scope::Private | Scope::LinkLocal => config.private_addresses,
            Scope::Undialable | Scope::Dns | Scope::Relay => false,
        };
        let told = self.listen.iter().chain(&self.mapped).cloned();
        let mut order = Vec::new();
        for addr in told.chain(self.guesses(seen)).filter_map(|addr| plain(&addr)).filter(worth) {
            if order.len() < config.candidates && !order.contains(&addr) {
                order.push(addr);
            }
        }
        self.by_addr.retain(|addr, _| order.contains(addr));
        for addr in &order {
            self.by_addr.or_insert_with(addr.clone(), || Candidate::new(now.instant));
        }
        self.order = order;
    }

    /// The IP addresses that peers see, with the ports that they dialled and
    /// those that we listen on: a router may pass them on as they are.
    fn guesses(&self, seen: &[Seen]) -> Vec<Multiaddr> {
        let mut guesses = Vec::new();
        for Seen { ip, dialled } in seen {
            let ports = dialled.iter().copied().chain(self.ports(*ip));
            guesses.extend(ports.map(|port| Multiaddr::from_tcp_addr(SocketAddr::new(*ip, port))));
        }
        guesses
    }

    /// The ports that we listen on for others than this machine, in the family of `ip`.
    fn ports(&self, ip: IpAddr) -> Vec<u16> {
        let near = Scope::of_ip(ip) == Scope::Loopback;
        let sockets = self.listen.iter().filter_map(Multiaddr::to_tcp_addr);
        let fits = |socket: &SocketAddr| {
            socket.is_ipv4() == ip.is_ipv4() && (Scope::of_ip(socket.ip()) == Scope::Loopback) == near
        };
        let mut ports = Vec::new();
        for socket in sockets.filter(fits) {
            if !ports.contains(&socket.port()) {
                ports.push(socket.port());
            }
        }
        ports
    }

    pub(super) fn get(&self, addr: &Multiaddr) -> Option<&Candidate> {
        self.by_addr.get(addr)
    }

    pub(super) fn get_mut(&mut self, addr: &Multiaddr) -> Option<&mut Candidate> {
        self.by_addr.get_mut(addr)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Multiaddr, &Candidate)> {
        self.order.iter().filter_map(|addr| Some((addr, self.by_addr.get(addr)?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.by_addr.values_mut()
    }

    /// True if `ip` is an IP address of ours, as far as we know.
    pub(super) fn is_ours(&self, ip: IpAddr) -> bool {
        let own = self.order.iter().chain(&self.listen);
        own.filter_map(ip_of).any(|own| own == ip)
    }
}
