//! The brain's part in finding out whether others can dial us, and in dialling
//! those that ask the same.

use std::sync::Arc;

use peerage_base::Now;
use peerage_engine::{DialDecision, Probe, ProbeAnswer, Reach};

use super::{Brain, Input, Reachability};
use crate::net::{autonat, identity};

impl Brain {
    /// News of whether others can dial us.
    pub(super) fn hear_of_reach(&mut self, input: Input, now: Now) {
        match input {
            Input::Probed { probe, answer } => {
                self.finding.probed(probe);
                self.engine.handle_probe(probe, &answer, now);
            }
            Input::DialRequested { request, reply } => {
                let decision = self.engine.handle_dial_request(&request, now);
                let serving = match decision {
                    DialDecision::Refuse(_) => None,
                    DialDecision::Dial { .. } | DialDecision::DialAny { .. } => {
                        Some(autonat::Serving::new(Arc::clone(&self.net), request.peer))
                    }
                };
                // If nobody waits any more, dropping it says so.
                drop(reply.send((decision, serving)));
            }
            Input::DialledFor { peer } => self.engine.handle_dialled_for(&peer, now),
            Input::Mapped { addrs } => self.engine.handle_mapped(&addrs, now),
            Input::Reachability { reply } => {
                let (reach, addrs) = (self.engine.reach().clone(), self.engine.verdicts());
                drop(reply.send(Reachability { reach, addrs }));
            }
            // Handled before; named, so that a new one is not forgotten.
            Input::Connected { .. }
            | Input::Identified { .. }
            | Input::Disconnected { .. }
            | Input::DialFailed { .. }
            | Input::WriterFailed { .. }
            | Input::Spoke { .. }
            | Input::Message { .. }
            | Input::Block { .. }
            | Input::BadBlock { .. }
            | Input::Arriving { .. }
            | Input::Local { .. }
            | Input::Written { .. }
            | Input::Made { .. }
            | Input::Broken { .. }
            | Input::LookedUp { .. }
            | Input::Served { .. }
            | Input::Held { .. }
            | Input::SentAll(..)
            | Input::Received(..)
            | Input::SwarmRequested { .. }
            | Input::SwarmAnswered { .. }
            | Input::DhtRequested { .. }
            | Input::DhtAnswered { .. }
            | Input::DhtSent { .. }
            | Input::DhtFailed { .. }
            | Input::Discovered { .. }
            | Input::Undiscovered { .. }
            | Input::Routed { .. }
            | Input::RoutersDone { .. }
            | Input::Listen { .. }
            | Input::Bootstrap { .. }
            | Input::Find { .. }
            | Input::CancelFind { .. }
            | Input::Announce { .. }
            | Input::Unannounce { .. }
            | Input::Told { .. }
            | Input::ResumeAnnouncing { .. }
            | Input::ListAnnouncements { .. }
            | Input::KeysListed { .. }
            | Input::AnnounceListed { .. }
            | Input::Announcements { .. }
            | Input::DhtStatus { .. }
            | Input::Servers { .. }
            | Input::Fetch { .. }
            | Input::OpenQuery { .. }
            | Input::Query { .. }
            | Input::Cancel { .. }
            | Input::Progress { .. }
            | Input::Serve { .. }
            | Input::Unserve { .. }
            | Input::Peers { .. }
            | Input::Stats { .. }
            | Input::Control { .. }
            | Input::Rates(_)
            | Input::Totals { .. }
            | Input::Stop { .. } => {}
        }
    }

    /// Asks a peer to dial us.
    pub(super) fn probe(&mut self, probe: Probe) {
        let id = probe.id;
        let Some(control) = self.registry.control(&probe.peer).cloned() else {
            return self.net.tell(Input::Probed { probe: id, answer: ProbeAnswer::Failed });
        };
        let task = tokio::spawn(autonat::ask(Arc::clone(&self.net), control, probe));
        self.finding.probing(id, task.abort_handle());
    }

    /// Others can dial us at these addresses from now on, or cannot any more.
    pub(super) fn change_reach(&mut self, reach: Reach) {
        match &reach {
            Reach::Unknown => tracing::info!("it is not known whether others can dial us"),
            Reach::Private => tracing::info!("others cannot dial us"),
            Reach::Public(addrs) => tracing::info!(?addrs, "others can dial us"),
        }
        self.net.local.set_reach(reach);
        self.finding.changed();
    }

    /// Tells who is connected what we are now, if that is news.
    pub(super) fn tell_of_us(&mut self) {
        if self.finding.take_change() {
            for (control, addr) in self.registry.connections() {
                tokio::spawn(identity::push(Arc::clone(&self.net), control.clone(), addr.clone()));
            }
        }
    }
}
