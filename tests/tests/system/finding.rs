//! `find`, `find-peer` and `provide`: peers that know one peer find the rest.

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{Ended, MIB, Peer, Place, Router, Sharing, data};
use serde_json::Value;

/// A CID that nobody has.
const NOWHERE: &str = "bafkreidmuy2n45xj3cdknzprtzo2uvgm3hak6mzy5sllxty457agsftd34";

/// A peer id that nobody has.
const NOBODY: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

/// In the middle one whom all know, and one who has something and said so.
struct World {
    place: Place,
    middle: Sharing,
    provider: Sharing,
    file: std::path::PathBuf,
    cid: String,
    /// Network flags of all.
    flags: Vec<&'static str>,
}

impl World {
    fn new(flags: &[&'static str]) -> Result<Self> {
        let place = Place::new()?;
        let file = place.path("file");
        data::random(&file, 3 * MIB, 1)?;
        let middle = Sharing::start(place.peer("middle").command(&[&["up"], flags].concat()))?;
        let peer = place.peer("provider");
        let cid = field(&peer.run(&["add", text(&file)])?.with_status(0)?.event("added")?, "cid")?;
        let addr = middle.addr()?;
        let up = [&["up", "--bootstrap", &addr], flags].concat();
        let provider = Sharing::start(peer.command(&up))?;
        Ok(Self { place, middle, provider, file, cid, flags: flags.to_vec() })
    }

    /// The provider's own command, by way of its `up`.
    fn provide(&self) -> Result<Ended> {
        self.place.peer("provider").run_attached(&["provide", &self.cid])?.with_status(0)
    }

    fn provider_id(&self) -> Result<String> {
        field(&self.provider.ready, "peer_id")
    }

    /// A command of a peer that knows the one in the middle.
    fn run(&self, peer: &Peer, args: &[&str]) -> Result<Ended> {
        let middle = self.middle.addr()?;
        peer.run(&[args, &["--bootstrap", &middle], &self.flags].concat())
    }

    fn close(self) -> Result<()> {
        self.provider.close()?;
        self.middle.close()?;
        Ok(())
    }
}

fn found(ended: &Ended, event: &str) -> Result<Vec<Value>> {
    Ok(ended.events()?.into_iter().filter(|line| line["event"] == event).collect())
}

fn names_address(line: &Value, addr: &str) -> bool {
    line["addrs"].as_array().is_some_and(|addrs| addrs.iter().any(|one| one == addr))
}

fn provided_and_found(flags: &[&'static str], network: &str) -> Result<()> {
    let world = World::new(flags)?;
    let (id, addr) = (world.provider_id()?, world.provider.addr()?);
    let told = found(&world.provide()?, "provided")?;
    let here = told.iter().find(|line| line["network"] == network).context("nothing of that DHT")?;
    ensure!(number(here, "stored")? >= 1 && here["cid"] == world.cid.as_str(), "{told:?}");

    let getter = world.place.peer("getter");
    let ended = world.run(&getter, &["find", &world.cid])?.with_status(0)?;
    let provider = ended.event("provider")?;
    // A peer on loopback is in both DHTs; which of them answers first is not known.
    let named = provider["source"] == network || network == "wan" && provider["source"] == "lan";
    ensure!(provider["peer_id"] == id.as_str() && named, "{provider}");
    let status = world.place.peer("middle").run_attached(&["status"])?.with_status(0)?.event("status")?;
    let mut dhts = status["dht"].as_array().into_iter().flatten();
    let kept = dhts.find(|dht| dht["network"] == network).context("not in that DHT")?;
    ensure!(number(kept, "provider_records")? == 1, "{status}");
    ensure!(names_address(&provider, &addr), "{provider} does not say {addr}");
    let finished = ended.event("finished")?;
    ensure!(number(&finished, "found")? == 1, "{finished}");
    ensure!(number(&finished["networks"][network], "answered")? >= 1, "{finished}");

    let ended = world.run(&getter, &["find-peer", &id])?.with_status(0)?;
    let located = ended.event("located")?;
    ensure!(located["peer_id"] == id.as_str() && names_address(&located, &addr), "{located}");

    let dest = world.place.path("dest");
    let done = world.run(&getter, &["get", &world.cid, "-o", text(&dest)])?.with_status(0)?.event("done")?;
    data::assert_same(&world.file, &dest)?;
    ensure!(number(&done["sources"], &id)? >= 3 * MIB, "{done}");
    world.close()
}

#[test]
fn by_the_dht_of_private_networks() -> Result<()> {
    provided_and_found(&[], "lan")
}

#[test]
fn by_the_public_protocol_where_private_addresses_count() -> Result<()> {
    provided_and_found(&["--dht", "server", "--dht-private-addresses"], "wan")
}

/// What people read, and a table that ends at the limit.
#[test]
fn a_table_of_providers() -> Result<()> {
    let world = World::new(&[])?;
    world.provide()?;
    let mut command = world.place.peer("getter").plain(&["find", "--limit", "1", &world.cid]);
    command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &world.middle.addr()?]);
    let ended = peerage_tests::Process::spawn(command, "")?.finish()?.with_status(0)?;
    let [header, row] = &ended.lines[..] else { anyhow::bail!("{:?}", ended.lines) };
    ensure!(header.starts_with("PEER") && header.contains("ADDRESSES"), "{header}");
    let addr = world.provider.addr()?;
    let bare = addr.split("/p2p/").next().unwrap_or_default();
    ensure!(row.starts_with(&world.provider_id()?) && row.contains(bare) && row.contains("LAN DHT"), "{row}");
    ensure!(ended.stderr.contains("found 1"), "{}", ended.stderr);
    world.close()
}

