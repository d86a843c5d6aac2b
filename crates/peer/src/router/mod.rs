//! HTTP routers: who provides a CID, and where a peer is, asked of a server.
//!
//! IPFS specs `routing/http-routing-v1.md`, as a client of `/providers` and
//! `/peers`. `records.rs` reads answers, `http.rs` asks, `pace.rs` says when. What comes out are
//! claims of the router: a connection proves the peer, a hash the content.
//! Left out on purpose: IPNS, publishing, and a connection that is kept.
//!
//! ```no_run
//! # async fn example(cid: peerage_content::Cid) -> Result<(), Box<dyn std::error::Error>> {
//! use peerage_peer::router::Router;
//!
//! let router = Router::new("https://delegated-ipfs.dev")?;
//! let mut answers = router.providers(&cid);
//! while let Some(found) = answers.next().await {
//!     let found = found?;
//!     println!("{} at {:?}", found.peer, found.addrs);
//! }
//! # Ok(())
//! # }
//! ```

pub(crate) mod http;
mod json;
mod pace;
pub(crate) mod records;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use multibase::Base;
use peerage_content::Cid;
use peerage_identity::{PeerId, Scope};
use peerage_transport::dns::{LookupError, Resolver, SystemResolver};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;

use self::http::Target;
use self::pace::Pace;
use self::records::{Format, Reader};

pub use self::records::Found;

/// Answers that wait to be taken; then the router's connection waits.
const QUEUE: usize = 16;

/// What one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the question to the end of the answer; what was named by then is
    /// the answer. As boxo's server.
    pub time: Duration,
    /// Bytes of an answer. A judgement: 100 records of 10 KiB.
    pub body: usize,
    /// Peers of an answer, as the spec recommends; more are not read.
    pub records: usize,
    /// Addresses of a peer. A judgement, as for peer records.
    pub addrs: usize,
    /// Characters of an address, or of an id. A judgement: a few hundred occur.
    pub addr_len: usize,
    /// Protocols of a peer, and bytes of one. Judgements.
    pub protocols: usize,
    /// See `protocols`.
    pub protocol_len: usize,
    /// Redirects that are followed. A judgement.
    pub redirects: usize,
    /// Requests at a time; others wait. A judgement: routers limit rates.
    pub requests: usize,
    /// How long a router is left alone that failed; twice as long for each
    /// further failure. Judgements, as the next two.
    pub first_pause: Duration,
    /// The longest of these pauses.
    pub max_pause: Duration,
    /// The longest time that a router can ask to be left alone.
    pub max_retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30),
            body: 1 << 20,
            records: 100,
            addrs: 32,
            addr_len: 1024,
            protocols: 16,
            protocol_len: 64,
            redirects: 3,
            requests: 8,
            first_pause: Duration::from_secs(5),
            max_pause: Duration::from_secs(600),
            max_retry_after: Duration::from_secs(3600),
        }
    }
}

/// Why a URL is none of a router: the user's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("not a URL of a router, such as https://example.com")]
    Malformed,
    /// Neither `http` nor `https`.
    #[error("a router's URL begins with https:// or http://")]
    Scheme,
    /// It names a user.
    #[error("a router's URL with a user name or password is not supported")]
    Credentials,
}

/// Why a router did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// Its name leads nowhere: the name's fault, or our name server's.
    #[error("the router's name: {0}")]
    Resolve(LookupError),
    /// No connection: the network's fault, or the router is down.
    #[error("cannot connect to the router: {0}")]
    Connect(std::io::ErrorKind),
    /// No agreement on keys: the router's certificate is not valid, or
    /// somebody is between.
    #[error("the router's TLS: {0}")]
    Tls(String),
    /// It did not speak HTTP, or ended too early: the router's fault.
    #[error("the router broke off: {0}")]
    Http(String),
    /// [`Limits::time`] has passed, and it named nobody: the router's fault,
    /// or the network's.
    #[error("the router took longer than {0:?}")]
    TimedOut(Duration),
    /// Our question was refused (4xx), or it failed (5xx).
    #[error("the router answered with status {0}")]
    Status(u16),
    /// We ask too much.
    #[error("the router wants fewer questions")]
    RateLimited {
        /// When it would take the next.
        after: Option<Duration>,
    },
    /// It failed or was asked too much a while ago, and was not asked now.
    #[error("the router is left alone for another {0:?}")]
    Paused(Duration),
    /// It sends us where we do not go: to an address further inside than its
    /// own, from TLS to none, or to what is no URL. The router's fault.
    #[error("the router redirects to {0:?}")]
    Redirect(String),
    /// Too many redirects: the router's fault.
    #[error("the router redirects more than {0} times")]
    Redirects(usize),
    /// Neither JSON nor lines of it: the router's fault, or it is no router.
    #[error("the router answered with {0:?} where JSON belongs")]
    WrongType(String),
    /// More than [`Limits::body`]: the router's fault.
    #[error("the router's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Not JSON: the router's fault.
    #[error("the router's answer is not JSON, at line {line}, column {column}")]
    Malformed {
        /// Of the answer, or of the line that it is in; from 1.
        line: usize,
        /// From 1; 0 at the beginning.
        column: usize,
    },
}

