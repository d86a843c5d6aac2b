//! Single look-ups, answered by hand: what is asked, told, stored, corrected,
//! given up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod single;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_base::Now;
use peerage_dht::limits::{PROVIDERS_FOUND_MAX, PROVIDERS_TAKEN};
use peerage_dht::{
    Config, End, Failure, Key, LookupError, LookupId, Mode, Output, PeerInfo, Record, Report, Request,
    Response, Validator, ValueError,
};
use peerage_identity::Multiaddr;
use single::{Single, addr, info, multihash, number, peer};

/// A larger first byte is better; 0 is invalid.
#[derive(Debug)]
struct Numbers;

impl Validator for Numbers {
    fn validate(&self, _name: &[u8], value: &[u8], _now: Now) -> Result<(), ValueError> {
        if value.first().is_some_and(|&first| first > 0) { Ok(()) } else { Err(ValueError::Value) }
    }

    fn compare(&self, _name: &[u8], left: &[u8], right: &[u8]) -> Ordering {
        left.first().cmp(&right.first())
    }
}

fn numbers(quorum: usize) -> Single {
    let mut single =
        Single::new(Config { quorum, validators: vec![("n", Arc::new(Numbers))], ..Config::default() });
    single.learn(30);
    single
}

fn record(value: u8) -> Record {
    Record { key: Bytes::from_static(b"/n/a"), value: Bytes::copy_from_slice(&[value]) }
}

fn report(outputs: &[Output], id: LookupId) -> Option<&Report> {
    outputs.iter().find_map(|output| match output {
        Output::LookupFinished { lookup, report } if *lookup == id => Some(report),
        _ => None,
    })
}

fn nobody(request: &Request) -> Option<Response> {
    let closer = Vec::new();
    Some(match request {
        Request::FindNode { .. } => Response::Closest { closer },
        Request::GetProviders { .. } => Response::Providers { providers: Vec::new(), closer },
        Request::GetValue { .. } => Response::Value { record: None, closer },
        Request::PutValue { record } => Response::Stored { record: record.clone() },
        Request::AddProvider { .. } => return None,
        Request::Ping => Response::Pong,
    })
}

#[test]
fn without_peers_it_ends_at_once() {
    let mut single = Single::new(Config::default());
    let now = single.now();
    let id = single.dht.find_providers(&multihash(1), now).unwrap();
    assert_eq!(report(&single.outputs(), id).unwrap().end, End::NoPeers);
    assert_eq!(single.dht.find_closest(b"", now), Err(LookupError::Key(0)));
    assert_eq!(single.dht.find_value(b"/x/y", now), Err(LookupError::Value(ValueError::Namespace)));
}

#[test]
fn as_many_as_may_be_run() {
    let mut single = Single::new(Config { lookups_max: 3, ..Config::default() });
    single.learn(5);
    let now = single.now();
    let ids: Vec<LookupId> = (0..3).map(|n| single.dht.find_providers(&multihash(n), now).unwrap()).collect();
    assert_eq!(single.dht.find_providers(&multihash(9), now), Err(LookupError::Busy));
    single.dht.cancel(ids[1]);
    assert!(single.dht.find_providers(&multihash(9), now).is_ok());
}

#[test]
fn providers_are_told_once_and_again_when_they_can_be_reached() {
    let mut single = Single::server(8);
    let now = single.now();
    let id = single.dht.find_providers(&multihash(1), now).unwrap();
    let bare = PeerInfo { peer: peer(100), addrs: Vec::new() };
    let private = PeerInfo { peer: peer(101), addrs: vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()] };
    let mut answers = vec![
        vec![bare.clone(), private, info(0)],
        vec![bare.clone(), info(102)],
        vec![info(100), info(102)],
        vec![info(100)],
    ]
    .into_iter();
    single.answer_all(|_, _| {
        Some(Response::Providers { providers: answers.next().unwrap_or_default(), closer: Vec::new() })
    });
    let outputs = single.outputs();
    let told: Vec<Vec<PeerInfo>> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::ProvidersFound { providers, .. } => Some(providers.clone()),
            _ => None,
        })
        .filter(|told| !told.is_empty())
        .collect();
    let nowhere = PeerInfo { peer: peer(101), addrs: Vec::new() };
    assert_eq!(told, [vec![bare, nowhere], vec![info(102)], vec![info(100)]]);
    let report = report(&outputs, id).unwrap();
    assert_eq!((report.end, report.hops, report.closest.len()), (End::Complete, 1, 8));
    assert_eq!((report.progress.asked, report.progress.answered, report.progress.providers), (8, 8, 3));
}

