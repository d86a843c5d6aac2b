//! A home router that others wrote, miniupnpd, passes connections on to us.
//! What happens is in `src/bin/router.rs`, within a user and a network namespace.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

fn behind_a_router(speaks: &str) -> Result<()> {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(env!("CARGO_BIN_EXE_router"))
        .arg(speaks)
        .output()
        .context("starting `unshare` (Debian: util-linux)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "in namespaces of its own it failed ({}): {said}", output.status);
    Ok(())
}

#[test]
fn a_port_is_mapped_by_upnp_and_removed_at_the_end() -> Result<()> {
    behind_a_router("upnp")
}

#[test]
fn a_port_is_mapped_by_pcp_and_removed_at_the_end() -> Result<()> {
    behind_a_router("pcp")
}
