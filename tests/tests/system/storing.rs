//! What a repository gives back, refuses, finds out about itself and mends.

use std::fs;
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Peer, Place, data};

fn add(peer: &Peer, args: &[&str]) -> Result<String> {
    field(&peer.run(&[&["add", "--copy"], args].concat())?.with_status(0)?.event("added")?, "cid")
}

#[test]
fn gc_gives_back_what_was_unpinned_and_nothing_else() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (kept, dropped) = (place.path("kept"), place.path("dropped"));
    data::random(&kept, 3 * MIB, 1)?;
    data::random(&dropped, 20 * MIB, 2)?;
    let kept_cid = add(&peer, &[text(&kept)])?;
    let dropped_cid = add(&peer, &[text(&dropped)])?;
    let collected = |args: &[&str]| peer.run(args)?.with_status(0)?.event("collected");
    ensure!(number(&collected(&["gc", "--dry-run"])?, "dead_bytes")? == 0);
    peer.run(&["pin", "rm", &dropped_cid])?.with_status(0)?;
    let before = peer.repo_bytes()?;
    let dry = collected(&["gc", "--dry-run"])?;
    ensure!(number(&dry, "dead_bytes")? > 20 * MIB && number(&dry, "freed_bytes")? == 0, "{dry}");
    ensure!(peer.repo_bytes()? >= before, "a dry run gave something back");
    let status = peer.run(&["status"])?.with_status(0)?.event("status")?;
    ensure!(status["store"]["dead_bytes"] == dry["dead_bytes"], "{status}");
    // Through an owner that serves meanwhile.
    let up = peer.up()?;
    ensure!(number(&collected(&["gc"])?, "freed_bytes")? > 19 * MIB);
    up.close()?;
    ensure!(peer.repo_bytes()? < before - 19 * MIB);
    let got = place.path("got");
    peer.run(&["get", &kept_cid, "--offline", "-o", text(&got)])?.with_status(0)?;
    data::assert_same(&kept, &got)?;
    peer.run(&["cat", &dropped_cid, "--offline"])?.with_status(3)?;
    Ok(())
}

#[test]
fn what_is_over_max_store_is_refused_after_a_collection() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (first, second, third) = (place.path("first"), place.path("second"), place.path("third"));
    data::random(&first, 6 * MIB, 1)?;
    data::random(&second, 6 * MIB, 2)?;
    data::random(&third, 6 * MIB, 3)?;
    let limit = ["--max-store", "15MB"];
    let first_cid = add(&peer, &[&limit[..], &[text(&first)]].concat())?;
    add(&peer, &[&limit[..], &[text(&second)]].concat())?;
    let refused = peer.run(&[&["add", "--copy", text(&third)], &limit[..]].concat())?.with_status(1)?;
    let why = refused.error("failed")?;
    ensure!(why.contains("the store may take 15000000 bytes"), "{why}");
    peer.run(&["pin", "rm", &first_cid])?.with_status(0)?;
    // Room is made by itself.
    add(&peer, &[&limit[..], &[text(&third)]].concat())?;
    ensure!(peer.repo_bytes()? < 16 * MIB);
    peer.run(&["verify"])?.with_status(0)?;
    Ok(())
}

