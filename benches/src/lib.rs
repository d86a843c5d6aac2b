//! Benchmarks: `benches/hot_paths` by criterion, and `src/bin/ceiling.rs`, the
//! yardstick of `cargo xtask bench transfer`. Nothing to use from outside.
