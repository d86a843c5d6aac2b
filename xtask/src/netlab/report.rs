//! The table of a lab, the same as JSON with every run, and as curves.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::play::Trial;
use crate::bench::report::{aligned, median};

/// What the line was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Setting {
    /// The round trip, in milliseconds.
    pub(crate) rtt_ms: u64,
    /// Packets lost each way, in parts of a million.
    pub(crate) loss_ppm: u32,
}

/// All runs over one line.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) setting: Setting,
    pub(crate) tcp: Vec<Trial>,
    pub(crate) peerage: Vec<Trial>,
}

/// Bytes a second, by the median of the seconds.
fn speed(bytes: u64, trials: &[Trial]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
    let bytes = bytes as f64;
    bytes / median(trials.iter().map(|trial| trial.getter.seconds).collect())
}

/// Parts of a million as a percentage, with no more digits than it takes.
fn percent(ppm: u32) -> String {
    format!("{}", f64::from(ppm) / 1e4)
}

/// The table.
pub(crate) fn table(bytes: u64, outcomes: &[Outcome]) -> String {
    let head = ["rtt ms", "loss %", "TCP MB/s", "peerage MB/s", "ratio", "TCP s", "peerage s", "late"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let (tcp, ours) = (speed(bytes, &outcome.tcp), speed(bytes, &outcome.peerage));
        let seconds = |trials: &[Trial]| median(trials.iter().map(|trial| trial.getter.seconds).collect());
        rows.push(vec![
            outcome.setting.rtt_ms.to_string(),
            percent(outcome.setting.loss_ppm),
            format!("{:.1}", tcp / 1e6),
            format!("{:.1}", ours / 1e6),
            format!("{:.2}", ours / tcp),
            format!("{:.2}", seconds(&outcome.tcp)),
            format!("{:.2}", seconds(&outcome.peerage)),
            late(outcome),
        ]);
    }
    aligned(&rows)
}

/// How many packets the forwarder wrote more than a millisecond late, in percent.
fn late(outcome: &Outcome) -> String {
    let lines = || outcome.tcp.iter().chain(&outcome.peerage).flat_map(|trial| &trial.line);
    let (late, all) = lines().fold((0, 0), |sum, line| (sum.0 + line.late, sum.1 + line.packets));
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
    let share = late as f64 / all.max(1) as f64;
    format!("{:.2} %", share * 100.0)
}

/// Every run, and the medians.
pub(crate) fn json(bytes: u64, line: &Value, outcomes: &[Outcome]) -> Value {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let (tcp, ours) = (speed(bytes, &outcome.tcp), speed(bytes, &outcome.peerage));
            json!({
                "rtt_ms": outcome.setting.rtt_ms,
                "loss_ppm": outcome.setting.loss_ppm,
                "tcp_mb_per_second": tcp / 1e6,
                "peerage_mb_per_second": ours / 1e6,
                "ratio": ours / tcp,
                "tcp": outcome.tcp,
                "peerage": outcome.peerage,
            })
        })
        .collect();
    json!({"bytes": bytes, "line": line, "settings": rows})
}

/// Throughput by round trip, a line for each contender and loss, as `plot` takes it.
pub(crate) fn picture(title: &str, bytes: u64, outcomes: &[Outcome]) -> Value {
    let mut lines: Vec<String> = Vec::new();
    let mut rows: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    for outcome in outcomes {
        let Setting { rtt_ms, loss_ppm } = outcome.setting;
        let row = rows.entry(rtt_ms).or_default();
        row.insert("round trip, ms".to_owned(), rtt_ms);
        for (who, trials) in [("TCP", &outcome.tcp), ("peerage", &outcome.peerage)] {
            let name = format!("{who}, {} % lost", percent(loss_ppm));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a picture's points"
            )]
            row.insert(name.clone(), speed(bytes, trials) as u64);
            if !lines.contains(&name) {
                lines.push(name);
            }
        }
    }
    let rows: Vec<_> = rows.into_values().collect();
    json!({"title": title, "x": "round trip, ms", "lines": lines, "unit": 1_000_000, "rows": rows})
}

#[cfg(test)]
mod tests {
    use super::super::forward::Tally;
    use super::*;
    use crate::bench::process::Usage;

    fn outcome(rtt_ms: u64, loss_ppm: u32, tcp: &[f64], peerage: &[f64]) -> Outcome {
        let trial = |&seconds: &f64| {
            let usage = Usage { seconds, cpu_seconds: 1.0, peak_rss: 20_000_000 };
            let line = Tally { packets: 1_000, late: 1, ..Tally::default() };
            Trial { sender: usage, getter: usage, line: [line.clone(), line] }
        };
        Outcome {
            setting: Setting { rtt_ms, loss_ppm },
            tcp: tcp.iter().map(trial).collect(),
            peerage: peerage.iter().map(trial).collect(),
        }
    }

    #[test]
    fn medians_and_ratios() {
        let all = [outcome(60, 1_000, &[2.0, 9.0, 4.0], &[5.0]), outcome(200, 0, &[1.0], &[1.0])];
        let value = json(100_000_000, &json!({}), &all);
        assert_eq!(value["settings"][0]["tcp_mb_per_second"], 25.0);
        assert_eq!(value["settings"][0]["ratio"], 0.8);
        let table = table(100_000_000, &all);
        let line = table.lines().nth(1).unwrap();
        assert!(line.contains(" 0.1 ") && line.contains("0.80") && line.contains("0.10 %"), "{table}");
    }

    #[test]
    fn a_picture_has_a_line_for_each_contender_and_loss() {
        let all = [
            outcome(0, 0, &[1.0], &[2.0]),
            outcome(0, 10_000, &[2.0], &[4.0]),
            outcome(60, 0, &[5.0], &[5.0]),
        ];
        let picture = picture("", 100_000_000, &all);
        assert_eq!(picture["lines"].as_array().unwrap().len(), 4);
        assert_eq!(picture["rows"][0]["peerage, 1 % lost"], 25_000_000);
        assert_eq!(picture["rows"][1]["TCP, 0 % lost"], 20_000_000);
        assert_eq!(picture["rows"][1]["round trip, ms"], 60);
    }
}
