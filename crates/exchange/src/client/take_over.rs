//! What an idle source takes over from slow ones.
//!
//! A want is asked of whoever seems to have it soonest. That turns out wrong: a source
//! has others to serve, or a neighbour comes to have the block meanwhile. Taken from the
//! end of a queue a want is cancelled there; only what is probably being sent already is
//! asked twice, and that only at the very end.

use std::cmp::Reverse;
use std::time::Duration;

use peerage_base::Instant;
use peerage_identity::PeerId;

use crate::client::Client;
use crate::client::schedule::Pick;
use crate::client::state::{Ask, ClientPeer, WantId};
use crate::message::WantKind;
use crate::outbox::Outbox;
use crate::output::SessionId;

/// A want is taken over from a source that has this much more to do than twice what the
/// taker would need. A judgement: a cancel has to arrive before the block is handed out,
/// and who sends as fast as it can hands out some blocks at once.
const LEAD: Duration = Duration::from_secs(1);
/// The same at the very end, when nobody has anything else to do.
const END_LEAD: Duration = Duration::from_millis(500);
/// Wants of a source, the oldest ones, that it is probably sending.
const HEAD: usize = 1;
/// How often one want may change hands at once.
const MOVES_MAX: u32 = 4;
/// How long after that it may change hands once more: who has it may give nothing at
/// all. A judgement: the time of a block at the tenth part of a usual line.
const MOVES_PAUSE: Duration = Duration::from_secs(2);
/// How many of a slow source's newest wants an idle one looks at.
const SCAN: usize = 32;

impl Client {
    /// A want that a slow source has and `peer` would have sooner.
    pub(super) fn take_over(&mut self, peer: &PeerId, now: Instant, out: &mut Outbox) -> Option<Pick> {
        let state = self.peers.get(peer)?;
        if state.live_wants() >= self.config.live_wants || state.flow.is_lapsed() {
            return None;
        }
        let mut slow: Vec<(Duration, PeerId, SessionId)> = Vec::new();
        for &session in &state.sessions {
            let board = self.board.sessions.get(&session)?;
            let others = board.sources.keys().filter(|other| *other != peer);
            let busy = others.filter_map(|other| Some((other, self.peers.get(other)?)));
            let busy = busy.filter(|(_, other)| other.flow.outstanding() > 0);
            slow.extend(busy.map(|(id, other)| (other.flow.remaining(now, &self.config), *id, session)));
        }
        slow.sort_unstable_by_key(|slow| Reverse(*slow));
        let taken = slow.into_iter().find_map(|(remaining, other, session)| {
            let (id, seq, sending) = self.movable(peer, state, remaining, &other, session, now)?;
            Some((id, seq, sending, other, session))
        });
        let (id, seq, sending, other, session) = taken?;
        if let Some(want) = self.board.wants.get_mut(&id) {
            want.moves += 1;
            want.moved = now;
        }
        if !sending {
            self.end_ask(other, seq, true, out);
        }
        Some((session, id, WantKind::Block))
    }

    /// A want of `other`, which needs `remaining` for all of its wants, that is better
    /// asked of `peer`: which, by which number, and whether it is probably being sent.
    fn movable(
        &self,
        peer: &PeerId,
        state: &ClientPeer,
        remaining: Duration,
        other: &PeerId,
        session: SessionId,
        now: Instant,
    ) -> Option<(WantId, u64, bool)> {
        let ending = self.board.sessions.get(&session)?.is_at_end();
        let asks = || self.peers.get(other).into_iter().flat_map(|slow| &slow.asks);
        let blocks = |(_, ask): &(&u64, &Ask)| ask.kind == WantKind::Block;
        let head: Vec<u64> = asks().filter(blocks).take(HEAD).map(|(&seq, _)| seq).collect();
        let slow = self.peers.get(other)?;
        slow.asks.iter().rev().take(SCAN).find_map(|(&seq, ask)| {
            let want = self.board.wants.get(&ask.want)?;
            let weight = self.weight(want);
            let needs = state.flow.estimate(weight, &self.config);
            let sending = head.contains(&seq);
            // What our own limit holds up is no fault of the source's.
            let sooner = match (ending, sending) {
                (true, _) => remaining > needs * 2 + END_LEAD + self.hold,
                (false, false) => remaining > needs * 2 + LEAD + self.hold,
                (false, true) => remaining > needs * 8 + LEAD + self.hold,
            };
            let fits = sooner
                && ask.kind == WantKind::Block
                && (want.moves < MOVES_MAX || now - want.moved >= MOVES_PAUSE)
                && want.sessions.contains(&session)
                && !want.refused.contains(peer)
                && !want.asks.contains_key(peer)
                && state.flow.has_room(weight, &self.config);
            fits.then_some((ask.want, seq, sending))
        })
    }
}
