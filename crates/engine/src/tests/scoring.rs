//! What peers did, and what follows from it elsewhere.

use std::time::Duration;

use peerage_dht::{Failure, Network, PeerInfo, RequestId, Response};
use peerage_identity::PeerId;

use super::connecting::{Alone, surplus};
use super::dag::{Tree, build, small};
use super::world::{addr, peer_id};
use crate::*;

/// Begins a look-up; who is asked by a request.
fn look_up(alone: &mut Alone, find: u64) -> Vec<(RequestId, PeerId)> {
    alone.engine.find(FindId(find), Target::Peer(peer_id(99)), alone.now);
    let request = |output| match output {
        Output::DhtRequest { id, peer, .. } => Some((id, peer)),
        _ => None,
    };
    alone.outputs().into_iter().filter_map(request).collect()
}

/// Three servers that are connected, and the first look-up.
fn servers(config: Config) -> (Alone, Vec<(RequestId, PeerId)>) {
    let mut alone = Alone::new(config);
    for n in 1..=3 {
        alone.connect(n, None);
        alone.know(n);
    }
    let asked = look_up(&mut alone, 1);
    assert_eq!(asked.len(), 3);
    (alone, asked)
}

fn answer(alone: &mut Alone, id: RequestId) {
    let response = Response::Closest { closer: Vec::new() };
    alone.engine.handle_dht_response(Network::Lan, id, response, alone.now);
}

/// Begins to look for a file that is not here; what is wanted then.
fn fetch(alone: &mut Alone, wait: Option<Duration>) -> Vec<Output> {
    let dag = build(&Tree::File(vec![1; 10]), &small());
    let sources = Sources { find: true, wait, ..Sources::default() };
    alone.engine.start_fetch(JobId(1), dag.root, sources, false, Order::RarestFirst, alone.now);
    let mut outputs = alone.outputs();
    let taken = outputs.iter().find_map(|output| match output {
        Output::TakeLocal { item, cid, .. } => Some((*item, *cid)),
        _ => None,
    });
    let (item, cid) = taken.expect("it may be here");
    alone.engine.handle_local(JobId(1), item, cid, None, alone.now);
    alone.engine.handle_timeout(alone.now);
    outputs.extend(alone.outputs());
    outputs
}

fn score(alone: &Alone, n: usize) -> i32 {
    alone.engine.score(&peer_id(n), alone.now)
}

#[test]
fn who_answers_with_nonsense_is_asked_no_more_for_a_while() {
    let (mut alone, mut asked) = servers(Config::default());
    for find in 2..5 {
        for (id, peer) in asked {
            if peer == peer_id(1) {
                alone.engine.handle_dht_failed(Network::Lan, id, Failure::Malformed, alone.now);
            } else {
                answer(&mut alone, id);
            }
        }
        alone.know(1);
        asked = look_up(&mut alone, find);
        assert_eq!(asked.iter().any(|(_, peer)| *peer == peer_id(1)), find < 4, "{find}");
    }
    assert_eq!([score(&alone, 1), score(&alone, 2), score(&alone, 4)], [-60, 3, 0]);
    for (id, _) in asked {
        answer(&mut alone, id);
    }
    alone.now.instant += Config::default().shun_for;
    alone.know(1);
    assert!(look_up(&mut alone, 9).iter().any(|(_, peer)| *peer == peer_id(1)), "it may try again");
}

#[test]
fn a_job_that_waits_dials_whom_it_shunned_when_that_is_over() {
    let config = Config::default();
    let (mut alone, asked) = servers(config.clone());
    let fails = |alone: &mut Alone, asked: Vec<(RequestId, PeerId)>| {
        for (id, peer) in asked {
            if peer == peer_id(1) {
                alone.engine.handle_dht_failed(Network::Lan, id, Failure::Malformed, alone.now);
            } else {
                answer(alone, id);
            }
        }
    };
    fails(&mut alone, asked);
    for find in 2..4 {
        alone.know(1);
        let asked = look_up(&mut alone, find);
        fails(&mut alone, asked);
    }
    alone.engine.handle_disconnected(peer_id(1), alone.now);
    alone.outputs();
    // Somebody names it, of whom the user has not heard.
    fetch(&mut alone, Some(2 * config.shun_for));
    alone.engine.handle_discovered(peer_id(1), &[addr(71)], alone.now);
    let dialled = |alone: &mut Alone| alone.dials().iter().any(|(_, peer)| *peer == Some(peer_id(1)));
    alone.wait(config.shun_for - Duration::from_secs(2));
    assert!(!dialled(&mut alone));
    alone.wait(Duration::from_secs(4));
    assert!(dialled(&mut alone));
}

