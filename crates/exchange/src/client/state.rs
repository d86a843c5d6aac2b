//! What the client side knows: wants, sessions, sources, and the sets from
//! which the scheduler takes the next want in logarithmic time.
//!
//! A want that is asked of nobody is *listed*. As long as all is known to be
//! alike (no source has said anything about it) it stands once, in its
//! sessions' `clean` sets. As soon as a source says that it has or has not the
//! block, or is asked about it, the want is *contested* and stands in the sets
//! of each source that may have it instead.

use std::collections::{BTreeMap, BTreeSet};

use peerage_base::Instant;
use peerage_content::{Cid, Multihash};
use peerage_identity::PeerId;

use crate::client::flow::Flow;
use crate::client::session::{Session, Source};
use crate::message::{Version, WantKind};
use crate::output::SessionId;

/// A want, numbered in the order in which the owner gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WantId(pub(crate) u64);

/// Most holders that rarity tells apart.
const RANK_MAX: u64 = 15;

#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) cid: Cid,
    pub(crate) len: u64,
    pub(crate) sessions: BTreeSet<SessionId>,
    /// Who is asked, and by which number.
    pub(crate) asks: BTreeMap<PeerId, (WantKind, u64)>,
    pub(crate) refused: BTreeSet<PeerId>,
    pub(crate) has: BTreeSet<PeerId>,
    /// Those who said that they have not, and will say so when they have.
    pub(crate) promised: BTreeSet<PeerId>,
    /// How often it was taken from a slow source, and when last.
    pub(crate) moves: u32,
    pub(crate) moved: Instant,
    /// Bytes that its sessions count as asked for, while it is asked for as a block.
    counted: u64,
    listed: Option<Listing>,
}

#[derive(Debug, Clone, Copy)]
enum Listing {
    Clean,
    Contested(u64),
}

impl Want {
    /// Asked as a block of someone.
    pub(crate) fn is_asked(&self) -> bool {
        self.asks.values().any(|(kind, _)| *kind == WantKind::Block)
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed.is_some()
    }
}

/// One ask: a want, live at a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) want: WantId,
    pub(crate) kind: WantKind,
    pub(crate) len: u64,
    pub(crate) at: Instant,
    /// Bytes outstanding with it, and delivered before, when it was asked.
    pub(crate) ahead: u64,
    pub(crate) delivered: u64,
    /// It found nothing outstanding: its answer tells the round trip.
    pub(crate) first: bool,
}

/// A connected peer, as one to ask.
#[derive(Debug)]
pub(crate) struct ClientPeer {
    pub(crate) version: Version,
    pub(crate) flow: Flow,
    /// What is live at it, in the order of asking.
    pub(crate) asks: BTreeMap<u64, Ask>,
    /// How many of those only ask whether it has the block.
    pub(crate) haves: usize,
    /// Wants that it has not, and keeps until it has, by which number.
    pub(crate) promised: BTreeMap<WantId, u64>,
    pub(crate) sessions: BTreeSet<SessionId>,
    /// The session whose turn was last.
    pub(crate) turn: Option<SessionId>,
}

impl ClientPeer {
    /// Wants that it keeps of ours.
    pub(crate) fn live_wants(&self) -> usize {
        self.asks.len() + self.promised.len()
    }
}

/// All wants and where they stand.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) wants: BTreeMap<WantId, Want>,
    pub(crate) by_hash: BTreeMap<Multihash, WantId>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    next: u64,
}

impl Board {
    pub(crate) fn find(&self, cid: &Cid) -> Option<WantId> {
        self.by_hash.get(cid.hash()).copied()
    }

