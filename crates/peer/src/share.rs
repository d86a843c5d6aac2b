//! Adding files, and sharing them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use peerage_content::{Cid, Profile};
use peerage_engine::Share as Progress;
use peerage_identity::PeerId;
use peerage_store::{Durability, Root, RootKind, WriteError};
use tokio::sync::mpsc;

use crate::cancel::CancelOnDrop;
use crate::config::Limits;
use crate::files::import::{
    self, Ignored, ImportError, ImportOptions, ImportProgress, Imported, Preserve, Remarks, Target, Workers,
};
use crate::get::unix_now;
use crate::keep::PinOptions;
use crate::peer::{Peer, ServedRoot};
use crate::places::replace_root;
use crate::pool::Pool;
use crate::served::Blocks;
use crate::tally::Tally;

/// How to add.
#[derive(Debug, Clone, Default)]
pub struct AddOptions {
    /// Decides the CIDs.
    pub profile: Profile,
    /// Copy the bytes into the store instead of referring to the files.
    pub copy: bool,
    /// Include entries below the given paths whose names begin with a dot.
    pub hidden: bool,
    /// Entries below the given paths that are left out.
    pub ignored: Ignored,
    /// Import a given path that is a symlink as such, instead of following it.
    pub keep_symlinks: bool,
    /// Keep mode, mtime or both.
    pub preserve: Preserve,
    /// Include entries whose names no `get` writes (control characters), for
    /// the sake of other programs.
    pub any_name: bool,
    /// One folder around all paths.
    pub wrap: bool,
    /// Everybody may find it: of a root that [`Peer::share`] keeps, this is
    /// remembered. It announces nothing by itself.
    pub announce: bool,
}

/// What was added.
#[derive(Debug, Clone)]
pub struct Added {
    /// What it was made of, canonical.
    pub paths: Vec<PathBuf>,
    /// The name that it had, if it was one path.
    pub name: Option<String>,
    /// The root.
    pub cid: Cid,
    /// Content bytes.
    pub size: u64,
    /// Bytes of all blocks.
    pub dag_size: u64,
    /// Regular files.
    pub files: u64,
    /// Files that may be executed.
    pub executables: u64,
    /// What was left out, or may not be written by others.
    pub remarks: Remarks,
}

/// Why files could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// A file, or what was asked for.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The disk.
    #[error("the repository: {0}")]
    Store(#[from] WriteError),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopped,
}

impl Workers for Pool {
    fn post(&self, work: Box<dyn FnOnce() + Send>) {
        Self::post(self, work);
    }
}

/// Computes CIDs without a repository.
///
/// # Errors
/// A file that cannot be read.
pub async fn only_hash(
    paths: Vec<PathBuf>,
    options: AddOptions,
    on_progress: impl Fn(ImportProgress) + Send + 'static,
) -> Result<Vec<Added>, AddError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let pool = Pool::start(threads, Limits::default().pool, 1).map_err(|_| AddError::Stopped)?;
    let imported = run(pool, Input::Paths(paths), &options, Target::OnlyHash, on_progress).await?;
    Ok(imported.into_iter().map(|(added, _)| added).collect())
}

/// [`only_hash`] of one file that comes from a pipe, or whatever `file` is.
///
/// # Errors
/// It cannot be read.
pub async fn only_hash_stream(
    file: File,
    options: AddOptions,
    on_progress: impl Fn(ImportProgress) + Send + 'static,
) -> Result<Vec<Added>, AddError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let pool = Pool::start(threads, Limits::default().pool, 1).map_err(|_| AddError::Stopped)?;
    let input = Input::Stream { file, name: None };
    let imported = run(pool, input, &options, Target::OnlyHash, on_progress).await?;
    Ok(imported.into_iter().map(|(added, _)| added).collect())
}

/// What is imported.
enum Input {
    Paths(Vec<PathBuf>),
    Stream { file: File, name: Option<String> },
}

impl Peer {
    /// Adds and pins files and folders, durably. The pins bear `name`, or the name that
    /// they had, or the files' own.
    ///
    /// # Errors
    /// A file that cannot be read, or the disk's.
    pub async fn add(
        &self,
        paths: Vec<PathBuf>,
        options: AddOptions,
        name: Option<String>,
        on_progress: impl Fn(ImportProgress) + Send + 'static,
    ) -> Result<Vec<Added>, AddError> {
        let imported = self.import(Input::Paths(paths), &options, on_progress).await?;
        self.pin_added(imported, name).await
    }

    /// Adds and pins what comes from a pipe, or whatever `file` is, as one file. Its bytes
    /// are copied. The pin bears `pinned_as`, or the name that it had, or the file's own.
    ///
    /// # Errors
    /// It cannot be read, or the disk's.
    pub async fn add_stream(
        &self,
        file: File,
        name: Option<String>,
        options: AddOptions,
        pinned_as: Option<String>,
        on_progress: impl Fn(ImportProgress) + Send + 'static,
    ) -> Result<Vec<Added>, AddError> {
        let options = AddOptions { copy: true, ..options };
        let imported = self.import(Input::Stream { file, name }, &options, on_progress).await?;
        self.pin_added(imported, pinned_as).await
    }

