//! The serving side alone: one machine, peers that want, and a shell that
//! answers when the test says so. No time passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};

use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_content::{Cid, Multihash};
use peerage_exchange::limits::{ENTRIES_PER_MESSAGE, HAVE_UPGRADE_MAX};
use peerage_exchange::{Config, Exchange, Incoming, Output, Presence, Served, Version, WantEntry, WantKind};
use peerage_identity::PeerId;

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn cid(n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(0x55, Multihash::wrap(0x12, &digest).unwrap())
}

fn want(n: u64, kind: WantKind) -> WantEntry {
    WantEntry { cid: cid(n), priority: 1, kind, send_dont_have: true }
}

fn wants(numbers: impl IntoIterator<Item = u64>) -> Incoming {
    let wants = numbers.into_iter().map(|n| want(n, WantKind::Block)).collect();
    Incoming { wants, ..Incoming::default() }
}

fn cancels(numbers: impl IntoIterator<Item = u64>) -> Incoming {
    Incoming { cancels: numbers.into_iter().map(cid).collect(), ..Incoming::default() }
}

/// A machine, and what it asked of its shell that was not answered yet.
struct Shell {
    exchange: Exchange,
    lookups: VecDeque<(PeerId, Cid)>,
    serving: VecDeque<(PeerId, Cid, u32)>,
    presences: Vec<(PeerId, Cid, Presence)>,
}

impl Shell {
    fn new(config: Config, peers: u8) -> Self {
        let mut exchange = Exchange::new(config, 1, now());
        (0..peers).for_each(|n| exchange.add_peer(peer(n), Version::V1_2, now()));
        Self { exchange, lookups: VecDeque::new(), serving: VecDeque::new(), presences: Vec::new() }
    }