    /// The want of `cid` for `session`, which exists; new or known.
    pub(crate) fn add(&mut self, session: SessionId, cid: &Cid, len: u64) -> WantId {
        let id = match self.find(cid) {
            Some(id) => id,
            None => {
                let id = WantId(self.next);
                self.next += 1;
                self.by_hash.insert(*cid.hash(), id);
                let want = Want {
                    cid: *cid,
                    len,
                    sessions: BTreeSet::new(),
                    asks: BTreeMap::new(),
                    refused: BTreeSet::new(),
                    has: BTreeSet::new(),
                    promised: BTreeSet::new(),
                    moves: 0,
                    moved: Instant::START,
                    counted: 0,
                    listed: None,
                };
                self.wants.insert(id, want);
                id
            }
        };
        self.unlist(id);
        if let (Some(want), Some(state)) = (self.wants.get_mut(&id), self.sessions.get_mut(&session))
            && want.sessions.insert(session)
        {
            state.wants.insert(id);
            state.asked += usize::from(!want.asks.is_empty());
            state.asked_bytes += want.counted;
            for peer in &want.refused {
                if let Some(source) = state.sources.get_mut(peer) {
                    source.refused.insert(id);
                }
            }
        }
        self.list(id);
        id
    }

    /// Takes `session` off a want; true if nobody wants it any more. The asks
    /// are then for the caller to end before [`Board::remove`].
    pub(crate) fn leave(&mut self, session: SessionId, id: WantId) -> bool {
        self.unlist(id);
        let Some(want) = self.wants.get_mut(&id) else { return false };
        if want.sessions.remove(&session)
            && let Some(state) = self.sessions.get_mut(&session)
        {
            state.wants.remove(&id);
            state.asked -= usize::from(!want.asks.is_empty());
            state.asked_bytes -= want.counted;
            for peer in &want.refused {
                if let Some(source) = state.sources.get_mut(peer) {
                    source.refused.remove(&id);
                }
            }
        }
        let unwanted = want.sessions.is_empty();
        if !unwanted {
            self.list(id);
        }
        unwanted
    }

    /// Forgets a want that is asked of nobody.
    pub(crate) fn remove(&mut self, id: WantId) -> Option<Want> {
        self.unlist(id);
        let want = self.wants.remove(&id)?;
        debug_assert!(want.asks.is_empty(), "a want is removed after its asks");
        self.by_hash.remove(want.cid.hash());
        for session in &want.sessions {
            if let Some(state) = self.sessions.get_mut(session) {
                state.wants.remove(&id);
                for peer in &want.refused {
                    if let Some(source) = state.sources.get_mut(peer) {
                        source.refused.remove(&id);
                    }
                }
            }
        }
        Some(want)
    }

    /// Notes that `peer` is asked for so many bytes, or with `None` that it no longer is.
    pub(crate) fn set_ask(&mut self, id: WantId, peer: PeerId, ask: Option<(WantKind, u64)>, len: u64) {
        self.unlist(id);
        if let Some(want) = self.wants.get_mut(&id) {
            let before = want.asks.is_empty();
            match ask {
                Some(ask) => drop(want.asks.insert(peer, ask)),
                None => drop(want.asks.remove(&peer)),
            }
            let after = want.asks.is_empty();
            let counts = match (want.is_asked(), want.counted) {
                (true, 0) => len,
                (true, counted) => counted,
                (false, _) => 0,
            };
            let counted = std::mem::replace(&mut want.counted, counts);
            for session in &want.sessions {
                if let Some(state) = self.sessions.get_mut(session) {
                    state.asked = state.asked + usize::from(!after) - usize::from(!before);
                    state.asked_bytes = state.asked_bytes + counts - counted;
                }
            }
        }
        self.list(id);
    }

    /// Notes that `peer` says it has not the block.
    pub(crate) fn refuse(&mut self, id: WantId, peer: PeerId) {
        self.unlist(id);
        if let Some(want) = self.wants.get_mut(&id) {
            want.has.remove(&peer);
            want.refused.insert(peer);
            for session in &want.sessions {
                if let Some(source) =
                    self.sessions.get_mut(session).and_then(|state| state.sources.get_mut(&peer))
                {
                    source.refused.insert(id);
                }
            }
        }
        self.list(id);
    }

