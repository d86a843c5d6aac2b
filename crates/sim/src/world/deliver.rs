//! What becomes of an event, and of what a node wants.

use std::time::Duration;

use peerage_dht::{Answer, Network, Request, Response};
use peerage_engine::{Identified, Output, Protocols};
use peerage_identity::PeerId;

use super::{Event, World};
use crate::host::{HostId, number};
use crate::hostile::Behaviour;
use crate::node::{Asked, Node, protocols};

impl World {
    pub(super) fn deliver(&mut self, event: Event) {
        let at = self.now.as_nanos();
        match event {
            Event::Wake { host } => self.wake(host),
            Event::Dialed { host, session, dial, to, to_session } => {
                self.trace.event(1, at, [host.into(), to.into()]);
                let wanted = dial.is_none_or(|dial| self.host_mut(host).dialing.remove(&dial));
                if self.host(host).session == session && wanted {
                    self.connect(host, dial, to, to_session);
                }
            }
            Event::DialFailed { host, session, dial } => {
                self.trace.event(2, at, [host.into(), dial.0]);
                if self.host(host).session == session && self.host_mut(host).dialing.remove(&dial) {
                    self.act(host, |node, now| node.dial_failed(dial, now));
                }
            }
            Event::Identified { host, other, generation } => self.identified(host, other, generation),
            Event::Request { from, to, generation, id, request } => {
                self.trace.event(4, at, [u64::from(from) << 32 | u64::from(to), word(id)]);
                if self.is_linked(to, from, generation) {
                    self.answer(from, to, id, &request);
                }
            }
            Event::Response { from, to, generation, id, response } => {
                self.trace.event(5, at, [u64::from(from) << 32 | u64::from(to), word(id)]);
                if self.is_linked(to, from, generation) && self.host_mut(to).open.remove(&id).is_some() {
                    self.respond(to, id, response);
                }
            }
            Event::Sent { host, session, id } => {
                self.trace.event(6, at, [host.into(), word(id)]);
                if self.host(host).session == session && self.host_mut(host).open.remove(&id).is_some() {
                    self.act(host, |node, now| node.sent(id, now));
                }
            }
            Event::Closed { host, other, generation } => {
                self.trace.event(7, at, [host.into(), other.into()]);
                if self.host(host).link(other).is_some_and(|link| link.generation == generation) {
                    self.lose(host, other);
                }
            }
            Event::Message { from, to, generation, message } => {
                self.trace.event(10, at, [u64::from(from) << 32 | u64::from(to), message.wants.len() as u64]);
                if self.is_linked(to, from, generation) {
                    self.message(from, to, &message);
                }
            }
            Event::Block { from, to, generation, cid, len } => {
                self.trace.event(11, at, [u64::from(from) << 32 | u64::from(to), len.into()]);
                if self.is_linked(to, from, generation) {
                    self.block_arrived(from, to, cid, len);
                }
            }
            Event::Disk { host, session, done } => {
                self.trace.event(12, at, [host.into(), 0]);
                if self.host(host).session == session {
                    self.disk_done(host, done);
                }
            }
            Event::Probe { from, to, generation, probe } => {
                self.trace.event(14, at, [from.into(), to.into()]);
                if self.is_linked(to, from, generation) {
                    self.dial_for(from, to, &probe);
                }
            }
            Event::Probed { host, session, by, id, answer } => {
                self.trace.event(15, at, [host.into(), by.into()]);
                self.probed(host, session, by, id, &answer);
            }
            Event::SwarmAsked { from, to, generation, root, share } => {
                self.trace.event(16, at, [from.into(), to.into()]);
                if self.is_linked(to, from, generation) {
                    self.swarm_asked(from, to, root, share);
                }
            }
            Event::SwarmAnswered { from, to, generation, root, hosts } => {
                self.trace.event(17, at, [from.into(), to.into()]);
                if self.is_linked(to, from, generation) {
                    self.swarm_answered(from, to, root, &hosts);
                }
            }
            Event::Leave { host, session } => {
                self.trace.event(8, at, [host.into(), session.into()]);
                if self.host(host).session == session {
                    self.leave(host);
                }
            }
            Event::Settled { host, number } => {
                self.trace.event(13, at, [host.into(), number]);
                self.settled(host, number);
            }
            Event::Return { host, session } => {
                self.trace.event(9, at, [host.into(), session.into()]);
                if self.host(host).session == session {
                    self.come_back(host);
                }
            }
        }
    }

    fn wake(&mut self, host: HostId) {
        // Not of this session.
        if self.host(host).wakes.last() != Some(&self.now) {
            return;
        }
        self.trace.event(0, self.now.as_nanos(), [host.into(), 0]);
        self.host_mut(host).wakes.pop();
        let due = self.host(host).node.as_ref().and_then(|node| node.next_timeout());
        if due.is_some_and(|due| due <= self.now) {
            self.act(host, Node::timeout);
        } else {
            self.plan_wake(host);
        }
    }

    /// Sees to it that the node is woken in time. A timer that moves back, as
    /// most do, costs nothing: the event that is there wakes early. One that
    /// moves forward leaves the later event for later.
    fn plan_wake(&mut self, host: HostId) {
        let at = self.host(host);
        let Some(due) = at.node.as_ref().and_then(|node| node.next_timeout()) else { return };
        let due = due.max(self.now);
        if at.wakes.last().is_none_or(|wake| *wake > due) {
            self.host_mut(host).wakes.push(due);
            self.queue.push(due, Event::Wake { host });
        }
    }

