//! `status` and `peers --dht`.

use std::io::ErrorKind;
use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Place, Process, Sharing, data};
use serde_json::Value;

fn dht<'a>(status: &'a Value, network: &str) -> Result<&'a Value> {
    let all = status["dht"].as_array().context("no DHTs")?;
    all.iter().find(|dht| dht["network"] == network).with_context(|| format!("no {network} in {status}"))
}

#[test]
fn the_table_and_what_is_kept() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 1000, 1)?;
    let (middle, other) = (place.peer("middle"), place.peer("other"));
    let up = middle.up()?;
    let (id, addr) = (field(&up.ready, "peer_id")?, up.addr()?);
    let cid = field(&other.run(&["add", text(&file)])?.with_status(0)?.event("added")?, "cid")?;
    let owner = Sharing::start(other.command(&["up", "--bootstrap", &addr]))?;
    other.run_attached(&["provide", &cid])?.with_status(0)?;

    let peer = other.run_attached(&["peers", "--dht"])?.with_status(0)?.event("dht_peer")?;
    ensure!(peer["peer_id"] == id.as_str() && peer["network"] == "lan", "{peer}");
    ensure!(number(&peer, "bucket")? < 256, "{peer}");
    let status = other.run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(
        status["peer_id"] == owner.ready["peer_id"] && status["addrs"] == owner.ready["addrs"],
        "{status}"
    );
    ensure!(number(&status["connections"], "outbound")? == 1, "{status}");
    ensure!(number(&status["store"], "pins")? == 1 && number(&status["store"], "shares")? == 0, "{status}");
    let lan = dht(&status, "lan")?;
    ensure!(lan["mode"] == "server" && number(lan, "peers")? == 1, "{lan}");
    let buckets = lan["buckets"].as_array().context("no buckets")?;
    let counts: u64 = buckets.iter().filter_map(|bucket| bucket["peers"].as_u64()).sum();
    ensure!(counts == 1, "{lan}");
    ensure!(dht(&status, "wan")?["mode"] == "client", "{status}");
    // The one in the middle was told, and says so.
    let status = middle.run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(number(dht(&status, "lan")?, "provider_records")? == 1, "{status}");
    ensure!(number(&status["connections"], "inbound")? == 1, "{status}");

    // What people read.
    let words = |args: &[&str]| Process::spawn(other.plain(args), "")?.finish()?.with_status(0);
    let lines = words(&["status"])?.lines.join("\n");
    for word in [&id[..0], "LAN DHT        server, 1 peer in 1 bucket", "mDNS", "1 pin"] {
        ensure!(lines.contains(word), "no {word} in {lines}");
    }
    let lines = words(&["peers", "--dht"])?.lines;
    ensure!(lines.len() == 2 && lines[1].contains("LAN DHT") && lines[1].contains(&id), "{lines:?}");
    owner.close()?;

    // Without an owner, a peer asks whom it was told to begin with.
    let peer = place.peer("third").run(&["peers", "--dht", "--bootstrap", &addr])?.with_status(0)?;
    ensure!(peer.event("dht_peer")?["peer_id"] == id.as_str(), "{:?}", peer.lines);
    up.close()?;
    Ok(())
}

/// A peer that has begun just to be asked would say nothing of the one that is meant.
#[test]
fn nobody_runs_the_peer() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 1000, 1)?;
    let peer = place.peer("a");
    peer.run(&["add", text(&file)])?.with_status(0)?;
    let status = peer.run(&["status"])?.with_status(0)?.event("status")?;
    ensure!(status["running"] == false && number(&status["store"], "pins")? == 1, "{status}");
    let nothing = |name: &str| status[name].as_array().is_some_and(Vec::is_empty);
    ensure!(nothing("addrs") && nothing("dht") && status["peer_id"].is_string(), "{status}");
    let lines = Process::spawn(peer.plain(&["status"]), "")?.finish()?.with_status(0)?.lines.join("\n");
    ensure!(lines.contains("`peerage up`") && lines.contains("1 pin") && !lines.contains("DHT"), "{lines}");
    let owner = peer.up()?;
    let status = peer.run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(status["running"] == true && status["addrs"] == owner.ready["addrs"], "{status}");
    owner.close()?;
    Ok(())
}

/// What needs no other peer reaches none, whatever the flags say.
#[test]
fn who_only_has_to_do_with_the_store_meets_nobody() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 3 * MIB, 1)?;
    let trap = TcpListener::bind("127.0.0.1:0")?;
    trap.set_nonblocking(true)?;
    let addr = format!("/ip4/127.0.0.1/tcp/{}", trap.local_addr()?.port());
    let peer = place.peer("a");
    let run = |args: &[&str]| peer.run(&[args, &["--bootstrap", &addr]].concat())?.with_status(0);
    let cid = field(&run(&["add", text(&file)])?.event("added")?, "cid")?;
    let dest = place.path("dest");
    for args in [
        &["verify"][..],
        &["status"],
        &["id"],
        &["shares"],
        &["get", &cid, "--offline", "-o", text(&dest)],
        &["pin", "add", &cid, "--offline"],
        &["ls", &cid, "--offline"],
        &["pin", "rm", &cid],
    ] {
        run(args)?;
        let came = trap.accept();
        ensure!(came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{args:?} reached it");
    }
    // One that needs others does, and waits for them.
    let nowhere = "bafkreidmuy2n45xj3cdknzprtzo2uvgm3hak6mzy5sllxty457agsftd34";
    let dest = place.path("elsewhere");
    let get = peer.start(&["get", nowhere, "-o", text(&dest), "--bootstrap", &addr])?;
    while trap.accept().is_err() {}
    get.kill()?;
    Ok(())
}

#[test]
fn a_peer_that_is_in_no_dht() -> Result<()> {
    let place = Place::new()?;
    let up = Sharing::start(place.peer("a").command(&["up", "--dht", "off"]))?;
    let status = place.peer("a").run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(status["dht"].as_array().is_some_and(Vec::is_empty), "{status}");
    let ended = place.peer("a").run_attached(&["peers", "--dht"])?.with_status(0)?;
    ensure!(ended.lines.is_empty() && ended.stderr.contains("--dht off"), "{}", ended.stderr);
    // Both flags of that name.
    let ended = place.peer("c").run(&["--dht", "off", "peers", "--dht"])?.with_status(0)?;
    ensure!(ended.lines.is_empty() && ended.stderr.contains("--dht off"), "{}", ended.stderr);
    // Nobody is told that we answer, and nobody who asks is answered.
    let message =
        place.peer("b").run(&["find-peer", &field(&up.ready, "peer_id")?, "--bootstrap", &up.addr()?])?;
    message.with_status(3)?.error("not_found")?;
    up.close()?;
    Ok(())
}

/// `--dht client` asks and does not answer.
#[test]
fn a_client_is_in_no_table() -> Result<()> {
    let place = Place::new()?;
    let up = place.peer("middle").up()?;
    let addr = up.addr()?;
    let client = place.peer("client");
    let owner = Sharing::start(client.command(&["up", "--dht", "client", "--bootstrap", &addr]))?;
    client.run_attached(&["peers", "--dht"])?.with_status(0)?.event("dht_peer")?;
    let status = client.run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(dht(&status, "lan")?["mode"] == "client", "{status}");
    let status = place.peer("middle").run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(number(dht(&status, "lan")?, "peers")? == 0, "{status}");
    owner.close()?;
    up.close()?;
    Ok(())
}
