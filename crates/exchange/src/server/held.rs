//! The wants of one peer that are held, by stage.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use peerage_content::Cid;

use crate::message::WantKind;

/// Where a held want stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a lookup.
    New,
    /// Is being looked up.
    Looking,
    /// Waits for credit to be sent.
    Ready {
        /// Bytes.
        len: u32,
        /// How often it was sent to anyone.
        sent: u32,
    },
    /// Not here.
    Absent,
}

/// A want of a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) priority: Reverse<i32>,
    pub(crate) kind: WantKind,
    pub(crate) send_dont_have: bool,
    pub(crate) stage: Stage,
}

/// Most urgent first, then in order of arrival.
type Key = (Reverse<i32>, u64);

/// A block that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) cid: Cid,
    /// Bytes.
    pub(crate) len: u32,
    /// How often it was sent to anyone.
    pub(crate) sent: u32,
}

/// All wants of one peer. The number is bounded by its owner.
#[derive(Debug, Default)]
pub(crate) struct HeldWants {
    by_cid: BTreeMap<Cid, (u64, Held)>,
    new: BTreeMap<Key, Cid>,
    /// What was sent least often first: others may give it the rest.
    ready: BTreeMap<(u32, Key), (Cid, u32)>,
    absent: BTreeMap<u64, Cid>,
    /// Lookups in flight, also those of wants that were cancelled meanwhile.
    looking: BTreeSet<Cid>,
    next: u64,
}

impl HeldWants {
    pub(crate) fn len(&self) -> usize {
        self.by_cid.len()
    }

    pub(crate) fn cids(&self) -> impl Iterator<Item = &Cid> {
        self.by_cid.keys()
    }

    pub(crate) fn absent(&self) -> impl ExactSizeIterator<Item = &Cid> {
        self.absent.values()
    }

    pub(crate) fn oldest_absent(&self) -> Option<Cid> {
        self.absent.first_key_value().map(|(_, &cid)| cid)
    }

    pub(crate) fn ready_cids(&self) -> impl Iterator<Item = &Cid> {
        self.ready.values().map(|(cid, _)| cid)
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn looking(&self) -> usize {
        self.looking.len()
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Held> {
        self.by_cid.get(cid).map(|(_, held)| *held)
    }

    pub(crate) fn insert(&mut self, cid: Cid, mut held: Held) {
        // A lookup of an earlier want of the same block answers this one too.
        if held.stage == Stage::New && self.looking.contains(&cid) {
            held.stage = Stage::Looking;
        }
        let seq = self.next;
        self.next += 1;
        self.by_cid.insert(cid, (seq, held));
        self.place(&cid);
    }

    pub(crate) fn remove(&mut self, cid: &Cid) -> Option<Held> {
        self.displace(cid);
        self.by_cid.remove(cid).map(|(_, held)| held)
    }

    pub(crate) fn set_stage(&mut self, cid: &Cid, stage: Stage) {
        self.displace(cid);
        if let Some((_, held)) = self.by_cid.get_mut(cid) {
            held.stage = stage;
        }
        self.place(cid);
    }

    pub(crate) fn upgrade(&mut self, cid: &Cid, kind: WantKind, send_dont_have: bool) {
        if let Some((_, held)) = self.by_cid.get_mut(cid) {
            held.kind = kind;
            held.send_dont_have |= send_dont_have;
        }
    }

    /// The most urgent want that waits for a lookup, which begins now.
    pub(crate) fn start_lookup(&mut self) -> Option<Cid> {
        let (_, &cid) = self.new.first_key_value()?;
        self.set_stage(&cid, Stage::Looking);
        self.looking.insert(cid);
        Some(cid)
    }

    /// Whether a want for this very CID waits for a lookup that is under way.
    pub(crate) fn is_looking(&self, cid: &Cid) -> bool {
        self.looking.contains(cid) && self.get(cid).is_some_and(|held| held.stage == Stage::Looking)
    }

    /// A lookup ended; true if its want is still held and waits for it.
    pub(crate) fn finish_lookup(&mut self, cid: &Cid) -> bool {
        self.looking.remove(cid) && self.get(cid).is_some_and(|held| held.stage == Stage::Looking)
    }

    /// The block to send first: which was sent least often, and of these the most urgent.
    pub(crate) fn first_ready(&self) -> Option<Ready> {
        let (&(sent, _), &(cid, len)) = self.ready.first_key_value()?;
        Some(Ready { cid, len, sent })
    }

    fn place(&mut self, cid: &Cid) {
        let Some(&(seq, held)) = self.by_cid.get(cid) else { return };
        let key = (held.priority, seq);
        match held.stage {
            Stage::New => drop(self.new.insert(key, *cid)),
            Stage::Looking => {}
            Stage::Ready { len, sent } => drop(self.ready.insert((sent, key), (*cid, len))),
            Stage::Absent => drop(self.absent.insert(seq, *cid)),
        }
    }

    fn displace(&mut self, cid: &Cid) {
        let Some(&(seq, held)) = self.by_cid.get(cid) else { return };
        let key = (held.priority, seq);
        match held.stage {
            Stage::New => drop(self.new.remove(&key)),
            Stage::Looking => {}
            Stage::Ready { sent, .. } => drop(self.ready.remove(&(sent, key))),
            Stage::Absent => drop(self.absent.remove(&seq)),
        }
    }
}
