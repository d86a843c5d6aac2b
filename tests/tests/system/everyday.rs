//! What people type who come from other programs, or for the first time.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{Peer, Place, Process, data};

/// What a command prints for people, and on stderr.
fn printed(mut command: Command) -> Result<(String, String)> {
    let output = command.output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{stderr}");
    Ok((String::from_utf8(output.stdout)?, stderr))
}

fn pins(peer: &Peer, args: &[&str]) -> Result<Vec<(String, String)>> {
    let events = peer.run(&[&["pin", "ls"], args].concat())?.with_status(0)?.events()?;
    events.iter().map(|pin| Ok((field(pin, "cid")?, field(pin, "name")?))).collect()
}

#[test]
fn stdin_is_added_as_one_file() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let content = "a line\n".repeat(500_000);
    let file = place.path("file");
    fs::write(&file, &content)?;
    let want =
        field(&peer.run(&["add", "--only-hash", text(&file)])?.with_status(0)?.event("added")?, "cid")?;
    let add = |command: Command| Process::spawn(command, &content)?.finish()?.with_status(0)?.event("added");
    let added = add(peer.command(&["add", "--only-hash", "-"]))?;
    ensure!(added["cid"] == want.as_str() && added["path"] == "-", "{added}");
    let added = add(peer.command(&["add", "-", "--stdin-name", "lines.txt"]))?;
    ensure!(added["cid"] == want.as_str() && added["path"] == "lines.txt", "{added}");
    ensure!(number(&added, "size")? == content.len() as u64, "{added}");
    ensure!(pins(&peer, &[])? == [(want.clone(), "lines.txt".to_owned())], "the pin bears the name");
    fs::remove_file(&file)?;
    let (back, _) = printed(peer.plain(&["cat", "--offline", &want]))?;
    ensure!(back == content, "{} bytes came back", back.len());
    // Through the owner of another repository.
    let other = place.peer("b");
    let up = other.up()?;
    let mut command = other.plain(&["add", "-"]);
    command.arg("--json");
    ensure!(add(command)?["cid"] == want.as_str(), "the owner read something else");
    up.close()?;
    for wrong in [&["add", "-", text(&file)][..], &["add", "--stdin-name", "x", text(&file)]] {
        peer.run(wrong)?.with_status(2)?.error("usage")?;
    }
    peer.run(&["add", "-", "--stdin-name", "a/b"])?.with_status(2)?.error("usage")?;
    Ok(())
}

/// The kernel says that such a file has no bytes.
#[test]
fn a_file_without_a_size_is_read_or_refused() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (odd, copy) = ("/proc/version", place.path("copy"));
    fs::write(&copy, fs::read(odd)?)?;
    let cid = |args: &[&str]| field(&peer.run(args)?.with_status(0)?.event("added")?, "cid");
    let want = cid(&["add", "--only-hash", text(&copy)])?;
    ensure!(cid(&["add", "--only-hash", odd])? == want, "not what it holds");
    let error = peer.run(&["add", odd])?.with_status(1)?.error("path")?;
    ensure!(error.contains("copy it into a file first"), "{error}");
    peer.run(&["share", odd])?.with_status(1)?.error("path")?;
    ensure!(cid(&["add", "--copy", odd])? == want, "not what it holds");
    ensure!(peer.run(&["verify"])?.with_status(0)?.event("verified")?["bad"] == 0, "a block is bad");
    Ok(())
}

#[test]
fn pins_keep_their_names_and_are_found_by_what_they_hold() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let nothing = peer.run(&["pin", "ls"])?.with_status(0)?;
    ensure!(
        nothing.events()?.is_empty() && nothing.stderr.contains("nothing is pinned"),
        "{}",
        nothing.stderr
    );
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    fs::write(folder.join("a"), "content of a")?;
    let add = |args: &[&str]| -> Result<String> {
        let line = [&["add"], args, &[text(&folder)]].concat();
        field(&peer.run(&line)?.with_status(0)?.event("added")?, "cid")
    };
    let root = add(&["--pin-name", "mine"])?;
    let names = |args: &[&str]| -> Result<Vec<String>> {
        Ok(pins(&peer, args)?.into_iter().map(|(_, name)| name).collect())
    };
    add(&[])?;
    peer.run(&["pin", "add", &root])?.with_status(0)?;
    ensure!(names(&[])? == ["mine"], "{:?}", names(&[])?);
    let car = place.path("car");
    peer.run(&["car", "export", &root, "-o", text(&car)])?.with_status(0)?;
    peer.run(&["car", "import", text(&car)])?.with_status(0)?;
    ensure!(names(&[])? == ["mine"], "{:?}", names(&[])?);
    peer.run(&["pin", "add", &root, "--name", "other"])?.with_status(0)?;
    ensure!(names(&[])? == ["other"], "{:?}", names(&[])?);

    let below = format!("{root}/a");
    let pinned = peer.run(&["pin", "add", &below])?.with_status(0)?.event("pinned")?;
    let cid = field(&pinned, "cid")?;
    ensure!(pins(&peer, &[&below])? == [(cid.clone(), String::new())], "{:?}", pins(&peer, &[])?);
    let link = format!("ipfs://{cid}?name=of%20the%20link&provider=/ip4/127.0.0.1/tcp/1");
    let named = peer.run(&["pin", "add", &link])?.with_status(0)?.event("pinned")?;
    ensure!(named["name"] == "of the link", "{named}");
    ensure!(names(&[&root, &below])?.len() == 2, "{:?}", names(&[&root, &below])?);
    let gone = peer.run(&["pin", "rm", &below])?.with_status(0)?.event("unpinned")?;
    ensure!(gone["cid"] == cid.as_str(), "{gone}");
    for line in [["pin", "rm", &below], ["pin", "ls", &below]] {
        let error = peer.run(&line)?.with_status(1)?.error("failed")?;
        ensure!(error.contains(&cid) && error.contains("not pinned"), "{error}");
    }
    peer.run(&["pin", "rm", &format!("{root}/nothing")])?.with_status(3)?.error("not_found")?;
    Ok(())
}

