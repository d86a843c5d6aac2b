//! The table: who gets in, who waits, who leaves, who is closest.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::Network;
use crate::reach::Reach;
use crate::testing::{addr, info, peer};

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

fn config() -> Config {
    Config { bucket_size: 4, replacements: 2, ..Config::default() }
}

fn table() -> Table {
    Table::new(Key::of_peer(&peer(0)), &config())
}

fn standing(n: u64) -> Standing {
    Reach::new(&Config::new(Network::Wan)).standing(&addr(n))
}

fn add(table: &mut Table, n: u64, now: u64) -> Admission {
    table.answered(&info(n), standing(n), at(now))
}

/// The first peers whose keys share exactly `prefix` bits with the local one.
fn in_bucket(prefix: usize, count: usize) -> Vec<u64> {
    let local = Key::of_peer(&peer(0));
    (1..).filter(|&n| local.common_prefix(&Key::of_peer(&peer(n))) == prefix).take(count).collect()
}

fn check(table: &Table) {
    let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
    let mut len = 0;
    for (prefix, bucket) in table.buckets.iter().enumerate() {
        assert!(bucket.entries.len() <= table.bucket_size);
        assert!(bucket.waiting.len() <= table.replacements);
        let of = |group| bucket.waiting.iter().filter(move |entry| entry.group == group).count();
        assert!(bucket.waiting.iter().all(|entry| of(entry.group) <= table.bucket_group_max));
        assert!(bucket.entries.is_sorted_by_key(|entry| entry.answered));
        let mut here: BTreeMap<Group, usize> = BTreeMap::new();
        for entry in &bucket.entries {
            assert_eq!(table.local.common_prefix(&entry.key), prefix);
            assert!(bucket.waiting.iter().all(|other| other.peer != entry.peer), "in the table or waiting");
            if let Some(group) = entry.group {
                *groups.entry(group).or_default() += 1;
                *here.entry(group).or_default() += 1;
            }
        }
        assert!(here.values().all(|&count| count <= table.bucket_group_max));
        len += bucket.entries.len();
    }
    assert!(groups.values().all(|&count| count <= table.table_group_max));
    assert!(table.groups.iter().eq(&groups));
    assert_eq!(table.len, len);
}

#[test]
fn who_is_there_stays_and_who_comes_waits() {
    let mut table = table();
    let bucket = in_bucket(0, 8);
    for (time, &n) in bucket[..4].iter().enumerate() {
        assert_eq!(add(&mut table, n, time as u64), Admission::Added { evicted: None });
    }
    assert_eq!(add(&mut table, bucket[0], 10), Admission::Known);
    let waits = Admission::Waiting { oldest: peer(bucket[1]), answered: at(1) };
    for &n in &bucket[4..7] {
        assert_eq!(add(&mut table, n, 11), waits);
    }
    check(&table);
    // Whoever fails while somebody waits is replaced at once, by who answered last.
    let minute = |n: u64| at(20 + 60 * n);
    assert_eq!(table.failed(&peer(bucket[1]), minute(0)), Some(Some(peer(bucket[6]))));
    assert_eq!(table.failed(&peer(bucket[2]), minute(0)), Some(Some(peer(bucket[5]))));
    // The first that waited had to make room; now nobody waits, and one failure is forgiven.
    assert_eq!(table.failed(&peer(bucket[3]), minute(0)), None);
    assert_eq!(table.len(), 4);
    // Unless somebody comes.
    assert_eq!(add(&mut table, bucket[7], 12), Admission::Added { evicted: Some(peer(bucket[3])) });
    assert_eq!(table.failed(&peer(bucket[0]), minute(1)), None);
    assert_eq!(table.failed(&peer(bucket[0]), minute(1)), None, "what comes at once is the same failure");
    assert_eq!(table.failed(&peer(bucket[0]), minute(2)), Some(None), "the second failure in a row");
    assert_eq!(table.remove(&peer(bucket[7])), Some(None));
    assert_eq!(table.remove(&peer(bucket[7])), None);
    assert_eq!(table.len(), 2);
    check(&table);
}

#[test]
fn an_answer_clears_failures() {
    let mut table = table();
    let n = in_bucket(0, 1)[0];
    add(&mut table, n, 0);
    for time in 1..5 {
        assert_eq!(table.failed(&peer(n), at(60 * time)), None);
        assert!(table.closest(&table.local, 9, None, false).is_empty(), "not told to others meanwhile");
        assert_eq!(table.closest(&table.local, 9, None, true), [info(n)]);
        assert_eq!(add(&mut table, n, 60 * time), Admission::Known);
        assert_eq!(table.closest(&table.local, 9, None, false), [info(n)]);
    }
}

