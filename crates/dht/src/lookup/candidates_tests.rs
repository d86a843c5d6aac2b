//! Whom a look-up asks, in which order, and whom it forgets.

use std::collections::VecDeque;

use peerage_base::Rng;
use proptest::prelude::*;

use super::*;
use crate::testing::{addr, info, peer};

fn hear(candidates: &mut Candidates, peer: &PeerId, group: Option<Group>, closer: Vec<PeerInfo>) -> bool {
    let teller = Teller { group, doubted: false };
    candidates.answered(*peer, teller, closer.into_iter().map(Named::from)).is_some()
}

fn config() -> Config {
    Config {
        bucket_size: 5,
        parallelism: 4,
        resiliency: 2,
        candidates_max: 30,
        asked_max: 60,
        ..Config::default()
    }
}

/// Where groups do not matter.
fn lan() -> Reach {
    Reach::new(&Config::new(crate::limits::Network::Lan))
}

/// Numbers of peers, closest to the target first.
fn order(target: &Key, count: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..count).collect();
    all.sort_by_key(|&n| target.distance(&Key::of_peer(&peer(n))));
    all
}

fn infos(of: &[u64]) -> Vec<PeerInfo> {
    of.iter().map(|&n| info(n)).collect()
}

/// So many peers, closest first, and a look-up that begins with some of them.
fn knowing(count: u64, known: std::ops::Range<usize>) -> (Vec<u64>, Candidates) {
    let target = Key::of(b"target");
    let near = order(&target, count);
    let candidates = Candidates::new(target, infos(&near[known]), lan(), &config());
    (near, candidates)
}

fn asked(next: Next) -> Vec<PeerInfo> {
    match next {
        Next::Ask(peers) => peers,
        Next::Settled => panic!("settled"),
    }
}

#[test]
fn walks_until_beta_have_answered_then_gathers_the_k_closest() {
    let (near, mut candidates) = knowing(40, 20..30);
    let first = asked(candidates.next());
    assert_eq!(first, infos(&near[20..24]), "alpha at a time");
    // The first to answer names the very closest.
    let closer = infos(&near[..6]);
    assert!(hear(&mut candidates, &peer(near[20]), None, closer));
    assert!(!hear(&mut candidates, &peer(near[20]), None, Vec::new()), "once");
    assert_eq!(asked(candidates.next()), [info(near[0])], "one place came free");
    candidates.failed(&peer(near[21]), Failure::Unreachable, false);
    assert_eq!(asked(candidates.next()), [info(near[1])]);
    hear(&mut candidates, &peer(near[1]), None, Vec::new());
    assert_eq!(asked(candidates.next()), [info(near[2])]);
    candidates.failed(&peer(near[0]), Failure::Unreachable, false);
    assert_eq!(asked(candidates.next()), [info(near[3])]);
    hear(&mut candidates, &peer(near[2]), None, Vec::new());
    // The two closest that live have answered: the rest of five at once.
    assert_eq!(asked(candidates.next()), [info(near[4]), info(near[5])]);
    for &n in &near[3..6] {
        hear(&mut candidates, &peer(n), None, Vec::new());
    }
    assert_eq!(candidates.next(), Next::Settled, "though two further ones are still silent");
    assert_eq!(candidates.closest(), infos(&near[1..6]));
    assert_eq!(candidates.nearest().map(|(_, hops)| hops), Some(2));
    assert_eq!((candidates.asked(), candidates.answered_count(), candidates.failed_count()), (10, 6, 2));
}

#[test]
fn ends_when_nobody_is_left() {
    let mut none = Candidates::new(Key::of(b"a"), Vec::new(), lan(), &config());
    assert_eq!(none.next(), Next::Settled);
    let mut all_fail = Candidates::new(Key::of(b"a"), (0..9).map(info).collect(), lan(), &config());
    let mut count = 0;
    while let Next::Ask(peers) = all_fail.next() {
        assert!(!peers.is_empty(), "nothing is waited for that does not come");
        count += peers.len();
        for info in peers {
            all_fail.failed(&info.peer, Failure::Unreachable, false);
        }
    }
    assert_eq!((count, all_fail.closest()), (9, vec![]));
}

