//! The control socket: how a command on a repository that another process
//! owns goes through its owner (ARCHITECTURE, who owns the repository).
//!
//! JSON lines both ways. The owner greets with a [`Welcome`]; the client
//! sends its request, with what it has open beside it if that belongs to it (the
//! folder of a `get`'s destination, pipes of a `car import`: their paths may lead
//! elsewhere here), and later perhaps a cancel; events come back, then `finished`. A connection that ends without `finished` means that the owner
//! ended: the client then tries to take the repository over. A client that
//! goes away cancels its request.
//!
//! Unix only: elsewhere the caller names the owner and suggests `--repo`.

#[cfg(unix)]
mod client;
#[cfg(unix)]
pub(crate) mod line;
#[cfg(unix)]
mod passing;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
#[cfg(test)]
mod tests;

#[cfg(unix)]
pub(crate) use client::{Attached, ConnectError, Outcome};
#[cfg(unix)]
pub(crate) use server::Server;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::{Event, Failure, Network, Request};

/// Of the messages below. Another number: another program, and no guessing.
pub(crate) const PROTOCOL: u32 = 3;

/// Longest line, in bytes. 4 MiB: a command line is at most 2 MiB on Linux,
/// and JSON may double it.
pub(crate) const LINE_MAX: usize = 4 * 1024 * 1024;

/// Most clients served at once. 64: a person's terminals and scripts; each
/// holds at most a few hundred KiB and the work it asked for.
pub(crate) const CLIENTS_MAX: usize = 64;

/// The owner's first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) protocol: u32,
    pub(crate) pid: u32,
    /// The addresses that it listens on, with the ports that it got: who
    /// takes over listens there, so that links that were given away hold.
    pub(crate) listen: Vec<String>,
    /// What it was started with, by flags or by its environment.
    pub(crate) network: Network,
}

/// What a client sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientLine {
    Start { protocol: u32, request: Request },
    Cancel,
}

/// What the owner sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerLine {
    Welcome(Welcome),
    Event(Event),
    Finished { failure: Option<Failure> },
}

impl Welcome {
    /// Checks that flags given on our command line are those of the owner.
    pub(crate) fn agrees_with(&self, flags: &Network) -> Result<(), Failure> {
        let pid = self.pid;
        let differs = |flag: &str| {
            Err(Failure::usage(format!(
                "process {pid} owns this repository and was started with another {flag}: \
                 leave the flag out, end that process, or use another --repo"
            )))
        };
        let known = |address: &String| self.listen.contains(address) || self.network.listen.contains(address);
        if !flags.listen.iter().all(known) {
            return differs("--listen");
        }
        let set = |list: &Vec<String>| list.iter().cloned().collect::<BTreeSet<_>>();
        if flags.bootstrap.is_some()
            && flags.bootstrap.as_ref().map(set) != self.network.bootstrap.as_ref().map(set)
        {
            return differs("--bootstrap");
        }
        if !flags.routers.is_empty() && set(&flags.routers) != set(&self.network.routers) {
            return differs("--router");
        }
        if flags.dht.is_some_and(|dht| dht != self.network.dht.unwrap_or_default()) {
            return differs("--dht");
        }
        if flags.max_store.is_some() && flags.max_store != self.network.max_store {
            return differs("--max-store");
        }
        if flags.max_peers.is_some() && flags.max_peers != self.network.max_peers {
            return differs("--max-peers");
        }
        if flags.max_memory.is_some() && flags.max_memory != self.network.max_memory {
            return differs("--max-memory");
        }
        if !flags.schedule.is_empty() && flags.schedule != self.network.schedule {
            return differs("--schedule");
        }
        if let Some(flag) = flags.rates.first()
            && flags.rates != self.network.rates
        {
            return Err(Failure::usage(format!(
                "process {pid} owns this repository, and its rates hold for all that it does: leave {flag} out, \
                 or set it for all with `peerage limit {flag} RATE`"
            )));
        }
        let switches = [
            ("--dht-private-addresses", flags.dht_private_addresses, self.network.dht_private_addresses),
            ("--no-mdns", flags.no_mdns, self.network.no_mdns),
            ("--perf", flags.perf, self.network.perf),
        ];
        match switches.iter().find(|(_, ours, theirs)| *ours && !theirs) {
            Some((flag, ..)) => differs(flag),
            None => Ok(()),
        }
    }
}
