//! What others were sent of a root that is shared, so that it is known who has
//! everything without saying so: whoever was sent each block of it once.
//!
//! A peer that speaks `/peerage/swarm/1.0.0` of the root is believed and not
//! counted. What a peer had before it asked cannot be known, but for the empty
//! block and the empty folder, which other implementations hold from the start.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peerage_content::{Cid, Multihash, hash};
use peerage_identity::PeerId;
use peerage_store::RootSet;

/// Peers that are followed for one root; whoever was sent something longest
/// ago is forgotten first. 256: half of all connections.
const FOLLOWED: usize = 256;

/// Bytes that the accounts of one root may take together, so that of a root of
/// many blocks fewer peers are followed. 16 MiB: 16 peers for 8 million blocks.
const ACCOUNTS: usize = 16 << 20;

/// A UnixFS folder without entries. Kubo holds it from its first start.
const EMPTY_FOLDER: &[u8] = &[0x0a, 0x02, 0x08, 0x01];

/// What the peers were sent of one root.
pub(crate) struct Tally {
    set: RootSet,
    total: u64,
    /// The account of a peer that was sent nothing.
    nothing: Account,
    peers: Mutex<Peers>,
}

#[derive(Default)]
struct Peers {
    followed: BTreeMap<PeerId, Follow>,
    /// Counts what happens, to tell earlier from later.
    now: u64,
}

struct Follow {
    /// When it was last sent something.
    touched: u64,
    /// `None` for a peer that says itself what it has.
    account: Option<Account>,
}

#[derive(Clone)]
struct Account {
    /// A bit for each block of the set, in its order.
    sent: Vec<u64>,
    /// Blocks that are still to be sent.
    left: u64,
    /// It was told that this peer has everything.
    told: bool,
}

