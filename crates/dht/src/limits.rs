//! Every limit of this crate: name, unit, default and reason, in one place.
//!
//! Constants are what the protocol or deployed peers fix, or what bounds a
//! stranger's message; [`Config`] holds what an owner may want to change.
//! "go" is go-libp2p-kad-dht with go-libp2p-kbucket and go-libp2p-record.

use std::sync::Arc;
use std::time::Duration;

use peerage_identity::Multiaddr;

use crate::values::Validator;

/// Protocol id of the DHT of the public network.
pub const PROTOCOL_WAN: &str = "/ipfs/kad/1.0.0";

/// Protocol id of the DHT of a local network.
pub const PROTOCOL_LAN: &str = "/ipfs/lan/kad/1.0.0";

/// Largest request read, in bytes. A record has at most 10 KiB and go cuts a
/// peer's addresses at 8 KiB; nobody has reason to ask with more.
pub const REQUEST_MAX: usize = 64 * 1024;

/// Largest response read, in bytes (go `network.MessageSizeMax`): popular keys
/// have hundreds of providers with up to 8 KiB of addresses each.
pub const RESPONSE_MAX: usize = 4 * 1024 * 1024;

/// Largest response sent, in bytes: the most that rust-libp2p reads by default,
/// which refuses all of what is larger.
pub const RESPONSE_SENT_MAX: usize = 16 * 1024 - 64;

/// Most protobuf fields of one message and its peers together, counted before
/// any is decoded, and after all but [`PROVIDER_PEERS_MAX`] providers were left
/// out. 21 peers of 64 addresses are 1,400; 256 providers, 17,000.
pub const MESSAGE_FIELDS_MAX: usize = 32_768;

/// Longest key, in bytes (go: 80 for provider keys). The longest in use is
/// `/ipns/` and a peer id of 44 bytes.
pub const KEY_MAX: usize = 80;

/// Longest value, in bytes (IPNS records: 10 KiB; a public key: 8 KiB).
pub const VALUE_MAX: usize = 10 * 1024;

/// Peers "closer to the key" that are taken from one response. Deployed peers
/// send at most 21 (k and the target itself); who sends more gains nothing.
pub const CLOSER_PEERS_MAX: usize = 21;

/// Providers that are taken from one response. go sends all it has; a getter
/// has no use for more than these from one server.
pub const PROVIDER_PEERS_MAX: usize = 256;

/// Addresses of one peer that are looked at in a message. A judgement: a peer
/// with eight interfaces and every transport has about 60.
pub const ADDRS_READ_MAX: usize = 64;

/// Addresses of one peer that are kept and passed on, after those that do not
/// belong in this DHT were left out.
pub const ADDRS_KEPT_MAX: usize = 16;

/// Bytes of these together (go: 8 KiB). A judgement: an address through a relay has
/// about 90, others 12 to 40.
pub const ADDRS_KEPT_BYTES: usize = 1024;

/// Addresses that one look-up tells of one peer, and of all together, of some 60
/// bytes: who is not where one server says may be where another does.
pub const ADDRS_TOLD_MAX: usize = 64;

/// See [`ADDRS_TOLD_MAX`].
pub const ADDRS_TOLD_IN_ALL: usize = 4_096;

/// Of one candidate of a look-up, namers that are remembered. Whom more have
/// named is not held against any of them.
pub const NAMERS_KEPT: usize = 8;

/// Requests of one look-up to one peer. A judgement: the first address may be a
/// liar's, and who has the second too has spent as much on it as we have.
pub const TRIES_MAX: u8 = 2;

/// Providers that we put into one response, drawn by chance if there are more.
pub const PROVIDERS_ANSWERED: usize = 64;

/// Providers that a look-up takes from one response, drawn by chance if there
/// are more. One liar cannot fill [`PROVIDERS_FOUND_MAX`], nor can twenty. A
/// judgement.
pub const PROVIDERS_TAKEN: usize = 32;

/// Providers that one look-up remembers. When there are as many, those of whom
/// one source alone has told most make room for others, so that the liars of one
/// network do not keep out whom an honest peer names. It tells of [`PROVIDERS_TAKEN`] of each of
/// [`Config::asked_max`] at most.
pub const PROVIDERS_FOUND_MAX: usize = 1024;

