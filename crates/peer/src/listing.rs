//! Announcing more than is to be held in memory: its owner lists it, a piece at
//! a time, in the order in which it is announced.

use bytes::Bytes;
use peerage_content::Cid;
use peerage_dht::{Key, Network};
use tokio::sync::mpsc;

use crate::brain::Input;
use crate::peer::Peer;

/// What is to be listed next: of the multihashes to announce the first `max` at
/// or behind `from`, in the order of their Kademlia keys ([`Key::of`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysWanted {
    /// The DHT that has come there.
    pub network: Network,
    /// Where.
    pub from: Key,
    /// At most so many; fewer mean that there are no more.
    pub max: usize,
}

/// Somebody lists what there is to announce, until this is dropped.
pub struct Listing {
    peer: Peer,
    id: u64,
    questions: mpsc::UnboundedReceiver<KeysWanted>,
    /// Kept, so that `questions` does not end before somebody else lists.
    asking: mpsc::UnboundedSender<KeysWanted>,
}

impl Listing {
    /// The next question: one at a time for each DHT, and each again after
    /// [`Listing::set_count`].
    pub async fn wanted(&mut self) -> KeysWanted {
        match self.questions.recv().await {
            Some(wanted) => wanted,
            // This holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// The answer.
    pub fn tell(&self, wanted: KeysWanted, multihashes: Vec<Bytes>) {
        self.peer.tell(Input::KeysListed { lister: self.id, wanted, multihashes });
    }

    /// There are others to announce now, so many of them.
    pub fn set_count(&self, count: usize) {
        let listed = Some((count, self.asking.clone()));
        self.peer.tell(Input::ListAnnouncements { lister: self.id, listed });
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.peer.tell(Input::ListAnnouncements { lister: self.id, listed: None });
    }
}

impl Peer {
    /// Lists what there is to announce beside what [`Peer::announce`] holds;
    /// nothing before [`Listing::set_count`]. The latest of several is asked, and
    /// when it is dropped, the one before it.
    #[must_use]
    pub fn list_announcements(&self) -> Listing {
        let (asking, questions) = mpsc::unbounded_channel();
        Listing { peer: self.clone(), id: self.next_job().0, questions, asking }
    }

    /// What is listed has grown by these blocks: the DHTs, but those in `known`,
    /// are told as soon as may be. For how many of them there was room; the rest
    /// is to be told again later.
    pub async fn announce_listed(&self, cids: &[Cid], known: &[Network]) -> usize {
        let (cids, known) = (cids.to_vec(), known.to_vec());
        let count = cids.len();
        self.ask(|reply| Input::AnnounceListed { cids, known, reply }).await.unwrap_or(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, DhtMode};

    #[tokio::test(flavor = "multi_thread")]
    async fn who_lists_last_ends_nobody_elses_announcing() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("repo"));
        config.engine.routing.mode = DhtMode::Client;
        let peer = Peer::start(config).await.unwrap();
        let keys = async || {
            let states = peer.announcements().await;
            assert!(!states.is_empty());
            states.iter().map(|state| state.stats.keys).max()
        };
        let first = peer.list_announcements();
        first.set_count(3);
        let second = peer.list_announcements();
        second.set_count(5);
        first.set_count(4);
        assert_eq!(keys().await, Some(5));
        drop(second);
        assert_eq!(keys().await, Some(4));
        drop(first);
        assert_eq!(keys().await, Some(0));
        peer.shutdown().await;
    }
}
