//! Opens connections.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use peerage_engine::{DIAL_ADDRS_MAX, DialFailure, DialId};
use peerage_identity::{Multiaddr, PeerId, Protocol, Scope};
use peerage_transport::dns::{self, SystemResolver};
use peerage_transport::{Connection, Control, Role, tcp, upgrade};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Net, connection};
use crate::brain::Input;

/// Reads the system's configuration when the first name is looked up.
static RESOLVER: LazyLock<SystemResolver> = LazyLock::new(SystemResolver::new);

/// All of one attempt: resolving, connecting, handshakes, over all addresses.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an address is alone before the next one is tried as well (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one attempt that are tried at once: a peer that is there answers at one
/// of the first, and addresses that lead nowhere hold a socket for 15 s.
const AT_ONCE: usize = 6;

/// TCP connections being made, over all attempts; the rest waits. Each is a file
/// descriptor, of which a process often has 1,024, and other things need some
/// (go-libp2p: 160).
pub(crate) const SOCKETS_MAX: usize = 192;

/// Why nobody could be reached; for the user. Each says at which address.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address was given.
    #[error("no address to dial")]
    NoAddr,
    /// A name does not resolve.
    #[error(transparent)]
    Resolve(#[from] dns::ResolveError),
    /// No TCP connection came about.
    #[error(transparent)]
    Tcp(#[from] tcp::DialError),
    /// The handshake failed, or someone else answered.
    #[error("{addr}: {source}")]
    Upgrade {
        /// The address.
        addr: Multiaddr,
        /// Why.
        source: peerage_transport::UpgradeError,
    },
    /// It all took too long.
    #[error("no answer from {} within {LIMIT:?}", list(.0))]
    Timeout(Vec<Multiaddr>),
    /// Each of several addresses failed in its own way.
    #[error("{}", list(.0))]
    Several(Vec<DialError>),
}

impl DialError {
    /// A host that dropped us may take us a little later, whatever the other
    /// addresses of the peer said.
    fn failure(&self) -> DialFailure {
        match self {
            Self::Upgrade { source, .. } if source.is_dropped() => DialFailure::Dropped,
            Self::Tcp(tcp::DialError::Io { source, .. }) if is_ours(source) => DialFailure::NoRoom,
            Self::Several(errors) => {
                let any = |failure| errors.iter().any(|error| error.failure() == failure);
                let special = [DialFailure::Dropped, DialFailure::NoRoom];
                special.into_iter().find(|failure| any(*failure)).unwrap_or(DialFailure::Unreachable)
            }
            Self::NoAddr | Self::Resolve(_) | Self::Tcp(_) | Self::Timeout(_) | Self::Upgrade { .. } => {
                DialFailure::Unreachable
            }
        }
    }
}

/// True if an error says nothing of the other host: we have as many files open
/// as we may.
fn is_ours(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NOBUFS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Dials for the engine, and hands the connection to the brain. Names that are
/// not `trusted` may not lead into this machine or its private networks.
pub(crate) async fn dial(
    net: Arc<Net>,
    dial: DialId,
    peer: Option<PeerId>,
    addrs: Vec<Multiaddr>,
    trusted: Vec<Multiaddr>,
) {
    let Err(error) = connect(&net, Some(dial), peer, &addrs, &trusted).await else { return };
    tracing::debug!(?peer, %error, "a dial failed");
    net.tell(Input::DialFailed { dial, failure: error.failure(), why: error.to_string() });
}

/// Connects to whoever of the addresses first answers as `peer`. Without a
/// `dial` of the engine's it is the user's own wish.
pub(crate) async fn connect(
    net: &Arc<Net>,
    dial: Option<DialId>,
    peer: Option<PeerId>,
    addrs: &[Multiaddr],
    trusted: &[Multiaddr],
) -> Result<Control, DialError> {
    let mut attempt = Attempt::new(peer, trusted.to_vec());
    let made = timeout(LIMIT, attempt.run(net, addrs)).await;
    match made {
        Ok(Some((made, addr))) => {
            let control = made.control.clone();
            let which = connection::Made {
                addr: addr.without_peer(),
                local: None,
                dial,
                by_user: dial.is_none(),
                outbound: true,
            };
            tokio::spawn(connection::run(Arc::clone(net), made, which));
            return Ok(control);
        }
        Ok(None) => {}
        Err(_) => attempt.failed.push(DialError::Timeout(attempt.begun)),
    }
    Err(match attempt.failed.len() {
        0 => DialError::NoAddr,
        1 => attempt.failed.remove(0),
        _ => DialError::Several(attempt.failed),
    })
}

type Made = (Connection<TcpStream>, Multiaddr);

/// What one of the tasks of an attempt came to.
enum Step {
    Resolved { name: Multiaddr, addrs: Vec<Multiaddr> },
    Made(Box<Made>),
}

/// One attempt at one peer.
struct Attempt {
    peer: Option<PeerId>,
    /// Addresses without names that are to be tried, in order.
    waiting: VecDeque<Multiaddr>,
    /// Those that were tried or are being tried or resolved.
    begun: Vec<Multiaddr>,
    failed: Vec<DialError>,
    /// Names that may lead to any network.
    trusted: Vec<Multiaddr>,
}

impl Attempt {
    fn new(peer: Option<PeerId>, trusted: Vec<Multiaddr>) -> Self {
        Self { peer, waiting: VecDeque::new(), begun: Vec::new(), failed: Vec::new(), trusted }
    }

    /// Tries the addresses side by side, each a little after the one before it
    /// or when that has failed (as RFC 8305 has it). What names resolve to is
    /// tried like the rest. The first that answers is taken, the others are
    /// dropped; none if all have failed.
    async fn run(&mut self, net: &Arc<Net>, addrs: &[Multiaddr]) -> Option<Made> {
        let mut trying = JoinSet::new();
        for addr in addrs.iter().take(DIAL_ADDRS_MAX).cloned() {
            if addr.dns().is_none() {
                self.waiting.push_back(addr);
                continue;
            }
            self.begun.push(addr.clone());
            trying.spawn(async move {
                let addrs = dns::resolve(&*RESOLVER, &addr).await?;
                Ok(Step::Resolved { name: addr, addrs })
            });
        }
        loop {
            let room = trying.len() < AT_ONCE;
            if let Some(addr) = self.waiting.pop_front_if(|_| room) {
                let (net, peer) = (Arc::clone(net), self.peer.or(addr.peer_id()));
                self.begun.push(addr.clone());
                trying.spawn(async move { establish(&net, peer, addr).await });
            }
            let ended = if self.waiting.is_empty() || trying.len() >= AT_ONCE {
                trying.join_next().await
            } else {
                match timeout(STAGGER, trying.join_next()).await {
                    Ok(ended) => ended,
                    Err(_) => continue,
                }
            };
            match ended {
                Some(Ok(Ok(Step::Made(made)))) => return Some(*made),
                Some(Ok(Ok(Step::Resolved { name, addrs }))) => self.add(name, addrs),
                Some(Ok(Err(error))) => self.failed.push(error),
                Some(Err(error)) => tracing::error!(%error, "a dial panicked"),
                None if self.waiting.is_empty() => return None,
                None => {}
            }
        }
    }

    /// Has what a name resolved to tried, too, but for addresses of other peers.
    fn add(&mut self, name: Multiaddr, mut resolved: Vec<Multiaddr>) {
        resolved.retain(|addr| addr.peer_id().is_none_or(|named| self.peer.is_none_or(|peer| peer == named)));
        // Anyone can give a name an address of ours.
        let trusted = self.trusted.contains(&name);
        resolved.retain(|addr| trusted || matches!(addr.scope(), Scope::Public | Scope::Dns));
        if resolved.is_empty() {
            self.failed.push(dns::ResolveError::NoMatch { addr: name }.into());
        }
        for addr in in_turns(resolved) {
            let tried = self.waiting.len() + self.begun.len();
            if tried < 2 * DIAL_ADDRS_MAX && !self.begun.contains(&addr) && !self.waiting.contains(&addr) {
                self.waiting.push_back(addr);
            }
        }
    }
}

/// IPv6 and IPv4 in turns, as long as there are both: either may lead nowhere.
fn in_turns(addrs: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let is_v6 = |addr: &Multiaddr| matches!(addr.iter().next(), Some(Protocol::Ip6(_)));
    let (v6, v4): (Vec<_>, Vec<_>) = addrs.into_iter().partition(is_v6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let turns =
        std::iter::from_fn(|| Some([v6.next(), v4.next()]).filter(|turn| turn.iter().any(Option::is_some)));
    turns.flatten().flatten().collect()
}

/// One address, as far as a connection whose peer has proved who it is.
async fn establish(net: &Arc<Net>, peer: Option<PeerId>, addr: Multiaddr) -> Result<Step, DialError> {
    let socket = {
        let _place = net.sockets.acquire().await;
        tcp::dial(&addr).await?
    };
    match upgrade(socket, Role::Dialer, &net.keypair, peer, net.transport.clone(), net.inbound.clone()).await
    {
        Ok(made) => Ok(Step::Made(Box::new((made, addr)))),
        Err(source) => Err(DialError::Upgrade { addr, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_resolves_to_is_tried_in_turns_and_only_if_it_is_the_peer() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let ours = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        let other = "QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk";
        let resolved = [
            format!("/ip6/2001:db8::1/tcp/1/p2p/{ours}"),
            String::from("/ip6/2001:db8::2/tcp/1"),
            format!("/ip6/2001:db8::3/tcp/1/p2p/{other}"),
            format!("/ip4/192.0.2.1/tcp/1/p2p/{ours}"),
        ];
        let resolved = resolved.map(|text| parse(&text));
        let mut attempt = Attempt::new(Some(ours.parse().unwrap()), Vec::new());
        let name = parse("/dnsaddr/a.example");
        attempt.add(name.clone(), resolved.to_vec());
        attempt.add(name.clone(), resolved.to_vec());
        let [first, second, _, fourth] = &resolved;
        assert_eq!(attempt.waiting, [first.clone(), fourth.clone(), second.clone()]);
        assert!(attempt.failed.is_empty());
        attempt.add(name, vec![resolved[2].clone()]);
        assert_eq!(attempt.failed.len(), 1, "nobody there is the peer");
        let inside = parse("/ip4/10.0.0.1/tcp/1");
        attempt.add(parse("/dnsaddr/b.example"), vec![inside.clone()]);
        assert_eq!(attempt.failed.len(), 2, "a stranger's name leads into our network");
        let mut attempt = Attempt::new(None, vec![parse("/dnsaddr/b.example")]);
        attempt.add(parse("/dnsaddr/b.example"), vec![inside.clone()]);
        assert_eq!(attempt.waiting, [inside], "the user's own name may");
    }

    #[test]
    fn an_error_names_every_address() {
        let addr: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let late = DialError::Timeout(vec![addr.clone()]);
        let upgrade = peerage_transport::UpgradeError::Timeout(LIMIT);
        let said = DialError::Several(vec![DialError::Upgrade { addr, source: upgrade }, late]).to_string();
        assert_eq!(said.matches("/ip4/192.0.2.1/tcp/1").count(), 2, "{said}");
    }
}
