//! From steps to a DAG. Steps and pieces of large files go to the workers and
//! come back in the order in which they went; what was built goes into the
//! store and the root's set. A file that changed meanwhile is read once more.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use peerage_content::folder::AddError;
use peerage_content::{Block, Cid, DirectoryBuilder, FileBuilder, Leaf, Multihash};
use peerage_store::{FileId, Reference, RootSetBuilder, Stat, Store, TreeId, WriteError};

use super::error::ImportError;
use super::folder::FileAt;
use super::hash::{OpenFile, Shared, Small, Step, Trouble};
use super::limits::{CANCEL_LOOK_MS, JOB_BYTES, JOB_FILES, JOB_FOLDERS, JOBS_IN_FLIGHT, REMARKS_KEPT};
use super::{ImportOptions, ImportProgress, Imported, Remark, Remarks, Target, Workers};

/// What waits for its turn.
enum Pending {
    /// The files that follow are of another tree.
    Tree(Tree),
    Steps(Receiver<Vec<Step>>),
    Begin(FileAt, Arc<OpenFile>),
    Span(Receiver<Result<Vec<Leaf>, Trouble>>),
    End,
    /// A file that changed before it was read.
    Again(FileAt),
}

/// Where the files are, and what the store knows of them.
struct Tree {
    base: PathBuf,
    id: Option<TreeId>,
    known: HashMap<PathBuf, (FileId, Option<Stat>)>,
}

