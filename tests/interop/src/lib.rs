//! The harness of the interop tests: starts real peers as processes, speaks
//! JSON lines with them under deadlines, and ends them when dropped.
//!
//! Everything stays on loopback with ports that the system picks. What the
//! tests need installed is set up by `cargo xtask interop`, which names it in
//! the environment; without that each test fails and says so.

pub mod dag;
pub mod data;
pub mod helia;
pub mod inputs;
pub mod kubo;
pub mod peerage;
pub mod process;
pub mod profile;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

pub use helia::Helia;
pub use kubo::Kubo;
pub use peerage::Peerage;
pub use profile::Profile;

/// The path in environment variable `name`, which `cargo xtask interop` sets.
fn path_from_env(name: &str) -> Result<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: run these tests with `cargo xtask interop`"))
}

/// The string in `field` of a JSON line.
///
/// # Errors
/// If there is none.
pub fn text(line: &Value, field: &str) -> Result<String> {
    line[field].as_str().map(str::to_owned).with_context(|| format!("no string `{field}` in {line}"))
}

/// The strings in the array `field` of a JSON line.
///
/// # Errors
/// If there is no such array, or it is empty.
pub fn texts(line: &Value, field: &str) -> Result<Vec<String>> {
    let list: Vec<String> =
        line[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    anyhow::ensure!(!list.is_empty(), "no strings in `{field}` of {line}");
    Ok(list)
}
