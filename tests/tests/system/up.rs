//! `up` serves what is kept while it runs, not what was kept when it began.

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, text};
use peerage_tests::{MIB, Place, Sharing, data};

/// Fetches `cid` from `up` as a peer that has nothing yet; the exit status must be `status`.
fn fetch(place: &Place, up: &Sharing, getter: &str, cid: &str, status: i32) -> Result<()> {
    let dest = place.path(&format!("{getter}.got"));
    let args = ["get", cid, "--from", &up.addr()?, "--wait", "0s", "--no-keep", "-o", text(&dest)];
    place.peer(getter).run(&args)?.with_status(status)?;
    ensure!(dest.exists() == (status == 0), "{}", dest.display());
    Ok(())
}

#[test]
fn what_is_added_and_removed_through_up_is_served_and_not_served() -> Result<()> {
    let place = Place::new()?;
    let (added, shared) = (place.path("added"), place.path("shared"));
    data::random(&added, MIB, 1)?;
    data::random(&shared, MIB, 2)?;
    let peer = place.peer("a");
    let up = peer.up()?;

    let cid = field(&peer.run_attached(&["add", text(&added)])?.with_status(0)?.event("added")?, "cid")?;
    fetch(&place, &up, "b", &cid, 0)?;
    peer.run_attached(&["pin", "rm", &cid])?.with_status(0)?;
    fetch(&place, &up, "c", &cid, 3)?;

    let mut sharing = peer.plain(&["share", "--keep", text(&shared)]);
    sharing.arg("--json");
    let sharing = Sharing::start(sharing)?;
    let cid = sharing.cid()?;
    sharing.close()?;
    fetch(&place, &up, "d", &cid, 0)?;
    peer.run_attached(&["shares", "rm", &cid])?.with_status(0)?;
    fetch(&place, &up, "e", &cid, 3)?;
    up.close()?;
    Ok(())
}

#[test]
fn what_is_fetched_and_pinned_through_up_is_served() -> Result<()> {
    let place = Place::new()?;
    let (file, folder) = (place.path("file"), place.path("folder"));
    data::random(&file, MIB, 1)?;
    data::many(&folder, 3, 1000, 2)?;
    let first = place.peer("a").share(&[text(&file)])?;
    let second = place.peer("b").share(&[text(&folder)])?;
    let peer = place.peer("c");
    let up = peer.up()?;
    let got = place.path("c.file");
    peer.run_attached(&["get", &first.link()?, "-o", text(&got)])?.with_status(0)?;
    peer.run_attached(&["pin", "add", &second.link()?])?.with_status(0)?;
    let (file, folder) = (first.cid()?, second.cid()?);
    first.close()?;
    second.close()?;
    fetch(&place, &up, "d", &file, 0)?;
    fetch(&place, &up, "e", &folder, 0)?;
    up.close()?;
    Ok(())
}
