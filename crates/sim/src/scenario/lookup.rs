//! Look-ups and provides as users have them: among servers that stay, and among
//! servers that come and go.

use std::time::Duration;

use super::{close, config, measure, tally};
use crate::figures::Figures;
use crate::world::{Done, Kind, Setup, World};

/// The age of the oldest record that is looked for, in seconds: 4 h.
const MAX_AGE: u64 = 4 * 3600;

/// Among servers that stay.
pub(super) fn quiet(peers: u32, seed: u64) -> Figures {
    let mut world = World::new(Setup { clients: peers / 5, ..Setup::new(peers, seed) }, config());
    let mut figures = Figures::default();
    let count = 400;
    world.run_for(Duration::from_secs(30));
    measure::provide(&mut world, count, Duration::from_secs(120));
    let provides = tally::finish(&mut world, Duration::from_secs(120));
    let records = measure::records(&provides);
    tally::closest(&mut figures, "provide_closest", &world, &provides, Kind::Provide);
    measure::find(&mut world, &records, count, Duration::from_secs(120));
    let finds = tally::finish(&mut world, Duration::from_secs(120));
    promises(&mut figures, &provides, &finds);
    close(&mut figures, &world);
    figures
}

/// Among servers that come and go as published, with records of up to 4 h.
pub(super) fn churn(peers: u32, seed: u64) -> Figures {
    let setup = Setup { churn: true, clients: peers / 10, ..Setup::new(peers, seed) };
    let mut world = World::new(setup, config());
    let mut figures = Figures::default();
    // Of the oldest, most of those that kept them have left by the end.
    let mut records = measure::place_old(&mut world, 2_000, MAX_AGE - 1_800);
    // Tables fill with those who leave, and are refreshed.
    world.run_for(Duration::from_secs(900));
    measure::provide(&mut world, 1_000, Duration::from_secs(300));
    let provides = tally::finish(&mut world, Duration::from_secs(120));
    let new = measure::records(&provides);
    measure::find_each(&mut world, &new, Duration::from_secs(100));
    let found = tally::finish(&mut world, Duration::from_secs(90));
    let found = tally::finds(&mut figures, "provide_found", &found);
    figures.promise(found >= 999_000, || format!("{found} ppm of what was provided was found"));
    records.extend(new);
    measure::find(&mut world, &records, 3_000, Duration::from_secs(300));
    let oldest = measure::oldest(&world, &records);
    figures.set("oldest_record_s", oldest);
    figures.promise(oldest <= MAX_AGE, || format!("a record is {oldest} s old"));
    let finds = tally::finish(&mut world, Duration::from_secs(120));
    promises(&mut figures, &provides, &finds);
    close(&mut figures, &world);
    figures
}

fn promises(figures: &mut Figures, provides: &[Done], finds: &[Done]) {
    let provided = tally::provides(figures, "provide", provides);
    figures.promise(provided >= 999_000, || format!("{provided} ppm of provides succeeded"));
    let found = tally::finds(figures, "find", finds);
    figures.promise(found >= 999_000, || format!("{found} ppm of look-ups found the provider"));
    for name in ["provide", "find"] {
        let left = figures.values[&format!("{name}_unfinished")];
        figures.promise(left == 0, || format!("{left} of {name} never ended"));
    }
    let hops = figures.values["find_hops_p50"];
    figures.promise(hops <= 5, || format!("{hops} hops in the median"));
    figures.publish("hops", "3 to 5 (Trautwein et al., SIGCOMM 2022; ProbeLab)");
    figures.publish("messages", "about 15 requests a look-up");
    figures.publish("find_whole", "median 0.6 s a DHT walk; retrieval 2.90 / 4.34 / 4.74 s (p50/p90/p95)");
    figures.publish(
        "provide_time",
        "33.8 / 112.3 / 138.1 s (p50/p90/p95, Kubo of 2021); 6 to 7 s now (ProbeLab)",
    );
}
