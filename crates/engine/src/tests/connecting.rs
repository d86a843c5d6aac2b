//! Dials and connections, with an engine driven by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_base::{Instant, Now, UnixTime};
use peerage_dht::{LookupError, Network, PeerInfo, Request, Response};
use peerage_exchange::{Incoming, Presence, WantEntry, WantKind};
use peerage_identity::Multiaddr;

use super::dag::{Tree, build, small};
use super::world::{addr, hint, peer_id};
use crate::*;

/// An engine that listens on the local network.
pub(super) struct Alone {
    pub(super) engine: Engine,
    pub(super) now: Now,
}

impl Alone {
    pub(super) fn new(config: Config) -> Self {
        let now = Now::new(Instant::START + Duration::from_secs(1), UnixTime(1_800_000_000));
        let mut engine = Engine::new(peer_id(0), config, peerage_exchange::Config::default(), 1, now);
        engine.set_listen(vec![addr(0)], now);
        let mut alone = Self { engine, now };
        alone.outputs();
        alone
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.engine.poll_output()).collect()
    }

    /// Dials that the engine wants now.
    pub(super) fn dials(&mut self) -> Vec<(DialId, Option<peerage_identity::PeerId>)> {
        let dial = |output| match output {
            Output::Dial { dial, peer, .. } => Some((dial, peer)),
            _ => None,
        };
        self.outputs().into_iter().filter_map(dial).collect()
    }

    /// Time passes, and nothing else happens.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now.instant + span;
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now.instant = self.now.instant.max(at);
            self.engine.handle_timeout(self.now);
        }
        self.now.instant = end;
    }

    pub(super) fn connect(&mut self, n: usize, dial: Option<DialId>) {
        self.connect_by(n, dial, addr(n));
    }

    fn connect_by(&mut self, n: usize, dial: Option<DialId>, addr: Multiaddr) {
        let (peer, outbound) = (peer_id(n), dial.is_some());
        self.engine.handle_connected(&Connected { peer, addr, dial, by_user: false, outbound }, self.now);
    }

    /// Puts a server into the table of the local network's DHT.
    pub(super) fn know(&mut self, n: usize) {
        let info = PeerInfo { peer: peer_id(n), addrs: vec![addr(n)] };
        assert!(self.engine.add_known(Network::Lan, &info, &addr(n), self.now));
    }
}

#[test]
fn who_waits_for_our_own_dials_has_not_failed() {
    let mut alone = Alone::new(Config { dials: 1, ..Config::default() });
    (1..=3).for_each(|n| alone.know(n));
    let mut tried = Vec::new();
    for find in 0..2 {
        alone.engine.find(FindId(find), Target::Peer(peer_id(99)), alone.now);
        tried.extend(alone.dials().into_iter().filter_map(|(_, peer)| peer));
        alone.wait(Duration::from_secs(31));
        alone.outputs();
    }
    assert_eq!((tried.len(), tried[0]), (2, tried[1]), "the others wait");
    let left = alone.engine.servers(Network::Lan);
    assert!(left.len() == 2 && left.iter().all(|info| info.peer != tried[0]), "{left:?}");
}

#[test]
fn a_connection_ends_other_attempts_at_that_peer() {
    let mut alone = Alone::new(Config::default());
    let dag = build(&Tree::File(vec![1; 10]), &small());
    // By the user's address, and by one that a table has.
    alone.engine.start_fetch(
        JobId(1),
        dag.root,
        Sources { hints: vec![hint(1)], ..Sources::default() },
        false,
        Order::RarestFirst,
        alone.now,
    );
    let outputs = alone.outputs();
    let first = outputs.iter().find_map(|output| match output {
        Output::Dial { dial, .. } => Some(*dial),
        _ => None,
    });
    let elsewhere = "/ip4/10.0.0.77/tcp/4001".parse().unwrap();
    let info = PeerInfo { peer: peer_id(1), addrs: vec![elsewhere] };
    assert!(alone.engine.add_known(Network::Lan, &info, &addr(1), alone.now));
    alone.engine.find(FindId(1), Target::Peer(peer_id(99)), alone.now);
    let [(second, _)] = alone.dials()[..] else { panic!("another dial") };
    alone.connect(1, Some(second));
    let outputs = alone.outputs();
    assert!(
        outputs.iter().any(|output| matches!(output, Output::CancelDial { dial } if Some(*dial) == first))
    );
    assert!(outputs.iter().any(|output| matches!(output, Output::DhtRequest { .. })));
    // The job has its peer, and does not try again.
    let protocols = Protocols::of(["/ipfs/bitswap/1.2.0"]);
    let identified = Identified { protocols, ..Identified::default() };
    alone.engine.handle_identified(peer_id(1), &identified, alone.now);
    assert_eq!(alone.engine.progress(JobId(1)).unwrap().sources, 1);
    assert!(alone.dials().is_empty());
}

