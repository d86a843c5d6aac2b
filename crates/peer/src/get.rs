//! Fetching a DAG to disk: the fetch, its progress, its end, and what is kept
//! of it afterwards.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use peerage_content::Cid;
use peerage_engine::{JobError, JobProgress, Order, Sources};
use peerage_store::{Durability, Root, RootKind};
use tokio::sync::mpsc;
use tokio::time::{Interval, interval, sleep};

use crate::brain::{Input, JobEvent};
use crate::files::export::{Destination, Export, ExportError, Finished};
use crate::peer::{Peer, ServedRoot};
use crate::places::replace_root;
use crate::served::{Blocks, Serving};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(500);

/// How often, and after which pause, a staging entry that this process holds
/// is tried again: together half a second, many times what a write takes.
const RELEASE_TRIES: u32 = 20;
const RELEASE_PAUSE: Duration = Duration::from_millis(25);

/// How to fetch.
#[derive(Debug, Clone)]
pub struct GetOptions {
    /// Whom to ask.
    pub sources: Sources,
    /// The absolute path that the file or folder itself takes.
    pub dest: PathBuf,
    /// An open handle of the folder of `dest`, if its path may not lead there:
    /// everything is written beneath it. Without one the path is opened.
    pub folder: Option<Arc<OwnedFd>>,
    /// Replace what is there and differs.
    pub overwrite: bool,
    /// Make symlinks that leave the destination.
    pub unsafe_symlinks: bool,
    /// In which order blocks are asked for: in order for who reads while they come,
    /// rarest first for a swarm.
    pub order: Order,
    /// Serve what arrives, and tell other getters of this root that we do.
    pub serve: bool,
    /// Keep the root, so that it is served later.
    pub keep: bool,
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The network, the link or the DAG.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The disk or the destination.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The peer is stopping.
    #[error("the peer is stopping; what has come is kept")]
    Stopped,
}

/// What a fetch tells.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
pub enum GetEvent {
    /// At most two a second.
    Progress(JobProgress),
    /// Everything is in place. Nothing follows.
    Done(Done),
}

/// What a fetch came to.
#[derive(Debug, Clone)]
pub struct Done {
    /// The root.
    pub cid: Cid,
    /// Where it is.
    pub path: PathBuf,
    /// How long it took.
    pub took: Duration,
    /// Figures of this run.
    pub progress: JobProgress,
    /// Symlinks that leave the destination and were not made.
    pub unsafe_links: Vec<PathBuf>,
    /// `path` does not lead there, as the folder is open by a handle or was
    /// moved meanwhile. All is written, but nothing of it is kept or served:
    /// the store finds files by their paths.
    pub astray: bool,
}

/// A fetch under way. Dropped before its end, it stops; what has come stays staged.
pub struct Get {
    peer: Peer,
    job: peerage_engine::JobId,
    root: Cid,
    options: GetOptions,
    export: Arc<Export>,
    events: mpsc::UnboundedReceiver<JobEvent>,
    tick: Interval,
    began: Instant,
    serving: Option<Serving>,
    served: Option<ServedRoot>,
    last: Option<JobProgress>,
    done: bool,
}

impl Peer {
    /// Fetches everything below `root`.
    ///
    /// # Errors
    /// The destination cannot be written to, or is being fetched to already.
    pub async fn get(&self, root: Cid, mut options: GetOptions) -> Result<Get, GetError> {
        let destination = Destination {
            path: options.dest.clone(),
            folder: options.folder.take(),
            overwrite: options.overwrite,
            unsafe_symlinks: options.unsafe_symlinks,
        };
        let export = Arc::new(self.prepare(root, destination).await?);
        // A file is served by its path once it is whole.
        options.serve &= export.path_leads_here();
        let (sender, events) = mpsc::unbounded_channel();
        let job = self.next_job();
        let serving =
            options.serve.then(|| self.inner().served.serve(root, Blocks::Growing(Arc::clone(export.set()))));
        self.tell(Input::Fetch {
            job,
            root,
            sources: options.sources.clone(),
            export: Arc::clone(&export),
            swarm: options.serve,
            order: options.order,
            events: sender,
        });
        let mut tick = interval(PROGRESS);
        tick.reset();
        Ok(Get {
            peer: self.clone(),
            job,
            root,
            options,
            export,
            events,
            tick,
            began: Instant::now(),
            serving,
            served: None,
            last: None,
            done: false,
        })
    }

