//! What to map, by which protocol, and when again. No clock, no socket.
//!
//! Each port of ours tries PCP, NAT-PMP and UPnP in turn; what is granted is
//! renewed at half of its time (RFC 6886 section 3.3, RFC 6887 section 11.2.1)
//! and then at half of what is left. Where all fail, all are tried again much
//! later: most routers have this switched off for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use peerage_base::{Instant, Timers};
use peerage_identity::{Multiaddr, Scope};

use super::pcp::{self, Nonce};
use super::upnp::Control;
use super::{Config, Failure, Gateway};

/// A protocol, and what it needs to know to do the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Via {
    Pcp(Nonce),
    NatPmp,
    /// Where the router takes orders, if it was found.
    Upnp(Option<Control>),
}

/// What a router granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) via: Via,
    pub(super) external: SocketAddrV4,
    pub(super) lifetime: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Find the gateway, and say so with `handle_gateway`.
    FindGateway,
    /// Map, and say what came of it with `handle_result`.
    Map(Request),
    /// Remove; nobody waits for the outcome.
    Unmap { gateway: Gateway, port: u16, via: Via, external: SocketAddrV4 },
}

/// A mapping to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) gateway: Gateway,
    /// Our port.
    pub(super) port: u16,
    pub(super) via: Via,
    /// The outer port to ask for.
    pub(super) wanted: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Gateway,
    /// Try anew, or renew.
    Again(u16),
    Expire(u16),
}

#[derive(Debug, Default)]
struct Port {
    /// The protocol that is asked now.
    asking: Option<Via>,
    /// When the first of a round was asked last.
    asked: Instant,
    granted: Option<(Granted, Instant)>,
    /// What was granted last, which the router may have even if it was not
    /// renewed in time: some know no ends.
    left: Option<Granted>,
    /// Rounds of all protocols that failed.
    rounds: u32,
}

/// The decisions. Drain `poll_output` after each input; time never goes back.
#[derive(Debug)]
pub(super) struct Machine {
    config: Config,
    gateway: Option<Gateway>,
    addrs: Vec<Multiaddr>,
    ports: BTreeMap<u16, Port>,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    /// What PCP's nonces are made of.
    secret: [u8; 64],
    failure: Option<Failure>,
}

impl Machine {
    pub(super) fn new(config: Config, secret: [u8; 64], now: Instant) -> Self {
        let mut timers = Timers::new();
        timers.set(Timer::Gateway, now);
        Self {
            config,
            gateway: None,
            addrs: Vec::new(),
            ports: BTreeMap::new(),
            timers,
            outputs: VecDeque::new(),
            secret,
            failure: None,
        }
    }

    /// Where others reach us by what is mapped, sorted.
    pub(super) fn external(&self) -> Vec<Multiaddr> {
        let granted = self.ports.values().filter_map(|port| port.granted.as_ref());
        let addrs: BTreeSet<SocketAddr> = granted.map(|(granted, _)| granted.external.into()).collect();
        addrs.into_iter().map(Multiaddr::from_tcp_addr).collect()
    }

    /// Why the last attempt failed, if nothing succeeded since.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Our listen addresses.
    pub(super) fn handle_addrs(&mut self, addrs: Vec<Multiaddr>, now: Instant) {
        if addrs != self.addrs {
            self.addrs = addrs;
            // The network may be another one.
            self.timers.set(Timer::Gateway, now);
            self.choose(now);
        }
    }

    /// The gateway of now.
    pub(super) fn handle_gateway(&mut self, gateway: Option<Gateway>, now: Instant) {
        if gateway != self.gateway {
            // What the other one granted is out of reach, and soon over.
            self.ports.keys().for_each(|port| {
                self.timers.cancel(&Timer::Again(*port));
                self.timers.cancel(&Timer::Expire(*port));
            });
            self.ports.clear();
            self.gateway = gateway;
            self.failure = None;
            self.choose(now);
        }
    }

    /// Begins with ports that are new, ends those that are gone.
    fn choose(&mut self, now: Instant) {
        let wanted = self.wanted();
        let gone: Vec<u16> = self.ports.keys().filter(|port| !wanted.contains(port)).copied().collect();
        for port in gone {
            self.remove(port);
        }
        for port in wanted {
            self.ports.entry(port).or_insert_with(|| {
                self.timers.set(Timer::Again(port), now);
                Port::default()
            });
        }
    }

    /// Ports at the address that the gateway sees; none if we are on the
    /// internet without it.
    fn wanted(&self) -> BTreeSet<u16> {
        let Some(gateway) = self.gateway else { return BTreeSet::new() };
        let listening = || {
            self.addrs.iter().filter_map(|addr| match addr.to_tcp_addr()? {
                SocketAddr::V4(addr) => Some(addr),
                SocketAddr::V6(_) => None,
            })
        };
        if listening().any(|addr| is_public(*addr.ip())) {
            return BTreeSet::new();
        }
        let here = listening().filter(|addr| *addr.ip() == gateway.local);
        here.map(|addr| addr.port()).take(self.config.max_ports).collect()
    }

    fn remove(&mut self, port: u16) {
        let Some(state) = self.ports.remove(&port) else { return };
        self.timers.cancel(&Timer::Again(port));
        self.timers.cancel(&Timer::Expire(port));
        let Some(gateway) = self.gateway else { return };
        self.outputs.extend(state.left.map(|left| unmap(gateway, port, left)));
    }

