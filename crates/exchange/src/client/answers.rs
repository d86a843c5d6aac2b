//! What sources answer: blocks, and word of whether they have them.

use peerage_base::{Instant, Now};
use peerage_content::Cid;
use peerage_identity::PeerId;

use crate::client::Client;
use crate::message::{Presence, WantKind};
use crate::outbox::Outbox;
use crate::output::{BlockOutcome, Output, SessionId, Timer};

impl Client {
    pub(crate) fn handle_presence(
        &mut self,
        peer: PeerId,
        cid: &Cid,
        presence: Presence,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(id) = self.board.find(cid) else { return };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(want) = self.board.wants.get(&id) else { return };
        let ask = want.asks.get(&peer).copied();
        let known: Vec<SessionId> = want.sessions.intersection(&state.sessions).copied().collect();
        if known.is_empty() || (ask.is_none() && presence == Presence::DontHave) {
            return;
        }
        state.flow.progressed(now.instant);
        let had_it = presence == Presence::Have;
        if let Some((kind, seq)) = ask {
            if let Some(ask) = state.asks.get(&seq)
                && ask.first
            {
                state.flow.answered(now.instant - ask.at, 0);
            }
            // Else it keeps a want that is of no more use to us, and its list has
            // room for so many only.
            let promised = !had_it && self.let_promise(peer, seq, out);
            if !promised && (!had_it || kind == WantKind::Have) {
                self.end_ask(peer, seq, true, out);
            }
        } else if let Some(seq) = self.end_promise(peer, id) {
            out.cancel(peer, seq, *cid);
        }
        if had_it {
            self.board.absolve(id, peer, true);
        } else {
            self.board.refuse(id, peer);
        }
        for session in known {
            self.note_answer(session, peer, had_it, now.instant, out);
        }
        self.touch_want(id);
    }

    fn note_answer(
        &mut self,
        session: SessionId,
        peer: PeerId,
        had_it: bool,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Some(state) = self.board.sessions.get_mut(&session) else { return };
        let Some(source) = state.sources.get_mut(&peer) else { return };
        source.note_answer(had_it);
        if had_it {
            state.stalled_told = false;
            source.retry = self.config.retry_first;
            return;
        }
        if source.refused_in_row >= self.config.useless_after && !source.useless_told {
            source.useless_told = true;
            out.push(Output::SourceUseless { session, peer });
        }
        out.timers.set_earlier(Timer::Retry(session, peer), now + source.retry);
    }

    pub(crate) fn handle_block(
        &mut self,
        peer: PeerId,
        cid: &Cid,
        len: u32,
        now: Now,
        out: &mut Outbox,
    ) -> BlockOutcome {
        let found = self.board.find(cid);
        let mut ask = None;
        if let Some(id) = found
            && let Some((_, seq)) = self.board.wants.get(&id).and_then(|want| want.asks.get(&peer)).copied()
        {
            ask = self.end_ask(peer, seq, false, out);
        }
        let bytes = u64::from(len);
        if let Some(state) = self.peers.get_mut(&peer) {
            if let Some(ask) = ask.filter(|ask| ask.first) {
                state.flow.answered(now.instant - ask.at, bytes);
            }
            if state.flow.is_lapsed() {
                // It was late and no more: what it let lapse may be asked of it again.
                for &session in &state.sessions {
                    out.timers.set_earlier(Timer::Retry(session, peer), now.instant);
                }
            }
            state.flow.arrived(bytes, now.instant);
            self.dirty.insert(peer);
        }
        let Some(id) = found else {
            return if self.remembered.contains(cid) {
                BlockOutcome::Duplicate
            } else {
                BlockOutcome::Unknown
            };
        };
        self.end_asks_of(id, None, out);
        let Some(want) = self.board.remove(id) else { return BlockOutcome::Unknown };
        self.remembered.insert(&want.cid);
        for session in &want.sessions {
            self.touched.insert(*session);
            if let Some(state) = self.board.sessions.get_mut(session) {
                state.stats.blocks += 1;
                state.stats.bytes += bytes;
                state.stalled_told = false;
            }
            if self.board.sessions.get(session).is_some_and(|state| state.sources.contains_key(&peer)) {
                self.note_answer(*session, peer, true, now.instant, out);
            }
        }
        BlockOutcome::Wanted { sessions: want.sessions.into_iter().collect() }
    }

    /// Counts a second copy for the sessions that have this peer as a source.
    pub(crate) fn count_duplicate(&mut self, peer: PeerId, len: u32) {
        let Some(state) = self.peers.get(&peer) else { return };
        for session in &state.sessions {
            if let Some(state) = self.board.sessions.get_mut(session) {
                state.stats.duplicates += 1;
                state.stats.duplicate_bytes += u64::from(len);
            }
        }
    }
}
