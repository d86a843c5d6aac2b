//! What no way of sending beats: the times that a crowd takes at least.

use std::time::Duration;

/// Who takes part, by what its line carries, in kilobits a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    /// Uplinks of those that have everything in the beginning and give it.
    pub(super) seeds: Vec<u64>,
    /// Uplinks, as far as they are given, and downlinks of those that get it.
    pub(super) getters: Vec<(u64, u64)>,
}

/// The least time until the last getter is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// As if any drop of the file could be passed on as it comes: max(F / u_seeds,
    /// F / d_min, N F / (u_seeds + sum of u_i)), after Kumar and Ross, "Peer-assisted
    /// file distribution: the minimum distribution time" (HotWeb 2006).
    pub(super) fluid: Duration,
    /// As it is: a block is passed on when all of it is there.
    ///
    /// All bytes have left the seeds after F / u_seeds at the earliest, and then only
    /// one getter need have the block that left last. From then on its holders, with s
    /// seeds s + 1 of them, at most double in the time that the fastest line takes for
    /// a block, until all s + N have it: F / u_seeds + ceil(log2((s + N) / (s + 1)))
    /// B / u_max. With one seed and equal uplinks that is 1 + floor(log2 N) / M times
    /// F / u for M blocks, which Mundinger, Weber and Weiss show to be reached
    /// ("Optimal scheduling of peer-to-peer file dissemination", Journal of
    /// Scheduling 11, 2008, theorem 1). Never less than the fluid one.
    pub(super) whole_blocks: Duration,
}

impl Lines {
    /// The bounds for a file of `leaves` blocks of `leaf` bytes.
    pub(super) fn bounds(&self, leaves: u32, leaf: u32) -> Bounds {
        let bytes = u64::from(leaves) * u64::from(leaf);
        let count = self.getters.len() as u64;
        let seeds: u64 = self.seeds.iter().sum();
        let given: u64 = self.getters.iter().map(|(up, _)| up).sum();
        let down_min = self.getters.iter().map(|(_, down)| *down).min().unwrap_or(u64::MAX);
        let leaves_seeds = time_of(bytes, seeds);
        let fluid = leaves_seeds.max(time_of(bytes, down_min)).max(time_of(bytes * count, seeds + given));
        let fastest = self.seeds.iter().chain(self.getters.iter().map(|(up, _)| up)).max();
        let held = self.seeds.len() as u64 + 1;
        let doublings = (count + held - 1).div_ceil(held).max(1).next_power_of_two().ilog2();
        let spread = time_of(leaf.into(), fastest.copied().unwrap_or(0)) * doublings;
        Bounds { fluid, whole_blocks: fluid.max(leaves_seeds + spread) }
    }
}

/// How long so many bytes take at so many kilobits a second.
fn time_of(bytes: u64, kbps: u64) -> Duration {
    // 8 bits are 8,000,000 nanoseconds at a kilobit a second.
    Duration::from_nanos(bytes.saturating_mul(8_000_000) / kbps.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KBPS: u64 = 64_000;
    const LEAF: u32 = 1 << 20;

    fn equal(seeds: usize, getters: usize) -> Lines {
        Lines { seeds: vec![KBPS; seeds], getters: vec![(KBPS, 10 * KBPS); getters] }
    }

    #[test]
    fn equal_lines_take_what_mundinger_et_al_say() {
        let block = time_of(LEAF.into(), KBPS);
        for (getters, log) in [(1, 0), (2, 1), (3, 1), (4, 2), (16, 4), (100, 6), (1_000, 9)] {
            let bounds = equal(1, getters).bounds(256, LEAF);
            assert_eq!(bounds.fluid, block * 256, "{getters} getters");
            assert_eq!(bounds.whole_blocks, block * (256 + log), "{getters} getters");
        }
    }

    #[test]
    fn each_line_may_be_what_counts() {
        let file = time_of(256 << 20, KBPS);
        let mut slow_down = equal(1, 8);
        slow_down.getters[3].1 = KBPS / 2;
        assert_eq!(slow_down.bounds(256, LEAF).fluid, file * 2);
        let mut takers = equal(1, 8);
        takers.getters.iter_mut().for_each(|(up, _)| *up = 0);
        assert_eq!(takers.bounds(256, LEAF).fluid, file * 8);
        assert_eq!(takers.bounds(256, LEAF).whole_blocks, file * 8);
        // Each of two seeds need send but half.
        assert_eq!(equal(2, 2).bounds(256, LEAF).fluid, file / 2);
    }
}