    /// What came of a request.
    pub(super) fn handle_result(
        &mut self,
        request: &Request,
        result: Result<Granted, Failure>,
        now: Instant,
    ) {
        if self.gateway != Some(request.gateway) {
            return;
        }
        // A private outer address is that of another router behind this one.
        let result = match result {
            Ok(granted) if !is_public(*granted.external.ip()) => {
                self.outputs.push_back(unmap(request.gateway, request.port, granted.clone()));
                Err(Failure::NotPublic(*granted.external.ip()))
            }
            result => result,
        };
        let Some(state) = self.ports.get_mut(&request.port) else {
            if let Ok(granted) = result {
                self.outputs.push_back(unmap(request.gateway, request.port, granted));
            }
            return;
        };
        let Some(asked) = state.asking.take() else { return };
        match result {
            Ok(granted) => {
                let lifetime = granted.lifetime.min(self.config.max_lifetime);
                let until = now + lifetime;
                // By UPnP each outer port is a mapping of its own; by the others
                // ours has one.
                if let Some(left) = state.left.replace(granted.clone())
                    && left.external.port() != granted.external.port()
                    && matches!(left.via, Via::Upnp(_))
                {
                    self.outputs.push_back(unmap(request.gateway, request.port, left));
                }
                state.granted = Some((granted, until));
                state.rounds = 0;
                self.failure = None;
                let again = (lifetime / 2).max(self.config.min_interval);
                self.timers.set(Timer::Again(request.port), now + again);
                self.timers.set(Timer::Expire(request.port), until);
            }
            Err(failure) => {
                self.failure = Some(failure.clone());
                self.handle_failure(request.port, &asked, &failure, now);
            }
        }
    }

    fn handle_failure(&mut self, number: u16, asked: &Via, failure: &Failure, now: Instant) {
        let Some(state) = self.ports.get_mut(&number) else { return };
        if let Some((granted, until)) = &mut state.granted {
            // Found again next time: the router may have restarted elsewhere.
            if let Via::Upnp(control) = &mut granted.via {
                *control = None;
            }
            let left = until.since(now);
            if left / 2 >= self.config.min_interval {
                self.timers.set(Timer::Again(number), now + left / 2);
            }
            return;
        }
        let next = match asked {
            // Another router behind this one: no protocol changes that.
            _ if matches!(failure, Failure::NotPublic(_)) => None,
            Via::Pcp(_) => Some(Via::NatPmp),
            Via::NatPmp => Some(Via::Upnp(None)),
            Via::Upnp(_) => None,
        };
        if let Some(via) = next {
            self.ask(number, via, number);
        } else {
            let factor = 1 << state.rounds.min(16);
            state.rounds = state.rounds.saturating_add(1);
            let pause = (self.config.first_pause * factor).min(self.config.max_pause);
            self.timers.set(Timer::Again(number), now + pause);
        }
    }

    fn ask(&mut self, number: u16, via: Via, wanted: u16) {
        let (Some(gateway), Some(state)) = (self.gateway, self.ports.get_mut(&number)) else { return };
        state.asking = Some(via.clone());
        self.outputs.push_back(Output::Map(Request { gateway, port: number, via, wanted }));
    }

    fn again(&mut self, number: u16, now: Instant) {
        let (Some(gateway), Some(state)) = (self.gateway, self.ports.get_mut(&number)) else { return };
        if state.asking.is_some() {
            return; // Its result sets the next time.
        }
        state.asked = now;
        let (via, wanted) = match &state.granted {
            Some((granted, _)) => (granted.via.clone(), granted.external.port()),
            None => {
                let internal = SocketAddrV4::new(gateway.local, number);
                (Via::Pcp(pcp::nonce(&self.secret, internal)), number)
            }
        };
        self.ask(number, via, wanted);
    }

    /// Removes all that the router may have. What is asked for now is to be
    /// given up if it goes by datagrams; else its outcome is to be told, and
    /// is removed as well. Nothing else is to be done after that.
    pub(super) fn close(&mut self) {
        let ports: Vec<u16> = self.ports.keys().copied().collect();
        self.outputs.clear();
        for port in ports {
            let asking = self.ports.get(&port).filter(|state| state.left.is_none());
            let asking = asking.and_then(|state| state.asking.clone());
            self.remove(port);
            // The router may have done what it was asked, and the answer is
            // under way. Of UPnP the outcome says what there is to remove.
            if let (Some(gateway), Some(via @ (Via::Pcp(_) | Via::NatPmp))) = (self.gateway, asking) {
                let external = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
                self.outputs.push_back(Output::Unmap { gateway, port, via, external });
            }
        }
    }

    /// When `handle_timeout` is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    /// Time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Gateway => {
                    self.outputs.push_back(Output::FindGateway);
                    self.timers.set(Timer::Gateway, now + self.config.look_interval);
                }
                Timer::Again(port) => self.again(port, now),
                Timer::Expire(number) => {
                    if let Some(port) = self.ports.get_mut(&number) {
                        port.granted = None;
                        let soonest = port.asked + self.config.min_interval;
                        self.timers.set(Timer::Again(number), soonest.max(now));
                    }
                }
            }
        }
    }

    /// The next thing to do.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

fn unmap(gateway: Gateway, port: u16, granted: Granted) -> Output {
    Output::Unmap { gateway, port, via: granted.via, external: granted.external }
}

fn is_public(ip: Ipv4Addr) -> bool {
    Scope::of_ip(ip.into()) == Scope::Public
}

#[cfg(test)]
mod tests;
