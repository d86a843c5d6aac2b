//! The sweep over an ideal network: how few look-ups it takes, how even the
//! load is, and what becomes of it when servers, we or clocks fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod oracle;

use std::time::Duration;

use oracle::{K, Rig, multihash};
use peerage_dht::sweep::{Sweep, SweepError};
use peerage_dht::{IpGroup, Key, Progress, Report, SweepConfig};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(22 * 3600);

/// A sweep that knows these keys from an earlier run.
fn rig(servers: u32, keys: u32, config: SweepConfig) -> Rig {
    let mut rig = Rig::new(servers, config);
    for n in 0..keys {
        rig.act(|sweep, now| sweep.insert(&multihash(n), now)).unwrap();
    }
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig
}

/// The largest and the mean of some figures.
fn spread(figures: &[u64]) -> (u64, u64) {
    (*figures.iter().max().unwrap(), figures.iter().sum::<u64>() / figures.len() as u64)
}

#[test]
fn a_hundred_thousand_keys_take_few_lookups_spread_evenly() {
    let (servers, keys) = (10_000, 100_000);
    let mut rig = rig(servers, keys, SweepConfig::default());
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..keys), 0);
    let stats = rig.sweep.stats(rig.clock());
    let (most_records, records) =
        spread(&rig.hours.iter().map(|hour| hour.records).collect::<Vec<_>>()[..22]);
    let (most_lookups, lookups) =
        spread(&rig.hours.iter().map(|hour| hour.lookups).collect::<Vec<_>>()[..22]);
    println!(
        "{} look-ups, at most {most_lookups} an hour of {lookups}; {most_records} records of {records}; at most {} servers at once; {stats:?}",
        rig.lookups(),
        rig.busiest
    );
    assert!(rig.lookups() <= 3_500, "{} look-ups", rig.lookups());
    assert!(most_records * 10 <= records * 12, "{most_records} of {records}");
    assert!(most_lookups * 10 <= lookups * 15, "{most_lookups} of {lookups}");
    assert!(rig.busiest <= 2 * SweepConfig::default().servers_max);
    assert_eq!((stats.records_failed, stats.keys_failed), (0, 0));
    // Nobody was told twice.
    assert_eq!(stats.records, u64::from(keys) * K as u64);
}

#[test]
fn a_new_key_is_announced_at_once_by_one_lookup() {
    let mut rig = rig(2_000, 0, SweepConfig::default());
    for n in 0..5 {
        let before = rig.lookups();
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
        rig.run_for(Duration::from_secs(3));
        assert_eq!(rig.wrong(0..=n), 0, "{n}");
        assert_eq!(rig.lookups(), before + 1);
        rig.run_for(HOUR);
    }
    assert_eq!(rig.sweep.stats(rig.clock()).waiting, 0);
    // It is not new a second time; its turn comes all the same.
    rig.told.clear();
    assert_eq!(rig.act(|sweep, now| sweep.announce(&multihash(0), now)), Ok(false));
    rig.run_for(2 * INTERVAL);
    assert_eq!(rig.wrong(0..5), 0);
}

#[test]
fn each_key_says_whether_it_was_told() {
    let mut rig = rig(200, 0, SweepConfig::default());
    let told = |rig: &Rig, n| rig.sweep.is_told(&multihash(n));
    assert!(!told(&rig, 1), "it is not announced");
    rig.act(|sweep, now| sweep.announce(&multihash(1), now)).unwrap();
    rig.act(|sweep, now| sweep.insert(&multihash(2), now)).unwrap();
    assert!(!told(&rig, 1) && told(&rig, 2), "of the second an earlier run has told");
    rig.run_for(Duration::from_secs(60));
    assert!(told(&rig, 1) && told(&rig, 2));
    // Another one, with nobody to tell.
    rig.act(|sweep, now| sweep.set_online(false, now));
    rig.act(|sweep, now| sweep.announce(&multihash(3), now)).unwrap();
    rig.run_for(Duration::from_secs(60));
    assert!(told(&rig, 1) && !told(&rig, 3));
    rig.act(|sweep, _| sweep.remove(&multihash(1)));
    assert!(!told(&rig, 1));
}

#[test]
fn a_few_keys_take_no_more_lookups_than_each_for_itself() {
    for servers in [10, 500, 10_000] {
        let mut rig = rig(servers, 0, SweepConfig::default());
        for n in 0..10 {
            rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
        }
        rig.run_for(MINUTE);
        assert_eq!(rig.wrong(0..10), 0, "{servers}");
        assert!(rig.lookups() <= 10, "{servers}: {}", rig.lookups());
    }
}

