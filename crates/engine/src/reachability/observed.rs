//! What peers say they see us as. A hint of where to be tested, never a fact:
//! it costs a liar nothing.
//!
//! We dial from ephemeral ports, so what a peer sees of a connection that we
//! opened is the IP address and a port that nobody listens on. Of one that the
//! peer opened, it is what it dialled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use peerage_base::Instant;

use super::limits::ReachabilityConfig;
use super::witness::Witness;

/// Views that one witness has at a time: a host with two uplinks has two.
const VIEWS: usize = 2;

#[derive(Debug)]
struct View {
    ip: IpAddr,
    /// The port, if the peer dialled it.
    port: Option<u16>,
    at: Instant,
}

/// An IP address that enough have seen, and the ports that enough have dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) ip: IpAddr,
    pub(super) dialled: Vec<u16>,
}

/// The views of us, by who has them.
#[derive(Debug, Default)]
pub(super) struct Observations {
    by: BTreeMap<Witness, VecDeque<View>>,
}

impl Observations {
    /// Notes a view; true if it is new, or of another address than before.
    pub(super) fn note(
        &mut self,
        by: Witness,
        addr: SocketAddr,
        outbound: bool,
        now: Instant,
        config: &ReachabilityConfig,
    ) -> bool {
        if self.by.len() >= config.observer_groups && !self.by.contains_key(&by) {
            self.forget_oldest();
        }
        let (ip, port) = (addr.ip().to_canonical(), (!outbound).then(|| addr.port()));
        let views = self.by.entry(by).or_default();
        let before = views.len();
        views.retain(|view| (view.ip, view.port) != (ip, port));
        let new = views.len() == before;
        views.push_back(View { ip, port, at: now });
        if views.len() > VIEWS {
            views.pop_front();
        }
        new
    }

    /// Forgets what is too old; true if there was any.
    pub(super) fn expire(&mut self, now: Instant, config: &ReachabilityConfig) -> bool {
        let before = self.len();
        for views in self.by.values_mut() {
            views.retain(|view| now.since(view.at) < config.observation_age);
        }
        self.by.retain(|_, views| !views.is_empty());
        self.len() != before
    }

    /// When the next view is too old.
    pub(super) fn next_expiry(&self, config: &ReachabilityConfig) -> Option<Instant> {
        let oldest = self.by.values().flatten().map(|view| view.at).min()?;
        Some(oldest + config.observation_age)
    }

    /// The IP addresses that enough have seen, those first that most have.
    pub(super) fn seen(&self, config: &ReachabilityConfig) -> Vec<Seen> {
        let mut ips: BTreeMap<IpAddr, BTreeSet<Witness>> = BTreeMap::new();
        let mut ports: BTreeMap<(IpAddr, u16), BTreeSet<Witness>> = BTreeMap::new();
        for (by, views) in &self.by {
            for view in views {
                ips.entry(view.ip).or_default().insert(*by);
                if let Some(port) = view.port {
                    ports.entry((view.ip, port)).or_default().insert(*by);
                }
            }
        }
        let mut ips: Vec<(usize, IpAddr)> = ips.into_iter().map(|(ip, by)| (by.len(), ip)).collect();
        ips.retain(|(count, _)| *count >= config.observers);
        ips.sort_by_key(|(count, ip)| (std::cmp::Reverse(*count), *ip));
        let enough = |ip: IpAddr| {
            let of_ip = ports.iter().filter(move |((of, _), by)| *of == ip && by.len() >= config.observers);
            of_ip.map(|((_, port), _)| *port).collect()
        };
        let ips = ips.into_iter().take(config.observed_ips);
        ips.map(|(_, ip)| Seen { ip, dialled: enough(ip) }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by.values().map(VecDeque::len).sum()
    }

    fn forget_oldest(&mut self) {
        let newest = |views: &VecDeque<View>| views.back().map(|view| view.at);
        let oldest = self.by.iter().min_by_key(|(_, views)| newest(views)).map(|(by, _)| *by);
        if let Some(oldest) = oldest {
            self.by.remove(&oldest);
        }
    }
}