    /// Forgets what `peer` said about a want; with `has`, notes that it has it.
    pub(crate) fn absolve(&mut self, id: WantId, peer: PeerId, has: bool) {
        self.unlist(id);
        if let Some(want) = self.wants.get_mut(&id) {
            if has {
                want.has.insert(peer);
            } else {
                want.has.remove(&peer);
            }
            if want.refused.remove(&peer) {
                for session in &want.sessions {
                    if let Some(source) =
                        self.sessions.get_mut(session).and_then(|state| state.sources.get_mut(&peer))
                    {
                        source.refused.remove(&id);
                    }
                }
            }
        }
        self.list(id);
    }

    /// Makes `peer` a source of `session`, which exists.
    pub(crate) fn add_source(&mut self, session: SessionId, peer: PeerId, source: Source) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.sources.insert(peer, source);
        let contested: Vec<WantId> = state.contested.iter().copied().collect();
        for id in contested {
            self.relist(id);
        }
    }

    /// Ends that, and forgets what it said about wants of no other session of its.
    pub(crate) fn remove_source(&mut self, session: SessionId, peer: PeerId) {
        let Some(state) = self.sessions.get(&session) else { return };
        if !state.sources.contains_key(&peer) {
            return;
        }
        let contested: Vec<WantId> = state.contested.iter().copied().collect();
        for &id in &contested {
            self.unlist(id);
        }
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let told = state.sources.remove(&peer).map(|source| source.refused).unwrap_or_default();
        for id in told.iter().chain(&contested) {
            let Some(want) = self.wants.get_mut(id) else { continue };
            let elsewhere = want
                .sessions
                .iter()
                .any(|other| self.sessions.get(other).is_some_and(|state| state.sources.contains_key(&peer)));
            if !elsewhere {
                want.refused.remove(&peer);
                want.has.remove(&peer);
            }
        }
        for id in contested {
            self.list(id);
        }
    }

    fn relist(&mut self, id: WantId) {
        self.unlist(id);
        self.list(id);
    }

    fn list(&mut self, id: WantId) {
        let Some(want) = self.wants.get_mut(&id) else { return };
        if want.is_asked() {
            return;
        }
        if want.asks.is_empty() && want.refused.is_empty() && want.has.is_empty() {
            for session in &want.sessions {
                if let Some(state) = self.sessions.get_mut(session) {
                    state.clean.insert(id);
                }
            }
            want.listed = Some(Listing::Clean);
            return;
        }
        let sources: usize = want
            .sessions
            .iter()
            .filter_map(|s| self.sessions.get(s))
            .map(|s| s.sources.len())
            .max()
            .unwrap_or(0);
        let rank = (sources.saturating_sub(want.refused.len()) as u64).min(RANK_MAX);
        for session in &want.sessions {
            let Some(state) = self.sessions.get_mut(session) else { continue };
            state.contested.insert(id);
            let key = state.key(rank, id);
            for (peer, source) in &mut state.sources {
                if want.has.contains(peer) {
                    source.has.insert(key);
                } else if !want.refused.contains(peer) && !want.asks.contains_key(peer) {
                    source.may.insert(key);
                }
            }
        }
        want.listed = Some(Listing::Contested(rank));
    }

    fn unlist(&mut self, id: WantId) {
        let Some(want) = self.wants.get_mut(&id) else { return };
        let Some(listing) = want.listed.take() else { return };
        for session in &want.sessions {
            let Some(state) = self.sessions.get_mut(session) else { continue };
            match listing {
                Listing::Clean => drop(state.clean.remove(&id)),
                Listing::Contested(rank) => {
                    state.contested.remove(&id);
                    let key = state.key(rank, id);
                    for source in state.sources.values_mut() {
                        source.has.remove(&key);
                        source.may.remove(&key);
                    }
                }
            }
        }
    }
}
