//! Who named a peer, and what that is worth.
//!
//! Anyone can invent ids that are very near to a key, any number of them. So
//! what was named is held against who named it: by its *repute*, if none of
//! those whom it named is there, and by its *source*, of which others are not
//! crowded out (see [`super::candidates`]).

use std::num::NonZeroU32;

use peerage_identity::PeerId;

use crate::key::Key;
use crate::limits::{DISTRUST_AFTER, NAMERS_KEPT};
use crate::message::PeerInfo;
use crate::reach::Group;

/// A peer that somebody named, and where it is in the keyspace: finding that out
/// takes longer than all else that is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) key: Key,
    pub(crate) info: PeerInfo,
}

impl From<PeerInfo> for Named {
    fn from(info: PeerInfo) -> Self {
        Self { key: Key::of_peer(&info.peer), info }
    }
}

/// Of whom an answer is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Teller {
    /// Of the connection by which it came.
    pub(crate) group: Option<Group>,
    /// It has named peers before who were not there, or did worse.
    pub(crate) doubted: bool,
}

/// A peer that answered: the first, the second, and so on. A look-up remembers
/// hundreds of peers, and an id is longer than the rest of what it notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namer(NonZeroU32);

/// Whose word something is: many identities may be of one network, and whom
/// one source alone has named is as good as that source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Network(Group),
    /// Where networks do not matter.
    Peer(Namer),
}

/// Who named a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namers {
    /// The first of them; none if we knew it.
    first: [Option<Namer>; NAMERS_KEPT],
    /// So many of these, the last, named it after it was asked, and elsewhere.
    since: u8,
    /// We knew it, or more than these named it.
    many: bool,
}

impl Namers {
    pub(super) fn new(by: Option<Namer>) -> Self {
        let mut first = [None; NAMERS_KEPT];
        first[0] = by;
        Self { first, since: 0, many: by.is_none() }
    }

    pub(super) fn add(&mut self, by: Namer) {
        if self.many || self.first.contains(&Some(by)) {
            return;
        }
        let (place, len) = (self.tried_len(), self.len());
        match self.first.get_mut(len) {
            Some(end) => {
                *end = Some(by);
                self.first.swap(place, len);
            }
            None => self.many = true,
        }
    }

    /// It was asked, and one more names it at an address that was not tried.
    /// False if that one has named it before, or as many as are remembered have.
    pub(super) fn add_since(&mut self, by: Namer) -> bool {
        let len = self.len();
        let new = len < NAMERS_KEPT && !self.first.contains(&Some(by));
        if new {
            self.first[len] = Some(by);
            self.since += 1;
        }
        new
    }

    /// It is to be asked where those say that named it since, of whom there are some.
    pub(super) fn forget_tried(&mut self) {
        let tried = self.tried_len();
        self.first[..tried].fill(None);
        self.first.rotate_left(tried);
        self.many = false;
        self.since = 0;
    }

    fn len(&self) -> usize {
        self.first.iter().flatten().count()
    }

    fn tried_len(&self) -> usize {
        self.len() - usize::from(self.since)
    }

    /// Those who named it where it is to be asked, or was.
    fn first(&self) -> impl Iterator<Item = Namer> {
        self.first[..self.tried_len()].iter().copied().flatten()
    }

    /// Those of whom it is remembered whether it is there.
    fn answerable(&self) -> impl Iterator<Item = Namer> {
        self.first().filter(|_| !self.many)
    }

    /// The same, wherever they named it.
    fn right(&self) -> impl Iterator<Item = Namer> {
        self.first.iter().copied().flatten().filter(|_| !self.many)
    }
}

/// How it went with the peers that one peer named.
#[derive(Debug)]
struct Repute {
    peer: PeerId,
    source: Source,
    answered: u32,
    failed: u32,
    /// Failures, while none answers, after which it is not believed.
    patience: u32,
}

impl Repute {
    /// So far it has named nobody who is there.
    const fn is_bad(&self) -> bool {
        self.answered == 0 && self.failed >= self.patience
    }
}

/// All who have answered.
#[derive(Debug, Default)]
pub(super) struct Reputes(Vec<Repute>);

impl Reputes {
    /// One more, who was named by these.
    pub(super) fn answered(&mut self, peer: PeerId, teller: Teller, by: &Namers) -> Namer {
        for namer in by.right() {
            if let Some(repute) = self.of_mut(namer) {
                repute.answered += 1;
            }
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX - 1);
        let namer = Namer(NonZeroU32::MIN.saturating_add(number));
        let source = match self.sources(by)[..] {
            [alone] => alone,
            _ => teller.group.map_or(Source::Peer(namer), Source::Network),
        };
        // One that is not there is enough of whoever is doubted.
        let patience = if teller.doubted { 1 } else { DISTRUST_AFTER };
        self.0.push(Repute { peer, source, answered: 0, failed: 0, patience });
        namer
    }

    /// Those who named this one named somebody who is not there, as it seems.
    /// True if one of them is not to be believed.
    pub(super) fn blame(&mut self, by: &Namers) -> bool {
        let mut distrusted = false;
        for namer in by.answerable() {
            if let Some(repute) = self.of_mut(namer) {
                repute.failed += 1;
                distrusted |= repute.is_bad();
            }
        }
        distrusted
    }

    /// Those of whom many named peers are not there, and none is.
    pub(super) fn inventors(&self) -> impl Iterator<Item = PeerId> {
        let invents = |repute: &&Repute| repute.answered == 0 && repute.failed >= DISTRUST_AFTER;
        self.0.iter().filter(invents).map(|repute| repute.peer)
    }

    /// True unless all who named it have only named peers that are not there.
    pub(super) fn believes(&self, by: &Namers) -> bool {
        let mut namers = by.answerable().peekable();
        namers.peek().is_none() || !namers.all(|namer| self.of(namer).is_some_and(Repute::is_bad))
    }

    /// Whose word what it names is.
    pub(super) fn source(&self, namer: Namer) -> Option<Source> {
        self.of(namer).map(|repute| repute.source)
    }

    /// The different sources of a peer; none if we knew it.
    pub(super) fn sources(&self, by: &Namers) -> Vec<Source> {
        let mut sources: Vec<Source> = by.first().filter_map(|namer| Some(self.of(namer)?.source)).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn of(&self, namer: Namer) -> Option<&Repute> {
        self.0.get(namer.0.get() as usize - 1)
    }

    fn of_mut(&mut self, namer: Namer) -> Option<&mut Repute> {
        self.0.get_mut(namer.0.get() as usize - 1)
    }
}

#[cfg(test)]
impl Reputes {
    /// Peers that this one named, as far as they failed.
    pub(super) fn blamed(&self, peer: &PeerId) -> u32 {
        self.0.iter().find(|repute| repute.peer == *peer).map_or(0, |repute| repute.failed)
    }
}
