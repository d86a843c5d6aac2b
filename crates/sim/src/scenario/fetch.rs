//! Fetches by nothing but a CID: some providers send wrong blocks, some have
//! slow disks, some leave, and some getters are behind NATs.

use std::time::Duration;

use peerage_engine::{JobError, JobId, JobProgress};

use super::{close, config, measure};
use crate::figures::{Figures, micros};
use crate::host::{HostId, Nat};
use crate::hostile::Behaviour;
use crate::world::{Kind, Setup, World};

/// A file of 24 MiB.
const LEAVES: u32 = 96;
const LEAF: u32 = 256 << 10;

/// A getter's fetch, and the one with which it begins again after a crash.
const FIRST: JobId = JobId(1);
const AGAIN: JobId = JobId(2);

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    // One in ten sends every fourth block wrong.
    let hostile = vec![(100, Behaviour::Corrupter(4))];
    let setup = Setup { clients: peers / 5, hostile, blocks: true, ..Setup::new(peers, seed) };
    let mut world = World::new(setup, config());
    let mut figures = Figures::default();
    world.run_for(Duration::from_secs(20));
    let (root, hashes) = world.add_file(LEAVES, LEAF);
    let key = root.hash().to_bytes();
    let mut providers: Vec<HostId> = Vec::new();
    for n in 0..10u32 {
        // Three liars, one slow disk, the rest as they are.
        let liar = n < 3;
        let wanted = |host: &crate::host::Host| {
            host.nat == Nat::Open && matches!(host.behaviour, Behaviour::Corrupter(_)) == liar
        };
        let Some(host) = measure::someone(&mut world, wanted) else { continue };
        let disk = Duration::from_millis(if n == 3 { 200 } else { 2 });
        world.share(host, root, &hashes, disk);
        world.query(host, Kind::Provide, &key, None);
        providers.push(host);
    }
    world.finish_queries(Duration::from_secs(60));
    world.take_done();
    let began = world.now;
    let mut getters: Vec<HostId> = Vec::new();
    while getters.len() < 20 {
        let client = getters.len().is_multiple_of(4);
        let wanted = |host: &crate::host::Host| {
            host.shelf.is_none() && host.behaviour == Behaviour::Honest && (host.nat != Nat::Open) == client
        };
        let Some(host) = measure::someone(&mut world, wanted) else { break };
        world.fetch(host, FIRST, root, Duration::from_millis(2));
        getters.push(host);
    }
    world.run_for(Duration::from_secs(2));
    // Two of the honest providers are gone in the middle of it. Two getters
    // crash, of which one loses its disk, and begin again.
    for &host in providers.iter().skip(4).take(2) {
        world.stop(host, true);
    }
    let halfway = |host: &&HostId| (1..hashes.len()).contains(&world.held(**host));
    let crashing: Vec<HostId> = getters.iter().filter(halfway).take(2).copied().collect();
    figures.promise(crashing.len() == 2, || "nobody was in the middle of a fetch".to_owned());
    for (lost, host) in [false, true].into_iter().zip(crashing) {
        world.stop(host, true);
        world.run_for(Duration::from_millis(500));
        let held = world.held(host);
        world.restart(host, !lost);
        let left = world.held(host);
        let right = left == if lost { 0 } else { held };
        figures.promise(right, || format!("of {held} blocks {left} were there after a crash"));
        world.fetch(host, AGAIN, root, Duration::from_millis(2));
    }
    let mut took = Vec::new();
    for _ in 0..1_200 {
        world.run_for(Duration::from_millis(500));
        took.clear();
        for &host in &getters {
            took.extend(last(&world, host).map(|ended| (host, ended.is_ok())));
        }
        if took.len() == getters.len() {
            break;
        }
    }
    let whole = getters.iter().filter(|&&host| world.holds(host, &hashes)).count();
    let finished = took.iter().filter(|(_, good)| *good).count();
    figures.share("fetched", finished as u64, getters.len() as u64);
    figures.promise(finished == getters.len(), || format!("{finished} of {} fetched it", getters.len()));
    for &host in &getters {
        let end = last(&world, host);
        let good = end.is_some_and(Result::is_ok);
        let again = world.host(host).shelf.as_ref().is_some_and(|shelf| shelf.ended.contains_key(&AGAIN));
        let after = if again { " after a crash" } else { "" };
        figures.promise(good, || format!("host {host}{after}: {:?}", end.map(|end| end.as_ref().err())));
    }
    figures.promise(whole >= finished, || format!("{whole} have all blocks, {finished} say so"));
    figures.set("all_took_us", micros(world.now.since(began)));
    let (mut wrong, mut duplicates, mut sources) = (0, 0, Vec::new());
    for &host in &getters {
        if let Some(Ok(progress)) = last(&world, host) {
            wrong += progress.wrong.values().sum::<u64>();
            duplicates += progress.duplicates;
            sources.push(progress.received.len() as u64);
        }
    }
    figures.set("wrong_blocks", wrong);
    figures.set("duplicate_bytes", duplicates);
    figures.spread("sources", "", sources);
    figures.promise(wrong > 0, || "nobody was sent a wrong block".to_owned());
    close(&mut figures, &world);
    figures
}

/// How the last fetch of a getter ended.
fn last(world: &World, host: HostId) -> Option<&Result<JobProgress, JobError>> {
    ended(world, host, AGAIN).or_else(|| ended(world, host, FIRST))
}

/// How a fetch ended.
pub(super) fn ended(world: &World, host: HostId, job: JobId) -> Option<&Result<JobProgress, JobError>> {
    world.host(host).shelf.as_ref()?.ended.get(&job)
}