/// Peers named by one peer that fail, while none answers, after which the others
/// that it named are not asked. A judgement: if a fifth of all peers is gone,
/// an honest one meets that once in 600 times, and what it named is mostly
/// named by others too.
pub const DISTRUST_AFTER: u32 = 4;

/// Peers that a look-up asked last, of whom none answers, for which our own
/// network may be to blame: nothing is concluded from that. A judgement: if a
/// fifth of all peers is gone, that happens once in 400,000 look-ups, and if
/// half is, once in 256.
pub const SILENT_LAST: u32 = 8;

/// Deepest bucket for which a refresh looks for a target (go: 15): finding one
/// takes `2^(n+1)` hashes, and a table this deep means some million peers.
pub const REFRESH_PREFIX_MAX: usize = 15;

/// Deepest bucket for which each refresh draws a new target; the targets of
/// deeper ones are kept. A judgement: 256 hashes, and beyond it a bucket holds
/// less than one in 256 of all peers.
pub const REFRESH_PREFIX_DRAWN: usize = 7;

/// Which of the two DHTs a machine is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// `/ipfs/kad/1.0.0`: public addresses only.
    Wan,
    /// `/ipfs/lan/kad/1.0.0`: peers that are reached by private addresses.
    Lan,
}

impl Network {
    /// The id under which its protocol is negotiated.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Wan => PROTOCOL_WAN,
            Self::Lan => PROTOCOL_LAN,
        }
    }
}

/// What an owner of the machine may change.
#[derive(Debug, Clone)]
pub struct Config {
    /// The DHT that this machine is in; decides which addresses count.
    pub network: Network,
    /// Takes private and loopback addresses on the WAN too, and exempts them
    /// from the limits on IP groups. For tests on one machine.
    pub private_addresses: bool,
    /// Takes loopback addresses on the LAN: for who listens on loopback.
    pub loopback_addresses: bool,

    /// The addresses that the owner can dial, others being kept and told all the
    /// same: whoever has none of these is asked only while it is connected.
    pub dials: fn(&Multiaddr) -> bool,

    /// `k`: peers in a bucket, in an answer, and that a record is stored at (20
    /// is fixed for the `/ipfs` protocols).
    pub bucket_size: usize,
    /// Peers that wait for a place in a full bucket. A judgement: half of `k`.
    pub replacements: usize,
    /// Peers of one IP group in the whole table, on the WAN (go: 3).
    pub table_group_max: usize,
    /// Peers of one IP group in one bucket, on the WAN (go: 2).
    pub bucket_group_max: usize,
    /// Peers of one IP group that count among the k closest of a look-up, on
    /// the WAN, and that are taken from one answer. A look-up counts so when it
    /// gathers the closest of those it has heard of, to ask them and to end with
    /// them; the walk that comes before looks at distances only, whosever peers
    /// end it. A judgement: as many as in the table.
    pub closest_group_max: usize,
    /// Failures in a row after which a peer leaves the table though nobody fits
    /// its place. One may be our own network's.
    pub failures_max: u32,
    /// How long after one failure another counts. A judgement: a shorter outage of
    /// our own network costs nobody its place.
    pub failures_apart: Duration,
    /// Peers of the table that have answered nothing for so long are asked at
    /// the next refresh whether they are still there.
    pub check_after: Duration,
    /// Such questions in flight; peers that come meanwhile are not asked (go: 256).
    pub checks_max: usize,
    /// Those of them that a refresh asks, at once: a table of hundreds would take
    /// all dials from look-ups that begin meanwhile. A judgement: a quarter of the
    /// dials that an engine has by default.
    pub checks_at_once: usize,
    /// Connected peers whose addresses are known though they are not in the
    /// table, so that who looks for one of them finds it. A judgement: more
    /// than the connections that a peer keeps by default.
    pub contacts_max: usize,

