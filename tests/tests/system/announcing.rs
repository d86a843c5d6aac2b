//! `share --announce`, and what `up` announces: what is not announced is found
//! by nobody.

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Peer, Place, Sharing, data};
use serde_json::Value;

/// A `share` or `up` that knows the one in the middle.
fn start(peer: &Peer, middle: &Sharing, args: &[&str]) -> Result<Sharing> {
    Sharing::start(peer.command(&[args, &["--bootstrap", &middle.addr()?]].concat()))
}

/// The exit status of `find` by a peer that knows the one in the middle.
fn find(place: &Place, middle: &Sharing, cid: &str, status: i32) -> Result<()> {
    // No server: it will be gone when the next is told.
    let args = ["find", cid, "--dht", "client", "--bootstrap", &middle.addr()?];
    place.peer("finder").run(&args)?.with_status(status)?;
    Ok(())
}

/// How the announcing of a running peer stands on the LAN.
fn announcements(peer: &Peer) -> Result<Value> {
    let status = peer.run_attached(&["status"])?.with_status(0)?.event("status")?;
    let all = status["announcements"].as_array().context("no announcements")?;
    all.iter().find(|one| one["network"] == "lan").cloned().context("none for the LAN")
}

/// Waits until all of `keys` were told.
fn until_told(peer: &Peer, owner: &mut Sharing, keys: u64) -> Result<Value> {
    loop {
        let state = announcements(peer)?;
        let told = number(&state, "keys")? == keys && number(&state, "backlog")? == 0;
        if told && state["online"] == true {
            return Ok(state);
        }
        ensure!(owner.process.is_running()?, "it ended");
    }
}

/// Waits until so many keys are announced, or would be if there were anybody.
fn until_asked(peer: &Peer, keys: u64) -> Result<()> {
    while number(&announcements(peer)?, "keys")? != keys {}
    Ok(())
}

/// Records that the one in the middle keeps.
fn records(middle: &Peer) -> Result<u64> {
    let status = middle.run_attached(&["status"])?.with_status(0)?.event("status")?;
    let all = status["dht"].as_array().context("no DHTs")?;
    Ok(all.iter().filter_map(|dht| dht["provider_records"].as_u64()).sum())
}

#[test]
fn a_share_is_found_by_its_link_only() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, MIB, 1)?;
    let middle = place.peer("middle").up()?;
    let sharer = place.peer("sharer");
    let mut sharing = start(&sharer, &middle, &["share", "--keep", text(&file)])?;
    let (link, cid) = (sharing.link()?, sharing.cid()?);
    ensure!(
        link.contains("find=no") && sharing.ready["shares"][0]["announced"] == false,
        "{}",
        sharing.ready
    );
    // Whoever fetches it tells nobody either.
    let dest = place.path("dest");
    let get = ["get", &link, "-o", text(&dest), "--dht", "client", "--bootstrap", &middle.addr()?];
    place.peer("getter").run(&get)?.with_status(0)?.event("done")?;
    find(&place, &middle, &cid, 3)?;
    // A peer that has everything ready to announce has nothing to announce.
    until_told(&sharer, &mut sharing, 0)?;
    sharing.close()?;
    let mut up = start(&sharer, &middle, &["up", "--provide", "all"])?;
    until_told(&sharer, &mut up, 0)?;
    let share = sharer.run_attached(&["shares"])?.with_status(0)?.event("share")?;
    ensure!(share["announced"] == false, "{share}");
    find(&place, &middle, &cid, 3)?;
    ensure!(records(&place.peer("middle"))? == 0, "a record was kept");
    up.close()?;
    middle.close()?;
    Ok(())
}

