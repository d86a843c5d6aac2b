//! The brain's part in finding peers: requests of the DHTs and dials under way,
//! and who hears of look-ups.

use std::collections::HashMap;
use std::sync::Arc;

use peerage_base::Now;
use peerage_dht::sweep::SweepError;
use peerage_dht::{Network, RequestId};
use peerage_engine::{DialId, FindEvent, FindId, Output, ProbeId, RouterQuestion};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::input::Goal;
use super::listers::{Listed, Listers};
use super::{Brain, Input};
use crate::net::{dht, dial, routers};

/// What is under way to find peers.
#[derive(Default)]
pub(super) struct Finding {
    asks: HashMap<(Network, RequestId), AbortHandle>,
    dials: HashMap<DialId, AbortHandle>,
    finds: HashMap<FindId, mpsc::UnboundedSender<FindEvent>>,
    routers: HashMap<RouterQuestion, AbortHandle>,
    probes: HashMap<ProbeId, AbortHandle>,
    /// Who lists what else there is to announce.
    listers: Listers,
    /// What we say of ourselves is new, and nobody was told.
    changed: bool,
}

impl Finding {
    /// An attempt to connect is over.
    pub(super) fn dialled(&mut self, dial: DialId) {
        self.dials.remove(&dial);
    }

    /// A peer is asked to dial us.
    pub(super) fn probing(&mut self, probe: ProbeId, task: AbortHandle) {
        self.probes.insert(probe, task);
    }

    /// It has answered.
    pub(super) fn probed(&mut self, probe: ProbeId) {
        self.probes.remove(&probe);
    }

    /// What we say of ourselves is new.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// True once after that.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Gives up all that is under way.
    pub(super) fn give_up(&mut self) {
        let asks = self.asks.drain().map(|(_, task)| task).chain(self.dials.drain().map(|(_, task)| task));
        let rest = self.routers.drain().map(|(_, task)| task);
        let probes = self.probes.drain().map(|(_, task)| task);
        asks.chain(rest).chain(probes).for_each(|task| task.abort());
    }
}

impl Brain {
    /// News of the DHTs and the local network, and look-ups of the API.
    pub(super) fn hear_of_peers(&mut self, input: Input, now: Now) {
        match input {
            Input::DhtRequested { network, peer, request, reply } => {
                drop(reply.send(self.engine.handle_dht_request(network, peer, &request, now)));
            }
            Input::DhtAnswered { network, id, response } => {
                self.finding.asks.remove(&(network, id));
                self.engine.handle_dht_response(network, id, response, now);
            }
            Input::DhtSent { network, id } => {
                self.finding.asks.remove(&(network, id));
                self.engine.handle_dht_sent(network, id, now);
            }
            Input::DhtFailed { network, id, failure } => {
                self.finding.asks.remove(&(network, id));
                self.engine.handle_dht_failed(network, id, failure, now);
            }
            Input::Discovered { peer, addrs } => self.engine.handle_discovered(peer, &addrs, now),
            Input::Undiscovered { peer } => self.engine.handle_undiscovered(&peer),
            Input::Routed { ask, peers } => self.engine.handle_router_answer(ask, peers, now),
            Input::RoutersDone { ask, report } => {
                self.finding.routers.remove(&ask);
                self.engine.handle_router_done(ask, report, now);
            }
            Input::Listen { addrs } => {
                self.finding.changed();
                self.engine.set_listen(addrs, now);
            }
            Input::Bootstrap { addrs, by_user } => self.engine.bootstrap(&addrs, by_user, now),
            Input::Find { find, goal, events } => {
                self.finding.finds.insert(find, events);
                match goal {
                    Goal::Find(target) => self.engine.find(find, target, now),
                    Goal::Provide(cid) => self.engine.provide_once(find, cid, now),
                }
            }
            Input::CancelFind { find } => {
                self.finding.finds.remove(&find);
                self.engine.cancel_find(find, now);
            }
            Input::Announce { cid, known, reply } => {
                // Whoever asked may be gone.
                let _ = reply.send(self.engine.announce(&cid, &known, now));
            }
            Input::Unannounce { cid } => self.engine.unannounce(&cid),
            Input::Told { cid, reply } => drop(reply.send(self.engine.told_of(&cid))),
            Input::ResumeAnnouncing { network, cursor } => {
                self.engine.resume_announcing(network, cursor, now);
            }
            Input::ListAnnouncements { lister, listed } => self.set_lister(lister, listed, now),
            Input::KeysListed { lister, wanted, multihashes } => {
                // One that is not asked any more lists other things.
                if self.finding.listers.is_asked(lister) {
                    self.engine.handle_keys(wanted.network, wanted.from, &multihashes, now);
                }
            }
            Input::AnnounceListed { cids, known, reply } => {
                let taken = cids.iter().take_while(|cid| {
                    // One of no use to any DHT keeps the others from nothing.
                    !matches!(self.engine.announce_listed(cid, &known, now), Err(SweepError::Full))
                });
                let taken = taken.count();
                let _ = reply.send(taken);
            }
            Input::Announcements { reply } => drop(reply.send(self.engine.announcements(now))),
            Input::DhtStatus { reply } => drop(reply.send(self.engine.dht_status())),
            Input::Servers { reply } => {
                let networks = [Network::Wan, Network::Lan];
                let servers = networks.into_iter().map(|network| (network, self.engine.servers(network)));
                drop(reply.send(servers.collect()));
            }
            other => self.hear_of_reach(other, now),
        }
    }

