//! Machines in virtual time, on links that lose nothing and take a millisecond.

use std::collections::BTreeSet;

use super::*;

const LINK: LinkId = LinkId { interface: 2, v6: false };
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Instant {
    Instant::START + Duration::from_secs_f64(seconds)
}

fn peer(n: u8) -> PeerId {
    // A multihash that holds what it is of: any bytes will do.
    PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[n; 32]].concat()).unwrap()
}

fn ip(n: u8) -> IpAddr {
    [192, 168, 1, n].into()
}

fn addr(n: u8) -> Multiaddr {
    format!("/ip4/192.168.1.{n}/tcp/4001").parse().unwrap()
}

fn nets(n: u8) -> BTreeMap<LinkId, Nets> {
    BTreeMap::from([(LINK, vec![(ip(n), 24)])])
}

/// Host `n`, on its link since the beginning.
fn machine(n: u8) -> Machine {
    let mut machine = Machine::new(Config::default(), peer(n), n.into(), Instant::START);
    machine.handle_addrs(vec![addr(n)], Instant::START);
    machine.handle_links(nets(n), Instant::START);
    machine
}

fn sent(machine: &mut Machine) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
    std::iter::from_fn(|| machine.poll_output())
        .filter_map(|output| match output {
            Output::Send { to, packet, .. } => Some((to, packet)),
            Output::Look => None,
        })
        .collect()
}

/// Lets time pass; what was sent to the group, and when.
fn run(machine: &mut Machine, until: Instant) -> Vec<(Instant, Message)> {
    let mut log = Vec::new();
    while let Some(now) = machine.poll_timeout().filter(|now| *now <= until) {
        machine.handle_timeout(now);
        let packets = sent(machine).into_iter();
        log.extend(packets.map(|(_, packet)| (now, message::parse(&packet).unwrap())));
    }
    log
}

fn questions(log: &[(Instant, Message)]) -> Vec<f64> {
    let asked = log.iter().filter(|(_, message)| matches!(message, Message::Question(_)));
    asked.map(|(now, _)| now.since(Instant::START).as_secs_f64()).collect()
}

fn answers(log: &[(Instant, Message)]) -> Vec<Instant> {
    let said = log.iter().filter(|(_, message)| matches!(message, Message::Answer(_)));
    said.map(|(now, _)| *now).collect()
}

fn news(machine: &mut Machine) -> Vec<News> {
    std::iter::from_fn(|| machine.poll_news()).collect()
}

fn from(n: u8) -> SocketAddr {
    (ip(n), PORT).into()
}

/// What host `n` announces.
fn announcement(n: u8, addrs: &[&str], ttl: u64) -> Vec<u8> {
    let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    let name = message::instance(format!("{n:032}").as_bytes());
    message::announce(&name, peer(n), &addrs, Duration::from_secs(ttl), Form::Multicast)
}

#[test]
fn asks_at_once_and_then_less_often() {
    let mut machine = machine(1);
    let log = run(&mut machine, at(1000.0));
    assert_eq!(questions(&log), [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0, 255.0, 511.0, 811.0]);
    // Every question is followed by our own answer, for others to hear.
    assert_eq!(answers(&log).len(), questions(&log).len());
}

#[test]
fn two_find_each_other_within_a_question() {
    let mut hosts = [machine(1), machine(2)];
    let mut found = BTreeSet::new();
    let mut now = Instant::START;
    while now < at(2.0) {
        for i in 0..2 {
            hosts[i].handle_timeout(now);
            for (to, packet) in sent(&mut hosts[i]) {
                assert_eq!(to, None);
                let source = from(u8::try_from(i).unwrap() + 1);
                // The group loops back to who sends.
                hosts[1 - i].handle_packet(LINK, source, &packet, now);
                hosts[i].handle_packet(LINK, source, &packet, now);
            }
            for item in news(&mut hosts[i]) {
                let other = 2 - u8::try_from(i).unwrap();
                assert_eq!(item, News::Discovered { peer: peer(other), addrs: vec![addr(other)] });
                assert!(now <= Instant::START + 200 * MS, "late: {now:?}");
                assert!(found.insert(i), "told twice");
            }
        }
        now += MS;
    }
    assert_eq!(found.len(), 2);
    // Whom we know needs not answer, and does not.
    let mut asked = machine(1);
    asked.handle_packet(LINK, from(3), &announcement(3, &["/ip4/192.168.1.3/tcp/1"], 360), at(0.0));
    let log = run(&mut asked, at(0.0));
    let Some((_, Message::Question(question))) = log.first() else { panic!("{log:?}") };
    assert_eq!(question.known.len(), 1);
}

