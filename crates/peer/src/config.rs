//! How a peer is set up, and the limits of the shell.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use peerage_exchange::limits::MESSAGE_MAX;
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
    /// What the user lets through; see [`Peer::set_rates`](crate::Peer::set_rates).
    pub rates: Rates,
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
            rates: Rates::default(),
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

/// Least memory that [`Config::fit_memory`] fits into, in bytes. 32 MiB: below it, what
/// the program takes without any budget leaves no room for a largest message each way.
pub const MEMORY_MIN: u64 = 32 << 20;

/// What a process takes without what its budgets allow, in bytes: code, stacks of
/// threads, tables of the store and of the DHTs. A judgement, from measurements.
const MEMORY_BASE: u64 = 20 << 20;

impl Config {
    /// Shrinks the budgets of payload (see the table of credits in ARCHITECTURE.md) so
    /// that the process stays within about so many bytes of memory, which are
    /// [`MEMORY_MIN`] at the least. They never grow.
    pub fn fit_memory(&mut self, bytes: u64) {
        let (engine, exchange, limits) = (&mut self.engine, &mut self.exchange, &mut self.limits);
        let all = engine.fetch_credit + limits.inbound + exchange.send_credit_total + limits.pool;
        let room = bytes.max(MEMORY_MIN) - MEMORY_BASE;
        let part = |budget: u64, least: u64| {
            let scaled = u128::from(budget) * u128::from(room) / u128::from(all.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX).max(least).min(budget)
        };
        engine.fetch_credit = part(engine.fetch_credit, 2 << 20);
        limits.inbound = part(limits.inbound, 4 << 20);
        exchange.send_credit_total = part(exchange.send_credit_total, 2 << 20);
        exchange.send_credit = exchange.send_credit.min(exchange.send_credit_total / 2);
        exchange.window_max = exchange.window_max.min(engine.fetch_credit);
        exchange.window_min = exchange.window_min.min(exchange.window_max);
        exchange.window_initial = exchange.window_initial.min(exchange.window_max);
        // A message of the largest size has to find room.
        limits.pool = part(limits.pool, MESSAGE_MAX as u64);
    }

    /// Keeps to so many connections, those of the DHTs among them.
    pub fn limit_connections(&mut self, most: usize) {
        self.limits.connections = most;
        // Those that nobody needs leave a quarter to those who come.
        let high = most - most / 4;
        self.engine.connections_high = self.engine.connections_high.min(high);
        self.engine.connections_low = self.engine.connections_low.min(high / 2);
    }
}

/// Rates that the user sets, in bytes of blocks a second; `None` is as fast as it goes.
/// They hold within 3 % over any 2 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Sent to all peers together.
    pub up: Option<NonZeroU64>,
    /// Received from all peers together.
    pub down: Option<NonZeroU64>,
    /// Sent to each peer.
    pub up_per_peer: Option<NonZeroU64>,
    /// Received from each peer.
    pub down_per_peer: Option<NonZeroU64>,
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
    /// Payload that may wait for a worker or be under one, in bytes: 16 MiB keeps two
    /// cores of 1.5 GB/s busy for ten milliseconds.
    pub pool: u64,
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
            pool: 16 << 20,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_fit_into_the_memory_and_let_the_largest_message_through() {
        let sum = |config: &Config| {
            let credit = config.engine.fetch_credit + config.exchange.send_credit_total;
            credit + config.limits.inbound + config.limits.pool
        };
        let with = |mib: u64| {
            let mut config = Config::new("unused");
            config.fit_memory(mib << 20);
            config
        };
        assert_eq!(sum(&with(4096)), sum(&Config::new("unused")));
        let mut before = 0;
        for mib in [0, 32, 40, 64, 100, 1000] {
            let config = with(mib);
            let sum = sum(&config);
            assert!(sum >= before && sum <= (mib.max(32) - 18) << 20, "{sum} of {mib} MiB");
            assert!(
                config.limits.pool >= 4 << 20 && config.exchange.window_min <= config.engine.fetch_credit
            );
            before = sum;
        }
    }

    #[test]
    fn few_connections_leave_some_to_who_comes() {
        for most in [1, 2, 8, 1000] {
            let mut config = Config::new("unused");
            config.limit_connections(most);
            let engine = &config.engine;
            assert!(engine.connections_low <= engine.connections_high && engine.connections_high <= most);
            assert_eq!(config.limits.connections, most);
        }
    }
}