    fn drain(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Lookup { peer, cid } => self.lookups.push_back((peer, cid)),
                Output::ServeBlock { peer, cid, len } => self.serving.push_back((peer, cid, len)),
                Output::SendMessage { peer, message } => {
                    self.presences.extend(message.presences.into_iter().map(|(cid, word)| (peer, cid, word)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear(&mut self, from: u8, message: &Incoming) {
        self.exchange.handle_message(peer(from), message, now());
        self.drain();
    }

    /// Answers all lookups, also those that the answers make.
    fn answer(&mut self, len: impl Fn(&Cid) -> Option<u32>) {
        while let Some((peer, cid)) = self.lookups.pop_front() {
            self.exchange.handle_lookup(peer, &cid, len(&cid), now());
            self.drain();
        }
    }

    /// The oldest block has been written.
    fn serve(&mut self) -> Option<(PeerId, Cid, u32)> {
        let (peer, cid, len) = self.serving.pop_front()?;
        self.exchange.handle_served(peer, &cid, Served::Sent(len), now());
        self.drain();
        Some((peer, cid, len))
    }

    fn serve_all(&mut self) -> Vec<Cid> {
        std::iter::from_fn(|| self.serve()).map(|(_, cid, _)| cid).collect()
    }

    /// What was said since the last time of which block, in the order of saying.
    fn said(&mut self) -> Vec<(Cid, Presence)> {
        self.exchange.flush(now());
        self.drain();
        self.presences.drain(..).map(|(_, cid, word)| (cid, word)).collect()
    }

    fn held(&self, of: u8) -> usize {
        self.exchange.peer_stats(&peer(of)).held_wants
    }

    fn serving_bytes(&self) -> u64 {
        self.serving.iter().map(|(_, _, len)| u64::from(*len)).sum()
    }
}

fn now() -> Now {
    Now::new(Instant::START, UnixTime(0))
}

#[test]
fn a_flood_of_wants_is_held_to_its_limit_and_the_rest_refused() {
    let config = Config::default();
    let mut shell = Shell::new(config.clone(), 2);
    for message in 0..20 {
        shell.hear(0, &wants(message * 1000..(message + 1) * 1000));
        assert!(shell.held(0) <= config.held_wants);
        assert!(shell.lookups.len() <= config.lookups);
        let refused = shell.said();
        assert!(refused.iter().all(|(_, word)| *word == Presence::DontHave));
        let room = (config.held_wants as u64).saturating_sub(message * 1000).min(1000);
        assert_eq!(refused.len() as u64, 1000 - room, "message {message}");
    }
    assert_eq!(shell.held(0), config.held_wants);
    // Nobody else is refused for that.
    shell.hear(1, &wants(0..10));
    assert_eq!((shell.held(1), shell.said().len()), (10, 0));
    // What was held is served in the order in which it came.
    shell.answer(|_| Some(KIB));
    let mut served = shell.serve_all();
    served.retain(|cid| *cid >= self::cid(10));
    assert!(served.into_iter().eq((10..config.held_wants as u64).map(cid)));
    assert_eq!((shell.held(0), shell.held(1)), (0, 0));
}

#[test]
fn refusals_that_nobody_sends_do_not_pile_up() {
    let mut shell = Shell::new(Config::default(), 1);
    // As fast as they can be read, before the machine is flushed.
    for message in 0..100 {
        shell.hear(0, &wants(message * 1000..(message + 1) * 1000));
    }
    assert_eq!(shell.said().len(), ENTRIES_PER_MESSAGE);
}

#[test]
fn wants_for_what_is_not_here_give_way_to_newer_ones() {
    let config = Config::default();
    let mut shell = Shell::new(config.clone(), 1);
    let absent = config.held_absent as u64;
    shell.hear(0, &wants(0..absent + 88));
    shell.answer(|_| None);
    assert_eq!(shell.said().len() as u64, absent + 88, "each was answered");
    assert_eq!(shell.held(0) as u64, absent);
    // The oldest are forgotten, the newest remembered.
    for n in [87, 88, absent + 87] {
        shell.exchange.block_available(&cid(n), KIB, now());
    }
    shell.drain();
    assert_eq!(shell.serve_all(), [cid(88), cid(absent + 87)]);
    // As many as may be held at all: the absent make room for them.
    shell.hear(0, &wants(10_000..10_000 + config.held_wants as u64));
    assert_eq!((shell.held(0), shell.said().len()), (config.held_wants, 0));
    shell.exchange.block_available(&cid(100), KIB, now());
    shell.drain();
    assert!(shell.serving.is_empty());
}

#[test]
fn a_cancel_ends_a_want_wherever_it_stands() {
    let config = Config { send_credit_total: 10, send_credit: 10, lookups: 4, ..Config::default() };
    let mut shell = Shell::new(config, 1);
    shell.hear(0, &wants(0..8));
    let (new, looking, absent, ready, serving) = (7, 3, 2, 1, 0);
    for (n, len) in [(serving, Some(10)), (ready, Some(10)), (absent, None)] {
        shell.lookups.pop_front();
        shell.exchange.handle_lookup(peer(0), &cid(n), len, now());
        shell.drain();
    }
    assert_eq!(shell.serving, [(peer(0), cid(serving), 10)]);
    assert!(
        shell.lookups.contains(&(peer(0), cid(looking))) && !shell.lookups.contains(&(peer(0), cid(new)))
    );
    shell.hear(0, &cancels([new, looking, absent, ready, serving]));
    assert_eq!(shell.held(0), 3);
    shell.exchange.block_available(&cid(absent), 10, now());
    shell.answer(|_| Some(10));
    assert_eq!(shell.serve_all(), [0, 4, 5, 6].map(cid), "what is being read is sent");
    assert_eq!(shell.held(0), 0);
    // It may be wanted again, also while a lookup for the cancelled want is under way.
    shell.hear(0, &wants([9]));
    shell.hear(0, &cancels([9]));
    shell.hear(0, &wants([9]));
    assert_eq!(shell.lookups.len(), 1);
    shell.answer(|_| Some(10));
    assert_eq!(shell.serve_all(), [cid(9)]);
}

#[test]
fn a_full_wantlist_replaces_the_one_before() {
    let mut shell = Shell::new(Config::default(), 1);
    shell.hear(0, &wants(0..100));
    shell.hear(0, &Incoming { full: true, ..wants(50..60) });
    assert_eq!(shell.held(0), 10);
    shell.answer(|_| Some(KIB));
    assert!(shell.serve_all().into_iter().eq((50..60).map(cid)));
    shell.hear(0, &wants(0..100));
    shell.hear(0, &Incoming { full: true, ..Incoming::default() });
    shell.answer(|_| Some(KIB));
    assert_eq!((shell.held(0), shell.serving.len(), shell.said().len()), (0, 0, 0));
}

/// Two peers share a line that takes one block after the other. Whatever the
/// sizes of their blocks, neither is ever ahead by more than all credit, which
/// the first one takes before the other comes, a turn, and a block.
#[test]
fn large_and_small_blocks_get_the_same_bytes() {
    for (large, small) in [(MIB, 16 * KIB), (2 * MIB, 8 * KIB), (256 * KIB, 255 * KIB), (3 * MIB, 5 * KIB)] {
        // The credit of all is what there is too little of, and bytes are all that counts.
        let credit = 4 * u64::from(large);
        let config = Config {
            send_credit_total: credit,
            send_credit: credit,
            send_blocks: 1 << 20,
            held_wants: 1 << 20,
            ..Config::default()
        };
        let bound = credit + u64::from(large);
        let mut shell = Shell::new(config, 2);
        let len = |cid: &Cid| Some(if *cid < self::cid(1 << 32) { large } else { small });
        let mut sent = [0_u64; 2];
        let mut next = [0, 1 << 32];
        for _ in 0..4000 {
            for of in 0..2_u8 {
                // Always enough to do.
                let at = usize::from(of);
                if shell.held(of) < 2000 {
                    shell.hear(of, &wants(next[at]..next[at] + 4000));
                    next[at] += 4000;
                    shell.answer(len);
                }
            }
            let (to, _, len) = shell.serve().unwrap();
            sent[usize::from(to == peer(1))] += u64::from(len);
            assert!(sent[0].abs_diff(sent[1]) <= bound, "{sent:?} of {large} and {small}, beyond {bound}");
        }
        assert!(sent.iter().all(|sent| *sent > 0), "{sent:?}");
    }
}

#[test]
fn word_of_a_block_waits_for_no_block() {
    let mut shell = Shell::new(Config { send_credit_total: 2 << 20, ..Config::default() }, 2);
    shell.hear(0, &wants(0..50));
    shell.answer(|_| Some(MIB));
    assert_eq!(shell.serving.len(), 2, "there is credit for no more");
    let ask = |n| want(n, WantKind::Have);
    shell.hear(1, &Incoming { wants: vec![ask(100), ask(101), ask(102)], ..Incoming::default() });
    let small = cid(101);
    shell.answer(|cid| match cid {
        cid if *cid == small => Some(HAVE_UPGRADE_MAX),
        cid if *cid == self::cid(100) => Some(HAVE_UPGRADE_MAX + 1),
        _ => None,
    });
    assert_eq!(shell.said(), [(cid(100), Presence::Have), (cid(102), Presence::DontHave)]);
    // One that is as small as word of it is sent itself.
    assert!(shell.serve_all().contains(&small));
}

/// Peers come, want, cancel and go; at every step what is lent is within the limits.
#[test]
fn send_credit_is_never_exceeded() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let config = Config { send_credit_total: 3 << 20, send_credit: 1 << 20, ..Config::default() };
        let mut shell = Shell::new(config.clone(), 5);
        let len = |cid: &Cid| {
            let n = u32::from(cid.hash().digest()[7]);
            // A few are larger than all credit, and some are not here.
            (!n.is_multiple_of(11)).then_some(if n.is_multiple_of(17) { 4 * MIB } else { n * 5000 })
        };
        for _ in 0..3000 {
            let of = u8::try_from(rng.below(5)).unwrap();
            let n = rng.below(4000);
            match rng.below(20) {
                0 => {
                    shell.lookups.retain(|(to, _)| *to != peer(of));
                    shell.serving.retain(|(to, _, _)| *to != peer(of));
                    shell.exchange.remove_peer(peer(of), now());
                    shell.exchange.add_peer(peer(of), Version::V1_2, now());
                    shell.drain();
                }
                1..8 => shell.hear(of, &wants(n..n + 20)),
                8..10 => shell.hear(of, &cancels(n..n + 200)),
                10..13 => shell.answer(len),
                _ => drop(shell.serve()),
            }
            let mut each = BTreeMap::<_, Vec<u64>>::new();
            for (to, _, len) in &shell.serving {
                each.entry(*to).or_default().push(u64::from(*len));
            }
            // One block each goes beyond what all may have together.
            let first: u64 = each.values().filter_map(|lens| lens.iter().max()).sum();
            assert!(shell.serving_bytes() - first <= config.send_credit_total, "{:?}", shell.serving);
            let within = |lens: &Vec<u64>| lens.iter().sum::<u64>() <= config.send_credit || lens.len() <= 2;
            assert!(each.values().all(within), "{:?}", shell.serving);
        }
        // And all that is wanted and here is served in the end.
        while !shell.lookups.is_empty() || !shell.serving.is_empty() {
            shell.answer(len);
            shell.serve_all();
        }
        let absent = (0..5).map(|of| shell.held(of)).sum::<usize>();
        (0..4020).filter(|n| len(&cid(*n)).is_none()).for_each(|n| {
            shell.exchange.block_available(&cid(n), 1, now());
        });
        shell.drain();
        assert_eq!(shell.serve_all().len(), absent, "seed {seed}: only what is not here is waited for");
    }
}

#[test]
fn a_peer_that_goes_gives_its_credit_to_who_waits() {
    let mut shell = Shell::new(Config { send_credit_total: 2 << 20, ..Config::default() }, 2);
    shell.hear(0, &wants(0..50));
    shell.answer(|_| Some(MIB));
    shell.hear(1, &wants(100..102));
    shell.answer(|_| Some(MIB));
    // The other has the one block that everyone may have.
    let to: Vec<PeerId> = shell.serving.iter().map(|(to, _, _)| *to).collect();
    assert_eq!(to, [0, 0, 1].map(peer));
    shell.serving.retain(|(to, _, _)| *to == peer(1));
    shell.exchange.remove_peer(peer(0), now());
    shell.drain();
    assert!(shell.serving.iter().map(|(_, cid, _)| *cid).eq([cid(100), cid(101)]));
    shell.serve_all();
    // What the shell says late of who is gone changes nothing.
    shell.exchange.handle_served(peer(0), &cid(0), Served::Sent(MIB), now());
    shell.exchange.handle_lookup(peer(0), &cid(0), Some(MIB), now());
    shell.drain();
    assert!(shell.serving.is_empty() && shell.lookups.is_empty());
}

#[test]
fn a_block_that_comes_later_answers_who_waited() {
    let mut shell = Shell::new(Config::default(), 3);
    shell.hear(0, &wants([1]));
    shell.hear(1, &Incoming { wants: vec![want(1, WantKind::Have)], ..Incoming::default() });
    shell.answer(|_| None);
    assert_eq!(shell.said(), [(cid(1), Presence::DontHave); 2]);
    // Of the third one the lookup is still under way, and began too early.
    shell.hear(2, &wants([1]));
    shell.exchange.block_available(&cid(1), MIB, now());
    shell.drain();
    shell.answer(|_| None);
    let to: Vec<PeerId> = shell.serving.iter().map(|(to, _, _)| *to).collect();
    assert_eq!(to, [peer(0), peer(2)]);
    assert_eq!(shell.said(), [(cid(1), Presence::Have)]);
    shell.serve_all();
    assert_eq!([0, 1, 2].map(|of| shell.held(of)), [0; 3]);
}

#[test]
fn the_most_urgent_goes_first() {
    let mut shell = Shell::new(Config { send_credit_total: 10, send_credit: 10, ..Config::default() }, 1);
    let urgent = |n, priority| WantEntry { priority, ..want(n, WantKind::Block) };
    let wants = vec![urgent(1, 1), urgent(2, 7), urgent(3, 1), urgent(4, i32::MAX), urgent(5, i32::MIN)];
    shell.hear(0, &Incoming { wants, ..Incoming::default() });
    shell.answer(|_| Some(10));
    assert_eq!(shell.serve_all(), [4, 2, 1, 3, 5].map(cid));
}
