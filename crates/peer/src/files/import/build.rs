//! From steps to a DAG. Steps and pieces of large files go to the workers and
//! come back in the order in which they went; what was built goes into the
//! store and the root's set. A file that changed meanwhile is read once more;
//! one that did not change since an earlier import is not read at all.

mod assemble;
mod stream;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use peerage_content::shard::ShardBuilder;
use peerage_content::{Cid, DirectoryBuilder, FileBuilder, Leaf};
use peerage_store::{Durability, FileId, RootSetBuilder, Store, TreeId};

use super::cut::{Piece, Pieces};
use super::entries::FolderEntry;
use super::error::ImportError;
use super::folder::FileAt;
use super::hash::{OpenFile, Shared, Step, Trouble};
use super::known::Known;
use super::limits::{
    CANCEL_LOOK_MS, JOB_BYTES, JOB_FILES, JOB_FOLDERS, JOBS_IN_FLIGHT, QUEUE_MAX, REMARKS_KEPT,
};
use super::{ImportOptions, ImportProgress, Imported, Remark, Remarks, Target, Workers};
use crate::files::claims::Claim;
use crate::sort::{Scratch, Sorter};

/// What waits for its turn.
enum Pending {
    /// The files that follow are of another tree.
    Tree(Tree),
    Steps(Receiver<Vec<Step>>),
    Known(FileAt, Known),
    Begin(FileAt, Arc<OpenFile>),
    Span(Receiver<Result<Vec<Leaf>, Trouble>>),
    /// The rest of the file could not be read.
    Cut(Trouble),
    End,
    /// A file that changed before it was read.
    Again(FileAt),
}

/// Where the files are.
struct Tree {
    base: PathBuf,
    id: Option<TreeId>,
}

/// A folder whose entries are being built.
struct Frame {
    name: String,
    path: PathBuf,
    entries: Entries,
}

enum Entries {
    Few(DirectoryBuilder),
    /// Too many for one block.
    Many(Box<ShardBuilder>, Sorter<FolderEntry>),
}

/// A file of several chunks that is being built.
struct Large {
    at: FileAt,
    open: Arc<OpenFile>,
    builder: FileBuilder,
    id: Option<FileId>,
    done: u64,
    trouble: Option<Trouble>,
    second_try: bool,
}

/// The steps that the next job will be.
#[derive(Default)]
struct Batch {
    steps: Vec<Step>,
    files: usize,
    bytes: u64,
    folders: usize,
}

/// What is known of the root so far.
#[derive(Default)]
struct Sums {
    size: u64,
    files: u64,
    executables: u64,
    remarks: Remarks,
    trees: Vec<TreeId>,
}

