//! Routers that grant, refuse, change and vanish, in virtual time.

use super::*;

const GATEWAY: Gateway = Gateway { ip: Ipv4Addr::new(192, 168, 1, 1), local: Ipv4Addr::new(192, 168, 1, 5) };
const HERE: &str = "/ip4/192.168.1.5/tcp/4001";

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

fn addrs(list: &[&str]) -> Vec<Multiaddr> {
    list.iter().map(|addr| addr.parse().unwrap()).collect()
}

/// Behind the gateway since the beginning.
fn machine(list: &[&str]) -> Machine {
    start(list, [1; 64])
}

fn start(list: &[&str], secret: [u8; 64]) -> Machine {
    let mut machine = Machine::new(Config::default(), secret, Instant::START);
    machine.handle_addrs(addrs(list), at(0));
    machine.handle_gateway(Some(GATEWAY), at(0));
    machine.handle_timeout(at(0));
    machine
}

/// What it asks for now.
fn asked(machine: &mut Machine) -> Vec<Request> {
    let outputs = std::iter::from_fn(|| machine.poll_output());
    outputs
        .filter_map(|output| if let Output::Map(request) = output { Some(request) } else { None })
        .collect()
}

fn removed(machine: &mut Machine) -> Vec<u16> {
    let outputs = std::iter::from_fn(|| machine.poll_output());
    let removed = outputs.filter_map(|output| match output {
        Output::Unmap { external, .. } => Some(external.port()),
        _ => None,
    });
    removed.collect()
}

fn granted(request: &Request, ip: [u8; 4], seconds: u64) -> Result<Granted, Failure> {
    let external = SocketAddrV4::new(ip.into(), 5001);
    Ok(Granted { via: request.via.clone(), external, lifetime: Duration::from_secs(seconds) })
}

const PUBLIC: [u8; 4] = [203, 0, 113, 5];

/// Runs to the next request, which comes when this says.
fn next(machine: &mut Machine) -> (Instant, Request) {
    for _ in 0..10_000 {
        let now = machine.poll_timeout().unwrap();
        machine.handle_timeout(now);
        if let Some(request) = asked(machine).pop() {
            return (now, request);
        }
    }
    panic!("it asks no more");
}

#[test]
fn protocols_are_tried_in_turn_and_then_much_later() {
    let mut machine = machine(&[HERE]);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let mut requests = asked(&mut machine);
        if requests.is_empty() {
            let (then, request) = next(&mut machine);
            pauses.push(then.since(now).as_secs());
            (now, requests) = (then, vec![request]);
        }
        for step in 0..3 {
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!((request.port, request.wanted), (4001, 4001));
            let expected = match request.via {
                Via::Pcp(_) => 0,
                Via::NatPmp => 1,
                Via::Upnp(_) => 2,
            };
            assert_eq!(expected, step);
            machine.handle_result(request, Err(Failure::Silent), now);
            requests = asked(&mut machine);
        }
        assert!(requests.is_empty());
    }
    assert_eq!(pauses, [300, 600, 1200, 2400, 3600]);
    assert_eq!(machine.failure(), Some(&Failure::Silent));
    assert!(machine.external().is_empty());
}

#[test]
fn what_is_granted_is_told_renewed_and_removed() {
    let mut machine = machine(&[HERE, "/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/9"]);
    let request = asked(&mut machine).remove(0);
    machine.handle_result(&request, granted(&request, PUBLIC, 3600), at(2));
    assert_eq!(machine.external(), addrs(&["/ip4/203.0.113.5/tcp/5001"]));
    let (now, renewal) = next(&mut machine);
    assert_eq!(now, at(2 + 1800));
    // The same mapping, by the same nonce.
    assert_eq!((&renewal.via, renewal.wanted), (&request.via, 5001));
    machine.handle_result(&renewal, granted(&renewal, PUBLIC, 3600), now);
    assert_eq!(next(&mut machine).0, at(2 + 3600));
    machine.close();
    assert_eq!(removed(&mut machine), [5001]);
    assert!(machine.external().is_empty());
}

