//! Outputs in order, and per peer the message that is being put together, so
//! that one input makes one message for each peer (two if wants have to wait
//! for the room that cancels make).

use std::collections::{BTreeMap, VecDeque};

use peerage_base::Timers;
use peerage_content::Cid;
use peerage_identity::PeerId;

use crate::limits::REFUSALS_MAX;
use crate::message::{Outgoing, Presence, WantEntry};
use crate::output::{Output, Timer};

/// What both halves of the machine write to.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    outputs: VecDeque<Output>,
    drafts: BTreeMap<PeerId, Draft>,
    pub(crate) timers: Timers<Timer>,
}

#[derive(Debug, Default)]
struct Draft {
    /// The peer has seen no wantlist of this connection yet.
    full: bool,
    wants: BTreeMap<u64, WantEntry>,
    cancels: Vec<Cid>,
    presences: Vec<(Cid, Presence)>,
}

impl Outbox {
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The next output. Nothing before the messages are flushed is lost: they
    /// come after what was pushed.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A connection begins: its first wants replace what the peer may
    /// remember of an earlier one. Answers that were not given yet still are.
    pub(crate) fn open(&mut self, peer: PeerId) {
        let presences = self.drafts.remove(&peer).map(|draft| draft.presences).unwrap_or_default();
        self.drafts.insert(peer, Draft { full: true, presences, ..Draft::default() });
    }

    pub(crate) fn close(&mut self, peer: &PeerId) {
        self.drafts.remove(peer);
    }

    pub(crate) fn want(&mut self, peer: PeerId, seq: u64, entry: WantEntry) {
        self.drafts.entry(peer).or_default().wants.insert(seq, entry);
    }

    /// Takes a want back: out of the draft if it is still there, else by a cancel.
    pub(crate) fn cancel(&mut self, peer: PeerId, seq: u64, cid: Cid) {
        let draft = self.drafts.entry(peer).or_default();
        if draft.wants.remove(&seq).is_none() {
            draft.cancels.push(cid);
        }
    }

    pub(crate) fn presence(&mut self, peer: PeerId, cid: Cid, presence: Presence) {
        self.drafts.entry(peer).or_default().presences.push((cid, presence));
    }

    /// Says that a want is not taken, if there is room for that; who floods us
    /// with wants is owed no answer to each.
    pub(crate) fn refuse(&mut self, peer: PeerId, cid: Cid) {
        let draft = self.drafts.entry(peer).or_default();
        if draft.presences.len() < REFUSALS_MAX {
            draft.presences.push((cid, Presence::DontHave));
        }
    }

    /// Turns the drafts into outputs, cancels that make room before wants.
    pub(crate) fn flush(&mut self) {
        for (&peer, draft) in &mut self.drafts {
            let mut message = Outgoing {
                cancels: std::mem::take(&mut draft.cancels),
                presences: std::mem::take(&mut draft.presences),
                ..Outgoing::default()
            };
            let wants = std::mem::take(&mut draft.wants);
            if !wants.is_empty() {
                if !message.cancels.is_empty() {
                    let message = std::mem::take(&mut message);
                    self.outputs.push_back(Output::SendMessage { peer, message });
                }
                message.full = std::mem::take(&mut draft.full);
                message.wants = wants.into_values().collect();
            }
            if !message.is_empty() {
                self.outputs.push_back(Output::SendMessage { peer, message });
            }
        }
    }
}
