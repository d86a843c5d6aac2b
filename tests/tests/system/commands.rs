//! The commands that need no other peer, and those that only talk to one.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{Ended, Place, Process, Sharing, data};
use serde_json::Value;

#[test]
fn an_identity_stays() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let id =
        |peer: &peerage_tests::Peer| field(&peer.run(&["id"])?.with_status(0)?.event("identity")?, "peer_id");
    ensure!(id(&a)? == id(&a)? && id(&a)? != id(&b)? && id(&a)?.starts_with("12D3KooW"), "{}", id(&a)?);
    Ok(())
}

#[test]
fn ping_connect_and_peers() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let up = a.up()?;
    let (addr, id) = (up.addr()?, field(&up.ready, "peer_id")?);
    let pongs = b.run(&["ping", "-n", "2", &addr])?.with_status(0)?.events()?;
    let pongs: Vec<&Value> = pongs.iter().filter(|line| line["event"] == "pong").collect();
    ensure!(pongs.len() == 2 && pongs.iter().all(|pong| pong["peer_id"] == id), "{pongs:?}");
    let other = b.up()?;
    let connected = b.run_attached(&["connect", &addr])?.with_status(0)?.event("connected")?;
    ensure!(
        connected["peer_id"] == id
            && connected["agent"].as_str().is_some_and(|agent| agent.starts_with("peerage/")),
        "{connected}"
    );
    let peer = b.run_attached(&["peers"])?.with_status(0)?.event("peer")?;
    ensure!(peer["peer_id"] == id && peer["direction"] == "outbound", "{peer}");
    let peer = a.run_attached(&["peers"])?.with_status(0)?.event("peer")?;
    ensure!(peer["peer_id"] == other.ready["peer_id"] && peer["direction"] == "inbound", "{peer}");
    other.close()?;
    b.run(&["ping", "/ip4/127.0.0.1/tcp/1"])?.with_status(1)?.error("network")?;
    up.close()?;
    Ok(())
}

/// The peers named by `PEERAGE_BOOTSTRAP` are connected to; a flag beats it.
#[test]
fn the_environment_names_peers() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let up = a.up()?;
    let (addr, id) = (up.addr()?, field(&up.ready, "peer_id")?);
    let nobody = "/ip4/127.0.0.1/tcp/1";
    for (variable, flag) in [(addr.as_str(), None), (nobody, Some(addr.as_str()))] {
        let mut command = b.command(&["up"]);
        command
            .env("PEERAGE_BOOTSTRAP", variable)
            .args(flag.map(|flag| ["--bootstrap", flag]).into_iter().flatten());
        let mut other = Sharing::start(command)?;
        // Only who is connected answers to its id alone.
        while b.run_attached(&["ping", "-n", "1", &id, "--bootstrap", &addr])?.status.code() != Some(0) {
            ensure!(other.process.is_running()?, "it ended");
        }
        other.close()?;
    }
    up.close()?;
    Ok(())
}

/// Runs a command, with that in `PEERAGE_BOOTSTRAP`.
fn run_where(variable: &str, mut command: Command) -> Result<Ended> {
    command.env("PEERAGE_BOOTSTRAP", variable);
    Process::spawn(command, "")?.finish()
}

#[test]
fn a_bad_variable_is_an_error_only_if_it_is_used() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let message = run_where("nonsense", peer.command(&["id"]))?.with_status(2)?.error("usage")?;
    ensure!(message.contains("PEERAGE_BOOTSTRAP"), "{message}");
    ensure!(!peer.repo().exists(), "a mistake made a repository");
    run_where("nonsense", peer.command(&["id", "--bootstrap", "none"]))?.with_status(0)?;
    run_where("nonsense", peer.plain(&["completions", "bash"]))?.with_status(0)?;
    // The flag is checked, too, and names itself.
    let message = peer.run(&["id", "--bootstrap", "nonsense"])?.with_status(2)?.error("usage")?;
    ensure!(message.contains("--bootstrap"), "{message}");
    Ok(())
}

