//! When to ask and when to answer, without a clock or a socket.
//!
//! RFC 6762: questions at once, after a second, then twice as long each time
//! (section 5.2), each followed by our own answer, as libp2p's spec wants;
//! answers after a short random time and not twice within a second (section
//! 6), none to who knows us already (7.1), by unicast as well to plain DNS
//! clients (6.7), and nothing from beyond the link (11). Left out on purpose: probing
//! for conflicts, as our name is random, and answers by unicast to who merely
//! prefers them (5.4), as the others want to hear them as well.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerage_base::{Instant, Rng, Timers};
use peerage_identity::{Multiaddr, PeerId, Scope};

use super::limits::{Config, MAX_PACKET, PORT};
use super::message::{self, Announcement, Form, Instance, Message, Question};
use super::table::{News, Table};

/// A network interface, for one of the two families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId {
    /// The operating system's number of the interface.
    pub(crate) interface: u32,
    /// Whether this is IPv6.
    pub(crate) v6: bool,
}

/// The addresses of an interface, of both families, each with the length of
/// its network's prefix in bits.
pub(crate) type Nets = Vec<(IpAddr, u8)>;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send to the group on this link, or to one host.
    Send {
        /// Where.
        link: LinkId,
        /// To one host only.
        to: Option<SocketAddr>,
        /// What.
        packet: Vec<u8>,
    },
    /// See which interfaces there are, and say so with `handle_links`.
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Ask,
    Refresh,
    Look,
    Expire,
    Answer(LinkId),
}

#[derive(Debug, Default)]
struct Link {
    nets: Nets,
    /// When this link last had our answer.
    answered: Option<Instant>,
    /// Somebody asks which services there are.
    services: bool,
}

/// The decisions of mDNS. Drain `poll_output` and `poll_news` after each
/// input; time never goes back.
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    local: PeerId,
    instance: Instance,
    addrs: Vec<Multiaddr>,
    links: BTreeMap<LinkId, Link>,
    table: Table,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    rng: Rng,
    /// When the last question went out, and how long until the next.
    asked: Option<Instant>,
    interval: Duration,
    /// The second that is counted, and the packets in it that were read: in
    /// all, and by host, which are no more.
    second: Instant,
    packets: u32,
    hosts: BTreeMap<IpAddr, u32>,
    askers: Vec<IpAddr>,
}

impl Machine {
    /// Looks for interfaces at once; asks when it has some.
    pub(crate) fn new(config: Config, local: PeerId, seed: u64, now: Instant) -> Self {
        let mut machine = Self {
            config,
            local,
            instance: Instance::new(),
            addrs: Vec::new(),
            links: BTreeMap::new(),
            table: Table::new(&config),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            rng: Rng::new(seed),
            asked: None,
            interval: config.first_interval,
            second: now,
            packets: 0,
            hosts: BTreeMap::new(),
            askers: Vec::new(),
        };
        machine.rename();
        machine.timers.set(Timer::Look, now);
        machine
    }

    /// How many peers are known.
    pub(crate) fn peers(&self) -> usize {
        self.table.len()
    }

    /// Our own addresses. Those that are not of the link that they are told on
    /// are left out, loopback and link-local ones always.
    pub(crate) fn handle_addrs(&mut self, addrs: Vec<Multiaddr>, now: Instant) {
        if addrs == self.addrs {
            return;
        }
        // go-libp2p tells its host of a name once: other addresses, another name.
        self.leave();
        self.rename();
        self.addrs = addrs;
        self.timers.set(Timer::Look, now);
        self.restart(now);
    }

    /// The links that there are now.
    pub(crate) fn handle_links(&mut self, links: BTreeMap<LinkId, Nets>, now: Instant) {
        let before = self.links.len();
        self.links.retain(|id, _| links.contains_key(id));
        let mut changed = self.links.len() != before;
        for (id, nets) in links {
            let link = self.links.entry(id).or_default();
            if link.nets != nets {
                *link = Link { nets, ..Link::default() };
                changed = true;
            }
        }
        if changed {
            self.restart(now);
        }
    }