/// Nor does one who pins it by its link tell anybody, before he names the CID alone.
#[test]
fn what_is_pinned_by_such_a_link_is_not_announced() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 2 * MIB, 1)?;
    let middle = place.peer("middle").up()?;
    // No server: it will be gone when the next is told.
    let sharing = start(&place.peer("sharer"), &middle, &["share", "--dht", "client", text(&file)])?;
    let (link, cid) = (sharing.link()?, sharing.cid()?);
    let pinner = place.peer("pinner");
    let ended = pinner.run(&["pin", "add", &link])?.with_status(0)?;
    ensure!(ended.event("pinned")?["cid"] == cid.as_str(), "{:?}", ended.lines);
    ensure!(ended.stderr.contains("not announced"), "{}", ended.stderr);
    sharing.close()?;
    let mut up = start(&pinner, &middle, &["up", "--provide", "all"])?;
    until_told(&pinner, &mut up, 0)?;
    find(&place, &middle, &cid, 3)?;
    ensure!(records(&place.peer("middle"))? == 0, "a record was kept");
    // The root and 2 leaves, each to the one in the middle.
    pinner.run_attached(&["pin", "add", &cid])?.with_status(0)?;
    while number(&announcements(&pinner)?, "records")? < 3 {
        ensure!(up.process.is_running()?, "it ended");
    }
    find(&place, &middle, &cid, 0)?;
    // And back.
    pinner.run_attached(&["pin", "add", &link])?.with_status(0)?;
    until_told(&pinner, &mut up, 0)?;
    up.close()?;
    middle.close()?;
    Ok(())
}

#[test]
fn an_announced_share_is_found_by_everybody() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, MIB, 1)?;
    let middle = place.peer("middle").up()?;
    let mut sharing = start(&place.peer("sharer"), &middle, &["share", "--announce", text(&file)])?;
    let (link, cid) = (sharing.link()?, sharing.cid()?);
    ensure!(
        !link.contains("find=no") && sharing.ready["shares"][0]["announced"] == true,
        "{}",
        sharing.ready
    );
    let announced = sharing.process.wait_for("announced")?;
    ensure!(announced["cid"] == cid.as_str() && announced["network"] == "lan", "{announced}");
    find(&place, &middle, &cid, 0)?;
    let dest = place.path("dest");
    let get = ["get", &cid, "-o", text(&dest), "--dht", "client", "--bootstrap", &middle.addr()?];
    place.peer("getter").run(&get)?.with_status(0)?.event("done")?;
    data::assert_same(&file, &dest)?;
    sharing.process.interrupt()?;
    let words = sharing.process.finish()?.with_status(0)?.stderr;
    ensure!(words.contains("on this network only"), "{words}");
    middle.close()?;
    Ok(())
}

/// What is said of each of several roots is true of it, and nothing is said
/// before anybody was told.
#[test]
fn each_root_is_announced_for_itself() -> Result<()> {
    let place = Place::new()?;
    let files: Vec<_> = (0..3).map(|n| place.path(&format!("file{n}"))).collect();
    for (n, file) in (0..).zip(&files) {
        data::random(file, 1000, n)?;
    }
    let middle = place.peer("middle").up()?;
    let paths: Vec<&str> = files.iter().map(|file| text(file)).collect();
    let share = [&["share", "--announce", "--separate"], &paths[..]].concat();
    let mut sharing = start(&place.peer("sharer"), &middle, &share)?;
    let shares = sharing.ready["shares"].as_array().context("no shares")?.clone();
    for _ in &shares {
        let announced = sharing.process.wait_for("announced")?;
        let cid = field(&announced, "cid")?;
        ensure!(shares.iter().any(|share| share["cid"] == cid.as_str()), "{announced}");
        find(&place, &middle, &cid, 0)?;
    }
    sharing.close()?;
    middle.close()?;
    // With nobody to tell, it is never said.
    let alone = place.peer("alone");
    let lonely = Sharing::start(alone.command(&["share", "--announce", text(&files[0])]))?;
    until_asked(&alone, 1)?;
    lonely.process.interrupt()?;
    let ended = lonely.process.finish()?.with_status(0)?;
    ensure!(!ended.lines.iter().any(|line| line.contains("announced\"")), "{:?}", ended.lines);
    // Without a DHT it makes no sense, on a peer of one's own and by way of an owner.
    let off = [&["share", "--announce", text(&files[0])], &["--dht", "off"][..]].concat();
    let message = alone.run(&off)?.with_status(2)?.error("usage")?;
    ensure!(message.contains("--dht off"), "{message}");
    let owner = Sharing::start(alone.command(&["up", "--dht", "off"]))?;
    let ended = alone.run_attached(&["share", "--announce", text(&files[0])])?.with_status(2)?;
    ensure!(ended.error("usage")?.contains("--dht off"), "{}", ended.stderr);
    owner.close()?;
    Ok(())
}