#[test]
fn answers_after_a_moment_and_once_in_a_second() {
    let mut machine = machine(1);
    run(&mut machine, at(8.0));
    let ask = message::ask(&[]);
    for n in 0..100 {
        let now = at(8.0) + MS * n;
        machine.handle_packet(LINK, from(2), &ask, now);
    }
    let log = run(&mut machine, at(9.9));
    let [first] = answers(&log)[..] else { panic!("{log:?}") };
    assert!((20 * MS..120 * MS).contains(&first.since(at(8.0))), "{first:?}");
    // Asked again at once: not before a second has passed.
    machine.handle_packet(LINK, from(2), &ask, at(9.9));
    machine.handle_timeout(at(9.9) + 120 * MS);
    let again = machine.timers.deadline(&Timer::Answer(LINK));
    assert!(sent(&mut machine).len() == 1 && again.is_none());
    machine.handle_packet(LINK, from(2), &ask, at(10.1));
    let next = machine.timers.deadline(&Timer::Answer(LINK)).unwrap();
    assert!(next >= at(9.9) + SECOND, "{next:?}");
}

#[test]
fn who_knows_us_is_not_answered() {
    let mut machine = machine(1);
    run(&mut machine, at(5.0));
    let fresh = message::ask(&[(machine.instance.clone(), 300)]);
    machine.handle_packet(LINK, from(2), &fresh, at(5.0));
    assert_eq!(answers(&run(&mut machine, at(6.0))), []);
    let stale = message::ask(&[(machine.instance.clone(), 100)]);
    machine.handle_packet(LINK, from(2), &stale, at(6.0));
    assert_eq!(answers(&run(&mut machine, at(6.5))).len(), 1);
}

#[test]
fn plain_clients_get_an_answer_of_their_own() {
    let mut machine = machine(1);
    run(&mut machine, at(5.0));
    let client = SocketAddr::from((ip(9), 40_000));
    for _ in 0..5 {
        machine.handle_packet(LINK, client, &message::ask(&[]), at(5.0));
    }
    let [(to, packet)] = &sent(&mut machine)[..] else { panic!("not once") };
    assert_eq!(*to, Some(client));
    let Ok(Message::Answer(answer)) = message::parse(packet) else { panic!() };
    assert_eq!(answer.peers[0].peer, peer(1));
    // Many of them: no more than the limit in a second.
    for n in 10..250 {
        machine.handle_packet(LINK, (ip(n), 1024).into(), &message::ask(&[]), at(5.5));
    }
    assert_eq!(sent(&mut machine).len(), Config::default().max_askers - 1);
    // Or it is rust-libp2p, which listens to the group alone, and answers from
    // a port of its own.
    assert_eq!(answers(&run(&mut machine, at(6.6))).len(), 1);
    let said = announcement(9, &["/ip4/192.168.1.9/tcp/1"], 360);
    machine.handle_packet(LINK, client, &said, at(6.6));
    assert_eq!(machine.peers(), 1);
}

#[test]
fn what_makes_no_sense_from_there_is_left_out() {
    let mut machine = machine(1);
    let all = [
        "/ip4/192.168.1.2/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/169.254.7.7/tcp/1",
        "/ip6/fe80::1/tcp/1",
        "/dns4/example.com/tcp/1",
        "/dns4/localhost/tcp/1",
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/203.0.113.5/tcp/1",
    ];
    machine.handle_packet(LINK, from(2), &announcement(2, &all, 360), at(0.0));
    // Those of other networks are left out, too: a neighbour would have us dial anywhere.
    let addrs = vec![all[0].parse().unwrap()];
    assert_eq!(news(&mut machine), [News::Discovered { peer: peer(2), addrs }]);
    // From this machine, loopback is where it says.
    machine.handle_packet(LINK, from(1), &announcement(3, &all[1..3], 360), at(0.0));
    let addrs = vec![all[1].parse().unwrap()];
    assert_eq!(news(&mut machine), [News::Discovered { peer: peer(3), addrs }]);
    // From beyond the link, or about ourselves: nothing.
    let far = SocketAddr::from(([192, 168, 2, 5], PORT));
    machine.handle_packet(LINK, far, &announcement(4, &all, 360), at(0.0));
    machine.handle_packet(LINK, from(5), &announcement(1, &all, 360), at(0.0));
    assert_eq!(news(&mut machine), []);
}

