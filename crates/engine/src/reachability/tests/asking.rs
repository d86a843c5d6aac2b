//! What the probes show: of honest servers, of liars, of silent ones.

use super::world::*;
use crate::reachability::*;

fn home() -> Reach {
    Reach::Public(vec![addr(HOME)])
}

#[test]
fn one_dial_that_came_back_is_enough() {
    let mut world = World::public();
    world.run(secs(5));
    assert!(world.probes.is_empty(), "there is nobody to ask");
    world.connect(1, true, true, Kind::Honest);
    assert_eq!(world.probes.len(), 1, "the first who can say is asked at once");
    let probe = &world.probes[0].1;
    assert_eq!((probe.version, &probe.addrs[..]), (Version::V2, &[addr(HOME)][..]), "never loopback");
    world.run(secs(2));
    assert_eq!(world.changes.len(), 1);
    assert_eq!(world.reach(), &home());
    world.run(secs(3500));
    assert_eq!(world.probes.len(), 1, "not asked again for an hour");
    world.run(secs(2 * 3600));
    assert!((2..=4).contains(&world.probes.len()), "{}", world.probes.len());
    assert_eq!(world.changes.len(), 1);
}

#[test]
fn three_networks_that_fail_make_it_private() {
    let mut world = World::public();
    world.open.clear();
    for index in 1..=8 {
        world.connect(index, false, true, Kind::Honest);
    }
    world.run(secs(20));
    assert_eq!(world.changes.iter().map(|(_, reach)| reach.clone()).collect::<Vec<_>>(), [Reach::Private]);
    assert!(world.probes.len() <= 4, "{}", world.probes.len());
    let asked: std::collections::BTreeSet<_> = world.probes.iter().map(|(_, probe)| probe.peer).collect();
    assert_eq!(asked.len(), world.probes.len(), "never one twice");
    let nonces: std::collections::BTreeSet<_> = world.probes.iter().map(|(_, probe)| probe.nonce).collect();
    assert_eq!(nonces.len(), world.probes.len());
    // The router is opened: found at the next hourly probe.
    world.open.insert(addr(HOME));
    world.run(secs(4100));
    assert_eq!(world.reach(), &home());
}

#[test]
fn liars_and_the_silent_do_not_decide() {
    // Two deny, two boast, two are silent, one is broken, one is busy; two are honest.
    let kinds = [
        Kind::Denies,
        Kind::Denies,
        Kind::Boasts,
        Kind::Boasts,
        Kind::Silent,
        Kind::Silent,
        Kind::Broken,
        Kind::Busy,
        Kind::Honest,
        Kind::Honest,
    ];
    for (seed, open) in (0..20).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new(ReachabilityConfig::default(), seed);
        if open {
            world.open.insert(addr(HOME));
        }
        world.machine.set_listen(&[addr(HOME)], world.time());
        for (kind, index) in kinds.into_iter().zip(1..) {
            world.connect(index, false, true, kind);
        }
        world.run(secs(600));
        assert_eq!(world.reach(), &if open { home() } else { Reach::Private }, "seed {seed}");
        assert_eq!(world.changes.len(), 1, "seed {seed}: {:?}", world.changes);
    }
}

#[test]
fn one_network_of_many_peers_does_not_decide_alone() {
    let mut world = World::public();
    for index in 1..=20 {
        world.servers.insert(peer(index), Kind::Denies);
        let via = addr(&format!("/ip4/66.6.0.{index}/tcp/4001"));
        world.machine.handle_peer(peer(index), false, true, &via, world.time());
    }
    world.connect(30, false, true, Kind::Honest);
    world.run(secs(60));
    assert_eq!(world.reach(), &home());
    assert!(world.changes.iter().all(|(_, reach)| *reach != Reach::Private));
}

#[test]
fn a_single_server_decides_slowly() {
    let mut world = World::public();
    world.open.clear();
    world.connect(1, false, true, Kind::Honest);
    world.run(secs(200));
    assert_eq!(world.reach(), &Reach::Unknown, "it is left in peace for two minutes after each probe");
    world.run(secs(100));
    assert_eq!(world.reach(), &Reach::Private);
    assert_eq!(world.probes.len(), 3);
}

