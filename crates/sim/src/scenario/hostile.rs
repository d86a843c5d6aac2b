//! Peers that lie, peers around one key, and floods.

use std::sync::Arc;
use std::time::Duration;

use peerage_engine::Config;

use super::{close, config, measure, tally};
use crate::figures::{Chart, Figures, Row};
use crate::host::{HostId, Nat};
use crate::hostile::Behaviour;
use crate::world::{Kind, Setup, World};

/// Of a thousand, so hostile: most name each other and false providers, some say
/// nothing, invent peers or repeat themselves.
const MIXED: [(u32, Behaviour); 4] =
    [(200, Behaviour::Liar), (50, Behaviour::Silent), (25, Behaviour::Inventor), (25, Behaviour::Replayer)];

/// The defaults, with a change to the public DHT.
fn with(change: impl FnOnce(&mut peerage_dht::Config)) -> Config {
    let mut config = config();
    change(Arc::make_mut(&mut config.routing.wan));
    config
}

/// Three in ten are hostile; with look-ups as deployed, and on disjoint paths.
pub(super) fn liars(peers: u32, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let mut rows = Vec::new();
    for (kind, hostile) in [MIXED.to_vec(), vec![(300, Behaviour::Liar)]].into_iter().enumerate() {
        for paths in [1, 2, 5] {
            let setup = Setup { hostile: hostile.clone(), ..Setup::new(peers, seed) };
            let mut world = World::new(setup, with(|dht| dht.paths = paths));
            let count = 300;
            world.run_for(Duration::from_secs(20));
            measure::provide(&mut world, count, Duration::from_secs(60));
            let provides = tally::finish(&mut world, Duration::from_secs(120));
            let records = measure::records(&provides);
            measure::find(&mut world, &records, count, Duration::from_secs(60));
            let finds = tally::finish(&mut world, Duration::from_secs(120));
            let name = format!("{}_paths{paths}", if kind == 0 { "mixed" } else { "liars" });
            let found = tally::finds(&mut figures, &name, &finds);
            let closest = format!("{name}_closest_honest");
            let closest = tally::closest(&mut figures, &closest, &world, &provides, Kind::Provide);
            figures.promise(found >= 990_000, || format!("{name}: {found} ppm found the provider"));
            let mut row = Row::new();
            row.insert("all_liars".to_owned(), kind as u64);
            row.insert("paths".to_owned(), paths as u64);
            row.insert("found_ppm".to_owned(), found);
            row.insert("closest_honest_ppm".to_owned(), closest);
            row.insert(
                "messages_mean_milli".to_owned(),
                figures.values[&format!("{name}_messages_mean_milli")],
            );
            row.insert("whole_p50_us".to_owned(), figures.values[&format!("{name}_whole_p50_us")]);
            rows.push(row);
            close(&mut figures, &world);
        }
    }
    figures.curves.insert("liars".to_owned(), rows);
    figures.chart = Some(Chart {
        title: "30 % hostile: look-ups that found the provider, by disjoint paths".to_owned(),
        curve: "liars".to_owned(),
        x: "paths".to_owned(),
        log_x: false,
        lines: vec!["found_ppm".to_owned()],
        group: Some("all_liars".to_owned()),
        unit: 1_000_000,
    });
    figures
}

/// Some send records, questions and wants without end; then a crowd connects to one.
pub(super) fn flood(peers: u32, seed: u64) -> Figures {
    // Small bounds, so that they are reached.
    let config = with(|dht| {
        dht.providers_max = 4_096;
        dht.providers_per_sender = 512;
        dht.providers_per_group = 1_024;
    });
    let mut world = World::new(Setup { blocks: true, ..Setup::new(peers, seed) }, config);
    let mut figures = Figures::default();
    world.run_for(Duration::from_secs(20));
    measure::provide(&mut world, 200, Duration::from_secs(30));
    let provides = tally::finish(&mut world, Duration::from_secs(60));
    let records = measure::records(&provides);
    let all = HostId::try_from(world.hosts.len()).unwrap_or(0);
    let victims: Vec<HostId> = (0..all).filter(|&host| world.host(host).node.is_some()).take(8).collect();
    let mut flooders = Vec::new();
    for _ in 0..20 {
        let flooder = world.add_host(Behaviour::Silent, Nat::Open);
        world.start(flooder, world.now);
        flooders.push(flooder);
    }
    for &flooder in &flooders {
        for &victim in &victims {
            world.approach(flooder, victim);
        }
    }
    world.run_for(Duration::from_secs(5));
    for _ in 0..3 {
        for &flooder in &flooders {
            world.flood(flooder, 1_000);
        }
        // Whose own line is full is another matter.
        let ids: Vec<_> = victims.iter().map(|&host| world.host(host).peer).collect();
        let spared = |host: &crate::host::Host| !ids.contains(&host.peer);
        measure::find_from(&mut world, &records, 60, Duration::from_secs(2), spared);
    }
    let finds = tally::finish(&mut world, Duration::from_secs(60));
    let found = tally::finds(&mut figures, "find", &finds);
    figures.promise(found >= 990_000, || format!("{found} ppm found the provider"));
    // Floods do not count as much as they send.
    let kept = victims.iter().filter_map(|&host| world.host(host).node.as_ref());
    let kept = kept.map(|node| node.stats().provider_records as u64).max().unwrap_or(0);
    figures.set("most_records_at_a_victim", kept);
    figures.promise(kept == 4_096, || format!("{kept} records at a victim: the bound was not reached"));
    crowd(&mut world, &mut figures, victims[0], &records);
    close(&mut figures, &world);
    figures
}

/// More connect to a host than it takes. It is full, and when it has closed what
/// it does not need it looks for others as before.
fn crowd(world: &mut World, figures: &mut Figures, victim: HostId, records: &measure::Records) {
    for _ in 0..700 {
        let stranger = world.add_host(Behaviour::Silent, Nat::Open);
        world.start(stranger, world.now);
        world.approach(stranger, victim);
    }
    world.run_for(Duration::from_secs(5));
    let refused = world.counts.connections_refused;
    figures.promise(refused > 0, || "a crowd of 700 was taken whole".to_owned());
    world.run_for(Duration::from_secs(60));
    let left = world.host(victim).links.len();
    figures.promise(left <= world.config.connections_high, || format!("{left} connections after a minute"));
    let peer = world.host(victim).peer;
    measure::find_from(world, records, 20, Duration::from_secs(20), |host| host.peer == peer);
    let found = tally::finds(figures, "victim_find", &tally::finish(world, Duration::from_secs(60)));
    figures.promise(found >= 999_000, || format!("{found} ppm of the victim's look-ups found the provider"));
}