    /// `alpha`: requests that a look-up has in flight while it walks (go: 10).
    pub parallelism: usize,
    /// `beta`: the walk ends when so many of the closest peers have answered;
    /// then the rest of the `k` closest are asked at once (go: 3).
    pub resiliency: usize,
    /// Disjoint paths of a look-up (S/Kademlia): each peer is asked on one of
    /// them only. Deployed peers have 1.
    pub paths: usize,
    /// How long an answer is waited for, dialling included (go: 10 s).
    pub request_timeout: Duration,
    /// How long an answer is waited for, at least, before a look-up goes on
    /// without it, if others can be asked or enough have answered. A judgement:
    /// six round trips of 300 ms, for a connection and an answer.
    pub late_min: Duration,
    /// The same before any peer has answered.
    pub late_first: Duration,
    /// How long a look-up may search (go: 60 s in most callers). What it is to
    /// store then goes to the closest that have answered.
    pub lookup_timeout: Duration,
    /// Peers that a look-up remembers though it has not asked them. A judgement:
    /// what fifteen name who have nothing in common.
    pub candidates_max: usize,
    /// Requests of one look-up, all of whose peers are remembered. Ten times `k`
    /// leaves room for many that are gone.
    pub asked_max: usize,
    /// Look-ups that the owner may have running at once.
    pub lookups_max: usize,
    /// Servers that may be told of many blocks at once ([`crate::Dht::announce`]).
    /// Twice what a sweep has by default for new keys and for others.
    pub announcements_max: usize,
    /// Requests that one such server is sent without the last being written. A
    /// judgement: the half of the streams that rust-libp2p takes.
    pub announce_window: usize,
    /// Valid records after which a search for a value ends (boxo namesys: 16);
    /// 0 means that all of the closest peers are asked.
    pub quorum: usize,

    /// How long a provider record is kept, in seconds of unix time (48 h).
    pub provider_validity: u64,
    /// How long the addresses that came with it are (24 h), in the same unit.
    pub provider_addrs_validity: u64,
    /// Providers kept for one key. Of a full one, the one told longest ago goes
    /// first, of those whose IP group has most.
    pub providers_per_key: usize,
    /// Of those, providers of one IP group. A judgement: an eighth, as identities
    /// cost nothing and addresses in eight networks do.
    pub providers_per_key_group: usize,
    /// Provider records kept of one sender. A provider of 1,000,000 CIDs among
    /// 10,000 servers stores 2,000 at each.
    pub providers_per_sender: usize,
    /// Provider records kept of the senders of one IP group. A judgement: a
    /// quarter of all, as much as one of them may have.
    pub providers_per_group: usize,
    /// Provider records kept in all, of about 100 bytes; those whose key is
    /// furthest from us go first.
    pub providers_max: usize,
    /// How long a value is kept, in seconds of unix time (go: 48 h).
    pub value_validity: u64,
    /// Values kept of one sender.
    pub values_per_sender: usize,
    /// Values kept of the senders of one IP group. A judgement: a quarter of all.
    pub values_per_group: usize,
    /// Bytes of these. The same quarter.
    pub values_bytes_per_group: usize,
    /// Values kept in all, of at most [`VALUE_MAX`]: usual ones have 400
    /// bytes. Those whose key is furthest from us go first.
    pub values_max: usize,
    /// Bytes of values kept in all.
    pub values_bytes_max: usize,
    /// Kinds of values beside `/pk` and `/ipns`, which are built in: namespace without
    /// slashes, and what decides which of its values are valid.
    pub validators: Vec<(&'static str, Arc<dyn Validator>)>,
    /// How often records that have expired are removed. They are not given
    /// out in between either.
    pub sweep_interval: Duration,

    /// How often the table is refreshed (go: 10 min).
    pub refresh_interval: Duration,
    /// With fewer peers than this a refresh starts from the bootstrap peers
    /// too, and is repeated earlier (go: 10).
    pub refresh_min_peers: usize,
    /// First pause before a refresh that found few is tried again; doubles
    /// up to [`Config::bootstrap_retry_max`].
    pub bootstrap_retry_min: Duration,
    /// Longest such pause (go: 2 min).
    pub bootstrap_retry_max: Duration,
    /// Bootstrap peers remembered, and as many that failed and left the table.
    pub bootstrap_max: usize,
    /// How long a bootstrap peer is remembered that was only seen near
    /// ([`crate::Dht::suggest`]) and is not seen again. A judgement: what mDNS
    /// sees it also sees leave, but for our own network's changes.
    pub seed_age: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: Network::Wan,
            private_addresses: false,
            loopback_addresses: false,
            dials: |addr| !addr.is_relayed(),
            bucket_size: 20,
            replacements: 10,
            table_group_max: 3,
            bucket_group_max: 2,
            closest_group_max: 3,
            failures_max: 2,
            failures_apart: Duration::from_secs(30),
            check_after: Duration::from_secs(600),
            checks_max: 256,
            checks_at_once: 16,
            contacts_max: 1_024,
            parallelism: 10,
            resiliency: 3,
            paths: 1,
            request_timeout: Duration::from_secs(10),
            late_min: Duration::from_secs(2),
            late_first: Duration::from_secs(3),
            lookup_timeout: Duration::from_secs(60),
            candidates_max: 300,
            asked_max: 200,
            lookups_max: 64,
            announcements_max: 128,
            announce_window: 16,
            quorum: 16,
            provider_validity: 48 * 3600,
            provider_addrs_validity: 24 * 3600,
            providers_per_key: 512,
            providers_per_key_group: 64,
            providers_per_sender: 16_384,
            providers_per_group: 16_384,
            providers_max: 65_536,
            value_validity: 48 * 3600,
            values_per_sender: 64,
            values_per_group: 2_048,
            values_bytes_per_group: 2 << 20,
            values_max: 8_192,
            values_bytes_max: 8 << 20,
            validators: Vec::new(),
            sweep_interval: Duration::from_secs(3600),
            refresh_interval: Duration::from_secs(600),
            refresh_min_peers: 10,
            bootstrap_retry_min: Duration::from_secs(2),
            bootstrap_retry_max: Duration::from_secs(120),
            bootstrap_max: 64,
            seed_age: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// The defaults for a DHT.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, ..Self::default() }
    }
}

