//! `cargo xtask ci`: every check, timed, stopping at the first that fails.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::command::{cargo, run as execute};
use crate::{codegen, interop, layers, sim, tidy};

/// One step of CI.
struct Step {
    name: &'static str,
    /// What to type to run this step alone.
    repeat: &'static str,
    run: fn(&Path) -> Result<()>,
}

/// In order: first what a newcomer runs, then from quick to slow.
const STEPS: &[Step] = &[
    Step { name: "test", repeat: "cargo xtask test", run: |root| test(root, &[]) },
    Step { name: "fmt", repeat: "cargo fmt --all --check", run: fmt },
    Step {
        name: "lock",
        repeat: "for dir in tests/interop fuzz; do (cd $dir && cargo fetch --locked); done",
        run: locks,
    },
    Step { name: "tidy", repeat: "cargo xtask tidy", run: tidy::check },
    Step { name: "layers", repeat: "cargo xtask layers", run: layers::check },
    Step { name: "codegen", repeat: "cargo xtask codegen --check", run: |root| codegen::run(root, true) },
    Step {
        name: "clippy",
        repeat: "cargo clippy --workspace --all-targets --locked -- -D warnings",
        run: clippy,
    },
    Step {
        name: "doc",
        repeat: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked",
        run: doc,
    },
    Step { name: "sim", repeat: "cargo xtask sim storm --peers 1000 --seeds 1..20", run: sim::check },
    Step { name: "interop", repeat: "cargo xtask interop", run: |root| interop::run(root, None) },
    Step {
        name: "interop clippy",
        repeat: "(cd tests/interop && cargo clippy --workspace --all-targets --locked -- -D warnings)",
        run: interop_clippy,
    },
];

/// Runs all steps and prints how long each took.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut taken = Vec::new();
    let mut result = Ok(());
    for step in STEPS {
        eprintln!("\n== {}", step.name);
        let start = Instant::now();
        result = (step.run)(root);
        taken.push((step.name, start.elapsed().as_secs_f64(), result.is_ok()));
        if result.is_err() {
            result =
                result.with_context(|| format!("CI failed at {}; to repeat: {}", step.name, step.repeat));
            break;
        }
    }
    eprintln!();
    for (name, seconds, passed) in &taken {
        eprintln!("{name:<16} {seconds:>8.1} s  {}", if *passed { "ok" } else { "FAILED" });
    }
    let total: f64 = taken.iter().map(|(_, seconds, _)| seconds).sum();
    eprintln!("{:<16} {total:>8.1} s", "all");
    result
}

/// Every test of the workspace; `args` go to `cargo test`.
pub(crate) fn test(root: &Path, args: &[String]) -> Result<()> {
    // These run the program, which `cargo test` alone may not build.
    // The whole workspace's tests do, with the same features: see `crates/node/tests`.
    let of_the_program = ["peerage-tests", "peerage-torture"];
    if args.iter().any(|arg| of_the_program.iter().any(|package| arg.contains(package))) {
        execute(cargo(root).args(["build", "--locked", "--package", "peerage-node"]))?;
    }
    let mut command = cargo(root);
    command.args(["test", "--locked"]);
    if !args.iter().any(|arg| arg == "-p" || arg.starts_with("--package") || arg.starts_with("-p=")) {
        command.arg("--workspace");
    }
    execute(command.args(args))
}

fn fmt(root: &Path) -> Result<()> {
    execute(cargo(root).args(["fmt", "--all", "--check"]))?;
    // Not `--all` here: that would go on into the crates outside of this workspace.
    let packages = ["--package", "peerage-interop", "--package", "peerage-interop-rust"];
    execute(cargo(&root.join("tests/interop")).args(["fmt", "--check"]).args(packages))?;
    execute(cargo(&root.join("fuzz")).args(["fmt", "--check", "--package", "peerage-fuzz"]))?;
    execute(cargo(&root.join("benches/libp2p-perf")).args(["fmt", "--check"]))
}

/// That the other workspaces' lock files have followed the crates here: long before
/// they are built.
fn locks(root: &Path) -> Result<()> {
    execute(cargo(&root.join("tests/interop")).args(["fetch", "--locked"]))?;
    execute(cargo(&root.join("fuzz")).args(["fetch", "--locked"]))
}

fn clippy(root: &Path) -> Result<()> {
    execute(cargo(root).args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn doc(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
    execute(&mut command)
}

fn interop_clippy(root: &Path) -> Result<()> {
    let options = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    execute(cargo(&root.join("tests/interop")).args(options))
}