#[test]
fn who_did_not_answer_in_time_is_hung_up_on_first() {
    let limits = Config { connections_high: 2, connections_low: 2, ..Config::default() };
    let (mut alone, asked) = servers(limits);
    for (id, peer) in asked {
        if peer != peer_id(2) {
            answer(&mut alone, id);
        }
    }
    let mut closed = Vec::new();
    for _ in 0..60 {
        alone.wait(Duration::from_millis(500));
        let outputs = alone.outputs();
        for output in &outputs {
            if let Output::DhtRequest { id, peer, .. } = output
                && *peer != peer_id(2)
            {
                answer(&mut alone, *id);
            }
        }
        closed.extend(surplus(outputs));
    }
    let scores = [1, 2, 3].map(|n| score(&alone, n));
    assert!(scores[1] < 0 && scores[0] > 0, "{scores:?}");
    assert_eq!(closed.first(), Some(&2), "{closed:?}");
}

#[test]
fn of_equals_the_one_that_did_well_is_dialled_first() {
    let mut config = Config { dials_per_job: 1, ..Config::default() };
    config.routing.routers = true;
    for good in 1..=3 {
        let (mut alone, asked) = servers(config.clone());
        for (id, _) in asked.into_iter().filter(|(_, peer)| *peer == peer_id(good)) {
            answer(&mut alone, id);
        }
        (1..=3).for_each(|n| alone.engine.handle_disconnected(peer_id(n), alone.now));
        alone.engine.cancel_find(FindId(1), alone.now);
        alone.outputs();
        let outputs = fetch(&mut alone, None);
        let ask = outputs.iter().find_map(|output| match output {
            Output::AskRouters { ask, .. } => Some(*ask),
            _ => None,
        });
        // Elsewhere than the DHT has them.
        let named = (1..=3).map(|n| PeerInfo { peer: peer_id(n), addrs: vec![addr(50 + n)] });
        alone.engine.handle_router_answer(ask.unwrap(), named.collect(), alone.now);
        let dialled: Vec<_> = alone
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Dial { peer, addrs, .. } if addrs == [addr(50 + good)] => peer,
                Output::Dial { addrs, .. } => panic!("{addrs:?}"),
                _ => None,
            })
            .collect();
        assert_eq!(dialled, [peer_id(good)]);
    }
}

#[test]
fn whom_several_servers_name_goes_before_the_inventions_of_one() {
    let (mut alone, asked) = servers(Config { dials_per_job: 1, ..Config::default() });
    for (id, _) in asked {
        answer(&mut alone, id);
    }
    alone.outputs();
    let outputs = fetch(&mut alone, None);
    let requests = outputs.iter().filter_map(|output| match output {
        Output::DhtRequest { network, id, peer, .. } => Some((*network, *id, *peer)),
        _ => None,
    });
    let mut dialled = Vec::new();
    let mut first = None;
    for (network, id, peer) in requests.collect::<Vec<_>>() {
        // The first to answer invents thirty; the others know one.
        let invented = if first.is_none() { 100..130 } else { 0..0 };
        first = first.or(Some(peer));
        let named = invented.chain((Some(peer) != first).then_some(50));
        let providers = named.map(|n| PeerInfo { peer: peer_id(n), addrs: vec![addr(n % 200)] }).collect();
        let response = Response::Providers { providers, closer: Vec::new() };
        alone.engine.handle_dht_response(network, id, response, alone.now);
        dialled.extend(alone.dials());
    }
    let [(dial, invented)] = dialled[..] else { panic!("{dialled:?}") };
    assert_ne!(invented, Some(peer_id(50)));
    alone.engine.handle_dial_failed(dial, DialFailure::Unreachable, "nobody", alone.now);
    let again = |alone: &mut Alone| {
        let [(dial, peer)] = alone.dials()[..] else { panic!("one dial") };
        (dial, peer == Some(peer_id(50)))
    };
    let (dial, right) = again(&mut alone);
    assert!(right);
    // It may have been busy.
    alone.engine.handle_dial_failed(dial, DialFailure::Unreachable, "does not answer", alone.now);
    let (dial, right) = again(&mut alone);
    assert!(!right, "not at once");
    alone.wait(Duration::from_secs(2));
    alone.engine.handle_dial_failed(dial, DialFailure::Unreachable, "nobody", alone.now);
    assert!(again(&mut alone).1);
}
