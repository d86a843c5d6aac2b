//! How commands end: Ctrl-C, and readers that go away.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use peerage_tests::peer::{SLOWDOWN, number, text};
use peerage_tests::process::{Process, Signal};
use peerage_tests::{MIB, Place, Sharing, data};

#[test]
fn a_share_and_up_end_well() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 10, 1)?;
    for sharing in [place.peer("a").share(&[text(&file)])?, place.peer("b").up()?] {
        let closed = sharing.close()?;
        ensure!(number(&closed, "sent_bytes")? == 0 && number(&closed, "received_bytes")? == 0, "{closed}");
    }
    Ok(())
}

#[test]
fn interrupted_commands_say_so() -> Result<()> {
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::random(&source, 64 * MIB, 1)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let mut get = place.peer("b").command(&["get", &sharing.link()?, "-o", text(&dest)]);
    get.env(SLOWDOWN, "40");
    let mut get = Process::spawn(get, "")?;
    get.wait_for("progress")?;
    get.interrupt()?;
    get.finish()?.with_status(130)?.error("interrupted")?;
    // One that still searches.
    let nowhere = "bafkreidmuy2n45xj3cdknzprtzo2uvgm3hak6mzy5sllxty457agsftd34";
    let addr = sharing.addr()?;
    let mut get =
        place.peer("c").start(&["get", nowhere, "--from", &addr, "--wait", "1h", "-o", text(&dest)])?;
    get.wait_until(|line| line["event"] == "searching" || line["event"] == "progress")?;
    get.interrupt()?;
    get.finish()?.with_status(130)?;
    ensure!(!dest.exists(), "a part has the name of the whole");
    sharing.close()?;
    Ok(())
}

/// `nohup` starts a program with SIGHUP ignored, so that it outlives the terminal.
#[test]
fn a_hangup_ends_only_what_does_not_ignore_it() -> Result<()> {
    let place = Place::new()?;
    let up = || place.peer("a").command(&["up"]);
    // The tests themselves may run under `nohup`, and what is ignored is inherited.
    let sharing = Sharing::start(through(&["env", "--default-signal=HUP"], &up()))?;
    sharing.process.signal(Signal::HUP)?;
    sharing.process.finish()?.with_status(0)?.event("closed")?;

    let sharing = Sharing::start(through(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""], &up()))?;
    sharing.process.signal(Signal::HUP)?;
    // Answering takes longer than a signal.
    let addr = sharing.addr()?;
    place.peer("b").run(&["connect", &addr])?.with_status(0)?;
    sharing.close()?;
    Ok(())
}

/// The same command, started by another program that takes it as arguments.
fn through(starter: &[&str], command: &Command) -> Command {
    let mut started = Command::new(starter[0]);
    started.args(&starter[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}

/// A share ends well, even if its owner cannot end it in order.
#[test]
fn an_attached_share_ends_well_without_its_owner() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 10, 1)?;
    let owner = place.peer("a").up()?;
    let mut attached = place.peer("a").plain(&["share", text(&file)]);
    attached.arg("--json");
    let attached = Sharing::start(attached)?;
    owner.process.signal(Signal::STOP)?;
    attached.process.interrupt()?;
    attached.process.finish()?.with_status(0)?;
    owner.process.signal(Signal::CONT)?;
    owner.close()?;
    Ok(())
}

#[test]
fn what_cannot_be_written_is_a_failure() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 3 * MIB, 1)?;
    let sharing = place.peer("a").share(&[text(&file)])?;
    let (link, peer) = (sharing.link()?, place.peer("b"));
    for args in [&["cat", &link][..], &["id"], &["--help"], &["completions", "bash"], &["add", text(&file)]] {
        let mut command = peer.plain(args);
        // Takes no byte: a disk that is full.
        command.stdout(File::options().write(true).open("/dev/full")?).stderr(Stdio::piped());
        let output = command.spawn()?.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{args:?}: {}: {stderr}", output.status);
        ensure!(stderr.contains("cannot write to stdout: No space left"), "{args:?}: {stderr}");
    }
    sharing.close()?;
    Ok(())
}

#[test]
fn a_closed_stdout_is_no_panic() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    data::many(&folder, 3000, 1, 1)?;
    let sharing = place.peer("a").share(&[text(&folder)])?;
    let (link, peer) = (sharing.link()?, place.peer("b"));
    for args in [
        &["ls", &link][..],
        &["--help"],
        &["completions", "bash"],
        &["id"],
        &["get", &link, "-o", text(&place.path("got"))],
    ] {
        for json in [true, false] {
            let mut command = if json { peer.command(args) } else { peer.plain(args) };
            // The reading end is closed before the program starts.
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            command.stdout(writer).stderr(std::process::Stdio::piped());
            let output = command.spawn()?.wait_with_output()?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code().is_some() && !stderr.contains("panicked"),
                "{args:?}: {}: {stderr}",
                output.status
            );
        }
    }
    sharing.close()?;
    Ok(())
}

/// A share whose output nobody reads goes on serving.
#[test]
fn an_unread_share_goes_on() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 8 * MIB, 1)?;
    let mut sharing = place.peer("a").share(&[text(&file)])?;
    let link = sharing.link()?;
    sharing.process.close_stdout();
    for getter in ["b", "c"] {
        let dest = place.path(&format!("{getter}.got"));
        place.peer(getter).get(&link, &dest)?;
        data::assert_same(&file, &dest)?;
    }
    sharing.process.interrupt()?;
    sharing.process.finish()?.with_status(0)?;
    Ok(())
}
