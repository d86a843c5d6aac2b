//! What the shell reports of blocks: found here, come from a peer, written, served.

use std::num::NonZeroU64;

use peerage_base::Now;
use peerage_content::Cid;
use peerage_exchange::{BlockOutcome, Incoming, Served};
use peerage_identity::PeerId;

use super::Engine;
use super::jobs::{Job, Kind};
use crate::fetch::{Arrived, ItemId};
use crate::output::{JobId, Output};
use crate::score::Deed;

impl Engine {
    /// Wants, cancels and presences of a peer. Its blocks come through
    /// [`handle_block`](Self::handle_block), once they are hashed.
    pub fn handle_message(&mut self, peer: PeerId, message: &Incoming, now: Now) {
        self.exchange.handle_message(peer, message, now);
        self.route(now);
    }

    /// A message from `peer` is arriving and not whole yet: what was asked of
    /// it is on its way, if slowly.
    pub fn handle_progress(&mut self, peer: PeerId, now: Now) {
        self.exchange.handle_progress(peer, now);
        if self.exchange.peer_stats(&peer).outstanding_bytes > 0 {
            for entry in self.jobs.values_mut() {
                entry.search.handle_arriving(&peer, now.instant, &self.config);
            }
        }
        self.route(now);
    }

    /// A block has come from `peer`; the shell hashed it to `cid` and decoded it.
    pub fn handle_block(&mut self, peer: PeerId, cid: Cid, arrived: &Arrived, now: Now) {
        match self.exchange.handle_block(peer, &cid, arrived.len, now) {
            BlockOutcome::Wanted { sessions } => {
                let mut used = sessions.is_empty();
                for id in sessions {
                    let job = JobId(id.0);
                    if self.deliver(job, cid, arrived, now) {
                        used = true;
                        if let Some(entry) = self.jobs.get_mut(&job) {
                            *entry.received.entry(peer).or_default() += u64::from(arrived.len);
                            entry.blocks += 1;
                            entry.search.handle_progress(&peer, now.instant);
                        }
                    }
                    let share = self.credit_share();
                    self.route_job(job, share, now);
                }
                if !used {
                    // The right bytes under a codec that was not asked for.
                    self.charge(peer, now);
                } else {
                    self.peers.touch(&peer, now.instant);
                    self.score_deed(&peer, Deed::Delivered, now);
                }
            }
            BlockOutcome::Duplicate => {
                for entry in self.jobs.values_mut().filter(|entry| entry.search.sources().contains(&peer)) {
                    entry.duplicates += u64::from(arrived.len);
                }
            }
            BlockOutcome::Unknown if self.is_left_over(&peer, &cid, now) => {}
            BlockOutcome::Unknown => self.outputs.push_back(Output::CheckHeld { peer, cid }),
        }
        self.outputs.push_back(Output::Release { token: arrived.token });
        self.route(now);
    }

    /// Whether a block that this process did not ask for is what an earlier one
    /// asked for: a fetch will want it, or the peer begins to speak with us and
    /// was asked for nothing that it could be a wrong answer to.
    fn is_left_over(&self, peer: &PeerId, cid: &Cid, now: Now) -> bool {
        let known = |entry: &Job| matches!(&entry.kind, Kind::Fetch(fetch) if fetch.knows(cid.hash()));
        let young = self.peers.get(peer).is_some_and(|peer| now.instant - peer.since < self.config.left_over);
        young && self.exchange.peer_stats(peer).live_wants == 0 || self.jobs.values().any(known)
    }

    /// A block has come from `peer` that cannot be hashed: nobody asked for such.
    pub fn handle_bad_block(&mut self, peer: PeerId, now: Now) {
        self.charge_for(peer, now);
        self.route(now);
    }

    /// The shell's answer to [`Output::CheckHeld`].
    pub fn handle_held(&mut self, peer: PeerId, _cid: &Cid, held: bool, now: Now) {
        if !held {
            self.charge(peer, now);
        }
        self.route(now);
    }

    /// Charges a bad block, and notes it for every job that asks this peer.
    fn charge(&mut self, peer: PeerId, now: Now) {
        for entry in self.jobs.values_mut().filter(|entry| entry.search.sources().contains(&peer)) {
            *entry.wrong.entry(peer).or_default() += 1;
        }
        self.charge_for(peer, now);
    }

    fn charge_for(&mut self, peer: PeerId, now: Now) {
        self.score_deed(&peer, Deed::WrongBlock, now);
        // A ban comes out as an output of its own.
        let _ = self.exchange.charge_bad_block(peer, now);
    }

    /// The shell's answer to [`Output::TakeLocal`].
    pub fn handle_local(&mut self, job: JobId, item: ItemId, cid: Cid, found: Option<&Arrived>, now: Now) {
        match self.jobs.get_mut(&job).map(|entry| &mut entry.kind) {
            Some(Kind::Fetch(fetch)) => fetch.handle_local(item, found),
            Some(Kind::Query(query)) => match found {
                Some(arrived) => drop(self.deliver(job, cid, arrived, now)),
                None => {
                    let estimate = query.estimate(&cid);
                    self.want(job, &cid, estimate, now);
                }
            },
            None => {}
        }
        let share = self.credit_share();
        self.route_job(job, share, now);
        if let Some(arrived) = found {
            self.outputs.push_back(Output::Release { token: arrived.token });
        }
        self.route(now);
    }

    /// [`Output::Write`] (with its `bytes` of content) or [`Output::StoreBlock`]
    /// (with 0) is done: a killed process will not lose it. `len` is the block's.
    pub fn handle_written(&mut self, job: JobId, item: ItemId, cid: Cid, bytes: u64, len: u32, now: Now) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            if let Kind::Fetch(fetch) = &mut entry.kind {
                fetch.handle_written(item, bytes);
            }
            if entry.swarm {
                let share = entry.share();
                self.swarms.set_share(&entry.root, share);
                self.exchange.block_available(&cid, len, now);
            }
        }
        self.route(now);
    }

    /// [`Output::MakeDir`] or [`Output::FinishFile`] is done.
    pub fn handle_made(&mut self, job: JobId, now: Now) {
        if let Some(Kind::Fetch(fetch)) = self.jobs.get_mut(&job).map(|entry| &mut entry.kind) {
            fetch.handle_made();
        }
        self.route(now);
    }

    /// The shell's answer to [`Output::Lookup`]: the block's length if it is held and served.
    pub fn handle_lookup(&mut self, peer: PeerId, cid: &Cid, len: Option<u32>, now: Now) {
        self.exchange.handle_lookup(peer, cid, len, now);
        self.route(now);
    }

    /// Bounds how fast blocks are handed out to be sent to all peers together, in bytes
    /// a second; `None` is as fast as they are taken.
    pub fn limit_sending(&mut self, rate: Option<NonZeroU64>, now: Now) {
        self.exchange.limit_sending(rate, now);
        self.route(now);
    }

    /// The shell's answer to [`Output::ServeBlock`].
    pub fn handle_served(&mut self, peer: PeerId, cid: &Cid, served: Served, now: Now) {
        self.exchange.handle_served(peer, cid, served, now);
        if matches!(served, Served::Sent(_)) {
            self.peers.touch(&peer, now.instant);
        }
        self.route(now);
    }
}
