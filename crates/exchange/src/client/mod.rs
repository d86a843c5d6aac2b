//! The asking side: sessions of wants, their sources, and what came of each ask.

mod answers;
pub(crate) mod flow;
mod memory;
mod schedule;
mod session;
mod silence;
pub(crate) mod state;
mod take_over;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_base::{Instant, Rng};
use peerage_content::Cid;
use peerage_content::hash::wire_allowed;
use peerage_identity::PeerId;

use crate::client::flow::Flow;
use crate::client::memory::{Histories, Remembered};
use crate::client::session::{Session, Source};
use crate::client::state::{Board, ClientPeer, WantId};
use crate::limits::{BLOCK_LEN_MAX, Config};
use crate::message::{Version, WantKind};
use crate::outbox::Outbox;
use crate::output::{
    Holding, PeerStats, Room, SessionConfig, SessionId, SessionStats, SourceError, Timer, WantError,
};

/// The asking half of the machine.
#[derive(Debug)]
pub(crate) struct Client {
    config: Config,
    rng: Rng,
    pub(crate) board: Board,
    pub(crate) peers: BTreeMap<PeerId, ClientPeer>,
    remembered: Remembered,
    histories: Histories,
    /// Peers that may have room, and sessions that may have stalled, since the
    /// scheduler last ran.
    dirty: BTreeSet<PeerId>,
    touched: BTreeSet<SessionId>,
    next_ask: u64,
    /// How long our own limit may hold up what was asked for.
    pub(crate) hold: Duration,
}

impl Client {
    pub(crate) fn new(config: Config, rng: Rng) -> Self {
        Self {
            remembered: Remembered::new(config.remembered),
            histories: Histories::new(config.histories),
            config,
            rng,
            board: Board::default(),
            peers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            touched: BTreeSet::new(),
            next_ask: 0,
            hold: Duration::ZERO,
        }
    }

    pub(crate) fn add_peer(&mut self, peer: PeerId, version: Version, now: Instant) {
        let state = ClientPeer {
            version,
            flow: Flow::new(now),
            asks: BTreeMap::new(),
            haves: 0,
            promised: BTreeMap::new(),
            sessions: BTreeSet::new(),
            turn: None,
        };
        self.peers.insert(peer, state);
    }

    pub(crate) fn remove_peer(&mut self, peer: PeerId, out: &mut Outbox) {
        self.drop_asks(peer, None, out);
        let Some(state) = self.peers.get(&peer) else { return };
        for session in state.sessions.clone() {
            self.remove_source(session, peer, out);
        }
        self.peers.remove(&peer);
        self.dirty.remove(&peer);
        out.timers.cancel(&Timer::Unanswered(peer));
    }

    pub(crate) fn open_session(&mut self, id: SessionId, config: SessionConfig) -> Result<(), SourceError> {
        if self.board.sessions.contains_key(&id) {
            return Ok(());
        }
        if self.board.sessions.len() >= self.config.sessions {
            return Err(SourceError::Full);
        }
        let salt = self.rng.next_u64();
        self.board.sessions.insert(id, Session::new(config, salt));
        Ok(())
    }

    pub(crate) fn close_session(&mut self, id: SessionId, out: &mut Outbox) {
        let Some(state) = self.board.sessions.get(&id) else { return };
        let wants: Vec<WantId> = state.wants.iter().copied().collect();
        let sources: Vec<PeerId> = state.sources.keys().copied().collect();
        for want in wants {
            self.leave(id, want, out);
        }
        for peer in sources {
            self.remove_source(id, peer, out);
        }
        self.board.sessions.remove(&id);
        out.timers.cancel(&Timer::Balance(id));
    }

    pub(crate) fn add_source(
        &mut self,
        session: SessionId,
        peer: PeerId,
        holding: Holding,
    ) -> Result<(), SourceError> {
        let state = self.board.sessions.get_mut(&session).ok_or(SourceError::NoSession)?;
        let connected = self.peers.get_mut(&peer).ok_or(SourceError::NotConnected)?;
        if state.banned.contains(&peer) {
            return Err(SourceError::Banned);
        }
        if state.sources.contains_key(&peer) {
            return Ok(());
        }
        if state.sources.len() >= self.config.session_sources {
            return Err(SourceError::Full);
        }
        state.stalled_told = false;
        connected.sessions.insert(session);
        self.board.add_source(session, peer, Source::new(holding, self.config.retry_first));
        self.dirty.insert(peer);
        Ok(())
    }

