//! Whether others can dial us, and at which addresses; and whom we dial for
//! others to find out the same. AutoNAT v2 and v1, without the streams.
//!
//! libp2p `autonat/autonat-v1.md` and `autonat/autonat-v2.md`. An address of
//! ours is *reachable* once one v2 server has dialled it and the nonce came
//! back, or several v1 servers in distinct networks claim to have reached it;
//! *unreachable* after failures in a row, of servers in distinct networks.
//! What peers see of us only says what to test.
//!
//! - `candidates`: which addresses are tested, and what is known of each
//! - `observed`: what peers see us as
//! - `probing`: which probe is next, and what its answer shows
//! - `servers`: who can be asked, and who is left in peace
//! - `serve`: what we dial for others
//! - `witness`: whom a peer counts as, and which connection may speak for what
//!
//! Left out: transports but plain TCP, names (they lead anywhere), relays.

mod candidates;
mod limits;
mod observed;
mod probing;
mod serve;
mod servers;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use peerage_base::{Instant, Now, Rng};
use peerage_identity::{Multiaddr, PeerId};

use candidates::Candidates;
use observed::{Observations, Seen};
use serve::{Circumstances, Serving};
use servers::Servers;
use witness::{Witness, public_ip, suits};

pub use candidates::Verdict;
pub use limits::ReachabilityConfig;
pub use serve::{Decision, DialRequest, Refusal};

/// Which AutoNAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `/libp2p/autonat/1.0.0`: about the peer, without proof.
    V1,
    /// `/libp2p/autonat/2/dial-request`: about one address, with a nonce.
    V2,
}

/// Whether others can dial us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Nobody has told yet.
    #[default]
    Unknown,
    /// They cannot.
    Private,
    /// They can, at these addresses.
    Public(Vec<Multiaddr>),
}

/// Names a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// Ask a peer to dial us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For [`Reachability::handle_answer`].
    pub id: ProbeId,
    /// Whom to ask, over the connection that there is.
    pub peer: PeerId,
    /// How.
    pub version: Version,
    /// What to name, the most wanted first, without `/p2p`.
    pub addrs: Vec<Multiaddr>,
    /// What a v2 server has to bring back.
    pub nonce: u64,
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This address was reached. v2: the nonce came back over a connection of
    /// that kind. v1: the server says so.
    Reached(Multiaddr),
    /// This address was dialled, and not reached; none: v1, of all that were named.
    Unreached(Option<Multiaddr>),
    /// The server dials none of these addresses.
    Refused,
    /// The server has too much to do.
    Busy,
    /// No answer, or none that makes sense.
    Failed,
    /// The server claims to have brought back a nonce that never came.
    Lied,
}

/// What [`Reachability`] wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReachabilityOutput {
    /// Ask a peer to dial us: [`Reachability::handle_answer`].
    Probe(Probe),
    /// It is known anew whether others can dial us.
    Changed(Reach),
}

#[derive(Debug)]
struct UnderWay {
    probe: Probe,
    witness: Witness,
    deadline: Instant,
}

/// Finds out whether others can dial us, and decides whom we dial for them.
///
/// The contract is that of all machines here; see [`Engine`](crate::Engine).
#[derive(Debug)]
pub struct Reachability {
    config: ReachabilityConfig,
    rng: Rng,
    candidates: Candidates,
    observations: Observations,
    /// What came of them last.
    seen: Vec<Seen>,
    servers: Servers,
    serving: Serving,
    probes: BTreeMap<ProbeId, UnderWay>,
    next_probe: u64,
    /// When the next probe may begin.
    probe_at: Instant,
    /// When to look again.
    wake: Option<Instant>,
    reach: Reach,
    outputs: VecDeque<ReachabilityOutput>,
}

