//! The pacer in virtual time: properties over random histories, and who goes when.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn rate(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

/// Three who always wait, polled when the pacer says so and `late` after that; the
/// bytes of each piece and when it went.
fn run(
    pacer: &mut Pacer<u64>,
    piece: u64,
    from: u64,
    to: u64,
    mut late: impl FnMut() -> u64,
) -> Vec<(u64, u64)> {
    let mut went = Vec::new();
    let mut now = from;
    for key in 0..3 {
        pacer.ask(key, piece);
    }
    while now < to {
        while let Some(key) = pacer.poll(at(now)) {
            went.push((now, piece));
            pacer.ask(key, piece);
        }
        let due = pacer.poll_timeout().unwrap().as_nanos();
        assert!(due > now, "polled until nothing was left");
        now = due + late();
    }
    went
}

/// Most and least that went in any span of so long within the time.
fn extremes(went: &[(u64, u64)], span: u64, from: u64, to: u64) -> (u64, u64) {
    let in_span = |start: u64| -> u64 {
        went.iter().filter(|(time, _)| (start..start + span).contains(time)).map(|(_, bytes)| bytes).sum()
    };
    // The extremes begin where a piece goes, or just after it.
    let starts = went.iter().flat_map(|(time, _)| [*time, time + 1]);
    let spans: Vec<u64> = starts.filter(|start| *start >= from && start + span <= to).map(in_span).collect();
    (*spans.iter().max().unwrap(), *spans.iter().min().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Within 3 % over any 2 s, however late the timers are up to 25 ms.
    #[test]
    fn a_rate_holds_over_any_two_seconds(
        bytes in 100_000u64..50_000_000,
        lateness in proptest::collection::vec(0u64..25_000_000, 1..50),
    ) {
        let wanted = rate(bytes).unwrap();
        let mut pacer = Pacer::new(Some(wanted));
        let mut nth = 0;
        let went = run(&mut pacer, piece(wanted), 0, 5 * SECOND, || {
            nth += 1;
            lateness[nth % lateness.len()]
        });
        // What is late at the end of the last span has not gone.
        let (most, least) = extremes(&went, 2 * SECOND, 0, 5 * SECOND - SECOND / 20);
        let target = 2 * bytes;
        prop_assert!(most <= target + target * 3 / 100, "{most} of {target}");
        prop_assert!(least >= target - target * 3 / 100, "{least} of {target}");
    }

    /// Whatever happens, no more goes than rate x time, the slack and a piece.
    #[test]
    fn never_more_than_the_rate(
        bytes in 1u64..10_000_000,
        steps in proptest::collection::vec((0u64..6, 1u64..70_000, 0u64..300_000_000, any::<bool>()), 1..200),
    ) {
        let mut pacer = Pacer::new(rate(bytes));
        let (mut now, mut went, mut largest) = (0, Vec::new(), 0);
        let mut asked = BTreeMap::new();
        for (key, len, pause, withdraws) in steps {
            now += pause;
            if withdraws {
                prop_assert_eq!(pacer.withdraw(&key), asked.remove(&key).is_some());
            } else {
                pacer.ask(key, len);
                asked.insert(key, len);
            }
            while let Some(key) = pacer.poll(at(now)) {
                let len = asked.remove(&key).unwrap();
                prop_assert!(asked.keys().all(|other| *other > key), "the lowest goes first");
                largest = largest.max(len);
                went.push((now, len));
            }
            prop_assert_eq!(pacer.poll_timeout().is_some(), !asked.is_empty());
        }
        for (nth, (start, _)) in went.iter().enumerate() {
            let mut sum = 0;
            for (end, len) in &went[nth..] {
                sum += len;
                let span = u128::from(end - start) + SLACK.as_nanos();
                let allowed = u128::from(bytes) * span / u128::from(SECOND) + u128::from(largest);
                prop_assert!(u128::from(sum) <= allowed + 1, "{} bytes from {} to {}", sum, start, end);
            }
        }
    }
}

#[test]
fn another_rate_counts_at_once() {
    let mut pacer = Pacer::new(rate(1000));
    let slow = run(&mut pacer, 1000, 0, 10 * SECOND, || 0);
    assert_eq!(slow.len(), 10);
    // A piece has just gone, and a second of the old rate would be a thousandth of the new one's.
    pacer.set_rate(rate(1_000_000), at(9 * SECOND + 1));
    let fast = run(&mut pacer, 1000, 9 * SECOND + 1, 10 * SECOND, || 0);
    assert_eq!(fast.len(), 999);
    pacer.set_rate(rate(1000), at(10 * SECOND));
    let (piece, next) = (run(&mut pacer, 1000, 10 * SECOND, 12 * SECOND, || 0), pacer.poll_timeout());
    assert!(piece.len() == 2 && next.unwrap() >= at(12 * SECOND), "{piece:?}, then {next:?}");
    pacer.set_rate(None, at(11 * SECOND));
    assert_eq!(pacer.poll_timeout(), Some(Instant::START));
    assert_eq!(std::iter::from_fn(|| pacer.poll(at(11 * SECOND))).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(pacer.poll_timeout(), None);
    // Nothing of the time without a rate is owed, or caught up.
    pacer.set_rate(rate(1000), at(60 * SECOND));
    let after = run(&mut pacer, 1000, 60 * SECOND, 62 * SECOND, || 0);
    assert_eq!(after.iter().map(|(time, _)| time / SECOND).collect::<Vec<_>>(), [60, 61]);
}

#[test]
fn the_first_goes_on_and_who_is_gone_holds_up_nobody() {
    let mut pacer = Pacer::new(rate(1000));
    for key in [3, 1, 2] {
        pacer.ask(key, 100);
    }
    let step = SECOND / 10;
    assert_eq!(pacer.poll(at(0)), Some(1));
    // Its next piece comes before those of others that wait for longer.
    pacer.ask(1, 100);
    assert_eq!((pacer.first(), pacer.poll(at(step))), (Some(1), Some(1)));
    // Now it cannot send, so it does not ask; and the next one has gone away.
    assert!(pacer.withdraw(&2) && !pacer.withdraw(&2));
    assert_eq!(pacer.poll(at(2 * step)), Some(3));
    assert!(!pacer.is_waiting(&3));
    assert_eq!((pacer.poll(at(9 * step)), pacer.poll_timeout()), (None, None));
}

#[test]
fn pieces_are_of_ten_milliseconds() {
    let of = |bytes| piece(rate(bytes).unwrap());
    assert_eq!([1, 50_000, 1_000_000, 4_000_000, 1 << 40].map(of), [1024, 1024, 10_000, 40_000, 64 * 1024]);
}
