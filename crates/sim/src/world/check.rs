//! What must be true at every step, whatever happens.
//!
//! After each event the bounds of the host that it concerned, as far as they
//! are counters; and each [`EVERY`] events all that takes a walk through what a
//! host holds: of the one that acted, and of one after the other in turn.

use std::collections::BTreeMap;

use super::World;
use super::link::CONNECTIONS;
use crate::host::{Host, HostId, number};
use crate::node::Node;

/// Steps between looks at all of one host.
pub(super) const EVERY: u64 = 64;

/// Fetch credit may be overdrawn by one block for each fetch that has nothing
/// under way: a largest message of Bitswap.
const BLOCK_MAX: u64 = 4 << 20;

/// The most that any node held at any time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Largest {
    pub(crate) table: usize,
    pub(crate) contacts: usize,
    pub(crate) requests: usize,
    pub(crate) records: usize,
    pub(crate) links: usize,
    pub(crate) dials: usize,
    pub(crate) credit: u64,
    /// Hosts that were there at a time.
    pub(crate) alive: u64,
}

impl World {
    /// Of the node that has just done something.
    pub(super) fn check(&mut self, host: HostId) {
        let at = self.host(host);
        let Some(node) = at.node.as_ref() else { return };
        let (stats, config) = (node.stats(), &self.config.routing.wan);
        assert!(stats.contacts <= config.contacts_max, "host {host}: {} contacts", stats.contacts);
        assert!(stats.lookups <= config.lookups_max + 1, "host {host}: {} look-ups", stats.lookups);
        let a_lookup = config.parallelism + config.bucket_size;
        let told = stats.announcements * config.announce_window;
        let requests = stats.lookups * a_lookup + told + config.checks_max + config.asked_max;
        assert!(stats.requests <= requests, "host {host}: {} requests", stats.requests);
        assert!(stats.provider_records <= config.providers_max, "host {host}: too many records");
        assert!(
            stats.values <= config.values_max && stats.value_bytes <= config.values_bytes_max,
            "host {host}: too many values"
        );
        let (links, dials, credit) = (at.links.len(), at.dialing.len(), node.engine.credit_used());
        assert!(links <= CONNECTIONS, "host {host}: {links} connections");
        assert!(dials <= self.config.dials, "host {host}: {dials} dials");
        if credit > 0 {
            let jobs = at.shelf.as_ref().map_or(0, |shelf| shelf.begun);
            let most = self.config.fetch_credit + jobs * BLOCK_MAX;
            assert!(credit <= most, "host {host}: {credit} bytes of fetch credit");
        }
        let largest = &mut self.largest;
        largest.table = largest.table.max(stats.table_peers);
        largest.contacts = largest.contacts.max(stats.contacts);
        largest.requests = largest.requests.max(stats.requests);
        largest.records = largest.records.max(stats.provider_records);
        largest.links = largest.links.max(links);
        largest.dials = largest.dials.max(dials);
        largest.credit = largest.credit.max(credit);
    }

    /// Everything of one host, in turn.
    pub(super) fn check_some(&mut self) {
        let turn = self.trace.events() / EVERY % self.hosts.len() as u64;
        self.check_much_of(HostId::try_from(turn).unwrap_or(0));
    }

    /// All of one host; but to go through its records takes a step for each, so
    /// about as many events lie between.
    pub(super) fn check_much_of(&self, host: HostId) {
        self.check_all_but_records(host);
        let records = self.host(host).node.as_ref().map_or(0, |node| node.stats().provider_records as u64);
        if self.trace.events() % records.max(1) < EVERY {
            self.check_records(host);
        }
    }

    /// Everything of every host, and that nothing is held for what is over.
    pub(crate) fn check_world(&self) {
        for host in (0..).take(self.hosts.len()) {
            self.check_all_but_records(host);
            self.check_records(host);
            let at = self.host(host);
            let Some((node, shelf)) = at.node.as_ref().zip(at.shelf.as_ref()) else { continue };
            if shelf.ended.len() as u64 == shelf.begun {
                assert_eq!(node.engine.credit_used(), 0, "host {host}: credit that nobody gives back");
                assert_eq!(shelf.payloads(), 0, "host {host}: payloads that nobody releases");
            }
        }
    }

    fn check_all_but_records(&self, host: HostId) {
        let at = self.host(host);
        assert!(at.links.is_sorted_by(|a, b| a.other < b.other), "host {host}: links out of order");
        let gone = at.links.is_empty() && at.node.is_none() && at.dialing.is_empty() && at.open.is_empty();
        assert!(at.alive || gone, "host {host} is gone and not gone");
        let Some(node) = &at.node else { return };
        self.check_table(host, at, node);
        if self.setup.blocks {
            let most = peerage_exchange::Config::default().held_wants;
            for link in &at.links {
                let held = node.engine.exchange().peer_stats(&self.host(link.other).peer).held_wants;
                assert!(held <= most, "host {host}: {held} wants of one peer");
            }
        }
    }

    /// What it keeps for others, by all that bounds it.
    fn check_records(&self, host: HostId) {
        let Some(node) = &self.host(host).node else { return };
        let config = &self.config.routing.wan;
        let most = node.fullest();
        let bounded = most.key <= config.providers_per_key
            && most.key_group <= config.providers_per_key_group
            && most.sender <= config.providers_per_sender
            && most.group <= config.providers_per_group;
        assert!(bounded, "host {host}: more records than its bounds allow: {most:?}");
    }

    fn check_table(&self, host: HostId, at: &Host, node: &Node) {
        let config = &self.config.routing.wan;
        let mut sizes = vec![0usize; peerage_dht::KEY_BITS];
        let mut of_bucket: BTreeMap<(usize, [u8; 2]), usize> = BTreeMap::new();
        let mut of_table: BTreeMap<[u8; 2], usize> = BTreeMap::new();
        let table = node.table();
        for info in &table {
            assert!(info.peer != at.peer, "host {host} is in its own table");
            assert!(!info.addrs.is_empty(), "host {host}: an entry without address");
            // Who does not exist cannot have answered, so has no place in a table.
            let other = number(&info.peer).and_then(|other| self.hosts.get(other as usize));
            let other = other.filter(|other| other.peer == info.peer).expect("an entry that nobody is");
            let bucket = at.key.common_prefix(&other.key);
            sizes[bucket] += 1;
            *of_bucket.entry((bucket, other.group())).or_default() += 1;
            *of_table.entry(other.group()).or_default() += 1;
        }
        let most = |counts: &mut dyn Iterator<Item = usize>| counts.max().unwrap_or(0);
        let bucket = most(&mut sizes.iter().copied());
        assert!(bucket <= config.bucket_size, "host {host}: a bucket of {bucket}");
        let group = most(&mut of_bucket.values().copied());
        assert!(group <= config.bucket_group_max, "host {host}: {group} of one group in a bucket");
        let group = most(&mut of_table.values().copied());
        assert!(group <= config.table_group_max, "host {host}: {group} of one group in the table");
        let mut peers: Vec<_> = table.iter().map(|info| info.peer).collect();
        peers.sort_unstable();
        assert!(peers.is_sorted_by(|a, b| a < b), "host {host}: a peer twice in its table");
    }
}