/// A router, and what is asked of it. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    base: Target,
    limits: Limits,
    resolver: Arc<dyn Resolver>,
    tls: Arc<ClientConfig>,
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// Its URL.
impl std::fmt::Display for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.base.fmt(f)
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("base", &self.inner.base).finish_non_exhaustive()
    }
}

impl Router {
    /// The router at `url`, to which `/routing/v1/..` is added. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Self::with(url, Limits::default(), Arc::new(SystemResolver::new()))
    }

    /// The same with limits and a resolver of names.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn with(url: &str, limits: Limits, resolver: Arc<dyn Resolver>) -> Result<Self, UrlError> {
        let base = Target::parse(url)?;
        let places = Arc::new(Semaphore::new(limits.requests));
        let (tls, pace) = (http::tls_config(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { base, limits, resolver, tls, places, pace }) })
    }

    /// Asks who provides `cid`. Call within a runtime.
    #[must_use]
    pub fn providers(&self, cid: &Cid) -> Answers {
        self.ask(&format!("/routing/v1/providers/{cid}"))
    }

    /// Asks where `peer` is. Call within a runtime.
    #[must_use]
    pub fn peers(&self, peer: PeerId) -> Answers {
        let text = peer.to_cid_text();
        let bytes = multibase::decode(text).map(|(_, bytes)| bytes).unwrap_or_default();
        self.ask(&format!("/routing/v1/peers/{}", multibase::encode(Base::Base36Lower, bytes)))
    }

    fn ask(&self, path: &str) -> Answers {
        let (sender, answers) = mpsc::channel(QUEUE);
        let (inner, target) = (Arc::clone(&self.inner), self.inner.base.join(path));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let Ok(_place) = Arc::clone(&inner.places).acquire_owned().await else { return };
            if let Err(error) = inner.ask(target, &sender).await {
                // Whoever does not listen any more needs not know.
                let _ = sender.send(Err(error)).await;
            }
        });
        Answers { answers, _task: task }
    }
}

impl Inner {
    /// Asks, unless it is too early for that.
    async fn ask(
        &self,
        target: Target,
        sender: &mpsc::Sender<Result<Found, RouterError>>,
    ) -> Result<(), RouterError> {
        let (asked, limit) = (Instant::now(), self.limits.time);
        if let Some(wait) = self.pace().wait(asked) {
            return Err(RouterError::Paused(wait));
        }
        let mut named = false;
        let result = match timeout(limit, self.fetch(target, sender, &mut named)).await {
            Ok(result) => result,
            // It would look on for longer than we wait: an answer all the same.
            Err(_) if named => Ok(()),
            Err(_) => Err(RouterError::TimedOut(limit)),
        };
        match &result {
            Ok(()) => self.pace().answered(asked),
            Err(error) => self.pace().failed(error, asked, Instant::now(), &self.limits),
        }
        result
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets `named` once the answer has named a peer.
    async fn fetch(
        &self,
        target: Target,
        sender: &mpsc::Sender<Result<Found, RouterError>>,
        named: &mut bool,
    ) -> Result<(), RouterError> {
        let http::Answer { mut response, scope, driver: _driver } =
            http::get(target, self.resolver.as_ref(), &self.tls, &self.limits).await?;
        match response.status() {
            StatusCode::OK => {}
            // The spec's older form of "nobody".
            StatusCode::NOT_FOUND => return Ok(()),
            _ => return Err(http::refused(&response)),
        }
        let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        let kind: String = String::from_utf8_lossy(kind).chars().take(100).collect();
        let format = Format::of(&kind).ok_or(RouterError::WrongType(kind))?;
        let mut reader = Reader::new(format, self.limits);
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(|error| RouterError::Http(error.to_string()))?;
            let Some(bytes) = frame.data_ref() else { continue };
            let mut found = Vec::new();
            let read = reader.push(bytes, &mut found);
            *named |= !found.is_empty();
            let heard = tell(found, scope, sender).await;
            read?;
            if !heard || reader.is_full() {
                return Ok(());
            }
        }
        tell(reader.finish()?, scope, sender).await;
        Ok(())
    }
}

/// Passes on what was found; false if nobody listens any more.
async fn tell(found: Vec<Found>, scope: Scope, sender: &mpsc::Sender<Result<Found, RouterError>>) -> bool {
    for mut found in found {
        // A router of the internet knows nothing of this machine or network.
        found.addrs.retain(|addr| addr.scope() >= scope);
        if sender.send(Ok(found)).await.is_err() {
            return false;
        }
    }
    true
}

/// The peers that a router names, as they come. Dropped, the request ends.
#[derive(Debug)]
pub struct Answers {
    answers: mpsc::Receiver<Result<Found, RouterError>>,
    _task: JoinSet<()>,
}

impl Answers {
    /// The next peer; none at the end. An error is the last that comes; what
    /// came before it holds.
    pub async fn next(&mut self) -> Option<Result<Found, RouterError>> {
        self.answers.recv().await
    }
}

#[cfg(test)]
mod tests;
