//! Asking many things of many peers.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_base::Instant;
use peerage_dht::Key;

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
/// `oldest` seconds before the world began: global knowledge says which servers
/// were there then and closest to the key, and of these the honest ones keep it
/// that have been there since. Who provided it was there then and is there now.
/// So nothing depends on how well look-ups did before the world began; those of
/// new records are looked for too, and counted apart.
pub(crate) fn place_old(world: &mut World, count: u32, oldest: u64) -> Records {
    let mut records = Records::new();
    for _ in 0..count {
        let age = world.rng.below(oldest);
        let key = new_key(world);
        let was = |world: &World, host: HostId| world.past[host as usize].was_here(age.max(1));
        let by =
            (0..100).find_map(|_| someone(world, |host| host.nat == Nat::Open).filter(|&by| was(world, by)));
        let Some(by) = by else { break };
        let keepers = world.servers.nearest(&Key::of(&key), world.config.routing.wan.bucket_size, |host| {
            was(world, host) && host != by
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
            world.query(host, Kind::Provide, &key, None);
        }
    }
}

/// Has `count` peers look for keys, spread over a time; each key by somebody
/// else than who provided it, and only while that one is there.
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
        let key = (0..100).find_map(|_| {
            let key = world.rng.pick(&keys)?;
            world.host(records[*key].by).alive.then_some(*key)
        });
        let Some(key) = key else { continue };
        look_for(world, records, key, &may);
    }
}

/// Has each key looked for once, spread over a time, if who provides it is there.
pub(crate) fn find_each(world: &mut World, records: &Records, over: Duration) {
    let step = over / u32::try_from(records.len()).unwrap_or(u32::MAX).max(1);
    for (key, record) in records {
        world.run_for(step);
        if world.host(record.by).alive {
            look_for(world, records, key, |_| true);
        }
    }
}

fn look_for(world: &mut World, records: &Records, key: &[u8], may: impl Fn(&crate::host::Host) -> bool) {
    let by = records[key].by;
    let peer = world.host(by).peer;
    if let Some(host) = someone(world, |host| host.peer != peer && may(host)) {
        world.query(host, Kind::Providers, key, Some(by));
    }
}

/// What was provided by those who are done with it, whether or not anyone keeps
/// it: looking for it tells.
pub(crate) fn records(done: &[Done]) -> Records {
    let provides = done.iter().filter(|done| done.kind == Kind::Provide);
    let ended = provides.filter_map(|done| Some((done, done.report()?)));
    ended
        .map(|(done, report)| {
            (done.key.clone(), Provided { by: done.host, at: seconds(done.started + report.took) })
        })
        .collect()
}