#[test]
fn many_new_keys_do_not_wait_for_their_turn() {
    let mut rig = rig(10_000, 0, SweepConfig::default());
    for n in 0..20_000 {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
    }
    rig.run_for(HOUR);
    println!("{} look-ups, {:?}", rig.lookups(), rig.sweep.stats(rig.clock()));
    assert_eq!(rig.wrong(0..20_000), 0);
    assert!(rig.lookups() <= 1_200, "{}", rig.lookups());
    assert!(rig.busiest <= 2 * SweepConfig::default().servers_max);
}

#[test]
fn a_network_of_few_takes_few_lookups_and_no_burst() {
    let mut rig = rig(15, 2_000, SweepConfig::default());
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..2_000), 0);
    assert!(rig.lookups() <= 65, "{}", rig.lookups());
    let (most, mean) = spread(&rig.hours.iter().map(|hour| hour.records).collect::<Vec<_>>()[..22]);
    assert!(most * 10 <= mean * 17, "{most} of {mean}");
}

#[test]
fn the_owner_may_keep_the_keys() {
    let config = SweepConfig { listed: true, job_keys: 100, ..SweepConfig::default() };
    let mut rig = Rig::new(1_000, config);
    for n in 0..5_000 {
        rig.owned.insert(Key::of(&multihash(n)), n);
    }
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..5_000), 0);
    assert!(rig.lookups() <= 350, "{}", rig.lookups());
    // What is added is announced at once, and listed from then on.
    for n in 5_000..5_050 {
        rig.owned.insert(Key::of(&multihash(n)), n);
        rig.act(|sweep, now| sweep.announce_listed(&multihash(n), now)).unwrap();
    }
    // Beside them one that is held.
    rig.act(|sweep, now| sweep.announce(&multihash(5_050), now)).unwrap();
    rig.run_for(5 * MINUTE);
    assert_eq!(rig.wrong(5_000..5_051), 0);
    rig.told.clear();
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..5_051), 0);
    assert!(rig.act(|sweep, _| sweep.remove(&multihash(5_050))));
    // A set without keys is asked for once a cycle.
    rig.owned.clear();
    rig.told.clear();
    rig.run_for(4 * INTERVAL);
    assert_eq!(rig.sweep.stats(rig.clock()).announced, 0);
}

#[test]
fn who_was_offline_catches_up_without_a_burst() {
    let mut rig = rig(1_000, 20_000, SweepConfig::default());
    rig.run_for(2 * HOUR);
    rig.act(|sweep, now| sweep.set_online(false, now));
    rig.run_for(MINUTE * 10);
    let before = rig.lookups();
    rig.run_for(10 * HOUR);
    assert_eq!(rig.lookups(), before);
    let stats = rig.sweep.stats(rig.clock());
    assert!(stats.lag >= 10 * HOUR && stats.overdue.unwrap() >= 8_000, "{stats:?}");
    let at = rig.hours.len();
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(INTERVAL - 12 * HOUR - MINUTE * 10);
    assert_eq!(rig.wrong(0..20_000), 0);
    let stats = rig.sweep.stats(rig.clock());
    assert!(stats.lag <= MINUTE, "{stats:?}");
    let mean = 20_000 * K as u64 / 22;
    let most = rig.hours[at..].iter().map(|hour| hour.records).max().unwrap();
    assert!(most <= 5 * mean, "{most} of {mean}");
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut rig = rig(1_000, 5_000, SweepConfig::default());
    rig.run_for(INTERVAL / 2);
    let first = rig.told.len();
    assert!((2_300..2_700).contains(&first), "{first}");
    rig.restart(SweepConfig::default());
    for n in 0..5_000 {
        rig.act(|sweep, now| sweep.insert(&multihash(n), now)).unwrap();
    }
    rig.act(|sweep, now| sweep.set_online(true, now));
    let done: Vec<u32> = rig.told.keys().copied().collect();
    rig.told.clear();
    rig.run_for(INTERVAL / 2);
    let again = done.iter().filter(|n| rig.told.contains_key(n)).count();
    assert!(again <= 100, "{again} twice");
    assert!(rig.told.len() + first >= 5_000);
}

