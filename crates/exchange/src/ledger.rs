//! Who gave how much to whom, kept over reconnects for a bounded number of peers.

use std::collections::{BTreeMap, BTreeSet};

use peerage_base::Instant;
use peerage_identity::PeerId;

/// Bytes received that raise a peer's weight by one the first time; each
/// further step takes twice as much. A judgement: one block of a usual file.
const WEIGHT_STEP: u64 = 1 << 20;
/// Largest weight.
const WEIGHT_MAX: u64 = 8;

/// The account of one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ledger {
    pub(crate) sent_bytes: u64,
    pub(crate) sent_blocks: u64,
    pub(crate) received_bytes: u64,
    pub(crate) received_blocks: u64,
    pub(crate) duplicate_bytes: u64,
    pub(crate) duplicate_blocks: u64,
}

/// The accounts of connected peers and of the last so many others.
#[derive(Debug)]
pub(crate) struct Ledgers {
    accounts: BTreeMap<PeerId, (Ledger, Option<Instant>)>,
    /// Those that are not connected, by when they left.
    left: BTreeSet<(Instant, PeerId)>,
    max_left: usize,
}

impl Ledgers {
    pub(crate) fn new(max_left: usize) -> Self {
        Self { accounts: BTreeMap::new(), left: BTreeSet::new(), max_left }
    }

    pub(crate) fn connected(&mut self, peer: PeerId) {
        let (_, left) = self.accounts.entry(peer).or_default();
        if let Some(at) = left.take() {
            self.left.remove(&(at, peer));
        }
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) {
        let Some((ledger, left)) = self.accounts.get_mut(&peer) else { return };
        if ledger.sent_bytes == 0 && ledger.received_bytes == 0 {
            self.accounts.remove(&peer);
            return;
        }
        *left = Some(now);
        self.left.insert((now, peer));
        if self.left.len() > self.max_left
            && let Some((_, gone)) = self.left.pop_first()
        {
            self.accounts.remove(&gone);
        }
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Ledger {
        self.accounts.get(peer).map(|(ledger, _)| *ledger).unwrap_or_default()
    }

    pub(crate) fn sent(&mut self, peer: PeerId, bytes: u64) {
        if let Some((ledger, _)) = self.accounts.get_mut(&peer) {
            ledger.sent_bytes += bytes;
            ledger.sent_blocks += 1;
        }
    }

    pub(crate) fn received(&mut self, peer: PeerId, bytes: u64) {
        if let Some((ledger, _)) = self.accounts.get_mut(&peer) {
            ledger.received_bytes += bytes;
            ledger.received_blocks += 1;
        }
    }

    pub(crate) fn duplicate(&mut self, peer: PeerId, bytes: u64) {
        if let Some((ledger, _)) = self.accounts.get_mut(&peer) {
            ledger.duplicate_bytes += bytes;
            ledger.duplicate_blocks += 1;
        }
    }

    /// How many shares of the uplink a peer has, 1 to [`WEIGHT_MAX`], by what
    /// it gave us: logarithmic, so that nobody is starved.
    pub(crate) fn weight(&self, peer: &PeerId) -> u64 {
        let steps = self.get(peer).received_bytes / WEIGHT_STEP;
        u64::from(steps.checked_ilog2().map_or(0, |log| log + 1)).min(WEIGHT_MAX - 1) + 1
    }
}
