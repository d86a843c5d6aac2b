//! What we think of peers, by what they did to us alone: across look-ups,
//! fetches and connections, and less and less as time passes.
//!
//! Used where peers are equal otherwise: who is dialled first, whose connection
//! is closed first, whose word a look-up takes for less. Who abuses us, by wrong
//! blocks or messages that are none, is not asked for a while.
//!
//! Left out on purpose: what others say of a peer, and dials that failed. The
//! first would have one identity vouch for another, and anyone can name false
//! addresses of anyone.

use std::time::Duration;

use peerage_base::{Instant, PackedMap};
use peerage_identity::PeerId;

use crate::limits::Config;

/// Most points, either way: nobody saves up for a day on which he lies.
const POINTS_MAX: i64 = 100;

/// Points of whoever has done nothing worse than not to answer, or to name peers
/// who are not there, at least: both may be our own network's fault.
const EXCUSABLE_MIN: i64 = -40;

/// Parts of a point that are counted, so that little is lost by rounding.
const PARTS: i64 = 1024;

/// What a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It answered a request of a DHT.
    Answered,
    /// A block came that was wanted.
    Delivered,
    /// It did not answer though it was connected.
    Silent,
    /// Of the peers that it named in a look-up none was there.
    Invented,
    /// What it answered was no answer.
    Malformed,
    /// A block came that nobody asked for, or with wrong bytes.
    WrongBlock,
    /// That happened again and again: no credit outweighs it.
    Banned,
}

impl Deed {
    /// Judgements: three wrong blocks undo what a few good ones were worth, and
    /// three of whoever has no credit have it shunned.
    const fn points(self) -> i64 {
        match self {
            Self::Answered => 1,
            Self::Delivered => 2,
            Self::Silent => -4,
            Self::Invented => -15,
            Self::Malformed | Self::WrongBlock => -20,
            Self::Banned => -2 * POINTS_MAX,
        }
    }

    const fn is_excusable(self) -> bool {
        matches!(self, Self::Silent | Self::Invented)
    }
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// In [`PARTS`] of a point, at that time.
    parts: i32,
    /// It is not asked before then, in seconds since the start.
    shunned: u32,
}

/// The peers that did something lately, by 8 bytes of their id: who finds an id
/// that agrees in these has tried 2^64.
#[derive(Debug, Default)]
pub(crate) struct Scores(PackedMap<u64, Entry>);

impl Scores {
    /// Notes what a peer did.
    pub(crate) fn note(&mut self, peer: &PeerId, deed: Deed, now: Instant, config: &Config) {
        let entry = self.0.or_insert_with(key(peer), || Entry { at: now, parts: 0, shunned: 0 });
        let before = entry.faded(now, config);
        let least = if deed.is_excusable() { before.min(EXCUSABLE_MIN * PARTS) } else { -POINTS_MAX * PARTS };
        let after = (before + deed.points() * PARTS).max(least).min(POINTS_MAX * PARTS);
        entry.parts = i32::try_from(after).unwrap_or(0);
        entry.at = now;
        if deed.points() < 0 && !deed.is_excusable() && after <= i64::from(config.score_shunned) * PARTS {
            entry.shunned = seconds(now + config.shun_for);
        }
        if self.0.len() > config.scores {
            self.forget(now, config);
        }
    }

    /// Half of them at once, so that each event costs little: those who did
    /// nothing for longest. Who is shunned stays, or a crowd that answers well
    /// would have us ask him again; unless they are a crowd themselves.
    fn forget(&mut self, now: Instant, config: &Config) {
        let kept = config.scores / 2;
        let is_shunned = |entry: &Entry| seconds(now) < entry.shunned;
        let spared = self.0.values().filter(|entry| is_shunned(entry)).count() <= kept;
        let may_go = |entry: &Entry| !(spared && is_shunned(entry));
        let mut times: Vec<Instant> =
            self.0.values().filter(|entry| may_go(entry)).map(|entry| entry.at).collect();
        let mut spare = (self.0.len() - kept).min(times.len());
        let Some(last) = spare.checked_sub(1).map(|nth| *times.select_nth_unstable(nth).1) else { return };
        self.0.retain(|_, entry| {
            let goes = spare > 0 && may_go(entry) && entry.at <= last;
            spare -= usize::from(goes);
            !goes
        });
    }

    /// From -100 to 100; 0 of whom we know nothing.
    pub(crate) fn points(&self, peer: &PeerId, now: Instant, config: &Config) -> i32 {
        let Some(entry) = self.0.get(&key(peer)) else { return 0 };
        let parts = entry.faded(now, config);
        i32::try_from((parts + parts.signum() * PARTS / 2) / PARTS).unwrap_or(0)
    }

    /// Until when it is not to be asked, if it is not now.
    pub(crate) fn shunned_until(&self, peer: &PeerId, now: Instant) -> Option<Instant> {
        let entry = self.0.get(&key(peer)).filter(|entry| seconds(now) < entry.shunned)?;
        Some(Instant::START + Duration::from_secs(entry.shunned.into()))
    }

    /// True if it is not to be asked now.
    pub(crate) fn is_shunned(&self, peer: &PeerId, now: Instant) -> bool {
        self.shunned_until(peer, now).is_some()
    }
}

