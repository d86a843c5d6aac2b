//! What is played, and what must come of it.

mod crowd;
mod eclipse;
mod faults;
mod fetch;
mod hostile;
mod lookup;
mod measure;
mod scale;
mod storm;
mod sweep;
mod tally;

use std::sync::Arc;

use peerage_engine::{Config, Routing};

use crate::figures::Figures;
use crate::world::World;

/// Something to play.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// The fewest peers that make sense.
    pub least: u32,
    /// Its plays, if it has several; the first is played unless another is named.
    pub plays: &'static [Play],
    play: fn(peers: u32, seed: u64) -> Figures,
}

/// One of several ways to play a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Play {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is special about it, in a line.
    pub about: &'static str,
    play: fn(peers: u32, seed: u64) -> Figures,
}

/// The fewest peers of a DHT whose figures say anything.
const LEAST: u32 = 50;

const fn scenario(name: &'static str, about: &'static str, play: fn(u32, u64) -> Figures) -> Scenario {
    Scenario { name, about, least: LEAST, plays: &[], play }
}

/// All there are.
pub const SCENARIOS: &[Scenario] = &[
    scenario("lookup", "look-ups and provides among servers that stay", lookup::quiet),
    scenario("churn", "the same among servers that come and go, with records of up to 4 h", lookup::churn),
    scenario("partition", "a third cannot be heard for ten minutes", faults::partition),
    scenario("liars", "30 % hostile, by disjoint paths", hostile::liars),
    scenario("eclipse", "identities around a key, by number and prefixes", eclipse::play),
    scenario("fetch", "24 MiB by CID from liars, slow disks and leavers", fetch::play),
    Scenario {
        name: "crowd",
        about: "one seeder, and everyone gets its file",
        least: crowd::LEAST,
        plays: crowd::PLAYS,
        play: crowd::play,
    },
    scenario("nat", "as many hosts behind NATs as others, who know it or find out", faults::nat),
    scenario("flood", "records and questions without end", hostile::flood),
    scenario("provide-sweep", "ten CIDs a server, told again over a day", sweep::play),
    scenario("scale", "hops, messages and time from 1,000 servers up", scale::play),
    scenario("storm", "everything at once, then rest; what CI plays", storm::play),
];

impl Scenario {
    /// The scenario of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// The same scenario, to be played in this of its ways; none if it has no such one.
    #[must_use]
    pub fn played(&self, play: &str) -> Option<Self> {
        let found = self.plays.iter().find(|known| known.name == play)?;
        Some(Self { play: found.play, ..*self })
    }

    /// Plays it. The result depends on nothing else.
    ///
    /// # Panics
    /// If an invariant is broken.
    #[must_use]
    pub fn play(&self, peers: u32, seed: u64) -> Figures {
        let mut figures = (self.play)(peers, seed);
        figures.scenario = self.name.to_owned();
        figures.peers = peers;
        figures.seed = seed;
        figures
    }
}

/// The configuration of simulated peers: the defaults, but that fewer connections
/// are kept that nobody needs, and fewer peers are remembered of past ones, of
/// those that failed and of those that wait for a place, since thousands share one
/// memory. What differs is told in the figures.
fn config() -> Config {
    let mut routing = Routing::default();
    for dht in [&mut routing.wan, &mut routing.lan] {
        let dht = Arc::make_mut(dht);
        dht.replacements = 2;
        dht.bootstrap_max = 16;
    }
    Config {
        routing,
        connections_high: 24,
        connections_low: 12,
        reached: 8,
        pauses: 16,
        scores: 16,
        ..Config::default()
    }
}

/// Limits of simulated peers that are worth knowing.
fn limits(config: &Config) -> [(&'static str, usize); 7] {
    [
        ("connections_high", config.connections_high),
        ("connections_low", config.connections_low),
        ("reached", config.reached),
        ("pauses", config.pauses),
        ("scores", config.scores),
        ("replacements", config.routing.wan.replacements),
        ("bootstrap_max", config.routing.wan.bootstrap_max),
    ]
}

/// What every run says of its world.
fn close(figures: &mut Figures, world: &World) {
    world.check_world();
    figures.events += world.trace.events();
    figures.simulated_s += world.now.as_nanos() / 1_000_000_000;
    figures.trace += &format!("{:016x}", world.trace.digest());
    for ((name, limit), (_, default)) in limits(&world.config).into_iter().zip(limits(&Config::default())) {
        figures.set(&format!("limit_{name}"), limit as u64);
        figures.set(&format!("limit_{name}_by_default"), default as u64);
    }
    let counts = &world.counts;
    for (name, value) in [
        ("dials", counts.dials),
        ("dials_failed", counts.dials_failed),
        ("connections", counts.connections),
        ("connections_refused", counts.connections_refused),
        ("requests", counts.requests),
        ("responses", counts.responses),
        ("sessions_begun", counts.joined),
        ("sessions_ended", counts.left),
        ("retransmitted", counts.retransmitted),
        ("bytes", counts.bytes),
        ("most_table_peers", world.largest.table as u64),
        ("most_contacts", world.largest.contacts as u64),
        ("most_requests_open", world.largest.requests as u64),
        ("most_provider_records", world.largest.records as u64),
        ("most_connections", world.largest.links as u64),
        ("most_alive", world.largest.alive),
        ("most_dials", world.largest.dials as u64),
        ("most_credit_bytes", world.largest.credit),
    ] {
        figures.raise(&format!("world_{name}"), value, !name.starts_with("most_"));
    }
}
