//! The table of a transfer measurement, and the same as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::contender::Run;

/// All runs of one contender.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// False for our own and for the ceiling.
    rival: bool,
    pub(crate) runs: Vec<Run>,
}

impl Series {
    /// One without runs.
    pub(crate) fn new(name: &'static str, rival: bool) -> Self {
        Self { name, rival, runs: Vec::new() }
    }

    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }

    fn seconds(&self) -> f64 {
        self.median(|run| run.getter.seconds)
    }
}

/// The middle value; of an even number the mean of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn peak(runs: &[Run], of: impl Fn(&Run) -> u64) -> u64 {
    runs.iter().map(of).max().unwrap_or(0)
}

/// How much of the ceiling's speed `series` reaches.
fn ratio(series: &Series, all: &[Series]) -> Option<f64> {
    let ceiling = all.iter().find(|other| other.name == "ceiling")?;
    Some(ceiling.seconds() / series.seconds())
}

#[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Medians per contender; memory is the worst of all runs.
pub(crate) fn table(bytes: u64, all: &[Series]) -> String {
    let mut rows = vec![
        [
            "",
            "ready s",
            "get s",
            "least",
            "most",
            "MB/s",
            "of ceiling",
            "send CPU s",
            "send MB",
            "get CPU s",
            "get MB",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for series in all {
        let seconds = || series.runs.iter().map(|run| run.getter.seconds);
        rows.push(vec![
            series.name.to_owned(),
            format!("{:.2}", series.median(|run| run.ready_seconds)),
            format!("{:.2}", series.seconds()),
            format!("{:.2}", seconds().fold(f64::INFINITY, f64::min)),
            format!("{:.2}", seconds().fold(0.0, f64::max)),
            format!("{:.0}", mega(bytes) / series.seconds()),
            ratio(series, all).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            format!("{:.2}", series.median(|run| run.sender.cpu_seconds)),
            format!("{:.1}", mega(peak(&series.runs, |run| run.sender.peak_rss))),
            format!("{:.2}", series.median(|run| run.getter.cpu_seconds)),
            format!("{:.1}", mega(peak(&series.runs, |run| run.getter.peak_rss))),
        ]);
    }
    aligned(&rows)
}

/// How we stand beside the best rival, in one line; empty if either is missing.
pub(crate) fn verdict(all: &[Series]) -> String {
    let ours = all.iter().find(|series| series.name == "peerage");
    let best = all
        .iter()
        .filter(|series| series.rival)
        .min_by(|one, other| one.seconds().total_cmp(&other.seconds()));
    let (Some(ours), Some(best)) = (ours, best) else { return String::new() };
    format!(
        "peerage takes {:.2} of the time of {}, the best rival\n",
        ours.seconds() / best.seconds(),
        best.name
    )
}

/// Rows of as many cells each, in columns: names to the left, numbers to the right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            match column {
                0 => write!(out, "{cell:<width$}").ok(),
                _ => write!(out, "  {cell:>width$}").ok(),
            };
        }
        out.push('\n');
    }
    out
}

/// Every run and the medians.
pub(crate) fn json(bytes: u64, all: &[Series], absent: &[(&'static str, String)]) -> Value {
    let contenders: Vec<Value> = all
        .iter()
        .map(|series| {
            json!({
                "name": series.name,
                "median_seconds": series.seconds(),
                "mb_per_second": mega(bytes) / series.seconds(),
                "of_ceiling": ratio(series, all),
                "runs": series.runs,
            })
        })
        .collect();
    let absent: Vec<Value> = absent.iter().map(|(name, why)| json!({"name": name, "why": why})).collect();
    json!({"bytes": bytes, "contenders": contenders, "absent": absent})
}

#[cfg(test)]
mod tests {
    use super::super::process::Usage;
    use super::*;

    fn series(name: &'static str, seconds: &[f64]) -> Series {
        let run = |&seconds: &f64| {
            let usage = Usage { seconds, cpu_seconds: 1.0, peak_rss: 20_000_000 };
            Run { ready_seconds: 0.5, sender: usage, getter: usage }
        };
        Series { name, rival: name == "other", runs: seconds.iter().map(run).collect() }
    }

    #[test]
    fn medians_and_ratios() {
        let all = [series("ceiling", &[4.0, 9.0, 5.0]), series("other", &[10.0, 30.0])];
        let value = json(1_000_000_000, &all, &[("sendme", "not there".to_owned())]);
        assert_eq!(value["contenders"][0]["median_seconds"], 5.0);
        assert_eq!(value["contenders"][0]["mb_per_second"], 200.0);
        assert_eq!(value["contenders"][1]["of_ceiling"], 0.25);
        assert_eq!(value["absent"][0]["name"], "sendme");
        let table = table(1_000_000_000, &all);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
        assert!(lines[2].contains("0.25") && lines[2].contains("20.0"), "{table}");
        assert_eq!(verdict(&all), "", "we did not take part");
        let all = [series("peerage", &[5.0]), series("other", &[30.0]), series("other", &[10.0])];
        assert_eq!(verdict(&all), "peerage takes 0.50 of the time of other, the best rival\n");
    }
}