/// Most servers of a small network are gone, and nobody noticed.
#[test]
fn what_somebody_was_told_of_does_not_wait() {
    let mut rig = Rig::new(3, SweepConfig::default());
    rig.dead = [0, 1].into();
    for n in 0..50 {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
    }
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(MINUTE);
    let stats = rig.sweep.stats(rig.clock());
    assert_eq!((stats.waiting, stats.thin), (0, 50));
    // It is tried again, and waits no more for that.
    rig.run_for(3 * HOUR);
    let tried = rig.sweep.stats(rig.clock());
    assert_eq!((tried.waiting, tried.thin), (0, 50));
    assert!(tried.records_failed > stats.records_failed);
    rig.act(|sweep, _| assert!(sweep.remove(&multihash(0))));
    assert_eq!(rig.sweep.stats(rig.clock()).thin, 49);
    rig.dead.clear();
    rig.run_for(INTERVAL);
    let stats = rig.sweep.stats(rig.clock());
    assert_eq!((stats.waiting, stats.thin), (0, 0));
    assert_eq!(rig.wrong(1..50), 0);
}

#[test]
fn servers_that_are_gone_do_not_fail_a_key_and_those_that_fail_are_tried_again() {
    let mut rig = rig(300, 500, SweepConfig::default());
    rig.dead = (0..300).step_by(10).collect();
    rig.run_for(INTERVAL);
    let stats = rig.sweep.stats(rig.clock());
    assert!(stats.records_failed > 0 && stats.keys_failed == 0, "{stats:?}");
    // Nobody takes anything for three hours; look-ups still find them.
    rig.dead = (0..300).collect();
    rig.told.clear();
    rig.run_for(3 * HOUR);
    assert!(rig.told.is_empty() && rig.sweep.stats(rig.clock()).waiting > 30);
    rig.dead.clear();
    rig.run_for(2 * HOUR);
    assert_eq!(rig.sweep.stats(rig.clock()).waiting, 0);
    let tried = rig.told.len();
    assert!(tried > 80, "{tried}");
}

#[test]
fn an_outage_stalls_and_loses_nothing() {
    let mut rig = rig(300, 3_000, SweepConfig::default());
    rig.outage = true;
    for n in 3_000..3_020 {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
    }
    rig.run_for(2 * HOUR);
    // After pauses that grow to two minutes.
    assert!(rig.lookups() <= 80, "{}", rig.lookups());
    rig.outage = false;
    rig.run_for(5 * MINUTE);
    assert_eq!(rig.wrong(3_000..3_020), 0);
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..3_020), 0);
}

#[test]
fn lookups_that_end_early_serve_their_own_key_only() {
    let mut rig = rig(300, 0, SweepConfig::default());
    rig.vague = true;
    for n in 0..200 {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
    }
    rig.run_for(HOUR);
    assert_eq!(rig.wrong(0..200), 0);
    assert!((200..=400).contains(&rig.lookups()), "{}", rig.lookups());
}

/// A look-up in a large network that ended as it was told to, and did not meet
/// the closest of it: whom it found is not taken for all that there are.
fn others_do_not_go_to(bend: fn(&mut Report)) {
    let mut rig = rig(1_000, 0, SweepConfig::default());
    let announce = |rig: &mut Rig, n: u32| {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
        rig.run_for(Duration::from_secs(5));
    };
    rig.bend = Some(bend);
    announce(&mut rig, 0);
    assert!(!rig.told[&0].is_empty(), "somebody is better than nobody");
    rig.bend = None;
    for n in 1..20 {
        announce(&mut rig, n);
    }
    assert_eq!(rig.wrong(1..20), 0);
}

#[test]
fn who_is_late_is_not_absent() {
    // Our uplink was gone when ten had answered; nobody has failed by then.
    others_do_not_go_to(|report| {
        report.closest.truncate(10);
        report.groups.truncate(10);
        report.progress = Progress { asked: 20, answered: 10, ..Progress::default() };
    });
}

#[test]
fn a_crowd_does_not_make_few_servers_many() {
    // Five of the twenty are of one group, so that eighteen count.
    others_do_not_go_to(|report| {
        report.groups[..5].fill(Some(IpGroup::V4Class(60)));
        report.progress = Progress { asked: 50, answered: 25, failed: 20, ..Progress::default() };
    });
}

#[test]
fn a_lookup_that_might_not_ask_more_says_nothing_of_others() {
    others_do_not_go_to(|report| {
        report.closest.truncate(10);
        report.groups.truncate(10);
        report.progress = Progress { asked: 200, answered: 190, ..Progress::default() };
    });
}

