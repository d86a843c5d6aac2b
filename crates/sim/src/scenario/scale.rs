//! How look-ups grow with the network: hops, messages and time at 1,000 servers
//! and at each half power of ten more, up to as many as are asked for. The servers
//! come and go as in `churn`, but for a minute of simulated time: tables hold hardly
//! anyone who has left.

use std::time::Duration;

use super::{close, config, measure, tally};
use crate::figures::{Chart, Figures, Row};
use crate::world::{Setup, World};

/// The age of the oldest record that is looked for, in seconds: under 4 h.
const MAX_AGE: u64 = 4 * 3600 - 600;

const SIZES: [u32; 5] = [1_000, 3_162, 10_000, 31_623, 100_000];

pub(super) fn play(peers: u32, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let mut rows = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size < peers).chain([peers]) {
        rows.push(at_size(size, seed, &mut figures));
    }
    if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
        let (small, large) = (first["hops_mean_milli"], last["hops_mean_milli"]);
        // log2 of 100 is under 7: more than that many hops more is not logarithmic.
        figures.promise(large <= small + 4_000, || format!("hops grow from {small} to {large} thousandths"));
    }
    figures.curves.insert("scale".to_owned(), rows);
    figures.chart = Some(Chart {
        title: "hops of a look-up in the mean, by servers".to_owned(),
        curve: "scale".to_owned(),
        x: "peers".to_owned(),
        log_x: true,
        lines: vec!["hops_mean_milli".to_owned()],
        group: None,
        unit: 1_000,
    });
    figures
}

fn at_size(size: u32, seed: u64, figures: &mut Figures) -> Row {
    let setup = Setup { churn: true, clients: size / 10, ..Setup::new(size, seed) };
    let mut world = World::new(setup, config());
    let mut part = Figures::default();
    let mut records = measure::place_old(&mut world, 200, MAX_AGE);
    world.run_for(Duration::from_secs(20));
    measure::provide(&mut world, 200, Duration::from_secs(20));
    let done = tally::finish(&mut world, Duration::from_secs(60));
    let provided = tally::provides(&mut part, "provide", &done);
    figures.promise(provided >= 990_000, || format!("{provided} ppm provided at {size} servers"));
    records.extend(measure::records(&done));
    measure::find(&mut world, &records, 400, Duration::from_secs(20));
    let done = tally::finish(&mut world, Duration::from_secs(60));
    let found = tally::finds(&mut part, "find", &done);
    figures.promise(found >= 990_000, || format!("{found} ppm found at {size} servers"));
    close(figures, &world);
    let reports: Vec<_> = done.iter().filter_map(crate::world::Done::report).collect();
    let milli = |sum: u64| sum * 1_000 / (reports.len() as u64).max(1);
    let mut row = Row::new();
    row.insert("peers".to_owned(), size.into());
    row.insert("hops_mean_milli".to_owned(), milli(reports.iter().map(|r| u64::from(r.hops)).sum()));
    let asked = reports.iter().map(|report| u64::from(report.asked)).sum();
    row.insert("messages_mean_milli".to_owned(), milli(asked));
    row.insert("found_ppm".to_owned(), found);
    row.insert("provided_ppm".to_owned(), provided);
    for name in ["hops_p50", "hops_p95", "messages_p50", "messages_p95"] {
        row.insert(name.to_owned(), part.values[&format!("find_{name}")]);
    }
    for name in ["whole_p50_us", "whole_p95_us", "first_provider_p50_us", "first_provider_p95_us"] {
        row.insert(name.to_owned(), part.values[&format!("find_{name}")]);
    }
    row
}