#[test]
fn on_disjoint_paths_a_peer_belongs_to_whoever_heard_first() {
    let target = Key::of(b"target");
    let near = order(&target, 40);
    let known = infos(&near[30..34]);
    let mut candidates = Candidates::new(target, known, lan(), &Config { paths: 2, ..config() });
    assert_eq!(asked(candidates.next()).len(), 4, "two on each path");
    // A liar on the first path names its friends; the second path is not led there.
    hear(&mut candidates, &peer(near[30]), None, infos(&near[..3]));
    hear(&mut candidates, &peer(near[31]), None, infos(&near[1..6]));
    assert!(near[..3].iter().all(|&n| candidates.path_of(&peer(n)) == Some(0)));
    assert!(near[3..6].iter().all(|&n| candidates.path_of(&peer(n)) == Some(1)));
    assert_eq!(asked(candidates.next()), [info(near[0]), info(near[3])], "each its own closest");
}

#[test]
fn a_false_address_does_not_hide_the_right_one() {
    let (near, mut candidates) = knowing(40, 30..34);
    candidates.next();
    // The liar answers first; the place that it leaves goes to the nearest.
    let false_addr = |n| PeerInfo { peer: peer(n), addrs: vec![addr(99)] };
    hear(&mut candidates, &peer(near[30]), None, vec![false_addr(near[0]), false_addr(near[1])]);
    assert_eq!(asked(candidates.next()), [false_addr(near[0])]);
    hear(&mut candidates, &peer(near[31]), None, vec![info(near[1]), info(near[1])]);
    let both = PeerInfo { peer: peer(near[1]), addrs: vec![addr(99), addr(near[1])] };
    assert_eq!(asked(candidates.next()), [both]);
}

#[test]
fn whoever_is_near_from_one_network_alone_is_not_all_of_the_closest() {
    let target = Key::of(b"target");
    let near = order(&target, 60);
    let wan = Reach::new(&Config::default());
    let at = |place: usize| {
        // The forty nearest are one owner's.
        let (owner, host) = if place < 40 { (1, place) } else { (place, 1) };
        let addr = format!("/ip4/5.{owner}.0.{host}/tcp/4001").parse().unwrap();
        PeerInfo { peer: peer(near[place]), addrs: vec![addr] }
    };
    let known: Vec<PeerInfo> = (50..54).map(at).collect();
    let mut candidates = Candidates::new(target, known, wan, &config());
    let (mut asked, mut waiting) = (0, Vec::new());
    while let Next::Ask(peers) = candidates.next() {
        waiting.extend(peers);
        let info: PeerInfo = waiting.remove(0);
        asked += 1;
        let place = near.iter().position(|&n| peer(n) == info.peer).unwrap();
        // His name each other; the others name some of everybody.
        let closer = if place < 40 { (0..40).collect::<Vec<_>>() } else { vec![0, 1, 2, 40, 41, 42] };
        let group = wan.group(&info.addrs[0]);
        hear(&mut candidates, &info.peer, group, closer.into_iter().map(at).collect());
    }
    let closest = candidates.closest();
    let honest = closest.iter().filter(|info| near[40..].iter().any(|&n| peer(n) == info.peer)).count();
    assert_eq!(honest, config().bucket_size - config().closest_group_max);
    assert_eq!(candidates.closest_groups().len(), closest.len());
    assert!(asked < 20, "{asked}: those that would not count are not asked");
}

#[test]
fn who_names_only_peers_that_fail_is_not_believed() {
    let (near, mut candidates) = knowing(40, 30..32);
    candidates.next();
    hear(&mut candidates, &peer(near[30]), None, infos(&near[..10]));
    // The tenth is named by another too.
    hear(&mut candidates, &peer(near[31]), None, infos(&near[9..20]));
    assert_eq!(asked(candidates.next()).len(), 4);
    for &n in &near[..4] {
        candidates.failed(&peer(n), Failure::Unreachable, false);
    }
    assert_eq!(candidates.inventors().collect::<Vec<_>>(), [peer(near[30])]);
    let next = infos(&near[9..13]);
    assert_eq!(asked(candidates.next()), next, "the rest of the first one's are forgotten");
}

#[test]
fn who_is_doubted_is_believed_for_less() {
    let target = Key::of(b"target");
    let near = order(&target, 40);
    for doubted in [false, true] {
        let known = infos(&near[30..32]);
        let mut candidates = Candidates::new(target, known, lan(), &config());
        candidates.next();
        let names = near[..10].iter().map(|&n| info(n).into());
        candidates.answered(peer(near[30]), Teller { group: None, doubted }, names);
        asked(candidates.next());
        candidates.failed(&peer(near[0]), Failure::Unreachable, false);
        assert_eq!(candidates.path_of(&peer(near[9])).is_none(), doubted);
        assert_eq!(candidates.inventors().count(), 0, "one is not many");
    }
}

