//! The serving side: what peers want of us, and whose block is read and sent
//! next.
//!
//! A want waits for a lookup; then it is answered with word, kept because the
//! block is not here, or waits for credit to be sent: whose turn that is, `turns`
//! decides.

mod held;
mod sent;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerage_base::{Budget, Instant};
use peerage_content::{Cid, Multihash};
use peerage_identity::PeerId;

use crate::ledger::Ledgers;
use crate::limits::{Config, HAVE_UPGRADE_MAX};
use crate::message::{Presence, Version, WantEntry, WantKind};
use crate::outbox::Outbox;
use crate::output::{Output, Served};
use crate::server::held::{Held, HeldWants, Stage};
use crate::server::sent::Sent;
use crate::server::turns::Uplink;

/// A connected peer, as one to serve.
#[derive(Debug)]
struct ServerPeer {
    version: Version,
    held: HeldWants,
    /// Blocks that the shell is reading or writing: their bytes, and whether
    /// "don't have" is to be said if that fails.
    serving: BTreeMap<Cid, (u32, bool)>,
    serving_bytes: u64,
    /// Bytes that it was lent, divided by its weight.
    lent: u64,
    in_turn: bool,
    /// Blocks that others were sent before their turn since it was last sent one.
    passed: usize,
}

/// The serving half of the machine.
#[derive(Debug)]
pub(crate) struct Server {
    config: Config,
    peers: BTreeMap<PeerId, ServerPeer>,
    credit: Budget,
    sent: Sent,
    uplink: Uplink,
    /// What the peer was lent who is being served.
    lent: u64,
    /// Peers with blocks ready and credit of their own, in turn.
    turns: VecDeque<PeerId>,
    /// Wants for blocks that are not here.
    absent: BTreeMap<Multihash, BTreeSet<(PeerId, Cid)>>,
}