/// A sweep with room for ten of the owner's keys that wait, all of it taken.
fn full(servers: u32) -> Rig {
    let config = SweepConfig { listed: true, waiting_max: 10, ..SweepConfig::default() };
    let mut rig = Rig::new(servers, config);
    for n in 0..10 {
        rig.owned.insert(Key::of(&multihash(n)), n);
        rig.act(|sweep, now| sweep.announce_listed(&multihash(n), now)).unwrap();
    }
    let refused = rig.act(|sweep, now| sweep.announce_listed(&multihash(10), now));
    assert_eq!(refused, Err(SweepError::Full));
    rig
}

#[test]
fn a_single_key_finds_room_among_many() {
    let mut rig = full(100);
    let told = |rig: &Rig| rig.sweep.is_told(&multihash(50));
    rig.act(|sweep, now| sweep.announce(&multihash(50), now)).unwrap();
    assert!(!told(&rig), "it is not told before anybody was");
    // Nobody takes anything: it has failed, and others have taken all room since.
    rig.dead = (0..100).collect();
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(MINUTE);
    for n in 10..20 {
        rig.act(|sweep, now| sweep.set_online(false, now));
        rig.act(|sweep, now| sweep.announce_listed(&multihash(n), now)).unwrap();
    }
    rig.act(|sweep, now| sweep.announce(&multihash(50), now)).unwrap();
    assert!(!told(&rig));
    // A look-up that finds nobody puts it back.
    rig.outage = true;
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(MINUTE);
    assert!(!told(&rig));
    rig.outage = false;
    rig.dead.clear();
    rig.run_for(10 * MINUTE);
    assert!(told(&rig));
    assert_eq!(rig.wrong(50..51), 0);
}

#[test]
fn what_is_put_off_is_not_said_to_be_told() {
    let mut rig = full(100);
    for n in 10..1_000 {
        rig.owned.insert(Key::of(&multihash(n)), n);
    }
    // In their turn nobody takes anything of most.
    rig.dead = (0..100).collect();
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(21 * HOUR);
    let stats = rig.sweep.stats(rig.clock());
    assert!(stats.waiting > 900 && stats.put_off > 800, "{stats:?}");
    rig.dead.clear();
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..1_000), 0);
    rig.run_for(2 * INTERVAL);
    let stats = rig.sweep.stats(rig.clock());
    assert_eq!((stats.waiting, stats.put_off), (0, 0));
}

#[test]
fn keys_come_go_and_are_bounded() {
    let config = SweepConfig { keys_max: 50, waiting_max: 10, ..SweepConfig::default() };
    let mut rig = Rig::new(100, config);
    for n in 0..50 {
        assert_eq!(rig.act(|sweep, now| sweep.announce(&multihash(n), now)), Ok(true));
    }
    assert_eq!(rig.act(|sweep, now| sweep.announce(&multihash(50), now)), Err(SweepError::Full));
    assert_eq!(rig.act(|sweep, now| sweep.announce(&multihash(7), now)), Ok(false));
    assert_eq!(rig.act(|sweep, now| sweep.insert(&[0; 81], now)), Err(SweepError::Multihash(81)));
    let stats = rig.sweep.stats(rig.clock());
    assert_eq!((stats.keys, stats.waiting), (50, 50), "each of them was taken, and waits");
    for n in 0..25 {
        assert!(rig.sweep.remove(&multihash(n)));
    }
    assert!(!rig.sweep.remove(&multihash(0)));
    rig.act(|sweep, now| sweep.set_online(true, now));
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(25..50), 0);
    assert_eq!(rig.told.len(), 25);
}

#[test]
fn a_wake_up_too_early_changes_nothing_and_a_seed_replays() {
    let run = |early: bool| {
        let mut rig = rig(500, 2_000, SweepConfig::default());
        for _ in 0..20 {
            rig.run_for(MINUTE);
            if early {
                rig.act(Sweep::handle_timeout);
            }
        }
        (rig.told.clone(), rig.sweep.stats(rig.clock()), rig.sweep.cursor())
    };
    assert_eq!(run(false), run(true));
}

