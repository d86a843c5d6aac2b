//! One peer tells the DHT again of all that it has, over a day.

use std::sync::Arc;
use std::time::Duration;

use peerage_content::{Cid, Multihash};
use peerage_dht::Network;

use super::{close, config, measure, tally};
use crate::figures::{Chart, Figures, Row};
use crate::host::Nat;
use crate::world::{Setup, World};

/// CIDs for each server that there is.
const CIDS_PER_SERVER: u32 = 10;

/// Steps in which the interval is looked at.
const STEPS: u64 = 22;

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    // Nobody leaves, so that nobody has to refresh a table all day long.
    let mut quiet = config();
    for dht in [&mut quiet.routing.wan, &mut quiet.routing.lan] {
        Arc::make_mut(dht).refresh_interval = Duration::from_secs(7 * 86_400);
    }
    let interval = quiet.routing.sweep.interval;
    let mut world = World::new(Setup::new(peers, seed), quiet);
    let mut figures = Figures::default();
    let Some(host) = measure::someone(&mut world, |host| host.nat == Nat::Open) else { return figures };
    let keys: Vec<Vec<u8>> = (0..peers * CIDS_PER_SERVER).map(|_| measure::new_key(&mut world)).collect();
    for key in &keys {
        let Ok(hash) = Multihash::from_bytes(key) else { continue };
        let cid = Cid::new_v1(0x55, hash);
        // Told a day ago, by an earlier run.
        let taken =
            world.act(host, |node, now| node.engine.announce(&cid, &[Network::Wan, Network::Lan], now));
        figures.promise(matches!(taken, Some(Ok(()))), || "a CID was not taken".to_owned());
    }
    let began = world.now;
    let (mut rows, mut before) = (Vec::new(), (0, 0));
    for step in 1..=STEPS {
        world.run_until(began + interval * u32::try_from(step).unwrap_or(0) / 22);
        let so_far = told(&world, host);
        let mut row = Row::new();
        row.insert("hour".to_owned(), step);
        row.insert("lookups".to_owned(), so_far.0 - before.0);
        row.insert("records".to_owned(), so_far.1 - before.1);
        rows.push(row);
        before = so_far;
    }
    let (lookups, records) = before;
    let count = keys.len() as u64;
    figures.set("cids", count);
    figures.set("lookups", lookups);
    figures.set("records", records);
    figures.set("records_per_cid_milli", records * 1_000 / count.max(1));
    // 3,500 for 100,000 CIDs among 10,000 servers.
    let most = u64::from(peers) * 35 / 100;
    figures.promise(lookups <= most.max(100), || format!("{lookups} look-ups, over {most}"));
    figures.promise(records >= count * 19, || format!("{records} records of {count} CIDs"));
    let each = rows.iter().map(|row| row["records"]);
    let (least, largest) = (each.clone().min().unwrap_or(0), each.max().unwrap_or(0));
    figures.set("least_records_of_an_hour", least);
    figures.set("most_records_of_an_hour", largest);
    let mean = records / STEPS;
    figures.promise(largest <= mean * 3 / 2, || format!("{largest} records in one hour, {mean} in the mean"));
    // What was told can be found.
    let by = measure::Provided::now(&world, host);
    let records = keys.into_iter().step_by(500).map(|key| (key, by)).collect();
    measure::find(&mut world, &records, 200, Duration::from_secs(20));
    let done = tally::finish(&mut world, Duration::from_secs(60));
    let found = tally::finds(&mut figures, "find", &done);
    figures.promise(found >= 999_000, || format!("{found} ppm of the CIDs were found"));
    close(&mut figures, &world);
    figures.curves.insert("provide-sweep".to_owned(), rows);
    figures.chart = Some(Chart {
        title: "provider records sent in each hour of the interval".to_owned(),
        curve: "provide-sweep".to_owned(),
        x: "hour".to_owned(),
        log_x: false,
        lines: vec!["records".to_owned()],
        group: None,
        unit: 1,
    });
    figures
}

/// Look-ups made and records sent for the public DHT.
fn told(world: &World, host: crate::host::HostId) -> (u64, u64) {
    let now = world.clock(host);
    let node = world.host(host).node.as_ref();
    let all = node.map(|node| node.engine.announcements(now)).unwrap_or_default();
    let wan = all.iter().find(|announcements| announcements.network == Network::Wan);
    wan.map_or((0, 0), |wan| (wan.stats.lookups, wan.stats.records))
}
