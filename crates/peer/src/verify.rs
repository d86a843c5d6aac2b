//! Verification of everything, and repair: each block against its hash, and each root for what
//! it needs and nobody has. A block whose every place was found wrong before is in
//! no place any more, and only its roots still tell of it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::Cid;
use peerage_engine::Sources;
use peerage_store::{Checked, Durability, Multihash, RootEntry, Store, WriteError};

use crate::ahead::AHEAD;
use crate::keep::{Held, Missing, PinError, is_direct, walk_held_naming, walk_root};
use crate::peer::Peer;
use crate::query::QueryError;

/// Something that [`Peer::verify`] came across.
#[derive(Debug, Clone)]
pub enum Verifying {
    /// So many bytes of blocks of so many were read.
    Progress {
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A place of a block is wrong, or an index. With it the roots that need the block.
    Bad {
        /// The place, and what is wrong there.
        place: Checked,
        /// Their CIDs and names.
        needed_by: Vec<(Cid, String)>,
    },
    /// A root needs blocks that are in no place.
    Missing {
        /// The root.
        root: Cid,
        /// Its name.
        name: String,
        /// The blocks; named are those that were not told as bad before.
        missing: Missing,
    },
    /// A root's DAG cannot be followed to its end.
    Broken {
        /// The root.
        root: Cid,
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
}

/// What a verification came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifySum {
    /// Places that are right.
    pub good: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Places that are wrong.
    pub bad: u64,
    /// Blocks that roots need and nobody has, each counted for each root.
    pub missing: u64,
    /// Roots that lack something, or that cannot be followed.
    pub incomplete_roots: u64,
}

/// Roots that are named with a bad block. 10: they are printed.
const NEEDED_BY_MAX: usize = 10;
/// Bad blocks that are remembered, so that they are not told again as missing.
/// 65,536: some megabytes.
const TOLD_MAX: usize = 1 << 16;
/// Missing blocks that are looked through for such that were not told. 1,000: who lacks
/// more than that hears of some twice.
const LOOKED_THROUGH: usize = 1000;

/// Why a verification did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The disk, but for users' files.
    #[error(transparent)]
    Read(#[from] peerage_store::ReadError),
    /// The same, while writing.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopped,
}

impl Peer {
    /// Reads and hashes every block that is here, and looks for every block that a
    /// root needs. What is wrong is not served any more. Stops early if `tell` breaks.
    ///
    /// # Errors
    /// The disk's.
    pub async fn verify(
        &self,
        mut tell: impl FnMut(Verifying) -> ControlFlow<()> + Send + 'static,
    ) -> Result<VerifySum, VerifyError> {
        let store = self.store().clone();
        let work = move || verify(&store, &mut tell);
        tokio::task::spawn_blocking(work).await.map_err(|_| VerifyError::Stopped)?
    }
}

fn verify(
    store: &Store,
    tell: &mut dyn FnMut(Verifying) -> ControlFlow<()>,
) -> Result<VerifySum, VerifyError> {
    let roots = store.roots();
    let mut stopped = false;
    let mut told = BTreeSet::new();
    let checked = store.verify_all(&mut |place| {
        let flow = match place {
            Checked::Progress { done, total } => tell(Verifying::Progress { done, total }),
            place => {
                let needed_by = needed_by(&roots, &place);
                if told.len() < TOLD_MAX {
                    told.extend(block_of(&place));
                }
                tell(Verifying::Bad { place, needed_by })
            }
        };
        stopped |= flow.is_break();
        flow
    })?;
    let mut sum =
        VerifySum { good: checked.good, bytes: checked.bytes, bad: checked.bad, ..VerifySum::default() };
    for RootEntry { root, .. } in roots {
        if stopped {
            break;
        }
        let finding = match walk_root(store, &root, LOOKED_THROUGH, &|| false) {
            Ok(held) if held.missing.blocks == 0 => continue,
            Ok(mut held) => {
                sum.missing += held.missing.blocks;
                held.missing.first.retain(|cid| !told.contains(cid.hash()));
                Verifying::Missing { root: root.cid, name: root.name, missing: held.missing }
            }
            Err(PinError::Store(error)) => return Err(error.into()),
            Err(error) => Verifying::Broken { root: root.cid, name: root.name, why: error.to_string() },
        };
        sum.incomplete_roots += 1;
        stopped = tell(finding).is_break();
    }
    Ok(sum)
}

/// The block which is wrong in a place.
fn block_of(place: &Checked) -> Option<Multihash> {
    match place {
        Checked::BadRecord { block, .. } => *block,
        Checked::BadFile { block, .. } | Checked::Unreadable { block, .. } => Some(*block),
        Checked::Progress { .. } | Checked::BadIndex { .. } => None,
    }
}

/// Roots that need the block which is wrong in a place.
fn needed_by(roots: &[RootEntry], place: &Checked) -> Vec<(Cid, String)> {
    let Some(block) = block_of(place) else { return Vec::new() };
    let need = |entry: &&RootEntry| entry.set.as_ref().is_some_and(|set| set.contains(&block));
    let named = roots.iter().filter(need).map(|entry| (entry.root.cid, entry.root.name.clone()));
    named.take(NEEDED_BY_MAX).collect()
}

/// What [`Peer::repair`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Blocks that were fetched.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blocks that are still missing.
    pub missing: u64,
}

