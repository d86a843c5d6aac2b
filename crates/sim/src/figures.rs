//! What a run says: whole numbers under names, tables of them, and what was
//! promised and not kept. The same run gives the same file, byte for byte.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One row of a curve.
pub type Row = BTreeMap<String, u64>;

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The scenario's name.
    pub scenario: String,
    /// Servers that are there at a time, on average.
    pub peers: u32,
    /// What everything that is drawn comes from.
    pub seed: u64,
    /// Hash over all events in order.
    pub trace: String,
    /// Events that happened.
    pub events: u64,
    /// Simulated time, in seconds.
    pub simulated_s: u64,
    /// Whole numbers; the unit ends the name: `_us`, `_ppm` (of a million).
    pub values: BTreeMap<String, u64>,
    /// Curves, row by row.
    pub curves: BTreeMap<String, Vec<Row>>,
    /// What should have been and was not.
    pub failures: Vec<String>,
    /// What was published of the same, for comparison.
    pub published: BTreeMap<String, String>,
    /// How its curve is best drawn.
    #[serde(skip)]
    pub chart: Option<Chart>,
}

/// A picture of a curve.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// The curve.
    pub curve: String,
    /// The column along the bottom, and whether by its logarithm.
    pub x: String,
    /// See `x`.
    pub log_x: bool,
    /// The columns that are lines.
    pub lines: Vec<String>,
    /// A column whose values are lines of their own.
    pub group: Option<String>,
    /// What of the columns is 1 in the picture.
    pub unit: u64,
}

impl Figures {
    /// Notes a number.
    pub(crate) fn set(&mut self, name: &str, value: u64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Adds to a number that several worlds have, or keeps the greatest.
    pub(crate) fn raise(&mut self, name: &str, value: u64, adds: bool) {
        let known = self.values.entry(name.to_owned()).or_default();
        *known = if adds { *known + value } else { (*known).max(value) };
    }

    /// Notes how many of all: as a share of a million, and of how many.
    pub(crate) fn share(&mut self, name: &str, part: u64, all: u64) -> u64 {
        let ppm = ppm(part, all);
        self.set(&format!("{name}_ppm"), ppm);
        self.set(&format!("{name}_of"), all);
        ppm
    }

    /// Notes quantiles and the mean, which has thousandths if there is no unit;
    /// and of how many.
    pub(crate) fn spread(&mut self, name: &str, unit: &str, mut samples: Vec<u64>) {
        samples.sort_unstable();
        for (label, percent) in [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)] {
            self.set(&format!("{name}_{label}{unit}"), quantile(&samples, percent));
        }
        let (finer, scale) = if unit.is_empty() { ("_milli", 1_000) } else { (unit, 1) };
        let sum = samples.iter().sum::<u64>() * scale;
        self.set(&format!("{name}_mean{finer}"), sum.checked_div(samples.len() as u64).unwrap_or(0));
        self.set(&format!("{name}_samples"), samples.len() as u64);
    }

    /// Notes how bad the worst are of what should be many.
    pub(crate) fn worst(&mut self, name: &str, mut samples: Vec<u64>) {
        samples.sort_unstable();
        for (label, percent) in [("min", 0), ("p01", 1), ("p05", 5), ("p50", 50)] {
            self.set(&format!("{name}_{label}"), quantile(&samples, percent));
        }
    }

    /// Notes a failure unless `kept`.
    pub(crate) fn promise(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.failures.push(what());
        }
    }

    pub(crate) fn publish(&mut self, name: &str, text: &str) {
        self.published.insert(name.to_owned(), text.to_owned());
    }
}

/// Parts of a million. Of nothing it is none: who asked nothing has shown nothing,
/// and no promise is kept by that.
pub(crate) fn ppm(part: u64, all: u64) -> u64 {
    (part * 1_000_000).checked_div(all).unwrap_or(0)
}

/// The smallest sample that so many percent are not above.
pub(crate) fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_worlds_sums_and_maxima_are_kept() {
        let mut figures = Figures::default();
        for value in [3, 5, 4] {
            figures.raise("sum", value, true);
            figures.raise("most", value, false);
        }
        assert_eq!((figures.values["sum"], figures.values["most"]), (12, 5));
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&samples, 50), quantile(&samples, 99)), (50, 99));
        assert_eq!((quantile(&[7], 99), quantile(&[], 50)), (7, 0));
        assert_eq!((ppm(1, 3), ppm(0, 0)), (333_333, 0));
    }
}
