//! Every limit of reachability: its unit, its default and why.

use std::time::Duration;

/// What bounds the probes of our addresses, and the dials that we make for others.
#[derive(Debug, Clone)]
pub struct ReachabilityConfig {
    /// For tests only: private and loopback addresses are tested by peers that
    /// are connected by such addresses, and dialled for them. Off by default:
    /// only public addresses are worth a verdict, and only they are dialled.
    pub private_addresses: bool,
    /// Addresses of ours that are tested; the first that were told win. 16 is
    /// what go-libp2p's AutoNAT v1 dials (`maxPeerAddresses`).
    pub candidates: usize,
    /// Peers in networks of their own (IPv4 /16, IPv6 /32) that must have seen
    /// an IP address of ours before it is worth testing. 4 as go-libp2p
    /// (`observedaddrs.ActivationThresh`), which counts addresses, not networks.
    pub observers: usize,
    /// IP addresses taken from what peers see, those seen by most. go-libp2p
    /// keeps 3 (`maxExternalThinWaistAddrsPerLocalAddr`).
    pub observed_ips: usize,
    /// Networks whose view of us is remembered. A judgement: far more than
    /// `observers`, so that a few liars do not push the others out.
    pub observer_groups: usize,
    /// How long a peer's view counts, also once it is gone. 30 min: go-libp2p's
    /// time for an address of its own that was observed (`OwnObservedAddrTTL`).
    pub observation_age: Duration,
    /// Connected peers that are remembered as servers, beyond any usual number
    /// of connections.
    pub servers: usize,
    /// Probes under way at once. Two, so that one silent server does not hold
    /// up a verdict; go-libp2p has five workers.
    pub probes: usize,
    /// Least time between the beginnings of two probes. A judgement.
    pub probe_gap: Duration,
    /// When a probe without an answer is given up: go-libp2p's server may take
    /// 15 s, and v1's 30 s.
    pub probe_timeout: Duration,
    /// How long one server is left in peace after a probe: 2 min as go-libp2p
    /// (`defaultThrottlePeerDuration`).
    pub server_pause: Duration,
    /// How long a server is left aside that did not answer twice in a row.
    pub server_bench: Duration,
    /// How long a server is not asked that claimed a dial which never came.
    pub liar_bench: Duration,
    /// Failures in a row, of servers in distinct networks while there are as
    /// many, that make an address unreachable. 3 is our judgement: both specs
    /// suggest more than 3, and that heuristics may differ.
    pub failures: u32,
    /// v1 has no proof: so many servers in distinct networks must claim to have
    /// reached an address. 3 is our judgement: the spec suggests more than 3,
    /// go-libp2p believes the first.
    pub vouchers: usize,
    /// Probes in a row without any verdict before `retry_interval` is kept.
    pub useless: u32,
    /// Between attempts while nothing is known and servers are of no use. 5 min
    /// as go-libp2p's back-off (`maxBackoffInterval`).
    pub retry_interval: Duration,
    /// Until the next probe of a reachable address that failed once. A judgement.
    pub doubt_interval: Duration,
    /// Between probes of an address with a verdict, and up to an eighth more.
    /// 1 h as go-libp2p (`highConfidenceAddrProbeInterval`).
    pub refresh_interval: Duration,
    /// How long a verdict lasts that nobody confirms: 5 h as go-libp2p
    /// (`maxProbeResultTTL`).
    pub verdict_age: Duration,
    /// Dials for others in a minute, of v2: 60 as go-libp2p (`serverRPM`).
    pub serve_per_minute: usize,
    /// The same for one peer: 12 as go-libp2p (`serverPerPeerRPM`).
    pub serve_per_peer: usize,
    /// The same for one network (IPv4 /24, IPv6 /48), since identities cost
    /// nothing. A judgement: two busy peers.
    pub serve_per_network: usize,
    /// Of those dials, the ones to another IP address than the asker's in a
    /// minute: 12 as go-libp2p (`serverDialDataRPM`).
    pub serve_with_data: usize,
    /// Dials for others in a minute, of v1: 30 as go-libp2p (`throttleGlobalMax`).
    pub serve_v1_per_minute: usize,
    /// The same for one peer: 3 as go-libp2p (`throttlePeerMax`).
    pub serve_v1_per_peer: usize,
    /// Requests of one peer that are served at once: 2 as go-libp2p
    /// (`maxConcurrentRequestsPerPeer`).
    pub serving_per_peer: usize,
    /// Requests of all peers that are served at once: each is a stream, and
    /// perhaps a dial. A judgement.
    pub serving: usize,
    /// When a dial for another counts as over though nobody said so.
    pub serving_timeout: Duration,
    /// Addresses of one v2 request that are looked at: 50 as go-libp2p.
    pub requested_addrs: usize,
    /// Addresses that are dialled for one v1 request. go-libp2p dials 16; every
    /// one of them is of one IP address, and few peers have more ports than this.
    pub v1_dials: usize,
    /// Bytes asked for before another IP address than the asker's is dialled,
    /// at least: 30,000 by the spec.
    pub dial_data_min: u32,
    /// The same, at most: 100,000 by the spec.
    pub dial_data_max: u32,
    /// Longest wait before such a dial, so that many servers asked at once do
    /// not hit one victim together: 3 s as go-libp2p.
    pub dial_wait_max: Duration,
}

impl Default for ReachabilityConfig {
    fn default() -> Self {
        Self {
            private_addresses: false,
            candidates: 16,
            observers: 4,
            observed_ips: 3,
            observer_groups: 256,
            observation_age: Duration::from_secs(30 * 60),
            servers: 512,
            probes: 2,
            probe_gap: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(40),
            server_pause: Duration::from_secs(120),
            server_bench: Duration::from_secs(600),
            liar_bench: Duration::from_secs(3600),
            failures: 3,
            vouchers: 3,
            useless: 5,
            retry_interval: Duration::from_secs(300),
            doubt_interval: Duration::from_secs(30),
            refresh_interval: Duration::from_secs(3600),
            verdict_age: Duration::from_secs(5 * 3600),
            serve_per_minute: 60,
            serve_per_peer: 12,
            serve_per_network: 24,
            serve_with_data: 12,
            serve_v1_per_minute: 30,
            serve_v1_per_peer: 3,
            serving_per_peer: 2,
            serving: 32,
            serving_timeout: Duration::from_secs(90),
            requested_addrs: 50,
            v1_dials: 8,
            dial_data_min: 30_000,
            dial_data_max: 100_000,
            dial_wait_max: Duration::from_secs(3),
        }
    }
}