#[test]
fn a_restart_asks_for_the_same_mapping() {
    let elsewhere = "/ip4/192.168.1.5/tcp/4002";
    let via = |addr, secret| asked(&mut start(&[addr], [secret; 64])).remove(0).via;
    assert_eq!(via(HERE, 1), via(HERE, 1));
    assert_ne!(via(HERE, 1), via(HERE, 2));
    assert_ne!(via(HERE, 1), via(elsewhere, 1));
}

#[test]
fn failed_renewals_are_tried_until_it_is_over() {
    let mut machine = machine(&[HERE]);
    let request = asked(&mut machine).remove(0);
    machine.handle_result(&request, granted(&request, PUBLIC, 80), at(0));
    let mut tries = Vec::new();
    loop {
        let (now, request) = next(&mut machine);
        tries.push(now.since(at(0)).as_secs());
        machine.handle_result(&request, Err(Failure::Silent), now);
        if machine.external().is_empty() {
            break;
        }
    }
    // At half, at half of the rest; then it has expired, and all begins anew.
    assert_eq!(tries, [40, 60, 70, 80]);
    assert!(matches!(asked(&mut machine)[..], [Request { via: Via::NatPmp, .. }]));
}

#[test]
fn a_renewal_that_hangs_does_not_keep_it_beyond_its_time() {
    let mut machine = machine(&[HERE]);
    let request = asked(&mut machine).remove(0);
    machine.handle_result(&request, granted(&request, PUBLIC, 80), at(0));
    let (_, hanging) = next(&mut machine);
    while machine.poll_timeout().is_some_and(|then| then <= at(80)) {
        machine.handle_timeout(machine.poll_timeout().unwrap());
    }
    assert!(machine.external().is_empty());
    machine.handle_result(&hanging, granted(&hanging, PUBLIC, 80), at(81));
    assert_eq!(machine.external().len(), 1);
}

#[test]
fn absurd_times_are_kept_in_bounds() {
    let most = Config::default().max_lifetime.as_secs();
    // One second is over before it may be asked for again.
    for (seconds, again) in [(0, 10), (1, 10), (15, 10), (u64::from(u32::MAX), most / 2)] {
        let mut machine = machine(&[HERE]);
        let mut request = asked(&mut machine).remove(0);
        let mut now = at(0);
        for _ in 0..3 {
            machine.handle_result(&request, granted(&request, PUBLIC, seconds), now);
            let (then, next) = next(&mut machine);
            assert_eq!(then.since(now), Duration::from_secs(again), "{seconds}");
            (now, request) = (then, next);
        }
    }
}

#[test]
fn nothing_is_done_where_nothing_is_needed() {
    for list in [
        &["/ip4/127.0.0.1/tcp/4001"][..],
        &[HERE, "/ip4/203.0.113.9/tcp/4001"],
        &["/ip4/10.0.0.5/tcp/4001", "/ip6/fd00::1/tcp/4001"],
        &[],
    ] {
        let mut machine = machine(list);
        assert!(asked(&mut machine).is_empty(), "{list:?}");
    }
}

#[test]
fn another_router_behind_this_one_is_no_way_out() {
    let mut machine = machine(&[HERE]);
    let request = asked(&mut machine).remove(0);
    machine.handle_result(&request, granted(&request, [100, 64, 0, 9], 3600), at(0));
    assert!(machine.external().is_empty());
    assert_eq!(machine.failure(), Some(&Failure::NotPublic([100, 64, 0, 9].into())));
    assert_eq!(removed(&mut machine), [5001]);
    assert_eq!(next(&mut machine).0, at(300));
}

