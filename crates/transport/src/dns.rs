//! Names in multiaddrs: `/dns`, `/dns4`, `/dns6` and `/dnsaddr`.
//!
//! multiformats/multiaddr `protocols/DNSADDR.md`. Everything is bounded: how
//! deep names lead to names, how many are looked up, how much comes out.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use peerage_identity::{Multiaddr, Protocol};
use tokio::time::timeout;

use crate::Fault;

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

impl ResolveError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Lookup { source: LookupError::Configuration(_), .. } => Fault::Local,
            _ => Fault::Network,
        }
    }
}

/// What `addr` leads to, names replaced by IP addresses, in the order found
/// and without repeats. An address without a name is returned as it is.
///
/// # Errors
/// If nothing was found; see [`ResolveError`].
pub async fn resolve(resolver: &dyn Resolver, addr: &Multiaddr) -> Result<Vec<Multiaddr>, ResolveError> {
    let search = Search { found: Vec::new(), seen: BTreeSet::new(), queue: VecDeque::new(), error: None };
    match timeout(TIMEOUT, search.run(resolver, addr)).await {
        Ok(result) => result,
        Err(_) => Err(ResolveError::Timeout { addr: addr.clone() }),
    }
}

struct Search {
    found: Vec<Multiaddr>,
    /// Everything found or queued, so that a loop of names ends.
    seen: BTreeSet<Vec<u8>>,
    queue: VecDeque<(Multiaddr, usize)>,
    error: Option<ResolveError>,
}

impl Search {
    async fn run(
        mut self,
        resolver: &dyn Resolver,
        addr: &Multiaddr,
    ) -> Result<Vec<Multiaddr>, ResolveError> {
        self.add(addr.clone(), 0);
        for _ in 0..MAX_LOOKUPS {
            let Some((next, depth)) = self.queue.pop_front() else { break };
            self.look_up(resolver, &next, depth).await;
        }
        if self.found.is_empty() {
            return Err(self.error.unwrap_or_else(|| ResolveError::NoMatch { addr: addr.clone() }));
        }
        Ok(self.found)
    }

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

    async fn look_up(&mut self, resolver: &dyn Resolver, addr: &Multiaddr, depth: usize) {
        let Some(protocol) = addr.dns() else { return };
        match protocol {
            Protocol::Dnsaddr(name) => {
                let name = format!("_dnsaddr.{name}");
                match resolver.lookup_txt(&name).await {
                    Ok(records) => {
                        for record in records {
                            if let Some(target) = dnsaddr_target(&record, addr) {
                                self.add(target, depth + 1);
                            }
                        }
                    }
                    Err(source) => self.error = Some(ResolveError::Lookup { name, source }),
                }
            }
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                let wanted = |ip: &IpAddr| match protocol {
                    Protocol::Dns4(_) => ip.is_ipv4(),
                    Protocol::Dns6(_) => ip.is_ipv6(),
                    _ => true,
                };
                match resolver.lookup_ips(name).await {
                    Ok(ips) => {
                        for ip in ips.into_iter().filter(wanted) {
                            self.add(addr.with_resolved(ip), depth);
                        }
                    }
                    Err(source) => {
                        self.error = Some(ResolveError::Lookup { name: name.to_owned(), source });
                    }
                }
            }
            _ => {}
        }
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
/// name is looked up.
///
/// `localhost` is never asked for. Hosts files count; other sources of names
/// that the system's own resolver may know (mDNS, directories) do not: that
/// one blocks a thread for as long as it likes, also when the program ends.
#[derive(Default)]
pub struct SystemResolver {
    inner: OnceLock<Result<TokioResolver, String>>,
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
        Self::default()
    }

    fn inner(&self) -> Result<&TokioResolver, LookupError> {
        self.inner
            .get_or_init(|| {
                let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
                builder.build().map_err(|error| error.to_string())
            })
            .as_ref()
            .map_err(|error| LookupError::Configuration(error.clone()))
    }
}

impl Resolver for SystemResolver {
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(async move {
            if is_localhost(name) {
                return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
            }
            let found = self
                .inner()?
                .lookup_ip(name)
                .await
                .map_err(|error| LookupError::Server(error.to_string()))?;
            some(found.iter().collect())
        })
    }

    fn lookup_txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move {
            let found = self
                .inner()?
                .txt_lookup(name)
                .await
                .map_err(|error| LookupError::Server(error.to_string()))?;
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
