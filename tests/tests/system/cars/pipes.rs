//! CARs through pipes: those of the command itself, those that nobody writes to,
//! and those that nobody reads to their end.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use peerage_content::ipld::{Value as Ipld, cbor};
use peerage_content::{Cid, codec};
use peerage_tests::peer::{number, text};
use peerage_tests::process::Process;
use peerage_tests::{Peer, Place, data};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{add, block, write_car};

fn pipe(place: &Place, name: &str) -> Result<PathBuf> {
    let path = place.path(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    Ok(path)
}

/// A command that goes through the owner.
fn attached(peer: &Peer, args: &[&str]) -> Result<Process> {
    let mut command = peer.plain(args);
    command.arg("--json");
    Process::spawn(command, "")
}

/// Two CARs that are one DAG: a root, and what it links to.
fn halves(place: &Place) -> Result<(PathBuf, PathBuf, Cid)> {
    let leaf = block(codec::RAW, b"in the other file".to_vec())?;
    let root = block(codec::DAG_CBOR, cbor::encode(&Ipld::from(leaf.0))?)?;
    let (first, second) = (place.path("first.car"), place.path("second.car"));
    write_car(&first, &[root.0], std::slice::from_ref(&root))?;
    write_car(&second, &[root.0], &[leaf])?;
    Ok((first, second, root.0))
}

#[test]
fn pipes_that_nobody_writes_to_hold_up_nobody() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let up = peer.up()?;
    // More than the owner has threads for its tasks, and fewer than it serves commands.
    let count = std::thread::available_parallelism()?.get().min(60) + 1;
    let pipes: Vec<PathBuf> = (0..count).map(|n| pipe(&place, &format!("pipe{n}"))).collect::<Result<_>>()?;
    let imports: Vec<Process> =
        pipes.iter().map(|path| attached(&peer, &["car", "import", text(path)])).collect::<Result<_>>()?;
    for _ in 0..10 {
        peer.run_attached(&["id"])?.with_status(0)?;
    }
    // What is written to one of them is read; the others are given up.
    let (first, second, root) = halves(&place)?;
    peer.run_attached(&["car", "import", "--no-pin", text(&second)])?.with_status(0)?;
    fs::copy(&first, &pipes[0])?;
    for (number, import) in imports.into_iter().enumerate() {
        if number == 0 {
            let ended = import.finish()?.with_status(0)?;
            ensure!(ended.event("pinned")?["cid"] == root.to_string());
        } else {
            import.interrupt()?;
            import.finish()?.with_status(130)?;
        }
    }
    up.close()?;
    Ok(())
}

#[test]
fn one_writer_fills_two_pipes_one_after_the_other() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let up = peer.up()?;
    let (first, second, root) = halves(&place)?;
    let (a, b) = (pipe(&place, "a.pipe")?, pipe(&place, "b.pipe")?);
    let import = attached(&peer, &["car", "import", text(&a), text(&b)])?;
    fs::copy(&first, &a)?;
    fs::copy(&second, &b)?;
    // Neither file has all of the DAG, and both name its root.
    let ended = import.finish()?.with_status(0)?;
    ensure!(ended.event("pinned")?["cid"] == root.to_string());
    up.close()?;
    Ok(())
}

#[test]
fn what_only_the_command_has_open_is_its_own() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (first, second, root) = halves(&place)?;
    let up = peer.up()?;
    let run = |path: &str, stdin: Stdio| -> Result<(Option<i32>, String)> {
        let output = peer.plain(&["--json", "car", "import", path]).stdin(stdin).output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    // A regular file that the owner's path would not lead to.
    let (status, _) = run("/dev/fd/0", File::open(&second)?.into())?;
    ensure!(status == Some(3), "the root is not there yet: {status:?}");
    // A pipe, as a shell makes of `<(..)`.
    let mut cat = Command::new("cat").arg(&first).stdout(Stdio::piped()).spawn()?;
    let (status, said) = run("/dev/stdin", cat.stdout.take().context("it was asked for")?.into())?;
    cat.wait()?;
    ensure!(status == Some(0) && said.contains(&root.to_string()), "{said}");
    up.close()?;
    // Without an owner, and without a repository.
    let output = peer.plain(&["--json", "car", "verify", "/dev/fd/0"]).stdin(File::open(&first)?).output()?;
    ensure!(output.status.code() == Some(4), "its leaf is in the other file");
    Ok(())
}

/// Has `car export` print, and stops reading soon.
fn status_of_half_an_export(peer: &Peer, cid: &str) -> Result<()> {
    let mut export = peer.plain(&["car", "export", "--offline", cid]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("it was asked for")?;
    stdout.read_exact(&mut [0; 100])?;
    drop(stdout);
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(1), "half a CAR is not success: {:?}", output.status);
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn half_an_export_is_no_success() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let source = place.path("source");
    data::random(&source, 5 << 20, 11)?;
    let cid = add(&peer, Path::new(&source))?;
    status_of_half_an_export(&peer, &cid)?;
    let up = peer.up()?;
    status_of_half_an_export(&peer, &cid)?;
    let whole = peer.plain(&["car", "export", "--offline", &cid]).output()?;
    ensure!(whole.status.success());
    let file = place.path("whole.car");
    let exported = peer.run_attached(&["car", "export", "--offline", &cid, "-o", text(&file)])?;
    ensure!(number(&exported.with_status(0)?.event("exported")?, "bytes")? == whole.stdout.len() as u64);
    up.close()?;
    Ok(())
}