#[test]
fn leaving_and_silence_are_told() {
    let mut machine = machine(1);
    let here = ["/ip4/192.168.1.2/tcp/1"];
    machine.handle_packet(LINK, from(2), &announcement(2, &here, 360), at(0.0));
    machine.handle_packet(LINK, from(3), &announcement(3, &here, 100), at(0.0));
    assert_eq!(news(&mut machine).len(), 2);
    // Another host does not speak for it.
    machine.handle_packet(LINK, from(3), &announcement(2, &[], 0), at(1.0));
    assert_eq!(news(&mut machine), []);
    machine.handle_packet(LINK, from(2), &announcement(2, &[], 0), at(1.0));
    assert_eq!(news(&mut machine), [News::Expired { peer: peer(2) }]);
    // The other one is asked before its time is over, then forgotten.
    let log = run(&mut machine, at(100.0));
    let late: Vec<f64> = questions(&log).into_iter().filter(|at| *at > 64.0).collect();
    assert_eq!(late, [80.0, 90.0]);
    assert_eq!(news(&mut machine), [News::Expired { peer: peer(3) }]);
    assert_eq!(machine.peers(), 0);
}

#[test]
fn a_goodbye_takes_what_its_host_said_by_that_name() {
    let mut machine = machine(1);
    let (one, two) = ("/ip4/192.168.1.2/tcp/1", "/ip4/192.168.1.2/tcp/2");
    let discovered = |addrs: &[&str]| {
        let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        [News::Discovered { peer: peer(2), addrs }]
    };
    // Another host says the same, and something else.
    machine.handle_packet(LINK, from(2), &announcement(2, &[one], 360), at(0.0));
    machine.handle_packet(LINK, from(3), &announcement(2, &[one, two], 360), at(0.1));
    assert_eq!(news(&mut machine), discovered(&[one, two]));
    machine.handle_packet(LINK, from(3), &announcement(2, &[], 0), at(0.2));
    assert_eq!(news(&mut machine), discovered(&[one]));
    // It calls itself something else by now: the old name's end is late.
    let other = message::instance(&[b'x'; 32]);
    let addrs = [one.parse().unwrap()];
    let renamed = message::announce(&other, peer(2), &addrs, Duration::from_secs(360), Form::Multicast);
    machine.handle_packet(LINK, from(2), &renamed, at(0.3));
    machine.handle_packet(LINK, from(2), &announcement(2, &[], 0), at(0.4));
    assert_eq!(news(&mut machine), []);
    let gone = message::announce(&other, peer(2), &[], Duration::ZERO, Form::Multicast);
    machine.handle_packet(LINK, from(2), &gone, at(0.5));
    assert_eq!(news(&mut machine), [News::Expired { peer: peer(2) }]);
}

#[test]
fn addresses_change_and_one_answer_may_be_several_packets() {
    let mut machine = machine(1);
    let one = ["/ip4/192.168.1.2/tcp/1"];
    let two = ["/ip4/192.168.1.2/tcp/2"];
    let discovered = |addrs: &[&str]| {
        let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        [News::Discovered { peer: peer(2), addrs }]
    };
    machine.handle_packet(LINK, from(2), &announcement(2, &one, 360), at(0.0));
    machine.handle_packet(LINK, from(2), &announcement(2, &two, 360), at(0.1));
    assert_eq!(news(&mut machine), discovered(&[one[0], two[0]]));
    machine.handle_packet(LINK, from(2), &announcement(2, &two, 360), at(9.0));
    assert_eq!(news(&mut machine), discovered(&two));
    machine.handle_packet(LINK, from(2), &announcement(2, &two, 360), at(10.0));
    assert_eq!(news(&mut machine), []);
}

