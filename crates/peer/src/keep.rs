//! Roots and pins: what stays, and why it is served.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use peerage_content::{Cid, Walk, hash};
use peerage_store::{
    Durability, Pin, PinKind, Root, RootEntry, RootId, RootKind, RootSetBuilder, Store, WriteError,
};

use tokio::sync::watch;

use crate::net::Net;
use crate::peer::{Peer, ServedRoot};
use crate::places::{Places, RootChanges, replace_roots};
use crate::query::{AHEAD, QueryError};
use crate::seen::Seen;
use crate::served::{Blocks, ServedRoots};

/// Why something could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Part of it cannot be had.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The DAG makes no sense.
    #[error(transparent)]
    Walk(#[from] peerage_content::WalkError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] WriteError),
}

/// How to pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinOptions<'a> {
    /// What to call it.
    pub name: &'a str,
    /// A pin of it that has a name takes this one. Without, it keeps its own.
    pub rename: bool,
    /// With all that is below it.
    pub recursive: bool,
    /// Everybody may find it, so that `up` announces it. Not for what only
    /// those are to know of who have a link.
    pub announce: bool,
}

/// Kept roots and pins, which are served while someone runs for them, and at
/// no time others than those of the store.
pub(crate) struct KeptRoots {
    store: Store,
    served: ServedRoots,
    net: Arc<Net>,
    now: Mutex<ServedNow>,
    places: Mutex<Places>,
    /// The roots of the store are others.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct ServedNow {
    /// How many run for them.
    runs: usize,
    guards: BTreeMap<RootId, ServedRoot>,
}

/// Kept roots and pins are served while this lives.
pub struct ServingKept(Arc<KeptRoots>);

impl KeptRoots {
    pub(crate) fn new(store: Store, served: ServedRoots, net: Arc<Net>) -> Self {
        Self {
            store,
            served,
            net,
            now: Mutex::default(),
            places: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Another run begins, or one ends.
    fn change_runs(&self, change: impl FnOnce(usize) -> usize) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.runs = change(now.runs);
        self.follow(&mut now);
    }

    /// Changes roots; what is served follows. Blocking.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&mut RootChanges<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut RootChanges::new(&self.store, &mut places));
        drop(places);
        self.renew();
        done
    }

    /// Serves what the store keeps by now, and nothing else.
    pub(crate) fn renew(&self) {
        self.follow(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_replace(());
    }

    /// Under the lock, so that whoever comes last goes by the newest roots.
    fn follow(&self, now: &mut ServedNow) {
        if now.runs == 0 {
            return now.guards.clear();
        }
        let mut kept = BTreeSet::new();
        for RootEntry { id, root, set } in self.store.roots() {
            if let Some(set) = set.filter(|_| root.keep) {
                kept.insert(id);
                let serve = || {
                    ServedRoot::new(&self.served, &self.net, root.cid, Blocks::Whole(set), root.size, None)
                };
                now.guards.entry(id).or_insert_with(serve);
            }
        }
        now.guards.retain(|id, _| kept.contains(id));
    }
}

impl Drop for ServingKept {
    fn drop(&mut self) {
        self.0.change_runs(|runs| runs - 1);
    }
}

/// Blocks of a DAG that are not in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many are named by those that are.
    pub blocks: u64,
    /// The first of them, at most 10 where they are for people.
    pub first: Vec<Cid>,
    /// The first of them that may itself name others: nobody can tell what is below it.
    pub inner: Option<Cid>,
}

/// Missing blocks that are told by name. 10: they are printed.
pub(crate) const MISSING_NAMED: usize = 10;

/// A DAG as far as it is in the store.
pub(crate) struct Held {
    pub(crate) set: RootSetBuilder,
    /// How many blocks it has, also of those that are missing.
    pub(crate) blocks: u64,
    /// Bytes of its blocks, each once.
    pub(crate) size: u64,
    pub(crate) missing: Missing,
}

/// Walks a DAG in the store. Leaves are only looked up, not read.
pub(crate) fn walk_held(store: &Store, root: Cid, stop: &dyn Fn() -> bool) -> Result<Held, PinError> {
    walk_held_naming(store, root, MISSING_NAMED, stop)
}