#[test]
fn nobody_useful_is_not_asked_all_the_time() {
    for kind in [Kind::Silent, Kind::Broken, Kind::Busy, Kind::Boasts] {
        let mut world = World::public();
        for index in 1..=50 {
            world.connect(index, false, true, kind);
        }
        world.run(secs(3600));
        assert_eq!(world.reach(), &Reach::Unknown);
        assert!(world.probes.len() <= 90, "{kind:?}: {}", world.probes.len());
        assert!(world.machine.weights() <= 512);
    }
}

#[test]
fn reachable_and_then_not_and_then_again() {
    let mut world = World::public();
    for index in 1..=10 {
        world.connect(index, false, true, Kind::Honest);
    }
    world.run(secs(10));
    assert_eq!(world.reach(), &home());
    world.open.clear();
    world.run(secs(4200));
    assert_eq!(world.reach(), &Reach::Private);
    world.open.insert(addr(HOME));
    world.run(secs(4200));
    assert_eq!(world.reach(), &home());
    assert_eq!(world.changes.len(), 3);
    assert!(world.probes.len() < 20, "{}", world.probes.len());
}

#[test]
fn one_failure_among_successes_changes_nothing() {
    let mut world = World::public();
    world.connect(1, false, true, Kind::Honest);
    world.run(secs(10));
    world.machine.handle_disconnected(&peer(1));
    for index in 2..=3 {
        world.connect(index, false, true, Kind::Denies);
    }
    world.connect(4, false, true, Kind::Honest);
    world.run(secs(3 * 3600));
    assert_eq!(world.changes.len(), 1, "{:?}", world.changes);
    assert_eq!(world.reach(), &home());
}

#[test]
fn a_verdict_that_nobody_confirms_is_forgotten() {
    let mut world = World::public();
    world.connect(1, false, true, Kind::Honest);
    world.run(secs(10));
    world.machine.handle_disconnected(&peer(1));
    world.run(secs(4 * 3600));
    assert_eq!(world.reach(), &home());
    world.run(secs(2 * 3600));
    assert_eq!(world.reach(), &Reach::Unknown);
}

#[test]
fn v1_needs_three_networks_that_agree_and_no_v2() {
    let mut world = World::public();
    for index in 1..=2 {
        world.connect(index, true, false, Kind::Boasts);
        world.observe(index, "/ip4/93.184.216.34/tcp/51000");
    }
    world.run(secs(1200));
    assert_eq!(world.reach(), &Reach::Unknown, "two boasters, again and again, are not enough");
    assert!(world.probes.iter().all(|(_, probe)| probe.version == Version::V1));
    world.connect(3, true, false, Kind::Honest);
    world.observe(3, "/ip4/93.184.216.34/tcp/51000");
    world.run(secs(600));
    assert_eq!(world.reach(), &home());

    let mut world = World::public();
    world.open.clear();
    for index in 1..=5 {
        world.connect(index, true, index == 5, Kind::Honest);
        world.observe(index, "/ip4/93.184.216.34/tcp/51000");
    }
    // Who sees us elsewhere cannot tell.
    world.connect(9, true, false, Kind::Honest);
    world.observe(9, "/ip4/77.1.1.1/tcp/51000");
    world.run(secs(900));
    assert_eq!(world.reach(), &Reach::Private);
    assert!(world.probes.iter().skip(1).any(|(_, probe)| probe.peer == peer(5)));
    assert!(world.probes.iter().all(|(_, probe)| probe.peer != peer(9)));
}

#[test]
fn a_busy_v2_server_leaves_the_others_to_be_asked() {
    let mut world = World::public();
    world.connect(1, false, true, Kind::Busy);
    world.observe(1, "/ip4/93.184.216.34/tcp/51000");
    for index in 2..=5 {
        world.connect(index, true, false, Kind::Honest);
        world.observe(index, "/ip4/93.184.216.34/tcp/51000");
    }
    world.run(secs(600));
    assert_eq!(world.reach(), &home());
}