#[test]
fn by_way_of_the_owner() -> Result<()> {
    let world = World::new(&[])?;
    world.provide()?;
    let getter = world.place.peer("getter");
    let middle = world.middle.addr()?;
    let owner = Sharing::start(getter.command(&["up", "--bootstrap", &middle]))?;
    let id = world.provider_id()?;
    let provider = getter.run_attached(&["find", &world.cid])?.with_status(0)?.event("provider")?;
    ensure!(provider["peer_id"] == id.as_str(), "{provider}");
    let located = getter.run_attached(&["find-peer", &id])?.with_status(0)?.event("located")?;
    ensure!(names_address(&located, &world.provider.addr()?), "{located}");
    let args = ["find", &world.cid, "--bootstrap", &middle, "--dht", "auto", "--no-mdns"];
    getter.run_attached(&args)?.with_status(0)?;
    // Its own address, which nobody has to be asked for.
    let own = field(&owner.ready, "peer_id")?;
    let located = getter.run_attached(&["find-peer", &own])?.with_status(0)?.event("located")?;
    ensure!(names_address(&located, &owner.addr()?) && located["source"] == "local", "{located}");
    for (flags, named) in [
        (&["--dht", "off"][..], "--dht"),
        (&["--dht-private-addresses"], "--dht-private-addresses"),
        (&["--router", "http://127.0.0.1:1"], "--router"),
        (&["--bootstrap", "none"], "--bootstrap"),
    ] {
        let args = [&["find", world.cid.as_str()], flags].concat();
        let message = getter.run_attached(&args)?.with_status(2)?.error("usage")?;
        ensure!(message.contains(&owner.process.pid().to_string()) && message.contains(named), "{message}");
    }
    owner.close()?;
    world.close()
}

#[test]
fn nothing_is_found() -> Result<()> {
    let world = World::new(&[])?;
    let getter = world.place.peer("getter");
    let ended = world.run(&getter, &["find", NOWHERE])?.with_status(3)?;
    let message = ended.error("not_found")?;
    ensure!(message.contains(NOWHERE) && message.contains("asked"), "{message}");
    ensure!(number(&ended.event("finished")?, "found")? == 0, "{:?}", ended.lines);
    let message = world.run(&getter, &["find-peer", NOBODY])?.with_status(3)?.error("not_found")?;
    ensure!(message.contains(NOBODY), "{message}");
    let dest = world.place.path("dest");
    let get = ["get", NOWHERE, "--wait", "0s", "-o", text(&dest)];
    let message = world.run(&getter, &get)?.with_status(3)?.error("not_found")?;
    ensure!(message.contains("does not have it"), "{message}");
    // Nobody to ask, and what to do about it.
    let alone = world.place.peer("alone");
    for (flags, hint) in [(&[][..], "--bootstrap"), (&["--dht", "off"], "--dht off")] {
        for command in [&["find", NOWHERE][..], &["find-peer", NOBODY], &get] {
            let message = alone.run(&[command, flags].concat())?.with_status(3)?.error("not_found")?;
            ensure!(message.contains(hint), "{command:?}: {message}");
        }
    }
    // Only we have it.
    alone.run(&["add", text(&world.file)])?.with_status(0)?;
    let message = alone.run(&["find", &world.cid])?.with_status(3)?.error("not_found")?;
    ensure!(message.contains("nobody else") && message.contains("this repository has it"), "{message}");
    // A link of a share that is not announced reaches no look-up.
    let private = format!("ipfs://{NOWHERE}?find=no");
    for command in ["find", "provide"] {
        world.run(&getter, &[command, &private])?.with_status(2)?.error("usage")?;
    }
    let get = ["get", &private, "--wait", "0s", "-o", text(&dest)];
    let message = world.run(&getter, &get)?.with_status(3)?.error("not_found")?;
    ensure!(message.contains("find=no"), "{message}");
    for wrong in [&["find", "nonsense"][..], &["provide", "nonsense"], &["find-peer", "nonsense"]] {
        alone.run(wrong)?.with_status(2)?;
    }
    world.close()
}

