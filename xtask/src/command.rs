//! Running other programs: each is printed as it would be typed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The cargo that runs us, so that nested builds use the same toolchain.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Prints and runs `command`; a status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    ensure!(status.success(), "`{line}`: {status}");
    Ok(())
}

/// What `command` prints on stdout, or none if there is no such program.
pub(crate) fn output(command: &mut Command) -> Result<Option<String>> {
    let line = line(command);
    match command.stdin(Stdio::null()).output() {
        Ok(done) if done.status.success() => Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned())),
        Ok(done) => bail!("`{line}`: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("starting `{line}`")),
    }
}

/// Builds one binary and returns where it is, wherever the target directory is.
pub(crate) fn build_bin(root: &Path, package: &str, bin: &str, release: bool) -> Result<PathBuf> {
    let mut build = cargo(root);
    build.args(["build", "--locked", "--package", package, "--bin", bin]);
    if release {
        build.arg("--release");
    }
    run(&mut build)?;
    build.args(["--quiet", "--message-format=json"]);
    let messages = output(&mut build)?.context("cargo is gone")?;
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == bin)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.with_context(|| format!("cargo named no executable for {bin}"))
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let variables = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}={} ", key.to_string_lossy(), quote(value?))));
    let words = std::iter::once(name).chain(command.get_args()).map(quote);
    variables.collect::<String>() + &words.collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_as_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "-D warnings", ""]).env("A", "b c");
        assert_eq!(line(&command), "A='b c' cargo doc '-D warnings' ''");
    }

    #[test]
    fn a_missing_program_is_none_and_a_failing_one_an_error() {
        assert_eq!(output(&mut Command::new("no-such-program-here")).unwrap(), None);
        assert!(output(Command::new("sh").args(["-c", "echo why >&2; exit 1"])).is_err());
    }
}
