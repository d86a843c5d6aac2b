//! `cargo xtask codegen`: the prost types of `crates/wire`, from `/proto`.
//!
//! `protox` stands in for protoc, and the result is checked in, so that a
//! crate taken alone needs neither protoc nor a build script.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The wire modules, each from the `.proto` file of its name.
const MODULES: &[&str] =
    &["autonat", "autonat_v2", "bitswap", "envelope", "identify", "ipns", "kad", "keys", "noise", "swarm"];

/// Writes the generated files, or with `check` compares them with what is there.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let target = root.join("crates/wire/src/generated");
    let fresh = root.join("target/codegen");
    fs::create_dir_all(&fresh)?;
    let files: Vec<String> = MODULES.iter().map(|name| format!("{name}.proto")).collect();
    let descriptors = protox::compile(&files, [root.join("proto")]).context("reading /proto")?;
    prost_build::Config::new()
        .out_dir(&fresh)
        .bytes(["."])
        .compile_fds(descriptors)
        .context("generating prost types")?;
    fs::create_dir_all(&target)?;
    for name in MODULES {
        let code = fs::read_to_string(fresh.join(format!("peerage.{name}.rs")))?;
        let path = target.join(format!("{name}.rs"));
        let current = fs::read_to_string(&path).unwrap_or_default();
        if current == code {
            continue;
        }
        if check {
            bail!("{} is not what /proto gives; run `cargo xtask codegen`", path.display());
        }
        fs::write(&path, code)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
