//! `/peerage/swarm/1.0.0`: who hears of whom, and who hears nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, UnixTime};
use peerage_content::Cid;
use peerage_identity::{Multiaddr, Scope};

use super::dag::{Tree, build, small};
use super::world::{World, hints, peer_id};
use crate::*;

struct Asked {
    engine: Engine,
    root: Cid,
    next: u64,
    /// Of the connection that each peer made last, by which it asks.
    scopes: BTreeMap<usize, Scope>,
}

fn at(seconds: u64) -> Now {
    Now::new(Instant::from_nanos(seconds * 1_000_000_000), UnixTime(0))
}

impl Asked {
    fn new(config: Config) -> Self {
        let exchange = peerage_exchange::Config::default();
        let mut engine = Engine::new(peer_id(250), config, exchange, 1, at(0));
        let root = build(&Tree::File(vec![1]), &small()).root;
        assert!(engine.serve_root(root, 9));
        Self { engine, root, next: 0, scopes: BTreeMap::new() }
    }

    fn connect(&mut self, n: usize, addr: &str) {
        let addr: Multiaddr = addr.parse().unwrap();
        self.scopes.insert(n, addr.scope());
        let connected = Connected { peer: peer_id(n), addr, dial: None, by_user: false, outbound: false };
        self.engine.handle_connected(&connected, at(0));
    }

    fn ask(&mut self, n: usize, root: Cid, share: Share, seconds: u64) -> (usize, Option<Share>, bool) {
        let request = RequestId(self.next);
        self.next += 1;
        let record = Some(Bytes::from(vec![u8::try_from(n % 256).unwrap()]));
        self.engine.handle_swarm_request(
            request,
            peer_id(n),
            self.scopes[&n],
            root,
            record,
            share,
            at(seconds),
        );
        let (mut answer, mut progressed) = (None, false);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::AnswerSwarm { records, share, .. } => answer = Some((records.len(), share)),
                Output::PeerProgressed { .. } => progressed = true,
                other => panic!("{other:?}"),
            }
        }
        let (records, share) = answer.expect("every request of a connected peer is answered");
        (records, share, progressed)
    }

    fn asks(&mut self, n: usize, seconds: u64) -> (usize, Option<Share>, bool) {
        self.ask(n, self.root, Share::default(), seconds)
    }
}

const WHOLE: Option<Share> = Some(Share { held: 9, total: 9, complete: true });
const NOTHING: (usize, Option<Share>, bool) = (0, None, false);

#[test]
fn those_who_ask_hear_of_each_other() {
    let mut asked = Asked::new(Config::default());
    for n in 0..30 {
        asked.connect(n, &format!("/ip4/10.0.0.{}/tcp/1", n + 1));
        assert_eq!(asked.asks(n, 1), (n.min(20), WHOLE, true), "at most 20, never oneself");
    }
}

#[test]
fn a_root_that_is_not_served_is_answered_like_one_that_never_was() {
    let mut asked = Asked::new(Config::default());
    let other = build(&Tree::File(vec![2]), &small()).root;
    asked.connect(1, "/ip4/10.0.0.1/tcp/1");
    assert_eq!(asked.ask(1, other, Share::default(), 1), NOTHING);
    let root = asked.root;
    asked.engine.unserve_root(&root);
    assert_eq!(asked.asks(1, 20), NOTHING);
}

#[test]
fn whoever_asks_too_often_hears_nothing_save_that_completion_counts() {
    let mut asked = Asked::new(Config::default());
    for n in [1, 2] {
        asked.connect(n, "/ip4/10.0.0.1/tcp/1");
        asked.asks(n, 1);
    }
    assert_eq!(asked.asks(1, 10), NOTHING);
    let root = asked.root;
    let done = Share { held: 9, total: 9, complete: true };
    assert_eq!(asked.ask(1, root, done, 10), (1, WHOLE, true), "a complete report always passes");
    assert_eq!(asked.ask(1, root, done, 11), NOTHING, "once");
    assert_eq!(asked.ask(1, root, Share::default(), 12), NOTHING);
    assert_eq!(asked.asks(2, 11).0, 1);
}

#[test]
fn records_stay_in_the_scope_that_they_came_by() {
    let mut asked = Asked::new(Config::default());
    asked.connect(1, "/ip4/10.0.0.1/tcp/1");
    asked.connect(2, "/ip4/10.0.0.2/tcp/1");
    asked.connect(3, "/ip4/8.8.8.8/tcp/1");
    asked.connect(4, "/ip4/127.0.0.1/tcp/1");
    asked.connect(5, "/ip4/9.9.9.9/tcp/1");
    // Peer 6 is connected twice, and asks by the public one.
    asked.connect(6, "/ip4/10.0.0.6/tcp/1");
    asked.connect(6, "/ip4/8.8.4.4/tcp/1");
    let heard: Vec<usize> = (1..=6).map(|n| asked.asks(n, 1).0).collect();
    assert_eq!(heard, [0, 1, 0, 0, 1, 2]);
    assert_eq!(asked.asks(1, 20).0, 1, "peer 6 asked by another way");
    assert_eq!(asked.asks(3, 20).0, 2);
}