impl Server {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            credit: Budget::new(config.send_credit_total),
            sent: Sent::default(),
            uplink: Uplink::default(),
            lent: 0,
            config,
            peers: BTreeMap::new(),
            turns: VecDeque::new(),
            absent: BTreeMap::new(),
        }
    }

    pub(crate) fn add_peer(&mut self, peer: PeerId, version: Version) {
        let state = ServerPeer {
            version,
            held: HeldWants::default(),
            serving: BTreeMap::new(),
            serving_bytes: 0,
            lent: 0,
            in_turn: false,
            passed: 0,
        };
        self.peers.insert(peer, state);
    }

    pub(crate) fn remove_peer(&mut self, peer: PeerId, ledgers: &Ledgers, now: Instant, out: &mut Outbox) {
        let Some(state) = self.peers.remove(&peer) else { return };
        self.credit.give(state.serving_bytes);
        for cid in state.held.absent() {
            forget_absent(&mut self.absent, peer, cid);
        }
        for cid in state.held.ready_cids() {
            self.sent.stop_waiting(peer, cid);
        }
        self.turns.retain(|other| *other != peer);
        // What it held of the credit is for others now.
        self.serve(ledgers, now, out);
    }

    pub(crate) fn held_wants(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |state| state.held.len())
    }

    /// Blocks that a peer is being sent, or that wait for their turn.
    pub(crate) fn serving(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |state| state.serving.len() + state.held.ready())
    }

    pub(crate) fn handle_wants(
        &mut self,
        peer: PeerId,
        full: bool,
        wants: &[WantEntry],
        cancels: &[Cid],
        out: &mut Outbox,
    ) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        if full {
            self.replace(peer, wants);
        }
        for cid in cancels {
            self.drop_want(peer, cid);
        }
        for want in wants {
            self.hold(peer, want, out);
        }
        self.look_up(peer, out);
    }

    /// A full wantlist: what it does not name is wanted no more.
    fn replace(&mut self, peer: PeerId, wants: &[WantEntry]) {
        let Some(state) = self.peers.get(&peer) else { return };
        let named: BTreeSet<Cid> = wants.iter().map(|want| want.cid).collect();
        let gone: Vec<Cid> = state.held.cids().filter(|cid| !named.contains(*cid)).copied().collect();
        for cid in gone {
            self.drop_want(peer, &cid);
        }
    }

    fn drop_want(&mut self, peer: PeerId, cid: &Cid) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match state.held.remove(cid).map(|held| held.stage) {
            Some(Stage::Absent) => forget_absent(&mut self.absent, peer, cid),
            Some(Stage::Ready { .. }) => self.sent.stop_waiting(peer, cid),
            Some(Stage::New | Stage::Looking) | None => {}
        }
    }

    fn hold(&mut self, peer: PeerId, want: &WantEntry, out: &mut Outbox) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let (cid, priority) = (want.cid, Reverse(want.priority));
        let send_dont_have = want.send_dont_have && state.version.has_presences();
        if state.serving.contains_key(&cid) {
            return;
        }
        if let Some(held) = state.held.get(&cid) {
            // A want for the block outdoes one for word of it, not the other way round.
            let more = want.kind < held.kind;
            if held.stage != Stage::Absent {
                if more {
                    state.held.upgrade(&cid, want.kind, send_dont_have);
                }
                return;
            }
            self.drop_want(peer, &cid);
        } else if state.held.len() >= self.config.held_wants {
            // Only wants for what is not here make room.
            match state.held.oldest_absent() {
                Some(oldest) => self.drop_want(peer, &oldest),
                None => {
                    if send_dont_have {
                        out.refuse(peer, cid);
                    }
                    return;
                }
            }
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.held.insert(cid, Held { priority, kind: want.kind, send_dont_have, stage: Stage::New });
    }

    /// Asks for as many lookups as may be in flight.
    fn look_up(&mut self, peer: PeerId, out: &mut Outbox) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        while state.held.looking() < self.config.lookups
            && let Some(cid) = state.held.start_lookup()
        {
            out.push(Output::Lookup { peer, cid });
        }
    }

    pub(crate) fn handle_lookup(
        &mut self,
        peer: PeerId,
        cid: &Cid,
        len: Option<u32>,
        ledgers: &Ledgers,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.held.finish_lookup(cid) {
            match len {
                Some(len) => self.found(peer, cid, len, out),
                None => self.missing(peer, cid, out),
            }
        }
        self.look_up(peer, out);
        self.serve(ledgers, now, out);
    }

    /// The block of a held want is here.
    fn found(&mut self, peer: PeerId, cid: &Cid, len: u32, out: &mut Outbox) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(held) = state.held.get(cid) else { return };
        if held.kind == WantKind::Have && len > HAVE_UPGRADE_MAX {
            self.drop_want(peer, cid);
            out.presence(peer, *cid, Presence::Have);
            return;
        }
        state.held.set_stage(cid, Stage::Ready { len, sent: self.sent.times(cid, len) });
        self.sent.wait(peer, *cid);
        self.enter(peer);
    }

    /// The block of a held want is not here: say so if asked to, and keep it
    /// in case it comes.
    fn missing(&mut self, peer: PeerId, cid: &Cid, out: &mut Outbox) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(held) = state.held.get(cid) else { return };
        if held.send_dont_have {
            out.presence(peer, *cid, Presence::DontHave);
        }
        state.held.set_stage(cid, Stage::Absent);
        self.absent.entry(*cid.hash()).or_default().insert((peer, *cid));
        let Some(state) = self.peers.get(&peer) else { return };
        if state.held.absent().len() > self.config.held_absent
            && let Some(oldest) = state.held.oldest_absent()
        {
            self.drop_want(peer, &oldest);
        }
    }

    /// A block came to be here: whoever waits for it is answered.
    pub(crate) fn block_available(
        &mut self,
        cid: &Cid,
        len: u32,
        ledgers: &Ledgers,
        now: Instant,
        out: &mut Outbox,
    ) {
        for (peer, cid) in self.absent.remove(cid.hash()).unwrap_or_default() {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.held.set_stage(&cid, Stage::Looking);
                state.held.finish_lookup(&cid);
                self.found(peer, &cid, len, out);
            }
        }
        // A lookup that began before may end without it.
        let looking = |(peer, state): (&PeerId, &ServerPeer)| state.held.is_looking(cid).then_some(*peer);
        for peer in self.peers.iter().filter_map(looking).collect::<Vec<_>>() {
            self.found(peer, cid, len, out);
        }
        self.serve(ledgers, now, out);
    }

    pub(crate) fn handle_served(
        &mut self,
        peer: PeerId,
        cid: &Cid,
        served: Served,
        ledgers: &mut Ledgers,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some((len, send_dont_have)) = state.serving.remove(cid) else { return };
        state.serving_bytes -= u64::from(len);
        self.credit.give(u64::from(len));
        match served {
            Served::Sent(len) => ledgers.sent(peer, u64::from(len)),
            Served::Missing if send_dont_have => out.presence(peer, *cid, Presence::DontHave),
            Served::Missing | Served::Failed => {}
        }
        self.enter(peer);
        self.serve(ledgers, now, out);
    }
}

fn forget_absent(absent: &mut BTreeMap<Multihash, BTreeSet<(PeerId, Cid)>>, peer: PeerId, cid: &Cid) {
    if let Some(waiting) = absent.get_mut(cid.hash()) {
        waiting.remove(&(peer, *cid));
        if waiting.is_empty() {
            absent.remove(cid.hash());
        }
    }
}
