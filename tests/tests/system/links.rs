//! What links look like, where things go, and where links come from.

use std::fs;

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, text};
use peerage_tests::process::Process;
use peerage_tests::{MIB, Place, data};

#[test]
fn a_link_is_whole_safe_and_private() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("a b & \"c\" ü.txt");
    data::random(&file, 100, 1)?;
    let sharing = place.peer("a").share(&[text(&file)])?;
    let link = sharing.link()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?&=%".contains(c);
    ensure!(
        link.starts_with(&format!("ipfs://{}?name=", sharing.cid()?)) && link.chars().all(plain),
        "{link}"
    );
    ensure!(link.contains("find=no") && link.contains("provider=/ip4/127.0.0.1/tcp/"), "{link}");
    ensure!(sharing.ready["reachability"] == "private", "{}", sharing.ready);
    // With no -o it takes its own name, where the command runs; with a slash, in that folder.
    let (here, inside) = (place.path("here"), place.path("inside"));
    fs::create_dir(&here)?;
    fs::create_dir(&inside)?;
    let getter = place.peer("b");
    let mut command = getter.command(&["get", &link]);
    command.current_dir(&here);
    Process::spawn(command, "")?.finish()?.with_status(0)?;
    data::assert_same(&file, &here.join("a b & \"c\" ü.txt"))?;
    getter.run(&["get", &link, "-o", &format!("{}/", text(&inside))])?.with_status(0)?;
    data::assert_same(&file, &inside.join("a b & \"c\" ü.txt"))?;
    // From stdin, with what people paste around it.
    for (i, input) in [format!("{link}\n"), format!("\n  peerage get \"{link}\"\n")].iter().enumerate() {
        let dest = place.path(&format!("stdin{i}"));
        Process::spawn(getter.command(&["get", "-o", text(&dest)]), input)?.finish()?.with_status(0)?;
        data::assert_same(&file, &dest)?;
    }
    // Cut at its `&` by a shell.
    let cut = link.split('&').next().unwrap_or_default();
    let ended = getter.run(&["get", cut, "--wait", "0s", "-o", text(&place.path("cut"))])?;
    ensure!(ended.stderr.contains("quotes"), "{}", ended.stderr);
    sharing.close()?;
    Ok(())
}

#[test]
fn several_paths_are_one_folder() -> Result<()> {
    let place = Place::new()?;
    let (file, folder) = (place.path("file"), place.path("folder"));
    data::random(&file, 2 * MIB, 1)?;
    data::tree(&folder, 2)?;
    let sharing = place.peer("a").share(&[text(&file), text(&folder)])?;
    ensure!(sharing.ready["shares"].as_array().is_some_and(|shares| shares.len() == 1), "{}", sharing.ready);
    let dest = place.path("dest");
    place.peer("b").get(&sharing.link()?, &dest)?;
    ensure!(data::names(&dest)? == ["file", "folder"], "{:?}", data::names(&dest)?);
    data::assert_same(&file, &dest.join("file"))?;
    data::assert_same(&folder, &dest.join("folder"))?;
    // A path into it, by a bare CID.
    let inside = format!("/ipfs/{}/folder/deep/er/and", sharing.cid()?);
    let to = place.path("and");
    place.peer("c").run(&["get", &inside, "--from", &sharing.addr()?, "-o", text(&to)])?.with_status(0)?;
    data::assert_same(&folder.join("deep/er/and"), &to)?;
    sharing.close()?;
    Ok(())
}

/// What is shared can be fetched: what `get` would refuse is left out, and told.
#[test]
fn share_and_get_agree_about_names() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    for name in ["back\\slash", "line\nbreak", "\u{1b}[2Jclear", "plain"] {
        fs::write(folder.join(name), name)?;
    }
    let sharing = place.peer("a").share(&[text(&folder)])?;
    let dest = place.path("dest");
    place.peer("b").get(&sharing.link()?, &dest)?;
    ensure!(data::names(&dest)? == ["back\\slash", "plain"], "{:?}", data::names(&dest)?);
    ensure!(fs::read(dest.join("back\\slash"))? == b"back\\slash", "other bytes");
    sharing.process.interrupt()?;
    let told = sharing.process.finish()?.with_status(0)?.stderr;
    for name in ["back", "break", "clear"] {
        ensure!(told.contains(name), "{name}: {told}");
    }
    // What others share may hold such names. The error shows them escaped, once.
    let added = place.peer("a").run(&["add", text(&folder)])?.with_status(0)?.event("added")?;
    let up = place.peer("a").up()?;
    let (from, refused) = (up.addr()?, place.path("refused"));
    let args = ["get", &field(&added, "cid")?, "--from", &from, "-o", text(&refused)];
    let message = place.peer("b").run(&args)?.with_status(1)?.error("content")?;
    ensure!(message.contains("\"\\u{1b}[2Jclear\"") || message.contains("\"line\\nbreak\""), "{message}");
    ensure!(!refused.exists(), "half a folder has its name");
    up.close()?;
    Ok(())
}

/// Modes and times travel only if asked to.
#[test]
fn preserve_keeps_mode_and_time() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};
    let place = Place::new()?;
    let script = place.path("script");
    fs::write(&script, "#!/bin/sh\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&script)?.set_modified(time)?;
    let sharing = place.peer("a").share(&["--preserve", text(&script)])?;
    let dest = place.path("dest");
    place.peer("b").get(&sharing.link()?, &dest)?;
    sharing.close()?;
    let got = fs::metadata(&dest)?;
    ensure!(got.permissions().mode() & 0o777 == 0o750 && got.modified()? == time, "{got:?}");
    // Without, the user is told what is lost.
    let sharing = place.peer("a").share(&[text(&script)])?;
    sharing.process.interrupt()?;
    let ended = sharing.process.finish()?.with_status(0)?;
    ensure!(ended.stderr.contains("--preserve"), "{}", ended.stderr);
    Ok(())
}
