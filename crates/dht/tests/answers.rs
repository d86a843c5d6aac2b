//! What a server answers, and what it does not tell or take.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod single;

use std::time::Duration;

use bytes::Bytes;
use peerage_dht::{Answer, Config, Failure, Key, Mode, Network, Output, PeerInfo, Record, Request, Response};
use peerage_identity::Keypair;
use single::{Single, addr, info, multihash, peer};

fn find_node(key: &[u8]) -> Request {
    Request::FindNode { key: Bytes::copy_from_slice(key) }
}

fn closer(answer: Answer) -> Vec<PeerInfo> {
    match answer {
        Answer::Respond(response) => response.closer().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn find_node_names_the_closest_but_never_the_asker() {
    let mut server = Single::server(60);
    let near = closer(server.ask(1, &find_node(b"somewhere")));
    assert_eq!(near.len(), 20);
    let mut truth = server.dht.peers();
    truth.retain(|info| info.peer != peer(1));
    truth.sort_by_key(|info| Key::of_peer(&info.peer).distance(&Key::of(b"somewhere")));
    assert_eq!(near, truth[..20]);
    assert!(near.iter().all(|info| info.peer != peer(1)));
}

#[test]
fn the_target_itself_comes_first_server_or_not() {
    let mut server = Single::server(60);
    let client = PeerInfo { peer: peer(500), addrs: vec![addr(500)] };
    let now = server.now();
    server.dht.handle_identified(client.peer, false, &client.addrs, &addr(500), now);
    let told = closer(server.ask(1, &find_node(client.peer.as_bytes())));
    assert_eq!((told.len(), &told[0]), (21, &client));
    server.dht.handle_disconnected(&client.peer);
    assert_eq!(
        closer(server.ask(1, &find_node(client.peer.as_bytes()))).len(),
        20,
        "forgotten when it is gone"
    );
    // Ourselves; a server that is in the table comes once.
    assert_eq!(closer(server.ask(1, &find_node(peer(0).as_bytes())))[0], info(0));
    let known = server.dht.peers()[0].clone();
    let told = closer(server.ask(1, &find_node(known.peer.as_bytes())));
    assert_eq!((told.len(), told[0].peer), (20, known.peer));
}

#[test]
fn a_client_answers_nothing() {
    let mut server = Single::server(5);
    server.dht.set_mode(Mode::Client);
    assert_eq!(server.ask(1, &Request::Ping), Answer::Reset);
    server.dht.set_mode(Mode::Server);
    assert_eq!(server.ask(1, &Request::Ping), Answer::Respond(Response::Pong));
}

#[test]
fn only_the_sender_is_taken_as_a_provider() {
    let mut server = Single::server(5);
    let add = |providers| Request::AddProvider { key: multihash(1), providers };
    assert_eq!(server.ask(1, &add(vec![info(2)])), Answer::Reset, "another");
    assert_eq!(server.ask(1, &add(Vec::new())), Answer::Reset, "nobody");
    let bare = PeerInfo { peer: peer(1), addrs: Vec::new() };
    assert_eq!(server.ask(1, &add(vec![bare])), Answer::Reset, "nowhere");
    assert_eq!(server.dht.stats().provider_records, 0);
    assert_eq!(server.ask(1, &add(vec![info(2), info(1)])), Answer::Nothing);
    let Answer::Respond(Response::Providers { providers, closer }) =
        server.ask(300, &Request::GetProviders { key: multihash(1) })
    else {
        panic!("no providers");
    };
    assert_eq!((providers, closer.len()), (vec![info(1)], 5));
}

#[test]
fn the_wan_tells_nobody_of_private_addresses() {
    let mut server = Single::server(5);
    let mixed = PeerInfo {
        peer: peer(9),
        addrs: vec!["/ip4/192.168.1.2/tcp/1".parse().unwrap(), addr(9), "/ip6/::1/tcp/1".parse().unwrap()],
    };
    server.ask(9, &Request::AddProvider { key: multihash(1), providers: vec![mixed.clone()] });
    let now = server.now();
    server.dht.handle_identified(peer(9), false, &mixed.addrs, &addr(9), now);
    let told = closer(server.ask(1, &find_node(peer(9).as_bytes())));
    assert_eq!(told[0], info(9));
    let Answer::Respond(Response::Providers { providers, .. }) =
        server.ask(3, &Request::GetProviders { key: multihash(1) })
    else {
        panic!("no providers");
    };
    assert_eq!(providers, [info(9)]);
    // A peer that is only private is in no table, and neither asked nor told.
    let private = PeerInfo { peer: peer(70), addrs: vec!["/ip4/10.1.1.1/tcp/1".parse().unwrap()] };
    server.dht.handle_identified(private.peer, true, &private.addrs, &private.addrs[0], now);
    assert!(server.sent().is_empty(), "nobody asks it whether it is there");
}

#[test]
fn the_lan_answers_only_who_is_near() {
    let mut server = Single::new(Config::new(Network::Lan));
    server.dht.set_mode(Mode::Server);
    let now = server.now();
    let near = "/ip4/192.168.0.7/tcp/5".parse().unwrap();
    assert_eq!(server.dht.handle_request(peer(1), &addr(1), &Request::Ping, now), Answer::Reset);
    let pong = Answer::Respond(Response::Pong);
    assert_eq!(server.dht.handle_request(peer(1), &near, &Request::Ping, now), pong);
}

#[test]
fn values_are_stored_if_they_are_valid() {
    let mut server = Single::server(5);
    let keypair = Keypair::from_seed([7; 32]);
    let record = Record {
        key: peerage_dht::public_key_key(&keypair.peer_id()),
        value: keypair.public().to_protobuf().into(),
    };
    let put = Request::PutValue { record: record.clone() };
    assert_eq!(server.ask(1, &put), Answer::Respond(Response::Stored { record: record.clone() }));
    let wrong = Record { value: Bytes::from_static(b"another"), ..record.clone() };
    assert_eq!(server.ask(1, &Request::PutValue { record: wrong }), Answer::Reset);
    let unknown = Record { key: Bytes::from_static(b"/dnslink/a"), value: Bytes::new() };
    assert_eq!(server.ask(1, &Request::PutValue { record: unknown }), Answer::Reset, "no validator");
    let ipns = Record { key: peerage_dht::ipns_key(&keypair.peer_id()), value: Bytes::new() };
    assert_eq!(server.ask(1, &Request::PutValue { record: ipns }), Answer::Reset, "no record");
    let answer = server.ask(300, &Request::GetValue { key: record.key.clone() });
    let Answer::Respond(Response::Value { record: found, closer }) = answer else { panic!("no value") };
    assert_eq!((found, closer.len()), (Some(record), 5));
    let other = server.ask(2, &Request::GetValue { key: Bytes::from_static(b"/pk/b") });
    assert!(matches!(other, Answer::Respond(Response::Value { record: None, .. })));
}

#[test]
fn records_expire_after_two_days() {
    let mut server = Single::server(5);
    let keypair = Keypair::from_seed([7; 32]);
    let key = peerage_dht::public_key_key(&keypair.peer_id());
    let record = Record { key, value: keypair.public().to_protobuf().into() };
    server.ask(1, &Request::PutValue { record });
    server.ask(1, &Request::AddProvider { key: multihash(1), providers: vec![info(1)] });
    server.wait(Duration::from_secs(47 * 3600));
    assert_eq!((server.dht.stats().provider_records, server.dht.stats().values), (1, 1));
    server.wait(Duration::from_secs(2 * 3600));
    assert_eq!((server.dht.stats().provider_records, server.dht.stats().values), (0, 0));
}

#[test]
fn floods_take_bounded_memory() {
    let config = Config {
        contacts_max: 50,
        providers_max: 300,
        providers_per_sender: 100,
        values_max: 20,
        checks_max: 30,
        ..Config::default()
    };
    let mut server = Single::new(config);
    server.dht.set_mode(Mode::Server);
    let now = server.now();
    for n in 1..2000 {
        // Everyone says that it is a server, provides, and stores a key.
        server.dht.handle_identified(peer(n), true, &[addr(n)], &addr(n), now);
        server.ask(n, &Request::AddProvider { key: multihash(n % 700), providers: vec![info(n)] });
        server.ask(1, &Request::AddProvider { key: multihash(n), providers: vec![info(1)] });
        let keypair = Keypair::from_seed([u8::try_from(n % 250).unwrap(); 32]);
        let key = peerage_dht::public_key_key(&keypair.peer_id());
        let record = Record { key, value: keypair.public().to_protobuf().into() };
        server.ask(n, &Request::PutValue { record });
    }
    let stats = server.dht.stats();
    assert_eq!((stats.contacts, stats.provider_records, stats.values), (50, 300, 20));
    assert_eq!(stats.requests, 30, "so many are asked whether they are there");
    // None of them answers: nobody is in the table, and nothing waits.
    for (id, _, _) in server.sent() {
        server.dht.handle_request_failed(id, Failure::Unreachable, now);
    }
    assert_eq!((server.dht.stats().requests, server.dht.peers().len()), (0, 0));
    assert!(!server.outputs().iter().any(|output| matches!(output, Output::PeerAdded { .. })));
}