    /// What is to be listed anew is asked for from the beginning.
    fn set_lister(&mut self, lister: u64, listed: Option<Listed>, now: Now) {
        if self.finding.listers.set(lister, listed) {
            self.engine.set_listed(self.finding.listers.count(), now);
        }
    }

    /// Does what the engine wants done to find peers.
    pub(super) fn find_peers(&mut self, output: Output) {
        match output {
            Output::Dial { dial, peer, addrs, trusted } => {
                let task = dial::dial(Arc::clone(&self.net), dial, peer, addrs, trusted);
                self.finding.dials.insert(dial, tokio::spawn(task).abort_handle());
            }
            Output::CancelDial { dial } => {
                if let Some(task) = self.finding.dials.remove(&dial) {
                    task.abort();
                }
            }
            Output::DhtRequest { network, id, peer, request } => {
                let Some(control) = self.registry.control_in(&peer, network).cloned() else {
                    let failure = peerage_dht::Failure::NotTried;
                    return self.net.tell(Input::DhtFailed { network, id, failure });
                };
                let task = tokio::spawn(dht::ask(Arc::clone(&self.net), control, network, id, request));
                self.finding.asks.insert((network, id), task.abort_handle());
            }
            Output::DhtCancel { network, id } => {
                if let Some(task) = self.finding.asks.remove(&(network, id)) {
                    task.abort();
                }
            }
            Output::ServeDht { wan, lan } => {
                self.net.local.set_dhts(wan, lan);
                self.finding.changed();
            }
            Output::ListKeys { network, from, max } => self.finding.listers.ask(network, from, max),
            Output::Probe(probe) => self.probe(probe),
            Output::ReachChanged { reach } => self.change_reach(reach),
            Output::Find { find, event } => {
                let over = matches!(event, FindEvent::Finished(_));
                if let Some(events) = self.finding.finds.get(&find) {
                    drop(events.send(event));
                }
                if over {
                    self.finding.finds.remove(&find);
                }
            }
            Output::AskRouters { ask, target } => {
                let task = routers::ask(Arc::clone(&self.net), ask, target);
                self.finding.routers.insert(ask, tokio::spawn(task).abort_handle());
            }
            Output::CancelRouters { ask } => {
                if let Some(task) = self.finding.routers.remove(&ask) {
                    task.abort();
                }
            }
            // `perform` has done these; named, so that a new one is not forgotten.
            Output::SendMessage { .. }
            | Output::Lookup { .. }
            | Output::ServeBlock { .. }
            | Output::CheckHeld { .. }
            | Output::TakeLocal { .. }
            | Output::MakeDir { .. }
            | Output::OpenFile { .. }
            | Output::FinishFile { .. }
            | Output::MakeSymlink { .. }
            | Output::Write { .. }
            | Output::StoreBlock { .. }
            | Output::Release { .. }
            | Output::QueryBlock { .. }
            | Output::FetchFinished { .. }
            | Output::JobFailed { .. }
            | Output::Disconnect { .. }
            | Output::AskSwarm { .. }
            | Output::AnswerSwarm { .. }
            | Output::PeerProgressed { .. } => {}
        }
    }
}
