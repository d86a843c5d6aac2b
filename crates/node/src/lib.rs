//! The program `peerage`: command line, control socket, what is printed. All of
//! it, so that its decoders can be fuzzed; the binary only calls [`main`].
//!
//! A command becomes an `api::Request`; a `backend::Backend` executes it,
//! here or in the process that owns the repository; its `api::Event`s are
//! printed for a person or as JSON. `local` is all that knows the peer.

mod api;
mod backend;
mod cli;
mod control;
mod execution;
#[cfg(unix)]
#[cfg(test)]
mod execution_tests;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod local;
mod logging;
mod meter;
mod render;
mod story;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
#[cfg(unix)]
use rustix::process::{Resource, getrlimit, setrlimit};

use api::{Failure, Kind};
use backend::Canceller;
use cli::{Action, Cli, Terminal};
use render::Output;

/// How long an interrupted command waits for its reader.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Files and sockets that one process has use for: connections, packs, and files
/// that are shared. Shells often allow 1,024, and more to whoever asks.
#[cfg(unix)]
const FILES: u64 = 16_384;

/// Has the system allow more open files, if it will.
#[cfg(unix)]
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // What it does not allow is gone without.
        setrlimit(Resource::Nofile, limit).ok();
    }
}

/// Does what the command line says; the status that the process is to end with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    logging::start(cli.globals.verbose);
    let json = cli.globals.json;
    let mut notices = Vec::new();
    let mut read_link = read_link;
    let action = cli.command.into_action(&mut Terminal { read_link: &mut read_link, notices: &mut notices });
    if let Ok(Action::Completions(shell)) = action {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "peerage", &mut script);
        return printed(render::print(&script));
    }
    if let Ok(Action::Version) = action {
        let version = env!("CARGO_PKG_VERSION");
        let line = serde_json::json!({ "event": "version", "version": version });
        let text = if json { format!("{line}\n") } else { format!("peerage {version}\n") };
        return printed(render::print(text.as_bytes()));
    }
    let style = action.as_ref().map_or_else(|_| render::Style::default(), style);
    let prepared = action.and_then(|action| Ok((action, cli::repository(cli.globals.repo)?)));
    let mut flags = cli.globals.network.into_network();
    let prepared = prepared.map(|(mut action, repo)| {
        if let Action::Request(api::Request::Limit(rates)) = &mut action {
            // What it sets, and not how a peer of this process would be.
            *rates = std::mem::take(&mut flags.rates);
        }
        (action, repo)
    });
    #[cfg(unix)]
    allow_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(writeln!(io::stderr(), "peerage: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let output = match Output::start(
            render::renderer(json, style),
            Box::new(io::stdout()),
            Box::new(io::stderr()),
        ) {
            Ok(output) => output,
            Err(error) => {
                drop(writeln!(io::stderr(), "peerage: cannot start: {error}"));
                return 1;
            }
        };
        let (canceller, cancel) = Canceller::new();
        let read_to_its_end = match &prepared {
            Ok((Action::Request(request), _)) => request.is_read_to_its_end(),
            _ => false,
        };
        let result = match prepared {
            Err(failure) => Err(failure),
            Ok((action, repo)) => {
                let at_once = match &action {
                    Action::Request(request) if request.runs_until_interrupted() => 0,
                    _ => Kind::Interrupted.exit_code(),
                };
                if let Err(error) = interrupt::listen(canceller, at_once) {
                    tracing::warn!(%error, "cannot listen for Ctrl-C");
                }
                for notice in notices {
                    output.push(notice).await;
                }
                execute(action, &repo, flags, &output, cancel.clone()).await
            }
        };
        let patience = cancel.is_cancelled().then_some(LAST_WORDS);
        output.finish(result, patience, read_to_its_end).await.map_or(0, Kind::exit_code)
    });
    // What still runs there (a hash, a read) is of no use to anyone now.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn execute(
    action: Action,
    repo: &std::path::Path,
    flags: api::Network,
    output: &Output,
    cancel: backend::Cancel,
) -> Result<(), Failure> {
    match action {
        Action::Request(request) => {
            let execution =
                execution::Execution { opener: &local::Repositories, repo, flags, output, cancel };
            execution.run(request).await
        }
        Action::OnlyHash(add) => local::only_hash(add, output, &cancel).await,
        Action::CarLook(look) => local::look_at_car(look, output, &cancel).await,
        Action::Completions(_) | Action::Version => Ok(()),
    }
}

/// How people are told of it.
fn style(action: &Action) -> render::Style {
    let (quieter, doing) = match action {
        Action::Request(api::Request::Add(add)) => (add.quieter, None),
        Action::OnlyHash(add) => (add.quieter, None),
        Action::Request(request) => (false, request.doing()),
        Action::CarLook(look) => (false, Some(if look.verify { "checking" } else { "reading" })),
        Action::Completions(_) | Action::Version => (false, None),
    };
    render::Style { quieter, doing }
}

/// How a command ends that only prints.
fn printed(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            drop(writeln!(io::stderr(), "peerage: {failure}"));
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// The link for `get` without one: the first line of stdin.
fn read_link() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        let mut err = io::stderr();
        drop(err.write_all(b"Link: ").and_then(|()| err.flush()));
    }
    cli::link_from_input(io::stdin().lock())
}

/// Help goes to stdout, mistakes to stderr, as JSON if that was asked for.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return printed(render::print(error.render().to_string().as_bytes()));
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let message = error.render().to_string();
        let first = message.trim().trim_start_matches("error: ").to_owned();
        let failure = Failure::usage(first);
        render::Render::failure(&mut render::Json, &failure, &mut io::stderr());
    } else {
        drop(error.print());
    }
    ExitCode::from(Kind::Usage.exit_code())
}