/// Pins and announced shares, as they come and go.
#[test]
fn what_up_announces() -> Result<()> {
    let place = Place::new()?;
    let (pinned, shared) = (place.path("pinned"), place.path("shared"));
    data::random(&pinned, 3 * MIB, 1)?;
    data::random(&shared, 2 * MIB, 2)?;
    let middle = place.peer("middle").up()?;
    let peer = place.peer("a");
    let pin = field(&peer.run(&["add", text(&pinned)])?.with_status(0)?.event("added")?, "cid")?;
    let mut up = start(&peer, &middle, &["up"])?;
    until_told(&peer, &mut up, 1)?;
    find(&place, &middle, &pin, 0)?;
    // A share that is kept announced stays so when it ends.
    let mut share = peer.plain(&["share", "--announce", "--keep", text(&shared)]);
    share.arg("--json");
    let share = Sharing::start(share)?;
    let cid = share.cid()?;
    share.close()?;
    until_told(&peer, &mut up, 2)?;
    find(&place, &middle, &cid, 0)?;
    let lines = peer.run_attached(&["shares"])?.with_status(0)?.events()?;
    let announced = |cid: &str| lines.iter().any(|line| line["cid"] == cid && line["announced"] == true);
    ensure!(announced(&cid) && announced(&pin), "{lines:?}");
    let state = announcements(&peer)?;
    ensure!(number(&state, "records")? >= 2 && state["next_due_seconds"].is_number(), "{state}");
    up.close()?;

    // Every block: the root and 3 leaves of the pin; and the root and 2 leaves of the share.
    for (what, keys) in [("pinned", 5), ("all", 7), ("roots", 2)] {
        let mut up = start(&peer, &middle, &["up", "--provide", what])?;
        while number(&until_told(&peer, &mut up, keys)?, "records")? < keys {}
        up.close()?;
    }
    // What an earlier run told waits for its turn.
    let mut up = start(&peer, &middle, &["up"])?;
    let state = until_told(&peer, &mut up, 2)?;
    ensure!(number(&state, "records")? == 0, "told again: {state}");
    peer.run_attached(&["shares", "rm", &cid])?.with_status(0)?;
    until_told(&peer, &mut up, 1)?;
    peer.run_attached(&["pin", "rm", &pin])?.with_status(0)?;
    until_told(&peer, &mut up, 0)?;
    up.close()?;
    middle.close()?;
    Ok(())
}

/// Whoever knew servers of the DHT needs nobody else to begin with.
#[test]
fn servers_are_remembered() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 1000, 1)?;
    let middle = place.peer("middle").up()?;
    let sharer = place.peer("sharer");
    let mut sharing = start(&sharer, &middle, &["share", "--announce", text(&file)])?;
    sharing.process.wait_for("announced")?;
    let cid = sharing.cid()?;
    find(&place, &middle, &cid, 0)?;
    let finder = place.peer("finder");
    let gone = "/ip4/127.0.0.1/tcp/1";
    finder.run(&["find", &cid, "--bootstrap", gone])?.with_status(0)?;
    finder.run(&["find", &cid, "--bootstrap", "none"])?.with_status(0)?;
    sharing.close()?;
    middle.close()?;
    Ok(())
}
