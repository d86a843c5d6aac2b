//! `cargo xtask proof`: the system tests in the sizes that are promised, with
//! release builds. They are in `tests/src/bin/proof`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::{build_bin, run as execute};

/// Builds and runs them; `filter` is part of their names.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<()> {
    let program = build_bin(root, "peerage-node", "peerage", true)?;
    let proof = build_bin(root, "peerage-tests", "proof", true)?;
    execute(Command::new(proof).env("PEERAGE_BIN", program).args(filter))
}
