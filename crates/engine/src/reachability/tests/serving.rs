//! What we dial for others, and what we do not.

use super::world::*;
use crate::reachability::*;
use std::iter;

fn request(index: u8, version: Version, addrs: &[&str]) -> DialRequest {
    let addrs = addrs.iter().zip(0..).map(|(text, index)| (index, addr(text))).collect();
    DialRequest { peer: peer(index), via: via(index), version, addrs }
}

#[test]
fn the_first_address_that_may_be_dialled() {
    let mut world = World::public();
    let asked = request(
        1,
        Version::V2,
        &[
            "/ip4/10.0.0.1/tcp/1",
            "/dns4/example.com/tcp/1",
            "/ip4/50.1.0.1/udp/1/quic-v1",
            "/ip4/50.1.0.1/tcp/9",
        ],
    );
    let decision = world.machine.handle_dial_request(&asked, &iter::empty(), world.time());
    let Decision::Dial { index: 3, addr: to, data: 0, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(to, addr("/ip4/50.1.0.1/tcp/9"));
}

fn refused(world: &mut World, asked: &DialRequest) -> Option<Refusal> {
    match world.machine.handle_dial_request(asked, &iter::empty(), world.time()) {
        Decision::Refuse(why) => Some(why),
        Decision::Dial { .. } | Decision::DialAny { .. } => None,
    }
}

/// What must never be dialled for somebody on the public network.
const FORBIDDEN: &[&str] = &[
    "/ip4/127.0.0.1/tcp/22",
    "/ip4/10.0.0.1/tcp/80",
    "/ip4/192.168.0.1/tcp/80",
    "/ip4/169.254.169.254/tcp/80",
    "/ip4/100.64.0.1/tcp/80",
    "/ip4/0.0.0.0/tcp/80",
    "/ip4/224.0.0.1/tcp/80",
    "/ip4/255.255.255.255/tcp/80",
    "/ip6/::1/tcp/80",
    "/ip6/::ffff:127.0.0.1/tcp/80",
    "/ip6/64:ff9b::a00:1/tcp/80",
    "/ip6/fe80::1/tcp/80",
    "/ip6/fd00::1/tcp/80",
    "/ip6/ff02::1/tcp/80",
    "/dns4/localhost/tcp/80",
    "/dns4/example.com/tcp/80",
    "/dnsaddr/example.com",
    "/ip4/50.1.0.1/tcp/0",
    "/ip4/50.1.0.1/udp/4001",
    "/ip4/50.1.0.1/tcp/80/ws",
    "/ip4/8.8.8.8/tcp/1/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN/p2p-circuit",
    // Ourselves, and another peer.
    HOME,
    "/ip4/8.8.8.8/tcp/1/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
];

#[test]
fn nothing_that_is_not_public_is_dialled() {
    for forbidden in FORBIDDEN {
        let mut world = World::public();
        let asked = request(1, Version::V2, &[forbidden]);
        assert_eq!(refused(&mut world, &asked), Some(Refusal::Unwilling), "{forbidden}");
    }
    // v1 takes of an address no more than its port.
    let mut world = World::public();
    let asked = request(1, Version::V1, FORBIDDEN);
    let Decision::DialAny { addrs } = world.machine.handle_dial_request(&asked, &iter::empty(), world.time())
    else {
        panic!()
    };
    assert!(addrs.iter().all(|addr| addr.to_string().starts_with("/ip4/50.1.0.1/tcp/")), "{addrs:?}");
    assert!(!addrs.contains(&addr("/ip4/50.1.0.1/tcp/0")) && addrs.len() <= 8);
}

#[test]
fn a_private_asker_gets_no_private_dial() {
    for via in ["/ip4/192.168.1.9/tcp/5000", "/ip4/127.0.0.1/tcp/5000"] {
        for version in [Version::V1, Version::V2] {
            let mut world = World::public();
            let asked = DialRequest {
                via: addr(via),
                ..request(1, version, &["/ip4/192.168.1.9/tcp/4001", "/ip4/8.8.8.8/tcp/1"])
            };
            assert_eq!(refused(&mut world, &asked), Some(Refusal::Unwilling), "{via} {version:?}");
        }
    }
}

#[test]
fn another_ip_address_costs_data() {
    let mut world = World::public();
    for _ in 0..12 {
        let asked = request(1, Version::V2, &["/ip4/8.8.8.8/tcp/443"]);
        let decision = world.machine.handle_dial_request(&asked, &iter::empty(), world.time());
        let Decision::Dial { data, wait, .. } = decision else { panic!("{decision:?}") };
        assert!((30_000..=100_000).contains(&data) && wait < secs(3));
        world.machine.handle_served(&peer(1));
    }
    // Twelve a minute, whoever asks.
    let asked = request(2, Version::V2, &["/ip4/8.8.8.8/tcp/443"]);
    assert_eq!(refused(&mut world, &asked), Some(Refusal::Busy));
    let asked = request(2, Version::V2, &["/ip4/50.2.0.1/tcp/443"]);
    assert_eq!(refused(&mut world, &asked), None, "its own address costs nothing");
}

#[test]
fn rates_and_numbers() {
    // One peer, one after the other.
    let mut world = World::public();
    let own = |index: u8| request(index, Version::V2, &[&format!("/ip4/50.{index}.0.1/tcp/443")]);
    for _ in 0..12 {
        assert_eq!(refused(&mut world, &own(1)), None);
        world.machine.handle_served(&peer(1));
    }
    assert_eq!(refused(&mut world, &own(1)), Some(Refusal::Busy));
    world.run(secs(60));
    assert_eq!(refused(&mut world, &own(1)), None);
    // Two at once.
    assert_eq!(refused(&mut world, &own(1)), None);
    assert_eq!(refused(&mut world, &own(1)), Some(Refusal::Busy));
    world.machine.handle_served(&peer(1));
    assert_eq!(refused(&mut world, &own(1)), None);
    // Nobody says that it is over: it counts as over after a while.
    world.run(secs(120));
    assert_eq!(refused(&mut world, &own(1)), None);
    // Sixty in all.
    let mut world = World::public();
    let served = (0..200u8).filter(|index| {
        let no = refused(&mut world, &own(*index)).is_some();
        world.machine.handle_served(&peer(*index));
        !no
    });
    assert_eq!(served.count(), 60);
    // Of one network, by many names.
    let mut world = World::public();
    let served = (0..100u8).filter(|index| {
        let asked = DialRequest { peer: peer(*index), ..own(1) };
        let no = refused(&mut world, &asked).is_some();
        world.machine.handle_served(&peer(*index));
        !no
    });
    assert_eq!(served.count(), 24);
    // Many at once.
    let mut world = World::public();
    let served = (0..100u8).filter(|index| refused(&mut world, &own(*index)).is_none());
    assert_eq!(served.count(), 32);
    assert!(world.machine.weights() <= 100);
}

#[test]
fn v1_is_for_who_is_public() {
    let mut world = World::public();
    world.open.clear();
    assert_eq!(refused(&mut world, &request(1, Version::V1, &["/ip4/50.1.0.1/tcp/1"])), None);
    for index in 1..=5 {
        world.connect(index, false, true, Kind::Honest);
    }
    world.run(secs(60));
    assert_eq!(world.reach(), &Reach::Private);
    let asked = request(2, Version::V1, &["/ip4/50.2.0.1/tcp/1"]);
    assert_eq!(refused(&mut world, &asked), Some(Refusal::Unwilling));
    let asked = request(2, Version::V2, &["/ip4/50.2.0.1/tcp/1"]);
    assert_eq!(refused(&mut world, &asked), None, "v2 says only what it can dial");
    // Three a minute for one peer, as go-libp2p.
    let mut world = World::public();
    let asked = request(1, Version::V1, &["/ip4/50.1.0.1/tcp/1"]);
    let served = (0..10).filter(|_| {
        let no = refused(&mut world, &asked).is_some();
        world.machine.handle_served(&peer(1));
        !no
    });
    assert_eq!(served.count(), 3);
}

#[test]
fn ipv6_only_once_there_is_a_sign_of_it() {
    let mut world = World::public();
    let asked = request(1, Version::V2, &["/ip6/2a01:4f8::1/tcp/1", "/ip4/50.1.0.1/tcp/1"]);
    let decision = world.machine.handle_dial_request(&asked, &iter::empty(), world.time());
    assert!(matches!(decision, Decision::Dial { index: 1, .. }), "{decision:?}");
    let other = addr("/ip6/2a02::9/tcp/1");
    let decision = world.machine.handle_dial_request(&asked, &iter::once(&other), world.time());
    assert!(matches!(decision, Decision::Dial { index: 0, data: 30_000.., .. }), "{decision:?}");
}

#[test]
fn tests_may_dial_private_addresses() {
    let config = ReachabilityConfig { private_addresses: true, ..ReachabilityConfig::default() };
    let mut world = World::new(config, 1);
    world.machine.set_listen(&[addr("/ip4/127.0.0.1/tcp/4001")], world.time());
    let asked = DialRequest {
        via: addr("/ip4/127.0.0.1/tcp/5000"),
        ..request(1, Version::V2, &["/ip4/127.0.0.1/tcp/7"])
    };
    assert_eq!(refused(&mut world, &asked), None);
    let asked = request(2, Version::V2, &["/ip4/127.0.0.1/tcp/7", "/ip4/10.0.0.1/tcp/7"]);
    assert_eq!(refused(&mut world, &asked), Some(Refusal::Unwilling), "not from the public network");
}