    fn identified(&mut self, host: HostId, other: HostId, generation: u32) {
        self.trace.event(3, self.now.as_nanos(), [host.into(), other.into()]);
        if self.host(host).link(other).is_none_or(|link| link.generation != generation) {
            return;
        }
        let at = self.host(other);
        let auto = self.setup.auto;
        let protocols = Protocols { autonat_v2: auto, ..protocols(at.serves, self.setup.blocks) };
        let (peer, addrs) = (at.peer, self.told_addrs(other));
        let observed = self.seen_at(host, other).filter(|_| auto);
        let identified = Identified { protocols, addrs, observed };
        self.act(host, |node, now| node.identified(peer, &identified, now));
    }

    /// A request has arrived.
    fn answer(&mut self, from: HostId, to: HostId, id: Asked, request: &Request) {
        let peer = self.host(from).peer;
        let behaviour = self.host(to).behaviour;
        let mut delay = Duration::ZERO;
        let answer = match behaviour {
            Behaviour::Honest | Behaviour::Corrupter(_) | Behaviour::FreeRider | Behaviour::Promiser => {
                self.act(to, |node, now| node.asked(id.0, peer, request, now))
            }
            Behaviour::Slow(late) => {
                delay = late;
                self.act(to, |node, now| node.asked(id.0, peer, request, now))
            }
            Behaviour::Silent => None,
            Behaviour::Liar => Some(self.lie(request)),
            Behaviour::Inventor => Some(self.invent(request)),
            Behaviour::Replayer => Some(self.replay(to, request)),
        };
        let response = match answer {
            Some(Answer::Respond(response)) => Some(response),
            Some(Answer::Reset) => None,
            Some(Answer::Later(pause)) => {
                // The stream waits with what is on it.
                if let Some(link) = self.host(from).link(to) {
                    let (generation, request) = (link.generation, request.clone());
                    self.queue.push(self.now + pause, Event::Request { from, to, generation, id, request });
                }
                return;
            }
            Some(Answer::Nothing) | None => return,
        };
        self.counts.responses += 1;
        let bytes = response.as_ref().map_or(40, response_bytes);
        if let Some((at, generation)) = self.arrival(to, from, bytes) {
            let event = Event::Response { from: to, to: from, generation, id, response };
            self.queue.push(at + delay, event);
        }
    }

    fn respond(&mut self, to: HostId, id: Asked, response: Option<Response>) {
        let Some(response) = response else {
            self.act(to, |node, now| node.failed(id, now));
            return;
        };
        for info in response.closer() {
            self.trace.bytes(&info.peer.as_bytes()[2..6]);
        }
        self.act(to, |node, now| node.responded(id, response, now));
    }

    /// Does all that a node wants.
    pub(super) fn flush(&mut self, host: HostId) {
        while let Some(output) = self.host_mut(host).node.as_mut().and_then(|node| node.next_output()) {
            self.perform(host, output);
        }
        self.acted = host;
        self.check(host);
        self.plan_wake(host);
    }

    fn perform(&mut self, host: HostId, output: Output) {
        match output {
            Output::Dial { dial, peer: Some(peer), addrs, .. } => self.dial(host, dial, &peer, &addrs),
            // Nobody here is dialled without a name.
            Output::Dial { dial, peer: None, .. } => {
                self.host_mut(host).dialing.insert(dial);
                let session = self.host(host).session;
                self.queue.push(self.now, Event::DialFailed { host, session, dial });
            }
            Output::CancelDial { dial } => drop(self.host_mut(host).dialing.remove(&dial)),
            Output::Disconnect { peer, .. } => {
                if let Some(other) = number(&peer) {
                    self.disconnect(host, other);
                }
            }
            Output::DhtRequest { network, id, peer, request } => {
                self.ask(host, (network, id), &peer, request);
            }
            Output::DhtCancel { network, id } => drop(self.host_mut(host).open.remove(&(network, id))),
            Output::Find { find, event } => self.found(host, find, event),
            Output::ServeDht { wan, .. } => self.serves(host, wan),
            Output::ReachChanged { .. } => self.push_identify(host),
            Output::Probe(probe) => self.probe(host, probe),
            Output::AskSwarm { peer, root, share } => self.ask_swarm(host, &peer, root, share),
            Output::AnswerSwarm { request, records, .. } => self.answer_swarm(host, request, &records),
            // Nobody has routers.
            Output::ListKeys { .. } | Output::AskRouters { .. } | Output::CancelRouters { .. } => {}
            output => self.perform_blocks(host, output),
        }
    }

    fn ask(&mut self, host: HostId, id: Asked, peer: &PeerId, request: Request) {
        self.counts.requests += 1;
        let to = number(peer).filter(|&to| self.host(host).link(to).is_some());
        let Some(to) = to else {
            self.act(host, |node, now| node.failed(id, now));
            return;
        };
        self.host_mut(host).open.insert(id, to);
        let answered = request.is_answered();
        if let Some((at, generation)) = self.arrival(host, to, 120) {
            self.queue.push(at, Event::Request { from: host, to, generation, id, request });
        }
        if !answered {
            // Written, which is not yet arrived.
            let session = self.host(host).session;
            self.queue.push(self.now + Duration::from_millis(1), Event::Sent { host, session, id });
        }
    }
}

/// A request in the trace.
fn word((network, id): Asked) -> u64 {
    id.0 << 1 | u64::from(network == Network::Lan)
}

/// About what a response has on the wire: an id, two addresses and framing for
/// each peer.
fn response_bytes(response: &Response) -> u64 {
    let named = response.closer().len()
        + match response {
            Response::Providers { providers, .. } => providers.len(),
            _ => 0,
        };
    60 + 80 * named as u64
}