/// A moment in which a peer had been sent everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Tally {
    /// Nobody was sent anything of `root`, whose blocks are `set`, of `total` bytes.
    pub(crate) fn new(root: &Cid, set: RootSet, total: u64) -> Self {
        let words = usize::try_from(set.len().div_ceil(64)).unwrap_or(usize::MAX);
        let mut nothing = Account { sent: vec![0; words], left: set.len(), told: false };
        for known in [b"".as_slice(), EMPTY_FOLDER] {
            // The empty folder itself is asked for, if only to hear that it is here.
            let asked = !known.is_empty() && hash::verify(root, known).is_ok();
            let position = hash::digest(root.hash().code(), known).ok().and_then(|mh| set.position(&mh));
            if let Some(position) = position.filter(|_| !asked) {
                nothing.mark(position);
            }
        }
        Self { set, total, nothing, peers: Mutex::default() }
    }

    /// Whether the root has no block that needs to be sent.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.nothing.left == 0
    }

    /// The blocks that are counted.
    pub(crate) fn set(&self) -> &RootSet {
        &self.set
    }

    /// Bytes of all blocks.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether what `peer` is sent is of interest.
    pub(crate) fn counts(&self, peer: &PeerId) -> bool {
        self.lock().followed.get(peer).is_none_or(|follow| follow.account.is_some())
    }

    /// `peer` says itself how much it has.
    pub(crate) fn leave_to_itself(&self, peer: PeerId) {
        let mut peers = self.lock();
        self.follow(&mut peers, peer).account = None;
    }

    /// A block was sent. The moment, if `peer` was sent everything by now and
    /// that was not told before.
    pub(crate) fn note_sent(&self, peer: PeerId, block: &Multihash) -> Option<Moment> {
        // Reads a page of the set, so not under the lock.
        let position = self.set.position(block)?;
        let mut peers = self.lock();
        let follow = self.follow(&mut peers, peer);
        let moment = Moment(follow.touched);
        let account = follow.account.as_mut()?;
        account.mark(position);
        (account.left == 0 && !account.told).then_some(moment)
    }

    /// True, once, if `peer` was sent nothing more since that moment.
    pub(crate) fn settle(&self, peer: &PeerId, moment: Moment) -> bool {
        let mut peers = self.lock();
        let Some(follow) = peers.followed.get_mut(peer) else { return false };
        let quiet = Moment(follow.touched) == moment;
        let Some(account) = follow.account.as_mut() else { return false };
        quiet && !std::mem::replace(&mut account.told, quiet)
    }

    fn follow<'a>(&self, peers: &'a mut Peers, peer: PeerId) -> &'a mut Follow {
        peers.now += 1;
        let touched = peers.now;
        let most = (ACCOUNTS / (self.nothing.sent.len() * 8).max(1)).clamp(1, FOLLOWED);
        if !peers.followed.contains_key(&peer)
            && peers.followed.len() >= most
            && let Some(oldest) =
                peers.followed.iter().min_by_key(|(_, follow)| follow.touched).map(|(id, _)| *id)
        {
            peers.followed.remove(&oldest);
        }
        let new = || Follow { touched, account: Some(self.nothing.clone()) };
        let follow = peers.followed.entry(peer).or_insert_with(new);
        follow.touched = touched;
        follow
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn mark(&mut self, position: u64) {
        let bit = 1 << (position % 64);
        let word = usize::try_from(position / 64).ok().and_then(|word| self.sent.get_mut(word));
        if let Some(word) = word
            && *word & bit == 0
        {
            *word |= bit;
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_identity::Keypair;
    use peerage_store::Store;

    use super::*;

    fn peer(seed: u8) -> PeerId {
        Keypair::from_seed([seed; 32]).peer_id()
    }

    fn mh(data: &[u8]) -> Multihash {
        hash::digest(hash::SHA2_256, data).unwrap()
    }

    /// The tally of a root `root` that reaches `blocks` as well.
    fn tally(root: &[u8], blocks: &[&[u8]]) -> (Tally, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), peerage_store::Config::default()).unwrap();
        let set = store.root_set_builder();
        for block in blocks.iter().chain([&root]) {
            set.insert(&mh(block)).unwrap();
        }
        (Tally::new(&Cid::new_v1(0x70, mh(root)), set.seal().unwrap(), 9), dir)
    }

    #[test]
    fn whoever_was_sent_each_block_has_everything() {
        let (tally, _dir) = tally(b"root", &[b"a", b"b", b"a"]);
        assert!(!tally.is_of_nothing());
        assert_eq!(tally.note_sent(peer(1), &mh(b"root")), None);
        assert_eq!(tally.note_sent(peer(1), &mh(b"a")), None);
        assert_eq!(tally.note_sent(peer(1), &mh(b"a")), None, "twice the same");
        assert_eq!(tally.note_sent(peer(1), &mh(b"of another root")), None);
        assert_eq!(tally.note_sent(peer(2), &mh(b"b")), None, "another peer");
        let moment = tally.note_sent(peer(1), &mh(b"b")).unwrap();
        assert!(!tally.settle(&peer(2), moment));
        assert!(tally.settle(&peer(1), moment));
        assert!(!tally.settle(&peer(1), moment), "told once");
        assert_eq!(tally.note_sent(peer(1), &mh(b"b")), None, "and for good");
    }

    #[test]
    fn a_peer_that_goes_on_asking_is_not_done() {
        let (tally, _dir) = tally(b"root", &[b""]);
        let early = tally.note_sent(peer(1), &mh(b"root")).unwrap();
        let late = tally.note_sent(peer(1), &mh(b"")).unwrap();
        assert!(!tally.settle(&peer(1), early));
        assert!(tally.settle(&peer(1), late));
    }

    #[test]
    fn what_everyone_knows_needs_no_sending() {
        assert!(tally(b"", &[]).0.is_of_nothing());
        assert!(!tally(EMPTY_FOLDER, &[]).0.is_of_nothing(), "but as a root it is asked for");
        let (tally, _dir) = tally(b"root", &[b"", EMPTY_FOLDER]);
        assert!(tally.note_sent(peer(1), &mh(b"root")).is_some());
    }

    #[test]
    fn whoever_speaks_for_itself_is_not_counted() {
        let (tally, _dir) = tally(b"root", &[b"a"]);
        assert_eq!(tally.note_sent(peer(1), &mh(b"a")), None);
        let moment = tally.note_sent(peer(1), &mh(b"root")).unwrap();
        assert!(tally.counts(&peer(1)));
        tally.leave_to_itself(peer(1));
        assert!(!tally.counts(&peer(1)) && tally.counts(&peer(2)));
        assert!(!tally.settle(&peer(1), moment));
        assert_eq!(tally.note_sent(peer(1), &mh(b"root")), None);
    }

    #[test]
    fn the_number_of_accounts_is_bounded() {
        let (tally, _dir) = tally(b"root", &[b"a"]);
        let ids: Vec<PeerId> = (0..=FOLLOWED)
            .map(|n| Keypair::from_seed(mh(&n.to_le_bytes()).digest().try_into().unwrap()).peer_id())
            .collect();
        for id in &ids {
            assert_eq!(tally.note_sent(*id, &mh(b"a")), None);
        }
        assert_eq!(tally.lock().followed.len(), FOLLOWED);
        assert!(tally.note_sent(ids[1], &mh(b"root")).is_some());
        assert_eq!(tally.note_sent(ids[0], &mh(b"root")), None, "the oldest was forgotten");
    }
}