    /// Takes the staging entry. A fetch of ours to the same place that has just
    /// ended may hold it until its last write is done.
    async fn prepare(&self, root: Cid, destination: Destination) -> Result<Export, GetError> {
        let mut patience = RELEASE_TRIES;
        loop {
            let (claims, destination) = (self.inner().claims.clone(), destination.clone());
            let export = self.inner().pool.run(move || Export::new(claims, &root, destination)).await;
            match export.ok_or(GetError::Stopped)? {
                Err(ExportError::Busy { pid, .. }) if pid == std::process::id() && patience > 0 => {
                    patience -= 1;
                    sleep(RELEASE_PAUSE).await;
                }
                result => return Ok(result?),
            }
        }
    }
}

impl Get {
    /// What happens next; `None` after the end.
    ///
    /// # Errors
    /// The fetch has failed; what has come stays staged for the next try.
    pub async fn next_event(&mut self) -> Result<Option<GetEvent>, GetError> {
        if self.done {
            return Ok(None);
        }
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(JobEvent::Finished(progress)) => return self.finish(progress).await.map(|done| Some(GetEvent::Done(done))),
                    Some(JobEvent::Failed(error)) => return Err(error.into()),
                    Some(JobEvent::Broken(error)) => return Err(error.into()),
                    Some(JobEvent::Block(..)) => {}
                    None => return Err(GetError::Stopped),
                },
                _ = self.tick.tick() => {
                    let job = self.job;
                    let progress = self.peer.ask(|reply| Input::Progress { job, reply }).await.flatten();
                    if let Some(progress) = progress.filter(|progress| self.last.as_ref() != Some(progress)) {
                        self.last = Some(progress.clone());
                        return Ok(Some(GetEvent::Progress(progress)));
                    }
                }
            }
        }
    }

    async fn finish(&mut self, progress: JobProgress) -> Result<Done, GetError> {
        let (export, kept) = (Arc::clone(&self.export), Arc::clone(&self.peer.inner().kept));
        let held = progress.fetch.held;
        let name = self.options.dest.file_name().map(|name| name.to_string_lossy().into_owned());
        let root = self.options.keep.then(|| Root {
            cid: self.root,
            kind: RootKind::Kept,
            path: Some(self.options.dest.clone()),
            name: name.unwrap_or_default(),
            announce: false,
            keep: true,
            size: held,
            tree: None,
            added: unix_now(),
        });
        // The root is on the disk together with what it is about.
        let completed = self.peer.inner().pool.run(move || {
            export.complete(&|tree| {
                let Some(root) = &root else { return Ok(()) };
                let root = Root { tree: Some(tree), ..root.clone() };
                kept.change(|store| replace_root(store, &root, export.set())).map(drop)
            })
        });
        let Finished { unsafe_links, tree } = completed.await.ok_or(GetError::Stopped)??;
        let astray = tree.is_none();
        if self.options.serve && !astray {
            let blocks = Blocks::Growing(Arc::clone(self.export.set()));
            self.served = Some(self.peer.serve(self.root, blocks, held, None));
        }
        self.serving = None;
        self.done = true;
        Ok(Done {
            cid: self.root,
            path: self.options.dest.clone(),
            took: self.began.elapsed(),
            progress,
            unsafe_links,
            astray,
        })
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        self.peer.tell(Input::Cancel { job: self.job });
        let (store, export) = (self.peer.inner().store.clone(), Arc::clone(&self.export));
        self.peer.inner().pool.post(move || {
            drop(export);
            drop(store.commit(Durability::Buffered));
        });
    }
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