/// A folder whose entries are being built.
struct Frame {
    name: String,
    path: PathBuf,
    builder: DirectoryBuilder,
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
    by_reference: bool,
    workers: &'a dyn Workers,
    progress: &'a dyn Fn(ImportProgress),
    cancelled: &'a AtomicBool,
    batch: Batch,
    queue: VecDeque<Pending>,
    posted: usize,
    tree: Tree,
    frames: Vec<Frame>,
    large: Option<Large>,
    root: Option<(Cid, u64)>,
    set: Option<RootSetBuilder>,
    sums: Sums,
    so_far: ImportProgress,
    new_trees: Vec<TreeId>,
    /// New files of trees that were there before.
    new_files: Vec<FileId>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        options: &ImportOptions,
        target: &Target,
        workers: &'a dyn Workers,
        progress: &'a dyn Fn(ImportProgress),
        cancelled: &'a AtomicBool,
    ) -> Self {
        let copies = if let Target::Copy(store) = target { Some(store.clone()) } else { None };
        let shared = Shared {
            profile: options.profile.clone(),
            preserve: options.preserve,
            copies,
            abandoned: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            store: target.store().cloned(),
            by_reference: matches!(target, Target::Reference(_)),
            workers,
            progress,
            cancelled,
            batch: Batch::default(),
            queue: VecDeque::new(),
            posted: 0,
            tree: Tree { base: PathBuf::new(), id: None, known: HashMap::new() },
            frames: Vec::new(),
            large: None,
            root: None,
            set: None,
            sums: Sums::default(),
            so_far: ImportProgress::default(),
            new_trees: Vec::new(),
            new_files: Vec::new(),
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

    /// The files that follow are beneath `base`.
    pub(super) fn begin_tree(&mut self, base: &Path) -> Result<(), ImportError> {
        self.post_batch()?;
        let mut tree = Tree { base: base.to_path_buf(), id: None, known: HashMap::new() };
        if let Some(store) = self.store.as_ref().filter(|_| self.by_reference) {
            let known = store.trees().into_iter().find(|(_, known)| known == base).map(|(id, _)| id);
            let id = match known {
                Some(id) => id,
                None => store.add_tree(base).inspect(|id| self.new_trees.push(*id))?,
            };
            tree.id = Some(id);
            tree.known =
                store.files_of(id).into_iter().map(|file| (file.path, (file.id, file.stat))).collect();
            self.sums.trees.push(id);
        }
        self.queue.push_back(Pending::Tree(tree));
        Ok(())
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

    /// Adds a step of the walk.
    pub(super) fn step(&mut self, step: Step) -> Result<(), ImportError> {
        let batch = &mut self.batch;
        if let Step::File(at) = &step {
            self.so_far.files_found += 1;
            self.so_far.bytes_found += at.facts.size;
            let last = batch.steps.iter().rev().find_map(|step| match step {
                Step::File(at) => Some(&at.folder),
                _ => None,
            });
            batch.folders += usize::from(last.is_none_or(|folder| !Arc::ptr_eq(folder, &at.folder)));
            batch.files += 1;
            batch.bytes += at.facts.size;
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
        self.so_far.bytes_found += at.facts.size;
        let open = match OpenFile::open(&at, self.shared.preserve) {
            Ok(open) if open.stat.size == at.facts.size => open,
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
        let (size, file) = (open.stat.size, Arc::new(open));
        let shared = Arc::clone(&file);
        self.queue.push_back(Pending::Begin(at, file));
        for (offset, len) in spans(size, self.shared.profile.chunk_size) {
            self.make_room()?;
            let span = self.post_span(&shared, offset, len);
            self.queue.push_back(Pending::Span(span));
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

    fn post_span(
        &mut self,
        open: &Arc<OpenFile>,
        offset: u64,
        len: usize,
    ) -> Receiver<Result<Vec<Leaf>, Trouble>> {
        let open = Arc::clone(open);
        self.post(move |shared| shared.hash_span(&open, offset, len))
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
        while self.posted >= JOBS_IN_FLIGHT && !self.queue.is_empty() {
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
            Some(Pending::Begin(at, open)) => self.begin_large(at, open, false)?,
            Some(Pending::Span(leaves)) => {
                let leaves = self.wait(&leaves)?;
                self.span(leaves)?;
            }
            Some(Pending::End) => self.end_large()?,
            Some(Pending::Again(at)) => self.read_again(at)?,
        }
        (self.progress)(self.so_far);
        Ok(())
    }

    fn play(&mut self, step: Step) -> Result<(), ImportError> {
        match step {
            Step::Enter { name, path, metadata } => {
                let builder = DirectoryBuilder::with_metadata(&self.shared.profile, metadata);
                self.frames.push(Frame { name, path, builder });
                Ok(())
            }
            Step::Leave => self.leave(),
            Step::Symlink { name, block } => {
                self.keep(&block)?;
                self.add(&name, block.cid, block.data.len() as u64)
            }
            Step::Hashed(at, Ok(small)) => self.small(&at, &small),
            Step::Hashed(at, Err(Trouble::Changed)) | Step::File(at) => self.read_again(at),
            Step::Hashed(at, Err(trouble)) => self.unread(&at, trouble),
        }
    }

    fn leave(&mut self) -> Result<(), ImportError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let built = frame.builder.finish();
        let built = built.map_err(|_| ImportError::HashCollision { path: frame.path })?;
        for block in &built.blocks {
            self.keep(block)?;
        }
        self.add(&frame.name, built.cid, built.tsize)
    }

    /// Adds an entry to the folder that is being built, or finds that it is the root.
    fn add(&mut self, name: &str, cid: Cid, tsize: u64) -> Result<(), ImportError> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some((cid, tsize));
            return Ok(());
        };
        frame.builder.add(name, cid, tsize).map_err(|error| {
            let path = frame.path.join(name);
            match error {
                AddError::Name(error) => ImportError::Name { path, error },
                AddError::Duplicate => ImportError::SameName { first: path.clone(), second: path },
            }
        })
    }

    /// Stores a block that is no leaf.
    fn keep(&self, block: &Block) -> Result<(), WriteError> {
        if let Some(store) = &self.store {
            store.put_block(block.cid.hash(), &block.data)?;
        }
        self.reach(block.cid.hash())
    }

    fn reach(&self, mh: &Multihash) -> Result<(), WriteError> {
        self.set.as_ref().map_or(Ok(()), |set| set.insert(mh))
    }

    fn refer(&self, id: Option<FileId>, offset: u64, leaf: &Leaf) -> Result<(), WriteError> {
        // An empty block needs no place: everyone knows its bytes.
        if let (Some(store), Some(file), true) = (&self.store, id, leaf.block_len() > 0) {
            let len = u32::try_from(leaf.payload_len).unwrap_or(u32::MAX);
            let (head, tail) = (leaf.head.to_vec(), leaf.tail.to_vec());
            store.put_reference(leaf.cid.hash(), &Reference { file, offset, len, head, tail })?;
        }
        self.reach(leaf.cid.hash())
    }

    /// The store's id of a file; with `stat` its record says so, too.
    fn register(&mut self, path: &Path, stat: Option<Stat>) -> Result<Option<FileId>, WriteError> {
        let (Some(store), Some(tree)) = (&self.store, self.tree.id) else { return Ok(None) };
        if let Some((id, known)) = self.tree.known.get(path) {
            if let Some(stat) = stat.filter(|stat| *known != Some(*stat)) {
                store.set_stats(&[(*id, stat)])?;
            }
            return Ok(Some(*id));
        }
        let id = store.add_file(tree, path, stat)?;
        if !self.new_trees.contains(&tree) {
            self.new_files.push(id);
        }
        Ok(Some(id))
    }

    fn small(&mut self, at: &FileAt, small: &Small) -> Result<(), ImportError> {
        let Small { leaf, stat, executable } = small;
        let id = self.register(&at.path(), Some(*stat))?;
        self.refer(id, 0, leaf)?;
        self.so_far.bytes += stat.size;
        self.file_done(at, leaf.cid, stat.size, leaf.block_len() as u64, *executable)
    }

    fn file_done(
        &mut self,
        at: &FileAt,
        cid: Cid,
        size: u64,
        tsize: u64,
        executable: bool,
    ) -> Result<(), ImportError> {
        self.so_far.files += 1;
        self.sums.files += 1;
        self.sums.size += size;
        self.sums.executables += u64::from(executable);
        self.add(&at.called, cid, tsize)
    }

    fn begin_large(&mut self, at: FileAt, open: Arc<OpenFile>, second_try: bool) -> Result<(), ImportError> {
        let id = self.register(&at.path(), None)?;
        let builder = FileBuilder::with_metadata(&self.shared.profile, open.metadata);
        self.large = Some(Large { at, open, builder, id, done: 0, trouble: None, second_try });
        Ok(())
    }

    fn span(&mut self, leaves: Result<Vec<Leaf>, Trouble>) -> Result<(), ImportError> {
        let Some(mut large) = self.large.take() else { return Ok(()) };
        match leaves {
            Err(trouble) => large.trouble = large.trouble.or(Some(trouble)),
            Ok(leaves) if large.trouble.is_none() => {
                for leaf in &leaves {
                    self.refer(large.id, large.done, leaf)?;
                    large.done += leaf.payload_len as u64;
                    self.so_far.bytes += leaf.payload_len as u64;
                    for node in large.builder.push(leaf) {
                        self.keep(&node)?;
                    }
                }
            }
            Ok(_) => {}
        }
        self.large = Some(large);
        Ok(())
    }

    fn end_large(&mut self) -> Result<(), ImportError> {
        let Some(large) = self.large.take() else { return Ok(()) };
        let Large { at, open, builder, id, done, trouble, second_try } = large;
        if let Err(trouble) = trouble.map_or_else(|| open.check(), Err) {
            self.so_far.bytes -= done;
            if let Some(id) = id {
                self.tree.known.entry(at.path()).or_insert((id, None));
            }
            return match trouble {
                Trouble::Changed if !second_try => self.read_again(at),
                trouble => self.unread(&at, trouble),
            };
        }
        let Ok(built) = builder.finish() else { return self.unread(&at, Trouble::Changed) };
        for node in &built.blocks {
            self.keep(node)?;
        }
        if let (Some(store), Some(id)) = (&self.store, id) {
            let known = self.tree.known.get(&at.path()).and_then(|(_, stat)| *stat);
            if known != Some(open.stat) {
                store.set_stats(&[(id, open.stat)])?;
            }
        }
        self.file_done(&at, built.cid, built.size, built.tsize, open.executable)
    }

    /// Reads a file that changed once more, as it is now.
    fn read_again(&mut self, at: FileAt) -> Result<(), ImportError> {
        let open = match OpenFile::open(&at, self.shared.preserve) {
            Ok(open) => Arc::new(open),
            Err(trouble) => return self.unread(&at, trouble),
        };
        let size = open.stat.size;
        let chunk = self.shared.profile.chunk_size;
        self.so_far.bytes_found = (self.so_far.bytes_found + size).saturating_sub(at.facts.size);
        if size <= chunk as u64 {
            let files = self.post(move |shared| shared.hash_files(vec![Step::File(at)]));
            for step in self.wait(&files)? {
                match step {
                    Step::Hashed(at, Ok(small)) => self.small(&at, &small)?,
                    Step::Hashed(at, Err(trouble)) => self.unread(&at, trouble)?,
                    _ => {}
                }
            }
            return Ok(());
        }
        self.begin_large(at, Arc::clone(&open), true)?;
        let mut waiting = VecDeque::new();
        let mut spans = spans(size, chunk);
        loop {
            while waiting.len() < JOBS_IN_FLIGHT
                && let Some((offset, len)) = spans.next()
            {
                waiting.push_back(self.post_span(&open, offset, len));
            }
            let Some(leaves) = waiting.pop_front() else { break };
            let leaves = self.wait(&leaves)?;
            self.span(leaves)?;
            (self.progress)(self.so_far);
        }
        self.end_large()
    }

    /// Says why a file was not read, or that it vanished.
    fn unread(&mut self, at: &FileAt, trouble: Trouble) -> Result<(), ImportError> {
        let path = self.tree.base.join(at.path());
        match trouble {
            Trouble::Gone => {
                self.so_far.files_found -= 1;
                self.so_far.bytes_found = self.so_far.bytes_found.saturating_sub(at.facts.size);
                self.remark(path, Remark::Vanished);
                Ok(())
            }
            trouble => Err(failure(trouble, path)),
        }
    }

    /// Flushes, or forgets what was registered.
    pub(super) fn end<T>(self, result: Result<T, ImportError>) -> Result<T, ImportError> {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let Some(store) = &self.store else { return result };
        let result = result.and_then(|value| {
            store.flush()?;
            Ok(value)
        });
        if result.is_err() {
            // The first error is the one to tell; what stays registered leads
            // to bytes that are hashed before they are served.
            let trees = self.new_trees.iter().map(|tree| store.remove_tree(*tree));
            let files = self.new_files.iter().map(|file| store.remove_file(*file));
            drop(trees.chain(files).collect::<Result<(), _>>());
            drop(store.flush());
        }
        result
    }
}

/// What an error is called outside.
pub(super) fn failure(trouble: Trouble, path: PathBuf) -> ImportError {
    match trouble {
        Trouble::Changed => ImportError::Changed { path },
        Trouble::Gone => ImportError::Unreadable { path, source: std::io::ErrorKind::NotFound.into() },
        Trouble::Unreadable(source) => ImportError::Unreadable { path, source },
        Trouble::Store(error) => error.into(),
        Trouble::Abandoned => ImportError::Cancelled,
    }
}

/// The pieces that jobs read: whole chunks, about a mebibyte.
fn spans(size: u64, chunk: usize) -> impl Iterator<Item = (u64, usize)> {
    let chunk = chunk.max(1);
    let span = chunk * (JOB_BYTES / chunk).max(1);
    (0..size.div_ceil(span as u64)).map(move |number| {
        let offset = number * span as u64;
        let len = usize::try_from(size - offset).unwrap_or(span).min(span);
        (offset, len)
    })
}