#[test]
fn few_of_one_group_get_in() {
    let mut table = Table::new(Key::of_peer(&peer(0)), &Config::default());
    let mut admitted = [0; 2];
    for bucket in [0, 1] {
        for n in in_bucket(bucket, 6) {
            let info = PeerInfo { peer: peer(n), addrs: vec![addr(7)] };
            if (table.answered(&info, standing(7), at(0)) == Admission::Added { evicted: None }) {
                admitted[bucket] += 1;
            }
        }
    }
    assert_eq!(admitted, [2, 1], "two in a bucket, three in all");
    check(&table);
    let one = in_bucket(0, 1)[0];
    assert!(!table.has_room(&peer(in_bucket(3, 1)[0]), standing(7)));
    table.remove(&peer(one));
    assert!(table.has_room(&peer(in_bucket(3, 1)[0]), standing(7)), "there is room again");
    assert!(!table.has_room(&peer(in_bucket(1, 9)[8]), Standing::Outside));
}

#[test]
fn whose_place_fits_nobody_keeps_it() {
    let mut table = table();
    let bucket = in_bucket(0, 9);
    let add = |table: &mut Table, n: u64, group: u64| {
        let info = PeerInfo { peer: peer(n), addrs: vec![addr(group)] };
        table.answered(&info, standing(group), at(n))
    };
    // Two networks have all four places.
    for (&n, group) in bucket[..4].iter().zip([1, 1, 2, 2]) {
        assert_eq!(add(&mut table, n, group), Admission::Added { evicted: None });
    }
    assert_eq!(add(&mut table, bucket[4], 1), Admission::Refused);
    // Of the others two of one network may wait, though three come.
    for &n in &bucket[5..8] {
        assert!(matches!(add(&mut table, n, 3), Admission::Waiting { .. }));
    }
    assert_eq!(table.failed(&peer(bucket[0]), at(0)), Some(Some(peer(bucket[7]))));
    assert_eq!(table.failed(&peer(bucket[2]), at(0)), Some(Some(peer(bucket[6]))));
    assert_eq!(table.health()[0].waiting, 0);
    // One of the third network waits no more, so that nobody takes this place,
    // but for one whose network has room then.
    assert_eq!(table.failed(&peer(bucket[1]), at(0)), None);
    assert!(table.contains(&peer(bucket[1])));
    assert_eq!(add(&mut table, bucket[5], 3), Admission::Refused);
    assert_eq!(table.failed(&peer(bucket[6]), at(0)), None);
    assert!(table.has_room(&peer(bucket[8]), standing(3)));
    assert_eq!(add(&mut table, bucket[5], 3), Admission::Added { evicted: Some(peer(bucket[6])) });
    check(&table);
}

#[test]
fn neither_ourselves_nor_who_has_no_address() {
    let mut table = table();
    assert_eq!(add(&mut table, 0, 0), Admission::Refused);
    let nowhere = PeerInfo { peer: peer(1), addrs: Vec::new() };
    assert_eq!(table.answered(&nowhere, standing(1), at(0)), Admission::Refused);
    assert_eq!(table.answered(&info(1), Standing::Outside, at(0)), Admission::Refused);
    assert_eq!(table.len(), 0);
}

#[test]
fn stale_buckets_are_those_without_a_look_up() {
    let mut table = table();
    let deep = in_bucket(3, 1)[0];
    add(&mut table, deep, 0);
    assert_eq!(table.stale_prefixes(at(0), 15), [0, 1, 2, 3]);
    assert_eq!(table.stale_prefixes(at(0), 1), [0, 1]);
    table.refreshed(&Key::of_peer(&peer(deep)), at(5));
    assert_eq!(table.stale_prefixes(at(4), 15), [0, 1, 2]);
    assert_eq!(table.stale_prefixes(at(5), 15), [0, 1, 2, 3]);
    assert_eq!(table.unheard(at(0)).collect::<Vec<_>>(), [peer(deep)]);
}

#[derive(Debug, Clone)]
enum Step {
    Answered(u64, u64),
    Failed(u64),
    Removed(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..200, 0u64..20).prop_map(|(n, group)| Step::Answered(n, group)),
        2 => (0u64..200).prop_map(Step::Failed),
        1 => (0u64..200).prop_map(Step::Removed),
    ]
}

proptest! {
    #[test]
    fn the_table_stays_sound_and_knows_the_closest(
        steps in proptest::collection::vec(step(), 0..300),
        target in any::<[u8; 8]>(),
        count in 0usize..30,
    ) {
        let mut table = table();
        for (time, step) in steps.into_iter().enumerate() {
            match step {
                Step::Answered(n, group) => {
                    let info = PeerInfo { peer: peer(n), addrs: vec![addr(group)] };
                    table.answered(&info, standing(group), at(20 * time as u64));
                }
                Step::Failed(n) => drop(table.failed(&peer(n), at(20 * time as u64))),
                Step::Removed(n) => drop(table.remove(&peer(n))),
            }
            check(&table);
        }
        let target = Key::of(&target);
        let mut all: Vec<PeerInfo> = table.peers().collect();
        prop_assert_eq!(all.len(), table.len());
        all.sort_by_key(|info| Key::of_peer(&info.peer).distance(&target));
        all.truncate(count);
        prop_assert_eq!(table.closest(&target, count, None, true), all);
    }
}
