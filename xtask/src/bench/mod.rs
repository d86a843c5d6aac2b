//! `cargo xtask bench`: the criterion benchmarks of `benches/`, and whole
//! transfers between processes.

mod add;
mod aria2;
mod collect;
mod contender;
mod find;
mod first;
mod libp2p;
pub(crate) mod peerage;
pub(crate) mod process;
pub(crate) mod report;
mod sendme;
mod store;
mod swarm;
mod torrent;
mod transfer;
pub(crate) mod workspace;

use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::command::{cargo, run as execute};

/// What to measure.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Passed on to criterion, such as a filter or `--save-baseline NAME`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    criterion: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure transfers between processes over loopback, beside other programs
    Transfer(transfer::Options),
    /// Measure a file between some who have it and some who fetch it at once
    Swarm(swarm::Options),
    /// Measure how long a `get` by a link takes until its first byte is out
    First(first::Options),
    /// Measure `add --only-hash`, beside a program that only reads and hashes
    Add(add::Options),
    /// Measure the store beside plain files, and how it opens with up to millions of blocks
    Store(store::Options),
    /// Measure transfers beside a collection of most of a large store
    Collect(collect::Options),
    /// Measure a `get` by nothing but a CID, beside one by a link
    Find(find::Options),
}

/// Runs what was asked for.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    match &options.what {
        Some(What::Transfer(transfer)) => transfer::run(root, transfer),
        Some(What::Swarm(swarm)) => swarm::run(root, swarm),
        Some(What::First(first)) => first::run(root, first),
        Some(What::Add(add)) => add::run(root, add),
        Some(What::Store(store)) => store::run(root, store),
        Some(What::Collect(collect)) => collect::run(root, collect),
        Some(What::Find(find)) => find::run(root, find),
        None => execute(
            cargo(root)
                .args(["bench", "--locked", "--package", "peerage-benches", "--benches", "--"])
                .args(&options.criterion),
        ),
    }
}
