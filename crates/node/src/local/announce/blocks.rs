//! All blocks of some roots, in the order in which the DHTs are told of them:
//! that of their Kademlia keys, which the store does not have. A piece of it, a
//! *window*, takes a walk through all roots that keeps the next ones; so the
//! memory does not depend on how many blocks there are, and nothing has to be
//! kept in step with the store.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use peerage_content::{Cid, Walk, hash};
use peerage_peer::{Key, KeysWanted};
use peerage_store::{RootEntry, RootSet, Store};

/// Keys of one window: 15 MB. Of ten million blocks that makes 76 walks in 22 h,
/// each of which reads all inner nodes.
pub(super) const WINDOW: usize = 1 << 17;

/// Says that a walk is of no use any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Which blocks of a root were met: a bit for each.
struct Met<'a> {
    set: &'a RootSet,
    bits: Vec<u64>,
}

impl<'a> Met<'a> {
    fn new(set: &'a RootSet) -> Self {
        let words = usize::try_from(set.len().div_ceil(64)).unwrap_or(usize::MAX);
        Self { set, bits: vec![0; words] }
    }

    /// True if it is met for the first time.
    fn meet(&mut self, cid: &Cid) -> bool {
        let Some(at) = self.set.position(cid.hash()) else { return false };
        let Some(word) = usize::try_from(at / 64).ok().and_then(|word| self.bits.get_mut(word)) else {
            return false;
        };
        let bit = 1 << (at % 64);
        std::mem::replace(word, *word | bit) & bit == 0
    }
}

/// Passes each block of a root to `take`, once; false if some could not be read.
pub(super) fn each(
    store: &Store,
    root: &RootEntry,
    mut take: impl FnMut(Cid) -> ControlFlow<()>,
) -> ControlFlow<(), bool> {
    let Some(set) = &root.set else { return ControlFlow::Continue(false) };
    let (mut met, mut whole) = (Met::new(set), true);
    let mut walk = Walk::new(root.root.cid);
    while let Some(visit) = walk.next() {
        if hash::inline(&visit.cid).is_some() || !met.meet(&visit.cid) {
            continue;
        }
        take(visit.cid)?;
        if visit.leaf {
            continue;
        }
        let entered = match store.read(visit.cid.hash()) {
            Ok(Some(block)) => walk.enter(&visit, &block).is_ok(),
            _ => false,
        };
        whole &= entered;
    }
    ControlFlow::Continue(whole)
}

/// The next keys from somewhere on.
#[derive(Debug)]
pub(super) struct Window {
    from: Key,
    /// Sorted.
    keys: Vec<(Key, Bytes)>,
    /// There are none behind them.
    complete: bool,
}

impl Window {
    /// The first `max` keys at or behind `from` of the blocks of all `roots`; `None`
    /// if it was stopped. Blocks the thread.
    pub(super) fn read(
        store: &Store,
        roots: &[RootEntry],
        from: Key,
        max: usize,
        stop: &Stop,
    ) -> Option<Self> {
        let mut keys: BTreeMap<Key, Bytes> = BTreeMap::new();
        let mut complete = true;
        for root in roots {
            let walked = each(store, root, |cid| {
                let multihash = cid.hash().to_bytes();
                let key = Key::of(&multihash);
                let fits = keys.len() < max || keys.last_key_value().is_some_and(|(last, _)| key < *last);
                if key >= from && !fits {
                    complete = false;
                } else if key >= from {
                    keys.insert(key, multihash.into());
                    if keys.len() > max {
                        keys.pop_last();
                        complete = false;
                    }
                }
                stop.check()
            });
            if walked.is_break() {
                return None;
            }
        }
        Some(Self { from, keys: keys.into_iter().collect(), complete })
    }

    /// What is wanted, if all of it is in here.
    pub(super) fn answer(&self, wanted: &KeysWanted) -> Option<Vec<Bytes>> {
        let at = self.keys.partition_point(|(key, _)| *key < wanted.from);
        let rest = &self.keys[at..];
        let enough = wanted.from >= self.from && (self.complete || rest.len() >= wanted.max);
        enough.then(|| rest.iter().take(wanted.max).map(|(_, multihash)| multihash.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use peerage_content::{DirectoryBuilder, Leaf, Profile};
    use peerage_peer::Network;
    use peerage_store::{Config, Root, RootKind};

    use super::*;

    /// A store with a folder of so many files, and a second root that has the
    /// first half of them.
    fn store(files: u32) -> (tempfile::TempDir, Store, Vec<Cid>) {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Config::default()).unwrap();
        let profile = Profile::default();
        let mut all = Vec::new();
        for part in [files, files / 2] {
            let (mut builder, set) = (DirectoryBuilder::new(&profile), store.root_set_builder());
            let mut put = |cid: Cid, data: &[u8]| {
                store.put_block(cid.hash(), data).unwrap();
                set.insert(cid.hash()).unwrap();
                all.push(cid);
            };
            for n in 0..part {
                let payload = n.to_be_bytes().repeat(20);
                let leaf = Leaf::new(&profile, &payload);
                put(leaf.cid, &payload);
                builder.add(&format!("{n}"), leaf.cid, payload.len() as u64).unwrap();
            }
            let built = builder.finish().unwrap();
            for node in built.blocks {
                put(node.cid, &node.data);
            }
            let root = Root {
                cid: built.cid,
                kind: RootKind::Kept,
                path: None,
                name: String::new(),
                announce: true,
                keep: true,
                size: 0,
                tree: None,
                added: 0,
            };
            store.add_root(&root, &set).unwrap();
        }
        (folder, store, all)
    }

    fn after(key: &Key) -> Key {
        let mut bytes = *key.as_bytes();
        let last = bytes.iter().rposition(|byte| *byte < 255).unwrap();
        bytes[last] += 1;
        bytes[last + 1..].fill(0);
        Key::from_bytes(bytes)
    }

    #[test]
    fn windows_list_every_block_once_and_in_order() {
        let (_folder, store, all) = store(300);
        let expected: BTreeSet<Key> = all.iter().map(|cid| Key::of(&cid.hash().to_bytes())).collect();
        let roots = store.roots();
        let (mut from, mut listed, mut walks) = (Key::from_bytes([0; 32]), Vec::<Key>::new(), 0);
        let mut window: Option<Window> = None;
        loop {
            let wanted = KeysWanted { network: Network::Wan, from, max: 30 };
            let answer = window.as_ref().and_then(|window| window.answer(&wanted));
            let Some(answer) = answer else {
                window = Window::read(&store, &roots, from, 100, &Stop::default());
                walks += 1;
                assert!(window.as_ref().unwrap().keys.len() <= 100);
                continue;
            };
            let keys: Vec<Key> = answer.iter().map(|multihash| Key::of(multihash)).collect();
            listed.extend(&keys);
            match keys.last() {
                Some(last) if keys.len() == 30 => from = after(last),
                _ => break,
            }
        }
        assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(walks, 4);
    }

    #[test]
    fn a_walk_is_stopped() {
        let (_folder, store, _) = store(10);
        let stop = Stop::default();
        stop.stop();
        assert!(Window::read(&store, &store.roots(), Key::from_bytes([0; 32]), 9, &stop).is_none());
    }
}
