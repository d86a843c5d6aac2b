//! The hub: routes each input to the asking and the serving half and collects
//! what they want done.

use std::num::NonZeroU64;
use std::time::Duration;

use peerage_base::{Instant, Now, Rng};
use peerage_content::Cid;
use peerage_identity::PeerId;

use crate::client::Client;
use crate::ledger::Ledgers;
use crate::limits::Config;
use crate::message::{Incoming, Version};
use crate::outbox::Outbox;
use crate::output::{
    BlockOutcome, Holding, Output, PeerStats, Room, Served, SessionConfig, SessionId, SessionStats,
    SourceError, Timer, Verdict, WantError,
};
use crate::server::Server;

/// Bitswap for all connected peers, as a state machine.
///
/// After every `handle_*` and after [`Exchange::flush`], drain
/// [`Exchange::poll_output`] and look at [`Exchange::poll_timeout`]. Inputs
/// that are named otherwise (`want`, `add_source`, `add_peer` and so on) only
/// note what they say, so that a burst of them makes one message a peer: call
/// [`Exchange::flush`] after the last of them. Whoever forgets is reminded by
/// a timeout that is due at once. Time never goes back; an early
/// `handle_timeout` changes nothing.
#[derive(Debug)]
pub struct Exchange {
    client: Client,
    server: Server,
    ledgers: Ledgers,
    out: Outbox,
}

impl Exchange {
    /// A machine without peers.
    #[must_use]
    pub fn new(config: Config, seed: u64, _now: Now) -> Self {
        Self {
            server: Server::new(config.clone()),
            ledgers: Ledgers::new(config.histories),
            client: Client::new(config, Rng::new(seed)),
            out: Outbox::default(),
        }
    }

    /// A peer that speaks Bitswap is connected. If it was already, this is a
    /// new connection: all that was asked of it or by it is void, and it is a
    /// source of the same sessions as before.
    pub fn add_peer(&mut self, peer: PeerId, version: Version, now: Now) {
        self.server.remove_peer(peer, &self.ledgers, now.instant, &mut self.out);
        self.out.close(&peer);
        self.ledgers.connected(peer);
        self.server.add_peer(peer, version);
        self.ask_anew(peer, version, now);
    }

    /// What was on its way to a connected peer is lost, such as with one of
    /// several connections: it is asked anew. What it asked of us is not void,
    /// since that may have come by another way.
    pub fn restart_peer(&mut self, peer: PeerId, version: Version, now: Now) {
        if self.client.is_connected(&peer) {
            self.ask_anew(peer, version, now);
        }
    }

    fn ask_anew(&mut self, peer: PeerId, version: Version, now: Now) {
        let sessions = self.client.sessions_of(&peer);
        self.client.remove_peer(peer, &mut self.out);
        self.out.open(peer);
        self.client.add_peer(peer, version, now.instant);
        for session in sessions {
            // It was a source before and there is as much room as then.
            let _ = self.client.add_source(session, peer, Holding::Unknown);
        }
        self.want_flush(now);
    }

    /// The connection ended. What was asked of the peer is asked elsewhere.
    pub fn remove_peer(&mut self, peer: PeerId, now: Now) {
        self.client.remove_peer(peer, &mut self.out);
        self.server.remove_peer(peer, &self.ledgers, now.instant, &mut self.out);
        self.ledgers.disconnected(peer, now.instant);
        self.out.close(&peer);
        self.want_flush(now);
    }

    /// Opens a session; one that is open stays as it is.
    ///
    /// # Errors
    /// As many are open as may be.
    pub fn open_session(
        &mut self,
        session: SessionId,
        config: SessionConfig,
        _now: Now,
    ) -> Result<(), SourceError> {
        self.client.open_session(session, config)
    }

    /// Ends a session and cancels what only it wanted.
    pub fn close_session(&mut self, session: SessionId, now: Now) {
        self.client.close_session(session, &mut self.out);
        self.want_flush(now);
    }

    /// Takes a connected peer as a source of a session. Nothing happens if it is one.
    ///
    /// # Errors
    /// There is no such session or peer, it is banned, or there are too many.
    pub fn add_source(
        &mut self,
        session: SessionId,
        peer: PeerId,
        holding: Holding,
        now: Now,
    ) -> Result<(), SourceError> {
        self.client.add_source(session, peer, holding)?;
        self.want_flush(now);
        Ok(())
    }

    /// The peer is not to be asked for this session any more.
    pub fn remove_source(&mut self, session: SessionId, peer: PeerId, now: Now) {
        self.client.remove_source(session, peer, &mut self.out);
        self.want_flush(now);
    }

    /// Wants a block of about `len_hint` bytes (0 if that is unknown). Wants
    /// that agree in their multihash are one; a session that wants a block
    /// twice is given it once.
    ///
    /// # Errors
    /// There is no such session, it is full, or nobody may be asked for such a CID.
    pub fn want(&mut self, session: SessionId, cid: &Cid, len_hint: u64, now: Now) -> Result<(), WantError> {
        self.client.want(session, cid, len_hint)?;
        self.want_flush(now);
        Ok(())
    }

    /// The session does not want the block any more.
    pub fn unwant(&mut self, session: SessionId, cid: &Cid, now: Now) {
        self.client.unwant(session, cid, &mut self.out);
        self.want_flush(now);
    }

    /// Says whether what the session wants now is all it will ever want. If
    /// so, a fast source that is idle also asks for what a slow one is
    /// sending; else it takes over only what the slow one has not begun.
    pub fn set_ending(&mut self, session: SessionId, ending: bool, now: Now) {
        self.client.set_ending(session, ending);
        self.want_flush(now);
    }

