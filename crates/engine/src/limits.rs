//! Every limit of the engine: its unit, its default and why.

use std::sync::Arc;
use std::time::Duration;

use peerage_dht::Network;
use peerage_identity::Multiaddr;

use crate::addresses::Way;
use crate::reachability::ReachabilityConfig;

/// What bounds the engine. All of it can be set by who embeds it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes wanted, arriving, unverified or unwritten, over all jobs.
    ///
    /// 24 MiB keeps a 10 Gbit/s path of 20 ms busy and leaves room under the
    /// 64 MiB that a getter may take in all (a judgement, measured on loopback).
    pub fetch_credit: u64,
    /// Items of a DAG that are known but not done, of one fetch.
    ///
    /// An item takes about 300 bytes beside its name, and three orders of its
    /// place, 4 bytes a level: 10 MiB for a usual tree. Beyond this, inner nodes are expanded
    /// only when nothing else can be started, so that a file of any size and
    /// a folder of any width are walked in constant memory. A judgement.
    pub frontier_items: usize,
    /// Items of a DAG at which a fetch fails. Only one node after the other is
    /// unfolded beyond `frontier_items`, so that this takes a DAG that is both
    /// deep and wide; `content` walks as many. Some 80 MiB.
    pub frontier_max: usize,
    /// Items that one fetch may ever place: pieces of files, parts of folders,
    /// and entries. A few blocks that name each other make 2^n of them. 16
    /// million are a file of 16 TiB in pieces of 1 MiB. A judgement.
    pub items_max: u64,
    /// Of those, entries of folders: each takes an inode, and the shell
    /// remembers its path by 16 bytes. Four folders of a million files.
    pub entries_max: u64,
    /// Bytes of paths and targets that the shell has to remember to the end of
    /// one fetch: of symlinks, and of folders with mode or time, 64 more for
    /// each. Some 400,000 usual ones.
    pub noted_max: u64,
    /// Blocks wanted, looked for here, or not yet written, of one fetch. Sources are
    /// asked for some of these: a deployed peer holds 960 wants for sure, and getters
    /// that choose among 2 GiB have something to give each other.
    pub live_items: usize,
    /// Files of several blocks that one fetch has begun and not finished, and entries
    /// whose block is on its way and may be such a file: the shell holds each open. 256:
    /// with all connections they are below the usual 1,024 open files.
    pub open_files: usize,
    /// Blocks that are looked for here at once, of one fetch: each found is in
    /// memory until it is placed, 2 MiB at most, whatever its parent claims.
    /// Enough to keep several disks busy.
    pub local_items: usize,
    /// How deep a DAG may be, in nodes below the root. 512: as deep as the other
    /// walks over DAGs go, and deeper than Linux and macOS let most programs make
    /// folders. Depth costs no more memory than width: what lies deep weighs more in
    /// the frontier.
    pub dag_depth: u32,
    /// What an inner node is taken to weigh before it has come, in bytes. A
    /// full file node of 1,024 links is 52 KiB, a folder's shard less.
    pub inner_node_estimate: u64,
    /// The DHTs, and what else is asked for peers.
    pub routing: Routing,
    /// Whether others can dial us, and whom we dial for them.
    pub reachability: ReachabilityConfig,
    /// Dials in flight for one root (libp2p's swarm does 8 a peer).
    pub dials_per_job: usize,
    /// Dials in flight in all; the rest waits. Each is a few sockets, which the
    /// shell bounds, and a handshake. A judgement.
    pub dials: usize,
    /// An attempt that is given up after so long has failed (go-libp2p gives a
    /// TCP connection 5 s).
    pub dial_patience: Duration,
    /// How long a look-up leaves a peer alone that could not be reached; doubles
    /// with each failure up to `pause_max` (go-libp2p's swarm: 5 s).
    pub pause_min: Duration,
    /// Longest such pause (go-libp2p's swarm: 5 min).
    pub pause_max: Duration,
    /// How often an attempt is made again that the other host cut short after
    /// it had accepted it: it is there, and takes only so many in a while
    /// (js-libp2p: 5 a second from one host; Kubo: while it has resources).
    pub dropped_retries: u32,
    /// The pause before the first of these; doubles. Two of them, 1.5 s, are
    /// longer than js-libp2p counts.
    pub dropped_pause: Duration,
    /// Peers remembered that could not be reached: 100 bytes, and 50 for each of
    /// up to 16 addresses that were tried.
    pub pauses: usize,
    /// Peers of which it is remembered where they were reached last, of about 200 bytes.
    pub reached: usize,
    /// Peers whose scores are remembered, of 24 bytes; those who did nothing
    /// for longest are forgotten. A judgement: some times the connections.
    pub scores: usize,
    /// How long it takes until half of a peer's points are forgotten, good or
    /// bad. A judgement: some fetches and look-ups.
    pub score_half_life: Duration,
    /// Points below which a look-up takes a peer's word for less: one more that it
    /// names and that is not there is enough. A judgement: one look-up full of
    /// inventions, lately.
    pub score_doubted: i32,
    /// Points at which a peer that abuses us is not asked any more for `shun_for`.
    /// A judgement: three wrong blocks of whoever has brought no good one.
    pub score_shunned: i32,
    /// How long that is, at the most. The user may still name it.
    pub shun_for: Duration,
    /// Connections beyond which those that nobody needs are closed, those of
    /// least use first, down to `connections_low` of them.
    /// Kubo's default is 96 for these; a judgement: tens do for a table of the
    /// DHT whose peers are dialled when needed.
    pub connections_high: usize,
    /// How many are left then, beside those that somebody needs.
    pub connections_low: usize,
    /// How long a connection is left alone after it began or was of use (Kubo: 20 s).
    pub connection_grace: Duration,
    /// How often connections are counted.
    pub trim_interval: Duration,
    /// Requests of the DHTs that one peer may make at once, and a second
    /// from then on. Deployed peers make tens in a look-up, a sweep of provider
    /// records thousands, which may wait for the next peer. A judgement.
    pub dht_burst: u32,
    /// The same, a second.
    pub dht_rate: u32,
    /// How long a request beyond these waits before it is looked at again; its
    /// stream is not read until then. So few of them that the brain has no work by it.
    pub dht_later: Duration,
    /// Peers beside the hinted ones that a fetch keeps as sources. A judgement: 16
    /// neighbours make a random graph that stays connected under churn.
    pub neighbours: usize,
    /// How long a fetch that has lost its last source searches on.
    pub search_after_loss: Duration,
    /// How long nothing at all may come while sources have not answered: the
    /// time of a 1 MiB block at 4 kB/s. Peers that speak only Bitswap 1.1 never
    /// say that they have not a block.
    pub silence: Duration,
    /// How long what is arriving puts off `silence` without a wanted block coming
    /// of it: the time of a largest message, 4 MiB, at the slowest pace that the
    /// shell allows, 12.5 kB/s after a grace of 10 s.
    pub arriving_max: Duration,
    /// How long after it connected a peer that was not asked for anything may
    /// send blocks that nobody asked for: they were asked for by an earlier process of ours. A
    /// judgement: what a deployed peer has queued, 1,024 blocks, at 25 MB/s.
    pub left_over: Duration,
    /// How long an answer about a root is waited for before a fetch gives up
    /// for want of peers.
    pub swarm_answer: Duration,
    /// Attempts to reach a peer that another one named, before it is forgotten.
    pub learned_tries: u32,
    /// How long such a one is left alone though look-ups go on naming it; then it
    /// is tried once more each time. A judgement: an outage of ours or of its own
    /// is over then, or a few look-ups later.
    pub lost_pause: Duration,
    /// How long nothing may come before a job looks for more sources, though
    /// one seems to have what is wanted. A judgement: a few round trips of a
    /// slow link and the time of a block.
    pub quiet: Duration,
    /// First pause before the DHTs and routers are asked again for a job that
    /// still needs sources; doubles up to `seek_pause_max`.
    pub seek_pause_min: Duration,
    /// Longest such pause.
    pub seek_pause_max: Duration,
    /// Look-ups in one DHT that wait for others to end, when as many run as may
    /// ([`peerage_dht::Config::lookups_max`]). A judgement: more than the jobs
    /// that run at once.
    pub lookups_waiting: usize,
    /// Look-ups of one job for addresses of its providers, at once.
    pub whereabouts: usize,
    /// How long the local network is listened to before a job gives up, or a
    /// look-up ends: its peers answer within 120 ms (RFC 6762, section 6), some
    /// that wake from a sleep within a second or two.
    pub near_silence: Duration,
    /// How long an announcement by the user waits for an address of ours to
    /// tell, while it is not known whether others can reach us. A judgement:
    /// connections, identify and a probe of `AutoNAT`, which may take 15 s.
    pub address_patience: Duration,
    /// Peers of the local network that are remembered.
    pub near_peers: usize,
    /// Peers that one job looks at, hinted ones apart: 300 bytes, and 50 for each
    /// address, of which the hints, the local network and others may each tell
    /// `addrs_per_peer`.
    pub candidates: usize,
    /// Addresses of one peer that a job remembers of each kind of source; an
    /// attempt tries [`crate::DIAL_ADDRS_MAX`] of them.
    pub addrs_per_peer: usize,
    /// First pause before a hinted peer is dialled again; doubles up to `redial_max`.
    pub redial_min: Duration,
    /// Longest pause between dials of a hinted peer.
    pub redial_max: Duration,
    /// How often one peer is asked about one root over the swarm protocol; who
    /// asks us more often is answered as if we knew nothing.
    pub swarm_interval: Duration,
    /// Records in one swarm answer.
    pub swarm_records: usize,
    /// Peers remembered for one root; whoever asked longest ago is forgotten first.
    pub swarm_members: usize,
    /// Records kept over all roots, of at most 1 KiB each.
    pub swarm_listed: usize,
    /// How long a member that did not ask again is passed on.
    pub swarm_member_age: Duration,
    /// Roots for which members are remembered; only roots that we serve are.
    pub swarm_roots: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fetch_credit: 24 << 20,
            frontier_items: 16_384,
            frontier_max: 262_144,
            items_max: 1 << 24,
            entries_max: 1 << 22,
            noted_max: 64 << 20,
            live_items: 2_048,
            open_files: 256,
            local_items: 32,
            dag_depth: 512,
            inner_node_estimate: 64 << 10,
            routing: Routing::default(),
            reachability: ReachabilityConfig::default(),
            dials_per_job: 8,
            dials: 64,
            dial_patience: Duration::from_secs(5),
            pause_min: Duration::from_secs(5),
            pause_max: Duration::from_secs(300),
            dropped_retries: 2,
            dropped_pause: Duration::from_millis(500),
            pauses: 1_024,
            reached: 1_024,
            scores: 256,
            score_half_life: Duration::from_secs(1800),
            score_doubted: -10,
            score_shunned: -50,
            shun_for: Duration::from_secs(600),
            connections_high: 64,
            connections_low: 32,
            connection_grace: Duration::from_secs(20),
            trim_interval: Duration::from_secs(10),
            dht_burst: 512,
            dht_rate: 64,
            dht_later: Duration::from_millis(250),
            neighbours: 16,
            search_after_loss: Duration::from_secs(60),
            silence: Duration::from_secs(300),
            arriving_max: Duration::from_secs(346),
            left_over: Duration::from_secs(10),
            swarm_answer: Duration::from_secs(5),
            learned_tries: 2,
            lost_pause: Duration::from_secs(15),
            quiet: Duration::from_secs(10),
            seek_pause_min: Duration::from_secs(5),
            seek_pause_max: Duration::from_secs(60),
            lookups_waiting: 1_024,
            whereabouts: 4,
            near_silence: Duration::from_secs(2),
            address_patience: Duration::from_secs(30),
            near_peers: 256,
            candidates: 1_024,
            addrs_per_peer: 16,
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(8),
            swarm_interval: Duration::from_secs(10),
            swarm_records: 20,
            swarm_members: 256,
            swarm_listed: 16_384,
            swarm_member_age: Duration::from_secs(120),
            swarm_roots: 1_024,
        }
    }
}