/// Something that happens to a sweep.
#[derive(Debug, Clone)]
enum Step {
    Announce(u32),
    Insert(u32),
    Remove(u32),
    Online(bool),
    Outage(bool),
    Vague(bool),
    /// Every so many servers take nothing.
    Dead(usize),
    Restart,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u32..300).prop_map(Step::Announce),
        3 => (0u32..300).prop_map(Step::Insert),
        1 => (0u32..300).prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Online),
        1 => any::<bool>().prop_map(Step::Outage),
        1 => any::<bool>().prop_map(Step::Vague),
        1 => (1usize..9).prop_map(Step::Dead),
        1 => Just(Step::Restart),
        4 => (0u64..8 * 3600).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Whatever happened: once all is well, every key is announced to its own
    // servers within two intervals, and the bounds held throughout.
    #[test]
    fn after_any_trouble_all_keys_are_announced(
        steps in proptest::collection::vec(step(), 0..60),
        servers in 1u32..150,
        listed in any::<bool>(),
    ) {
        let config =
            SweepConfig { listed, job_keys: 7, jobs_max: 3, servers_max: 9, ..SweepConfig::default() };
        let mut rig = Rig::new(servers, config.clone());
        for step in steps {
            match step {
                Step::Announce(n) | Step::Insert(n) => {
                    rig.owned.insert(Key::of(&multihash(n)), n);
                    // Of a set that is listed, some are held as well.
                    let hash = multihash(n);
                    match step {
                        Step::Announce(_) if listed && n % 3 > 0 => {
                            rig.act(|sweep, now| sweep.announce_listed(&hash, now)).unwrap();
                        }
                        Step::Announce(_) => drop(rig.act(|sweep, now| sweep.announce(&hash, now)).unwrap()),
                        _ if listed && n % 3 > 0 => {}
                        _ => drop(rig.act(|sweep, now| sweep.insert(&hash, now)).unwrap()),
                    }
                }
                Step::Remove(n) => {
                    rig.owned.remove(&Key::of(&multihash(n)));
                    rig.act(|sweep, _| sweep.remove(&multihash(n)));
                }
                Step::Online(online) => rig.act(|sweep, now| sweep.set_online(online, now)),
                Step::Outage(outage) => rig.outage = outage,
                Step::Vague(vague) => rig.vague = vague,
                Step::Dead(every) => rig.dead = (0..servers).step_by(every).collect(),
                Step::Restart => {
                    rig.restart(config.clone());
                    let keys: Vec<u32> = rig.owned.values().copied().collect();
                    for n in keys {
                        rig.act(|sweep, now| sweep.insert(&multihash(n), now)).unwrap();
                    }
                }
                Step::Wait(seconds) => rig.run_for(Duration::from_secs(seconds)),
            }
            prop_assert!(rig.busiest <= 18);
        }
        (rig.outage, rig.vague) = (false, false);
        rig.dead.clear();
        rig.act(|sweep, now| sweep.set_online(true, now));
        rig.run_for(HOUR);
        rig.told.clear();
        rig.run_for(2 * INTERVAL);
        let keys: Vec<u32> = rig.owned.values().copied().collect();
        prop_assert_eq!(rig.wrong(keys.into_iter()), 0);
        let stats = rig.sweep.stats(rig.clock());
        prop_assert!(stats.waiting == 0 && stats.lag < 2 * HOUR, "{:?}", stats);
    }
}

#[test]
fn after_a_sleep_of_the_machine_what_is_overdue_follows_at_a_pace() {
    let mut rig = rig(500, 22, SweepConfig::default());
    rig.run_for(HOUR);
    rig.told.clear();
    // All timers stand still meanwhile.
    rig.slept = 12 * HOUR;
    rig.run_for(6 * MINUTE);
    let overdue = |rig: &Rig| rig.sweep.stats(rig.clock()).overdue.unwrap();
    let (told, left) = (rig.told.len(), overdue(&rig));
    assert!((1..=3).contains(&told), "{told} at once");
    assert!(left >= 6, "{left} wait for their turn");
    rig.run_for(5 * HOUR);
    assert_eq!(overdue(&rig), 0);
    rig.run_for(INTERVAL);
    assert_eq!(rig.wrong(0..22), 0);
}

#[test]
fn what_was_found_before_a_sleep_is_not_used_after_it() {
    // So few that one look-up finds them all.
    let mut rig = rig(15, 0, SweepConfig::default());
    let announce = |rig: &mut Rig, n: u32| {
        rig.act(|sweep, now| sweep.announce(&multihash(n), now)).unwrap();
        rig.run_for(Duration::from_secs(3));
    };
    announce(&mut rig, 1);
    let again = |rig: &mut Rig| {
        rig.act(|sweep, _| sweep.remove(&multihash(1)));
        announce(rig, 1);
        rig.lookups()
    };
    assert_eq!(again(&mut rig), 1, "the servers are known");
    rig.slept = 12 * HOUR;
    assert_eq!(again(&mut rig), 2);
}