/// Blocks that are fetched between two walks. 4,096: a walk reads all inner nodes, and
/// these are a quarter of a mebibyte.
const FETCHED_AT_ONCE: usize = 4096;
/// Blocks that nobody has and that are remembered, not to be asked for again. 65,536:
/// 6 MiB.
const REFUSED_MAX: usize = 65_536;
/// How often in a row nothing came of what was asked for together, after which nobody is
/// asked for this root any more. 3: each may take as long as a search does.
const FRUITLESS_MAX: u32 = 3;

impl Peer {
    /// Fetches into the store what a root lacks, as far as the sources have it. No
    /// file of the user's is written to. Durable when this returns.
    ///
    /// # Errors
    /// The DAG makes no sense, or the disk's; that nobody has a block is none.
    pub async fn repair(
        &self,
        root: Cid,
        sources: Sources,
        mut tell: impl FnMut(Repaired),
    ) -> Result<Repaired, PinError> {
        // Until the end no collection takes what was fetched.
        let set = Arc::new(self.store().root_set_builder());
        let mut done = Repaired::default();
        let (mut refused, mut fruitless) = (BTreeSet::new(), 0);
        loop {
            let store = self.store().clone();
            let named = FETCHED_AT_ONCE + refused.len();
            let walk = move || walk_kept(&store, root, named);
            let held = tokio::task::spawn_blocking(walk).await.map_err(|_| QueryError::Stopped)??;
            done.missing = held.missing.blocks;
            let wanted: Vec<Cid> =
                held.missing.first.into_iter().filter(|cid| !refused.contains(cid)).collect();
            for some in wanted.chunks(AHEAD) {
                if fruitless >= FRUITLESS_MAX || refused.len() >= REFUSED_MAX {
                    break;
                }
                let mut came = 0;
                for (cid, block) in self.fetch_some(root, some, &sources).await {
                    let Some(block) = block else {
                        refused.insert(cid);
                        continue;
                    };
                    let (set, len) = (Arc::clone(&set), block.len() as u64);
                    let keep = move |store: &Store| {
                        set.insert(cid.hash())?;
                        store.put_block(cid.hash(), &block)
                    };
                    self.with_store(keep).await?;
                    came += 1;
                    done.blocks += 1;
                    done.bytes += len;
                    done.missing = done.missing.saturating_sub(1);
                    tell(done);
                }
                fruitless = if came == 0 { fruitless + 1 } else { 0 };
            }
            // What came may be nodes that name more.
            if wanted.is_empty() || fruitless >= FRUITLESS_MAX || refused.len() >= REFUSED_MAX {
                self.commit(Durability::Durable).await?;
                return Ok(done);
            }
        }
    }

    /// Asks for blocks together; of each what came, if anybody had it.
    async fn fetch_some(&self, root: Cid, wanted: &[Cid], sources: &Sources) -> Vec<(Cid, Option<Bytes>)> {
        let mut query = self.query(root, sources.clone());
        wanted.iter().for_each(|cid| query.ask(*cid));
        let (mut blocks, mut over) = (Vec::with_capacity(wanted.len()), false);
        for cid in wanted {
            // The search is over once nobody has any of the rest, so all that came is here.
            let block = if over { query.early(cid) } else { query.block(*cid).await.ok() };
            over |= block.is_none();
            blocks.push((*cid, block));
        }
        blocks
    }
}

/// Walks what is kept of a root: one block if each of its pins is a direct one.
fn walk_kept(store: &Store, root: Cid, named: usize) -> Result<Held, PinError> {
    let all: Vec<_> = store.roots().into_iter().filter(|entry| entry.root.cid == root).collect();
    let needs = |entry: &&RootEntry| !is_direct(store, &entry.root);
    match all.iter().find(needs).or(all.first()) {
        Some(entry) => walk_root(store, &entry.root, named, &|| false),
        None => walk_held_naming(store, root, named, &|| false),
    }
}
