//! Names in multiaddrs: `/dns`, `/dns4`, `/dns6` and `/dnsaddr`.
//!
//! multiformats/multiaddr `protocols/DNSADDR.md`. Everything is bounded: how
//! deep names lead to names, how many are looked up, how much comes out.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use peerage_identity::{Multiaddr, Protocol};
use tokio::time::{Instant, timeout_at};

/// How deep `/dnsaddr` records may lead to further names. The public
/// network's bootstrap list needs two.
pub const MAX_DEPTH: usize = 4;
/// Look-ups for one address. A judgement: the bootstrap list needs six.
pub const MAX_LOOKUPS: usize = 16;
/// Addresses that one address may become. go-multiaddr-dns allows 100.
pub const MAX_RESULTS: usize = 64;
/// How long resolving one address may take. A judgement.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A look-up under way.
pub type Lookup<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>, LookupError>> + Send + 'a>>;

/// Answers for names. The real one is [`SystemResolver`].
pub trait Resolver: Send + Sync {
    /// The IP addresses of `name`, of both families.
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr>;
    /// The TXT records of `name`.
    fn lookup_txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String>;
}

/// Why a look-up found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist, or has no such records.
    #[error("no such name")]
    NotFound,
    /// The name server did not answer, or with an error.
    #[error("{0}")]
    Server(String),
    /// The system's configuration of name servers cannot be read.
    #[error("this system's name servers are unknown: {0}")]
    Configuration(String),
}

/// Why an address could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A look-up failed and nothing else was found.
    #[error("cannot resolve {name}: {source}")]
    Lookup {
        /// The name that was looked up.
        name: String,
        /// Why.
        source: LookupError,
    },
    /// The names led to no address that fits the one asked for.
    #[error("{addr} resolves to no matching address")]
    NoMatch {
        /// What was to be resolved.
        addr: Multiaddr,
    },
    /// It took longer than [`TIMEOUT`].
    #[error("{addr} did not resolve within {TIMEOUT:?}")]
    Timeout {
        /// What was to be resolved.
        addr: Multiaddr,
    },
}

/// What `addr` leads to, names replaced by IP addresses, in the order found
/// and without repeats. An address without a name is returned as it is. Names
/// are looked up side by side, so that one that is silent holds up no other;
/// after [`TIMEOUT`] what was found by then counts.
///
/// # Errors
/// If nothing was found; see [`ResolveError`].
pub async fn resolve(resolver: &dyn Resolver, addr: &Multiaddr) -> Result<Vec<Multiaddr>, ResolveError> {
    let deadline = Instant::now() + TIMEOUT;
    let mut search = Search::default();
    search.add(addr.clone(), 0);
    let mut running = Vec::new();
    let mut looked_up = 0;
    let mut error = None;
    loop {
        while looked_up < MAX_LOOKUPS
            && let Some((next, depth)) = search.queue.pop_front()
        {
            looked_up += 1;
            running.push(Box::pin(look_up(resolver, next, depth)));
        }
        if running.is_empty() {
            break;
        }
        match timeout_at(deadline, poll_fn(|cx| poll_first(&mut running, cx))).await {
            Ok(Ok((targets, depth))) => targets.into_iter().for_each(|target| search.add(target, depth)),
            Ok(Err(failed)) => error = Some(failed),
            Err(_) => {
                error = Some(ResolveError::Timeout { addr: addr.clone() });
                break;
            }
        }
    }
    if search.found.is_empty() {
        return Err(error.unwrap_or_else(|| ResolveError::NoMatch { addr: addr.clone() }));
    }
    Ok(search.found)
}

/// The first of `running` that is ready; it is one of them no more.
fn poll_first<F: Future + Unpin>(running: &mut Vec<F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    for at in 0..running.len() {
        if let Poll::Ready(output) = Pin::new(&mut running[at]).poll(cx) {
            running.remove(at);
            return Poll::Ready(output);
        }
    }
    Poll::Pending
}

#[derive(Default)]
struct Search {
    found: Vec<Multiaddr>,
    /// Everything found or queued, so that a loop of names ends.
    seen: BTreeSet<Vec<u8>>,
    queue: VecDeque<(Multiaddr, usize)>,
}

