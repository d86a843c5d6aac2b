//! `plot FILE` draws the picture that stdin describes, as JSON. `cargo xtask` runs it, which
//! need not be built with all that drawing takes.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use peerage_sim::{Chart, Row, draw};
use serde::Deserialize;

/// A chart, and what is in it.
#[derive(Deserialize)]
struct Picture {
    #[serde(flatten)]
    chart: Chart,
    rows: Vec<Row>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file] = &args[..] else { bail!("usage: plot FILE") };
    let picture: Picture = serde_json::from_reader(std::io::stdin()).context("reading stdin")?;
    draw(&picture.chart, &picture.rows, Path::new(file))
}
