//! Worlds in which things fail: their figures must say so.

use std::sync::Arc;

use super::*;
use crate::hostile::Behaviour;
use crate::scenario::{config, measure};
use crate::world::Setup;

const LONG: Duration = Duration::from_secs(120);

fn world() -> World {
    World::new(Setup::new(60, 1), config())
}

/// Five records, provided while all is well.
fn provided(world: &mut World) -> measure::Records {
    measure::provide(world, 5, Duration::from_secs(1));
    let done = finish(world, LONG);
    assert_eq!(provides(&mut Figures::default(), "provide", &done), 1_000_000);
    assert!(done.iter().all(|done| done.kept >= 19), "{done:?}");
    measure::records(&done)
}

fn fall_silent(world: &mut World) {
    for host in &mut world.hosts {
        host.behaviour = Behaviour::Silent;
    }
}

#[test]
fn where_all_is_well_all_succeeds() {
    let mut world = world();
    let records = provided(&mut world);
    measure::find_each(&mut world, &records, Duration::from_secs(1));
    let done = finish(&mut world, LONG);
    let mut figures = Figures::default();
    assert_eq!((finds(&mut figures, "find", &done), done.len()), (1_000_000, 5));
    assert!(figures.values["find_first_provider_p99_us"] < 3_000_000);
    assert_eq!(figures.values["find_false_providers_p99"], 0);
}

#[test]
fn nothing_asked_is_nothing_shown() {
    let mut figures = Figures::default();
    assert_eq!(provides(&mut figures, "provide", &[]), 0);
    assert_eq!(finds(&mut figures, "find", &[]), 0);
    assert_eq!(closest(&mut figures, "closest", &world(), &[], Kind::Provide), 0);
}

#[test]
fn a_silent_world_yields_nothing() {
    let mut world = world();
    let records = provided(&mut world);
    fall_silent(&mut world);
    let mut figures = Figures::default();
    measure::provide(&mut world, 5, Duration::from_secs(1));
    assert_eq!(provides(&mut figures, "provide", &finish(&mut world, LONG)), 0);
    assert_eq!(figures.values["provide_success_of"], 5);
    // Who keeps a record itself would not have to ask.
    let keepers: Vec<_> =
        records.keys().map(|key| (key.clone(), world.keepers(key, records[key].by))).collect();
    assert!(keepers.iter().all(|(_, kept)| *kept == 0), "nobody honest is there: {keepers:?}");
    let stranger = |world: &World, key: &[u8], by: HostId| {
        (0..60).find(|&host| {
            host != by
                && !world
                    .host(host)
                    .node
                    .as_ref()
                    .is_some_and(|node| node.keeps(key, &world.host(by).peer, world.clock(host)))
        })
    };
    for (key, record) in &records {
        let host = stranger(&world, key, record.by).expect("20 of 60 keep it");
        assert!(world.query(host, Kind::Providers, key, Some(record.by)));
    }
    assert_eq!(finds(&mut figures, "find", &finish(&mut world, LONG)), 0);
    assert_eq!(figures.values["find_success_of"], 5);
}

#[test]
fn what_never_ends_fails_and_is_named() {
    let mut world = world();
    fall_silent(&mut world);
    measure::provide(&mut world, 5, Duration::from_millis(1));
    let mut figures = Figures::default();
    assert_eq!(provides(&mut figures, "provide", &world.take_done()), 0);
    assert_eq!((figures.values["provide_unfinished"], figures.values["provide_success_of"]), (5, 5));
}

#[test]
fn what_is_refused_fails_and_is_named() {
    let mut config = config();
    Arc::make_mut(&mut config.routing.wan).lookups_max = 0;
    config.lookups_waiting = 0;
    let mut world = World::new(Setup::new(60, 1), config);
    measure::provide(&mut world, 5, Duration::from_secs(1));
    let mut figures = Figures::default();
    assert_eq!(provides(&mut figures, "provide", &finish(&mut world, LONG)), 0);
    assert_eq!((figures.values["provide_refused"], figures.values["provide_success_of"]), (5, 5));
}

#[test]
fn who_leaves_is_counted_apart() {
    let mut world = world();
    fall_silent(&mut world);
    for asker in 8..11 {
        assert!(world.query(asker, Kind::Provide, &some_key(asker), None));
    }
    world.stop(9, true);
    let mut figures = Figures::default();
    assert_eq!(provides(&mut figures, "provide", &finish(&mut world, LONG)), 0);
    assert_eq!((figures.values["provide_asker_left"], figures.values["provide_success_of"]), (1, 2));
}

#[test]
fn a_provider_that_left_is_not_found() {
    let mut world = world();
    let records = provided(&mut world);
    let (key, record) = records.iter().next().expect("there are five");
    let asker = (8..60).find(|&host| host != record.by).expect("there are 60");
    world.stop(record.by, true);
    // Its record is still told, and of no use.
    assert!(world.query(asker, Kind::Providers, key, Some(record.by)));
    let mut figures = Figures::default();
    assert_eq!(finds(&mut figures, "find", &finish(&mut world, LONG)), 0);
    assert_eq!((figures.values["find_success_of"], figures.values["find_sought_left"]), (1, 0));
    // It leaves while it is looked for: nobody's fault.
    world.restart(record.by, true);
    assert!(world.query(asker, Kind::Providers, &some_key(7), Some(record.by)));
    world.stop(record.by, true);
    finds(&mut figures, "find", &finish(&mut world, LONG));
    assert_eq!((figures.values["find_success_of"], figures.values["find_sought_left"]), (0, 1));
}

fn some_key(n: HostId) -> Vec<u8> {
    let mut key = vec![0x12, 0x20];
    key.extend([u8::try_from(n).unwrap(); 32]);
    key
}