#[test]
fn only_what_is_here_is_provided() -> Result<()> {
    let world = World::new(&[])?;
    let provider = world.place.peer("provider");
    let message = provider.run_attached(&["provide", NOWHERE])?.with_status(1)?.error("failed")?;
    ensure!(message.contains("not here"), "{message}");
    // Without anybody to tell.
    let alone = world.place.peer("alone");
    alone.run(&["add", text(&world.file)])?.with_status(0)?;
    let ended = alone.run(&["provide", &world.cid])?.with_status(1)?;
    ensure!(ended.error("network")?.contains("--bootstrap"), "{}", ended.stderr);
    ensure!(found(&ended, "provided")?.iter().all(|line| line["stored"] == 0), "{:?}", ended.lines);
    let ended = alone.run(&["provide", &world.cid, "--dht", "off"])?.with_status(1)?;
    ensure!(ended.error("network")?.contains("--dht off"), "{}", ended.stderr);
    // Somebody to tell, who then finds nobody that serves it.
    let ended = world.run(&alone, &["provide", &world.cid])?.with_status(0)?;
    ensure!(ended.stderr.contains("only while"), "{}", ended.stderr);
    let ended = world.provide()?;
    ensure!(!ended.stderr.contains("only while"), "`up` serves it: {}", ended.stderr);
    world.close()
}

#[test]
fn by_a_router() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, MIB, 1)?;
    let peer = place.peer("a");
    let cid = field(&peer.run(&["add", text(&file)])?.with_status(0)?.event("added")?, "cid")?;
    let up = peer.up()?;
    let (id, addr) = (field(&up.ready, "peer_id")?, up.addr()?);
    let bare = addr.split("/p2p/").next().unwrap_or_default();
    let router = Router::start(Some(&[(&id, bare)]))?;
    let getter = place.peer("b");
    let run = |args: &[&str]| getter.run(&[args, &["--router", &router.url, "--dht", "off"]].concat());
    let provider = run(&["find", &cid])?.with_status(0)?.event("provider")?;
    ensure!(provider["source"] == "router" && names_address(&provider, &addr), "{provider}");
    ensure!(router.question()?.ends_with(&cid), "the router was asked something else");
    let located = run(&["find-peer", &id])?.with_status(0)?.event("located")?;
    ensure!(located["source"] == "router" && names_address(&located, &addr), "{located}");
    let dest = place.path("dest");
    run(&["get", &cid, "-o", text(&dest)])?.with_status(0)?.event("done")?;
    data::assert_same(&file, &dest)?;
    // Who speaks something else than Bitswap is no source, but somewhere.
    let router = Router::start_speaking(&["transport-ipfs-gateway-http"], Some(&[(&id, bare)]))?;
    let run = |args: &[&str]| getter.run(&[args, &["--router", &router.url, "--dht", "off"]].concat());
    run(&["find", NOWHERE])?.with_status(3)?;
    run(&["find-peer", &id])?.with_status(0)?;
    up.close()?;
    Ok(())
}

/// One that does not work is said to be at fault, by whatever asked it.
#[test]
fn a_router_that_is_of_no_use() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let nobody = "http://127.0.0.1:1";
    let dest = place.path("dest");
    let get = ["get", NOWHERE, "--wait", "0s", "-o", text(&dest)];
    for args in [&["find", NOWHERE][..], &["find-peer", NOBODY], &get, &["ls", NOWHERE]] {
        let ended = peer.run(&[args, &["--router", nobody, "--dht", "off"]].concat())?.with_status(3)?;
        let message = ended.error("not_found")?;
        ensure!(message.contains(nobody) && message.contains("cannot connect"), "{args:?}: {message}");
        if let Ok(finished) = ended.event("finished") {
            let router = &finished["networks"]["router"];
            ensure!(router["end"] == "refused" && number(router, "failed")? == 1, "{finished}");
        }
    }
    // One that answers and names nobody.
    let router = Router::start(Some(&[]))?;
    for args in [&["find", NOWHERE][..], &get] {
        let ended = peer.run(&[args, &["--router", &router.url, "--dht", "off"]].concat())?.with_status(3)?;
        let message = ended.error("not_found")?;
        ensure!(message.contains("router") && !message.contains("nobody to ask"), "{args:?}: {message}");
    }
    Ok(())
}

/// A look-up that takes its time says how far it is, and ends when it is told to.
#[test]
fn a_look_up_is_interrupted() -> Result<()> {
    let place = Place::new()?;
    let router = Router::start(None)?;
    let peer = place.peer("a");
    for args in [&["find", NOWHERE][..], &["find-peer", NOBODY], &["peers", "--dht"]] {
        let mut looking = peer.start(&[args, &["--router", &router.url]].concat())?;
        router.question()?;
        looking.wait_for("searching")?;
        looking.interrupt()?;
        looking.finish()?.with_status(130)?.error("interrupted")?;
    }
    // By way of an owner, too, who goes on.
    let owner = Sharing::start(peer.command(&["up", "--router", &router.url]))?;
    let mut looking = peer.plain(&["find", NOWHERE]);
    looking.arg("--json");
    let mut looking = peerage_tests::Process::spawn(looking, "")?;
    looking.wait_for("searching")?;
    looking.interrupt()?;
    looking.finish()?.with_status(130)?;
    owner.close()?;
    Ok(())
}