#[test]
fn behind_a_router_what_peers_see_is_tested_with_our_port() {
    let seen = "/ip4/93.184.216.34/tcp/4001";
    let mut world = World::new(ReachabilityConfig::default(), 3);
    world.machine.set_listen(&[addr("/ip4/192.168.1.5/tcp/4001")], world.time());
    world.open.insert(addr(seen));
    for index in 1..=3 {
        world.connect(index, false, true, Kind::Honest);
        world.observe(index, &format!("/ip4/93.184.216.34/tcp/{}", 50_000 + u32::from(index)));
    }
    // A liar says it ten times, of ten addresses, and counts once.
    for last in 1..=10 {
        world.observe(9, &format!("/ip4/6.6.6.{last}/tcp/1"));
    }
    world.run(secs(60));
    assert!(world.probes.is_empty(), "three networks are not four");
    world.observe(4, "/ip4/93.184.216.34/tcp/60000");
    world.run(secs(60));
    assert_eq!(world.reach(), &Reach::Public(vec![addr(seen)]));
    // Views of private addresses, and over private connections, count for nothing.
    let mut world = World::new(ReachabilityConfig::default(), 3);
    world.machine.set_listen(&[addr("/ip4/192.168.1.5/tcp/4001")], world.time());
    for index in 1..=9 {
        world.observe(index, "/ip4/10.1.1.1/tcp/4001");
        let lan = addr(&format!("/ip4/192.168.1.{index}/tcp/1"));
        world.machine.handle_observed(&addr(seen), peer(index), &lan, true, world.time());
    }
    assert_eq!(world.machine.verdicts().count(), 0);
}

#[test]
fn what_was_seen_stays_until_something_else_is() {
    let mut world = World::new(ReachabilityConfig::default(), 3);
    world.machine.set_listen(&[addr("/ip4/192.168.1.5/tcp/4001")], world.time());
    let known = |world: &World| -> Vec<String> {
        world.machine.verdicts().map(|(addr, _)| addr.to_string()).collect()
    };
    for index in 1..=4 {
        world.observe(index, "/ip4/93.184.216.34/tcp/50000");
    }
    world.run(secs(24 * 3600));
    assert_eq!(known(&world), [HOME], "nobody has said otherwise");
    // We have moved; four have to say so.
    for index in 1..=3 {
        world.observe(index, "/ip4/94.1.1.1/tcp/50000");
    }
    assert_eq!(known(&world), [HOME]);
    world.observe(4, "/ip4/94.1.1.1/tcp/50000");
    assert_eq!(known(&world), ["/ip4/94.1.1.1/tcp/4001"]);
    // Soon after, the old views still count: both are tested for a while.
    for index in 11..=14 {
        world.observe(index, "/ip4/95.1.1.1/tcp/50000");
    }
    assert_eq!(known(&world), ["/ip4/94.1.1.1/tcp/4001", "/ip4/95.1.1.1/tcp/4001"]);
    for index in 21..=24 {
        world.run(secs(8 * 60));
        world.observe(index, "/ip4/95.1.1.1/tcp/50000");
    }
    world.run(secs(1));
    assert_eq!(known(&world), ["/ip4/95.1.1.1/tcp/4001"]);
}

#[test]
fn what_a_peer_dialled_is_tested_as_it_is() {
    let mut world = World::new(ReachabilityConfig::default(), 3);
    world.machine.set_listen(&[addr("/ip4/192.168.1.5/tcp/4001")], world.time());
    for index in 1..=4 {
        let dialled = addr("/ip4/93.184.216.34/tcp/7777");
        world.machine.handle_observed(&dialled, peer(index), &via(index), false, world.time());
    }
    let known: Vec<_> = world.machine.verdicts().map(|(addr, _)| addr.to_string()).collect();
    assert_eq!(known, ["/ip4/93.184.216.34/tcp/7777", "/ip4/93.184.216.34/tcp/4001"]);
}

#[test]
fn an_address_that_nobody_can_dial_does_not_hold_up_the_others() {
    let v6 = "/ip6/2a01:4f8::5/tcp/4001";
    for open in [true, false] {
        let mut world = World::new(ReachabilityConfig::default(), 5);
        if open {
            world.open.insert(addr(HOME));
        }
        world.machine.set_listen(&[addr(v6), addr(HOME)], world.time());
        for index in 1..=6 {
            world.connect(index, false, true, Kind::OnlyV4);
        }
        world.run(secs(60));
        assert_eq!(world.reach(), &if open { home() } else { Reach::Private });
        world.run(secs(3600));
        assert!(world.probes.len() < 40, "{}", world.probes.len());
    }
}