#[test]
fn networks_and_ports_come_and_go() {
    let mut machine = machine(&[HERE]);
    let request = asked(&mut machine).remove(0);
    machine.handle_result(&request, granted(&request, PUBLIC, 3600), at(0));
    // Another port as well, then only that one.
    machine.handle_addrs(addrs(&[HERE, "/ip4/192.168.1.5/tcp/4002"]), at(1));
    machine.handle_timeout(at(1));
    let second = asked(&mut machine).remove(0);
    assert_eq!(second.port, 4002);
    machine.handle_addrs(addrs(&["/ip4/192.168.1.5/tcp/4003"]), at(2));
    assert_eq!(removed(&mut machine), [5001]);
    // What comes for the one that is gone is given back.
    machine.handle_result(&second, granted(&second, PUBLIC, 3600), at(3));
    assert_eq!(removed(&mut machine), [5001]);
    machine.handle_timeout(at(3));
    let third = asked(&mut machine).remove(0);
    // Another gateway: what the first one says does not count any more.
    let other = Gateway { ip: [192, 168, 1, 254].into(), ..GATEWAY };
    machine.handle_gateway(Some(other), at(4));
    machine.handle_result(&third, granted(&third, PUBLIC, 3600), at(5));
    assert!(machine.external().is_empty());
    machine.handle_timeout(at(5));
    assert_eq!(asked(&mut machine).remove(0).gateway, other);
    machine.handle_gateway(None, at(6));
    machine.handle_timeout(at(6));
    assert!(asked(&mut machine).is_empty());
}

#[test]
fn there_is_a_limit_to_the_ports() {
    let list: Vec<String> = (1..50).map(|port| format!("/ip4/192.168.1.5/tcp/{port}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    assert_eq!(asked(&mut machine(&list)).len(), Config::default().max_ports);
}

#[test]
fn what_may_exist_is_removed_at_the_end() {
    // Asked for by a datagram, and not answered yet.
    let mut first = machine(&[HERE]);
    let asking = asked(&mut first).remove(0);
    first.close();
    let Some(Output::Unmap { via, port: 4001, .. }) = first.poll_output() else { panic!("it stays") };
    assert_eq!(via, asking.via);

    // Asked for by UPnP: granted after the end began.
    let mut second = machine(&[HERE]);
    for _ in 0..2 {
        let request = asked(&mut second).remove(0);
        second.handle_result(&request, Err(Failure::Silent), at(1));
    }
    let asking = asked(&mut second).remove(0);
    second.close();
    assert_eq!(removed(&mut second), [0; 0]);
    second.handle_result(&asking, granted(&asking, PUBLIC, 3600), at(2));
    assert_eq!(removed(&mut second), [5001]);

    // Not renewed in time, by a router that may know no ends.
    let mut third = machine(&[HERE]);
    let mut request = asked(&mut third).remove(0);
    third.handle_result(&request, granted(&request, PUBLIC, 80), at(0));
    while !third.external().is_empty() {
        let now;
        (now, request) = next(&mut third);
        third.handle_result(&request, Err(Failure::Silent), now);
    }
    third.close();
    assert_eq!(removed(&mut third)[0], 5001);
}

#[test]
fn what_moved_is_removed_where_it_was() {
    for (failures, left) in [(0, &[][..]), (2, &[5001])] {
        let mut machine = machine(&[HERE]);
        for _ in 0..failures {
            let request = asked(&mut machine).remove(0);
            machine.handle_result(&request, Err(Failure::Silent), at(0));
        }
        let request = asked(&mut machine).remove(0);
        machine.handle_result(&request, granted(&request, PUBLIC, 80), at(0));
        let (now, renewal) = next(&mut machine);
        let external = SocketAddrV4::new(PUBLIC.into(), 5002);
        let moved = Granted { external, ..granted(&renewal, PUBLIC, 80).unwrap() };
        machine.handle_result(&renewal, Ok(moved), now);
        // Of PCP and NAT-PMP there is one mapping, wherever it is.
        assert_eq!(removed(&mut machine), left, "{:?}", renewal.via);
        machine.close();
        assert_eq!(removed(&mut machine), [5002]);
    }
}
