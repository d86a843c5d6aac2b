//! A command from its request to its end: by this process, if it can own the
//! repository, else through the owner; and by this process after all when the
//! owner ends first (ARCHITECTURE, who owns the repository).

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::api::{Event, Failure, Kind, Network, Request};
use crate::backend::{Backend, Cancel, Sink};
use crate::render::Output;
use crate::story::Story;

/// How long an interrupted command may take to end in order. 600 ms: the whole
/// program is to be gone within a second.
const ENDING_TIME: Duration = Duration::from_millis(600);

/// How long closing the repository may take then. What is not flushed by then
/// is found again at the next start.
const CLOSING_TIME: Duration = Duration::from_millis(250);

/// How often a repository is tried whose owner does not answer.
#[cfg(unix)]
const RETRY: Duration = Duration::from_millis(50);

/// How long. 10 s: an owner that ends flushes its store, one that starts
/// opens it.
#[cfg(unix)]
const RETRY_TIME: Duration = Duration::from_secs(10);

/// Takes ownership of repositories.
pub(crate) trait Opener {
    type Owned: Owned;

    /// Opens `repo` and starts a peer on it, as `flags` say, and where they
    /// say nothing, the environment. `request` is what it is opened for.
    async fn open(&self, repo: &Path, flags: &Network, request: &Request) -> Result<Self::Owned, OpenError>;
}

/// A repository that this process owns, with its peer.
pub(crate) trait Owned {
    type Backend: Backend;

    fn backend(&self) -> std::sync::Arc<Self::Backend>;

    /// Where it listens, with the ports that it got: whoever owns the
    /// repository next can listen there.
    fn listen(&self) -> Vec<String>;

    /// What it was started with: flags, completed by the environment.
    fn network(&self) -> Network;

    /// Ends the peer and gives the repository back.
    async fn close(self);
}

/// Why a repository could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another process has it.
    Held {
        pid: Option<u32>,
        /// Its command line, not safe to print.
        command: String,
    },
    Failed(Failure),
}

/// What every step needs.
pub(crate) struct Execution<'a, O> {
    pub(crate) opener: &'a O,
    pub(crate) repo: &'a Path,
    /// Those of this command line.
    pub(crate) flags: Network,
    pub(crate) output: &'a Output,
    pub(crate) cancel: Cancel,
}

