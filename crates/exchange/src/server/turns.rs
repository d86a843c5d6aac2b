//! Whose block is read and sent next.
//!
//! Each peer has an account of bytes that it was lent, divided by its weight, which is
//! more for those that gave to us; whoever was lent least is next (start-time fair
//! queueing: Goyal, Vin, Cheng, 1996). Among peers that gave alike, as all are to one who
//! only seeds, who asks for what was sent least often goes first: who sends one block
//! twice before the others have gone out once keeps a crowd waiting for these. Under a
//! rate of the user's, blocks are handed out just before the line has room for them, so
//! that late comers and what was sent meanwhile count.

use std::num::NonZeroU64;
use std::time::Duration;

use peerage_base::Instant;
use peerage_identity::PeerId;

use super::{Server, ServerPeer};
use crate::ledger::Ledgers;
use crate::limits::Config;
use crate::outbox::Outbox;
use crate::output::{Output, Timer};
use crate::server::held::{Ready, Stage};

/// Blocks that a peer may always have on the way, whatever their size.
const BLOCKS_AHEAD: usize = 2;

/// Peers in turn that are compared with each other: a crowd has some dozens of
/// neighbours, and comparing takes time for each block.
const CONTENDERS: usize = 64;

/// For each other peer in turn, so many blocks may go before that of a peer, whose
/// block was sent before to somebody else. A judgement: a ninth of the uplink goes to
/// those who ask for nothing else.
const PASSES: usize = 8;

/// How long before the line is free the next block is handed out: it is to be read,
/// and the writer is not to wait.
const AHEAD: Duration = Duration::from_millis(150);

/// What a limited line did not send, for want of wants or of time to look, it may send
/// later, for so long.
const SLACK: Duration = Duration::from_millis(100);

/// The line to everyone, if the user limits it.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    /// Bytes a second.
    rate: Option<NonZeroU64>,
    /// When the next block may be handed out: [`AHEAD`] before the line is free.
    next: Option<Instant>,
}

impl Uplink {
    /// When the next block may be handed out, if that is not now.
    fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    fn take(&mut self, bytes: u64, now: Instant) {
        let Some(rate) = self.rate else { return };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.next = Some(match self.next.filter(|next| now.since(*next) <= SLACK) {
            Some(next) => next + takes,
            None => now + takes.saturating_sub(AHEAD),
        });
    }
}

impl Server {
    /// Bounds how fast blocks are handed out.
    pub(crate) fn limit(
        &mut self,
        rate: Option<NonZeroU64>,
        ledgers: &Ledgers,
        now: Instant,
        out: &mut Outbox,
    ) {
        // What was handed out at the old rate is not held against the new one.
        self.uplink = Uplink { rate, next: None };
        self.serve(ledgers, now, out);
    }

    /// The line has room.
    pub(crate) fn handle_uplink(&mut self, ledgers: &Ledgers, now: Instant, out: &mut Outbox) {
        self.serve(ledgers, now, out);
    }

    /// Puts a peer in turn if it has something ready and credit for it.
    pub(super) fn enter(&mut self, peer: PeerId) {
        if let Some(state) = self.peers.get_mut(&peer)
            && !state.in_turn
            && state.next_ready(&self.config).is_some()
        {
            state.in_turn = true;
            // Who asked for nothing meanwhile has saved nothing up.
            state.lent = state.lent.max(self.lent);
            self.turns.push_back(peer);
        }
    }

    /// Lends bytes to peers in turn until nobody may have more.
    pub(super) fn serve(&mut self, ledgers: &Ledgers, now: Instant, out: &mut Outbox) {
        loop {
            if let Some(at) = self.uplink.wait(now) {
                if !self.turns.is_empty() {
                    out.timers.set(Timer::Uplink, at);
                }
                return;
            }
            let Some((at, ready)) = self.choose(ledgers) else { return };
            for peer in self.turns.iter().take(at) {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.passed += 1;
                }
            }
            let Some(peer) = self.turns.remove(at) else { return };
            let bytes = u64::from(ready.len);
            self.hand_out(peer, ready, ledgers.weight(&peer), out);
            self.uplink.take(bytes, now);
            self.enter(peer);
        }
    }

    /// Who is next, by the place in `turns`, and the block; nobody if there is no credit.
    fn choose(&mut self, ledgers: &Ledgers) -> Option<(usize, Ready)> {
        let alike = self.gave_alike(ledgers);
        let most = PASSES * self.turns.len();
        let mut best: Option<((u32, u64), usize, Ready)> = None;
        let mut over = false;
        for (at, peer) in self.turns.iter().enumerate() {
            if at >= CONTENDERS && best.is_some() {
                break;
            }
            let Some(state) = self.peers.get(peer) else { continue };
            let Some(ready) = state.next_ready(&self.config) else {
                over = true;
                continue;
            };
            // One block is sent to each whatever others hold, and however large.
            if !state.serving.is_empty() && self.credit.free() < u64::from(ready.len) {
                continue;
            }
            let sent = if alike && state.passed < most { ready.sent } else { 0 };
            let rank = (sent, state.lent);
            if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                best = Some((rank, at, ready));
            }
        }
        if over {
            self.end_turns();
            return self.choose(ledgers);
        }
        best.map(|(_, at, ready)| (at, ready))
    }

    /// Takes those out that have nothing to send, or enough on the way.
    fn end_turns(&mut self) {
        let (peers, config) = (&mut self.peers, &self.config);
        self.turns.retain(|peer| {
            let Some(state) = peers.get_mut(peer) else { return false };
            state.in_turn = state.next_ready(config).is_some();
            state.in_turn
        });
    }

    fn hand_out(&mut self, peer: PeerId, ready: Ready, weight: u64, out: &mut Outbox) {
        let Ready { cid, len, .. } = ready;
        self.sent.stop_waiting(peer, &cid);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let send_dont_have = state.held.remove(&cid).is_some_and(|held| held.send_dont_have);
        state.serving.insert(cid, (len, send_dont_have));
        let bytes = u64::from(len);
        state.serving_bytes += bytes;
        if state.serving.len() > 1 {
            self.credit.take(bytes);
        } else {
            self.credit.force(bytes);
        }
        (state.in_turn, state.passed) = (false, 0);
        self.lent = state.lent;
        state.lent += bytes / weight.max(1);
        out.push(Output::ServeBlock { peer, cid, len });
        let (sent, waiting) = self.sent.note(&cid, len);
        for (other, cid) in waiting {
            if let Some(state) = self.peers.get_mut(&other)
                && let Some(Stage::Ready { len, .. }) = state.held.get(&cid).map(|held| held.stage)
            {
                state.held.set_stage(&cid, Stage::Ready { len, sent });
            }
        }
    }

    /// Whether those in turn gave us alike.
    fn gave_alike(&self, ledgers: &Ledgers) -> bool {
        let mut weights = self.turns.iter().take(CONTENDERS).map(|peer| ledgers.weight(peer));
        let first = weights.next();
        weights.all(|weight| Some(weight) == first)
    }
}

impl ServerPeer {
    /// The block to send it next, if it has credit for that.
    fn next_ready(&self, config: &Config) -> Option<Ready> {
        let ready = self.held.first_ready()?;
        let fits = self.serving_bytes + u64::from(ready.len) <= config.send_credit;
        let few = self.serving.len() < BLOCKS_AHEAD;
        (few || (fits && self.serving.len() < config.send_blocks)).then_some(ready)
    }
}