#[test]
fn liars_that_name_the_same_inventions_are_not_believed() {
    let (near, mut candidates) = knowing(60, 50..54);
    asked(candidates.next());
    for liar in &near[50..53] {
        hear(&mut candidates, &peer(*liar), None, infos(&near[..20]));
    }
    hear(&mut candidates, &peer(near[53]), None, infos(&near[40..45]));
    for info in asked(candidates.next()) {
        candidates.failed(&info.peer, Failure::Unreachable, false);
    }
    let next = asked(candidates.next());
    assert_eq!(next, infos(&near[40..44]));
}

#[test]
fn a_crowd_of_false_addresses_does_not_hide_the_right_one() {
    let (near, mut candidates) = knowing(40, 30..34);
    asked(candidates.next());
    let lies = PeerInfo { peer: peer(near[1]), addrs: (100..116).map(addr).collect() };
    hear(&mut candidates, &peer(near[30]), None, vec![info(near[0]), lies]);
    asked(candidates.next());
    hear(&mut candidates, &peer(near[31]), None, vec![info(near[1])]);
    let place = asked(candidates.next())[0].addrs.iter().position(|known| *known == addr(near[1]));
    assert!(place.is_some_and(|place| place < 8), "{place:?}");
}

#[test]
fn who_was_asked_at_a_false_address_is_asked_where_others_say_it_is() {
    let far = PeerInfo { peer: peer(0), addrs: vec![addr(99)] };
    for late in [false, true] {
        let (near, mut candidates) = knowing(40, 30..34);
        asked(candidates.next());
        let lies = |places: std::ops::Range<usize>| {
            let lie = |&n: &u64| PeerInfo { peer: peer(n), ..far.clone() };
            near[places].iter().map(lie).collect::<Vec<_>>()
        };
        hear(&mut candidates, &peer(near[30]), None, lies(0..4));
        let mut told = asked(candidates.next());
        // Two of the honest answer while the first is still asked, one afterwards.
        let truth = infos(&near[..4]);
        hear(&mut candidates, &peer(near[31]), None, truth.clone());
        told.extend(asked(candidates.next()));
        hear(&mut candidates, &peer(near[32]), None, truth.clone());
        told.extend(asked(candidates.next()));
        assert_eq!(told[0], lies(0..1)[0]);
        let fail = |candidates: &mut Candidates| {
            if late {
                candidates.late(&peer(near[0]));
            } else {
                candidates.failed(&peer(near[0]), Failure::Unreachable, false);
            }
        };
        fail(&mut candidates);
        assert_eq!(asked(candidates.next())[0], info(near[0]), "only where it was not yet");
        if late {
            candidates.failed(&peer(near[0]), Failure::Unreachable, true);
        }
        let blamed = |candidates: &Candidates| candidates.blamed(&peer(near[30]));
        assert_eq!(blamed(&candidates), 1);
        assert!([31, 32].iter().all(|&place| candidates.blamed(&peer(near[place])) == 0));
        hear(&mut candidates, &peer(near[33]), None, truth);
        assert!(hear(&mut candidates, &peer(near[0]), None, Vec::new()), "it is still waited for");
        assert_eq!(candidates.closest()[0], info(near[0]));
        assert_eq!(blamed(&candidates), 1);
    }
}

#[test]
fn nobody_is_asked_more_often_than_may_be() {
    let (near, mut candidates) = knowing(40, 30..34);
    asked(candidates.next());
    let at = |n: u64| vec![PeerInfo { peer: peer(near[0]), addrs: vec![addr(n)] }];
    for (place, tries) in [(30, 1), (31, 1), (32, 0), (33, 0)] {
        hear(&mut candidates, &peer(near[place]), None, at(place as u64));
        let next = if let Next::Ask(peers) = candidates.next() { peers } else { Vec::new() };
        assert_eq!(next, if tries == 1 { at(place as u64) } else { Vec::new() });
        candidates.failed(&peer(near[0]), Failure::Unreachable, false);
        assert_eq!(candidates.blamed(&peer(near[place])), tries);
    }
    assert_eq!((candidates.asked(), candidates.failed_count()), (6, 2));
}

#[test]
fn who_was_reached_and_is_no_server_is_not_asked_again() {
    let (near, mut candidates) = knowing(40, 30..34);
    asked(candidates.next());
    hear(&mut candidates, &peer(near[30]), None, infos(&near[..1]));
    asked(candidates.next());
    candidates.failed(&peer(near[0]), Failure::Unsupported, false);
    let elsewhere = PeerInfo { peer: peer(near[0]), addrs: vec![addr(99)] };
    hear(&mut candidates, &peer(near[31]), None, vec![elsewhere]);
    assert_eq!(asked(candidates.next()), []);
}

