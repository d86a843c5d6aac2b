//! The world: hosts, what is on its way between them, and time.

mod attack;
mod blocks;
mod check;
mod deliver;
mod lies;
mod life;
mod link;
mod query;
mod reach;
mod setup;
mod swarm;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_content::Cid;
use peerage_dht::{Request, Response};
use peerage_engine::{Config, DialId, FindId};

use peerage_exchange::Incoming;

use crate::address::Dealer;
use crate::draw::Past;
use crate::host::{Host, HostId};
use crate::node::Asked;
use crate::oracle::Oracle;
use crate::queue::Queue;
use crate::trace::Trace;

pub(crate) use blocks::{CACHED, Shelf};
pub(crate) use life::BOOTSTRAP;
pub(crate) use query::{Done, KEEPERS, Kind, Outcome};
pub(crate) use setup::Setup;

/// Unix time when a world begins.
const EPOCH: u64 = 1_700_000_000;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's timer is due, unless it was moved since.
    Wake {
        host: HostId,
    },
    /// A handshake is over.
    Dialed {
        host: HostId,
        session: u32,
        dial: Option<DialId>,
        to: HostId,
        to_session: u32,
    },
    DialFailed {
        host: HostId,
        session: u32,
        dial: DialId,
    },
    /// What the other says of itself has come.
    Identified {
        host: HostId,
        other: HostId,
        generation: u32,
    },
    Request {
        from: HostId,
        to: HostId,
        generation: u32,
        id: Asked,
        request: Request,
    },
    /// None is a stream that was reset.
    Response {
        from: HostId,
        to: HostId,
        generation: u32,
        id: Asked,
        response: Option<Response>,
    },
    /// A request without an answer was written.
    Sent {
        host: HostId,
        session: u32,
        id: Asked,
    },
    /// The host learns that a connection is gone.
    Closed {
        host: HostId,
        other: HostId,
        generation: u32,
    },
    /// Wants, cancels and presences have come.
    Message {
        from: HostId,
        to: HostId,
        generation: u32,
        message: Incoming,
    },
    /// A block has come, whose bytes hash to this.
    Block {
        from: HostId,
        to: HostId,
        generation: u32,
        cid: Cid,
        len: u32,
    },
    /// A disk has done something.
    Disk {
        host: HostId,
        session: u32,
        done: blocks::Disk,
    },
    /// A host is asked to dial another.
    Probe {
        from: HostId,
        to: HostId,
        generation: u32,
        probe: Box<peerage_engine::Probe>,
    },
    /// What came of that.
    Probed {
        host: HostId,
        session: u32,
        by: HostId,
        id: peerage_engine::ProbeId,
        answer: peerage_engine::ProbeAnswer,
    },
    /// A host asks another about a root, by the swarm protocol.
    SwarmAsked {
        from: HostId,
        to: HostId,
        generation: u32,
        root: Cid,
        share: peerage_engine::Share,
    },
    /// The hosts that fetch it, too.
    SwarmAnswered {
        from: HostId,
        to: HostId,
        generation: u32,
        root: Cid,
        hosts: Vec<HostId>,
    },
    /// A session ends.
    Leave {
        host: HostId,
        session: u32,
    },
    /// One begins.
    Return {
        host: HostId,
        session: u32,
    },
    /// All that a provide has sent has come; which provide.
    Settled {
        host: HostId,
        number: u64,
    },
}

/// What happened how often.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) bytes: u64,
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
    pub(crate) connections: u64,
    pub(crate) connections_refused: u64,
    pub(crate) joined: u64,
    pub(crate) left: u64,
    pub(crate) retransmitted: u64,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    /// Of all honest nodes.
    pub(crate) config: Config,
    /// The same for servers, for clients, and for those who find out by themselves
    /// which of these they are.
    configs: [Arc<Config>; 3],
    pub(crate) now: Instant,
    queue: Queue<Event>,
    pub(crate) hosts: Vec<Host>,
    /// Every server that ever was, there or not.
    pub(crate) servers: Oracle,
    /// The hostile ones.
    pub(crate) hostile: Oracle,
    pub(crate) rng: Rng,
    dealer: Dealer,
    pub(crate) trace: Trace,
    /// Of the servers, when the world began.
    pub(crate) past: Vec<Past>,
    generation: u32,
    calm: bool,
    /// Attacks so far.
    attack: u64,
    /// Peers that do not exist, whom liars name.
    invented: Vec<peerage_dht::PeerInfo>,
    /// What a replayer said first, and says again and again.
    replayed: BTreeMap<HostId, Vec<peerage_dht::PeerInfo>>,
    /// The host that acted last.
    acted: HostId,
    /// From which side to which nothing passes.
    blocked: Vec<(u8, u8)>,
    library: blocks::Library,
    asked: BTreeMap<(HostId, FindId), Done>,
    /// Provides that have ended, until it is counted who keeps their records.
    settling: BTreeMap<(HostId, u64), Done>,
    done: Vec<Done>,
    /// Requests of the swarm protocol so far, and the one that is being handled:
    /// its number, who asks, and about which root.
    swarm_requests: u64,
    swarm_open: Option<(peerage_engine::RequestId, HostId, Cid)>,
    pub(crate) counts: Counts,
    pub(crate) largest: check::Largest,
    /// Hosts that are there.
    alive: u64,
}

impl World {
    /// A host's clocks.
    pub(crate) fn clock(&self, host: HostId) -> Now {
        let seconds = self.now.as_nanos() / 1_000_000_000;
        let unix = (EPOCH + seconds).saturating_add_signed(self.hosts[host as usize].skew);
        Now::new(self.now, UnixTime(unix))
    }

    pub(crate) fn host(&self, host: HostId) -> &Host {
        &self.hosts[host as usize]
    }

    pub(crate) fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.hosts[host as usize]
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Lets everything happen that happens until then.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        if let Some((at, event)) = self.queue.pop() {
            self.now = at;
            self.deliver(event);
            if self.trace.events().is_multiple_of(check::EVERY) {
                self.check_some();
                self.check_much_of(self.acted);
            }
        }
    }

    /// The calendars of one in so many hosts are set anew, by up to so many
    /// seconds forward or back.
    pub(crate) fn jump_calendars(&mut self, one_in: u64, most: i64) {
        for host in 0..self.hosts.len() {
            if self.rng.below(one_in) == 0 {
                let by = self.rng.below(2 * most.unsigned_abs());
                self.hosts[host].skew += i64::try_from(by).unwrap_or(0) - most;
            }
        }
    }

    /// Nothing sent from one side arrives on the other, from now on.
    pub(crate) fn block(&mut self, from: u8, to: u8) {
        self.blocked.push((from, to));
        self.break_blocked();
    }

    /// Everything passes again.
    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
    }

    fn passes(&self, from: HostId, to: HostId) -> bool {
        self.blocked.is_empty() || !self.blocked.contains(&(self.host(from).side, self.host(to).side))
    }

    /// Gives a node an input, and does what it wants then.
    pub(crate) fn act<T>(
        &mut self,
        host: HostId,
        input: impl FnOnce(&mut crate::node::Node, Now) -> T,
    ) -> Option<T> {
        let now = self.clock(host);
        let node = self.host_mut(host).node.as_mut()?;
        let result = input(node, now);
        self.flush(host);
        Some(result)
    }
}