#[test]
fn where_a_provider_is_said_to_be_first_is_not_the_end_of_it() {
    let mut single = Single::server(8);
    let now = single.now();
    single.dht.find_providers(&multihash(1), now).unwrap();
    let at = |n: u64| PeerInfo { peer: peer(100), addrs: vec![addr(n)] };
    let mut answers = vec![at(7), at(100), at(7), at(100)].into_iter();
    single.answer_all(|_, _| {
        Some(Response::Providers { providers: answers.next().into_iter().collect(), closer: Vec::new() })
    });
    let found = |output: &Output| match output {
        Output::ProvidersFound { providers, again, .. } => Some((providers.clone(), again.clone())),
        _ => None,
    };
    let told: Vec<_> = single.outputs().iter().filter_map(found).collect();
    let again = || vec![peer(100)];
    let expected = [(vec![at(7)], vec![]), (vec![at(100)], again()), (vec![], again()), (vec![], again())];
    assert_eq!(told, expected, "the liar was the first");
}

#[test]
fn a_cancelled_look_up_gives_up_what_it_asked() {
    let mut single = Single::server(30);
    let now = single.now();
    let id = single.dht.find_providers(&multihash(1), now).unwrap();
    let sent = single.sent();
    assert_eq!(sent.len(), 10, "alpha");
    single.dht.cancel(id);
    let cancelled = single.outputs().iter().filter(|out| matches!(out, Output::CancelRequest { .. })).count();
    assert_eq!((cancelled, single.dht.stats().requests, single.dht.stats().lookups), (10, 0, 0));
    // What comes late is nothing.
    let late = Response::Providers { providers: vec![info(7)], closer: Vec::new() };
    single.dht.handle_response(sent[0].0, &addr(1), late, now);
    assert_eq!(single.outputs(), []);
}

#[test]
fn a_block_is_provided_at_the_closest() {
    let mut single = Single::server(30);
    let now = single.now();
    let id = single.dht.provide(&multihash(1), now).unwrap();
    let mut told = Vec::new();
    single.answer_all(|peer, request| {
        if let Request::AddProvider { key, providers } = request {
            assert_eq!((key, providers), (&multihash(1), &vec![info(0)]));
            told.push(peer);
        }
        nobody(request)
    });
    let outputs = single.outputs();
    let report = report(&outputs, id).unwrap();
    let mut closest: Vec<_> = report.closest.iter().map(|info| info.peer).collect();
    assert_eq!((report.end, report.stored, told.len()), (End::Complete, 20, 20));
    closest.sort();
    told.sort();
    assert_eq!(told, closest);
    // A server names itself too.
    let own = single.ask(3, &Request::GetProviders { key: multihash(1) });
    let peerage_dht::Answer::Respond(Response::Providers { providers, .. }) = own else { panic!("{own:?}") };
    assert_eq!(providers, [info(0)]);
    single.dht.set_local_addrs(&["/ip4/10.0.0.1/tcp/1".parse().unwrap()]);
    assert_eq!(single.dht.provide(&multihash(1), now), Err(LookupError::NoAddrs));
}

