//! Whether others can dial us, and what follows from it: which addresses are
//! told, and whether we serve in the public DHT.

use peerage_base::Now;
use peerage_identity::{Multiaddr, PeerId};

use super::Engine;
use crate::output::Output;
use crate::reachability::{Answer, Decision, DialRequest, ProbeId, Reach, ReachabilityOutput, Verdict};

impl Engine {
    /// What a port mapper holds open for us: all of it, each time it changes.
    pub fn handle_mapped(&mut self, addrs: &[Multiaddr], now: Now) {
        self.reachability.handle_mapped(addrs, now);
        self.route(now);
    }

    /// What came of an [`Output::Probe`].
    pub fn handle_probe(&mut self, probe: ProbeId, answer: &Answer, now: Now) {
        self.reachability.handle_answer(probe, answer, now);
        self.route(now);
    }

    /// A peer asks to be dialled. What is decided as a dial ends with
    /// [`handle_dialled_for`](Self::handle_dialled_for).
    pub fn handle_dial_request(&mut self, request: &DialRequest, now: Now) -> Decision {
        let decision = {
            let connected = self.peers.iter().map(|(_, peer)| &peer.link().addr);
            self.reachability.handle_dial_request(request, &connected, now)
        };
        self.route(now);
        decision
    }

    /// A peer that asked to be dialled has its answer.
    pub fn handle_dialled_for(&mut self, peer: &PeerId, now: Now) {
        self.reachability.handle_served(peer);
        self.route(now);
    }

    /// Whether others can dial us.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        self.reachability.reach()
    }

    /// Addresses of ours that are tested, and what is known of each.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(Multiaddr, Verdict)> {
        self.reachability.verdicts().map(|(addr, verdict)| (addr.clone(), verdict)).collect()
    }

    /// Does what is wanted to find out; true if there was anything.
    pub(super) fn route_reachability(&mut self, now: Now) -> bool {
        let mut moved = false;
        while let Some(output) = self.reachability.poll_output() {
            moved = true;
            match output {
                ReachabilityOutput::Probe(probe) => self.outputs.push_back(Output::Probe(probe)),
                ReachabilityOutput::Changed(reach) => {
                    self.outputs.push_back(Output::ReachChanged { reach });
                    self.apply_addrs(now);
                }
            }
        }
        moved
    }
}
