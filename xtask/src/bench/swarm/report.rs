//! The table of a swarm measurement.

use super::super::report::{aligned, median};
use super::{Got, Play, Series};

/// When the last one had it, in seconds.
pub(super) fn last(getters: &[Got]) -> f64 {
    getters.iter().map(|got| got.seconds).fold(0.0, f64::max)
}

fn first(getters: &[Got]) -> f64 {
    getters.iter().map(|got| got.seconds).fold(f64::INFINITY, f64::min)
}

#[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
fn number(value: u64) -> f64 {
    value as f64
}

/// What was played.
pub(super) fn headline(play: &Play, runs: u32) -> String {
    let up = play.up.map_or("no limit".to_owned(), |up| format!("{:.1} MB/s", number(up) / 1e6));
    let bound =
        play.fluid_bound().map_or(String::new(), |bound| format!("; the fluid bound is {bound:.2} s"));
    format!(
        "{} bytes from {} to {}, each sending {up}; {runs} runs, interleaved; medians, memory the peak of all\n\
         getters{bound}. \"twice\" is what came more than once.",
        play.bytes, play.seeders, play.getters
    )
}

/// A row for each program: medians over its runs.
pub(super) fn table(play: &Play, all: &[Series]) -> String {
    let head = ["", "first s", "last s", "MB/s", "of bound", "of one", "twice %", "get MB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for series in all {
        let of = |figure: &dyn Fn(&[Got]) -> f64| median(series.runs.iter().map(|run| figure(run)).collect());
        let seconds = of(&|run| last(run));
        let rate = f64::from(play.getters) * number(play.bytes) / seconds;
        let single = (!series.single.is_empty())
            .then(|| number(play.bytes) / median(series.single.iter().map(|run| last(run)).collect()));
        let twice = of(&|run| {
            let twice: Option<u64> = run.iter().map(|got| got.duplicate_bytes).sum();
            twice.map_or(f64::NAN, |twice| {
                100.0 * number(twice) / (number(play.bytes) * f64::from(play.getters))
            })
        });
        let peak = series.runs.iter().flatten().map(|got| got.usage.peak_rss).max().unwrap_or(0);
        let cell = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        rows.push(vec![
            series.name.to_owned(),
            format!("{:.2}", of(&|run| first(run))),
            format!("{seconds:.2}"),
            format!("{:.1}", rate / 1e6),
            cell(play.fluid_bound().map(|bound| seconds / bound)),
            cell(single.map(|single| rate / single)),
            cell(Some(twice).filter(|twice| twice.is_finite())),
            format!("{:.1}", number(peak) / 1e6),
        ]);
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::super::super::process::Usage;
    use super::*;

    #[test]
    fn figures_are_those_of_the_last_getter() {
        let got = |seconds| {
            let usage = Usage { seconds, cpu_seconds: 1.0, peak_rss: 5_000_000 };
            Got { seconds, duplicate_bytes: Some(20), usage, dest: "x".into() }
        };
        let play = Play { bytes: 1000, seeders: 1, getters: 2, up: Some(100) };
        let series = Series { name: "p", runs: vec![vec![got(11.0), got(12.5)]], single: Vec::new() };
        let limited = table(&play, &[series]);
        let row: Vec<&str> = limited.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["p", "11.00", "12.50", "0.0", "1.25", "2.00", "5.0"]);

        let series = Series { name: "p", runs: vec![vec![got(4.0), got(5.0)]], single: vec![vec![got(2.0)]] };
        let free = table(&Play { up: None, ..play }, &[series]);
        let row: Vec<&str> = free.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["p", "4.00", "5.00", "0.0", "0.80", "2.00", "5.0"]);
    }
}
