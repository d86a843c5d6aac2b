//! `cargo xtask`: the one entry point for development commands.

use std::path::Path;

mod codegen;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    codegen::run(root, false)
}
