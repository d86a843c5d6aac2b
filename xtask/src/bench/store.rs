//! `cargo xtask bench store`: how fast the store takes and gives blocks, beside plain
//! writes and reads of a file in the same run, and how it opens with many blocks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use super::report::{aligned, median};
use crate::command::build_bin;
use crate::plot;

/// How much, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bytes in blocks of each size, in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    mib: u64,
    /// How often speeds are measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Numbers of blocks of 128 bytes to open a store with
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000")]
    blocks: Vec<u64>,
    /// Draw the second table as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// The lines of the picture.
const OPENING: &str = "open, ms";
const MEMORY: &str = "memory, MB";

/// What a run of the program printed: numbers by their names.
type Printed = BTreeMap<String, f64>;

fn printed(program: &Path, args: &[&str]) -> Result<Printed> {
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "`store {}` failed", args.join(" "));
    let text = String::from_utf8(output.stdout)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect()
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let program = build_bin(root, "peerage-benches", "store", true)?;
    speeds(&program, options)?;
    println!();
    sizes(root, &program, options)
}

fn speeds(program: &Path, options: &Options) -> Result<()> {
    let mib = options.mib.to_string();
    let mut runs: Vec<Printed> = Vec::new();
    for _ in 0..options.runs {
        let dir = tempfile::tempdir()?;
        runs.push(printed(program, &["speed", &dir.path().to_string_lossy(), &mib])?);
    }
    let seconds = |name: &str| median(runs.iter().filter_map(|run| run.get(name).copied()).collect());
    let ratio = |ours: &str, plain: &str| {
        let each = runs.iter().filter_map(|run| Some(run.get(plain)? / run.get(ours)?));
        median(each.collect())
    };
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
    let bytes = (options.mib << 20) as f64;
    let small = bytes / 4096.0;
    let mb = |name: &str| format!("{:.0} MB/s", bytes / 1e6 / seconds(name));
    let thousands = |name: &str| format!("{:.0} k/s", small / 1e3 / seconds(name));
    let row = |name: &str, figure: String, of: Option<f64>| {
        vec![name.to_owned(), figure, of.map_or(String::new(), |of| format!("{of:.2}"))]
    };
    let rows = [
        row("", "median".into(), None),
        row("plain writes of 1 MiB, then sync", mb("plain_write"), Some(1.0)),
        row("put blocks of 1 MiB, then sync", mb("put_1mib"), Some(ratio("put_1mib", "plain_write"))),
        row("plain reads of 1 MiB", mb("plain_read"), Some(1.0)),
        row("get blocks of 1 MiB", mb("get_1mib"), Some(ratio("get_1mib", "plain_read"))),
        row("put blocks of 4 KiB, then sync", thousands("put_4kib"), None),
        row("get blocks of 4 KiB", thousands("get_4kib"), None),
        row("has, for blocks that are there", thousands("has_there"), None),
        row("has, for blocks that are not", thousands("has_absent"), None),
    ];
    println!("{} MiB of each, {} runs; ratios are of the same run", options.mib, options.runs);
    print!("{}", aligned(&rows));
    Ok(())
}

fn sizes(root: &Path, program: &Path, options: &Options) -> Result<()> {
    let head = ["blocks", "fill s", "packs", "disk MB", "sled MB", "open s", "idle MB", "index B/block"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut points = Vec::new();
    for blocks in &options.blocks {
        let dir = tempfile::tempdir()?;
        let path = dir.path().to_string_lossy().into_owned();
        let filled = printed(program, &["fill", &path, &blocks.to_string()])?;
        let opened = printed(program, &["open", &path])?;
        let of = |printed: &Printed, name: &str| printed.get(name).copied().unwrap_or(f64::NAN);
        let (open, rss) = (of(&opened, "open"), of(&opened, "rss"));
        #[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
        let each = of(&opened, "index_memory") / *blocks as f64;
        rows.push(vec![
            blocks.to_string(),
            format!("{:.1}", of(&filled, "fill")),
            format!("{:.0}", of(&filled, "packs")),
            format!("{:.1}", of(&filled, "disk_bytes") / 1e6),
            format!("{:.1}", of(&filled, "index_bytes") / 1e6),
            format!("{open:.3}"),
            format!("{:.1}", rss / 1e6),
            format!("{each:.2}"),
        ]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a picture's points")]
        points.push(json!({"blocks": blocks, OPENING: (open * 1e3) as u64, MEMORY: (rss / 1e6) as u64}));
    }
    println!("Blocks of 128 bytes, after a clean close");
    print!("{}", aligned(&rows));
    let Some(file) = &options.plot else { return Ok(()) };
    let picture = json!({
        "title": "A store of blocks of 128 bytes: opening, and memory when idle",
        "x": "blocks",
        "log_x": true,
        "lines": [OPENING, MEMORY],
        "unit": 1,
        "rows": points,
    });
    plot::draw(&build_bin(root, "peerage-benches", "plot", false)?, &picture, file)
}
