//! Logs, on stderr: off unless `-v` or `PEERAGE_LOG` asks for them. The
//! variable takes what `tracing-subscriber` calls directives, such as
//! `info,peerage_engine=trace`.

use tracing_subscriber::EnvFilter;

/// Starts logging.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var("PEERAGE_LOG") {
        Ok(directives) if !directives.is_empty() && verbose == 0 => EnvFilter::new(directives),
        _ => EnvFilter::new(level),
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        // A closed stderr is to cost the log, not the program.
        .log_internal_errors(false)
        .try_init();
    // Somebody else's logger would be fine, too.
    drop(started);
}
