//! Peers on a local network: what happens is in `src/bin/lan.rs`, `near.rs`
//! and `moving.rs`, within a user and a network namespace that `unshare`
//! makes without privileges. A machine that does not allow that cannot show
//! this, and fails.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

#[test]
fn peers_find_each_other_between_network_namespaces() -> Result<()> {
    alone(env!("CARGO_BIN_EXE_lan"))
}

#[test]
fn a_bare_cid_is_fetched_between_network_namespaces() -> Result<()> {
    alone(env!("CARGO_BIN_EXE_near"))
}

#[test]
fn an_address_that_comes_later_is_announced() -> Result<()> {
    alone(env!("CARGO_BIN_EXE_moving"))
}

/// Runs a program in namespaces of its own.
fn alone(program: &str) -> Result<()> {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(program)
        .output()
        .context("starting `unshare` (Debian: util-linux)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "in namespaces of its own it failed ({}); this needs user namespaces, `unshare`, `nsenter` and `ip`: {said}",
        output.status
    );
    Ok(())
}
