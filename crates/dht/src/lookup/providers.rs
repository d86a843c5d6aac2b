//! Who has a block, as a look-up was told.
//!
//! Anyone can name any number of providers, and so can many liars. If there are
//! too many, those make room whom one source alone has named, of the source that
//! has most of them, as long as the new one's has fewer: each has its share.

use std::collections::BTreeMap;

use peerage_identity::{Multiaddr, PeerId};

use crate::limits::{ADDRS_TOLD_IN_ALL, ADDRS_TOLD_MAX, PROVIDERS_FOUND_MAX};
use crate::message::PeerInfo;

use super::named::Source;
use super::news;

#[derive(Debug)]
struct Told {
    addrs: Vec<Multiaddr>,
    /// Who alone has named it; none if several have, or we knew it.
    by: Option<Source>,
}

/// Those that were told.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    told: BTreeMap<PeerId, Told>,
    /// Addresses of all of them.
    addrs: usize,
}

impl Providers {
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    /// One source names these, or none if we know of them ourselves. What is new of
    /// that, and who of them was named before.
    pub(super) fn add(
        &mut self,
        providers: Vec<PeerInfo>,
        by: Option<Source>,
    ) -> (Vec<PeerInfo>, Vec<PeerId>) {
        let (mut found, mut again) = (Vec::new(), Vec::new());
        for info in providers {
            let first = !self.told.contains_key(&info.peer);
            if first && self.told.len() >= PROVIDERS_FOUND_MAX && !self.make_room(by) {
                continue;
            }
            if !first && !again.contains(&info.peer) {
                again.push(info.peer);
            }
            let known = self.told.entry(info.peer).or_insert_with(|| Told { addrs: Vec::new(), by });
            if known.by != by {
                known.by = None;
            }
            let left = ADDRS_TOLD_IN_ALL.saturating_sub(self.addrs);
            let room = ADDRS_TOLD_MAX.min(known.addrs.len() + left);
            let news = news(&mut known.addrs, info.addrs, room);
            self.addrs += news.len();
            if first || !news.is_empty() {
                found.push(PeerInfo { peer: info.peer, addrs: news });
            }
        }
        (found, again)
    }

    /// Forgets one of the source that alone has named most, if that are more
    /// than the new one's has.
    fn make_room(&mut self, by: Option<Source>) -> bool {
        let mut named: BTreeMap<Source, usize> = BTreeMap::new();
        for source in self.told.values().filter_map(|told| told.by) {
            *named.entry(source).or_default() += 1;
        }
        let own = by.and_then(|by| named.get(&by).copied()).unwrap_or(0);
        let most = named.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own);
        let Some((source, _)) = most else { return false };
        let spare = self.told.iter().find(|(_, told)| told.by == Some(source)).map(|(peer, _)| *peer);
        let forgotten = spare.and_then(|peer| self.told.remove(&peer));
        self.addrs -= forgotten.map_or(0, |told| told.addrs.len());
        true
    }
}