impl<O: Opener> Execution<'_, O> {
    /// Does what `request` asks.
    pub(crate) async fn run(self, request: Request) -> Result<(), Failure> {
        let mut story = Story::new(request);
        // Where an owner listened that ended is where this process goes on.
        let mut flags = self.flags.clone();
        let mut taken_over = false;
        #[cfg(unix)]
        let (mut silent_since, mut agreed) = (None, false);
        loop {
            let held = match self.opener.open(self.repo, &flags, story.request()).await {
                Ok(owned) => return self.own(owned, story).await,
                Err(OpenError::Failed(failure)) if taken_over && failure.kind == Kind::Network => {
                    // An address of the owner's that is gone or taken ends nothing.
                    (flags, taken_over) = (self.flags.clone(), false);
                    continue;
                }
                Err(OpenError::Failed(failure)) => return Err(failure),
                Err(OpenError::Held { pid, command }) => (pid, command),
            };
            #[cfg(not(unix))]
            return Err(owned_by(held, "commands cannot go through it on this system"));
            #[cfg(unix)]
            match self.attach(&mut story, &mut agreed).await {
                Step::Done(result) => return result,
                Step::TakeOver { listen } => {
                    silent_since = None;
                    if !listen.is_empty() {
                        flags.listen = listen;
                        taken_over = true;
                    }
                }
                Step::Nobody(error) => {
                    let since = *silent_since.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() > RETRY_TIME {
                        return Err(owned_by(held, &error));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = self.cancel.cancelled() => return story.interrupted(),
                    }
                }
            }
        }
    }

    /// Executes the request here, and those of others meanwhile.
    async fn own(&self, owned: O::Owned, mut story: Story) -> Result<(), Failure> {
        // Opened just to say how it stands, it listens nowhere: whoever comes waits until it is gone.
        #[cfg(unix)]
        let server = if story.request().is_about_owner() { None } else { self.serve(&owned) };
        let (sink, events) = Sink::new();
        let backend = owned.backend();
        let result = {
            let work = backend.run(story.next_request(), sink, self.cancel.clone());
            self.follow(work, events, &mut story).await
        };
        let result = result.and_then(|done| done.unwrap_or_else(|| story.interrupted()));
        drop(backend);
        let close = async {
            #[cfg(unix)]
            if let Some((end, task)) = server {
                end.cancel();
                drop(task.await);
            }
            owned.close().await;
        };
        // The user may also lose patience while it closes.
        let too_late = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(CLOSING_TIME).await;
        };
        tokio::select! {
            () = close => {}
            () = too_late => {}
        }
        result
    }

    #[cfg(unix)]
    fn serve(&self, owned: &O::Owned) -> Option<(crate::backend::Canceller, tokio::task::JoinHandle<()>)> {
        use crate::control::{PROTOCOL, Server, Welcome};
        let server = match Server::bind(self.repo) {
            Ok(server) => server,
            Err(error) => {
                // Only others are worse off; they name us in their error.
                tracing::warn!(%error, "cannot listen at the control socket");
                return None;
            }
        };
        let welcome = Welcome {
            protocol: PROTOCOL,
            pid: std::process::id(),
            listen: owned.listen(),
            network: owned.network(),
        };
        let (end, ended) = crate::backend::Canceller::new();
        let task = tokio::spawn(server.run(owned.backend(), welcome, ended));
        Some((end, task))
    }

    /// Prints the events of `work` until it ends; none if it was interrupted
    /// and did not end in time.
    async fn follow<T>(
        &self,
        work: impl Future<Output = T>,
        mut events: mpsc::Receiver<Event>,
        story: &mut Story,
    ) -> Result<Option<T>, Failure> {
        let stops_unread = story.request().is_for_reading();
        let print = async {
            while let Some(event) = events.recv().await {
                if let Some(event) = story.tell(event) {
                    self.output.push(event).await;
                }
            }
        };
        let both = async {
            let (result, ()) = tokio::join!(work, print);
            result
        };
        let too_late = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(ENDING_TIME).await;
        };
        tokio::select! {
            result = both => Ok(Some(result)),
            () = too_late => Ok(None),
            failure = self.output.broken(), if stops_unread => Err(failure),
        }
    }

    /// Has the owner execute the request. An owner after the first one took
    /// over from whom our flags agreed with.
    #[cfg(unix)]
    async fn attach(&self, story: &mut Story, agreed: &mut bool) -> Step {
        use crate::control::{Attached, ConnectError, Outcome};
        let attached = match Attached::connect(self.repo).await {
            Ok(attached) => attached,
            Err(ConnectError::Refused(failure)) => return Step::Done(Err(failure)),
            Err(error @ (ConnectError::Nobody(_) | ConnectError::Unusable(_))) => {
                return Step::Nobody(error.to_string());
            }
        };
        if !*agreed && let Err(failure) = attached.welcome.agrees_with(&self.flags) {
            return Step::Done(Err(failure));
        }
        *agreed = true;
        let listen = attached.welcome.listen.clone();
        let (sink, events) = Sink::new();
        let (request, cancel) = (story.next_request(), self.cancel.clone());
        let work = async move { attached.run(request, &sink, &cancel).await };
        match self.follow(work, events, story).await {
            Ok(Some(Outcome::Finished(result))) => Step::Done(result),
            Ok(None) => Step::Done(story.interrupted()),
            Ok(Some(Outcome::OwnerEnded)) if self.cancel.is_cancelled() => Step::Done(story.interrupted()),
            Ok(Some(Outcome::OwnerEnded)) => {
                if let Some(notice) = story.take_over() {
                    self.output.push(notice).await;
                }
                Step::TakeOver { listen }
            }
            Err(failure) => Step::Done(Err(failure)),
        }
    }
}

/// What came of going through the owner.
#[cfg(unix)]
enum Step {
    Done(Result<(), Failure>),
    /// The owner ended, which listened there.
    TakeOver {
        listen: Vec<String>,
    },
    /// It does not answer, or not yet.
    Nobody(String),
}

fn owned_by((pid, command): (Option<u32>, String), why: &str) -> Failure {
    let command = peerage_content::name::escape(&command);
    let owner = match pid {
        Some(pid) => format!("process {pid} ({command})"),
        None => "another process".to_owned(),
    };
    Failure::new(
        Kind::Owned,
        format!("{owner} owns this repository, and {why}: end it, or use another repository with --repo DIR"),
    )
}
