//! The scheduler: which peer is asked for which want next, who takes over from
//! whom, and when a session has nobody left to ask.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_base::{Instant, Now};
use peerage_identity::PeerId;

use crate::client::Client;
use crate::client::state::{Ask, WantId};
use crate::message::{WantEntry, WantKind};
use crate::outbox::Outbox;
use crate::output::{Order, Output, SessionId, Timer};

/// How often idle sources look at what slow ones have.
const BALANCE_EVERY: Duration = Duration::from_millis(500);

/// A want and how it would be asked.
pub(super) type Pick = (SessionId, WantId, WantKind);

impl Client {
    /// Gives wants to sources until no source that changed has room or no want
    /// is left, then looks for sessions that have nobody to ask.
    pub(crate) fn schedule(&mut self, now: Now, out: &mut Outbox) {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut touched = std::mem::take(&mut self.touched);
        // Whoever would be done first is given the next want.
        let mut queue: BTreeSet<(Duration, PeerId)> =
            dirty.iter().filter_map(|peer| Some((self.expected(peer)?, *peer))).collect();
        while let Some((_, peer)) = queue.pop_first() {
            let pick = self.pick(&peer).or_else(|| self.take_over(&peer, now.instant, out));
            if let Some((_, id, kind)) = pick {
                self.ask(peer, id, kind, now.instant, out);
                if let Some(expected) = self.expected(&peer) {
                    queue.insert((expected, peer));
                }
            }
        }
        // Those from whom something was taken over may have room for wants of
        // other sessions; they do not take over in their turn.
        for peer in std::mem::take(&mut self.dirty) {
            while let Some((_, id, kind)) = self.pick(&peer) {
                self.ask(peer, id, kind, now.instant, out);
            }
            dirty.insert(peer);
        }
        for peer in &dirty {
            if let Some(state) = self.peers.get(peer) {
                touched.extend(&state.sessions);
            }
            self.arm(peer, out);
        }
        self.dirty.clear();
        for session in touched {
            self.tell_stall(session, out);
            self.arm_balance(session, now.instant, out);
        }
    }

    fn expected(&self, peer: &PeerId) -> Option<Duration> {
        self.peers.get(peer).map(|state| state.flow.estimate(0, &self.config))
    }