#[test]
fn our_own_changes_are_told_under_another_name() {
    let mut machine = machine(1);
    run(&mut machine, at(100.0));
    let before = machine.instance.clone();
    machine.handle_addrs(vec![addr(1), "/ip4/192.168.1.1/tcp/5".parse().unwrap()], at(100.0));
    let first = sent(&mut machine).remove(0).1;
    assert_eq!(
        message::parse(&first),
        Ok(Message::Answer(message::Answer { peers: vec![], gone: vec![before] }))
    );
    let log = run(&mut machine, at(100.1));
    assert_eq!(questions(&log), [100.0]);
    let Some((_, Message::Answer(answer))) = log.last() else { panic!("{log:?}") };
    assert_eq!(answer.peers[0].addrs.len(), 2);
    // A link that comes is asked at once, or a second after the last question.
    let mut more = nets(1);
    more.insert(LinkId { interface: 3, v6: false }, vec![([10, 0, 0, 1].into(), 8)]);
    machine.handle_links(more, at(100.2));
    assert_eq!(questions(&run(&mut machine, at(101.5))), [101.0, 101.0]);
    // Our address is of the other link: this one is told nothing.
    let link = machine.links.get(&LinkId { interface: 3, v6: false }).unwrap();
    assert_eq!(link.answered, None);
}

#[test]
fn without_a_link_nothing_is_sent() {
    let mut machine = Machine::new(Config::default(), peer(1), 1, Instant::START);
    machine.handle_addrs(vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], Instant::START);
    machine.handle_links(BTreeMap::new(), Instant::START);
    assert!(run(&mut machine, at(100.0)).is_empty());
    machine.leave();
    assert_eq!(machine.poll_output(), None);
}

#[test]
fn a_flood_takes_no_more_than_its_share() {
    let config =
        Config { max_peers: 20, max_peers_a_host: 8, max_packets_a_host: 1_000, ..Config::default() };
    let mut machine = Machine::new(config, peer(0), 1, Instant::START);
    machine.handle_links(nets(1), Instant::START);
    let here = ["/ip4/192.168.1.2/tcp/1"];
    for n in 1..100 {
        machine.handle_packet(LINK, from(2), &announcement(n, &here, 360), at(0.0));
    }
    assert_eq!(machine.peers(), 8);
    for n in 1..100 {
        machine.handle_packet(LINK, from(n), &announcement(100 + n, &here, 360), at(0.5));
    }
    assert_eq!(machine.peers(), 20);
    // Nobody takes the news, and all of them leave: no more places than before.
    for n in 1..200 {
        machine.handle_packet(LINK, from(n % 100), &announcement(n, &[], 0), at(2.0));
        machine.handle_packet(LINK, from(n % 100), &announcement(255 - n, &here, 360), at(2.0));
    }
    assert!(machine.peers() <= 20);
    assert!(news(&mut machine).len() <= 40);
    // Packets beyond the limit are not read.
    machine.handle_packet(LINK, from(2), &announcement(1, &[], 0), at(4.0));
    for _ in 0..config.max_packets_a_second {
        machine.handle_packet(LINK, from(2), &[0; 12], at(4.0));
    }
    machine.handle_packet(LINK, (ip(77), 99).into(), &message::ask(&[]), at(4.0));
    assert!(sent(&mut machine).is_empty());
}

/// One host sends as much as it can; the others are heard all the same.
#[test]
fn a_flood_of_one_host_keeps_nobody_out() {
    let mut machine = machine(1);
    let config = Config::default();
    for _ in 0..10 * config.max_packets_a_second {
        machine.handle_packet(LINK, from(66), &[0; 12], at(0.5));
    }
    // Beyond the link are more than enough hosts.
    for n in 0..10 * config.max_packets_a_second {
        let far = IpAddr::from((0x0A00_0000 + n).to_be_bytes());
        machine.handle_packet(LINK, (far, PORT).into(), &[0; 12], at(0.5));
    }
    machine.handle_packet(LINK, from(2), &announcement(2, &["/ip4/192.168.1.2/tcp/1"], 360), at(0.6));
    assert_eq!(machine.peers(), 1);
    let rest = config.max_packets_a_second - config.max_packets_a_host - 1;
    for n in 0..rest {
        let host = IpAddr::from([192, 168, 1, u8::try_from(100 + n / 10).unwrap()]);
        machine.handle_packet(LINK, (host, PORT).into(), &[0; 12], at(0.7));
    }
    // All together have a limit as well.
    machine.handle_packet(LINK, from(3), &announcement(3, &["/ip4/192.168.1.3/tcp/1"], 360), at(0.8));
    assert_eq!(machine.peers(), 1);
    machine.handle_packet(LINK, from(3), &announcement(3, &["/ip4/192.168.1.3/tcp/1"], 360), at(1.6));
    assert_eq!(machine.peers(), 2);
}

