//! `cargo xtask`: the one entry point for development commands. CI runs
//! `cargo xtask ci` and nothing else.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod codegen;
mod command;
mod fuzz;
mod interop;
mod layers;
mod netlab;
mod plot;
mod proof;
mod sim;
mod tidy;
mod torture;

/// Development commands of Peerage.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every test that needs nothing but Rust and a C compiler
    Test {
        /// Passed on to `cargo test`, such as `-p peerage-wire` or a filter
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run what CI runs: tests first, then every check, then interop
    Ci,
    /// Write the prost types of `crates/wire` from `proto/`
    Codegen {
        /// Only say whether they are current
        #[arg(long)]
        check: bool,
    },
    /// Check that each crate uses only crates of lower rows
    Layers,
    /// Check that each source file opens with `//!` and is of readable length
    Tidy,
    /// Run the tests against Helia, Kubo and rust-libp2p, with their set-up
    Interop {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Run the system tests in the sizes that are promised, with release builds
    Proof {
        /// Only those whose name contains this
        filter: Option<String>,
    },
    /// Play a scenario in the simulator; `--list` names them
    #[command(disable_help_flag = true)]
    Sim {
        /// Scenario, `--peers N`, `--seed S` or `--seeds A..B`, `--json F`, `--plot F`, `--debug`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Try to make a store or the program break its word: `store --rounds N`, `program --rounds N`,
    /// `doubles --seeds N`
    #[command(disable_help_flag = true)]
    Torture {
        /// What is done, and how often
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run decoders under libFuzzer with AddressSanitizer; `--list` names them
    Fuzz(fuzz::Options),
    /// Run the criterion benchmarks, or `transfer`
    Bench(bench::Options),
    /// Measure transfers over lines with delay, rate and loss, beside plain TCP on the same
    Netlab(netlab::Options),
}

fn main() -> Result<()> {
    let root = root();
    match Options::parse().task {
        Task::Test { args } => ci::test(&root, &args),
        Task::Ci => ci::run(&root),
        Task::Codegen { check } => codegen::run(&root, check),
        Task::Layers => layers::check(&root),
        Task::Tidy => tidy::check(&root),
        Task::Interop { filter } => interop::run(&root, filter.as_deref()),
        Task::Proof { filter } => proof::run(&root, filter.as_deref()),
        Task::Sim { args } => sim::run(&root, &args),
        Task::Torture { args } => torture::run(&root, &args),
        Task::Fuzz(options) => fuzz::run(&root, &options),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Netlab(options) => netlab::run(&root, &options),
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}
