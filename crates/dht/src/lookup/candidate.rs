//! One peer of a look-up: how it stands, where it is said to be, and who says so.
//!
//! Anyone can say of an honest peer that it is where it is not. Who was asked
//! there in vain is asked again if somebody names it at another address; only
//! those who named what was tried are blamed for the failure.

use peerage_identity::{Multiaddr, PeerId};

use crate::addrs::Addrs;
use crate::limits::{ADDRS_KEPT_MAX, TRIES_MAX};
use crate::message::{PeerInfo, merge};
use crate::output::Failure;
use crate::reach::{Group, Reach};

use super::named::{Namer, Namers};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be asked; perhaps once more.
    Heard,
    Waiting,
    /// It was asked, and takes long.
    Late,
    Answered,
    Failed,
}

impl State {
    /// Counts among the closest: it has answered, or may do so in time.
    pub(super) const fn is_live(self) -> bool {
        matches!(self, Self::Heard | Self::Waiting | Self::Answered)
    }
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    pub(super) addrs: Addrs,
    pub(super) state: State,
    /// How often it was asked, at other addresses each time.
    tries: u8,
    /// Of these requests, those that are not over.
    open: u8,
    /// Of `addrs` so many, the first, were tried the last time.
    tried: u8,
    /// When it was asked ([`super::asked`]).
    pub(super) turn: u32,
    /// Hops from us: 1 for whom we knew.
    pub(super) depth: u32,
    pub(super) path: usize,
    /// Who named it.
    pub(super) by: Namers,
    /// Of the address by which it answered.
    pub(super) group: Option<Group>,
}

impl Candidate {
    pub(super) fn new(info: &PeerInfo, depth: u32, path: usize, by: Option<Namer>) -> Self {
        let (addrs, by) = (info.addrs.as_slice().into(), Namers::new(by));
        let (peer, state) = (info.peer, State::Heard);
        Self { peer, addrs, state, tries: 0, open: 0, tried: 0, turn: 0, depth, path, by, group: None }
    }

    pub(super) fn info(&self) -> PeerInfo {
        PeerInfo { peer: self.peer, addrs: self.addrs.to_vec() }
    }

    /// It was only named so far.
    pub(super) const fn is_new(&self) -> bool {
        self.tries == 0
    }

    /// Asked, and nothing came yet.
    pub(super) const fn is_open(&self) -> bool {
        self.open > 0 && !matches!(self.state, State::Answered)
    }

    /// Asks it, at all of its addresses.
    pub(super) fn ask(&mut self) -> PeerInfo {
        self.state = State::Waiting;
        self.tries += 1;
        self.open += 1;
        self.tried = u8::try_from(self.addrs.len()).unwrap_or(u8::MAX);
        self.info()
    }

    /// One more names it. Whoever named it first may have told a wrong address.
    pub(super) fn named_again(&mut self, mut news: Vec<Multiaddr>, by: Option<Namer>, reach: Reach) {
        if matches!(self.state, State::Heard | State::Answered) {
            by.into_iter().for_each(|by| self.by.add(by));
            self.addrs.merge(news, 2 * ADDRS_KEPT_MAX);
            return;
        }
        let Some(by) = by else { return };
        let (tried, since) = self.addrs.split_at(usize::from(self.tried).min(self.addrs.len()));
        news.retain(|addr| !tried.contains(addr));
        if !reach.is_askable(&news) {
            self.by.add(by);
            return;
        }
        // Of one who has said before where it is, that counts.
        if self.tries < TRIES_MAX && self.by.add_since(by) {
            let mut others = since.to_vec();
            merge(&mut others, news, ADDRS_KEPT_MAX);
            self.addrs = [tried, &others].concat().as_slice().into();
            self.try_again();
        }
    }

    /// A request to it came to nothing; `late` if it was not waited for. True if
    /// it was waited for.
    pub(super) fn failed(&mut self, failure: Failure, late: bool) -> bool {
        self.open -= 1;
        let reached = matches!(failure, Failure::Unsupported | Failure::Malformed);
        if reached {
            self.tries = TRIES_MAX;
        }
        let awaited = self.state == State::Waiting && (!late || self.open == 0);
        if awaited || self.state == State::Late || reached && self.state == State::Heard {
            self.state = if self.open > 0 { State::Late } else { State::Failed };
        }
        awaited
    }

    /// If it was named at other addresses since it was asked, it is to be asked
    /// there. After those were blamed who named it before.
    pub(super) fn try_again(&mut self) {
        let tried = usize::from(self.tried);
        let given_up = matches!(self.state, State::Late | State::Failed);
        if given_up && self.tries < TRIES_MAX && tried < self.addrs.len() {
            self.state = State::Heard;
            self.addrs = self.addrs[tried..].into();
            self.tried = 0;
            self.by.forget_tried();
        }
    }

    /// Nobody is believed who named it: it is not asked again.
    pub(super) const fn give_up(&mut self) {
        self.tries = TRIES_MAX;
        self.state = if self.open > 0 { State::Late } else { State::Failed };
    }
}