#[test]
fn a_mapping_comes_and_goes() {
    let mapped = "/ip4/93.184.216.34/tcp/31000";
    let mut world = World::new(ReachabilityConfig::default(), 5);
    world.machine.set_listen(&[addr("/ip4/192.168.1.5/tcp/4001")], world.time());
    world.open.insert(addr(mapped));
    world.connect(1, false, true, Kind::Honest);
    world.machine.handle_mapped(&[addr(mapped)], world.time());
    world.run(secs(5));
    assert_eq!(world.reach(), &Reach::Public(vec![addr(mapped)]));
    world.machine.handle_mapped(&[], world.time());
    world.run(secs(5));
    assert_eq!(world.reach(), &Reach::Unknown);
}

#[test]
fn private_addresses_only_if_tests_want_them() {
    for wanted in [false, true] {
        let config = ReachabilityConfig { private_addresses: wanted, ..ReachabilityConfig::default() };
        let mut world = World::new(config, 5);
        let ours = addr("/ip4/127.0.0.1/tcp/4001");
        world.open.insert(ours.clone());
        world.servers.insert(peer(1), Kind::Honest);
        world.servers.insert(peer(2), Kind::Honest);
        world.machine.set_listen(std::slice::from_ref(&ours), world.time());
        world.connect(2, true, true, Kind::Honest);
        world.run(secs(5));
        assert!(world.probes.is_empty(), "a public server is not asked");
        let near = addr("/ip4/127.0.0.1/tcp/5000");
        world.machine.handle_peer(peer(1), false, true, &near, world.time());
        world.run(secs(5));
        assert_eq!(world.reach(), &if wanted { Reach::Public(vec![ours]) } else { Reach::Unknown });
    }
}

#[test]
fn a_server_behind_our_own_router_is_not_asked() {
    let mut world = World::public();
    let near = addr("/ip4/93.184.216.34/tcp/9999");
    world.servers.insert(peer(1), Kind::Honest);
    world.machine.handle_peer(peer(1), true, true, &near, world.time());
    world.run(secs(600));
    assert!(world.probes.is_empty());
}

#[test]
fn answers_that_make_no_sense_change_nothing() {
    let mut world = World::public();
    world.connect(1, false, true, Kind::Silent);
    let probe = world.probes[0].1.clone();
    let now = world.time();
    world.machine.handle_answer(ProbeId(77), &Answer::Reached(addr(HOME)), now);
    world.machine.handle_answer(probe.id, &Answer::Reached(addr("/ip4/1.2.3.4/tcp/1")), now);
    world.machine.handle_answer(probe.id, &Answer::Reached(addr(HOME)), now);
    assert_eq!(world.reach(), &Reach::Unknown, "answered already");
    // An address that is no longer ours.
    world.connect(2, false, true, Kind::Silent);
    world.run(secs(2));
    let probe = world.probes[1].1.clone();
    world.machine.set_listen(&[], world.time());
    world.machine.handle_answer(probe.id, &Answer::Reached(addr(HOME)), world.time());
    assert_eq!((world.reach(), world.machine.verdicts().count()), (&Reach::Unknown, 0));
}

#[test]
fn the_same_seed_asks_the_same() {
    let run = |seed, early: bool| {
        let mut world = World::new(ReachabilityConfig::default(), seed);
        world.machine.set_listen(&[addr(HOME)], world.time());
        for index in 1..=20 {
            world.connect(index, false, true, if index % 2 == 0 { Kind::Silent } else { Kind::Denies });
        }
        for _ in 0..100 {
            world.run(secs(7));
            if early {
                // Waking early changes nothing.
                world.machine.handle_timeout(world.time());
            }
        }
        world.probes
    };
    assert_eq!(run(1, false), run(1, true));
    assert_ne!(run(1, false), run(2, false));
}
