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

/// Blocks of a root that were met: a bit for each, in the order of its set.
#[derive(Debug, Default)]
pub(super) struct Met(Vec<u64>);

impl Met {
    fn none_of(set: &RootSet) -> Self {
        let words = usize::try_from(set.len().div_ceil(64)).unwrap_or(usize::MAX);
        Self(vec![0; words])
    }

    const fn bit(at: u64) -> u64 {
        1 << (at % 64)
    }

    /// True if it is met for the first time.
    fn meet(&mut self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.0.get_mut(word));
        word.is_some_and(|word| std::mem::replace(word, *word | Self::bit(at)) & Self::bit(at) == 0)
    }

    fn has(&self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word & Self::bit(at) != 0)
    }

    /// Those of another walk through the same root, too.
    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }
}

/// Passes each block of a root to `take`, once.
pub(super) fn each(
    store: &Store,
    root: &RootEntry,
    take: impl FnMut(Cid) -> ControlFlow<()>,
) -> ControlFlow<()> {
    each_but(&Met::default(), store, root, take).map_continue(drop)
}

/// Passes each block of a root to `take`, once, but not those of `before`. If some
/// could not be read, those that were passed by now.
pub(super) fn each_but(
    before: &Met,
    store: &Store,
    root: &RootEntry,
    mut take: impl FnMut(Cid) -> ControlFlow<()>,
) -> ControlFlow<(), Option<Met>> {
    let Some(set) = &root.set else { return ControlFlow::Continue(Some(Met::default())) };
    let (mut met, mut whole) = (Met::none_of(set), true);
    let mut walk = Walk::new(root.root.cid);
    while let Some(visit) = walk.next() {
        if let Some(block) = hash::inline(&visit.cid) {
            whole &= walk.enter(&visit, block).is_ok();
            continue;
        }
        let Some(at) = set.position(visit.cid.hash()).filter(|at| met.meet(*at)) else { continue };
        if !before.has(at) {
            take(visit.cid)?;
        }
        if visit.leaf {
            continue;
        }
        let entered = match store.read(visit.cid.hash()) {
            Ok(Some(block)) => walk.enter(&visit, &block).is_ok(),
            _ => false,
        };
        whole &= entered;
    }
    met.add(before);
    ControlFlow::Continue(Some(met).filter(|_| !whole))
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

    fn kept(cid: Cid) -> Root {
        Root {
            cid,
            kind: RootKind::Kept,
            path: None,
            name: String::new(),
            announce: true,
            keep: true,
            size: 0,
            tree: None,
            added: 0,
        }
    }

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
            store.add_root(&kept(built.cid), &set).unwrap();
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
    fn what_was_passed_is_not_passed_again_when_the_rest_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Config::default()).unwrap();
        let (profile, set) = (Profile::default(), store.root_set_builder());
        let mut inner = DirectoryBuilder::new(&profile);
        let mut outer = DirectoryBuilder::new(&profile);
        let mut files = Vec::new();
        for n in 0..5u8 {
            let payload = [n; 50];
            let leaf = Leaf::new(&profile, &payload);
            store.put_block(leaf.cid.hash(), &payload).unwrap();
            set.insert(leaf.cid.hash()).unwrap();
            // Those of the first three are met in both folders.
            inner.add(&format!("{n}"), leaf.cid, 50).unwrap();
            if n < 3 {
                outer.add(&format!("{n}"), leaf.cid, 50).unwrap();
            }
            files.push(leaf.cid);
        }
        let inner = inner.finish().unwrap();
        outer.add("inner", inner.cid, 250).unwrap();
        let outer = outer.finish().unwrap();
        store.put_block(outer.cid.hash(), &outer.blocks[0].data).unwrap();
        set.insert(inner.cid.hash()).unwrap();
        set.insert(outer.cid.hash()).unwrap();
        let cid = outer.cid;
        store.add_root(&kept(cid), &set).unwrap();
        let root = store.roots().remove(0);
        let walk = |before: &Met| {
            let mut passed = BTreeSet::new();
            let left = each_but(before, &store, &root, |cid| {
                assert!(passed.insert(cid), "{cid} twice");
                ControlFlow::Continue(())
            });
            (passed, left.continue_value().unwrap())
        };
        // The inner folder cannot be read yet.
        let (passed, told) = walk(&Met::default());
        assert_eq!(passed, [files[0], files[1], files[2], outer.cid, inner.cid].into());
        let (passed, told) = walk(&told.unwrap());
        assert_eq!(passed, [].into());
        store.put_block(inner.cid.hash(), &inner.blocks[0].data).unwrap();
        let (passed, told) = walk(&told.unwrap());
        assert_eq!((passed, told.is_none()), ([files[3], files[4]].into(), true));
    }

    #[test]
    fn a_walk_is_stopped() {
        let (_folder, store, _) = store(10);
        let stop = Stop::default();
        stop.stop();
        assert!(Window::read(&store, &store.roots(), Key::from_bytes([0; 32]), 9, &stop).is_none());
    }
}
