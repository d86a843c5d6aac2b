//! What a look-up has asked: how many, of which networks, and whether anybody
//! still answers.
//!
//! Who has many ids in one network can have each name nearer ones, until a
//! look-up has asked as many as it may. So those of a group of which many were
//! asked are passed over while there are others. Of a peer that is said to be
//! in several groups the addresses in such a one are, so that nobody escapes
//! that by naming false ones beside the right one.
//!
//! If our own network is gone for seconds, all that is asked fails: that says
//! nothing of whom we asked, nor of who named them, nor that those who answered
//! before are the closest. It shows by the order in which peers were asked: of
//! the last ones none has answered. The order of the failures says less, since
//! those who are gone always fail after the others have answered. Whom one
//! source alone has named does not count, as it may have made them up.

use std::collections::BTreeSet;

use peerage_identity::Multiaddr;

use crate::crowd::Crowd;
use crate::limits::SILENT_LAST;
use crate::message::PeerInfo;
use crate::reach::{Group, Reach};

use super::candidate::{Candidate, State};
use super::named::Reputes;

#[derive(Debug)]
pub(super) struct Asked {
    reach: Reach,
    crowd: Crowd,
    pub(super) count: u32,
    /// Of these, such as we knew or several sources have named.
    vouched: u32,
    /// So many of those were asked until the last that has answered was.
    heard: u32,
}

impl Asked {
    /// At most `group_max` of one group, while there are others.
    pub(super) const fn new(reach: Reach, group_max: usize) -> Self {
        Self { reach, crowd: Crowd::new(group_max), count: 0, vouched: 0, heard: 0 }
    }

    fn is_full(&self, addr: &Multiaddr) -> bool {
        self.crowd.is_full_of([self.reach.group(addr)])
    }

    /// True if it is to be passed over for others.
    pub(super) fn passes_over(&self, candidate: &Candidate) -> bool {
        let groups = || candidate.addrs.iter().map(|addr| self.reach.group(addr));
        candidate.state == State::Heard && self.crowd.is_full_of(groups())
    }

    /// True if it is such an other: it may yet answer, and is not passed over.
    pub(super) fn is_other(&self, candidate: &Candidate) -> bool {
        let live = candidate.state.is_live() && candidate.state != State::Answered;
        live && !self.crowd.is_full_of(candidate.addrs.iter().map(|addr| self.reach.group(addr)))
    }

    /// Asks one; where not too many were asked, if there are `others`.
    pub(super) fn ask(&mut self, candidate: &mut Candidate, others: bool, reputes: &Reputes) -> PeerInfo {
        if others && candidate.addrs.iter().any(|addr| self.is_full(addr)) {
            let mut addrs = candidate.addrs.to_vec();
            addrs.retain(|addr| !self.is_full(addr));
            candidate.addrs.update(&addrs);
        }
        let groups: BTreeSet<Group> =
            candidate.addrs.iter().filter_map(|addr| self.reach.group(addr)).collect();
        groups.into_iter().for_each(|group| self.crowd.add(Some(group)));
        self.count += 1;
        self.vouched += u32::from(reputes.sources(&candidate.by).len() != 1);
        candidate.turn = self.vouched;
        candidate.ask()
    }

    /// One who was asked at this turn has answered.
    pub(super) fn answered(&mut self, turn: u32) {
        self.heard = self.heard.max(turn);
    }

    /// None of the last has answered.
    pub(super) const fn is_cut_off(&self) -> bool {
        self.vouched - self.heard >= SILENT_LAST
    }
}