/// Connections that are closed for being too many.
pub(super) fn surplus(outputs: Vec<Output>) -> Vec<usize> {
    let closed = outputs.into_iter().filter_map(|output| match output {
        Output::Disconnect { peer, reason: DisconnectReason::Surplus } => Some(peer),
        _ => None,
    });
    let number = |peer| (0..100).find(|n| peer_id(*n) == peer).expect("one of ours");
    closed.map(number).collect()
}

#[test]
fn nobody_keeps_his_place_by_asking() {
    let limits = Config { connections_high: 4, connections_low: 2, ..Config::default() };
    let mut alone = Alone::new(limits);
    let dag = build(&Tree::File(vec![1; 10]), &small());
    let bitswap = Identified { protocols: Protocols::of(["/ipfs/bitswap/1.2.0"]), ..Identified::default() };
    for n in 1..=6 {
        alone.connect(n, None);
        alone.engine.handle_identified(peer_id(n), &bitswap, alone.now);
    }
    // The first two want a block: one that is not here, and one that is being sent.
    let want = |alone: &mut Alone, n: usize, len: Option<u32>| {
        let want = WantEntry { cid: dag.root, kind: WantKind::Block, priority: 1, send_dont_have: false };
        let message = Incoming { wants: vec![want], ..Incoming::default() };
        alone.engine.handle_message(peer_id(n), &message, alone.now);
        alone.engine.handle_lookup(peer_id(n), &dag.root, len, alone.now);
    };
    want(&mut alone, 1, None);
    want(&mut alone, 2, Some(10));
    alone.outputs();
    let mut closed = Vec::new();
    for _ in 0..6 {
        alone.wait(Duration::from_secs(5));
        // It goes on asking, which is no use of ours.
        want(&mut alone, 1, None);
        let request = Request::Ping;
        alone.engine.handle_dht_request(Network::Lan, peer_id(3), &request, alone.now);
        closed.extend(surplus(alone.outputs()));
    }
    assert!(closed.contains(&1) && closed.contains(&3) && !closed.contains(&2), "{closed:?}");
}

#[test]
fn for_a_connection_of_ours_a_stranger_makes_room() {
    let mut alone = Alone::new(Config::default());
    alone.know(3);
    alone.engine.find(FindId(1), Target::Peer(peer_id(99)), alone.now);
    let [(dial, _)] = alone.dials()[..] else { panic!("one dial") };
    alone.connect(3, Some(dial));
    alone.connect(1, None);
    alone.know(1);
    alone.connect(2, None);
    let outputs = alone.outputs();
    assert!(outputs.iter().any(|output| matches!(output, Output::DhtRequest { .. })));
    for stranger in [2, 1] {
        assert_eq!(alone.engine.least_useful(alone.now), Some(peer_id(stranger)));
        alone.engine.handle_disconnected(peer_id(stranger), alone.now);
    }
    assert_eq!(alone.engine.least_useful(alone.now), None, "it was asked something");
    let asked = outputs.iter().find_map(|output| match output {
        Output::DhtRequest { network, id, .. } => Some((*network, *id)),
        _ => None,
    });
    let (network, id) = asked.expect("a request");
    let response = Response::Closest { closer: Vec::new() };
    alone.engine.handle_dht_response(network, id, response, alone.now);
    assert_eq!(alone.engine.least_useful(alone.now), Some(peer_id(3)), "young, and of no more use");
    // A connection for which there is no room is not its peer's failure.
    alone.know(4);
    for find in 2..6 {
        alone.engine.find(FindId(find), Target::Peer(peer_id(99)), alone.now);
        let dials = alone.dials();
        assert!(dials.iter().any(|(_, peer)| *peer == Some(peer_id(4))), "it is not left alone");
        for (dial, _) in dials {
            alone.engine.handle_dial_failed(dial, DialFailure::NoRoom, "no room", alone.now);
        }
    }
    assert_eq!(alone.engine.servers(Network::Lan).len(), 3);
    // Nor is it one of whom the user named.
    let dag = build(&Tree::File(vec![1; 10]), &small());
    let sources = Sources { hints: vec![hint(5)], ..Sources::default() };
    alone.engine.start_fetch(JobId(1), dag.root, sources, false, Order::RarestFirst, alone.now);
    for _ in 0..4 {
        let outputs = alone.outputs();
        assert!(!outputs.iter().any(|output| matches!(output, Output::JobFailed { .. })));
        let to = |output: &Output| match output {
            Output::Dial { dial, peer, .. } if *peer == Some(peer_id(5)) => Some(*dial),
            _ => None,
        };
        let dial = outputs.iter().find_map(to).expect("it is tried again");
        alone.engine.handle_dial_failed(dial, DialFailure::NoRoom, "no room", alone.now);
        alone.wait(Config::default().redial_min);
    }
}

