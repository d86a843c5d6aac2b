//! Sources that do not answer, that answer wrongly, or that had nothing when they were
//! asked: when they are given up, and asked again.

use std::time::Duration;

use peerage_base::{Instant, Now};
use peerage_identity::PeerId;

use crate::client::Client;
use crate::client::state::{ClientPeer, Want, WantId};
use crate::message::WantKind;
use crate::outbox::Outbox;
use crate::output::{Output, SessionId, Timer, Verdict};

/// Wants that are asked again of a source that refused them, at one time.
const RETRY_BATCH: usize = 256;

impl Client {
    pub(crate) fn charge_bad_block(&mut self, peer: PeerId, now: Now, out: &mut Outbox) -> Verdict {
        let left = self.histories.charge(peer, now.instant);
        self.drop_asks(peer, Some(now.instant), out);
        if left > 0 {
            return Verdict::Charged { left };
        }
        let sessions: Vec<SessionId> =
            self.peers.get(&peer).map(|state| state.sessions.iter().copied().collect()).unwrap_or_default();
        for &session in &sessions {
            self.remove_source(session, peer, out);
            if let Some(state) = self.board.sessions.get_mut(&session) {
                state.banned.insert(peer);
            }
        }
        out.push(Output::Ban { peer, sessions });
        Verdict::Banned
    }

    /// Ends all that is asked of a peer; others are asked if there are any
    /// that may have it, else the same again. `connected` is the time if the
    /// peer still is, and so can be told.
    pub(super) fn drop_asks(&mut self, peer: PeerId, connected: Option<Instant>, out: &mut Outbox) {
        let Some(state) = self.peers.get(&peer) else { return };
        for seq in state.asks.keys().copied().collect::<Vec<u64>>() {
            self.give_up(peer, seq, connected, out);
        }
    }

    /// Ends an ask without an answer.
    fn give_up(&mut self, peer: PeerId, seq: u64, connected: Option<Instant>, out: &mut Outbox) {
        let Some(ask) = self.end_ask(peer, seq, connected.is_some(), out) else { return };
        if let Some(now) = connected
            && self.may_be_elsewhere(ask.want, Some(peer))
        {
            self.board.refuse(ask.want, peer);
            for session in self.board.wants.get(&ask.want).iter().flat_map(|want| &want.sessions) {
                let source = self.board.sessions.get(session).and_then(|state| state.sources.get(&peer));
                if let Some(source) = source {
                    out.timers.set_earlier(Timer::Retry(*session, peer), now + source.retry);
                }
            }
        }
        self.touch_want(ask.want);
    }

    /// Asked of nobody, or only of those that are not counted on.
    fn is_open(&self, want: &Want) -> bool {
        let gives = |peer: &PeerId| self.peers.get(peer).is_some_and(|state| !state.flow.is_lapsed());
        want.is_listed() || !want.asks.keys().any(gives)
    }

    /// Whether a source of any session of the want, other than `but`, may have it and
    /// give it: one that let a want lapse and has sent no block since is not counted on,
    /// or a few that answer nothing would keep a want from the one who has it.
    pub(super) fn may_be_elsewhere(&self, id: WantId, but: Option<PeerId>) -> bool {
        let Some(want) = self.board.wants.get(&id) else { return false };
        let sessions = want.sessions.iter().filter_map(|s| self.board.sessions.get(s));
        let mut sources = sessions.flat_map(|s| s.sources.keys());
        let gives = |peer: &PeerId| self.peers.get(peer).is_some_and(|state| !state.flow.is_lapsed());
        sources.any(|peer| Some(*peer) != but && !want.refused.contains(peer) && gives(peer))
    }

    pub(super) fn deadline(&self, state: &ClientPeer) -> Option<Instant> {
        let (_, ask) = state.asks.first_key_value()?;
        let len = if ask.kind == WantKind::Block { ask.len } else { 0 };
        Some(state.flow.deadline(ask.at, ask.ahead, len, ask.delivered, &self.config) + self.hold)
    }

    /// Wants are waited for longer, or no longer.
    pub(crate) fn set_hold(&mut self, hold: Duration, out: &mut Outbox) {
        self.hold = hold;
        for peer in self.peers.keys() {
            self.arm(peer, out);
        }
    }

    /// The oldest ask of `peer` is past patience, or the timer was early.
    pub(crate) fn handle_unanswered(&mut self, peer: PeerId, now: Now, out: &mut Outbox) {
        while let Some(state) = self.peers.get(&peer)
            && self.deadline(state).is_some_and(|at| at <= now.instant)
            && let Some((&seq, ask)) = state.asks.first_key_value()
        {
            // Nothing at all came since: what was asked later waits in vain too.
            let silent = state.flow.is_silent_since(ask.at);
            if let Some(state) = self.peers.get_mut(&peer) {
                state.flow.lapse();
            }
            if silent {
                self.drop_asks(peer, Some(now.instant), out);
            } else {
                self.give_up(peer, seq, Some(now.instant), out);
            }
        }
        self.arm(&peer, out);
    }

    /// Asks a source again for what it refused: what nobody else may have,
    /// and if it does answer, all that waits, since it may be fetching the
    /// same and is then a better source than one that all others ask too.
    pub(crate) fn handle_retry(&mut self, session: SessionId, peer: PeerId, now: Now, out: &mut Outbox) {
        let Some(source) = self.board.sessions.get(&session).and_then(|state| state.sources.get(&peer))
        else {
            return;
        };
        // Who says when it has not a block, and gave one since, was late and no more.
        let gives =
            |state: &ClientPeer| state.version.has_presences() && (source.partial || !state.flow.is_lapsed());
        let answers = self.peers.get(&peer).is_some_and(gives);
        // One that has said nothing for long may have forgotten what it was to tell.
        let doubted = source.retry >= self.config.retry_max / 4;
        let again: Vec<WantId> = source
            .refused
            .iter()
            .copied()
            .filter(|&id| self.board.wants.get(&id).is_some_and(|want| self.is_open(want)))
            .filter(|id| {
                doubted || !self.peers.get(&peer).is_some_and(|state| state.promised.contains_key(id))
            })
            .filter(|&id| answers || !self.may_be_elsewhere(id, None))
            .take(RETRY_BATCH)
            .collect();
        for &id in &again {
            self.board.absolve(id, peer, false);
        }
        let Some(source) = self.board.sessions.get_mut(&session).and_then(|s| s.sources.get_mut(&peer))
        else {
            return;
        };
        if !again.is_empty() {
            self.dirty.insert(peer);
        }
        let waits = !source.refused.is_empty();
        if waits || !again.is_empty() {
            source.retry = (source.retry * 2).min(self.config.retry_max);
        }
        if waits {
            out.timers.set(Timer::Retry(session, peer), now.instant + source.retry);
        }
    }
}
