//! A flash crowd: one host has a file, and all others begin to get it at the same
//! moment, by a link that names that host alone. Every uplink is capped.
//!
//! No way of sending is faster than the fluid bound of Kumar and Ross (Peer-assisted
//! file distribution: the minimum distribution time, 2006): max(F / u_seed,
//! F / d_min, N F / (u_seed + sum of u_i)).

use std::num::NonZeroU64;
use std::time::Duration;

use peerage_engine::{Config, JobId};

use super::close;
use super::fetch::ended;
use crate::figures::{Figures, micros};
use crate::host::HostId;
use crate::world::{CACHED, Setup, World};

/// A file of 256 MiB, in blocks of the size that `share` makes.
const LEAVES: u32 = 256;
const LEAF: u32 = 1 << 20;

/// 8 MB/s, in kilobits a second; and what the downlink takes, as many times that.
const UP_KBPS: u64 = 64_000;
const DOWN_TIMES: u64 = 10;

const JOB: JobId = JobId(1);
const SEEDER: HostId = 0;

/// How often it is looked who has ended.
const TICK: Duration = Duration::from_millis(20);
/// Whoever is not done in so many times the bound never will be.
const PATIENCE: u64 = 20;

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    let setup = Setup { blocks: true, loss_times: 0, ..Setup::new(peers + 1, seed) };
    let mut world = World::new(setup, Config::default());
    for host in 0..=peers {
        let host = world.host_mut(host);
        (host.up_kbps, host.down_kbps) = (UP_KBPS, DOWN_TIMES * UP_KBPS);
    }
    // As `--max-up` says it.
    let rate = NonZeroU64::new(UP_KBPS * 1_000 / 8);
    for host in 0..=peers {
        world.act(host, |node, now| node.engine.limit_sending(rate, now));
    }
    world.run_for(Duration::from_secs(5));
    let (root, hashes) = world.add_file(LEAVES, LEAF);
    world.share(SEEDER, root, &hashes, CACHED);
    let began = world.now;
    (1..=peers).for_each(|host| world.fetch_from(host, JOB, root, SEEDER));
    let bytes = u64::from(LEAVES) * u64::from(LEAF);
    let bound = Duration::from_nanos(bytes * 8_000_000 / UP_KBPS);
    let mut took = vec![None; peers as usize];
    while took.contains(&None) && micros(world.now.since(began)) < PATIENCE * micros(bound) {
        world.run_for(TICK);
        for (host, took) in (1..).zip(&mut took) {
            if took.is_none() && ended(&world, host, JOB).is_some() {
                *took = Some(micros(world.now.since(began)));
            }
        }
    }
    let mut figures = Figures::default();
    let whole = (1..=peers).filter(|&host| world.holds(host, &hashes)).count();
    figures.promise(whole == peers as usize, || format!("{whole} of {peers} have it"));
    let last = took.iter().map(|took| took.unwrap_or(u64::MAX)).max().unwrap_or(0);
    figures.set("fluid_bound_us", micros(bound));
    figures.set("last_us", last);
    figures.set("last_of_bound_milli", last.saturating_mul(1_000) / micros(bound));
    figures.spread("took", "_us", took.iter().flatten().copied().collect());
    let stats = |host: HostId| world.host(host).shelf.as_ref().map_or(0, |shelf| shelf.sent);
    figures.set("seeder_sent_milli", stats(SEEDER) * 1_000 / bytes);
    let (mut duplicates, mut sources) = (0, Vec::new());
    for host in 1..=peers {
        if let Some(Ok(progress)) = ended(&world, host, JOB) {
            duplicates += progress.duplicates;
            sources.push(progress.received.len() as u64);
        }
    }
    figures.share("duplicates", duplicates, bytes * u64::from(peers));
    figures.spread("sources", "", sources);
    close(&mut figures, &world);
    figures
}
