//! Everything at once and in haste: loss, churn, liars, calendars that are wrong
//! and jump, slow disks, wrong blocks, crashes, a flood, a division; and then rest,
//! after which all must be well. CI plays it.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_content::{Cid, Multihash};
use peerage_engine::JobId;

use super::faults::divide;
use super::{close, config, fetch, measure, tally};
use crate::figures::Figures;
use crate::host::{Host, HostId, Nat};
use crate::hostile::Behaviour;
use crate::world::{BOOTSTRAP, Kind, Setup, World};

/// A file of 6 MiB.
const LEAVES: u32 = 24;
const LEAF: u32 = 256 << 10;
const GETTERS: usize = 8;

/// A getter's fetch in the storm, and the one with which it begins again after it.
const STORMY: JobId = JobId(1);
const CALM: JobId = JobId(2);

/// Calendars jump by up to so many seconds, either way: records are kept for two days.
const JUMP: i64 = 3 * 86_400;

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    let setup = Setup {
        churn: true,
        haste: 30,
        // 2 %, and twice to three times that in Latin America.
        loss_times: 20,
        skew: 3_600,
        clients: peers / 20,
        blocks: true,
        hostile: vec![
            (40, Behaviour::Liar),
            (20, Behaviour::Silent),
            (20, Behaviour::Slow(Duration::from_secs(3))),
            (10, Behaviour::Inventor),
            (10, Behaviour::Replayer),
            (20, Behaviour::Corrupter(4)),
        ],
        ..Setup::new(peers, seed)
    };
    let mut world = World::new(setup, config());
    let mut figures = Figures::default();
    let file = File::share(&mut world);
    measure::provide(&mut world, 40, Duration::from_secs(15));
    let getters = file.begin(&mut world);
    divide(&mut world, 4);
    world.block(0, 1);
    measure::provide(&mut world, 20, Duration::from_secs(10));
    flood(&mut world);
    crash(&mut world, 20);
    world.jump_calendars(10, JUMP);
    world.heal();
    world.run_for(Duration::from_secs(5));
    // Quiet: nobody leaves any more.
    world.calm();
    world.run_for(Duration::from_secs(10));
    let stormy = tally::finish(&mut world, Duration::from_secs(60));
    tally::provides(&mut figures, "stormy_provide", &stormy);
    file.provide(&mut world);
    measure::provide(&mut world, 40, Duration::from_secs(4));
    let mut provides = tally::finish(&mut world, Duration::from_secs(90));
    provides.retain(|done| done.key != file.key());
    let provided = tally::provides(&mut figures, "after_provide", &provides);
    figures.promise(provided >= 975_000, || format!("{provided} ppm of provides succeeded after the storm"));
    let records = measure::records(&provides);
    file.begin_again(&mut world, &getters);
    measure::find(&mut world, &records, 100, Duration::from_secs(4));
    let done = tally::finish(&mut world, Duration::from_secs(90));
    let found = tally::finds(&mut figures, "after", &done);
    figures.promise(found >= 990_000, || format!("{found} ppm found the provider after the storm"));
    file.finish(&mut world, &mut figures, &getters);
    close(&mut figures, &world);
    figures
}

/// A file that some have and others want.
struct File {
    root: Cid,
    hashes: BTreeSet<Multihash>,
    providers: Vec<HostId>,
}

impl File {
    /// Adds it to a world, with providers of each kind: two that are always there,
    /// two that send wrong blocks, one with a slow disk.
    fn share(world: &mut World) -> Self {
        let (root, hashes) = world.add_file(LEAVES, LEAF);
        let mut providers = vec![0, 1];
        for corrupt in [true, true, false] {
            let wanted = |host: &Host| {
                host.nat == Nat::Open && matches!(host.behaviour, Behaviour::Corrupter(_)) == corrupt
            };
            providers.extend(measure::someone(world, wanted));
        }
        for (n, &host) in providers.iter().enumerate() {
            let disk = if n == 4 { 200 } else { 2 };
            world.share(host, root, &hashes, Duration::from_millis(disk));
        }
        let file = Self { root, hashes, providers };
        file.provide(world);
        file
    }

