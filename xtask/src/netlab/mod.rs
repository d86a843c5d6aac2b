//! `cargo xtask netlab`: whole transfers over lines with a delay, a rate and loss, beside
//! a plain TCP stream over the same.
//!
//! Two network namespaces are joined by a forwarder in user space, so that it takes no
//! privileges and no `netem` in the kernel: a TUN device in each, and `line.rs` between
//! them. Nothing of it is seen outside or stays behind.

mod forward;
mod lab;
mod line;
mod namespace;
mod play;
mod report;
mod stream;
mod tun;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;

use self::lab::{Between, Lab};
use self::line::Spec;
use self::play::Players;
use self::report::{Outcome, Setting};
use self::stream::Stream;
use crate::command::{build_bin, output};
use crate::plot;

/// Parts of a million in a percent.
const PPM_OF_PERCENT: f64 = 1e4;

/// What to send, how often, and over which lines.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Round trips, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "0,20,60,200", value_name = "MS,..")]
    rtt: Vec<u64>,
    /// Packets that are lost each way, in percent
    #[arg(long, value_delimiter = ',', default_value = "0,0.1,1", value_parser = parse_percent, value_name = "PERCENT,..")]
    loss: Vec<u32>,
    /// Bytes a second each way, headers of IP and TCP included
    #[arg(long, default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Bytes of the file
    #[arg(long, default_value_t = 512 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What the losses are drawn from; each run has its own, the same for both contenders
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes of the largest packet. Small ones take the forwarder more of the processor
    #[arg(long, default_value_t = 9_000, value_parser = clap::value_parser!(u16).range(1_280..))]
    mtu: u16,
    /// TCP congestion control of both ends, such as cubic or bbr; else the machine's
    #[arg(long)]
    congestion: Option<String>,
    /// Also write every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw throughput by round trip as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// We are in namespaces of our own, and this is the program to try
    #[arg(long, hide = true, value_name = "PROGRAM")]
    inside: Option<PathBuf>,
    /// The program that draws
    #[arg(long, hide = true, value_name = "PROGRAM")]
    plotter: Option<PathBuf>,
    #[command(subcommand)]
    stream: Option<Stream>,
}

fn parse_percent(text: &str) -> Result<u32, String> {
    let percent: f64 = text.parse().map_err(|_| format!("{text:?} is no percentage, such as 0.1"))?;
    if !(0.0..100.0).contains(&percent) {
        return Err(format!("{text} % cannot be lost: from 0 to below 100 can"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a million")]
    let ppm = (percent * PPM_OF_PERCENT).round() as u32;
    Ok(ppm)
}

/// Measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    match (&options.stream, &options.inside) {
        (Some(stream), _) => stream.run(),
        (None, Some(program)) => measure(program, options),
        (None, None) => enter(root, options),
    }
}

/// Becomes the same command, in a user and a network namespace of its own. What is to be
/// run is built before, where there is a network.
fn enter(root: &Path, options: &Options) -> Result<()> {
    let namespaces = ["--user", "--map-root-user", "--net", "--"];
    output(Command::new("unshare").args(namespaces).arg("true"))
        .context("netlab needs user and network namespaces, and this system does not let us make them")?
        .context("netlab needs `unshare` (Debian: util-linux)")?;
    let mut inside = Command::new("unshare");
    inside.args(namespaces).arg(std::env::current_exe().context("finding our own program")?);
    inside.args(std::env::args_os().skip(1));
    inside.arg("--inside").arg(build_bin(root, "peerage-node", "peerage", true)?);
    if options.svg.is_some() {
        inside.arg("--plotter").arg(build_bin(root, "peerage-benches", "plot", false)?);
    }
    Err(inside.exec()).context("starting `unshare`")
}

fn measure(program: &Path, options: &Options) -> Result<()> {
    let between = |setting: Setting, run: u32| -> Result<Between> {
        let line = Spec::of_path(options.rate, Duration::from_millis(setting.rtt_ms), setting.loss_ppm)?;
        let seed = options.seed.wrapping_mul(1_000).wrapping_add(u64::from(run));
        Ok(Between { line, mtu: options.mtu, seed, congestion: options.congestion.clone() })
    };
    let settings: Vec<Setting> = (options.loss.iter())
        .flat_map(|&loss_ppm| options.rtt.iter().map(move |&rtt_ms| Setting { rtt_ms, loss_ppm }))
        .collect();
    let first = *settings.first().context("no round trip, or no loss, is named")?;
    // Also what is missing is told before the file is made.
    let congestion = Lab::new(&between(first, 0)?)?.getter.congestion()?;

    let players = Players::new(program, options.size)?;
    let mut outcomes = Vec::new();
    for setting in settings {
        let mut outcome = Outcome { setting, tcp: Vec::new(), peerage: Vec::new() };
        for run in 1..=options.runs {
            let between = between(setting, run)?;
            outcome.tcp.push(players.tcp(&between).context("plain TCP")?);
            outcome.peerage.push(players.peerage(&between).context("peerage")?);
        }
        eprint!("{}", report::table(options.size, std::slice::from_ref(&outcome)));
        outcomes.push(outcome);
    }
    ensure!(!outcomes.is_empty(), "nothing was measured");

    println!(
        "A file of {} random bytes over a line of {} bytes/s, MTU {}, {congestion}; {} runs, interleaved, medians.\n\
         Seconds are those of the whole getting process; \"late\" is what the line delivered over 1 ms late.",
        options.size, options.rate, options.mtu, options.runs,
    );
    print!("{}", report::table(options.size, &outcomes));
    if let Some(path) = &options.json {
        let line = json!({
            "rate": options.rate, "mtu": options.mtu, "congestion": congestion, "seed": options.seed,
        });
        let text = serde_json::to_string_pretty(&report::json(options.size, &line, &outcomes))?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    if let (Some(path), Some(plotter)) = (&options.svg, &options.plotter) {
        let title =
            format!("MB/s by round trip, over {:.0} MB/s with {congestion}", options.rate as f64 / 1e6);
        plot::draw(plotter, &report::picture(&title, options.size, &outcomes), path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_parsed_in_percent() {
        assert_eq!(parse_percent("0.1"), Ok(1_000));
        assert_eq!(parse_percent("1"), Ok(10_000));
        assert!(parse_percent("100").is_err() && parse_percent("-1").is_err() && parse_percent("x").is_err());
    }
}
