//! `cargo xtask torture`: a store and the program under kills, power cuts and failing
//! disks, with a release build. It is in `tests/torture`; the tests play a little of it.

use std::path::Path;

use anyhow::Result;

use crate::command::{build_bin, cargo, run as execute};

/// Runs it with these arguments.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let mut command = cargo(root);
    command.args(["run", "--locked", "--release", "--package", "peerage-torture", "--"]);
    if args.first().is_some_and(|task| task == "program") {
        command.env("PEERAGE_BIN", build_bin(root, "peerage-node", "peerage", true)?);
    }
    execute(command.args(args))
}