impl Search {
    fn add(&mut self, addr: Multiaddr, depth: usize) {
        let full = self.found.len() + self.queue.len() >= MAX_RESULTS;
        if full || !self.seen.insert(addr.to_bytes()) {
            return;
        }
        if addr.dns().is_none() {
            self.found.push(addr);
        } else if depth < MAX_DEPTH {
            self.queue.push_back((addr, depth));
        }
    }
}

/// What the name in `addr` stands for, and how deep that is.
async fn look_up(
    resolver: &dyn Resolver,
    addr: Multiaddr,
    depth: usize,
) -> Result<(Vec<Multiaddr>, usize), ResolveError> {
    let failed = |name: &str| {
        let name = name.to_owned();
        |source| ResolveError::Lookup { name, source }
    };
    match addr.dns() {
        Some(Protocol::Dnsaddr(name)) => {
            let name = format!("_dnsaddr.{name}");
            let records = resolver.lookup_txt(&name).await.map_err(failed(&name))?;
            Ok((records.iter().filter_map(|record| dnsaddr_target(record, &addr)).collect(), depth + 1))
        }
        Some(protocol @ (Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name))) => {
            let wanted = |ip: &IpAddr| match protocol {
                Protocol::Dns4(_) => ip.is_ipv4(),
                Protocol::Dns6(_) => ip.is_ipv6(),
                _ => true,
            };
            let ips = resolver.lookup_ips(name).await.map_err(failed(name))?;
            Ok((ips.into_iter().filter(wanted).map(|ip| addr.with_resolved(ip)).collect(), depth))
        }
        _ => Ok((Vec::new(), depth)),
    }
}

/// The address in a TXT record, if it is one and ends in what follows the
/// name in `asked` (`/p2p/..` usually).
fn dnsaddr_target(record: &str, asked: &Multiaddr) -> Option<Multiaddr> {
    let target: Multiaddr = record.strip_prefix("dnsaddr=")?.parse().ok()?;
    let want: Vec<_> = asked.iter().skip(1).collect();
    let have: Vec<_> = target.iter().collect();
    have.ends_with(&want).then_some(target)
}

/// The name servers that this system is configured with, read when the first
/// name is looked up, and again when they have changed or failed to answer.
///
/// `localhost` is never asked for. Hosts files count; other sources of names
/// that the system's own resolver may know (mDNS, directories) do not: that
/// one blocks a thread for as long as it likes, also when the program ends.
pub struct SystemResolver {
    inner: Kept<TokioResolver>,
}

impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl SystemResolver {
    /// A resolver that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Kept { source: "/etc/resolv.conf".into(), kept: Mutex::new(None) } }
    }

    fn inner(&self) -> Result<TokioResolver, LookupError> {
        let build = || TokioResolver::builder_tokio()?.build();
        self.inner.or_else(build).map_err(|error| LookupError::Configuration(error.to_string()))
    }

    fn failed(&self, error: &NetError) -> LookupError {
        if error.is_no_records_found() {
            return LookupError::NotFound;
        }
        // The network may be another one by now.
        self.inner.forget();
        LookupError::Server(error.to_string())
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that is made of a file, kept for as long as the file stays the same.
struct Kept<T> {
    source: PathBuf,
    kept: Mutex<Option<(Option<SystemTime>, T)>>,
}

impl<T: Clone> Kept<T> {
    /// What is kept; what `make` makes if there is none. An error is not kept.
    fn or_else<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let changed = fs::metadata(&self.source).and_then(|file| file.modified()).ok();
        let mut kept = self.lock();
        match &*kept {
            Some((when, made)) if *when == changed => Ok(made.clone()),
            _ => {
                let made = make()?;
                *kept = Some((changed, made.clone()));
                Ok(made)
            }
        }
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Option<SystemTime>, T)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for SystemResolver {
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(async move {
            if is_localhost(name) {
                return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
            }
            let found = self.inner()?.lookup_ip(name).await.map_err(|error| self.failed(&error))?;
            some(found.iter().collect())
        })
    }

    fn lookup_txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move {
            let found = self.inner()?.txt_lookup(name).await.map_err(|error| self.failed(&error))?;
            let texts = found.answers().iter().filter_map(|record| match &record.data {
                RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).ok(),
                _ => None,
            });
            some(texts.collect())
        })
    }
}

fn some<T>(found: Vec<T>) -> Result<Vec<T>, LookupError> {
    if found.is_empty() { Err(LookupError::NotFound) } else { Ok(found) }
}

/// RFC 6761: this name and those below it are this machine.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
