//! `cargo xtask interop`: builds the program, sets up the foreign peers and
//! runs the tests of `tests/interop`, a workspace of its own.

mod setup;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::{build_bin, cargo, run as execute};

/// Runs the interop tests whose names contain `filter`, or all.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<()> {
    let place = root.join("tests/interop");
    let helia = setup::helia(&place).context("setting up Helia")?;
    let python = setup::kubo(&place).context("setting up Kubo")?;
    setup::router()?;
    let peerage = build_bin(root, "peerage-node", "peerage", false)?;
    let mut tests = cargo(&place);
    tests
        .args(["test", "--workspace", "--locked"])
        .args(filter)
        .env("PEERAGE_BIN", peerage)
        .env("PEERAGE_INTEROP_HELIA", helia)
        .env("PEERAGE_INTEROP_PYTHON", python);
    execute(&mut tests)
}