impl Reachability {
    /// With no address and nobody to ask.
    #[must_use]
    pub fn new(config: ReachabilityConfig, seed: u64, now: Now) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            candidates: Candidates::default(),
            observations: Observations::default(),
            seen: Vec::new(),
            servers: Servers::default(),
            serving: Serving::default(),
            probes: BTreeMap::new(),
            next_probe: 0,
            probe_at: now.instant,
            wake: None,
            reach: Reach::Unknown,
            outputs: VecDeque::new(),
        }
    }

    /// Where we listen: concrete addresses, all of them, each time they change.
    pub fn set_listen(&mut self, addrs: &[Multiaddr], now: Now) {
        self.candidates.listen = addrs.to_vec();
        self.refresh(now);
    }

    /// What a port mapper holds open for us: all of it, each time it changes.
    pub fn handle_mapped(&mut self, addrs: &[Multiaddr], now: Now) {
        self.candidates.mapped = addrs.to_vec();
        self.refresh(now);
    }

    /// `by`, connected by `via`, says that it sees us at `addr`; after
    /// [`handle_peer`](Self::handle_peer), if it can be asked to dial us.
    /// `outbound`: we opened the connection.
    pub fn handle_observed(
        &mut self,
        addr: &Multiaddr,
        by: PeerId,
        via: &Multiaddr,
        outbound: bool,
        now: Now,
    ) {
        let Some(socket) = addr.to_tcp_addr() else { return };
        self.servers.set_seen(&by, socket.ip().to_canonical());
        if suits(addr.scope(), via.scope(), self.config.private_addresses) && !addr.is_relayed() {
            let by = Witness::of(by, via);
            if self.observations.note(by, socket, outbound, now.instant, &self.config) {
                return self.refresh(now);
            }
        }
        self.pump(now.instant);
    }

    /// `peer`, connected by `via`, answers these versions of AutoNAT; again
    /// whenever that changes.
    pub fn handle_peer(&mut self, peer: PeerId, v1: bool, v2: bool, via: &Multiaddr, now: Now) {
        self.servers.set(peer, v1, v2, via, &self.config);
        self.pump(now.instant);
    }

    /// The last connection to `peer` is over. A probe that it has not answered
    /// is to be answered all the same.
    pub fn handle_disconnected(&mut self, peer: &PeerId) {
        self.servers.remove(peer);
    }

    /// What came of a probe. One that is not under way changes nothing.
    pub fn handle_answer(&mut self, probe: ProbeId, answer: &Answer, now: Now) {
        if let Some(under_way) = self.probes.remove(&probe) {
            self.take_answer(&under_way, answer, now.instant);
        }
        self.pump(now.instant);
    }

    /// A peer asks to be dialled. What is decided as [`Decision::Dial`] or
    /// [`Decision::DialAny`] ends with [`handle_served`](Self::handle_served).
    /// `connected` are addresses by which any peers are.
    pub fn handle_dial_request<'a>(
        &mut self,
        request: &DialRequest,
        connected: &(impl Iterator<Item = &'a Multiaddr> + Clone),
        now: Now,
    ) -> Decision {
        let circumstances = Circumstances {
            private: self.reach == Reach::Private,
            is_ours: &|ip| self.candidates.is_ours(ip),
            reaches: &|ip| {
                let family =
                    |addr: &Multiaddr| public_ip(addr).is_some_and(|own| own.is_ipv4() == ip.is_ipv4());
                family(&request.via)
                    || self.candidates.listen.iter().any(family)
                    || connected.clone().any(family)
            },
        };
        self.serving.decide(request, &circumstances, &mut self.rng, &self.config, now.instant)
    }

    /// What was asked for by `peer` has been answered, or came to nothing.
    pub fn handle_served(&mut self, peer: &PeerId) {
        self.serving.end(peer);
    }

    /// The next thing to do. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<ReachabilityOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let over = self.probes.iter().filter(|(_, under_way)| under_way.deadline <= now.instant);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(under_way) = self.probes.remove(&id) {
                self.take_answer(&under_way, &Answer::Failed, now.instant);
            }
        }
        if self.observations.expire(now.instant, &self.config) {
            self.refresh(now);
        } else {
            self.pump(now.instant);
        }
    }

    /// True while this peer is asked, or waits to be dialled.
    #[must_use]
    pub fn is_busy_with(&self, peer: &PeerId) -> bool {
        self.asks(peer) || self.serving.serves(peer)
    }

    /// True while this peer is asked to dial us.
    #[must_use]
    pub fn asks(&self, peer: &PeerId) -> bool {
        self.probes.values().any(|under_way| under_way.probe.peer == *peer)
    }

    /// Whether others can dial us, as it was told last.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Every address that is tested, and what is known of it.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Multiaddr, Verdict)> {
        self.candidates.iter().map(|(addr, candidate)| (addr, candidate.verdict))
    }

    fn refresh(&mut self, now: Now) {
        let mut seen = self.observations.seen(&self.config);
        // Who has few connections, and long ones, hears nothing new for hours:
        // what was seen stays until something else is.
        let family = |seen: &[Seen], ip: IpAddr| seen.iter().any(|one| one.ip.is_ipv4() == ip.is_ipv4());
        let old = std::mem::take(&mut self.seen);
        let kept: Vec<Seen> = old.into_iter().filter(|one| !family(&seen, one.ip)).collect();
        seen.extend(kept);
        self.candidates.refresh(&seen, &self.config, now);
        self.seen = seen;
        self.pump(now.instant);
    }

    /// Forgets what is old, begins the probes that are due, tells what is new,
    /// and finds out when to look again.
    fn pump(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.expire(&self.config, now);
        }
        let waits = self.begin_probes(now);
        self.tell();
        let deadlines = self.probes.values().map(|under_way| under_way.deadline);
        let verdicts = self.candidates.iter().filter(|(_, one)| one.verdict != Verdict::Unknown);
        let verdicts = verdicts.map(|(_, one)| one.expires_at(&self.config));
        let views = self.observations.next_expiry(&self.config);
        self.wake = deadlines.chain(verdicts).chain(views).chain(waits).min();
    }

    /// Says so if it is known anew whether others can dial us.
    fn tell(&mut self) {
        let of = |verdict| self.candidates.iter().filter(move |(_, one)| one.verdict == verdict);
        let reachable: Vec<Multiaddr> = of(Verdict::Reachable).map(|(addr, _)| addr.clone()).collect();
        let reach = if !reachable.is_empty() {
            Reach::Public(reachable)
        } else if of(Verdict::Unreachable).next().is_some()
            && !self.candidates.iter().any(|(_, one)| one.is_open())
        {
            Reach::Private
        } else {
            Reach::Unknown
        };
        if reach != self.reach {
            self.reach = reach.clone();
            self.outputs.push_back(ReachabilityOutput::Changed(reach));
        }
    }
}

#[cfg(test)]
impl Reachability {
    /// The largest of what is remembered of others.
    pub(crate) fn weights(&self) -> usize {
        let outputs = self.outputs.len().max(self.probes.len());
        self.servers.weight().max(self.serving.weight()).max(self.observations.len()).max(outputs)
    }
}
