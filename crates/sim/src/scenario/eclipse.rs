//! Keys whose nearest places an attacker takes, by identities and prefixes.
//!
//! The attack of Sridhar et al. ("Content Censorship in the InterPlanetary File
//! System", NDSS 2024): identities nearer to a key than all honest servers take
//! its records, and do not give them out. Here they also name false providers and
//! each other (as in Moura Netto et al., "Active Sybil Attack and Efficient
//! Defense Strategy in IPFS DHT", 2025). What they measured is beside our figures
//! as far as it is comparable; their networks are the deployed one.

use std::time::Duration;

use peerage_dht::Key;

use super::{close, config, measure, tally};
use crate::figures::{Chart, Figures, Row, ppm};
use crate::host::HostId;
use crate::hostile::Behaviour;
use crate::world::{KEEPERS, Kind, Setup, World};

const KEYS: u32 = 10;
const SEEKERS: u32 = 6;

/// Servers nearest to the key to which each identity makes itself known.
const VICTIMS: usize = 60;

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    let mut world = World::new(Setup::new(peers, seed), config());
    let mut figures = Figures::default();
    let mut rows = Vec::new();
    world.run_for(Duration::from_secs(20));
    for groups in [1, 4, 6, 8, 1_000] {
        for identities in [0, 10, 20, 45, 90] {
            let before = attack(&mut world, identities, groups, true);
            let after = attack(&mut world, identities, groups, false);
            if identities == 0 {
                let well = before.found.min(after.found);
                figures.promise(well >= 999_000, || format!("{well} ppm found without an attack"));
            }
            let mut row = Row::new();
            row.insert("identities".to_owned(), identities.into());
            row.insert("groups".to_owned(), groups.min(identities.into()));
            row.insert("groups_at_most".to_owned(), groups);
            row.insert("looked_for".to_owned(), (KEYS * SEEKERS).into());
            row.insert("found_if_provided_before_ppm".to_owned(), before.found);
            row.insert("found_if_provided_after_ppm".to_owned(), after.found);
            row.insert("hostile_of_closest_ppm".to_owned(), after.of_closest);
            row.insert("hostile_of_tables_ppm".to_owned(), after.of_tables);
            rows.push(row);
        }
    }
    figures.publish(
        "attack",
        "Sridhar et al. (NDSS 2024): prevents the retrieval of any chosen content, with minimal effort and cost",
    );
    figures.publish(
        "detection",
        "Sridhar et al.: 99.6 % of attacks detected by statistics over a look-up, all of these mitigated by a \
         wider publication; neither is done here",
    );
    figures.publish(
        "against_detection",
        "Moura Netto et al. (2025): with false answers complete against Kubo of that year, and about 80 % of \
         look-ups denied against that mitigation",
    );
    close(&mut figures, &world);
    figures.curves.insert("eclipse".to_owned(), rows);
    figures.chart = Some(Chart {
        title: "look-ups that found a provider, by identities nearest to its key".to_owned(),
        curve: "eclipse".to_owned(),
        x: "identities".to_owned(),
        log_x: false,
        lines: vec!["found_if_provided_after_ppm".to_owned()],
        group: Some("groups_at_most".to_owned()),
        unit: 1_000_000,
    });
    figures
}

/// What an attack came to, in parts of a million.
#[derive(Debug, Clone, Copy)]
struct Effect {
    /// Look-ups that found the provider.
    found: u64,
    /// Of the servers that are the closest to the keys: hostile ones.
    of_closest: u64,
    /// Of the entries in the tables of the victims: hostile ones.
    of_tables: u64,
}

/// Keys under attack that were provided before it or after it began.
fn attack(world: &mut World, identities: u32, groups: u64, before: bool) -> Effect {
    let mut sybils: Vec<HostId> = Vec::new();
    let mut records = measure::Records::new();
    let (mut of_closest, mut all_closest, mut of_tables, mut all_tables) = (0, 0, 0, 0);
    for _ in 0..KEYS {
        let key = measure::new_key(world);
        let Some(provider) = measure::someone(world, |_| true) else { continue };
        records.insert(key.clone(), measure::Provided::now(world, provider));
        if before {
            world.query(provider, Kind::Provide, &key, None);
            world.finish_queries(Duration::from_secs(90));
        }
        let target = Key::of(&key);
        let victims = world.servers.nearest(&target, VICTIMS, |host| honest(world, host));
        sybils.extend(world.eclipse(&target, identities, groups, VICTIMS));
        world.run_for(Duration::from_secs(5));
        if !before {
            world.query(provider, Kind::Provide, &key, None);
            world.finish_queries(Duration::from_secs(90));
        }
        let closest = world.servers.nearest(&target, KEEPERS, |host| world.host(host).alive);
        of_closest += closest.iter().filter(|host| !honest(world, **host)).count() as u64;
        all_closest += closest.len() as u64;
        for victim in victims {
            let table = world.host(victim).node.as_ref().map(|node| node.table()).unwrap_or_default();
            let named = table.iter().filter_map(|info| crate::host::number(&info.peer));
            // Those of earlier attacks may be left there, and are gone.
            let hostile = |other: &HostId| world.host(*other).alive && !honest(world, *other);
            of_tables += named.filter(hostile).count() as u64;
            all_tables += table.len() as u64;
        }
    }
    world.take_done();
    measure::find(world, &records, KEYS * SEEKERS, Duration::from_secs(5));
    let found = tally::finds(&mut Figures::default(), "find", &tally::finish(world, Duration::from_secs(90)));
    // They are gone before the next attack.
    for sybil in sybils {
        world.stop(sybil, false);
    }
    Effect { found, of_closest: ppm(of_closest, all_closest), of_tables: ppm(of_tables, all_tables) }
}

fn honest(world: &World, host: HostId) -> bool {
    world.host(host).behaviour == Behaviour::Honest
}
