//! Which inbound streams are let in: ids are never reused, and each class of
//! streams has its limit.
//!
//! Ids need not arrive in order: go-yamux sends the SYN of concurrent opens
//! in any order, rust-yamux only with the first write. So the ids below the
//! highest that were not seen yet are remembered, up to the number of streams
//! that an honest peer leaves un-ACKed.

use std::collections::{BTreeSet, VecDeque};

use super::config::Config;
use super::stream::{Counted, StreamClass};
use super::{Role, StreamId};

/// Skipped ids that are remembered: twice the 256 that peers leave un-ACKed.
const MAX_SKIPPED: usize = 512;

/// What becomes of a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// Reset it: too many streams, or an id so old that it cannot be told
    /// whether it was used.
    Refuse,
    WrongParity,
    Reused,
}

#[derive(Debug)]
pub(super) struct Admission {
    /// The remainder modulo 2 of the peer's ids.
    parity: u32,
    highest: Option<u32>,
    /// Ids below `highest` that were never opened, the newest `MAX_SKIPPED`.
    skipped: VecDeque<u32>,
    /// Ids up to this were forgotten by `skipped`.
    forgotten: u32,
    pending: usize,
    ordinary: usize,
    bitswap: usize,
    outbound: usize,
    /// Inbound streams whose ACK waits until fewer are pending, oldest first.
    withheld: BTreeSet<StreamId>,
}

impl Admission {
    pub(super) const fn new(local: Role) -> Self {
        let parity = match local {
            Role::Client => 0,
            Role::Server => 1,
        };
        Self {
            parity,
            highest: None,
            skipped: VecDeque::new(),
            forgotten: 0,
            pending: 0,
            ordinary: 0,
            bitswap: 0,
            outbound: 0,
            withheld: BTreeSet::new(),
        }
    }

    /// Judges a SYN for `id`, which is not 0, and notes the id as used.
    pub(super) fn judge(&mut self, id: StreamId, config: &Config) -> Verdict {
        let number = id.as_u32();
        if number % 2 != self.parity {
            return Verdict::WrongParity;
        }
        match self.highest {
            Some(highest) if number <= highest => match self.skipped.binary_search(&number) {
                Ok(at) => {
                    self.skipped.remove(at);
                }
                Err(_) if number <= self.forgotten => return Verdict::Refuse,
                Err(_) => return Verdict::Reused,
            },
            _ => self.skip_to(number),
        }
        if self.pending >= config.max_inbound_pending { Verdict::Refuse } else { Verdict::Admit }
    }

    /// Notes the ids between the highest so far and `number` as skipped.
    fn skip_to(&mut self, number: u32) {
        let first = self.highest.map_or(2 - self.parity, |highest| highest.saturating_add(2));
        let span = u32::try_from(MAX_SKIPPED * 2).unwrap_or(u32::MAX);
        // 2 - parity is 1 or 2: the first id of either role.
        let from = first.max(number.saturating_sub(span));
        if from > first {
            self.forgotten = from - 2;
            self.skipped.clear();
        }
        self.skipped.extend((from..number).step_by(2));
        while self.skipped.len() > MAX_SKIPPED {
            self.forgotten = self.skipped.pop_front().unwrap_or(self.forgotten);
        }
        self.highest = Some(number);
    }

    /// Notes an admitted stream; true if its ACK may be sent at once.
    pub(super) fn admit(&mut self, id: StreamId, config: &Config) -> bool {
        self.pending += 1;
        let prompt = self.pending <= config.ack_pending_below;
        if !prompt {
            self.withheld.insert(id);
        }
        prompt
    }

    /// Moves a pending stream to `class`; false if the class is full.
    #[must_use]
    pub(super) fn classify(&mut self, from: Counted, class: StreamClass, config: &Config) -> bool {
        let (count, limit) = match class {
            StreamClass::Ordinary => (&mut self.ordinary, config.max_inbound),
            StreamClass::Bitswap => (&mut self.bitswap, config.max_inbound_bitswap),
        };
        if from == Counted::Inbound(class) {
            return true;
        }
        if *count >= limit {
            return false;
        }
        *count += 1;
        *self.count(from) -= 1;
        true
    }

    /// The oldest stream whose ACK may now be sent.
    pub(super) fn next_ack(&mut self, config: &Config) -> Option<StreamId> {
        let waiting = self.withheld.len();
        let pending_and_acked = self.pending.saturating_sub(waiting);
        if pending_and_acked < config.ack_pending_below { self.withheld.pop_first() } else { None }
    }

    /// True if the ACK of `id` was still withheld; it no longer is.
    pub(super) fn take_withheld(&mut self, id: StreamId) -> bool {
        self.withheld.remove(&id)
    }

    pub(super) const fn outbound(&self) -> usize {
        self.outbound
    }

    pub(super) fn opened(&mut self) {
        self.outbound += 1;
    }

    /// Notes that a stream ended.
    pub(super) fn ended(&mut self, id: StreamId, counted: Counted) {
        *self.count(counted) -= 1;
        self.withheld.remove(&id);
    }

    fn count(&mut self, counted: Counted) -> &mut usize {
        match counted {
            Counted::Outbound => &mut self.outbound,
            Counted::Pending => &mut self.pending,
            Counted::Inbound(StreamClass::Ordinary) => &mut self.ordinary,
            Counted::Inbound(StreamClass::Bitswap) => &mut self.bitswap,
        }
    }
}