#[test]
fn habits_of_other_programs() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (folder, link) = (place.path("folder"), place.path("link"));
    fs::create_dir(&folder)?;
    fs::write(folder.join("a"), "a")?;
    symlink("folder", &link)?;
    let (version, _) = printed(peer.plain(&["version"]))?;
    ensure!(version.starts_with("peerage ") && version.lines().count() == 1, "{version}");
    let cid = field(&peer.run(&["add", "-n", text(&folder)])?.with_status(0)?.event("added")?, "cid")?;
    let last = printed(peer.plain(&["add", "-r", "-Q", text(&link), text(&folder)]))?.0;
    ensure!(last == format!("{cid}\n"), "{last}");
    let (_, notes) = printed(peer.plain(&["add", text(&link)]))?;
    ensure!(notes.contains("a symlink to folder; see --dereference-args"), "{notes}");

    // `-` is stdout, not a file of that name.
    let path = format!("{cid}/a");
    let mut command = peer.plain(&["get", "--offline", &path, "-o", "-"]);
    command.current_dir(&folder);
    ensure!(printed(command)?.0 == "a", "the file was not printed");
    ensure!(!folder.join("-").exists(), "a file named `-` was made");
    let error = peer.run(&["get", "--offline", &cid, "-o", "-"])?.with_status(1)?.error("content")?;
    ensure!(error.contains("is a folder"), "{error}");
    let error = peer.run(&["cat", "--offline", &format!("{path}/b")])?.with_status(3)?.error("not_found")?;
    ensure!(error.ends_with("a is a file, not a folder"), "{error}");
    Ok(())
}

/// A name that is included, though `get` writes it nowhere, is no entry that was left out.
#[test]
fn remarks_say_what_became_of_an_entry() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    fs::write(folder.join("tab\there"), "x")?;
    fs::write(folder.join(".hidden"), "x")?;
    let added = place.peer("a").run(&["add", text(&folder)])?.with_status(0)?;
    let lines: Vec<serde_json::Value> =
        added.stderr.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let kind = |part: &str| -> Result<&serde_json::Value> {
        let said =
            |line: &&serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains(part));
        Ok(&lines.iter().find(said).context(added.stderr.clone())?["kind"])
    };
    ensure!(kind("included")? == "other" && kind("hidden")? == "skipped", "{}", added.stderr);
    Ok(())
}

/// The command that needs a file that is no longer what it was names it.
#[test]
fn a_changed_file_is_named_by_who_needs_it() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (changed, gone) = (place.path("changed"), place.path("gone"));
    for (path, command) in [(&changed, "cat"), (&gone, "get")] {
        data::random(path, 10_000, 1)?;
        let cid = field(&peer.run(&["add", text(path)])?.with_status(0)?.event("added")?, "cid")?;
        if command == "cat" {
            data::random(path, 10_000, 2)?;
        } else {
            fs::remove_file(path)?;
        }
        let dest = place.path("dest");
        let line =
            [&[command, "--offline", &cid][..], if command == "get" { &["-o", text(&dest)] } else { &[] }];
        let ended = peer.run(&line.concat())?.with_status(3)?;
        let said = if command == "cat" { "changed has changed" } else { "gone is not there any more" };
        ensure!(ended.stderr.contains(said), "{}", ended.stderr);
        fs::write(path, "")?;
    }
    Ok(())
}

/// As deep as other programs make folders.
#[test]
fn a_deep_folder_is_added_and_fetched() -> Result<()> {
    let place = Place::new()?;
    let top = place.path("top");
    let mut path = top.clone();
    for _ in 0..400 {
        path.push("d");
    }
    fs::create_dir_all(&path)?;
    fs::write(path.join("file"), "at the bottom")?;
    let sharing = place.peer("a").share(&[text(&top)])?;
    let dest = place.path("dest");
    place.peer("b").get(&sharing.link()?, &dest)?;
    let below = path.strip_prefix(&top)?.join("file");
    ensure!(fs::read_to_string(dest.join(below))? == "at the bottom", "another file");
    sharing.close()?;
    Ok(())
}