#[test]
fn verify_says_what_is_missing_again_and_again_and_repairs_it() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    data::random(&folder.join("file"), 3 * MIB, 1)?;
    let cid = field(&a.run(&["add", text(&folder)])?.with_status(0)?.event("added")?, "cid")?;
    // Another peer has it all.
    let other = place.path("other");
    fs::create_dir(&other)?;
    fs::copy(folder.join("file"), other.join("file"))?;
    ensure!(field(&b.run(&["add", text(&other)])?.with_status(0)?.event("added")?, "cid")? == cid);
    let up = b.up()?;
    fs::File::options().write(true).open(folder.join("file"))?.write_all_at(b"X", MIB + 5)?;
    let changed = fs::read(folder.join("file"))?;
    for round in 0..2 {
        let ended = a.run(&["verify"])?.with_status(4)?;
        let verified = ended.event("verified")?;
        ensure!(
            number(&verified, "missing")? == 1 && number(&verified, "incomplete_roots")? == 1,
            "{verified}"
        );
        ensure!(number(&verified, "bad")? == u64::from(round == 0), "{verified}");
        let bad: Vec<_> = ended.events()?.into_iter().filter(|line| line["event"] == "bad").collect();
        ensure!(bad.iter().all(|bad| bad["needed_by"][0] == "folder"), "{bad:?}");
        ensure!(bad.len() == 1 && bad[0]["path"].is_string() == (round == 0), "{bad:?}");
    }
    let repaired =
        a.run(&["verify", "--repair", "--from", &up.addr()?])?.with_status(0)?.event("repaired")?;
    ensure!(number(&repaired, "blocks")? == 1 && number(&repaired, "missing")? == 0, "{repaired}");
    up.close()?;
    a.run(&["verify"])?.with_status(0)?;
    ensure!(fs::read(folder.join("file"))? == changed, "a file of the user's was written to");
    // Nobody has this any more.
    fs::File::options().write(true).open(folder.join("file"))?.write_all_at(b"Y", 5)?;
    let ended = a.run(&["verify", "--repair"])?.with_status(4)?;
    ensure!(number(&ended.event("repaired")?, "missing")? == 1);
    // What was fetched is read back with the rest once the file is what it was.
    fs::copy(other.join("file"), folder.join("file"))?;
    a.run(&["add", text(&folder)])?.with_status(0)?;
    let got = place.path("got");
    a.run(&["get", &cid, "--offline", "-o", text(&got)])?.with_status(0)?;
    data::assert_same(&other, &got)
}

#[test]
fn files_that_were_moved_are_found_when_verify_is_pointed_at_a_folder() -> Result<()> {
    let place = Place::new()?;
    let a = place.peer("a");
    let (photos, archive) = (place.path("photos"), place.path("archive"));
    fs::create_dir_all(photos.join("summer"))?;
    data::random(&photos.join("first"), 3 * MIB, 1)?;
    data::random(&photos.join("summer/second"), 3 * MIB, 2)?;
    let alone = place.path("alone");
    data::random(&alone, 2 * MIB, 3)?;
    let cid = field(&a.run(&["add", text(&photos)])?.with_status(0)?.event("added")?, "cid")?;
    a.run(&["add", text(&alone)])?.with_status(0)?;
    fs::create_dir(&archive)?;
    fs::rename(&photos, archive.join("pictures"))?;
    fs::rename(&alone, archive.join("pictures/renamed"))?;
    a.run(&["cat", &format!("{cid}/first"), "--offline"])?.with_status(3)?;
    let lost = a.run(&["verify"])?.with_status(4)?;
    ensure!(number(&lost.event("verified")?, "missing")? == 8);
    let bad: Vec<_> = lost.events()?.into_iter().filter(|line| line["event"] == "bad").collect();
    ensure!(bad.len() == 8 && bad.iter().all(|bad| bad["problem"] == "the file is gone"), "{bad:?}");
    a.run(&["verify", text(&archive)])?.with_status(2)?;
    let nowhere = place.path("nowhere");
    a.run(&["verify", "--repair", text(&nowhere)])?.with_status(1)?;
    // Through an owner that serves meanwhile, by a symlink.
    let link = place.path("link");
    std::os::unix::fs::symlink(&archive, &link)?;
    let up = a.up()?;
    let found = a.run(&["verify", "--repair", text(&link)])?.with_status(0)?;
    up.close()?;
    let moved: Vec<_> = found.events()?.into_iter().filter(|line| line["event"] == "moved").collect();
    ensure!(moved.len() == 2 && moved.iter().any(|one| one["files"] == 2), "{moved:?}");
    let looked = found.event("looked")?;
    ensure!(number(&looked, "found")? == 3 && number(&looked, "lost")? == 0, "{looked}");
    a.run(&["verify"])?.with_status(0)?;
    let got = place.path("got");
    a.run(&["get", &cid, "--offline", "-o", text(&got)])?.with_status(0)?;
    data::assert_same(&archive.join("pictures/first"), &got.join("first"))?;
    data::assert_same(&archive.join("pictures/summer/second"), &got.join("summer/second"))
}
