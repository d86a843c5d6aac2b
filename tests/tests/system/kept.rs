//! Pins, and whether what is kept is still what it was.

use std::fs;
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Place, data};

#[test]
fn pins_come_and_go() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    data::tree(&folder, 1)?;
    let sharing = place.peer("a").share(&[text(&folder)])?;
    let (link, cid) = (sharing.link()?, sharing.cid()?);
    let peer = place.peer("b");
    ensure!(peer.run(&["pin", "ls"])?.with_status(0)?.lines.is_empty(), "there are pins");
    let pinned = peer.run(&["pin", "add", &link, "--name", "mine"])?.with_status(0)?.event("pinned")?;
    ensure!(pinned["cid"] == cid, "{pinned}");
    sharing.close()?;
    let pin = peer.run(&["pin", "ls"])?.with_status(0)?.event("pin")?;
    ensure!(pin["cid"] == cid && pin["type"] == "recursive" && pin["name"] == "mine", "{pin}");
    // All of it is here.
    let dest = place.path("dest");
    peer.run(&["get", &cid, "--offline", "-o", text(&dest)])?.with_status(0)?;
    data::assert_same(&folder, &dest)?;
    peer.run(&["pin", "rm", &cid])?.with_status(0)?.event("unpinned")?;
    ensure!(peer.run(&["pin", "ls"])?.with_status(0)?.lines.is_empty(), "it is still pinned");
    peer.run(&["pin", "rm", &cid])?.with_status(1)?.error("failed")?;
    Ok(())
}

/// `pin ls` prints a CID as `add` did.
#[test]
fn what_is_added_is_pinned() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    fs::write(&file, "hello world")?;
    let peer = place.peer("a");
    for profile in ["unixfs-v1-2025", "unixfs-v0-2015"] {
        let added = peer.run(&["add", "--profile", profile, text(&file)])?.with_status(0)?.event("added")?;
        let cid = field(&added, "cid")?;
        let pins = peer.run(&["pin", "ls"])?.with_status(0)?.events()?;
        ensure!(pins.iter().any(|pin| pin["cid"] == cid && pin["name"] == "file"), "{pins:?}");
        // That is what `up` announces.
        let shares = peer.run(&["shares"])?.with_status(0)?.events()?;
        ensure!(shares.iter().any(|share| share["cid"] == cid && share["announced"] == true), "{shares:?}");
    }
    Ok(())
}

#[test]
fn verify_finds_a_flipped_byte_and_it_is_not_served() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 5 * MIB, 1)?;
    let peer = place.peer("a");
    let sharing = peer.share(&["--keep", text(&file)])?;
    let cid = sharing.cid()?;
    sharing.close()?;
    let verified = peer.run(&["verify"])?.with_status(0)?.event("verified")?;
    ensure!(number(&verified, "blocks")? >= 6 && number(&verified, "bad")? == 0, "{verified}");
    ensure!(number(&verified, "bytes")? > 5 * MIB, "{verified}");
    let mut byte = [0];
    let open = fs::OpenOptions::new().read(true).write(true).open(&file)?;
    open.read_exact_at(&mut byte, 3 * MIB + 17)?;
    open.write_all_at(&[byte[0] ^ 1], 3 * MIB + 17)?;
    drop(open);
    let ended = peer.run(&["verify"])?.with_status(4)?;
    let bad = ended.event("bad")?;
    ensure!(bad["path"] == text(&file) && number(&ended.event("verified")?, "bad")? == 1, "{bad}");
    ended.error("verification")?;
    // The rest is still served; the wrong block never leaves.
    let up = peer.up()?;
    let dest = place.path("dest");
    let args = ["get", &cid, "--from", &up.addr()?, "--wait", "0s", "-o", text(&dest)];
    place.peer("b").run(&args)?.with_status(3)?.error("not_found")?;
    ensure!(!dest.exists(), "a part has the name of the whole");
    up.close()?;
    Ok(())
}

/// The same, while it is being shared.
#[test]
fn a_file_that_changes_is_not_served() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 3 * MIB, 1)?;
    let mut sharing = place.peer("a").share(&[text(&file)])?;
    let link = sharing.link()?;
    data::random(&file, 3 * MIB, 2)?;
    let dest = place.path("dest");
    let args = ["get", &link, "--wait", "0s", "-o", text(&dest)];
    place.peer("b").run(&args)?.with_status(3)?;
    ensure!(!dest.exists(), "something was written");
    // Shared again, it is another root, and the first is gone for good.
    sharing.process.interrupt()?;
    let ended = sharing.process.finish()?.with_status(0)?;
    ensure!(ended.stderr.contains("changed"), "the user was not told: {}", ended.stderr);
    sharing = place.peer("a").share(&[text(&file)])?;
    place.peer("b").get(&sharing.link()?, &dest)?;
    data::assert_same(&file, &dest)
}

/// What a path held before can no longer be served.
#[test]
fn what_is_kept_at_a_path_takes_the_place_of_what_was_there() -> Result<()> {
    let place = Place::new()?;
    let (file, dest) = (place.path("file"), place.path("dest"));
    let (sharer, getter) = (place.peer("a"), place.peer("b"));
    for (seed, overwrite) in [(1, &[][..]), (2, &["--overwrite"][..])] {
        data::random(&file, MIB, seed)?;
        let sharing = sharer.share(&["--keep", text(&file)])?;
        let (link, cid) = (sharing.link()?, sharing.cid()?);
        getter.run(&[&["get", &link, "-o", text(&dest)], overwrite].concat())?.with_status(0)?;
        sharing.close()?;
        for (peer, path) in [(&sharer, &file), (&getter, &dest)] {
            let listed = peer.run(&["shares"])?.with_status(0)?.event("share")?;
            ensure!(listed["cid"] == cid && listed["path"] == text(path), "{listed}");
        }
    }
    Ok(())
}

#[test]
fn a_path_below_a_root_does_not_remove_the_root() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    data::many(&folder, 2, 10, 1)?;
    let peer = place.peer("a");
    peer.share(&["--keep", text(&folder)])?.close()?;
    let cid = field(&peer.run(&["add", text(&folder)])?.with_status(0)?.event("added")?, "cid")?;
    let below = format!("{cid}/000001");
    peer.run(&["pin", "rm", &below])?.with_status(1)?.error("failed")?;
    peer.run(&["shares", "rm", &below])?.with_status(2)?.error("usage")?;
    ensure!(peer.run(&["shares"])?.with_status(0)?.lines.len() == 2, "something was removed");
    for command in ["pin", "shares"] {
        peer.run(&[command, "rm", &cid])?.with_status(0)?;
    }
    Ok(())
}
