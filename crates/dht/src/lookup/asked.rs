//! What a look-up has asked: how many, and whether anybody still answers.
//!
//! If our own network is gone for seconds, all that is asked fails: that says
//! nothing of whom we asked, nor of who named them, nor that those who answered
//! before are the closest. It shows by the order in which peers were asked: of
//! the last ones none has answered. The order of the failures says less, since
//! those who are gone always fail after the others have answered. Whom one
//! source alone has named does not count, as it may have made them up.

use crate::limits::SILENT_LAST;
use crate::message::PeerInfo;

use super::candidate::Candidate;
use super::named::Reputes;

#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) count: u32,
    /// Of these, such as we knew or several sources have named.
    vouched: u32,
    /// So many of those were asked until the last that has answered was.
    heard: u32,
}

impl Asked {
    pub(super) fn ask(&mut self, candidate: &mut Candidate, reputes: &Reputes) -> PeerInfo {
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