    async fn pin_added(
        &self,
        imported: Vec<(Added, Imported)>,
        name: Option<String>,
    ) -> Result<Vec<Added>, AddError> {
        let mut all = Vec::new();
        for (added, imported) in imported {
            if let Some(set) = imported.set {
                let rename = name.is_some();
                let name = name.clone().or_else(|| added.name.clone()).unwrap_or_default();
                // Whoever pins his own files puts them on the network.
                let options = PinOptions { name: &name, rename, recursive: true, announce: true };
                self.note_pin(added.cid, options, added.dag_size, Arc::new(set)).await?;
            }
            all.push(added);
        }
        self.commit(Durability::Durable).await?;
        Ok(all)
    }

    /// Adds files and folders by reference and serves them until the
    /// [`Share`] is dropped; with `keep`, under `up` as well.
    ///
    /// # Errors
    /// A file that cannot be read, or the disk's.
    pub async fn share(
        &self,
        paths: Vec<PathBuf>,
        options: AddOptions,
        keep: bool,
        on_progress: impl Fn(ImportProgress) + Send + 'static,
    ) -> Result<Share, AddError> {
        let (watcher, progress) = mpsc::unbounded_channel();
        let mut roots = Vec::new();
        let mut served = Vec::new();
        let mut sends_nothing = true;
        for (added, imported) in self.import(Input::Paths(paths), &options, on_progress).await? {
            let Some(set) = imported.set.map(Arc::new) else { continue };
            if keep {
                let root = Root {
                    cid: added.cid,
                    kind: RootKind::Shared,
                    path: added.paths.first().filter(|_| added.paths.len() == 1).cloned(),
                    name: added.name.clone().unwrap_or_default(),
                    announce: options.announce,
                    keep: true,
                    size: added.dag_size,
                    tree: imported.trees.first().copied(),
                    added: unix_now(),
                };
                let set = Arc::clone(&set);
                self.with_roots(move |store| replace_root(store, &root, &set)).await?;
            }
            let set = self.with_store(move |_| set.seal()).await?;
            let tally = Tally::new(&added.cid, set, added.dag_size);
            sends_nothing &= tally.is_of_nothing();
            let blocks = Blocks::Counted(Arc::new(tally));
            served.push(self.serve(added.cid, blocks, added.dag_size, Some(watcher.clone())));
            roots.push(added);
        }
        self.commit(Durability::Durable).await?;
        Ok(Share { roots, sends_nothing, progress, _served: served })
    }

    async fn import(
        &self,
        input: Input,
        options: &AddOptions,
        on_progress: impl Fn(ImportProgress) + Send + 'static,
    ) -> Result<Vec<(Added, Imported)>, AddError> {
        let target = match options.copy {
            true => Target::Copy(self.store().clone()),
            false => Target::Reference(self.inner().claims.clone()),
        };
        run(self.inner().pool.clone(), input, options, target, on_progress).await
    }
}

/// Imports on a thread of its own; dropped, the import stops.
async fn run(
    pool: Pool,
    input: Input,
    options: &AddOptions,
    target: Target,
    on_progress: impl Fn(ImportProgress) + Send + 'static,
) -> Result<Vec<(Added, Imported)>, AddError> {
    let cancel = CancelOnDrop::default();
    let cancelled = cancel.flag();
    let import_options = ImportOptions {
        profile: options.profile.clone(),
        hidden: options.hidden,
        ignored: options.ignored.clone(),
        follow: !options.keep_symlinks,
        preserve: options.preserve,
        any_name: options.any_name,
        wrap: options.wrap,
        leave_out: Vec::new(),
    };
    let work = move || match input {
        Input::Paths(paths) => {
            import::import(&paths, &import_options, &target, &pool, &on_progress, &cancelled)
        }
        Input::Stream { file, name } => {
            import::import_stream(file, name, &import_options, &target, &pool, &on_progress, &cancelled)
        }
    };
    let imported = tokio::task::spawn_blocking(work).await.map_err(|_| AddError::Stopped)??;
    Ok(imported.into_iter().map(|imported| (added(&imported), imported)).collect())
}

fn added(imported: &Imported) -> Added {
    Added {
        paths: imported.paths.clone(),
        name: imported.name.clone(),
        cid: imported.cid,
        size: imported.size,
        dag_size: imported.dag_size,
        files: imported.files,
        executables: imported.executables,
        remarks: imported.remarks.clone(),
    }
}

/// Files and folders that are being served.
pub struct Share {
    roots: Vec<Added>,
    sends_nothing: bool,
    progress: mpsc::UnboundedReceiver<(Cid, PeerId, Progress)>,
    _served: Vec<ServedRoot>,
}

impl Share {
    /// What is shared, in the order of the paths.
    #[must_use]
    pub fn roots(&self) -> &[Added] {
        &self.roots
    }

    /// Whether no block of it needs to be sent, as of an empty file: then
    /// whoever has the link has everything, and may never ask.
    #[must_use]
    pub fn sends_nothing(&self) -> bool {
        self.sends_nothing
    }

    /// Waits until a peer says how much of a root it has, as those do that
    /// speak the swarm protocol; or until another peer was sent each of its
    /// blocks, answered after the last one, and for some seconds asked for
    /// nothing more. Such a peer has everything. Of blocks that one had before
    /// it asked, nothing is known.
    pub async fn next_progress(&mut self) -> Option<(Cid, PeerId, Progress)> {
        self.progress.recv().await
    }
}