#[test]
fn a_search_that_takes_too_long_stores_where_it_got() {
    let lookup_timeout = Duration::from_secs(5);
    let mut single = Single::new(Config { lookup_timeout, ..Config::default() });
    single.dht.set_mode(Mode::Server);
    single.learn(12);
    let now = single.now();
    let id = single.dht.provide(&multihash(1), now).unwrap();
    // Peer after peer names others that are silent, for longer than that.
    let mut next = 100;
    for _ in 0..100 {
        single.answer_all(|peer, request| {
            if number(&peer) >= 100 && request.is_answered() {
                return None;
            }
            next += 10;
            match request {
                Request::FindNode { .. } => {
                    Some(Response::Closest { closer: (next..next + 20).map(info).collect() })
                }
                _ => None,
            }
        });
        single.wait(Duration::from_secs(1));
    }
    let outputs = single.outputs();
    let report = report(&outputs, id).unwrap();
    assert_eq!(report.end, End::OutOfTime);
    assert!(
        report.stored >= 3 && usize::try_from(report.stored).unwrap() == report.closest.len(),
        "{report:?}"
    );
    assert!(report.took <= lookup_timeout + Duration::from_secs(11));
}

#[test]
fn requests_have_a_deadline_and_the_silent_count_as_failed() {
    let mut single = Single::server(3);
    let now = single.now();
    let id = single.dht.find_closest(b"key", now).unwrap();
    assert_eq!(single.sent().len(), 3);
    single.wait(Duration::from_secs(9));
    assert_eq!(report(&single.outputs(), id), None);
    single.wait(Duration::from_secs(1));
    let outputs = single.outputs();
    let report = report(&outputs, id).unwrap();
    assert_eq!((report.end, report.progress.failed, report.hops), (End::NoPeers, 3, 0));
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::CancelRequest { .. })).count(), 3);
}

/// A look-up of a world of servers that all name the nearest. After so many
/// answers our own network is gone.
fn with_an_outage(after: usize) -> (Report, usize) {
    let mut single = Single::server(30);
    let target = Key::of(&multihash(1));
    let mut near: Vec<u64> = (100..400).collect();
    near.sort_by_key(|&n| target.distance(&Key::of_peer(&peer(n))));
    let id = single.dht.find_closest(&multihash(1), single.now()).unwrap();
    let mut answers = 0;
    loop {
        let sent = single.sent();
        if sent.is_empty() {
            break;
        }
        for (request, to, _) in sent {
            let now = single.now();
            if answers == after {
                single.dht.handle_request_failed(request, Failure::Unreachable, now);
                continue;
            }
            // Nearer ones from answer to answer, some of which others name too.
            let place = 200_usize.saturating_sub(answers * 10);
            answers += 1;
            let closer = near[place..place + 20].iter().map(|&n| info(n)).collect();
            single.dht.handle_response(request, &addr(number(&to)), Response::Closest { closer }, now);
        }
    }
    let outputs = single.outputs();
    let invented = outputs.iter().filter(|output| matches!(output, Output::Invented { .. }));
    (report(&outputs, id).unwrap().clone(), invented.count())
}

#[test]
fn an_outage_of_our_own_is_nobody_elses_fault() {
    let (report, invented) = with_an_outage(usize::MAX);
    assert_eq!((report.end, invented), (End::Complete, 0));
    for after in [4, 8, 12] {
        let (report, invented) = with_an_outage(after);
        assert_eq!((report.end, invented), (End::Unanswered, 0), "after {after}");
        assert_eq!(report.progress.answered as usize, after);
    }
    assert_eq!(with_an_outage(0).0.end, End::NoPeers);
}

#[test]
fn an_answer_of_the_wrong_kind_is_a_failure() {
    let mut single = Single::server(1);
    let now = single.now();
    let id = single.dht.find_providers(&multihash(1), now).unwrap();
    single.answer_all(|_, _| Some(Response::Pong));
    assert_eq!(report(&single.outputs(), id).unwrap().end, End::NoPeers);
}

