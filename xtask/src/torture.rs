//! `cargo xtask torture`: a store under kills, power cuts and failing disks, with a
//! release build. It is in `tests/torture`; the tests play a little of it.

use std::path::Path;

use anyhow::Result;

use crate::command::{cargo, run as execute};

/// Runs it with these arguments.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let mut command = cargo(root);
    command.args(["run", "--locked", "--release", "--package", "peerage-torture", "--"]);
    execute(command.args(args))
}
