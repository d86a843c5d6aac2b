//! Telling one server of many blocks, answered by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod single;

use std::time::Duration;

use bytes::Bytes;
use peerage_dht::{
    AnnounceId, Answer, Config, Failure, LookupError, Mode, Output, Request, RequestId, Response,
};
use single::{Single, addr, info, multihash, number, peer};

const WINDOW: usize = 16;

fn keys(count: u64) -> Vec<Bytes> {
    (0..count).map(multihash).collect()
}

fn announced(outputs: &[Output]) -> Vec<(AnnounceId, usize)> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Announced { id, told } => Some((*id, *told)),
        _ => None,
    });
    told.collect()
}

/// What was sent, all of it to peer 1.
fn sent(single: &mut Single) -> Vec<(RequestId, Bytes)> {
    let request = |(id, to, request)| match request {
        Request::AddProvider { key, providers } => {
            assert_eq!((to, providers), (peer(1), vec![info(0)]));
            (id, key)
        }
        other => panic!("{other:?}"),
    };
    single.sent().into_iter().map(request).collect()
}

#[test]
fn the_first_goes_alone_and_then_many_at_once() {
    let mut single = Single::new(Config::default());
    let now = single.now();
    let id = single.dht.announce(info(1), keys(40), now).unwrap();
    let first = sent(&mut single);
    assert_eq!(first.len(), 1);
    let mut order = vec![first[0].1.clone()];
    single.dht.handle_sent(first[0].0, now);
    let mut waiting = sent(&mut single);
    assert_eq!(waiting.len(), WINDOW);
    // The last first: the order in which they are written does not matter.
    while let Some((request, key)) = waiting.pop() {
        order.push(key);
        single.dht.handle_sent(request, now);
        waiting.extend(sent(&mut single));
        assert!(waiting.len() <= WINDOW);
    }
    order.sort();
    assert_eq!(order, keys(40));
    assert_eq!(announced(&single.outputs()), [(id, 40)]);
    assert_eq!(single.dht.stats().announcements, 0);
    // Nothing to tell is told at once.
    let id = single.dht.announce(info(1), Vec::new(), now).unwrap();
    assert_eq!(announced(&single.outputs()), [(id, 0)]);
}

#[test]
fn a_failure_ends_it_and_says_how_far_it_came() {
    let mut single = Single::new(Config::default());
    let now = single.now();
    let id = single.dht.announce(info(1), keys(40), now).unwrap();
    let first = sent(&mut single)[0].0;
    single.dht.handle_sent(first, now);
    let waiting = sent(&mut single);
    for (request, _) in &waiting[..5] {
        single.dht.handle_sent(*request, now);
    }
    // The seventh was not written, whatever became of those behind it.
    single.dht.handle_sent(waiting[6].0, now);
    single.dht.handle_request_failed(waiting[9].0, Failure::Unreachable, now);
    let outputs = single.outputs();
    assert_eq!(announced(&outputs), [(id, 6)]);
    let given_up = outputs.iter().filter(|output| matches!(output, Output::CancelRequest { .. })).count();
    let begun = outputs.iter().filter(|output| matches!(output, Output::SendRequest { .. })).count();
    assert_eq!(given_up, waiting.len() - 7 + begun);
    assert_eq!(single.dht.stats().requests, 0);
    // Who is not there is asked once.
    let id = single.dht.announce(info(1), keys(40), now).unwrap();
    assert_eq!(sent(&mut single).len(), 1);
    single.wait(Duration::from_secs(10));
    assert_eq!(announced(&single.outputs()), [(id, 0)]);
}

#[test]
fn what_cannot_be_announced_is_refused() {
    let mut single = Single::new(Config { announcements_max: 2, ..Config::default() });
    let now = single.now();
    let wrong = vec![multihash(1), Bytes::from_static(&[0; 81])];
    assert_eq!(single.dht.announce(info(1), wrong, now), Err(LookupError::Key(81)));
    let id = single.dht.announce(info(1), keys(2), now).unwrap();
    single.dht.announce(info(2), keys(2), now).unwrap();
    assert_eq!(single.dht.announce(info(3), keys(2), now), Err(LookupError::Busy));
    single.dht.cancel_announcement(id);
    single.dht.announce(info(3), keys(2), now).unwrap();
    single.dht.set_local_addrs(&[]);
    assert_eq!(single.dht.announce(info(3), keys(2), now), Err(LookupError::NoAddrs));
    single.outputs();
    single.wait(Duration::from_secs(20));
    assert_eq!(announced(&single.outputs()).len(), 2, "a cancelled one is not reported");
}

#[test]
fn a_server_keeps_what_it_is_near_to_and_tells_where_it_is_now() {
    let mut single = Single::server(300);
    let now = single.now();
    single.dht.announce(info(1), keys(500), now).unwrap();
    let kept = single.dht.stats().provider_records;
    // Of the 300 some 130 are in the table, and 20 of them are the closest.
    assert!((20..250).contains(&kept), "{kept}");
    single.dht.set_local_addrs(&[addr(77)]);
    let providers = |single: &mut Single, n| match single.ask(2, &Request::GetProviders { key: multihash(n) })
    {
        Answer::Respond(Response::Providers { providers, .. }) => providers,
        other => panic!("{other:?}"),
    };
    let told: Vec<_> = (0..500).flat_map(|n| providers(&mut single, n)).collect();
    assert_eq!(told.len(), kept);
    assert!(told.iter().all(|info| info.peer == peer(0) && info.addrs == [addr(77)]));
    // What is provided one by one is kept wherever it is.
    single.dht.provide(&multihash(1_000), now).unwrap();
    assert_eq!(providers(&mut single, 1_000).len(), 1);
    // A client answers nobody.
    let mut client = Single::new(Config::default());
    client.dht.announce(info(1), keys(10), now).unwrap();
    assert_eq!((client.dht.mode(), client.dht.stats().provider_records), (Mode::Client, 0));
}

#[test]
fn a_table_may_be_filled_by_who_knows_all() {
    let mut single = Single::new(Config::default());
    single.dht.set_mode(Mode::Server);
    let now = single.now();
    let places = (1..=300).filter(|&n| single.dht.add_known(&info(n), &addr(n), now)).count();
    assert_eq!(single.dht.stats().table_peers, places);
    assert!(single.outputs().is_empty());
    assert!(single.dht.add_known(&info(1), &addr(1), now), "it has its place already");
    assert!(!single.dht.add_known(&info(0), &addr(0), now), "nobody is in its own table");
    let private = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    assert!(!single.dht.add_known(&info(301), &private, now));
    let Answer::Respond(Response::Closest { closer }) =
        single.ask(1, &Request::FindNode { key: multihash(1_000) })
    else {
        panic!("no answer")
    };
    assert_eq!(closer.len(), 20);
    assert!(closer.iter().all(|info| number(&info.peer) <= 300));
}
