//! What `add` takes and leaves out, and that its flags reach the CIDs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, text};
use peerage_tests::{Peer, Place, data};

fn cid(peer: &Peer, args: &[&str]) -> Result<String> {
    field(&peer.run(&[&["add", "--only-hash"], args].concat())?.with_status(0)?.event("added")?, "cid")
}

/// CIDs that Kubo 0.43 printed for the same flags (`ipfs add --only-hash`), the profile
/// being applied to its configuration.
#[test]
fn flags_decide_cids_as_in_kubo() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let file = place.path("file");
    fs::write(&file, "hello world")?;
    let path = text(&file);
    for (flags, want) in [
        ("--profile unixfs-v0-2015", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (
            "--profile unixfs-v0-2015 --cid-version 1",
            "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa",
        ),
        (
            "--profile unixfs-v0-2015 --raw-leaves",
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        ),
        (
            "--hash sha2-512",
            "bafkrgqbqt3gerhas23vuzrapkdeqf4vu2dwxp3srdj6hvg6nhsug2tgyn6mj3u23yx7utftq3i2ckw2fwdh5qmhid5qf3t35yvkc5e5ottlw6",
        ),
        ("--inline", "bafkqac3imvwgy3zao5xxe3de"),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        let got = cid(&peer, &[&flags[..], &[path]].concat())?;
        ensure!(got == want, "{flags:?}: {got}");
    }
    for wrong in [
        &["--chunker", "size-0"][..],
        &["--hash", "md5"],
        &["--hash", "blake3", "--cid-version", "0"],
        &["--preserve-mode", "--raw-leaves"],
        &["--hamt-fanout", "9"],
        &["--inline-limit", "5"],
        &["--ignore", "a[z-a]"],
    ] {
        peer.run(&[&["add", "--only-hash"], wrong, &[path]].concat())?.with_status(2)?;
    }
    Ok(())
}

/// What is added with any layout and chunker is read back by another peer.
#[test]
fn every_form_is_served_and_read() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let tree = place.path("tree");
    data::tree(&tree, 5)?;
    data::random(&tree.join("large"), 900_000, 5)?;
    let mut cids = Vec::new();
    for flags in [
        "--trickle --chunker size-1000 --max-links 5",
        "--chunker rabin-1000-2000-4000 --max-links 7",
        "--chunker buzhash --profile unixfs-v0-2015",
        "--inline --inline-limit 128 --chunker size-100000",
        "--hash blake3 --raw-leaves=false --chunker size-65536 --copy",
        "--preserve-mode --preserve-mtime --chunker size-50000 --copy",
        "--hamt-threshold 1 --hamt-fanout 16",
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        let add = [&["add", "--hidden"], &flags[..], &[text(&tree)]].concat();
        let added = a.run(&add)?.with_status(0)?.event("added")?;
        let only: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--copy").collect();
        let hashed = cid(&a, &[&["--hidden"], &only[..], &[text(&tree)]].concat())?;
        ensure!(added["cid"] == hashed.as_str(), "{flags:?}: {added} {hashed}");
        cids.push(hashed);
    }
    a.run(&["verify"])?.with_status(0)?;
    let up = a.up()?;
    for (number, cid) in cids.iter().enumerate() {
        let dest = place.path(&format!("out{number}"));
        b.run(&["get", cid, "--from", &up.addr()?, "-o", text(&dest)])?.with_status(0)?;
        data::assert_same(&tree, &dest)?;
    }
    up.close()?;
    Ok(())
}

#[test]
fn patterns_and_hidden_entries_are_left_out() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (all, wanted) = (place.path("all"), place.path("wanted"));
    for folder in [&all, &wanted] {
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/main.c"), "int main;")?;
        fs::write(folder.join("src/keep.o"), "kept")?;
    }
    fs::create_dir_all(all.join("target/deep"))?;
    fs::write(all.join("target/deep/x"), "x")?;
    fs::write(all.join("src/main.o"), "object")?;
    fs::write(all.join(".hidden"), "h")?;
    let rules = place.path("rules");
    fs::write(&rules, "# built\n*.o\n/target/\n")?;
    let args = ["--ignore-rules-path", text(&rules), "--ignore", "!keep.o", text(&all)];
    ensure!(cid(&peer, &args)? == cid(&peer, &[text(&wanted)])?);
    let added = peer.run(&[&["add", "--only-hash"], &args[..]].concat())?;
    ensure!(added.stderr.contains("match a pattern left out: 2"), "{}", added.stderr);
    ensure!(cid(&peer, &["--hidden", text(&all)])? != cid(&peer, &[text(&all)])?);
    Ok(())
}

#[test]
fn a_symlink_that_is_named_is_kept_or_followed() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (file, link) = (place.path("foo"), place.path("link"));
    fs::write(&file, "content\n")?;
    symlink("foo", &link)?;
    let old = ["--profile", "unixfs-v0-2015"];
    // Both from the tests of Kubo.
    let kept = cid(&peer, &[&old[..], &[text(&link)]].concat())?;
    ensure!(kept == "QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5", "{kept}");
    let followed = cid(&peer, &[&old[..], &["--dereference-args", text(&link)]].concat())?;
    ensure!(followed == "Qme2y5HA5kvo2jAx13UsnV5bQJVijiAJCPvaW3JGQWhvJZ", "{followed}");
    // One that leads nowhere is a symlink all the same.
    let dangling = place.path("dangling");
    symlink("nowhere", &dangling)?;
    cid(&peer, &[text(&dangling)])?;
    peer.run(&["add", "--dereference-args", text(&dangling)])?.with_status(1)?.error("path")?;
    Ok(())
}

#[test]
fn permissions_are_kept_and_come_back() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (file, dest) = (place.path("script"), place.path("out"));
    fs::write(&file, "#!/bin/sh\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o750))?;
    let added = peer.run(&["add", "--copy", "--preserve-mode", text(&file)])?.with_status(0)?;
    let root = field(&added.event("added")?, "cid")?;
    let stat = peer.run(&["stat", "--offline", &root])?.with_status(0)?.event("stat")?;
    ensure!(stat["mode"] == 0o750 && stat["mtime"].is_null(), "{stat}");
    peer.run(&["get", "--offline", &root, "-o", text(&dest)])?.with_status(0)?;
    ensure!(fs::metadata(&dest)?.permissions().mode() & 0o777 == 0o750);
    Ok(())
}