#[test]
fn who_names_peers_that_are_not_tried_is_believed() {
    let (near, mut candidates) = knowing(40, 30..32);
    candidates.next();
    hear(&mut candidates, &peer(near[30]), None, infos(&near[..10]));
    hear(&mut candidates, &peer(near[31]), None, Vec::new());
    asked(candidates.next());
    for &n in &near[..4] {
        candidates.failed(&peer(n), Failure::NotTried, false);
    }
    let next = infos(&near[4..8]);
    assert_eq!(asked(candidates.next()), next);
}

#[test]
fn who_takes_long_is_not_waited_for_and_may_still_answer() {
    let (near, mut candidates) = knowing(40, 0..8);
    assert_eq!(asked(candidates.next()).len(), 4);
    candidates.late(&peer(near[0]));
    assert_eq!(asked(candidates.next()), [info(near[4])], "its place is free");
    candidates.late(&peer(near[1]));
    hear(&mut candidates, &peer(near[2]), None, Vec::new());
    hear(&mut candidates, &peer(near[3]), None, Vec::new());
    // The two closest of the others have answered; five are wanted.
    let rest = infos(&near[5..7]);
    assert_eq!(asked(candidates.next()), rest);
    hear(&mut candidates, &peer(near[1]), None, vec![info(near[9])]);
    for &n in &near[4..6] {
        hear(&mut candidates, &peer(n), None, Vec::new());
    }
    assert_eq!(candidates.next(), Next::Settled);
    let closest = infos(&near[1..6]);
    assert_eq!(candidates.closest(), closest, "with the one that was only slow");
}

#[test]
fn while_few_have_answered_all_are_waited_for() {
    let target = Key::of(b"target");
    let mut candidates = Candidates::new(target, (0..3).map(info).collect(), lan(), &config());
    assert_eq!(asked(candidates.next()).len(), 3);
    (0..3).for_each(|n| candidates.late(&peer(n)));
    assert_eq!(asked(candidates.next()), [], "nobody else is there");
    hear(&mut candidates, &peer(0), None, Vec::new());
    assert_eq!(asked(candidates.next()), []);
    hear(&mut candidates, &peer(1), None, Vec::new());
    assert_eq!(candidates.next(), Next::Settled, "two are enough");
}

proptest! {
    /// Whatever is answered, it ends, within its bounds, and asks nobody twice.
    #[test]
    fn always_ends(
        answers in proptest::collection::vec(
            proptest::option::weighted(0.7, proptest::collection::vec(0u64..300, 0..22)), 400),
        known in proptest::collection::vec(0u64..300, 0..20),
        paths in 1usize..4,
        newest_first in any::<bool>(),
        late in proptest::collection::vec(proptest::bool::weighted(0.3), 400),
    ) {
        let config = Config { paths, ..config() };
        let mut candidates =
            Candidates::new(Key::of(b"target"), known.into_iter().map(info).collect(), lan(), &config);
        let (mut answers, mut late) = (answers.into_iter(), late.into_iter());
        let mut asked = BTreeSet::new();
        let mut waiting: Vec<PeerId> = Vec::new();
        while let Next::Ask(peers) = candidates.next() {
            for info in peers {
                prop_assert!(asked.insert(info.peer), "asked twice");
                waiting.push(info.peer);
            }
            prop_assert!(!waiting.is_empty());
            let peer = if newest_first { waiting.pop().unwrap() } else { waiting.remove(0) };
            if late.next() == Some(true) {
                candidates.late(&peer);
                if let Next::Ask(peers) = candidates.next() {
                    for info in peers {
                        prop_assert!(asked.insert(info.peer), "asked twice");
                        waiting.push(info.peer);
                    }
                }
            }
            match answers.next().flatten() {
                Some(closer) => {
                    hear(&mut candidates, &peer, None, closer.into_iter().map(info).collect());
                }
                None => candidates.failed(&peer, Failure::Unreachable, false),
            }
            let heard = candidates.all.values().filter(|found| found.state == State::Heard);
                prop_assert!(heard.count() <= config.candidates_max);
        }
        prop_assert!(asked.len() <= config.asked_max);
        // The k closest of those that did not fail have answered.
        let live = candidates.all.values().filter(|found| found.state.is_live());
        let last = candidates.asked() as usize == config.asked_max;
        prop_assert!(last || live.take(5).all(|found| found.state == State::Answered));
    }
}