#[test]
fn a_connected_peer_is_where_it_was_dialled() {
    let mut alone = Alone::new(Config::default());
    alone.know(1);
    alone.engine.find(FindId(1), Target::Peer(peer_id(99)), alone.now);
    let [(dial, _)] = alone.dials()[..] else { panic!("one dial") };
    alone.connect(1, Some(dial));
    alone.connect(2, None);
    alone.outputs();
    for (find, n, place) in [(2, 1, Some(addr(1))), (3, 2, None)] {
        alone.engine.find(FindId(find), Target::Peer(peer_id(n)), alone.now);
        let known = |output| match output {
            Output::Find { event: FindEvent::Found(Source::Known, found), .. } => Some(found),
            _ => None,
        };
        let found: Vec<Multiaddr> =
            alone.outputs().into_iter().filter_map(known).flatten().flat_map(|info| info.addrs).collect();
        assert_eq!(found, Vec::from_iter(place), "whoever came to us listens elsewhere");
    }
}

#[test]
fn on_the_lan_a_peer_is_what_its_connections_make_it() {
    let mut alone = Alone::new(Config::default());
    let public = || "/ip4/8.8.8.8/tcp/4001".parse::<Multiaddr>().unwrap();
    let server = |n| Identified {
        protocols: Protocols::of(["/ipfs/lan/kad/1.0.0"]),
        addrs: vec![addr(n)],
        observed: None,
    };
    let contacts = |alone: &Alone| alone.engine.dht_stats(Network::Lan).unwrap().contacts;
    let answers = |alone: &mut Alone| {
        let answer = alone.engine.handle_dht_request(Network::Lan, peer_id(1), &Request::Ping, alone.now);
        matches!(answer, peerage_dht::Answer::Respond(_))
    };
    let asked = |alone: &mut Alone| {
        let asks = |output: &Output| matches!(output, Output::DhtRequest { network: Network::Lan, .. });
        alone.outputs().iter().any(asks)
    };
    // It says that it is in a private network, and comes from elsewhere.
    alone.connect_by(1, None, public());
    alone.engine.handle_identified(peer_id(1), &server(1), alone.now);
    assert!(!answers(&mut alone) && !asked(&mut alone));
    assert_eq!(contacts(&alone), 0);
    // A second connection, by a private address.
    alone.connect(1, None);
    alone.engine.handle_identified(peer_id(1), &server(1), alone.now);
    assert!(answers(&mut alone) && asked(&mut alone));
    assert_eq!(contacts(&alone), 1);
    alone.engine.handle_link_lost(peer_id(1), &addr(1), alone.now);
    assert!(!answers(&mut alone));
    // Seen near by mDNS, it is near, whichever address it came by.
    alone.engine.handle_discovered(peer_id(1), &[addr(1)], alone.now);
    assert!(answers(&mut alone));
    alone.engine.handle_undiscovered(&peer_id(1));
    assert!(!answers(&mut alone));
}

/// How the look-ups of a find ended, if they did.
fn finished(outputs: &[Output]) -> Option<&BTreeMap<Network, Result<peerage_dht::Report, LookupError>>> {
    outputs.iter().find_map(|output| match output {
        Output::Find { event: FindEvent::Finished(reports), .. } => Some(reports),
        _ => None,
    })
}

#[test]
fn an_announcement_waits_for_an_address_of_ours() {
    let config = Config::default();
    let patience = config.address_patience;
    let dag = build(&Tree::File(vec![1; 10]), &small());
    let public = |n: u8| format!("/ip4/8.8.{n}.8/tcp/4001").parse::<Multiaddr>().unwrap();
    for reached in [true, false] {
        let mut alone = Alone::new(config.clone());
        alone.engine.provide_once(FindId(0), dag.root, alone.now);
        alone.wait(Duration::from_secs(1));
        assert!(finished(&alone.outputs()).is_some(), "there is nobody to tell");
        let info = PeerInfo { peer: peer_id(1), addrs: vec![public(1)] };
        assert!(alone.engine.add_known(Network::Wan, &info, &public(1), alone.now));
        alone.engine.provide_once(FindId(1), dag.root, alone.now);
        alone.wait(patience - Duration::from_secs(1));
        assert!(finished(&alone.outputs()).is_none());
        if reached {
            alone.engine.set_listen(vec![public(2)], alone.now);
            assert_eq!(alone.dials().len(), 1, "it looks for whom to tell");
        } else {
            alone.wait(Duration::from_secs(1));
            let outputs = alone.outputs();
            let reports = finished(&outputs).expect("over");
            assert_eq!(reports[&Network::Wan], Err(LookupError::NoAddrs));
        }
    }
}