    /// A packet came.
    pub(crate) fn handle_packet(&mut self, link: LinkId, from: SocketAddr, bytes: &[u8], now: Instant) {
        let near = self.links.get(&link).is_some_and(|link| on_link(&link.nets, from.ip()));
        if !near || bytes.len() > MAX_PACKET || !self.is_read(from.ip(), now) {
            return;
        }
        match message::parse(bytes) {
            Ok(Message::Question(question)) => self.handle_question(link, from, &question, now),
            // From whichever port: rust-libp2p sends from one of its own, though
            // RFC 6762 section 6 wants the one of mDNS.
            Ok(Message::Answer(answer)) => {
                answer.gone.iter().for_each(|instance| self.table.forget(instance, from.ip()));
                for said in answer.peers {
                    self.handle_announcement(said, link, from.ip(), now);
                }
                self.schedule(now);
            }
            Err(error) => tracing::trace!(%from, %error, "a packet on mDNS's port"),
        }
    }

    /// Counts a packet of this host; false if there were too many.
    fn is_read(&mut self, from: IpAddr, now: Instant) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.packets) = (now, 0);
            self.hosts.clear();
            self.askers.clear();
        }
        if self.packets >= self.config.max_packets_a_second {
            return false;
        }
        let of_host = self.hosts.entry(from).or_default();
        if *of_host >= self.config.max_packets_a_host {
            return false;
        }
        *of_host += 1;
        self.packets += 1;
        true
    }

    fn handle_question(&mut self, id: LinkId, from: SocketAddr, question: &Question, now: Instant) {
        let wanted = question.peers || question.instances.contains(&self.instance);
        if from.port() != PORT {
            // A plain DNS client, that hears nothing else; or rust-libp2p, that
            // does not hear this: it listens where all do.
            self.answer_one(id, from, question, wanted);
        }
        let half = self.config.ttl.as_secs() / 2;
        let knows =
            question.known.iter().any(|(known, ttl)| *known == self.instance && u64::from(*ttl) >= half);
        if let Some(link) = self.links.get_mut(&id) {
            link.services |= question.services;
        }
        if wanted && !knows || question.services {
            let (least, most) = self.config.answer_delay;
            let spread = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(0);
            let delay = least + Duration::from_nanos(self.rng.below(spread));
            self.answer_at(id, now + delay);
        }
    }

    /// By unicast, once in a second.
    fn answer_one(&mut self, id: LinkId, from: SocketAddr, question: &Question, wanted: bool) {
        let Some(link) = self.links.get(&id) else { return };
        if self.askers.contains(&from.ip()) || self.askers.len() >= self.config.max_askers {
            return;
        }
        let form = Form::Legacy(question.id);
        let addrs = announced(&self.addrs, &link.nets);
        let packet = match (wanted, question.services) {
            _ if addrs.is_empty() => return,
            (true, _) => message::announce(&self.instance, self.local, &addrs, self.config.ttl, form),
            (false, true) => message::announce_service(self.config.ttl, form),
            (false, false) => return,
        };
        self.askers.push(from.ip());
        self.outputs.push_back(Output::Send { link: id, to: Some(from), packet });
    }

    fn handle_announcement(&mut self, mut said: Announcement, link: LinkId, from: IpAddr, now: Instant) {
        if said.peer == self.local || said.instance == self.instance {
            return;
        }
        let Some(nets) = self.links.get(&link).map(|link| &link.nets) else { return };
        // Of IPv6 a neighbour may pretend to have our own address.
        let own = |link: &Link| link.nets.iter().any(|(ip, _)| *ip == from && ip.is_ipv4());
        let own = self.links.values().any(own);
        said.addrs.retain(|addr| match addr.scope() {
            // Of this network, or a neighbour could have us dial anywhere.
            Scope::Private | Scope::Public => addr.to_tcp_addr().is_some_and(|at| on_link(nets, at.ip())),
            // It is on this machine, as we are.
            Scope::Loopback => own && addr.dns().is_none(),
            // Means nothing without the interface; names and relays lead elsewhere.
            Scope::LinkLocal | Scope::Undialable | Scope::Dns | Scope::Relay => false,
        });
        self.table.observe(said, from, now);
    }

    /// Asks anew, as at the start.
    fn restart(&mut self, now: Instant) {
        self.interval = self.config.first_interval;
        let soonest = self.asked.map_or(now, |asked| asked + self.config.first_interval);
        self.timers.set(Timer::Ask, soonest.max(now));
    }

    fn answer_at(&mut self, id: LinkId, at: Instant) {
        if let Some(link) = self.links.get(&id) {
            let soonest = link.answered.map_or(at, |answered| answered + self.config.answer_interval);
            self.timers.set_earlier(Timer::Answer(id), at.max(soonest));
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.links.is_empty() {
            return; // The next link begins anew.
        }
        self.asked = Some(now);
        let packet = message::ask(&self.table.known(now));
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.outputs.push_back(Output::Send { link: id, to: None, packet: packet.clone() });
            self.answer_at(id, now);
        }
        self.timers.set(Timer::Ask, now + self.interval);
        self.interval = (self.interval * 2).min(self.config.max_interval);
    }

    fn answer(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let addrs = announced(&self.addrs, &link.nets);
        if addrs.is_empty() {
            return;
        }
        link.answered = Some(now);
        let ttl = self.config.ttl;
        if std::mem::take(&mut link.services) {
            let packet = message::announce_service(ttl, Form::Multicast);
            self.outputs.push_back(Output::Send { link: id, to: None, packet });
        }
        let packet = message::announce(&self.instance, self.local, &addrs, ttl, Form::Multicast);
        self.outputs.push_back(Output::Send { link: id, to: None, packet });
    }

    /// Tells the links that heard of us that we leave (RFC 6762 section 10.1).
    pub(crate) fn leave(&mut self) {
        for (id, link) in &mut self.links {
            if link.answered.take().is_some() {
                let packet =
                    message::announce(&self.instance, self.local, &[], Duration::ZERO, Form::Multicast);
                self.outputs.push_back(Output::Send { link: *id, to: None, packet });
            }
        }
    }

    /// A name of 32 lower-case letters and digits that says nothing of us.
    fn rename(&mut self) {
        const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let label: Vec<u8> = (0..32).filter_map(|_| self.rng.pick(ALPHABET).copied()).collect();
        self.instance = message::instance(&label);
    }

    /// Sets the timers that depend on who is known.
    fn schedule(&mut self, now: Instant) {
        match self.table.next_expiry() {
            Some(at) => self.timers.set(Timer::Expire, at),
            None => {
                self.timers.cancel(&Timer::Expire);
            }
        }
        let refresh = self.asked.and_then(|asked| Some((asked, self.table.next_refresh(asked)?)));
        match refresh {
            // At least so far apart, whoever says what (RFC 6762, section 5.2).
            Some((asked, at)) => {
                self.timers.set(Timer::Refresh, at.max(now).max(asked + self.config.first_interval));
            }
            None => {
                self.timers.cancel(&Timer::Refresh);
            }
        }
    }

    /// When `handle_timeout` is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    /// Time has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Ask => self.ask(now),
                Timer::Refresh => {
                    let interval = self.interval;
                    self.ask(now);
                    self.interval = interval;
                }
                Timer::Look => {
                    self.outputs.push_back(Output::Look);
                    self.timers.set(Timer::Look, now + self.config.look_interval);
                }
                Timer::Expire => self.table.expire(now),
                Timer::Answer(id) => self.answer(id, now),
            }
            self.schedule(now);
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing to know. What is not taken is merged with what comes.
    pub(crate) fn poll_news(&mut self) -> Option<News> {
        self.table.poll_news()
    }
}

/// Those of our addresses that are of a link with these networks.
fn announced(addrs: &[Multiaddr], nets: &Nets) -> Vec<Multiaddr> {
    let here = |addr: &&Multiaddr| {
        matches!(addr.scope(), Scope::Private | Scope::Public)
            && addr.to_socket_addr().is_some_and(|(addr, _)| nets.iter().any(|(ip, _)| *ip == addr.ip()))
    };
    addrs.iter().filter(here).map(Multiaddr::without_peer).collect()
}

/// Whether `ip` is in one of these networks (RFC 6762 section 11).
fn on_link(nets: &Nets, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    nets.iter().any(|&(net, prefix)| {
        let ((net_bits, most), (ip_bits, _)) = (bits(net), bits(ip));
        let prefix = u32::from(prefix).min(most);
        let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) };
        net.is_ipv4() == ip.is_ipv4() && prefix > 0 && (net_bits ^ ip_bits) & mask == 0
    })
}

#[cfg(test)]
mod tests;