/// The same, which names up to `named` blocks that are missing.
pub(crate) fn walk_held_naming(
    store: &Store,
    root: Cid,
    named: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Held, PinError> {
    let mut held = Held { set: store.root_set_builder(), blocks: 0, size: 0, missing: Missing::default() };
    let seen = Seen::new(store);
    let mut walk = Walk::new(root);
    while let Some(visit) = walk.next() {
        if stop() {
            return Err(QueryError::Stopped.into());
        }
        let cid = visit.cid;
        if let Some(block) = hash::inline(&cid) {
            walk.enter(&visit, block)?;
            continue;
        }
        if !seen.is_new(&cid)? {
            continue;
        }
        held.blocks += 1;
        // Before it is looked for, so that no collection takes it in between.
        held.set.insert(cid.hash())?;
        let len = if visit.leaf {
            store.len_of(cid.hash()).ok().flatten().map(u64::from)
        } else if let Ok(Some(block)) = store.read(cid.hash()) {
            walk.enter(&visit, &block)?;
            Some(block.len() as u64)
        } else {
            None
        };
        match len {
            Some(len) => held.size += len,
            None if is_empty_block(&cid) => {}
            None => {
                held.missing.blocks += 1;
                if !visit.leaf && held.missing.inner.is_none() {
                    held.missing.inner = Some(cid);
                }
                if held.missing.first.len() < named {
                    held.missing.first.push(cid);
                }
            }
        }
    }
    Ok(held)
}

/// What a root needs: all below it, or of a pin that is direct alone, the one block.
pub(crate) fn walk_root(
    store: &Store,
    root: &Root,
    named: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Held, PinError> {
    if !is_direct(store, root) {
        return walk_held_naming(store, root.cid, named, stop);
    }
    let mut held = Held { set: store.root_set_builder(), blocks: 0, size: 0, missing: Missing::default() };
    if hash::inline(&root.cid).is_some() {
        return Ok(held);
    }
    held.blocks = 1;
    held.set.insert(root.cid.hash())?;
    match store.len_of(root.cid.hash()).ok().flatten() {
        Some(len) => held.size = len.into(),
        None if is_empty_block(&root.cid) => {}
        None => held.missing = Missing { blocks: 1, first: vec![root.cid], inner: None },
    }
    Ok(held)
}

/// Whether a root is that of a pin which keeps one block.
pub(crate) fn is_direct(store: &Store, root: &Root) -> bool {
    let has = |kind| store.pin(&root.cid, kind).is_some();
    root.kind == RootKind::Pin && has(PinKind::Direct) && !has(PinKind::Recursive)
}

/// Whether it is the block of no bytes, which nobody has to hold.
fn is_empty_block(cid: &Cid) -> bool {
    peerage_content::verify(cid, b"").is_ok()
}

impl Peer {
    /// Everything that may be served, and why.
    #[must_use]
    pub fn shares(&self) -> Vec<RootEntry> {
        self.store().roots()
    }

    /// Whether others may fetch a block from us now, because a root is served
    /// that it belongs to. Reads the disk.
    #[must_use]
    pub fn serves(&self, cid: &Cid) -> bool {
        self.inner().served.serves(cid.hash())
    }

    /// Hears when roots or pins are added or removed.
    #[must_use]
    pub fn root_changes(&self) -> watch::Receiver<()> {
        self.inner().kept.changes.subscribe()
    }

    /// Serves every kept root and pin, as `up` does, until this is dropped:
    /// those of now, and those that are kept later, for as long as they are.
    #[must_use]
    pub fn serve_kept(&self) -> ServingKept {
        self.inner().kept.change_runs(|runs| runs + 1);
        ServingKept(Arc::clone(&self.inner().kept))
    }

    /// Changes roots on a worker; what is served follows.
    pub(crate) async fn with_roots<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut RootChanges<'_>) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let kept = Arc::clone(&self.inner().kept);
        self.with_store(move |_| kept.change(work)).await
    }

    /// Forgets a root; false if there was none. No file of the user's is touched.
    ///
    /// # Errors
    /// The disk's.
    pub async fn forget(&self, id: RootId) -> Result<bool, WriteError> {
        self.with_roots(move |store| {
            let removed = store.remove_root(id)?;
            store.commit(Durability::Durable)?;
            Ok(removed)
        })
        .await
    }

    /// All pins.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        self.store().pins()
    }

    /// Pins a DAG, fetching into the store what is missing of it, and serves
    /// it under `up`. Takes the place of an earlier pin of the same DAG. Durable
    /// when this returns; gives the pin's name.
    ///
    /// # Errors
    /// Part of it cannot be had, or the disk's.
    pub async fn pin(
        &self,
        cid: Cid,
        options: PinOptions<'_>,
        sources: peerage_engine::Sources,
    ) -> Result<String, PinError> {
        let recursive = options.recursive;
        let set = Arc::new(self.store().root_set_builder());
        let seen = Arc::new(Seen::new(self.store()));
        let mut query = self.query(cid, sources);
        let mut walk = Walk::new(cid);
        let mut size = 0;
        while let Some(visit) = walk.next() {
            if let Some(block) = hash::inline(&visit.cid) {
                if recursive {
                    walk.enter(&visit, block)?;
                }
                continue;
            }
            let mut ahead: Vec<Cid> = if recursive { walk.ahead(AHEAD).collect() } else { Vec::new() };
            let (met, at) = (Arc::clone(&seen), visit.cid);
            let look = move |_: &Store| {
                ahead.retain(|cid| hash::inline(cid).is_none() && !met.contains(cid));
                Ok((met.is_new(&at)?, ahead))
            };
            let (is_new, ahead) = self.with_store(look).await?;
            if !is_new {
                query.skip(&at);
                continue;
            }
            query.ask(at);
            ahead.into_iter().for_each(|cid| query.ask(cid));
            let block = query.block(at).await?;
            size += block.len() as u64;
            let (hash, data, set) = (*at.hash(), block.clone(), Arc::clone(&set));
            let keep = move |store: &Store| {
                // Before it is looked for, so that no collection takes it in between.
                set.insert(&hash)?;
                // A place that is known may be one that cannot be read.
                if !matches!(store.read(&hash), Ok(Some(_))) {
                    store.put_block(&hash, &data)?;
                }
                Ok(())
            };
            self.with_store(keep).await?;
            if !recursive {
                break;
            }
            walk.enter(&visit, &block)?;
        }
        let name = self.note_pin(cid, options, size, set).await?;
        self.commit(Durability::Durable).await?;
        Ok(name)
    }

    /// Adds a pin, which a power cut may take back until the store is synced; gives
    /// its name.
    pub(crate) async fn note_pin(
        &self,
        cid: Cid,
        options: PinOptions<'_>,
        size: u64,
        set: Arc<RootSetBuilder>,
    ) -> Result<String, WriteError> {
        Ok(self.note_pins(vec![(cid, size, set)], options).await?.pop().unwrap_or_default())
    }

    /// The same of many DAGs, for the syncs of one: each with its bytes and blocks.
    pub(crate) async fn note_pins(
        &self,
        dags: Vec<(Cid, u64, Arc<RootSetBuilder>)>,
        options: PinOptions<'_>,
    ) -> Result<Vec<String>, WriteError> {
        let PinOptions { name, rename, recursive, announce } = options;
        let kind = if recursive { PinKind::Recursive } else { PinKind::Direct };
        let added = crate::get::unix_now();
        let name = name.to_owned();
        self.with_roots(move |store| {
            let name_of = |cid: Cid| {
                let kinds = [PinKind::Recursive, PinKind::Direct];
                let mut names =
                    kinds.into_iter().filter_map(|kind| store.pin(&cid, kind)).map(|pin| pin.name);
                let old = if rename { None } else { names.find(|name| !name.is_empty()) };
                old.unwrap_or_else(|| name.clone())
            };
            let root = |(cid, size, _): &(Cid, u64, _)| Root {
                cid: *cid,
                kind: RootKind::Pin,
                path: None,
                name: name_of(*cid),
                announce,
                keep: true,
                size: *size,
                tree: None,
                added,
            };
            let roots: Vec<Root> = dags.iter().map(root).collect();
            // What is pinned with all below it stays so; of a direct pin it has the name.
            let covered = |root: &Root| !recursive && store.pin(&root.cid, PinKind::Recursive).is_some();
            let sets = dags.iter().map(|(_, _, set)| &**set);
            let (old, new): (Vec<_>, Vec<_>) = roots.iter().zip(sets).partition(|(root, _)| covered(root));
            for (root, _) in old {
                store.add_pin(&Pin { cid: root.cid, kind: PinKind::Recursive, name: root.name.clone() })?;
                let is_it =
                    |entry: &RootEntry| entry.root.kind == RootKind::Pin && entry.root.cid == root.cid;
                for RootEntry { id, root: before, .. } in store.roots().into_iter().filter(is_it) {
                    store.update_root(id, &Root { name: root.name.clone(), ..before })?;
                }
            }
            replace_roots(store, &new)?;
            for (root, _) in new {
                store.add_pin(&Pin { cid: root.cid, kind, name: root.name.clone() })?;
                if recursive {
                    store.remove_pin(&root.cid, PinKind::Direct)?;
                }
            }
            Ok(roots.into_iter().map(|root| root.name).collect())
        })
        .await
    }

    /// Does what blocks on a worker.
    pub(crate) async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let store = self.store().clone();
        let done = self.inner().pool.run(move || work(&store)).await;
        done.unwrap_or_else(|| Err(io::Error::other("a worker failed").into()))
    }

    /// Removes the pins of a root, whatever version or codec its CID is written
    /// in; false if there was none. The blocks stay until they are collected.
    ///
    /// # Errors
    /// The disk's.
    pub async fn unpin(&self, cid: &Cid) -> Result<bool, WriteError> {
        let cid = *cid;
        self.with_roots(move |store| {
            let mut removed = false;
            for pin in store.pins().iter().filter(|pin| pin.cid.hash() == cid.hash()) {
                removed |= store.remove_pin(&pin.cid, pin.kind)?;
            }
            let roots = store.roots();
            let pinned =
                |entry: &&RootEntry| entry.root.kind == RootKind::Pin && entry.root.cid.hash() == cid.hash();
            for entry in roots.iter().filter(pinned) {
                store.remove_root(entry.id)?;
            }
            store.commit(Durability::Durable)?;
            Ok(removed)
        })
        .await
    }
}
