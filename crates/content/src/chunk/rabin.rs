//! Cuts by Rabin fingerprints (M. O. Rabin, "Fingerprinting by random
//! polynomials"), with the polynomial, window and mask of boxo: the last 16
//! bytes, read as a polynomial over GF(2), modulo one of degree 53.

/// Bytes that a fingerprint covers.
pub(super) const WINDOW: usize = 16;

/// The irreducible polynomial (boxo `IpfsRabinPoly`).
const POLYNOMIAL: u64 = 17_437_180_132_763_653;
const DEGREE: u32 = POLYNOMIAL.ilog2();

/// What a reduction takes away, by the eight bits above the degree: they
/// themselves, and what they are modulo the polynomial.
static REDUCE: [u64; 256] = reductions();

/// What a byte adds to a fingerprint that it left one step ago.
static LEAVE: [u64; 256] = departures();

const fn reductions() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let high = (byte as u64) << DEGREE;
        table[byte] = high | modulo(high);
        byte += 1;
    }
    table
}

const fn departures() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut step = 0;
        while step < WINDOW {
            sum = modulo(sum << 8);
            step += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

const fn modulo(mut value: u64) -> u64 {
    while value >= 1 << DEGREE {
        value ^= POLYNOMIAL << (value.ilog2() - DEGREE);
    }
    value
}

/// The fingerprint with one more byte at the end.
fn append(sum: u64, byte: u8) -> u64 {
    let [high, ..] = (sum >> (DEGREE - 8)).to_le_bytes();
    (sum << 8 | u64::from(byte)) ^ REDUCE[usize::from(high)]
}

/// The fingerprint of the window that is one byte further on.
fn slide(sum: u64, old: u8, new: u8) -> u64 {
    append(sum, new) ^ LEAVE[usize::from(old)]
}

/// The fingerprint of a window.
fn fingerprint(window: &[u8]) -> u64 {
    window.iter().fold(0, |sum, &byte| append(sum, byte))
}

/// Fingerprints that are computed side by side: each waits for the one before,
/// and so four take the time of one.
const LANES: usize = 4;

/// Bytes of a lane. It begins with a whole fingerprint, which should not count.
const LANE: usize = 512;

/// Where in a chunk the search for its end is.
#[derive(Debug, Clone)]
pub(super) struct Rabin {
    min: usize,
    max: usize,
    mask: u64,
    /// Bytes of the chunk that have been looked at; 0 before the first
    /// `min` of them are there.
    at: usize,
    /// Fingerprint of the [`WINDOW`] bytes before `at`.
    sum: u64,
}

impl Rabin {
    /// The parameters are those of a chunker that was checked.
    pub(super) fn new(min: usize, avg: usize, max: usize) -> Self {
        Self { min, max, mask: (1 << avg.ilog2()) - 1, at: 0, sum: 0 }
    }

    /// The end of the chunk that `bytes` start with, if it is in there. `bytes`
    /// are those of the last call, and more, until an end was found.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let bytes = &bytes[..bytes.len().min(self.max)];
        if bytes.len() < self.min.max(self.at) {
            return None;
        }
        let end = self.scan(bytes).or((bytes.len() == self.max).then_some(self.max));
        self.at = if end.is_some() { 0 } else { bytes.len() };
        end
    }

    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.at == 0 {
            self.at = self.min;
            self.sum = fingerprint(&bytes[self.min - WINDOW..self.min]);
            if self.sum & self.mask == 0 {
                return Some(self.min);
            }
        }
        // Where cuts are near they would mostly be in the lanes.
        if self.mask > (LANES * LANE) as u64 {
            while let Some(sum) = self.lanes(&bytes[self.at - WINDOW..]) {
                self.sum = sum;
                self.at += LANES * LANE;
            }
        }
        let pairs = bytes[self.at - WINDOW..].iter().zip(&bytes[self.at..]);
        let mut sum = self.sum;
        for (index, (&old, &new)) in pairs.enumerate() {
            sum = slide(sum, old, new);
            if sum & self.mask == 0 {
                return Some(self.at + index + 1);
            }
        }
        self.sum = sum;
        None
    }

    /// The last fingerprint of the next [`LANES`] lanes; none if there is a
    /// cut in them, or if `bytes`, which begin with the window before them,
    /// are fewer.
    fn lanes(&self, bytes: &[u8]) -> Option<u64> {
        let mut lanes = [&[0; LANE + WINDOW]; LANES];
        let mut sums = [0; LANES];
        for (number, (lane, sum)) in lanes.iter_mut().zip(&mut sums).enumerate() {
            *lane = bytes.get(number * LANE..)?.first_chunk()?;
            *sum = fingerprint(&lane[..WINDOW]);
        }
        for index in 0..LANE {
            let mut cut = false;
            for (lane, sum) in lanes.iter().zip(&mut sums) {
                *sum = slide(*sum, lane[index], lane[index + WINDOW]);
                cut |= *sum & self.mask == 0;
            }
            if cut {
                return None;
            }
        }
        sums.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, a bit at a time.
    fn remainder(window: &[u8]) -> u64 {
        window.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).fold(0, |sum, bit| {
            let sum = sum << 1 | u64::from(bit);
            if sum >> DEGREE == 0 { sum } else { sum ^ POLYNOMIAL }
        })
    }

    #[test]
    fn fingerprints_are_remainders() {
        let bytes: Vec<u8> = (0..600_u32).map(|i| (i * i).to_le_bytes()[i as usize % 3]).collect();
        let mut sum = fingerprint(&bytes[..WINDOW]);
        for (at, window) in bytes.windows(WINDOW + 1).enumerate() {
            assert_eq!(sum, remainder(&window[..WINDOW]), "{at}");
            sum = slide(sum, window[0], window[WINDOW]);
        }
    }

    /// Lanes are only a way to be quick.
    #[test]
    fn lanes_find_no_other_cuts() {
        let mut state = 1_u64;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let bytes: Vec<u8> = bytes.take(200_000).collect();
        let (min, avg, max) = (100, 4096, 40_000);
        let mut search = Rabin::new(min, avg, max);
        let mut rest = &bytes[..];
        let mut cuts = 0;
        while let Some(cut) = search.find(rest) {
            let is_cut = |&at: &usize| remainder(&rest[at - WINDOW..at]).trailing_zeros() >= 12 || at == max;
            assert_eq!(Some(cut), (min..=max).find(is_cut));
            rest = &rest[cut..];
            cuts += 1;
        }
        assert!(cuts > 20, "{cuts}");
    }
}
