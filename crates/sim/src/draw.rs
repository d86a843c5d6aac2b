//! Distributions as tables of quantiles: integers, so that every build draws
//! the same.

use peerage_base::Rng;

/// How long a server stays, in seconds.
///
/// A Weibull distribution (shape 0.518, scale 116 min) through two published
/// points: 87.6 % of sessions are under 8 h and 2.5 % over 24 h (Trautwein et
/// al., "Design and Evaluation of IPFS", SIGCOMM 2022, section 5.3). Its median
/// is 57 min, between the 24 min (Hong Kong) and over 50 min (Germany) that
/// they give by country; Henningsen et al. (IFIP Networking 2020) see the same
/// heavy tail. The table ends at the quantile 511/512, so nobody draws years.
const SESSION_SECONDS: Quantiles = Quantiles(&[
    0, 2, 9, 20, 35, 55, 80, 109, 143, 183, 228, 279, 336, 399, 469, 546, 630, 722, 823, 931, 1049, 1177,
    1315, 1464, 1625, 1798, 1984, 2184, 2400, 2631, 2881, 3149, 3437, 3747, 4081, 4440, 4827, 5245, 5697,
    6185, 6713, 7286, 7909, 8587, 9327, 10136, 11025, 12003, 13084, 14284, 15623, 17125, 18823, 20755, 22976,
    25557, 28599, 32247, 36719, 42368, 49810, 60257, 76599, 108_877, 237_987,
]);

/// How long it stays away, in seconds.
///
/// A Weibull distribution (shape 0.6, scale 150 min) with the same mean as the
/// sessions', so that half of all servers are there at a time. A judgement:
/// the papers above give sessions, not pauses; crawls of the same years find
/// about half of the servers that they know of.
const AWAY_SECONDS: Quantiles = Quantiles(&[
    0, 9, 29, 57, 93, 137, 189, 248, 314, 388, 469, 558, 655, 761, 874, 997, 1128, 1269, 1420, 1581, 1753,
    1936, 2130, 2337, 2557, 2791, 3039, 3302, 3582, 3879, 4195, 4530, 4886, 5265, 5667, 6096, 6553, 7041,
    7562, 8118, 8714, 9354, 10040, 10780, 11578, 12441, 13378, 14398, 15512, 16734, 18081, 19575, 21240,
    23112, 25234, 27666, 30490, 33822, 37839, 42821, 49248, 58055, 71433, 96799, 190_264,
]);

/// What the line of a home adds to each message, in microseconds one way: a
/// log-normal distribution of median 6 ms (sigma 0.8), cut at both ends. A
/// judgement, after the 10 to 20 ms round trip to the first hop of cable and DSL
/// in the FCC's "Measuring Broadband America".
const HOME_MICROS: Quantiles = Quantiles(&[
    1071, 1759, 2390, 2951, 3498, 4058, 4650, 5290, 6000, 6805, 7742, 8871, 10292, 12200, 15060, 20472, 33611,
]);

/// Values at equal steps of probability.
#[derive(Debug)]
struct Quantiles(&'static [u64]);

impl Quantiles {
    /// A value, straight between two quantiles.
    fn draw(&self, rng: &mut Rng) -> u64 {
        const STEPS: u64 = 1 << 16;
        let pieces = (self.0.len() - 1) as u64;
        let at = rng.below(pieces * STEPS);
        let index = usize::try_from(at / STEPS).unwrap_or(0);
        let (low, high) = (self.0[index], self.0[index + 1]);
        low + (high - low) * (at % STEPS) / STEPS
    }
}

pub(crate) fn session_seconds(rng: &mut Rng) -> u64 {
    SESSION_SECONDS.draw(rng).max(1)
}

pub(crate) fn away_seconds(rng: &mut Rng) -> u64 {
    AWAY_SECONDS.draw(rng).max(1)
}

pub(crate) fn home_micros(rng: &mut Rng) -> u64 {
    HOME_MICROS.draw(rng)
}

/// A server's recent past, in seconds before now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Whether it is there now.
    pub(crate) here: bool,
    /// For how many seconds more it stays, or stays away.
    pub(crate) remaining: u64,
    /// Its sessions: begun so long ago, ended so long ago (0: not yet).
    sessions: Vec<(u64, u64)>,
}

impl Past {
    /// Of one that never leaves.
    pub(crate) fn always() -> Self {
        Self { here: true, remaining: 0, sessions: vec![(u64::MAX, 0)] }
    }

    /// Whether it was there so long ago.
    pub(crate) fn was_here(&self, ago: u64) -> bool {
        self.sessions.iter().any(|&(begun, ended)| begun >= ago && ended < ago)
    }

    /// Whether it has been there since.
    pub(crate) fn stayed(&self, ago: u64) -> bool {
        self.here && self.sessions.last().is_some_and(|&(begun, _)| begun >= ago)
    }
}

/// A server's past, long after the beginning of time: long sessions are met
/// more often than short ones.
pub(crate) fn past(rng: &mut Rng) -> Past {
    // Five to ten days of comings and goings, of which the last hours are kept.
    const BEGINNING: u64 = 5 * 86_400;
    const KEPT: u64 = 6 * 3600;
    let end = 2 * BEGINNING;
    let mut clock = rng.below(BEGINNING);
    let mut past = Past { here: rng.below(2) == 0, remaining: 0, sessions: Vec::new() };
    loop {
        let begun = clock;
        clock += if past.here { session_seconds(rng) } else { away_seconds(rng) };
        if past.here && clock + KEPT > end {
            past.sessions.push((end - begun.min(end), end.saturating_sub(clock)));
        }
        if clock > end {
            past.remaining = clock - end;
            return past;
        }
        past.here = !past.here;
    }
}

/// Index of a share: `shares` are weights.
pub(crate) fn share(shares: &[u64], rng: &mut Rng) -> usize {
    let mut at = rng.below(shares.iter().sum());
    for (index, &share) in shares.iter().enumerate() {
        if at < share {
            return index;
        }
        at -= share;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permille(draws: usize, mut hit: impl FnMut() -> bool) -> usize {
        (0..draws).filter(|_| hit()).count() * 1000 / draws
    }

    #[test]
    fn sessions_are_as_published() {
        let mut rng = Rng::new(1);
        let short = permille(20_000, || session_seconds(&mut rng) < 8 * 3600);
        assert!((866..886).contains(&short), "{short}");
        let long = permille(20_000, || session_seconds(&mut rng) > 24 * 3600);
        assert!((18..32).contains(&long), "{long}");
    }

    #[test]
    fn half_are_there_and_who_is_there_stays_longer() {
        let mut rng = Rng::new(2);
        let here = permille(10_000, || past(&mut rng).here);
        assert!((450..550).contains(&here), "{here}");
        let stays = permille(10_000, || {
            loop {
                let past = past(&mut rng);
                if past.here {
                    assert!(past.stayed(0) && !past.was_here(u64::MAX));
                    return past.remaining > 3600;
                }
            }
        });
        assert!(stays > 750, "of those who are there now, {stays} in 1000 stay an hour");
    }

    #[test]
    fn shares_are_kept() {
        let mut rng = Rng::new(3);
        let first = permille(10_000, || share(&[3, 1], &mut rng) == 0);
        assert!((730..770).contains(&first));
    }
}
