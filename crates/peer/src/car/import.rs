//! Blocks of a CAR into the store. Each is verified; a bad one, or one that nobody
//! here can verify, is told with its place in the file and left out, the good ones
//! stay. The roots are pinned if all of their DAGs is here then.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use peerage_content::car::{Header, Options};
use peerage_content::{Cid, VerifyError, hash};
use peerage_store::{Durability, RootSetBuilder, Store, WriteError};

use super::fault::TOLD_MAX;
use super::read::{CarReadError, Checked, Listener, Reading};
use crate::cancel::CancelOnDrop;
use crate::keep::{Held, Missing, PinError, PinOptions};
use crate::peer::Peer;

/// Why a CAR was not imported to its end.
#[derive(Debug, thiserror::Error)]
pub enum CarImportError {
    /// The file: damaged or unreadable from some place on.
    #[error(transparent)]
    Read(#[from] CarReadError),
    /// The repository's disk.
    #[error("the repository: {0}")]
    Store(#[from] WriteError),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopped,
}

/// A block that was not found to be what its CID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSection {
    /// As the file names it.
    pub cid: Cid,
    /// Where its section begins, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong with it.
    pub error: VerifyError,
}

/// What was in a CAR.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarImported {
    /// As its header says.
    pub roots: Vec<Cid>,
    /// Good blocks, those among them that were here already.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Of these, blocks that were not here before.
    pub new_blocks: u64,
    /// Bad blocks, the first 1,000, in the order of the file.
    pub bad: Vec<BadSection>,
    /// Bad blocks in all.
    pub bad_blocks: u64,
    /// Blocks that may be right, but whose hash function is not supported: likewise
    /// the first 1,000.
    pub unchecked: Vec<BadSection>,
    /// Such blocks in all.
    pub unchecked_blocks: u64,
}

/// A DAG of which all is in the store. While this lives, no collection takes its blocks.
#[derive(Debug)]
pub struct WholeDag {
    cid: Cid,
    size: u64,
    blocks: u64,
    set: Arc<RootSetBuilder>,
}

impl WholeDag {
    /// Its root.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        self.cid
    }

    /// How many blocks it has, each once; each takes some 16 bytes of memory here, up
    /// to 131,072 of them.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }
}

/// What a worker made of a good block: whether it is new.
type Kept = Result<bool, WriteError>;

struct Import<'a> {
    imported: CarImported,
    failed: Option<WriteError>,
    progress: &'a dyn Fn(u64),
}

impl Listener<Kept> for Import<'_> {
    fn header(&mut self, header: Header) {
        self.imported.roots = header.roots;
    }

    fn block(&mut self, checked: Checked<Kept>) -> ControlFlow<()> {
        let Checked { cid, len, offset, kept } = checked;
        let imported = &mut self.imported;
        match kept {
            Ok(Ok(new)) => {
                imported.blocks += 1;
                imported.bytes += len as u64;
                imported.new_blocks += u64::from(new);
            }
            Ok(Err(error)) => {
                self.failed.get_or_insert(error);
                return ControlFlow::Break(());
            }
            Err(error) => {
                let (told, count) = match error {
                    VerifyError::Unsupported(_) => (&mut imported.unchecked, &mut imported.unchecked_blocks),
                    VerifyError::Mismatch | VerifyError::DigestLength(_) => {
                        (&mut imported.bad, &mut imported.bad_blocks)
                    }
                };
                *count += 1;
                if told.len() < TOLD_MAX {
                    told.push(BadSection { cid, offset, error });
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn index(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn progress(&mut self, bytes: u64) {
        (self.progress)(bytes);
    }
}

/// Puts a verified block into the store; true if it is new there.
fn put(store: &Store, meanwhile: &RootSetBuilder, cid: &Cid, data: &[u8]) -> Kept {
    // Such blocks are in their CIDs, or known to everyone.
    if hash::inline(cid).is_some() || data.is_empty() {
        return Ok(false);
    }
    // Before it is looked for, so that no collection takes it in between.
    meanwhile.insert(cid.hash())?;
    store.put_block(cid.hash(), data)
}

impl Peer {
    /// Puts the blocks of a CAR into the store, in memory that does not depend
    /// on its size. On return they survive the end of the process, and a power
    /// cut after [`commit`](Self::commit). `on_progress` is told the bytes of the
    /// file that were read. Dropped, it stops. While `meanwhile` lives, no collection
    /// takes what was imported: that is until the roots are pinned.
    ///
    /// Beside an error stands what was imported before it.
    ///
    /// # Errors
    /// See [`CarImportError`].
    pub async fn import_car(
        &self,
        mut input: impl Read + Send + 'static,
        meanwhile: Arc<RootSetBuilder>,
        on_progress: impl Fn(u64) + Send + 'static,
    ) -> (CarImported, Result<(), CarImportError>) {
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.flag();
        let (store, pool) = (self.store().clone(), self.inner().pool.clone());
        let work = move || {
            let keep = {
                let store = store.clone();
                Arc::new(move |cid: &Cid, data: &bytes::Bytes| put(&store, &meanwhile, cid, data))
            };
            let options = Options::default();
            let reading = Reading { workers: &pool, options, verify: true, keep, cancelled: &cancelled };
            let mut import =
                Import { imported: CarImported::default(), failed: None, progress: &on_progress };
            let read = reading.run(&mut input, &mut import);
            let result = match (import.failed, read) {
                (Some(error), _) => Err(error.into()),
                (None, Err(error)) => Err(error.into()),
                (None, Ok(())) => Ok(()),
            };
            let flushed = store.commit(Durability::Buffered).map_err(CarImportError::from);
            (import.imported, result.and(flushed))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| (CarImported::default(), Err(CarImportError::Stopped)))
    }

    /// Looks whether all of a DAG is in the store, asking nobody; if not, what is
    /// missing is told.
    ///
    /// # Errors
    /// The DAG makes no sense, or the disk's.
    pub async fn find_whole(&self, cid: Cid) -> Result<Result<WholeDag, Missing>, PinError> {
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.flag();
        let store = self.store().clone();
        let walk = move || crate::keep::walk_held(&store, cid, &|| cancelled.load(Ordering::Relaxed));
        let Held { set, blocks, size, missing } =
            tokio::task::spawn_blocking(walk).await.map_err(|_| crate::query::QueryError::Stopped)??;
        let whole = missing.blocks == 0;
        Ok(if whole { Ok(WholeDag { cid, size, blocks, set: Arc::new(set) }) } else { Err(missing) })
    }

    /// Pins DAGs that are here. The pins survive the end of the process on return,
    /// and a power cut after [`commit`](Self::commit). Many together take hardly longer
    /// than one.
    ///
    /// # Errors
    /// The disk's. Some may be pinned then.
    pub async fn pin_whole(&self, dags: Vec<WholeDag>, options: PinOptions<'_>) -> Result<(), WriteError> {
        let dags = dags.into_iter().map(|WholeDag { cid, size, set, .. }| (cid, size, set));
        self.note_pins(dags.collect(), options).await.map(drop)
    }
}