/// Whoever attaches follows the owner, unless the command line says otherwise.
#[test]
fn only_flags_have_to_agree_with_the_owner() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (known, other) = ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2");
    let mut owner = peer.command(&["up"]);
    owner.env("PEERAGE_BOOTSTRAP", known);
    let owner = Sharing::start(owner)?;
    for variable in [known, other, "none", "nonsense"] {
        run_where(variable, peer.plain(&["id"]))?.with_status(0)?;
    }
    run_where(other, peer.plain(&["id", "--bootstrap", known]))?.with_status(0)?;
    for flag in [other, "none"] {
        let ended = run_where(known, peer.plain(&["id", "--json", "--bootstrap", flag]))?;
        let message = ended.with_status(2)?.error("usage")?;
        let pid = owner.process.pid().to_string();
        ensure!(message.contains(&pid) && message.contains("--bootstrap"), "{message}");
    }
    owner.close()?;
    Ok(())
}

/// Vectors of IPIP-0499 and of Kubo, which `content` computes block by block.
#[test]
fn cids_are_those_of_others() -> Result<()> {
    let place = Place::new()?;
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/unixfs/input-to-cid.json"))?;
    let file = place.path("hello.txt");
    fs::write(&file, "hello world")?;
    let peer = place.peer("a");
    let mut checked = 0;
    for vector in vectors["ipip_499"].as_array().into_iter().flatten() {
        if vector["what"] == "file \"hello world\"" {
            let profile = field(vector, "profile")?;
            for more in [&[][..], &["--only-hash"], &["--copy"]] {
                let args = [&["add", "--profile", &profile, text(&file)], more].concat();
                let added = peer.run(&args)?.with_status(0)?.event("added")?;
                ensure!(added["cid"] == vector["expect"] && number(&added, "size")? == 11, "{added}");
            }
            checked += 1;
        }
    }
    ensure!(checked == 2, "{checked} vectors");
    let folder = place.path("moons");
    fs::create_dir_all(folder.join("jupiter"))?;
    fs::create_dir_all(folder.join("saturn"))?;
    fs::write(folder.join("jupiter/europa.txt"), "Hello Europa!\n")?;
    fs::write(folder.join("saturn/titan.txt"), "Hello Titan!\n")?;
    fs::write(folder.join("mercury.txt"), "hey you are no moon!\n")?;
    // Hidden entries are left out, as Kubo does, and said to be.
    fs::write(folder.join(".hidden"), "x")?;
    let ended = peer.run(&["add", "--profile", "unixfs-v0-2015", text(&folder)])?.with_status(0)?;
    let added = ended.event("added")?;
    ensure!(added["cid"] == "QmbGoaQZm8kjYfCiN1aBsgwhqfUBGDYTrDb91Mz7Dvq81B", "{added}");
    ensure!(ended.stderr.contains("hidden"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn only_hash_opens_no_repository() -> Result<()> {
    let place = Place::new()?;
    let file = place.path("file");
    data::random(&file, 3_000_000, 1)?;
    let peer = place.peer("a");
    let hashed = peer.run(&["add", "--only-hash", text(&file)])?.with_status(0)?.event("added")?;
    ensure!(!peer.repo().exists(), "there is a repository");
    let added = peer.run(&["add", text(&file)])?.with_status(0)?.event("added")?;
    ensure!(hashed == added, "{hashed} {added}");
    // Several roots, in their order, the last line the last one's.
    let lines = peer.run(&["add", text(&file), text(&place.path("file"))])?.with_status(0)?.events()?;
    ensure!(lines.last() == Some(&added), "{lines:?}");
    Ok(())
}

#[test]
fn completions_for_every_shell() -> Result<()> {
    let place = Place::new()?;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = place.peer("a").run(&["completions", shell])?.with_status(0)?;
        let script = ended.lines.join("\n");
        ensure!(script.contains("share") && script.contains("seed-for"), "{shell}");
    }
    ensure!(!place.path("a").exists(), "there is a repository");
    // A variable that is empty names no repository, as if it were not there.
    let mut command = place.peer("a").plain(&["completions", "bash"]);
    command.env("PEERAGE_PATH", "");
    ensure!(command.output()?.status.success(), "an empty PEERAGE_PATH is an error");
    Ok(())
}
