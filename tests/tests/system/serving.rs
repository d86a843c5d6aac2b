//! Who is served what, and when a share ends.

use anyhow::{Result, ensure};
use peerage_tests::peer::{Sharing, field, text};
use peerage_tests::process::Process;
use peerage_tests::{MIB, Place, data};

#[test]
fn a_getter_serves_when_the_sharer_is_gone_and_later_under_up() -> Result<()> {
    let place = Place::new()?;
    let source = place.path("source");
    data::tree(&source, 1)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let (link, cid) = (sharing.link()?, sharing.cid()?);
    let second = place.peer("b");
    let addr = "/ip4/127.0.0.1/tcp/0";
    let mut seeding = Process::spawn(
        second.command(&["get", &link, "-o", text(&place.path("b.got")), "--seed-for", "1h"]),
        "",
    )?;
    seeding.wait_for("done")?;
    sharing.close()?;

    // Another command on the repository goes through the one that seeds.
    let id = second.run(&["id"])?.with_status(0)?.event("identity")?;
    let from = field(&id["addrs"], 0)?;
    let third = place.peer("c");
    let fetch = |from: &str, dest: &str| {
        let dest = place.path(dest);
        third.run(&["get", &cid, "--from", from, "--no-keep", "-o", text(&dest)])?.with_status(0)?;
        data::assert_same(&source, &dest)
    };
    fetch(&from, "c.first")?;
    seeding.interrupt()?;
    seeding.finish()?.with_status(130)?;

    let up = second.up()?;
    ensure!(
        up.ready["reachability"].is_string() && up.addr()?.starts_with(addr.trim_end_matches('0')),
        "{}",
        up.ready
    );
    fetch(&up.addr()?, "c.second")?;
    up.close()?;
    Ok(())
}

#[test]
fn once_ends_when_one_peer_has_everything() -> Result<()> {
    let place = Place::new()?;
    let (file, folder) = (place.path("file"), place.path("folder"));
    data::random(&file, 3 * MIB, 1)?;
    data::tree(&folder, 2)?;
    let sharing = place.peer("a").share(&["--once", "--separate", text(&file), text(&folder)])?;
    let links: Vec<String> =
        (0..2).map(|i| field(&sharing.ready["shares"][i], "link")).collect::<Result<_>>()?;
    let mut process = sharing.process;
    let getter = place.peer("b");
    // All of one root is not everything, and a second peer is another peer.
    getter.get(&links[0], &place.path("b.file"))?;
    place.peer("c").get(&links[1], &place.path("c.folder"))?;
    getter.get(&links[1], &place.path("b.folder"))?;
    let served = process.wait_until(|line| line["event"] == "served" && line["complete"] == true)?;
    let id = getter.run(&["id"])?.event("identity")?;
    ensure!(served["peer"] == id["peer_id"], "{served}");
    process.finish()?.with_status(0)?.event("closed")?;
    Ok(())
}

#[test]
fn once_ends_for_the_smallest_root() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 1, 1)?;
    let sharing = place.peer("a").share(&["--once", text(&file)])?;
    place.peer("b").get(&sharing.link()?, &place.path("got"))?;
    sharing.process.finish()?.with_status(0)?.event("closed")?;
    Ok(())
}

/// A root in the store that is not shared, and one that is nowhere, look alike.
#[test]
fn what_is_not_shared_looks_like_what_is_not_there() -> Result<()> {
    let place = Place::new()?;
    let (shared, secret) = (place.path("shared"), place.path("secret"));
    data::random(&shared, MIB, 1)?;
    data::random(&secret, MIB, 2)?;
    let sharer = place.peer("a");
    let added = sharer.run(&["add", text(&secret)])?.with_status(0)?.event("added")?;
    let sharing = sharer.share(&[text(&shared)])?;
    let addr = sharing.addr()?;
    let nowhere = "bafkreidmuy2n45xj3cdknzprtzo2uvgm3hak6mzy5sllxty457agsftd34";
    let ask = |cid: &str| -> Result<String> {
        let dest = place.path("never");
        let args = ["get", cid, "--from", &addr, "--wait", "0s", "-o", text(&dest)];
        let message = place.peer("b").run(&args)?.with_status(3)?.error("not_found")?;
        ensure!(!dest.exists(), "something was written");
        Ok(message.replace(cid, "CID"))
    };
    ensure!(ask(&field(&added, "cid")?)? == ask(nowhere)?, "the answers differ");
    // The same peer gives what it shares.
    place.peer("b").get(&sharing.link()?, &place.path("got"))?;
    // Once it runs for its pins, that one is served as well.
    sharing.close()?;
    let up = sharer.up()?;
    let dest = place.path("pinned");
    let cid = field(&added, "cid")?;
    place.peer("b").run(&["get", &cid, "--from", &up.addr()?, "-o", text(&dest)])?.with_status(0)?;
    data::assert_same(&secret, &dest)
}

#[test]
fn a_kept_share_is_served_by_up_until_removed() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, MIB, 1)?;
    let sharer = place.peer("a");
    let sharing = sharer.share(&["--keep", text(&file)])?;
    let cid = sharing.cid()?;
    sharing.close()?;
    let listed = sharer.run(&["shares"])?.with_status(0)?.event("share")?;
    ensure!(listed["cid"] == cid && listed["path"] == text(&file) && listed["why"] == "shared", "{listed}");
    let try_from = |up: &Sharing, getter: &str| {
        let dest = place.path(&format!("{getter}.got"));
        place.peer(getter).run(&["get", &cid, "--from", &up.addr()?, "--wait", "0s", "-o", text(&dest)])
    };
    let up = sharer.up()?;
    try_from(&up, "b")?.with_status(0)?;
    up.close()?;
    sharer.run(&["shares", "rm", text(&file)])?.with_status(0)?.event("unshared")?;
    ensure!(sharer.run(&["shares", "ls"])?.with_status(0)?.lines.is_empty(), "it is still listed");
    sharer.run(&["shares", "rm", &cid])?.with_status(1)?.error("failed")?;
    let up = sharer.up()?;
    try_from(&up, "c")?.with_status(3)?;
    Ok(())
}
