//! The simulator: events of a second of a core, of all that a small world does.

use criterion::{Criterion, Throughput};
use peerage_sim::Scenario;

pub(crate) fn bench(c: &mut Criterion) {
    let storm = Scenario::named("storm").expect("a scenario");
    let mut group = c.benchmark_group("sim");
    // A run takes seconds; the same seed does the same.
    group.sample_size(10);
    group.throughput(Throughput::Elements(storm.play(100, 1).events));
    group.bench_function("events/storm of 100 peers", |b| b.iter(|| storm.play(100, 1)));
    group.finish();
}