#[test]
fn the_best_value_is_found_and_given_to_who_has_an_older_one() {
    let mut single = numbers(0);
    let now = single.now();
    let id = single.dht.find_value(b"/n/a", now).unwrap();
    let mut corrected = Vec::new();
    let mut held = std::collections::BTreeMap::new();
    single.answer_all(|peer, request| {
        if let Request::PutValue { record: put } = request {
            assert_eq!(*put, record(9));
            corrected.push(peer);
        }
        if let Request::GetValue { .. } = request {
            // Of five one has the best, one an invalid one, one none, the others an older one.
            let value = match held.len() % 5 {
                0 => Some(record(9)),
                1 => Some(record(0)),
                2 => None,
                _ => Some(record(3)),
            };
            held.insert(peer, value.clone());
            return Some(Response::Value { record: value, closer: Vec::new() });
        }
        nobody(request)
    });
    let outputs = single.outputs();
    let report = report(&outputs, id).unwrap();
    assert_eq!(report.end, End::Complete);
    let values: Vec<&Bytes> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::ValueFound { value, .. } => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(values, [&record(9).value]);
    let closest: Vec<_> = report.closest.iter().map(|info| info.peer).collect();
    let wrong = |peer: &&peerage_identity::PeerId| held[*peer] != Some(record(9));
    let mut expected: Vec<_> = closest.iter().filter(wrong).copied().collect();
    // Those further away are corrected if they had an older one.
    let older = held.iter().filter(|(_, value)| **value == Some(record(3))).map(|(peer, _)| *peer);
    expected.extend(older.filter(|peer| !closest.contains(peer)));
    expected.sort();
    corrected.sort();
    assert_eq!(corrected, expected);
}

#[test]
fn enough_valid_values_end_the_search() {
    let mut single = numbers(4);
    let now = single.now();
    let id = single.dht.find_value(b"/n/a", now).unwrap();
    let mut asked = 0;
    single.answer_all(|_, request| match request {
        Request::GetValue { .. } => {
            asked += 1;
            // An invalid one counts for nothing.
            let value = if asked % 2 == 0 { record(0) } else { record(5) };
            Some(Response::Value { record: Some(value), closer: Vec::new() })
        }
        _ => nobody(request),
    });
    let outputs = single.outputs();
    let report = report(&outputs, id).unwrap();
    assert_eq!((report.end, report.progress.answered), (End::Quorum, 7));
}

#[test]
fn a_value_is_put_at_the_closest_and_must_be_valid_and_no_older() {
    let mut single = numbers(0);
    let now = single.now();
    let put = |single: &mut Single, value| single.dht.put_value(b"/n/a", record(value).value, now);
    assert_eq!(put(&mut single, 0), Err(LookupError::Value(ValueError::Value)));
    let id = put(&mut single, 5).unwrap();
    let mut count = 0;
    single.answer_all(|_, request| match request {
        // One of four says that it stored something else.
        Request::PutValue { .. } => {
            count += 1;
            Some(Response::Stored { record: record(if count % 4 == 0 { 1 } else { 5 }) })
        }
        _ => nobody(request),
    });
    assert_eq!(report(&single.outputs(), id).unwrap().stored, 15);
    assert_eq!(put(&mut single, 4), Err(LookupError::Older));
}

