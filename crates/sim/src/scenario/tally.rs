//! Counting what came of queries.
//!
//! A query that was begun counts, whatever became of it, unless its asker left
//! or what it sought did before it was named: those are counted apart, under
//! names that say so. So a query that was refused or never ended is a failure.

use std::time::Duration;

use peerage_dht::Key;

use crate::figures::{Figures, micros};
use crate::host::HostId;
use crate::world::{Done, KEEPERS, Kind, Outcome, World};

/// A provide has succeeded if so many of the [`KEEPERS`] closest honest servers
/// that are there keep its record. Of servers that are there at a time 45 in 100
/// have left 4 h later (the sessions in `draw`), so that all of ten are gone by
/// then in 3 of 10,000 cases, which is within the one of 1,000 that may fail;
/// all of five, in one of 54. The distribution is noted beside it.
pub(super) const KEPT: u64 = 10;

/// What is counted of some queries.
struct Counted<'a> {
    /// Those that count.
    all: Vec<&'a Done>,
    good: u64,
}

impl Counted<'_> {
    fn share(&self, figures: &mut Figures, name: &str) -> u64 {
        figures.share(&format!("{name}_success"), self.good, self.all.len() as u64)
    }
}

/// Sorts out those that do not count, and notes how many those are and why.
fn count<'a>(
    figures: &mut Figures,
    name: &str,
    done: impl Iterator<Item = &'a Done>,
    good: impl Fn(&Done) -> bool,
) -> Counted<'a> {
    let (mut refused, mut open, mut asker_left, mut sought_left) = (0, 0, 0, 0);
    let mut counted = Counted { all: Vec::new(), good: 0 };
    for done in done {
        match done.outcome {
            Outcome::AskerLeft => {
                asker_left += 1;
                continue;
            }
            _ if done.sought_left => {
                sought_left += 1;
                continue;
            }
            Outcome::Refused(_) => refused += 1,
            Outcome::Open => open += 1,
            Outcome::Finished(_) => {}
        }
        counted.good += u64::from(good(done));
        counted.all.push(done);
    }
    figures.set(&format!("{name}_asker_left"), asker_left);
    figures.set(&format!("{name}_sought_left"), sought_left);
    figures.set(&format!("{name}_refused"), refused);
    figures.set(&format!("{name}_unfinished"), open);
    counted
}

/// Notes what came of provides: whether the record is kept, and by how many.
/// Returns the share that succeeded, in parts of a million.
pub(super) fn provides(figures: &mut Figures, name: &str, done: &[Done]) -> u64 {
    let provides = done.iter().filter(|done| done.kind == Kind::Provide);
    let counted = count(figures, name, provides, |done| done.kept >= KEPT);
    let reports = || counted.all.iter().filter_map(|done| done.report());
    figures.worst(&format!("{name}_kept_by"), counted.all.iter().map(|done| done.kept).collect());
    figures.spread(&format!("{name}_stored"), "", reports().map(|report| report.stored.into()).collect());
    figures.spread(&format!("{name}_time"), "_us", reports().map(|report| micros(report.took)).collect());
    let messages = reports().map(|report| u64::from(report.asked + report.stored));
    figures.spread(&format!("{name}_messages"), "", messages.collect());
    counted.share(figures, name)
}

/// Notes what came of look-ups for providers, or for peers: whether the one
/// that was sought was named while it was there, by an address that leads to it.
/// Returns the share, in parts of a million.
pub(super) fn finds(figures: &mut Figures, name: &str, done: &[Done]) -> u64 {
    let finds = done.iter().filter(|done| done.kind != Kind::Provide);
    let counted = count(figures, name, finds, |done| done.named.is_some());
    let reports = || counted.all.iter().filter_map(|done| done.report());
    figures.spread(&format!("{name}_hops"), "", reports().map(|report| report.hops.into()).collect());
    let messages = reports().map(|report| report.asked.into());
    figures.spread(&format!("{name}_messages"), "", messages.collect());
    let failed = reports().map(|report| report.failed.into());
    figures.spread(&format!("{name}_failed_requests"), "", failed.collect());
    let first = counted.all.iter().filter_map(|done| done.named).map(micros);
    figures.spread(&format!("{name}_first_provider"), "_us", first.collect());
    figures.spread(&format!("{name}_whole"), "_us", reports().map(|report| micros(report.took)).collect());
    let strangers = counted.all.iter().map(|done| done.strangers).collect();
    figures.spread(&format!("{name}_false_providers"), "", strangers);
    counted.share(figures, name)
}

/// Of the honest servers among the k closest that there are, how many a
/// look-up found: in parts of a million, over all look-ups of this kind.
pub(super) fn closest(figures: &mut Figures, name: &str, world: &World, done: &[Done], kind: Kind) -> u64 {
    let (mut right, mut all, mut exact, mut count) = (0, 0, 0, 0);
    for done in done.iter().filter(|done| done.kind == kind) {
        if matches!(done.outcome, Outcome::AskerLeft) {
            continue;
        }
        let there = |host: HostId| world.host(host).alive && host != done.host;
        let mut nearest = world.servers.nearest(&Key::of(&done.key), KEEPERS, there);
        nearest.retain(|&host| world.host(host).behaviour.has_node());
        let found = done.report().map_or(&[][..], |report| &report.closest[..]);
        let hits = nearest.iter().filter(|host| found.contains(host)).count() as u64;
        right += hits;
        all += nearest.len() as u64;
        count += 1;
        exact += u64::from(hits == nearest.len() as u64);
    }
    figures.share(&format!("{name}_exact"), exact, count);
    figures.share(name, right, all)
}

/// Lets all queries end that do, and returns them; those that do not are there too.
pub(super) fn finish(world: &mut World, longest: Duration) -> Vec<Done> {
    world.finish_queries(longest);
    world.take_done()
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
