//! Exit statuses and errors (README, the commands).

use std::fs;

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, text};
use peerage_tests::{MIB, Place, data};

/// A CID that nobody has.
const NOWHERE: &str = "bafkreidmuy2n45xj3cdknzprtzo2uvgm3hak6mzy5sllxty457agsftd34";

#[test]
fn a_link_that_is_none_is_wrong_usage() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    for link in ["nonsense", "ipfs://bafynonsense", "ipfs://", "http://example.com/x", "/ipns/example.com"] {
        peer.run(&["get", link])?.with_status(2)?.error("bad_link")?;
    }
    for link in
        ["..", "%2Fetc%2Fpasswd", ".profile", "a%00"].map(|name| format!("ipfs://{NOWHERE}?name={name}"))
    {
        let message = peer.run(&["get", &link])?.with_status(2)?.error("usage")?;
        ensure!(message.contains("-o"), "{message}");
    }
    peer.run(&["got", "x"])?.with_status(2)?.error("usage")?;
    peer.run(&["get", NOWHERE, "--from", "localhost"])?.with_status(2)?;
    ensure!(!peer.repo().exists(), "a mistake made a repository");
    Ok(())
}

#[test]
fn nobody_who_has_it_is_not_found() -> Result<()> {
    let place = Place::new()?;
    let dest = place.path("dest");
    let args = ["get", NOWHERE, "--from", "/ip4/127.0.0.1/tcp/1", "--wait", "0s", "-o", text(&dest)];
    let message = place.peer("a").run(&args)?.with_status(3)?.error("not_found")?;
    ensure!(message.contains("/ip4/127.0.0.1/tcp/1"), "it does not say who was asked: {message}");
    for command in ["ls", "stat", "cat"] {
        let args = [command, NOWHERE, "--from", "/ip4/127.0.0.1/tcp/1", "--wait", "0s"];
        place.peer("a").run(&args)?.with_status(3)?.error("not_found")?;
    }
    let args = ["get", NOWHERE, "--offline", "--wait", "0s", "-o", text(&dest)];
    place.peer("a").run(&args)?.with_status(3)?;
    ensure!(data::names(&place.path(""))? == ["a"], "something was left behind");
    Ok(())
}

#[test]
fn another_peer_at_the_address() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, MIB, 1)?;
    let sharing = place.peer("a").share(&[text(&file)])?;
    let other = field(&place.peer("b").run(&["id"])?.event("identity")?, "peer_id")?;
    let addr = sharing.addr()?;
    let wrong = format!("{}{other}", &addr[..addr.rfind('/').map_or(0, |at| at + 1)]);
    let dest = place.path("dest");
    let cid = sharing.cid()?;
    let args = ["get", &cid, "--from", &wrong, "--wait", "0s", "-o", text(&dest)];
    let message = place.peer("c").run(&args)?.with_status(3)?.error("not_found")?;
    let id = field(&sharing.ready, "peer_id")?;
    ensure!(message.contains(&id), "it does not say who answered: {message}");
    let message = place.peer("c").run(&["ping", &wrong])?.with_status(1)?.error("network")?;
    ensure!(message.contains(&id), "it does not say who answered: {message}");
    sharing.close()?;
    Ok(())
}

#[test]
fn a_destination_that_differs_is_left_alone() -> Result<()> {
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::tree(&source, 1)?;
    data::tree(&dest, 1)?;
    fs::write(dest.join("-o"), "mine")?;
    fs::write(dest.join("only mine"), "too")?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let link = sharing.link()?;
    let getter = place.peer("b");
    let args = ["get", &link, "-o", text(&dest)];
    let message = getter.run(&args)?.with_status(1)?.error("exists")?;
    ensure!(message.contains("-o") && message.contains("--overwrite"), "{message}");
    ensure!(fs::read(dest.join("-o"))? == b"mine", "it was overwritten");
    // Missing entries are filled in, what the root does not name stays.
    fs::remove_file(dest.join("-o"))?;
    fs::remove_dir_all(dest.join("deep"))?;
    getter.run(&args)?.with_status(0)?;
    ensure!(fs::read(dest.join("only mine"))? == b"too", "it was touched");
    fs::write(dest.join("-o"), "mine")?;
    getter.run(&[&args[..], &["--overwrite"]].concat())?.with_status(0)?;
    fs::remove_file(dest.join("only mine"))?;
    data::assert_same(&source, &dest)?;
    // Equal: nothing is fetched.
    let done = place.peer("c").get(&link, &dest)?;
    let fetched: u64 =
        done["sources"].as_object().into_iter().flatten().filter_map(|(_, bytes)| bytes.as_u64()).sum();
    ensure!(fetched < MIB, "{done}");
    sharing.close()?;
    Ok(())
}

#[test]
fn what_cannot_be_shared_is_named() -> Result<()> {
    let place = Place::new()?;
    let missing = place.path("missing");
    let message = place.peer("a").run(&["share", text(&missing)])?.with_status(1)?.error("path")?;
    ensure!(message.contains(text(&missing)), "{message}");
    Ok(())
}

#[test]
fn a_key_that_others_can_read_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new()?;
    let peer = place.peer("a");
    peer.run(&["id"])?.with_status(0)?;
    let mode =
        |path: &std::path::Path| Ok::<_, std::io::Error>(fs::metadata(path)?.permissions().mode() & 0o777);
    ensure!(mode(peer.repo())? == 0o700, "the repository is open to others");
    ensure!(mode(&peer.repo().join("key"))? == 0o600, "the key is open to others");
    fs::set_permissions(peer.repo().join("key"), fs::Permissions::from_mode(0o644))?;
    let message = peer.run(&["id"])?.with_status(1)?.error("path")?;
    ensure!(message.contains("key"), "{message}");
    Ok(())
}