    /// The next want for `peer`, its sessions in turn.
    fn pick(&mut self, peer: &PeerId) -> Option<Pick> {
        let state = self.peers.get(peer)?;
        if state.live_wants() >= self.config.live_wants {
            return None;
        }
        let turn = state.turn;
        let after = state.sessions.iter().filter(|s| turn.is_none_or(|t| **s > t));
        let before = state.sessions.iter().filter(|s| turn.is_some_and(|t| **s <= t));
        let sessions: Vec<SessionId> = after.chain(before).copied().collect();
        for session in sessions {
            if let Some((id, kind)) = self.pick_in(session, peer) {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.turn = Some(session);
                }
                return Some((session, id, kind));
            }
        }
        None
    }

    fn pick_in(&mut self, session: SessionId, peer: &PeerId) -> Option<(WantId, WantKind)> {
        let random = self.rng.next_u64();
        let board = self.board.sessions.get_mut(&session)?;
        let scattered = board.sources.len() > 1 && board.sources.values().any(|source| source.partial);
        let clean = board.next_clean(scattered, random);
        let state = self.peers.get(peer)?;
        let board = self.board.sessions.get(&session)?;
        let source = board.sources.get(peer)?;
        let presences = state.version.has_presences();
        let has = source.has.first().copied();
        let may = source.may.first().copied();
        // A source that lacks most things is asked for blocks only when it
        // said that it has them, unless it would have nothing to do.
        let probe_first = source.is_sparse() && presences && !state.asks.is_empty();
        // Of one that answers nothing only what nobody else may give: whoever it keeps
        // waiting has it later.
        let lapsed = state.flow.is_lapsed();
        let likely = |id: &WantId| !lapsed || !self.may_be_elsewhere(*id, Some(*peer));
        let (may, clean) = (may.filter(|(_, id)| likely(id)), clean.filter(likely));
        let mut held_back = false;
        let block = match board.order {
            _ if probe_first => has.map(|(_, id)| id),
            Order::InOrder => {
                [has.map(|(_, id)| id), may.map(|(_, id)| id), clean].into_iter().flatten().min()
            }
            Order::RarestFirst => has.into_iter().chain(may).min().map(|(_, id)| id).or(clean),
        };
        if let Some(id) = block
            && let Some(want) = self.board.wants.get(&id)
            && state.flow.has_room(self.weight(want), &self.config)
        {
            if board.has_room(self.weight(want)) {
                return Some((id, WantKind::Block));
            }
            held_back = true;
        }
        let ahead = presences && source.partial && state.haves < self.config.look_ahead;
        let next = may.map(|(_, id)| id).or(clean);
        // One look-ahead at a time for a want: the others are asked as blocks.
        let next = next.filter(|id| {
            ahead && self.board.wants.get(id).is_some_and(|want| want.asks.is_empty() || source.is_sparse())
        });
        if held_back && let Some(board) = self.board.sessions.get_mut(&session) {
            board.held_back = true;
        }
        Some((next?, WantKind::Have))
    }

    pub(crate) fn ask(&mut self, peer: PeerId, id: WantId, kind: WantKind, now: Instant, out: &mut Outbox) {
        let Some(want) = self.board.wants.get(&id) else { return };
        let (cid, len) = (want.cid, self.weight(want));
        if let Some(&(_, seq)) = want.asks.get(&peer) {
            // The new want replaces the old one at the peer.
            self.end_ask(peer, seq, false, out);
        }
        self.end_promise(peer, id);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let seq = self.next_ask;
        self.next_ask += 1;
        let first = state.flow.outstanding() == 0;
        let delivered = state.flow.delivered();
        match kind {
            WantKind::Block => state.flow.asked(len, now),
            WantKind::Have => state.haves += 1,
        }
        let ahead = state.flow.outstanding();
        let ask = Ask { want: id, kind, len, at: now, ahead, delivered, first };
        state.asks.insert(seq, ask);
        let low = i32::try_from(seq % (1 << 30)).unwrap_or(0);
        let send_dont_have = state.version.has_presences();
        out.want(peer, seq, WantEntry { cid, priority: i32::MAX - low, kind, send_dont_have });
        self.board.set_ask(id, peer, Some((kind, seq)), len);
    }

    /// The peer has not the block of an ask, and keeps the want until it has, as long
    /// as it keeps few enough of them: false if it is to be told to forget it.
    pub(crate) fn let_promise(&mut self, peer: PeerId, seq: u64, out: &mut Outbox) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let Some(ask) = state.asks.get(&seq).filter(|ask| ask.kind == WantKind::Have) else { return false };
        let id = ask.want;
        if state.promised.len() >= self.config.promised {
            return false;
        }
        self.end_ask(peer, seq, false, out);
        if let Some(state) = self.peers.get_mut(&peer)
            && let Some(want) = self.board.wants.get_mut(&id)
        {
            state.promised.insert(id, seq);
            want.promised.insert(peer);
        }
        true
    }

    /// The peer is not to say any more when it has a block; the number of the want if
    /// it was.
    pub(crate) fn end_promise(&mut self, peer: PeerId, id: WantId) -> Option<u64> {
        if let Some(want) = self.board.wants.get_mut(&id) {
            want.promised.remove(&peer);
        }
        self.peers.get_mut(&peer)?.promised.remove(&id)
    }

    /// Ends an ask; with `cancel`, tells the peer.
    pub(crate) fn end_ask(&mut self, peer: PeerId, seq: u64, cancel: bool, out: &mut Outbox) -> Option<Ask> {
        let state = self.peers.get_mut(&peer)?;
        let ask = state.asks.remove(&seq)?;
        match ask.kind {
            WantKind::Block => state.flow.ended(ask.len),
            WantKind::Have => state.haves = state.haves.saturating_sub(1),
        }
        if cancel && let Some(want) = self.board.wants.get(&ask.want) {
            out.cancel(peer, seq, want.cid);
        }
        self.board.set_ask(ask.want, peer, None, 0);
        self.dirty.insert(peer);
        Some(ask)
    }

    /// Sets the peer's timer to when its oldest ask is past patience.
    pub(crate) fn arm(&self, peer: &PeerId, out: &mut Outbox) {
        match self.peers.get(peer).and_then(|state| self.deadline(state)) {
            Some(at) => out.timers.set(Timer::Unanswered(*peer), at),
            None => drop(out.timers.cancel(&Timer::Unanswered(*peer))),
        }
    }

    fn arm_balance(&self, session: SessionId, now: Instant, out: &mut Outbox) {
        let Some(board) = self.board.sessions.get(&session) else { return };
        let idle = |peer: &PeerId| self.peers.get(peer).is_some_and(|state| state.flow.outstanding() == 0);
        if board.asked > 0 && board.sources.len() > 1 && board.sources.keys().any(idle) {
            out.timers.set_earlier(Timer::Balance(session), now + BALANCE_EVERY);
        }
    }

    fn tell_stall(&mut self, session: SessionId, out: &mut Outbox) {
        let Some(board) = self.board.sessions.get_mut(&session) else { return };
        let nobody = board.asked == 0
            && !board.wants.is_empty()
            && board.sources.values().all(|s| board.clean.is_empty() && s.has.is_empty() && s.may.is_empty());
        if nobody && !board.stalled_told {
            board.stalled_told = true;
            out.push(Output::Stalled { session });
        }
    }
}
