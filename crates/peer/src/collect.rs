//! Collection of what nothing needs. The store takes what no root, no set that is
//! being built and nobody who serves a set reaches; here it is seen to that
//! unfinished downloads, too, have such a set, and roots whose set was lost.

use std::ops::ControlFlow;

use peerage_store::{CollectionStep, RootEntry, RootSetBuilder, Store, WriteError};

use crate::keep::{PinError, walk_held, walk_root};
use crate::peer::Peer;

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collecting {
    /// Whether it still notes which blocks stay; then it counts roots, and after
    /// that packs.
    pub marking: bool,
    /// Of these, so many are done.
    pub done: u64,
    /// Roots or packs in all.
    pub total: u64,
    /// What it came to so far.
    pub so_far: Collected,
}

/// What a collection came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes of records that nothing needs, about.
    pub dead_bytes: u64,
    /// Bytes of disk that were given back.
    pub freed_bytes: u64,
    /// Roots whose set of blocks was lost and made again first.
    pub mended_roots: u64,
    /// Whether it came to its end.
    pub whole: bool,
}

/// Why nothing was collected, or not all.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Another one is under way.
    #[error("a collection is under way already")]
    Running,
    /// What an unfinished download or a root without its set needs cannot be told.
    #[error("what {what} needs cannot be told: {source}")]
    Walk {
        /// The root.
        what: peerage_content::Cid,
        /// Why not.
        source: Box<PinError>,
    },
    /// A root's set of blocks was lost, and what it needs cannot be told, as a node is
    /// missing or cannot be read, with all that it names.
    #[error(
        "what {root} needs cannot be told: {node} is missing, and what is below it would be lost; \
         `peerage verify --repair` fetches it again, or remove the pin or share"
    )]
    Unknown {
        /// The root.
        root: Box<peerage_content::Cid>,
        /// The node.
        node: Box<peerage_content::Cid>,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopped,
}

impl Peer {
    /// Gives back the disk that blocks take which nothing needs; with `count_only`
    /// it is only said how much that is. Others read and write meanwhile. It may be
    /// interrupted at any time, by `tell` or by a kill.
    ///
    /// # Errors
    /// Another collection, a damaged root, or the disk's. What was given back till
    /// then is.
    pub async fn collect(
        &self,
        count_only: bool,
        mut tell: impl FnMut(Collecting) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Collected, CollectError> {
        let store = self.store().clone();
        let work = move || collect(&store, count_only, &mut tell);
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| CollectError::Stopped)?;
        // Roots that have their sets again are served.
        self.inner().kept.renew();
        done
    }
}

/// Has the store collect when it is full.
pub(crate) fn collect_when_full(store: &Store) {
    store.on_full(Box::new(|store| {
        if let Err(error) = collect(store, false, &mut |_| ControlFlow::Continue(())) {
            tracing::warn!(%error, "the store is full, and nothing could be collected");
        }
    }));
}

fn collect(
    store: &Store,
    count_only: bool,
    tell: &mut dyn FnMut(Collecting) -> ControlFlow<()>,
) -> Result<Collected, CollectError> {
    let mut sum = Collected { mended_roots: mend_roots(store)?, ..Collected::default() };
    // They live until the end.
    let _unfinished = unfinished(store)?;
    let mut collection = match count_only {
        true => store.count_dead()?,
        false => store.collect()?.ok_or(CollectError::Running)?,
    };
    while let Some(step) = collection.step()? {
        let (marking, done, total) = match step {
            CollectionStep::Marking { done, roots } => (true, done, roots),
            CollectionStep::Sweeping { done, packs, dead, freed } => {
                sum.dead_bytes += dead;
                sum.freed_bytes += freed;
                (false, done, packs)
            }
        };
        let so_far = sum;
        if tell(Collecting { marking, done: done as u64, total: total as u64, so_far }).is_break() {
            return Ok(sum);
        }
    }
    sum.whole = true;
    Ok(sum)
}

/// What each download that did not end has got so far.
fn unfinished(store: &Store) -> Result<Vec<RootSetBuilder>, CollectError> {
    let mut sets = Vec::new();
    for (_, download) in store.downloads() {
        let what = download.cid;
        let held = walk_held(store, what, &|| false)
            .map_err(|source| CollectError::Walk { what, source: Box::new(source) })?;
        sets.push(held.set);
    }
    Ok(sets)
}

/// Makes the sets of roots again that were lost, from what is here.
fn mend_roots(store: &Store) -> Result<u64, CollectError> {
    let mut mended = 0;
    for RootEntry { id, root, set } in store.roots() {
        if set.is_some() {
            continue;
        }
        let what = root.cid;
        let held = walk_root(store, &root, 0, &|| false)
            .map_err(|source| CollectError::Walk { what, source: Box::new(source) })?;
        if let Some(node) = held.missing.inner {
            return Err(CollectError::Unknown { root: Box::new(what), node: Box::new(node) });
        }
        // Nothing if the root is gone by now.
        mended += u64::from(store.remake_set(id, &held.set)?);
    }
    Ok(mended)
}
