//! How a peer is set up, and the limits of the shell.

use std::path::PathBuf;
use std::time::Duration;

use peerage_identity::Multiaddr;

use crate::router::Router;

/// How a peer is set up. [`Config::new`] gives the defaults for a repository.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds the key, the store and the lock. Made at first use.
    pub repo: PathBuf,
    /// What this process calls itself to others who want the repository.
    pub command: String,
    /// Where to listen; port 0 picks a free one. Empty: nowhere, so that only
    /// peers that we dial are spoken with.
    pub listen: Vec<Multiaddr>,
    /// Answer `/perf/1.0.0`, which gives strangers as many bytes as they like.
    pub perf: bool,
    /// Peers to connect to at the start, and to ask for anything.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers of the DHT to begin with, which are asked for nothing else, such as
    /// [`PUBLIC_PEERS`](crate::PUBLIC_PEERS).
    pub seeds: Vec<Multiaddr>,
    /// Meet nobody (`bootstrap`, `seeds`, those that an earlier run knew, the
    /// local network) before [`Peer::join`](crate::Peer::join) is called. Who
    /// knows where we listen is answered all the same.
    pub quiet: bool,
    /// Find and be found on the local network, by mDNS. Not while all
    /// addresses to listen at are loopback ones.
    pub mdns: bool,
    /// Have the home router pass connections on to us as long as we run:
    /// [`Peer::map_ports`](crate::Peer::map_ports) from the start on.
    pub portmap: bool,
    /// Routers to ask for providers and peers (`/routing/v1`).
    pub routers: Vec<Router>,
    /// What identify calls this program.
    pub agent: String,
    /// Limits of the shell.
    pub limits: Limits,
    /// The engine's.
    pub engine: peerage_engine::Config,
    /// Bitswap's.
    pub exchange: peerage_exchange::Config,
    /// The connections'.
    pub transport: peerage_transport::Config,
    /// The store's.
    pub store: peerage_store::Config,
    /// Worker threads; 0 is one a core.
    pub workers: usize,
    /// Stretches every piece of work on the workers to so many times its
    /// length: for tests of slow machines. 1 changes nothing.
    pub worker_slowdown: u32,
}

impl Config {
    /// The defaults, on that repository, listening nowhere.
    #[must_use]
    pub fn new(repo: impl Into<PathBuf>) -> Self {
        Self {
            repo: repo.into(),
            command: String::from("peerage"),
            listen: Vec::new(),
            perf: false,
            bootstrap: Vec::new(),
            seeds: Vec::new(),
            quiet: false,
            mdns: false,
            portmap: false,
            routers: Vec::new(),
            agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
            engine: peerage_engine::Config::default(),
            exchange: peerage_exchange::Config::default(),
            transport: peerage_transport::Config::default(),
            store: peerage_store::Config::default(),
            workers: 0,
            worker_slowdown: 1,
        }
    }
}

/// Limits of the shell. Those of the machines are in their own configurations.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all. Each costs a socket and about 20 KiB; 512 leaves
    /// half of the usual 1,024 open files to everything else.
    pub connections: usize,
    /// Connections that one peer may open, and twice as many with ours: two dials that cross, and some to spare.
    pub connections_per_peer: usize,
    /// Connections from one IPv4 address or IPv6 /64; loopback is exempt.
    pub connections_per_address: usize,
    /// Handshakes that others have begun and not finished.
    pub handshakes: usize,
    /// Unread stream bytes and messages in assembly of all connections, in bytes.
    pub inbound: u64,
    /// Slowest pace at which a message may arrive or be taken, in bytes a second
    /// (boxo assumes 100 kbit/s), after a grace of `message_grace`.
    pub message_pace: u64,
    /// Time that any message may take, however small, and each part of a large
    /// one that we write.
    pub message_grace: Duration,
    /// How long a stream of ours for wants or blocks stays open unused.
    pub stream_idle: Duration,
    /// How long a peer may take to answer identify, ping or swarm.
    pub answer_timeout: Duration,
    /// How often network interfaces are looked at for new addresses.
    pub interfaces: Duration,
    /// Ping streams of one connection that are answered at once (spec: 2).
    pub ping_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_peer: 4,
            connections_per_address: 8,
            handshakes: 64,
            inbound: 32 << 20,
            message_pace: 12_500,
            message_grace: Duration::from_secs(10),
            stream_idle: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(10),
            // As go-libp2p.
            interfaces: Duration::from_secs(5),
            ping_streams: 2,
        }
    }
}

impl Limits {
    /// The time that so many bytes of a message may take on their way.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        self.message_grace + Duration::from_secs(bytes / self.message_pace.max(1))
    }
}