    fn key(&self) -> Vec<u8> {
        self.root.hash().to_bytes()
    }

    /// Those of its providers that are there say so.
    fn provide(&self, world: &mut World) {
        let key = self.key();
        for &host in
            self.providers.iter().filter(|&&host| world.host(host).node.is_some()).collect::<Vec<_>>()
        {
            world.query(host, Kind::Provide, &key, None);
        }
    }

    /// Some begin to fetch it.
    fn begin(&self, world: &mut World) -> Vec<HostId> {
        let mut getters = Vec::new();
        while getters.len() < GETTERS {
            let wanted = |host: &Host| host.shelf.is_none() && host.behaviour == Behaviour::Honest;
            let Some(host) = measure::someone(world, wanted) else { break };
            let disk = if getters.is_empty() { 100 } else { 2 };
            world.fetch(host, STORMY, self.root, Duration::from_millis(disk));
            getters.push(host);
        }
        getters
    }

    /// Those who are there and gave up, or were restarted, begin again.
    fn begin_again(&self, world: &mut World, getters: &[HostId]) {
        for &host in getters {
            let ended = fetch::ended(world, host, STORMY).is_some();
            let fetches = world.host(host).node.as_ref().is_some_and(|node| node.fetches(STORMY));
            if world.host(host).node.is_some() && !world.holds(host, &self.hashes) && (ended || !fetches) {
                world.fetch(host, CALM, self.root, Duration::from_millis(2));
            }
        }
    }

    /// Whoever is there has it in the end.
    fn finish(&self, world: &mut World, figures: &mut Figures, getters: &[HostId]) {
        let here: Vec<HostId> =
            getters.iter().copied().filter(|&host| world.host(host).node.is_some()).collect();
        for _ in 0..240 {
            if here.iter().all(|&host| world.holds(host, &self.hashes)) {
                break;
            }
            world.run_for(Duration::from_millis(500));
        }
        let whole = here.iter().filter(|&&host| world.holds(host, &self.hashes)).count();
        figures.share("fetched", whole as u64, here.len() as u64);
        for &host in here.iter().filter(|&&host| !world.holds(host, &self.hashes)) {
            let end = [CALM, STORMY].map(|job| fetch::ended(world, host, job).map(|end| end.as_ref().err()));
            figures.promise(false, || format!("host {host} has not fetched it after the storm: {end:?}"));
        }
        figures.promise(!here.is_empty(), || "no getter is there in the end".to_owned());
    }
}

/// Some connect to the hosts that everyone knows, and ask without end.
fn flood(world: &mut World) {
    let mut flooders = Vec::new();
    for _ in 0..2 {
        let flooder = world.add_host(Behaviour::Silent, Nat::Open);
        world.start(flooder, world.now);
        (0..BOOTSTRAP).for_each(|victim| world.approach(flooder, victim));
        flooders.push(flooder);
    }
    world.run_for(Duration::from_secs(2));
    flooders.into_iter().for_each(|flooder| world.flood(flooder, 300));
}

/// One in so many hosts fails at once; half of these lose their disks. They
/// are back after a few seconds.
fn crash(world: &mut World, one_in: u64) {
    let all = HostId::try_from(world.hosts.len()).unwrap_or(0);
    let mut crashed = Vec::new();
    for host in BOOTSTRAP..all {
        if world.host(host).node.is_some() && world.rng.below(one_in) == 0 {
            world.stop(host, true);
            crashed.push(host);
        }
    }
    world.run_for(Duration::from_secs(5));
    for (index, host) in crashed.into_iter().enumerate() {
        if !world.host(host).alive {
            world.restart(host, index % 2 == 0);
        }
    }
}
