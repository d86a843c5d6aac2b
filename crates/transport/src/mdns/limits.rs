//! Bounds and times of mDNS. Whoever is on the same network chooses what
//! arrives here, so that everything has one.

use std::time::Duration;

/// The port of mDNS (RFC 6762 section 3).
pub(super) const PORT: u16 = 5353;

/// The largest packet, in bytes (RFC 6762 section 17).
pub(super) const MAX_PACKET: usize = 9_000;

/// Questions and records that one packet may claim to hold. A judgement: a
/// full answer of rust-libp2p has 30, and 9,000 bytes hold no more than 818.
pub(super) const MAX_RECORDS: usize = 256;

/// Instances that are taken from one packet. A judgement: a peer sends its
/// own alone; proxies that answer for others may have a few.
pub(super) const MAX_INSTANCES: usize = 8;

/// Addresses of one peer, in one packet and in all.
pub const MAX_ADDRS: usize = 32;

/// Of those, how many one host may say. A judgement: a host has some addresses
/// of each family, and others are to be heard beside one that lies.
pub(super) const MAX_ADDRS_A_HOST: usize = 16;

/// Bytes of a packet that we send: what fits an Ethernet frame beside the
/// headers of IPv6 and UDP (RFC 6762 section 17).
pub(super) const MAX_OWN_PACKET: usize = 1_452;

/// Bytes of one string in a TXT record (RFC 1035 section 3.3).
pub(super) const MAX_TXT: usize = 255;

/// Instances that a question says are known already, so that they do not answer.
pub(super) const MAX_KNOWN: usize = 16;

/// What may be set. The defaults are for use; tests make the times shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long others may rely on what we answer. As rust-libp2p; longer than
    /// `max_interval`, so that a peer that is there never expires.
    pub ttl: Duration,
    /// Between the first and the second question; then twice as long each
    /// time (RFC 6762 section 5.2).
    pub first_interval: Duration,
    /// The longest time between questions. As rust-libp2p.
    pub max_interval: Duration,
    /// Between looks at the network interfaces. A judgement: who changes the
    /// network waits this long at most.
    pub look_interval: Duration,
    /// Between two answers by multicast on one link, at least (RFC 6762 section 6).
    pub answer_interval: Duration,
    /// How long an answer waits at random for others to answer as well, least
    /// and most (RFC 6762 section 6).
    pub answer_delay: (Duration, Duration),
    /// Peers that are remembered. A judgement: a large office.
    pub max_peers: usize,
    /// Peers that one host may have, so that one host cannot take all places.
    pub max_peers_a_host: usize,
    /// Packets that are read in one second; others are dropped unread. A
    /// judgement: printers and telephones talk on the same port.
    pub max_packets_a_second: u32,
    /// The same from one host, so that a flood from one keeps nobody else out;
    /// of IPv6 a host may pretend to be many. A judgement: a burst of answers.
    pub max_packets_a_host: u32,
    /// Hosts that are answered by unicast in one second, each once.
    pub max_askers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(6 * 60),
            first_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(5 * 60),
            look_interval: Duration::from_secs(15),
            answer_interval: Duration::from_secs(1),
            answer_delay: (Duration::from_millis(20), Duration::from_millis(120)),
            max_peers: 256,
            max_peers_a_host: 64,
            max_packets_a_second: 500,
            max_packets_a_host: 50,
            max_askers: 32,
        }
    }
}