    /// Says how much the session may have asked for and not got; without this,
    /// that is bounded by the windows of its sources alone. One block always may be.
    pub fn set_room(&mut self, session: SessionId, room: Room, now: Now) {
        if self.client.set_room(session, room) {
            self.want_flush(now);
        }
    }

    /// Schedules, and puts what was noted into messages. Only needed after
    /// inputs that are not named `handle_*`.
    pub fn flush(&mut self, now: Now) {
        self.out.timers.cancel(&Timer::Flush);
        self.client.schedule(now, &mut self.out);
        self.out.flush();
    }

    /// A message came: its wants, cancels and presences. Its blocks go to the
    /// hash workers and come back by [`Exchange::handle_block`].
    pub fn handle_message(&mut self, peer: PeerId, message: &Incoming, now: Now) {
        for (cid, presence) in &message.presences {
            self.client.handle_presence(peer, cid, *presence, now, &mut self.out);
        }
        self.server.handle_wants(peer, message.full, &message.wants, &message.cancels, &mut self.out);
        self.want_flush(now);
    }

    /// Part of a block from `peer` came in, so its wants are being answered.
    /// Optional; keeps large blocks on slow links from being given up.
    pub fn handle_progress(&mut self, peer: PeerId, now: Now) {
        self.client.handle_progress(&peer, now.instant, &mut self.out);
    }

    /// A block of `len` bytes came whose CID the shell has computed. Wants are
    /// found by its multihash.
    pub fn handle_block(&mut self, peer: PeerId, cid: &Cid, len: u32, now: Now) -> BlockOutcome {
        let outcome = self.client.handle_block(peer, cid, len, now, &mut self.out);
        match outcome {
            BlockOutcome::Wanted { .. } => self.ledgers.received(peer, u64::from(len)),
            BlockOutcome::Duplicate => {
                self.client.count_duplicate(peer, len);
                self.ledgers.duplicate(peer, u64::from(len));
            }
            BlockOutcome::Unknown => {}
        }
        self.want_flush(now);
        outcome
    }

    /// A block that this machine did not know is held nowhere else either, or
    /// could not be hashed at all: it is bad. The peer's unanswered wants are
    /// asked elsewhere, of itself again if there is nobody else; the third
    /// within a minute bans it.
    pub fn charge_bad_block(&mut self, peer: PeerId, now: Now) -> Verdict {
        let verdict = self.client.charge_bad_block(peer, now, &mut self.out);
        self.flush(now);
        verdict
    }

    /// Bounds how fast blocks are handed out to be sent, in bytes a second; `None` is
    /// as fast as they are taken. The owner smooths what lies within a block.
    pub fn limit_sending(&mut self, rate: Option<NonZeroU64>, now: Now) {
        self.server.limit(rate, &self.ledgers, now.instant, &mut self.out);
        self.want_flush(now);
    }

    /// The owner takes in what comes at a rate of its own, which may hold up what was
    /// asked for this long: no source is blamed for that time.
    pub fn set_receiving_hold(&mut self, hold: Duration) {
        self.client.set_hold(hold, &mut self.out);
    }

    /// The answer to [`Output::Lookup`]: the block's length if it may be
    /// served to this peer, `None` if it is not here or not for it.
    pub fn handle_lookup(&mut self, peer: PeerId, cid: &Cid, len: Option<u32>, now: Now) {
        self.server.handle_lookup(peer, cid, len, &self.ledgers, now.instant, &mut self.out);
        self.want_flush(now);
    }

    /// The answer to [`Output::ServeBlock`].
    pub fn handle_served(&mut self, peer: PeerId, cid: &Cid, served: Served, now: Now) {
        self.server.handle_served(peer, cid, served, &mut self.ledgers, now.instant, &mut self.out);
        self.want_flush(now);
    }

    /// A block came to be here and may be served to whoever may have its
    /// root: peers that asked for it before are answered now. A burst of these
    /// ends with [`Exchange::flush`].
    pub fn block_available(&mut self, cid: &Cid, len: u32, now: Now) {
        self.server.block_available(cid, len, &self.ledgers, now.instant, &mut self.out);
        self.want_flush(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When to call [`Exchange::handle_timeout`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.out.timers.next()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let mut any = false;
        while let Some(timer) = self.out.timers.pop_due(now.instant) {
            any = true;
            match timer {
                Timer::Flush => {}
                Timer::Unanswered(peer) => self.client.handle_unanswered(peer, now, &mut self.out),
                Timer::Retry(session, peer) => self.client.handle_retry(session, peer, now, &mut self.out),
                Timer::Balance(session) => self.client.handle_balance(session),
                Timer::Uplink => self.server.handle_uplink(&self.ledgers, now.instant, &mut self.out),
            }
        }
        if any {
            self.flush(now);
        }
    }

    /// Figures of an open session.
    #[must_use]
    pub fn session_stats(&self, session: SessionId) -> Option<SessionStats> {
        self.client.session_stats(session)
    }

    /// Figures of a peer, connected or remembered.
    #[must_use]
    pub fn peer_stats(&self, peer: &PeerId) -> PeerStats {
        let ledger = self.ledgers.get(peer);
        PeerStats {
            received_bytes: ledger.received_bytes,
            received_blocks: ledger.received_blocks,
            duplicate_blocks: ledger.duplicate_blocks,
            duplicate_bytes: ledger.duplicate_bytes,
            sent_bytes: ledger.sent_bytes,
            sent_blocks: ledger.sent_blocks,
            held_wants: self.server.held_wants(peer),
            serving: self.server.serving(peer),
            ..self.client.peer_stats(peer)
        }
    }

    /// What was noted is said at the next wake-up, which is due at once: a
    /// burst of inputs that the owner handles before makes one message a peer.
    fn want_flush(&mut self, now: Now) {
        self.out.timers.set_earlier(Timer::Flush, now.instant);
    }
}