#[test]
fn a_full_list_is_shared_out_among_its_sources() {
    let target = Key::of(b"target");
    let near = order(&target, 200);
    let config = Config { candidates_max: 12, parallelism: 4, ..config() };
    let known = infos(&near[190..194]);
    let mut candidates = Candidates::new(target, known, lan(), &config);
    candidates.next();
    let names = |range: std::ops::Range<usize>| infos(&near[range]);
    // Two name the hundredth.
    hear(&mut candidates, &peer(near[191]), None, names(96..101));
    hear(&mut candidates, &peer(near[192]), None, names(100..102));
    hear(&mut candidates, &peer(near[190]), None, names(0..20));
    let held: Vec<usize> =
        (0..190).filter(|&place| candidates.path_of(&peer(near[place])).is_some()).collect();
    assert_eq!(held, [0, 1, 2, 3, 4, 5, 96, 97, 98, 99, 100, 101], "the crowd gives up its own");
}

#[test]
fn what_a_network_and_those_it_vouches_for_have_named_is_of_one_source() {
    let target = Key::of(b"target");
    let near = order(&target, 200);
    let config = Config { candidates_max: 12, parallelism: 5, ..config() };
    let wan = Reach::new(&Config::default());
    let known = infos(&near[190..195]);
    let mut candidates = Candidates::new(target, known, wan, &config);
    candidates.next();
    let names = |range: std::ops::Range<usize>| infos(&near[range]);
    let his = wan.group(&addr(7));
    hear(&mut candidates, &peer(near[194]), wan.group(&addr(8)), names(96..102));
    for (place, first) in [(190, 0), (191, 10), (192, 20)] {
        hear(&mut candidates, &peer(near[place]), his, names(first..first + 10));
    }
    // One of his friends, whom nobody else knows, in another network.
    assert!(asked(candidates.next()).contains(&info(near[0])));
    hear(&mut candidates, &peer(near[0]), wan.group(&addr(9)), names(30..40));
    let held = (96..102).filter(|&place| candidates.path_of(&peer(near[place])).is_some());
    assert_eq!(held.count(), 6, "as many as are his");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// As long as the liars whom we knew are fewer than the others, they cannot
    /// have us forget whom these name: neither by any number of inventions, each
    /// his own or together, nor by such as answer and name more.
    #[test]
    fn liars_push_nobody_out(
        liars in 1usize..=9,
        more in 1usize..=5,
        knows in any::<u64>(),
        lies in any::<u64>(),
        there in 0u64..=4,
    ) {
        let config = Config::default();
        let target = Key::of(b"target");
        let near = order(&target, 3_000);
        let (made_up, honest) = near.split_at(2_800);
        // The last ones of all are whom we know: the liars and the others.
        let (honest, known) = honest.split_at(honest.len() - 2 * liars - more);
        let mut candidates = Candidates::new(target, infos(known), lan(), &config);
        let (mut truth, mut chance) = (BTreeSet::new(), Rng::new(lies));
        let mut waiting: VecDeque<PeerInfo> = VecDeque::new();
        while let Next::Ask(peers) = candidates.next() {
            waiting.extend(peers);
            let Some(PeerInfo { peer, .. }) = waiting.pop_front() else { break };
            let is = |n: &u64| crate::testing::peer(*n) == peer;
            // Every tenth invention is of all of them, and not there.
            let invented = made_up.iter().position(is);
            let liar = known[..liars].iter().position(is).or(invented.map(|place| place % 10));
            if invented.is_some_and(|place| place % 10 == 9 || chance.below(4) >= there) {
                candidates.failed(&peer, Failure::Unreachable, false);
            } else if let Some(liar) = liar {
                let mut lie = |n: usize| {
                    let any = usize::try_from(chance.below(280)).unwrap();
                    info(made_up[any * 10 + if n < 16 { liar } else { 9 }])
                };
                hear(&mut candidates, &peer, None, (0..20).map(&mut lie).collect());
            } else {
                // Of three others each knows two.
                let known_to = |n: &&u64| {
                    let drawn = Key::of(&[&knows.to_be_bytes()[..], peer.as_bytes(), &n.to_be_bytes()].concat());
                    !drawn.as_bytes()[0].is_multiple_of(3)
                };
                let names: Vec<u64> = honest.iter().filter(known_to).take(20).copied().collect();
                hear(&mut candidates, &peer, None, infos(&names));
                truth.extend(names);
            }
            for &n in honest.iter().filter(|n| truth.contains(*n)).take(20) {
                prop_assert!(candidates.path_of(&crate::testing::peer(n)).is_some(), "forgot {n}");
            }
        }
    }
}