#[test]
fn a_peer_that_is_looked_for_may_make_itself_known_on_the_local_network() {
    let near = Routing { near: true, ..Routing::default() };
    let config = Config { routing: near, ..Config::default() };
    let silence = config.near_silence;
    for discovered in [true, false] {
        let mut alone = Alone::new(config.clone());
        // There is somebody in the DHT, who does not know it.
        alone.know(1);
        alone.engine.find(FindId(1), Target::Peer(peer_id(9)), alone.now);
        let [(dial, _)] = alone.dials()[..] else { panic!("one dial") };
        alone.engine.handle_dial_failed(dial, DialFailure::Unreachable, "gone", alone.now);
        alone.wait(silence - Duration::from_secs(1));
        assert!(finished(&alone.outputs()).is_none());
        if discovered {
            alone.engine.handle_discovered(peer_id(9), &[addr(9)], alone.now);
            let outputs = alone.outputs();
            let found = |output: &Output| {
                matches!(output, Output::Find { event: FindEvent::Found(Source::Known, _), .. })
            };
            assert!(outputs.iter().any(found) && finished(&outputs).is_some());
        } else {
            alone.wait(Duration::from_secs(1));
            assert!(finished(&alone.outputs()).is_some());
        }
    }
}

#[test]
fn what_is_announced_is_announced_in_all_dhts_or_in_none() {
    let mut config = Config::default();
    config.routing.sweep.keys_max = 1;
    let mut alone = Alone::new(config);
    let dags = [1, 2].map(|byte| build(&Tree::File(vec![byte; 10]), &small()));
    let [first, second] = dags.map(|dag| dag.root);
    let keys = |alone: &Alone| {
        alone.engine.announcements(alone.now).iter().map(|side| side.stats.keys).collect::<Vec<_>>()
    };
    alone.engine.announce(&first, &[Network::Wan], alone.now).expect("room");
    let error = alone.engine.announce(&second, &[], alone.now).expect_err("no room");
    assert!(error.to_string().starts_with("/ipfs/kad/1.0.0: no room"), "{error}");
    assert_eq!(keys(&alone), [1, 1]);
    alone.engine.unannounce(&second);
    assert_eq!(keys(&alone), [1, 1], "it was not announced");
    alone.engine.unannounce(&first);
    assert_eq!(keys(&alone), [0, 0]);
}

#[test]
fn an_answer_about_a_root_is_for_the_job_that_asked() {
    let mut alone = Alone::new(Config::default());
    let dag = build(&Tree::File(vec![1; 10]), &small());
    alone.connect(1, None);
    let protocols = Protocols::of(["/ipfs/bitswap/1.2.0", SWARM_PROTOCOL]);
    alone.engine.handle_identified(peer_id(1), &Identified { protocols, ..Identified::default() }, alone.now);
    for job in [1, 2] {
        let sources = Sources { hints: vec![hint(1)], ..Sources::default() };
        alone.engine.start_fetch(JobId(job), dag.root, sources, true, Order::RarestFirst, alone.now);
        let item = alone.outputs().into_iter().find_map(|output| match output {
            Output::TakeLocal { item, .. } => Some(item),
            _ => None,
        });
        alone.engine.handle_local(JobId(job), item.unwrap(), dag.root, None, alone.now);
    }
    alone.wait(Duration::ZERO);
    let message = Incoming { presences: vec![(dag.root, Presence::DontHave)], ..Incoming::default() };
    alone.engine.handle_message(peer_id(1), &message, alone.now);
    alone.wait(Duration::ZERO);
    let failed = |alone: &mut Alone| {
        let failed = |output: &Output| matches!(output, Output::JobFailed { .. });
        alone.outputs().iter().filter(|output| failed(output)).count()
    };
    assert_eq!(failed(&mut alone), 0, "it may name somebody yet");
    for _ in [1, 2] {
        alone.engine.handle_swarm_answer(&peer_id(1), &dag.root, Vec::new(), alone.now);
        assert_eq!(failed(&mut alone), 1);
    }
}
