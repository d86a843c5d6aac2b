//! What must be true at every step, whatever happens.

use super::World;
use crate::host::{HostId, number};

/// Steps between looks at all of one host.
pub(super) const EVERY: u64 = 64;

/// The most that any node held at any time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Largest {
    pub(crate) table: usize,
    pub(crate) contacts: usize,
    pub(crate) requests: usize,
    pub(crate) records: usize,
    pub(crate) links: usize,
}

impl World {
    /// Of the node that has just done something.
    pub(super) fn check(&mut self, host: HostId) {
        let Some(node) = self.host(host).node.as_ref() else { return };
        let (stats, config) = (node.stats(), &self.config.routing.wan);
        assert!(stats.contacts <= config.contacts_max, "host {host}: {} contacts", stats.contacts);
        assert!(stats.lookups <= config.lookups_max + 1, "host {host}: {} look-ups", stats.lookups);
        let a_lookup = config.parallelism + config.bucket_size;
        let told = stats.announcements * config.announce_window;
        let requests = stats.lookups * a_lookup + told + config.checks_max + config.candidates_max;
        assert!(stats.requests <= requests, "host {host}: {} requests", stats.requests);
        assert!(stats.provider_records <= config.providers_max, "host {host}: too many records");
        assert!(
            stats.values <= config.values_max && stats.value_bytes <= config.values_bytes_max,
            "host {host}: too many values"
        );
        let links = self.host(host).links.len();
        let largest = &mut self.largest;
        largest.table = largest.table.max(stats.table_peers);
        largest.contacts = largest.contacts.max(stats.contacts);
        largest.requests = largest.requests.max(stats.requests);
        largest.records = largest.records.max(stats.provider_records);
        largest.links = largest.links.max(links);
    }

    /// Everything of one host, in turn.
    pub(super) fn check_some(&mut self) {
        let turn = self.trace.events() / EVERY % self.hosts.len() as u64;
        self.check_all_of(HostId::try_from(turn).unwrap_or(0));
    }

    /// Everything of every host.
    pub(crate) fn check_world(&self) {
        for host in (0..).take(self.hosts.len()) {
            self.check_all_of(host);
        }
    }

    fn check_all_of(&self, host: HostId) {
        let at = self.host(host);
        assert!(at.links.is_sorted_by(|a, b| a.other < b.other), "host {host}: links out of order");
        assert!(at.alive || (at.links.is_empty() && at.node.is_none()), "host {host} is gone and not gone");
        let Some(node) = &at.node else { return };
        let mut sizes = vec![0usize; peerage_dht::KEY_BITS];
        let table = node.table();
        for info in &table {
            assert!(info.peer != at.peer, "host {host} is in its own table");
            assert!(!info.addrs.is_empty(), "host {host}: an entry without address");
            // Who does not exist cannot have answered, so has no place in a table.
            let other = number(&info.peer).map(|other| self.host(other));
            let other = other.filter(|other| other.peer == info.peer).expect("an entry that nobody is");
            sizes[at.key.common_prefix(&other.key)] += 1;
        }
        let most = sizes.iter().max().copied().unwrap_or(0);
        assert!(most <= self.config.routing.wan.bucket_size, "host {host}: a bucket of {most}");
        let mut peers: Vec<_> = table.iter().map(|info| info.peer).collect();
        peers.sort_unstable();
        assert!(peers.is_sorted_by(|a, b| a < b), "host {host}: a peer twice in its table");
    }
}
