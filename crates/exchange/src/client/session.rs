//! A session of wants, and its sources: what each may have, and in which order that is
//! asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_identity::PeerId;

use crate::client::state::WantId;
use crate::output::{Holding, Order, Room, SessionConfig, SessionStats};

/// Wants of which copies are asked for, when nothing else is left. A judgement: one and
/// a half per cent of a file of 256 blocks, if each comes twice.
const LAST_WANTS: usize = 4;

/// A source of one session.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Listed wants that it says it has, and contested ones that it may have.
    pub(crate) has: BTreeSet<(u64, WantId)>,
    pub(crate) may: BTreeSet<(u64, WantId)>,
    /// Wants of the session that it said it has not, or let lapse.
    pub(crate) refused: BTreeSet<WantId>,
    /// It has refused something: it holds a part.
    pub(crate) partial: bool,
    /// Its last answers, newest in the lowest bit, 1 for "don't have".
    refusals: u16,
    pub(crate) refused_in_row: u32,
    pub(crate) useless_told: bool,
    pub(crate) retry: Duration,
}

impl Source {
    /// One of which is known what it holds, and which is asked again after `retry`.
    pub(crate) fn new(holding: Holding, retry: Duration) -> Self {
        let partial = holding == Holding::Part;
        // As if it had said so.
        let refusals = if partial { u16::MAX } else { 0 };
        Self { partial, refusals, retry, ..Self::default() }
    }

    pub(crate) fn note_answer(&mut self, had_it: bool) {
        self.refusals = self.refusals << 1 | u16::from(!had_it);
        self.refused_in_row = if had_it { 0 } else { self.refused_in_row.saturating_add(1) };
        if had_it {
            self.useless_told = false;
        } else {
            self.partial = true;
        }
    }

    /// Most of what it was asked lately it did not have: ask before wanting.
    pub(crate) fn is_sparse(&self) -> bool {
        self.refusals.count_ones() > 8
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) order: Order,
    /// Makes the order among equally rare wants our own.
    salt: u64,
    pub(crate) sources: BTreeMap<PeerId, Source>,
    pub(crate) banned: BTreeSet<PeerId>,
    pub(crate) wants: BTreeSet<WantId>,
    pub(crate) clean: BTreeSet<WantId>,
    /// Where in `clean` the next want is taken from.
    cursor: Option<WantId>,
    pub(crate) contested: BTreeSet<WantId>,
    /// Wants that someone is asked, for a block or for word.
    pub(crate) asked: usize,
    /// Bytes of the blocks that are asked for, each counted once, and how many these may be.
    pub(crate) asked_bytes: u64,
    pub(crate) room: Room,
    /// A block was not asked for since there was no room.
    pub(crate) held_back: bool,
    /// No further wants will come: copies may be asked for.
    pub(crate) ending: bool,
    pub(crate) stalled_told: bool,
    pub(crate) stats: SessionStats,
}

impl Session {
    /// Whether a block of `len` bytes may be asked for. One always may, or a block
    /// larger than the room would never come.
    pub(crate) const fn has_room(&self, len: u64) -> bool {
        self.asked_bytes == 0 || self.asked_bytes.saturating_add(len) <= self.room.bytes
    }

    pub(crate) fn new(config: SessionConfig, salt: u64) -> Self {
        Self {
            salt,
            order: config.order,
            sources: BTreeMap::new(),
            banned: BTreeSet::new(),
            wants: BTreeSet::new(),
            clean: BTreeSet::new(),
            cursor: None,
            contested: BTreeSet::new(),
            asked: 0,
            asked_bytes: 0,
            room: Room::default(),
            held_back: false,
            ending: false,
            stalled_told: false,
            stats: SessionStats::default(),
        }
    }

    /// Only the last few wants are left, and each is asked of someone.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ending && self.wants.len() <= LAST_WANTS && self.clean.is_empty() && self.contested.is_empty()
    }

    /// The next want of which nothing is known. In order, but from a place by chance
    /// on: many who begin to fetch the same at once ask one source for different
    /// things, and each for what lies together. With `scattered`, each by chance.
    pub(crate) fn next_clean(&mut self, scattered: bool, random: u64) -> Option<WantId> {
        if self.order == Order::InOrder {
            return self.clean.first().copied();
        }
        if scattered || (self.cursor.is_none() && self.clean.len() > 1) {
            self.cursor = random_of(&self.clean, random);
        }
        let after = self.cursor.and_then(|at| self.clean.range(at..).next());
        after.or(self.clean.first()).copied()
    }

    /// Where a contested want stands: the rarest first, and among equals at
    /// random, so that two who fetch the same from one source ask it for
    /// different things.
    pub(super) fn key(&self, rank: u64, id: WantId) -> (u64, WantId) {
        match self.order {
            Order::InOrder => (0, id),
            Order::RarestFirst => {
                let mixed = (id.0 ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (rank << 32 | mixed >> 32, id)
            }
        }
    }
}

/// An element of `set`, by a random number.
fn random_of(set: &BTreeSet<WantId>, random: u64) -> Option<WantId> {
    let (first, last) = (set.first()?.0, set.last()?.0);
    let at = first + random % (last - first + 1);
    set.range(WantId(at)..).next().copied()
}