/// What an owner of a [`Sweep`](crate::sweep::Sweep) may change.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// How often every key is announced (go: 22 h, of the 48 h that a record
    /// is kept).
    pub interval: Duration,
    /// `k`: servers that are told of a key (20 is fixed for the `/ipfs`
    /// protocols). What [`Config::bucket_size`] is for the look-ups.
    pub replication: usize,
    /// As [`Config::closest_group_max`].
    pub closest_group_max: usize,
    /// As [`Config::asked_max`]: a look-up that asked so many has left some out.
    pub asked_max: usize,
    /// The owner has keys, too, which are not held here; it is asked for the next ones.
    pub listed: bool,
    /// Keys held, of 72 bytes and a third more for the map, and of 32 more each
    /// while it waits to be announced out of turn, which all may. A judgement:
    /// 100 MB, and 45 if all are new.
    pub keys_max: usize,
    /// Keys of the owner's that are new, and as many that failed, that wait to be
    /// announced out of turn. More new ones are not taken; more that failed are
    /// put off until their turn ([`crate::sweep::Stats::put_off`]).
    pub waiting_max: usize,
    /// Keys of one job. A judgement: with 20 servers each, 2 MB; and what a
    /// network of few servers is told at once.
    pub job_keys: usize,
    /// Jobs at once; each has one look-up running at most. One of them is kept
    /// for new keys, and one for those whose turn it is.
    pub jobs_max: usize,
    /// Servers that are told at once, of new keys and of others each (Kubo: 20
    /// connections for each of 16 workers).
    pub servers_max: usize,
    /// How long what a look-up found is used for other keys. A judgement: the
    /// turn of the next region comes in minutes, and in 30 of them a twentieth
    /// of the servers leaves, of 20 one.
    pub reuse_for: Duration,
    /// Parts into which the keyspace is cut at least, as a power of two: in a
    /// network of few servers one look-up is enough for all keys, and still
    /// they are not to be announced all at once.
    pub spread: u32,
    /// How often the calendar is looked at while the next turn is further off: a
    /// machine that slept goes on within that time. A judgement.
    pub clock_check: Duration,
    /// How many times faster than usual who is late goes on. A judgement: after
    /// a day off all is announced again within 6 hours.
    pub catch_up: u32,
    /// First pause after which keys that failed are tried again; doubles.
    pub retry_min: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
    /// First pause after a look-up that found nobody; doubles.
    pub stall_min: Duration,
    /// Longest such pause.
    pub stall_max: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(22 * 3600),
            replication: 20,
            closest_group_max: 3,
            asked_max: 200,
            listed: false,
            keys_max: 1 << 20,
            waiting_max: 1 << 18,
            job_keys: 4096,
            jobs_max: 4,
            servers_max: 32,
            reuse_for: Duration::from_secs(1800),
            spread: 6,
            clock_check: Duration::from_secs(300),
            catch_up: 4,
            retry_min: Duration::from_secs(600),
            retry_max: Duration::from_secs(2 * 3600),
            stall_min: Duration::from_secs(5),
            stall_max: Duration::from_secs(120),
        }
    }
}
