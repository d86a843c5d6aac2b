//! A disk that fills while a `get` writes to it, and one that is full already.
//!
//! A small file system in memory stands for the disk. Mounting one takes a
//! mount namespace, which `unshare` of util-linux makes without privileges; so
//! this program starts itself again, inside of one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_tests::peer::{SLOWDOWN, number, text};
use peerage_tests::{MIB, Place, Process, data};

/// The argument by which this program knows that it is inside.
pub(crate) const INSIDE: &str = "--full-disk-inside";

/// What the disk holds, in bytes.
const DISK: u64 = 96 * MIB;

/// What is fetched: it fits, as long as nobody else writes.
const SIZE: u64 = 64 * MIB;

/// What is written before the disk fills, at least, in bytes.
const BEFORE: u64 = 16 * MIB;

/// What may come twice: what was on its way when the disk was full, in bytes.
const AGAIN: u64 = 48 * MIB;

/// Starts this program again in a mount namespace of its own.
pub(crate) fn outside() -> Result<String> {
    let program = std::env::current_exe()?;
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(program)
        .arg(INSIDE)
        .stderr(Stdio::inherit())
        .output()
        .context("starting `unshare` (Debian: util-linux)")?;
    let figures = String::from_utf8_lossy(&inside.stdout).trim().to_owned();
    ensure!(inside.status.success(), "inside of its mount namespace it failed: {figures}");
    Ok(figures)
}

/// What is shown inside.
pub(crate) fn inside() -> Result<String> {
    // Everything but the disk in memory, too: room for the source and a copy.
    let place = Place::with_room(4 * SIZE)?;
    let source = place.path("source");
    data::random(&source, SIZE, 6)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let link = sharing.link()?;
    let disk = place.path("disk");
    mount(&disk)?;

    // It fills on the way.
    let dest = disk.join("dest");
    let ballast = disk.join("ballast");
    let getter = place.peer("b");
    let mut command = getter.command(&["get", &link, "-o", text(&dest)]);
    command.env(SLOWDOWN, "20");
    let mut get = Process::spawn(command, "")?;
    get.wait_until(|line| line["event"] == "done" || line["bytes"].as_u64() >= Some(BEFORE))?;
    fill(&ballast)?;
    let message = get.finish()?.with_status(1)?.error("no_space")?;
    ensure!(message.contains(text(&dest)) && message.contains("No space left"), "{message}");
    ensure!(!dest.exists(), "a part has the name of the whole");
    fs::remove_file(&ballast)?;
    let done = getter.get(&link, &dest)?;
    data::assert_same(&source, &dest)?;
    let again: u64 = done["sources"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    ensure!(again <= SIZE - BEFORE, "{again} bytes were fetched again");

    // There is no room to begin with: nothing is fetched, nothing is written.
    let second = disk.join("second");
    let message =
        place.peer("c").run(&["get", &link, "-o", text(&second)])?.with_status(1)?.error("no_space")?;
    ensure!(message.contains("free"), "{message}");
    ensure!(data::names(&disk)? == ["dest"], "something was left behind");

    // The repository is on the full disk: it says so, and works when there is room.
    fill(&ballast)?;
    let fourth = place.peer("disk/repo");
    let elsewhere = place.path("elsewhere");
    fourth.run(&["get", &link, "-o", text(&elsewhere)])?.with_status(1)?.error("no_space")?;
    fs::remove_file(&ballast)?;
    fourth.get(&link, &elsewhere)?;
    data::assert_same(&source, &elsewhere)?;

    let sent = number(&sharing.close()?, "sent_bytes")?;
    ensure!(sent <= 2 * SIZE + AGAIN, "{sent} bytes were sent");
    Ok(format!("{again} of {SIZE} B came after there was room again"))
}

fn mount(at: &Path) -> Result<()> {
    fs::create_dir(at)?;
    let size = format!("size={DISK}");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status()?;
    ensure!(status.success(), "mounting a file system in memory at {} failed: {status}", at.display());
    Ok(())
}

/// Takes all the room that is left.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let piece = vec![0; 1 << 16];
    loop {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => bail!("filling the disk: {error}"),
        }
    }
}
