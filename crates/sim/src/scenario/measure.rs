//! Asking many things of many peers, and counting what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_base::Instant;
use peerage_dht::{End, Key};

use crate::figures::{Figures, micros};
use crate::host::{HostId, Nat};
use crate::world::{Done, Kind, World};

/// A record that was provided: who, and when it was stored, in seconds of
/// simulated time; before the world began is below 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provided {
    pub(crate) by: HostId,
    pub(crate) at: i64,
}

impl Provided {
    pub(crate) fn now(world: &World, by: HostId) -> Self {
        Self { by, at: seconds(world.now) }
    }
}

fn seconds(at: Instant) -> i64 {
    i64::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// How old the oldest record is now, in seconds.
pub(crate) fn oldest(world: &World, records: &Records) -> u64 {
    let ages = records.values().map(|record| seconds(world.now).abs_diff(record.at));
    ages.max().unwrap_or(0)
}

/// Places records as they would lie if they had been provided at a time up to
/// `oldest` seconds before the world began: at the honest servers that were
/// the closest then, and have been there since.
pub(crate) fn place_old(world: &mut World, count: u32, oldest: u64) -> Records {
    let mut records = Records::new();
    for _ in 0..count {
        let age = world.rng.below(oldest);
        let key = new_key(world);
        let Some(by) = someone(world, |host| host.nat == Nat::Open) else { break };
        let keepers = world.servers.nearest(&Key::of(&key), world.config.routing.wan.bucket_size, |host| {
            world.past[host as usize].was_here(age.max(1)) && host != by
        });
        for host in keepers {
            if world.past[host as usize].stayed(age.max(1)) {
                world.place(host, by, &key, age);
            }
        }
        let at = seconds(world.now) - i64::try_from(age).unwrap_or(0);
        records.insert(key, Provided { by, at });
    }
    records
}

/// What has been provided, by key.
pub(crate) type Records = BTreeMap<Vec<u8>, Provided>;

/// A multihash that nobody has used.
pub(crate) fn new_key(world: &mut World) -> Vec<u8> {
    let mut key = vec![0; 34];
    key[..2].copy_from_slice(&[0x12, 0x20]);
    world.rng.fill(&mut key[2..]);
    key
}

/// An honest peer that is there.
pub(crate) fn someone(world: &mut World, wanted: impl Fn(&crate::host::Host) -> bool) -> Option<HostId> {
    for _ in 0..10_000 {
        let host = HostId::try_from(world.rng.below(world.hosts.len() as u64)).unwrap_or(0);
        let at = world.host(host);
        if at.alive && at.node.is_some() && wanted(at) {
            return Some(host);
        }
    }
    None
}

/// Has `count` peers provide a new key each, spread over a time.
pub(crate) fn provide(world: &mut World, count: u32, over: Duration) {
    let step = over / count.max(1);
    for _ in 0..count {
        world.run_for(step);
        if let Some(host) = someone(world, |host| host.nat == Nat::Open) {
            let key = new_key(world);
            world.query(host, Kind::Provide, &key);
        }
    }
}

/// Has `count` peers look for keys, spread over a time; each key by somebody
/// else than who provided it.
pub(crate) fn find(world: &mut World, records: &Records, count: u32, over: Duration) {
    find_from(world, records, count, over, |_| true);
}

/// The same, by those only that may.
pub(crate) fn find_from(
    world: &mut World,
    records: &Records,
    count: u32,
    over: Duration,
    may: impl Fn(&crate::host::Host) -> bool,
) {
    let step = over / count.max(1);
    let keys: Vec<&Vec<u8>> = records.keys().collect();
    for _ in 0..count {
        world.run_for(step);
        let Some(key) = world.rng.pick(&keys).map(|key| (*key).clone()) else { return };
        let by = world.host(records[&key].by).peer;
        if let Some(host) = someone(world, |host| host.peer != by && may(host)) {
            world.query(host, Kind::Providers, &key);
        }
    }
}

/// The records that provides have stored.
pub(crate) fn records(done: &[Done]) -> Records {
    let stored = done.iter().filter(|done| done.kind == Kind::Provide);
    let stored = stored.filter_map(|done| Some((done, done.report.as_ref()?)));
    let stored = stored.filter(|(_, report)| report.stored > 0);
    stored
        .map(|(done, report)| {
            (done.key.clone(), Provided { by: done.host, at: seconds(done.started + report.took) })
        })
        .collect()
}

/// Notes what came of provides: how many were stored at most of the k closest.
pub(crate) fn note_provides(figures: &mut Figures, done: &[Done]) -> u64 {
    let all: Vec<_> = done
        .iter()
        .filter(|done| done.kind == Kind::Provide)
        .filter_map(|done| done.report.as_ref())
        .collect();
    let good = all.iter().filter(|report| report.end == End::Complete && report.stored >= 10).count();
    figures.spread("provide_stored", "", all.iter().map(|report| report.stored.into()).collect());
    figures.spread("provide_time", "_us", all.iter().map(|report| micros(report.took)).collect());
    figures.spread(
        "provide_messages",
        "",
        all.iter().map(|r| u64::from(r.progress.asked + r.stored)).collect(),
    );
    figures.share("provide_success", good as u64, all.len() as u64)
}

/// Notes what came of look-ups for providers. Returns the share that found who
/// provides, in parts of a million.
pub(crate) fn note_finds(
    figures: &mut Figures,
    name: &str,
    world: &World,
    done: &[Done],
    records: &Records,
) -> u64 {
    let all: Vec<_> = done
        .iter()
        .filter(|done| done.kind == Kind::Providers)
        .filter_map(|done| Some((done, done.report.as_ref()?)))
        .collect();
    let found = all
        .iter()
        .filter(|(done, _)| {
            records.get(&done.key).is_some_and(|record| done.providers.contains(&world.host(record.by).peer))
        })
        .count();
    figures.spread(&format!("{name}_hops"), "", all.iter().map(|(_, report)| report.hops.into()).collect());
    let messages = all.iter().map(|(_, report)| report.progress.asked.into()).collect();
    figures.spread(&format!("{name}_messages"), "", messages);
    let failed = all.iter().map(|(_, report)| report.progress.failed.into()).collect();
    figures.spread(&format!("{name}_failed_requests"), "", failed);
    let first = all.iter().filter_map(|(done, _)| done.first).map(micros).collect();
    figures.spread(&format!("{name}_first_provider"), "_us", first);
    figures.spread(&format!("{name}_whole"), "_us", all.iter().map(|(_, r)| micros(r.took)).collect());
    figures.share(&format!("{name}_success"), found as u64, all.len() as u64)
}

/// Of the honest servers among the k closest that there are, how many a
/// look-up found: in parts of a million, over all look-ups of this kind.
pub(crate) fn note_closest(
    figures: &mut Figures,
    name: &str,
    world: &World,
    done: &[Done],
    kind: Kind,
) -> u64 {
    let (mut right, mut all, mut exact, mut count) = (0, 0, 0, 0);
    for done in done.iter().filter(|done| done.kind == kind) {
        let Some(report) = &done.report else { continue };
        let there = |host: HostId| world.host(host).alive && host != done.host;
        let mut nearest = world.servers.nearest(&Key::of(&done.key), 20, there);
        nearest.retain(|&host| world.host(host).behaviour.has_node());
        let hits = nearest.iter().filter(|&&host| {
            let peer = world.host(host).peer;
            report.closest.iter().any(|info| info.peer == peer)
        });
        let hits = hits.count() as u64;
        right += hits;
        all += nearest.len() as u64;
        count += 1;
        exact += u64::from(hits == nearest.len() as u64);
    }
    figures.share(&format!("{name}_exact"), exact, count);
    figures.share(name, right, all)
}