/// Builds roots from steps.
pub(super) struct Builder<'a> {
    shared: Arc<Shared>,
    store: Option<Store>,
    scratch: Scratch,
    workers: &'a dyn Workers,
    progress: &'a dyn Fn(ImportProgress),
    cancelled: &'a AtomicBool,
    batch: Batch,
    queue: VecDeque<Pending>,
    posted: usize,
    /// The tree that is walked: it is ahead of the one whose files are built.
    walked: Option<(PathBuf, Option<TreeId>)>,
    tree: Tree,
    frames: Vec<Frame>,
    large: Option<Large>,
    root: Option<(Cid, u64)>,
    set: Option<RootSetBuilder>,
    sums: Sums,
    so_far: ImportProgress,
    /// What this import relies on in the store, if leaves are references.
    claim: Option<Claim>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        options: &ImportOptions,
        target: &Target,
        workers: &'a dyn Workers,
        progress: &'a dyn Fn(ImportProgress),
        cancelled: &'a AtomicBool,
    ) -> Self {
        let (copies, references, claim) = match target {
            Target::OnlyHash => (None, None, None),
            Target::Reference(claims) => (None, Some(claims.store().clone()), Some(claims.begin())),
            Target::Copy(store) => (Some(store.clone()), None, None),
        };
        let shared = Shared {
            profile: options.profile.clone(),
            preserve: options.preserve,
            copies,
            references,
            relied: target.store().map(Store::root_set_builder),
            abandoned: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            store: target.store().cloned(),
            scratch: Scratch::new(target.store().map(Store::dir)),
            workers,
            progress,
            cancelled,
            batch: Batch::default(),
            queue: VecDeque::new(),
            posted: 0,
            walked: None,
            tree: Tree { base: PathBuf::new(), id: None },
            frames: Vec::new(),
            large: None,
            root: None,
            set: None,
            sums: Sums::default(),
            so_far: ImportProgress::default(),
            claim,
        }
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn begin_root(&mut self) {
        self.set = self.store.as_ref().map(Store::root_set_builder);
        self.sums = Sums::default();
        self.root = None;
    }

    /// Waits for all that is on its way; none if the root itself vanished.
    pub(super) fn end_root(
        &mut self,
        paths: Vec<PathBuf>,
        name: Option<String>,
    ) -> Result<Option<Imported>, ImportError> {
        self.post_batch()?;
        while !self.queue.is_empty() {
            self.take_one()?;
        }
        let sums = std::mem::take(&mut self.sums);
        let Some((cid, dag_size)) = self.root.take() else { return Ok(None) };
        Ok(Some(Imported {
            paths,
            name,
            cid,
            size: sums.size,
            dag_size,
            files: sums.files,
            executables: sums.executables,
            remarks: sums.remarks,
            trees: sums.trees,
            set: self.set.take(),
        }))
    }

    /// The files that follow are beneath `base`. Many of one folder in a row
    /// are as cheap as the folder.
    pub(super) fn begin_tree(&mut self, base: &Path) -> Result<(), ImportError> {
        let tree = match &self.walked {
            Some((walked, tree)) if walked == base => *tree,
            _ => self.next_tree(base)?,
        };
        if let Some(tree) = tree.filter(|tree| self.sums.trees.last() != Some(tree)) {
            self.sums.trees.push(tree);
        }
        Ok(())
    }

    fn next_tree(&mut self, base: &Path) -> Result<Option<TreeId>, ImportError> {
        self.post_batch()?;
        let id = self.claim.as_ref().map(|claim| claim.tree(base)).transpose()?;
        self.walked = Some((base.to_path_buf(), id));
        self.queue.push_back(Pending::Tree(Tree { base: base.to_path_buf(), id }));
        Ok(id)
    }

    /// What the store calls a file of the tree that is walked. One that it cannot
    /// tell is added anew.
    pub(super) fn id_of(&self, path: &Path) -> Option<FileId> {
        let (_, tree) = self.walked.as_ref()?;
        self.claim.as_ref()?.file((*tree)?, path).ok().flatten()
    }

    pub(super) fn remark(&mut self, path: PathBuf, remark: Remark) {
        let remarks = &mut self.sums.remarks;
        remarks.hidden += u64::from(remark == Remark::Hidden);
        if remarks.listed.len() < REMARKS_KEPT {
            remarks.listed.push((path, remark));
        } else {
            remarks.more += 1;
        }
    }

    /// The walk has met all that is to be imported.
    pub(super) fn all_found(&mut self) {
        self.so_far.all_found = true;
    }

    /// An entry is left out by a pattern.
    pub(super) fn ignored(&mut self) {
        self.sums.remarks.ignored += 1;
    }

    /// Adds a step of the walk.
    pub(super) fn step(&mut self, step: Step) -> Result<(), ImportError> {
        let batch = &mut self.batch;
        if let Step::File(at) = &step {
            self.so_far.files_found += 1;
            self.so_far.bytes_found += at.facts.stat.size;
            let last = batch.steps.iter().rev().find_map(|step| match step {
                Step::File(at) => Some(&at.folder),
                _ => None,
            });
            batch.folders += usize::from(last.is_none_or(|folder| !Arc::ptr_eq(folder, &at.folder)));
            batch.files += 1;
            batch.bytes += at.facts.stat.size;
        }
        batch.steps.push(step);
        let full = batch.files >= JOB_FILES
            || batch.bytes >= JOB_BYTES as u64
            || batch.folders >= JOB_FOLDERS
            || batch.steps.len() >= 4 * JOB_FILES;
        if full { self.post_batch() } else { self.check_cancelled() }
    }

    /// Adds a file that the walk found to be of several chunks.
    pub(super) fn large_file(&mut self, at: FileAt, path: PathBuf) -> Result<(), ImportError> {
        self.post_batch()?;
        self.so_far.files_found += 1;
        self.so_far.bytes_found += at.facts.stat.size;
        if let Some(known) = self.shared.known(&at, self.cancelled) {
            self.queue.push_back(Pending::Known(at, known));
            return self.make_room();
        }
        let open = match self.shared.open(&at) {
            Ok(open) if open.stat.size == at.facts.stat.size => open,
            Ok(_) | Err(Trouble::Changed) => {
                self.queue.push_back(Pending::Again(at));
                return Ok(());
            }
            Err(Trouble::Gone) => {
                self.remark(path, Remark::Vanished);
                return Ok(());
            }
            Err(trouble) => return Err(failure(trouble, path)),
        };
        let file = Arc::new(open);
        let shared = Arc::clone(&file);
        self.queue.push_back(Pending::Begin(at, file));
        let mut pieces = Pieces::new(&shared, self.shared.profile.chunker);
        loop {
            self.make_room()?;
            let piece = match pieces.next_piece() {
                Ok(None) => break,
                Ok(Some(piece)) => self.post_piece(&shared, piece),
                Err(trouble) => {
                    self.queue.push_back(Pending::Cut(trouble));
                    break;
                }
            };
            self.queue.push_back(Pending::Span(piece));
        }
        self.queue.push_back(Pending::End);
        Ok(())
    }

    fn post_batch(&mut self) -> Result<(), ImportError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.steps.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        let steps = self.post(move |shared| shared.hash_files(batch.steps));
        self.queue.push_back(Pending::Steps(steps));
        Ok(())
    }

    fn post_piece(&mut self, open: &Arc<OpenFile>, piece: Piece) -> Receiver<Result<Vec<Leaf>, Trouble>> {
        let open = Arc::clone(open);
        self.post(move |shared| shared.hash_piece(&open, piece))
    }

    fn post<T: Send + 'static>(&mut self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> Receiver<T> {
        let (done, result) = sync_channel(1);
        let shared = Arc::clone(&self.shared);
        // Nobody listens any more if the import ended early.
        self.workers.post(Box::new(move || drop(done.send(work(&shared)))));
        self.posted += 1;
        result
    }

    fn make_room(&mut self) -> Result<(), ImportError> {
        while self.posted >= JOBS_IN_FLIGHT && !self.queue.is_empty() || self.queue.len() >= QUEUE_MAX {
            self.take_one()?;
        }
        self.check_cancelled()
    }

    fn check_cancelled(&self) -> Result<(), ImportError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(ImportError::Cancelled) } else { Ok(()) }
    }

    fn wait<T>(&mut self, result: &Receiver<T>) -> Result<T, ImportError> {
        loop {
            self.check_cancelled()?;
            match result.recv_timeout(Duration::from_millis(CANCEL_LOOK_MS)) {
                Ok(result) => {
                    self.posted -= 1;
                    return Ok(result);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(ImportError::WorkerLost),
            }
        }
    }

    /// Takes the next thing back, in order.
    fn take_one(&mut self) -> Result<(), ImportError> {
        match self.queue.pop_front() {
            None => return Ok(()),
            Some(Pending::Tree(tree)) => self.tree = tree,
            Some(Pending::Steps(steps)) => {
                for step in self.wait(&steps)? {
                    self.play(step)?;
                }
            }
            Some(Pending::Known(at, known)) => self.known(at, &known)?,
            Some(Pending::Begin(at, open)) => self.begin_large(at, open, false)?,
            Some(Pending::Span(leaves)) => {
                let leaves = self.wait(&leaves)?;
                self.span(leaves)?;
            }
            Some(Pending::Cut(trouble)) => self.span(Err(trouble))?,
            Some(Pending::End) => self.end_large()?,
            Some(Pending::Again(at)) => self.read_again(at)?,
        }
        (self.progress)(self.so_far);
        Ok(())
    }

    /// Flushes, or forgets what was registered and nobody else relies on.
    pub(super) fn end<T>(self, result: Result<T, ImportError>) -> Result<T, ImportError> {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let Some(store) = &self.store else { return result };
        let result = result.and_then(|value| {
            store.commit(Durability::Buffered)?;
            Ok(value)
        });
        if result.is_ok() {
            self.claim.into_iter().for_each(Claim::keep);
        } else {
            drop(self.claim);
            // The first error is the one to tell.
            drop(store.commit(Durability::Buffered));
        }
        result
    }
}

/// What an error is called outside.
pub(super) fn failure(trouble: Trouble, path: PathBuf) -> ImportError {
    match trouble {
        Trouble::Changed => ImportError::Changed { path },
        Trouble::Gone => ImportError::Unreadable { path, source: std::io::ErrorKind::NotFound.into() },
        Trouble::Size => ImportError::Size { path },
        Trouble::Unreadable(source) => ImportError::Unreadable { path, source },
        Trouble::Store(error) => error.into(),
        Trouble::Abandoned => ImportError::Cancelled,
    }
}
