//! Pictures of figures: described as JSON, drawn by a program of `benches`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Draws as SVG what `picture` describes: a `peerage_sim::Chart`, and its `rows`. The program
/// is that of `cargo xtask`'s own build of `plot`.
pub(crate) fn draw(program: &Path, picture: &Value, file: &Path) -> Result<()> {
    let mut drawing = Command::new(program).arg(file).stdin(Stdio::piped()).spawn()?;
    let input = drawing.stdin.take().context("its input is not piped")?;
    serde_json::to_writer(input, picture)?;
    ensure!(drawing.wait()?.success(), "{} could not be drawn", file.display());
    Ok(())
}
