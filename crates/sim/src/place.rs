//! Where a host is, and how far that is from others.
//!
//! Round trips are IBM Cloud's published averages between its regions, 27 July
//! to 25 August 2024 (docs of IBM Cloud VPC, "Network latency"). Where no data
//! center is, the nearest stands in: Tokyo and Osaka for China, Taiwan and Korea.
//! How many peers are where is Trautwein et al. (SIGCOMM 2022, section 5.1): US
//! 28.5 %, China 24.2 %, France 8.3 %, Taiwan 7.2 %, Korea 6.7 %; the rest
//! spread over Europe, with a few in Canada, South America and Oceania.
//!
//! Left out on purpose: the way into China. Zhu et al. ("Characterizing Transnational
//! Internet Performance and the Great Bottleneck of China", SIGMETRICS 2020) lost
//! about 15 % of what flowed into mainland China while it was slow, for hours on
//! most days. That is of bulk transfers, in one direction, and China is no region
//! of its own here.

/// Of a thousand hosts: Dallas, Toronto, Washington, Frankfurt, London, Madrid,
/// Osaka, Sydney, Tokyo, Sao Paulo.
const SHARES: [u64; 10] = [140, 30, 145, 120, 90, 60, 150, 15, 235, 15];

/// Round trips in milliseconds; the upper half of the published table. Within
/// a region: between two cities of it, a judgement.
const ROUND_TRIP_MS: [[u64; 10]; 10] = [
    [12, 34, 31, 123, 113, 119, 150, 186, 143, 146],
    [34, 10, 19, 93, 82, 108, 168, 215, 162, 129],
    [31, 19, 12, 91, 75, 87, 172, 214, 164, 118],
    [123, 93, 91, 10, 13, 29, 232, 250, 233, 198],
    [113, 82, 75, 13, 8, 27, 244, 261, 243, 188],
    [119, 108, 87, 29, 27, 10, 257, 275, 258, 209],
    [150, 168, 172, 232, 244, 257, 16, 122, 9, 293],
    [186, 215, 214, 250, 261, 275, 122, 14, 115, 328],
    [143, 162, 164, 233, 243, 258, 9, 115, 16, 284],
    [146, 129, 118, 198, 188, 209, 293, 328, 284, 14],
];

/// Of a million packets between two ends, those that are lost on account of one
/// of the ends.
///
/// PingER's summary by regions (SLAC, seen from North America, up to 2006): below
/// 0.1 % to North America, Europe, East Asia and Oceania, above it and up to a few
/// per cent in Latin America, and fairly independent of the distance; so a share
/// for each end, and none for the way between. That loss hardly differs between
/// paths but for the way into China is also what ThousandEyes found ("Public Cloud
/// Performance Benchmark", 2018). Which figure below and above 0.1 % is a
/// judgement: homes, unlike the laboratories that PingER asked, lose about 0.1 %
/// (median of fixed lines in the FCC's "Measuring Broadband America"), half of
/// it for each of two ends; Sao Paulo three times as much.
const END_LOSS_PPM: [u64; 10] = [500, 500, 500, 500, 500, 500, 500, 500, 500, 1_500];

/// Medians of fixed lines in megabits a second, down and up.
///
/// Down: Ookla's Speedtest Global Index, March 2024: United States 254.01, Canada
/// 198.22, United Kingdom 104.53, Spain 217.30, Brazil 158.57. East Asia: China
/// 241.69, Taiwan 169.67 and Korea 160.59, weighed by their peers. Germany: 92.7,
/// October 2024; Australia: 52.75, of an earlier edition.
///
/// Up: Germany 28.96 (Ookla, March 2023), United Kingdom 18.4 (Ofcom's "Home
/// Broadband Performance", March 2023), Australia 17.78 (Ookla, with the above). The
/// others are judgements, after the world's 48.36 up for 93.99 down (Ookla, August
/// 2024): half of what comes down in Spain and Brazil, a quarter in East Asia,
/// a fifth in Canada, and a tenth in the United States, where cable is the rule.
const HOME_MBPS: [(u64, u64); 10] = [
    (254, 25),
    (198, 40),
    (254, 25),
    (93, 29),
    (105, 18),
    (217, 108),
    (214, 53),
    (53, 18),
    (214, 53),
    (159, 79),
];

/// A region, as an index of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region(u8);

impl Region {
    pub(crate) const COUNT: usize = SHARES.len();

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(|index| Self(u8::try_from(index).unwrap_or(0)))
    }

    /// Of a thousand hosts, those that are there.
    pub(crate) const fn permille(self) -> u64 {
        SHARES[self.index()]
    }

    /// Regions of prefixes that hold so many hosts each, the largest first. Each is
    /// given to the region that lacks most of its share so far, so that no region has
    /// large ones or small ones only, if there are many.
    pub(crate) fn share_out(weights: &[u64]) -> Vec<Self> {
        let mut lacks = [0; Self::COUNT];
        let mut give = |weight: &u64| {
            let weight = i64::try_from(*weight).unwrap_or(0);
            for region in Self::all() {
                lacks[region.index()] += weight * i64::try_from(region.permille()).unwrap_or(0);
            }
            let region = Self::all().max_by_key(|region| lacks[region.index()]).unwrap_or(Self(0));
            lacks[region.index()] -= weight * 1_000;
            region
        };
        weights.iter().map(&mut give).collect()
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Median of the fixed lines of a region in kilobits a second, down and up.
pub(crate) const fn home_kbps(region: Region) -> (u64, u64) {
    let (down, up) = HOME_MBPS[region.index()];
    (down * 1_000, up * 1_000)
}

/// Microseconds one way between two regions.
pub(crate) const fn between_micros(a: Region, b: Region) -> u64 {
    ROUND_TRIP_MS[a.index()][b.index()] * 500
}

/// Of a million packets between two regions, so many are lost; the same in both
/// directions.
pub(crate) const fn loss_ppm(a: Region, b: Region) -> u64 {
    END_LOSS_PPM[a.index()] + END_LOSS_PPM[b.index()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAO_PAULO: Region = Region(9);

    #[test]
    fn the_table_is_symmetric_and_shares_are_whole() {
        for (a, row) in ROUND_TRIP_MS.iter().enumerate() {
            for (b, trip) in row.iter().enumerate() {
                assert_eq!(*trip, ROUND_TRIP_MS[b][a]);
            }
        }
        assert_eq!(SHARES.iter().sum::<u64>(), 1000);
    }

    #[test]
    fn a_thousandth_is_lost_and_more_in_latin_america() {
        let mut mean = 0;
        for a in Region::all() {
            for b in Region::all() {
                let loss = loss_ppm(a, b);
                assert_eq!(loss, loss_ppm(b, a));
                let latin = a == SAO_PAULO || b == SAO_PAULO;
                assert_eq!(loss > 1_000, latin, "{loss} ppm between {a:?} and {b:?}");
                mean += a.permille() * b.permille() * loss;
            }
        }
        let mean = mean / 1_000_000;
        assert!((950..1_100).contains(&mean), "{mean} ppm of all");
    }
}