    /// Ends a source: what it was asked for this session only is cancelled and
    /// asked elsewhere.
    pub(crate) fn remove_source(&mut self, session: SessionId, peer: PeerId, out: &mut Outbox) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if !state.sessions.remove(&session) {
            return;
        }
        let sessions = state.sessions.clone();
        let asks: Vec<(u64, WantId)> = state.asks.iter().map(|(&seq, ask)| (seq, ask.want)).collect();
        let promised: Vec<WantId> = state.promised.keys().copied().collect();
        self.board.remove_source(session, peer);
        let is_shared = |board: &Board, id| {
            board.wants.get(&id).is_some_and(|want| !want.sessions.is_disjoint(&sessions))
        };
        for (seq, id) in asks {
            if !is_shared(&self.board, id) {
                self.end_ask(peer, seq, true, out);
            }
        }
        for id in promised {
            if !is_shared(&self.board, id)
                && let Some(seq) = self.end_promise(peer, id)
                && let Some(want) = self.board.wants.get(&id)
            {
                out.cancel(peer, seq, want.cid);
            }
        }
        out.timers.cancel(&Timer::Retry(session, peer));
        self.touch(session);
    }

    pub(crate) fn want(&mut self, session: SessionId, cid: &Cid, len: u64) -> Result<(), WantError> {
        wire_allowed(cid)?;
        let state = self.board.sessions.get(&session).ok_or(WantError::NoSession)?;
        if let Some(id) = self.board.find(cid)
            && state.wants.contains(&id)
        {
            return Ok(());
        }
        if state.wants.len() >= self.config.session_wants {
            return Err(WantError::Full);
        }
        let len = if len == 0 { self.config.len_unknown } else { len.min(BLOCK_LEN_MAX) };
        self.board.add(session, cid, len);
        self.touch(session);
        Ok(())
    }

    pub(crate) fn unwant(&mut self, session: SessionId, cid: &Cid, out: &mut Outbox) {
        if let Some(id) = self.board.find(cid) {
            self.leave(session, id, out);
        }
    }

    pub(crate) fn set_ending(&mut self, session: SessionId, ending: bool) {
        if let Some(state) = self.board.sessions.get_mut(&session) {
            state.ending = ending;
            self.touch(session);
        }
    }

    fn leave(&mut self, session: SessionId, id: WantId, out: &mut Outbox) {
        if self.board.leave(session, id) {
            self.end_asks_of(id, None, out);
            if let Some(want) = self.board.remove(id) {
                self.remembered.insert(&want.cid);
            }
        }
        self.touched.insert(session);
    }

    /// Ends all asks of a want; the peer `had` needs no cancel, it has answered.
    fn end_asks_of(&mut self, id: WantId, had: Option<PeerId>, out: &mut Outbox) {
        let Some(want) = self.board.wants.get(&id) else { return };
        let (cid, asks, promised) = (want.cid, want.asks.clone(), want.promised.clone());
        for (peer, (kind, seq)) in asks {
            let answered = had == Some(peer) && kind == WantKind::Block;
            self.end_ask(peer, seq, !answered, out);
        }
        for peer in promised {
            if let Some(seq) = self.end_promise(peer, id) {
                out.cancel(peer, seq, cid);
            }
        }
    }

    /// How much a session may have asked for; true if more may be asked for now.
    pub(crate) fn set_room(&mut self, session: SessionId, room: Room) -> bool {
        let Some(state) = self.board.sessions.get_mut(&session) else { return false };
        let grown = room.bytes > state.room.bytes || room.least < state.room.least;
        state.room = room;
        let more = grown && std::mem::take(&mut state.held_back);
        if more {
            self.touch(session);
        }
        more
    }

    /// What a block is taken to weigh when it is asked for.
    pub(crate) fn weight(&self, want: &state::Want) -> u64 {
        let rooms = want.sessions.iter().filter_map(|session| self.board.sessions.get(session));
        rooms.map(|state| state.room.least).fold(want.len, u64::max)
    }

    /// Marks the session and its sources for the scheduler.
    fn touch(&mut self, session: SessionId) {
        self.touched.insert(session);
        if let Some(state) = self.board.sessions.get(&session) {
            self.dirty.extend(state.sources.keys());
        }
    }

    /// Marks what may be asked of others now.
    fn touch_want(&mut self, id: WantId) {
        let Some(want) = self.board.wants.get(&id) else { return };
        for session in want.sessions.clone() {
            self.touch(session);
        }
    }

    /// Lets idle sources look for something to take over.
    pub(crate) fn handle_balance(&mut self, session: SessionId) {
        self.touch(session);
    }

    pub(crate) fn session_stats(&self, session: SessionId) -> Option<SessionStats> {
        let state = self.board.sessions.get(&session)?;
        Some(SessionStats {
            wants: state.wants.len(),
            asked: state.asked,
            asked_bytes: state.asked_bytes,
            sources: state.sources.len(),
            ..state.stats
        })
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    pub(crate) fn sessions_of(&self, peer: &PeerId) -> BTreeSet<SessionId> {
        self.peers.get(peer).map(|state| state.sessions.clone()).unwrap_or_default()
    }

    pub(crate) fn handle_progress(&mut self, peer: &PeerId, now: Instant, out: &mut Outbox) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.flow.received(now);
            self.arm(peer, out);
        }
    }

    pub(crate) fn peer_stats(&self, peer: &PeerId) -> PeerStats {
        let Some(state) = self.peers.get(peer) else { return PeerStats::default() };
        PeerStats {
            rate: state.flow.rate(),
            rtt: state.flow.rtt(),
            outstanding_bytes: state.flow.outstanding(),
            live_wants: state.live_wants(),
            ..PeerStats::default()
        }
    }
}