impl Entry {
    /// The parts that are left by now.
    fn faded(&self, now: Instant, config: &Config) -> i64 {
        faded(i64::from(self.parts), now.since(self.at), config.score_half_life)
    }
}

/// Whole seconds since the start, of which there are enough for a century.
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.since(Instant::START).as_secs()).unwrap_or(u32::MAX)
}

/// The end of an id, which is of a hash or a key.
fn key(peer: &PeerId) -> u64 {
    peer.as_bytes().iter().rev().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// What is left after that time: halves in each `half_life`, in a straight line
/// between.
fn faded(parts: i64, elapsed: Duration, half_life: Duration) -> i64 {
    let (elapsed, half_life) = (elapsed.as_millis(), half_life.as_millis().max(1));
    let halvings = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
    let Some(left) = 1_i64.checked_shl(halvings).filter(|_| halvings < 62).map(|by| parts / by) else {
        return 0;
    };
    let rest = i128::try_from(elapsed % half_life).unwrap_or(0);
    let half = i128::try_from(half_life).unwrap_or(i128::MAX);
    left - i64::try_from(i128::from(left) * rest / (2 * half)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::world::peer_id;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_done_counts_less_with_time() {
        let (mut scores, config) = (Scores::default(), Config::default());
        let half = config.score_half_life.as_secs();
        let peer = peer_id(1);
        for _ in 0..1_000 {
            scores.note(&peer, Deed::Delivered, at(0), &config);
        }
        let points = |scores: &Scores, time| scores.points(&peer, at(time), &config);
        assert_eq!(
            [0, half / 2, half, 2 * half, 9 * half].map(|time| points(&scores, time)),
            [100, 75, 50, 25, 0]
        );
        scores.note(&peer, Deed::WrongBlock, at(half), &config);
        assert_eq!((points(&scores, half), points(&scores, 2 * half)), (30, 15));
        assert_eq!(scores.points(&peer_id(2), at(0), &config), 0, "nobody else's");
    }

    #[test]
    fn who_abuses_us_is_not_asked_for_a_while() {
        let (mut scores, config) = (Scores::default(), Config::default());
        let (bad, good, mute) = (peer_id(1), peer_id(2), peer_id(3));
        (0..50).for_each(|_| scores.note(&good, Deed::Delivered, at(0), &config));
        for peer in [bad, good] {
            (0..3).for_each(|_| scores.note(&peer, Deed::WrongBlock, at(0), &config));
        }
        (0..100).for_each(|_| scores.note(&mute, Deed::Silent, at(0), &config));
        (0..100).for_each(|_| scores.note(&mute, Deed::Invented, at(0), &config));
        let shunned = |scores: &Scores, now| [bad, good, mute].map(|peer| scores.is_shunned(&peer, now));
        assert_eq!(shunned(&scores, at(0)), [true, false, false]);
        assert_eq!(scores.points(&mute, at(0), &config), -40);
        let end = at(0) + config.shun_for;
        assert_eq!(shunned(&scores, end), [false; 3]);
        // It has not forgotten: once more is enough. And no credit outweighs a ban.
        scores.note(&bad, Deed::WrongBlock, end, &config);
        scores.note(&good, Deed::Banned, end, &config);
        assert_eq!(shunned(&scores, end), [true, true, false]);
        scores.note(&bad, Deed::Silent, end, &config);
        assert!(scores.points(&bad, end, &config) < -50, "silence excuses nothing either");
    }

    #[test]
    fn who_is_shunned_is_not_forgotten_for_a_crowd() {
        let (mut scores, config) = (Scores::default(), Config::default());
        let bad = config.scores / 2;
        let all_shunned = |scores: &Scores| (0..bad).all(|n| scores.is_shunned(&peer_id(n), at(1)));
        (0..bad).for_each(|n| scores.note(&peer_id(n), Deed::Banned, at(0), &config));
        (0..2_000).for_each(|n| scores.note(&peer_id(1_000 + n), Deed::Answered, at(1), &config));
        assert!(all_shunned(&scores) && scores.0.len() <= config.scores);
        // Any crowd of them is bounded too.
        (0..2_000).for_each(|n| scores.note(&peer_id(9_000 + n), Deed::Banned, at(1), &config));
        assert!(!all_shunned(&scores) && scores.0.len() <= config.scores);
    }

    proptest! {
        #[test]
        fn few_are_remembered_the_latest_ones(
            deeds in proptest::collection::vec((0usize..40, 0usize..7, 0u64..4_000), 0..200),
        ) {
            let config = Config { scores: 8, ..Config::default() };
            let all = [Deed::Answered, Deed::Delivered, Deed::Silent, Deed::Invented, Deed::Malformed,
                Deed::WrongBlock, Deed::Banned];
            let (mut scores, mut time) = (Scores::default(), 0);
            for (n, deed, pause) in deeds {
                time += pause + 1;
                let (before, deed) = (scores.points(&peer_id(n), at(time), &config), all[deed]);
                scores.note(&peer_id(n), deed, at(time), &config);
                prop_assert!(scores.0.len() <= 8 && scores.0.contains_key(&key(&peer_id(n))));
                let after = scores.points(&peer_id(n), at(time), &config);
                prop_assert!((-100..=100).contains(&after));
                let better = deed.points() > 0;
                prop_assert!(better && after >= before || !better && after <= before);
            }
        }
    }
}