/// Whom to ask for peers.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Whether we take part in the DHTs.
    pub mode: DhtMode,
    /// The public DHT. Engines of one configuration share it: [`Arc::make_mut`]
    /// changes it. What is put in its place has to say what can be dialled.
    pub wan: Arc<peerage_dht::Config>,
    /// That of private networks.
    pub lan: Arc<peerage_dht::Config>,
    /// What we tell in each of them that we have.
    pub sweep: peerage_dht::SweepConfig,
    /// The shell listens to the local network: `handle_discovered`.
    pub near: bool,
    /// There are routers to ask: `Output::AskRouters`.
    pub routers: bool,
}

impl Default for Routing {
    fn default() -> Self {
        let dials = |addr: &Multiaddr| Way::of(addr) == Way::Tcp;
        let dht = |network| Arc::new(peerage_dht::Config { dials, ..peerage_dht::Config::new(network) });
        Self {
            mode: DhtMode::Auto,
            wan: dht(Network::Wan),
            lan: dht(Network::Lan),
            sweep: peerage_dht::SweepConfig::default(),
            near: false,
            routers: false,
        }
    }
}

/// Our part in the DHTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhtMode {
    /// None: nobody is asked or answered.
    Off,
    /// We ask, and answer nobody.
    Client,
    /// We ask and answer.
    Server,
    /// We answer on the local network, and on the public one while we can be
    /// reached from there.
    #[default]
    Auto,
}