/// Hosts that say much of a peer do not keep it from saying where it is.
#[test]
fn a_peer_is_heard_beside_those_that_lie_about_it() {
    let mut machine = machine(1);
    let lies = |by: u8| -> Vec<String> {
        (0..40).map(|n| format!("/ip4/192.168.1.{by}/tcp/{}", 1000 + n)).collect()
    };
    for by in [66, 67, 68] {
        for lies in lies(by).chunks(20) {
            let lies: Vec<&str> = lies.iter().map(String::as_str).collect();
            machine.handle_packet(LINK, from(by), &announcement(2, &lies, 360), at(0.1));
        }
    }
    machine.handle_packet(LINK, from(2), &announcement(2, &["/ip4/192.168.1.2/tcp/1"], 360), at(0.2));
    let found = news(&mut machine);
    let [News::Discovered { addrs, .. }] = &found[..] else { panic!("{found:?}") };
    assert!(addrs.contains(&"/ip4/192.168.1.2/tcp/1".parse().unwrap()), "{addrs:?}");
    assert!(addrs.len() <= super::super::limits::MAX_ADDRS);
    for by in [66, 67, 68] {
        let said = addrs.iter().filter(|addr| addr.to_string().contains(&format!(".{by}/"))).count();
        assert!((5..=16).contains(&said), "{said} of {by}");
    }
}

/// What host `by` says of peer `of`, in as many packets as it takes.
fn say(machine: &mut Machine, by: u8, of: u8, ports: std::ops::Range<u16>, now: Instant) {
    let addrs: Vec<String> = ports.map(|port| format!("/ip4/192.168.1.{by}/tcp/{port}")).collect();
    for addrs in addrs.chunks(8) {
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        machine.handle_packet(LINK, from(by), &announcement(of, &addrs, 30), now);
    }
}

/// A host that says as much as it may, and then all else, is heard each time.
#[test]
fn a_host_that_says_much_may_change_its_mind() {
    let mut machine = machine(1);
    for first in [1000, 2000, 3000] {
        say(&mut machine, 2, 2, first..first + 16, at(f64::from(first) / 100.0));
        let addrs = (first..first + 16).map(|port| format!("/ip4/192.168.1.2/tcp/{port}").parse().unwrap());
        assert_eq!(news(&mut machine), [News::Discovered { peer: peer(2), addrs: addrs.collect() }]);
    }
    // Others in the same breath find no room, and those before them stand.
    say(&mut machine, 2, 2, 4000..4016, at(30.5));
    assert_eq!(news(&mut machine), []);
    run(&mut machine, at(100.0));
    assert_eq!(news(&mut machine), [News::Expired { peer: peer(2) }]);
}

proptest::proptest! {
    /// Whatever neighbours say and when: nobody is told to be nowhere, and all
    /// who were told to be there are told to be gone.
    #[test]
    fn who_was_told_of_is_told_gone(
        said in proptest::collection::vec((2..5_u8, 2..4_u8, 0..60_u16, 1..20_u16, 0..4_u32), 0..40),
    ) {
        let mut machine = machine(1);
        let mut there = BTreeSet::new();
        let mut now = at(0.0);
        for (by, of, first, count, pause) in said {
            now += 500 * MS * pause;
            run(&mut machine, now);
            say(&mut machine, by, of, first..first + count, now);
            for item in news(&mut machine) {
                match item {
                    News::Discovered { peer, addrs } => {
                        assert!(!addrs.is_empty());
                        there.insert(peer);
                    }
                    News::Expired { peer } => assert!(there.remove(&peer)),
                }
            }
        }
        run(&mut machine, at(200.0));
        for item in news(&mut machine) {
            let News::Expired { peer } = item else { panic!("{item:?}") };
            assert!(there.remove(&peer));
        }
        assert_eq!((there.len(), machine.peers()), (0, 0));
    }
}