#[test]
fn a_peer_is_found_and_false_addresses_are_only_addresses() {
    let mut single = Single::server(10);
    let now = single.now();
    let id = single.dht.find_peer(peer(77), now).unwrap();
    let wrong: Multiaddr = addr(78);
    let mut first = true;
    single.answer_all(|asked, request| {
        assert_ne!(asked, peer(77), "who is looked for is not asked where it is");
        let addrs =
            if std::mem::take(&mut first) { vec![wrong.clone()] } else { vec![addr(77), wrong.clone()] };
        match request {
            Request::FindNode { .. } => {
                Some(Response::Closest { closer: vec![PeerInfo { peer: peer(77), addrs }] })
            }
            _ => None,
        }
    });
    let outputs = single.outputs();
    let told: Vec<Multiaddr> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::PeerFound { info, .. } => Some(info.addrs.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(told, [wrong, addr(77)], "each once");
    assert_eq!(report(&outputs, id).unwrap().end, End::Complete);
}

#[test]
fn waking_early_changes_nothing() {
    let mut single = Single::server(10);
    let now = single.now();
    single.dht.find_closest(b"key", now).unwrap();
    single.outputs();
    let next = single.dht.poll_timeout();
    single.dht.handle_timeout(now);
    assert_eq!(single.outputs(), []);
    assert_eq!(single.dht.poll_timeout(), next);
}

#[test]
fn liars_do_not_keep_out_whom_an_honest_peer_names_later() {
    let mut single = Single::new(Config { bucket_size: 40, ..Config::default() });
    single.learn(60);
    let lookup = single.dht.find_providers(&multihash(7), single.now()).unwrap();
    let mut answers = 0;
    // 34 liars with providers of their own each; who answers then is honest.
    single.answer_all(|peer, _| {
        let from = number(&peer);
        answers += 1;
        let crowd = (0..PROVIDERS_TAKEN as u64).map(|n| info(10_000 + from * 256 + n)).collect();
        let providers = if answers > 34 { vec![info(500)] } else { crowd };
        Some(Response::Providers { providers, closer: Vec::new() })
    });
    assert!(answers > 35, "{answers}");
    let (mut told, mut again) = (Vec::new(), Vec::new());
    for output in single.outputs() {
        match output {
            Output::ProvidersFound { providers, again: more, .. } => {
                told.extend(providers.into_iter().map(|info| info.peer));
                again.extend(more);
            }
            Output::LookupFinished { lookup: ended, report } => {
                assert_eq!((ended, report.progress.providers), (lookup, PROVIDERS_FOUND_MAX));
            }
            _ => {}
        }
    }
    assert_eq!(told.iter().filter(|told| **told == peer(500)).count(), 1);
    assert_eq!(again.len(), answers - 35, "each of the others names it too");
}

#[test]
fn nobody_fills_a_lookup_with_providers_of_its_own() {
    let mut single = Single::new(Config::default());
    single.learn(30);
    let lookup = single.dht.find_providers(&multihash(7), single.now()).unwrap();
    // One names the right one, the others each a crowd.
    single.answer_all(|peer, _| {
        let from = number(&peer);
        let crowd = (0..256).map(|n| info(10_000 + from * 256 + n)).collect();
        let providers = if from == 1 { vec![info(500)] } else { crowd };
        Some(Response::Providers { providers, closer: Vec::new() })
    });
    let mut told = Vec::new();
    for output in single.outputs() {
        match output {
            Output::ProvidersFound { providers, .. } => {
                assert!(providers.len() <= PROVIDERS_TAKEN, "{} of one response", providers.len());
                told.extend(providers);
            }
            Output::LookupFinished { lookup: ended, report } => {
                assert_eq!(ended, lookup);
                assert!(report.progress.answered >= 20);
            }
            _ => {}
        }
    }
    assert!(told.len() > 19 * PROVIDERS_TAKEN, "{}", told.len());
    assert!(told.len() < PROVIDERS_FOUND_MAX);
}

#[test]
fn who_was_not_tried_stays_in_the_table() {
    for postponed in [false, true] {
        let mut single = Single::new(Config { failures_apart: Duration::ZERO, ..Config::default() });
        single.learn(8);
        let patience = Config::default().request_timeout;
        for _ in 0..Config::default().failures_max {
            let now = single.now();
            let id = single.dht.find_closest(&multihash(1), now).unwrap();
            for (request, ..) in single.sent() {
                if postponed {
                    single.dht.handle_postponed(request);
                }
            }
            single.wait(patience);
            assert!(report(&single.outputs(), id).is_some(), "the look-up does not wait for longer");
        }
        assert_eq!(single.dht.stats().table_peers, if postponed { 8 } else { 0 });
    }
}

#[test]
fn the_time_of_a_request_begins_when_it_is_tried() {
    let mut single = Single::server(1);
    let patience = Config::default().request_timeout;
    let now = single.now();
    let id = single.dht.find_closest(&multihash(1), now).unwrap();
    let (request, ..) = single.sent()[0];
    single.dht.handle_postponed(request);
    single.wait(patience / 2);
    let now = single.now();
    single.dht.handle_begun(request, now);
    single.wait(patience - Duration::from_nanos(1));
    assert!(report(&single.outputs(), id).is_none());
    single.wait(Duration::from_nanos(1));
    assert_eq!(report(&single.outputs(), id).unwrap().progress.failed, 1);
}

/// Whom a look-up of a machine with an empty table asks.
fn seeds(single: &mut Single) -> Vec<u64> {
    single.sent();
    let now = single.now();
    let id = single.dht.find_closest(&multihash(1), now).unwrap();
    single.dht.cancel(id);
    let mut asked: Vec<u64> = single.sent().iter().map(|(_, peer, _)| number(peer)).collect();
    asked.sort_unstable();
    asked.dedup();
    asked
}

#[test]
fn peers_that_were_seen_near_make_room_and_are_forgotten() {
    let config = Config { bootstrap_max: 3, parallelism: 9, ..Config::default() };
    let age = config.seed_age;
    let mut single = Single::new(config);
    let suggest = |single: &mut Single, n: u64| {
        let now = single.now();
        single.dht.suggest([info(n)], now);
        single.wait(Duration::from_secs(1));
    };
    let now = single.now();
    single.dht.bootstrap([info(1)], now);
    (2..=4).for_each(|n| suggest(&mut single, n));
    assert_eq!(seeds(&mut single), [1, 3, 4], "the one seen longest ago made room");
    suggest(&mut single, 3);
    suggest(&mut single, 5);
    assert_eq!(seeds(&mut single), [1, 3, 5]);
    single.dht.forget(&peer(5));
    single.dht.forget(&peer(1));
    assert_eq!(seeds(&mut single), [1, 3], "the configuration's stay");
    single.wait(age + Duration::from_secs(600));
    assert_eq!(seeds(&mut single), [1]);
}

#[test]
fn a_bootstrap_peer_that_moved_is_asked_where_it_is_now() {
    let mut single = Single::new(Config::default());
    let now = single.now();
    single.dht.bootstrap([PeerInfo { peer: peer(1), addrs: vec![addr(1)] }], now);
    single.outputs();
    single.dht.bootstrap([PeerInfo { peer: peer(1), addrs: vec![addr(9)] }], now);
    single.dht.find_closest(&multihash(1), now).unwrap();
    let addrs = single.outputs().into_iter().find_map(|output| match output {
        Output::SendRequest { addrs, .. } => Some(addrs),
        _ => None,
    });
    assert_eq!(addrs.unwrap(), [addr(9)]);
}

#[test]
fn a_look_up_does_not_wait_to_the_end_for_silent_peers() {
    let config = Config::default();
    let mut single = Single::server(30);
    let silent = |peer: &peerage_identity::PeerId| number(peer).is_multiple_of(3);
    let answer = |peer: peerage_identity::PeerId, request: &Request| {
        if silent(&peer) { None } else { nobody(request) }
    };
    // The table's own look-ups first.
    for _ in 0..5 {
        single.wait(Duration::from_secs(10));
        single.answer_all(|_, request| nobody(request));
    }
    let before = single.dht.stats().table_peers;
    for round in 1..=u64::from(config.failures_max) {
        let now = single.now();
        let id = single.dht.find_closest(&multihash(1), now).unwrap();
        single.answer_all(answer);
        // Answers of the others came at once.
        single.wait(config.late_min - Duration::from_nanos(1));
        assert!(report(&single.outputs(), id).is_none(), "some may be slow only");
        single.wait(Duration::from_nanos(1));
        single.answer_all(answer);
        for _ in 0..2 {
            single.wait(config.late_min);
            single.answer_all(answer);
        }
        let outputs = single.outputs();
        let report = report(&outputs, id).unwrap();
        assert!(report.took <= 3 * config.late_min && report.end == End::Complete, "{report:?}");
        assert!(!report.closest.is_empty() && report.closest.iter().all(|info| !silent(&info.peer)));
        // It is found out all the same that they are gone.
        let left = single.dht.stats().table_peers;
        single.wait(config.request_timeout);
        assert_eq!(single.dht.stats().requests, 0);
        let gone = single.dht.stats().table_peers < left;
        assert_eq!(gone, round == u64::from(config.failures_max), "{left} of {before}");
        single.wait(config.failures_apart - config.request_timeout);
    }
}

#[test]
fn who_is_late_is_heard_as_long_as_the_look_up_runs() {
    let config = Config::default();
    let mut single = Single::server(2);
    let now = single.now();
    let id = single.dht.find_providers(&multihash(1), now).unwrap();
    let sent = single.sent();
    single.wait(config.request_timeout - Duration::from_secs(1));
    let (request, peer, _) = sent[0].clone();
    let answer = Response::Providers { providers: vec![info(50)], closer: Vec::new() };
    let now = single.now();
    single.dht.handle_response(request, &addr(number(&peer)), answer, now);
    let outputs = single.outputs();
    let told = |output: &Output| matches!(output, Output::ProvidersFound { providers, .. } if providers[0] == info(50));
    assert!(outputs.iter().any(told));
    single.wait(Duration::from_secs(1));
    assert!(report(&single.outputs(), id).is_some());
}

#[test]
fn who_cannot_be_dialled_is_not_asked_unless_it_is_connected() {
    let dials = |addr: &Multiaddr| addr.to_tcp_addr().is_some();
    for connected in [false, true] {
        let mut single = Single::new(Config { dials, ..Config::default() });
        single.learn(3);
        let quic: Multiaddr = "/ip4/70.1.2.3/udp/4001/quic-v1".parse().unwrap();
        let now = single.now();
        if connected {
            single.dht.handle_identified(peer(500), true, std::slice::from_ref(&quic), &addr(500), now);
            single.answer_all(|peer, request| (number(&peer) != 500).then(|| nobody(request))?);
        }
        let id = single.dht.find_closest(&multihash(1), now).unwrap();
        let mut asked = Vec::new();
        single.answer_all(|peer, _| {
            asked.push(number(&peer));
            let closer = vec![PeerInfo { peer: self::peer(500), addrs: vec![quic.clone()] }, info(600)];
            Some(Response::Closest { closer })
        });
        let report = report(&single.outputs(), id).unwrap().clone();
        assert_eq!(report.progress.asked, if connected { 5 } else { 4 }, "{asked:?}");
        assert_eq!(asked.contains(&500), connected);
    }
}

#[test]
fn a_look_up_that_was_given_up_refreshes_nothing() {
    let local = Key::of_peer(&peer(0));
    for cancelled in [false, true] {
        let mut single = Single::server(30);
        let interval = Config::default().refresh_interval;
        let target = (1..).map(multihash).find(|key| Key::of(key).common_prefix(&local) == 0).unwrap();
        single.wait(interval / 2);
        single.answer_all(|_, request| nobody(request));
        let now = single.now();
        let id = single.dht.find_closest(&target, now).unwrap();
        if cancelled {
            single.dht.cancel(id);
        }
        single.answer_all(|_, request| nobody(request));
        let mut refreshed = false;
        for _ in 0..400 {
            single.wait(Duration::from_secs(1));
            single.answer_all(|_, request| {
                if let Request::FindNode { key } = request {
                    refreshed |= Key::of(key).common_prefix(&local) == 0;
                }
                nobody(request)
            });
        }
        assert_eq!(refreshed, cancelled);
    }
}
