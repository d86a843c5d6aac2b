//! What a job is told when it gives up: whom it tried, and what was wrong with each.

use super::Search;
use super::candidate::{Candidate, Origin};
use crate::addresses::Way;
use crate::error::{JobError, NotFound, Providers};

impl Search {
    /// Why nothing is left to try.
    pub(super) fn failure(&self) -> JobError {
        if !self.liars.is_empty() {
            return JobError::Unverified(self.liars.iter().copied().collect());
        }
        let unreachable =
            self.candidates.iter().filter(|c| c.origin == Origin::Hint && c.last_error.is_some());
        let unreachable =
            unreachable.filter_map(|c| Some((c.hints().first()?.clone(), c.last_error.clone()?)));
        JobError::NotFound(NotFound {
            unreachable: unreachable.collect(),
            without: self.without.iter().map(|(peer, why)| (*peer, (*why).to_owned())).collect(),
            providers: self.providers(),
            routers: self.routers.clone(),
            partly: self.received_any,
        })
    }

    /// What became of those that were found in the DHT or by routers.
    fn providers(&self) -> Providers {
        let mut providers = Providers { found: self.ways.len(), ..Providers::default() };
        for (peer, way) in &self.ways {
            let failed = |c: &&Candidate| c.peer.as_ref() == Some(peer) && c.last_error.is_some();
            match way {
                Some(Way::Tcp) if self.candidates.iter().any(|c| failed(&c)) => providers.unreachable += 1,
                Some(Way::Tcp) => {}
                Some(Way::Quic) => providers.quic += 1,
                Some(Way::Relay) => providers.relayed += 1,
                Some(Way::Web | Way::Other) => providers.other += 1,
                None => providers.nowhere += 1,
            }
        }
        providers
    }

    /// The failure of a search whose sources stay silent.
    pub(super) fn silence(&self) -> JobError {
        let mut error = self.failure();
        if let JobError::NotFound(found) = &mut error {
            let silent = self.sources.iter().filter(|peer| !self.without.contains_key(*peer));
            found.without.extend(silent.map(|peer| (*peer, "does not answer".to_owned())));
        }
        error
    }
}
