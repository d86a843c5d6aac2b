//! Every scenario in a small world: its invariants hold, it keeps its promises,
//! and it replays.

use peerage_sim::{Figures, SCENARIOS, Scenario};

fn play(name: &str, peers: u32, seed: u64) -> Figures {
    Scenario::named(name).expect("it is listed").play(peers, seed)
}

fn json(figures: &Figures) -> String {
    serde_json::to_string_pretty(figures).expect("figures are plain")
}

#[test]
fn a_seed_replays_and_another_differs() {
    let first = play("storm", 60, 7);
    assert_eq!(json(&first), json(&play("storm", 60, 7)));
    assert_ne!(first.trace, play("storm", 60, 8).trace);
}

#[test]
fn promises_are_kept_in_small_worlds() {
    // The others take long, or are about large worlds.
    for name in ["lookup", "fetch", "nat", "storm"] {
        let figures = play(name, 60, 1);
        assert!(figures.failures.is_empty(), "{name}: {:?}", figures.failures);
        assert!(figures.events > 10_000, "{name}: {} events", figures.events);
    }
}

#[test]
fn names_are_distinct() {
    let mut names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCENARIOS.len());
    assert!(Scenario::named("no such").is_none());
}

#[test]
fn a_curve_is_drawn() {
    let figures = play("scale", 80, 1);
    let chart = figures.chart.as_ref().expect("it has a curve");
    let folder = std::env::temp_dir().join(format!("peerage-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("scale.svg");
    peerage_sim::draw(chart, &figures.curves[&chart.curve], &path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("hops_mean_milli"), "{svg}");
}