#[test]
fn members_are_bounded_and_age() {
    let config = Config { swarm_members: 5, swarm_listed: 4, ..Config::default() };
    let mut asked = Asked::new(config);
    for n in 0..20 {
        asked.connect(n, "/ip4/10.0.0.1/tcp/1");
        assert!(asked.asks(n, n as u64).0 <= 4);
    }
    assert_eq!(asked.asks(19, 20), NOTHING, "the newest is remembered, so its rate is");
    assert_eq!(asked.asks(7, 500).0, 0, "all the others are too old");
    // A root too many is not served, and ends nothing when it ends.
    let mut asked = Asked::new(Config { swarm_roots: 1, ..Config::default() });
    let other = build(&Tree::File(vec![2]), &small()).root;
    assert!(!asked.engine.serve_root(other, 1));
    assert!(asked.engine.serve_root(asked.root, 9));
}

#[test]
fn a_getter_finds_the_others_through_the_sharer() {
    let tree = Tree::File((0..=255).cycle().take(9_000).collect());
    let dag = build(&tree, &small());
    let mut world = World::new(2, 4);
    world.share(0, &dag);
    world.peers[0].pace = 1_000_000;
    for n in 1..4 {
        world.fetch(n, 1, dag.root, hints([0]));
        world.run_for(2);
    }
    for n in 1..4 {
        world.run(n, 1, 100).clone().unwrap();
    }
    assert!(world.links.contains_key(&(1, 2)) && world.links.contains_key(&(1, 3)));
    world.run_for(2);
    let complete = world.peers[0].progressed.iter().filter(|(_, share)| share.complete).count();
    assert_eq!(complete, 3, "the sharer hears of each that has everything");
}

#[test]
fn a_hint_that_has_nothing_may_know_who_has() {
    let tree = Tree::File(vec![3; 500]);
    let dag = build(&tree, &small());
    let mut world = World::new(2, 4);
    // Peer 0 has the link only; peer 2, who has everything, told it so.
    world.peers[0].engine.serve_root(dag.root, 0);
    world.peers[2].store.clone_from(&dag.blocks);
    world.connect(2, 0, None);
    world.run_for(1);
    let share = Share { held: 1, total: 1, complete: true };
    world.later(0, Duration::ZERO, super::world::Input::SwarmRequested(2, dag.root, share));
    world.run_for(1);
    world.fetch(1, 1, dag.root, hints([0]));
    world.run(1, 1, 60).clone().unwrap();
}

#[test]
fn records_of_strangers_are_bounded_and_dead_ones_make_room() {
    let dag = build(&Tree::File((0..=255).cycle().take(9_000).collect()), &small());
    let config = Config { candidates: 60, ..Config::default() };
    let mut world = World::with(2, 2, config);
    world.share(0, &dag);
    world.peers[0].pace = 5_000_000;
    world.fetch(1, 1, dag.root, hints([0]));
    for round in 0..20_u8 {
        world.run_for(2);
        // Peers that nobody can reach, new ones every time.
        let dead: Vec<Bytes> = (0..10).map(|n| Bytes::from(vec![10 + round * 10 + n])).collect();
        world.later(1, Duration::ZERO, super::world::Input::SwarmAnswered(0, dag.root, dead));
    }
    world.run(1, 1, 300).clone().unwrap();
    let dials = world.peers[1].dials;
    assert!((40..=1 + 2 * 60).contains(&dials), "{dials}: each is tried twice, up to 60 peers");
}

#[test]
fn a_start_that_fails_serves_nothing() {
    let exchange = peerage_exchange::Config { sessions: 0, ..Default::default() };
    let mut engine = Engine::new(peer_id(0), Config::default(), exchange, 1, at(0));
    let root = build(&Tree::File(vec![1]), &small()).root;
    engine.start_fetch(JobId(1), root, Sources::default(), true, Order::RarestFirst, at(0));
    assert!(matches!(engine.poll_output(), Some(Output::JobFailed { error: JobError::TooManyJobs, .. })));
    let addr: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    engine.handle_connected(
        &Connected { peer: peer_id(1), addr, dial: None, by_user: false, outbound: false },
        at(0),
    );
    engine.handle_swarm_request(
        RequestId(0),
        peer_id(1),
        Scope::Private,
        root,
        None,
        Share::default(),
        at(1),
    );
    assert!(matches!(engine.poll_output(), Some(Output::AnswerSwarm { share: None, .. })));
}
