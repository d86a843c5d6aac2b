//! What this program reads of its user and of its own kind, as the fuzzer reaches
//! it (`tests/decoders`). Behind the feature `fuzzing`; no interface.

use std::io;

use clap::Parser as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncBufRead;

use crate::cli::{Action, Cli, Terminal, link_from_input, values};
use crate::control::{ClientLine, ServerLine, line};
use crate::local::announce;

/// Lines of a client at the control socket, until one is none; how many there were.
///
/// # Errors
/// See `control/line.rs`.
pub async fn client_lines(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<usize> {
    lines::<ClientLine>(from).await
}

/// Lines of the repository's owner at the control socket.
///
/// # Errors
/// As for [`client_lines`].
pub async fn owner_lines(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<usize> {
    lines::<ServerLine>(from).await
}

async fn lines<T: Serialize + DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<usize> {
    let mut count = 0;
    while let Some(value) = line::read::<T>(from).await? {
        let once = line::encode(&value)?;
        let again: T = line::read(&mut &once[..]).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(line::encode(&again)?, once, "what one process writes the other reads");
        count += 1;
    }
    Ok(count)
}

/// A command line, the program's name left out, with `stdin` for who reads a link there.
#[must_use]
pub fn command_line(args: &[&str], stdin: &[u8]) -> bool {
    let Ok(cli) = Cli::try_parse_from(["peerage"].iter().chain(args)) else { return false };
    drop(cli.globals.network.into_network());
    let (mut read_link, mut notices) = (|| link_from_input(stdin), Vec::new());
    let action = cli.command.into_action(&mut Terminal { read_link: &mut read_link, notices: &mut notices });
    if let Ok(Action::Request(request)) = &action {
        let json = serde_json::to_vec(request).expect("a request is JSON");
        let again = serde_json::from_slice(&json).map(Action::Request);
        assert_eq!(without_handle(again.ok()), without_handle(action.ok()), "it survives the socket");
        return true;
    }
    action.is_ok()
}

/// A handle goes beside the JSON.
fn without_handle(action: Option<Action>) -> Option<Action> {
    match action {
        Some(Action::Request(crate::api::Request::Get(mut get))) => {
            get.folder = None;
            Some(Action::Request(crate::api::Request::Get(get)))
        }
        Some(Action::Request(crate::api::Request::CarImport(mut import))) => {
            import.inputs.clear();
            Some(Action::Request(crate::api::Request::CarImport(import)))
        }
        Some(Action::Request(crate::api::Request::Add(mut add))) => {
            add.input = None;
            Some(Action::Request(crate::api::Request::Add(add)))
        }
        other => other,
    }
}

/// A duration as people type it.
#[must_use]
pub fn duration(text: &str) -> bool {
    let Ok(duration) = values::duration(text) else { return false };
    let again = format!("{}ms", duration.as_millis());
    assert_eq!(values::duration(&again), Ok(duration));
    true
}

/// The file in which `up` remembers what it announced.
#[must_use]
pub fn announced(bytes: &[u8]) -> bool {
    let Some(memory) = announce::parse(bytes) else { return false };
    let again = serde_json::to_vec(&memory).expect("it is JSON");
    assert_eq!(announce::parse(&again), Some(memory));
    true
}
