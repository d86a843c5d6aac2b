//! `peerage share`, and Helia and Kubo fetching from it.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use peerage_interop::helia::Helia;
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::{Peerage, data, texts};
use serde_json::Value;

#[test]
fn helia_fetches_a_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("file.bin"), dir.path().join("got"));
    data::file(&source, data::FILE_LEN, 10)?;
    let peerage = Peerage::new()?;
    let share = peerage.share(&source)?;
    let mut helia = Helia::start()?;
    helia.connect(&share.addr()?)?;
    helia.fetch_file(&share.cid()?, &dest)?;
    data::assert_same(&source, &dest)?;
    share.assert_connected_once(&helia.peer_id)?;
    let closed = share.close()?;
    let sent = closed["sent_bytes"].as_u64().unwrap_or(0);
    ensure!(sent >= data::FILE_LEN as u64, "`closed` says {sent} bytes were sent");
    Ok(())
}

#[test]
fn helia_fetches_a_folder() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("a folder"), dir.path().join("got"));
    data::folder(&source, 20)?;
    let peerage = Peerage::new()?;
    let share = peerage.share(&source)?;
    let mut helia = Helia::start()?;
    helia.connect(&share.addr()?)?;
    helia.fetch_folder(&share.cid()?, &dest)?;
    data::assert_same(&source, &dest)?;
    share.assert_connected_once(&helia.peer_id)
}

#[test]
fn kubo_fetches_a_file() -> Result<()> {
    kubo_fetches_a_file_as(Kind::Noise)
}

#[test]
fn kubo_that_proposes_tls_first_fetches_a_file() -> Result<()> {
    kubo_fetches_a_file_as(Kind::RsaTlsFirst)
}

fn kubo_fetches_a_file_as(kind: Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("file.bin"), dir.path().join("got"));
    data::file(&source, data::FILE_LEN, 30)?;
    let peerage = Peerage::new()?;
    let share = peerage.share(&source)?;
    let mut kubo = Kubo::start(kind)?;
    kubo.connect(&share.addr()?)?;
    kubo.fetch(&share.cid()?, &dest)?;
    data::assert_same(&source, &dest)?;
    share.assert_connected_once(&kubo.peer_id)
}

#[test]
fn kubo_fetches_a_folder() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("a folder"), dir.path().join("got"));
    data::folder(&source, 40)?;
    let peerage = Peerage::new()?;
    let share = peerage.share(&source)?;
    let mut kubo = Kubo::start(Kind::Noise)?;
    kubo.connect(&share.addr()?)?;
    kubo.fetch(&share.cid()?, &dest)?;
    data::assert_same(&source, &dest)?;
    share.assert_connected_once(&kubo.peer_id)
}

/// A folder to share, with empty ones in it, which Kubo need not ask for.
fn folder_with_holes(path: &Path, seed: u64) -> Result<()> {
    data::folder(path, seed)?;
    fs::create_dir_all(path.join("inner/hole"))?;
    Ok(())
}

/// Fails unless a share that ended said that `peer_id` has everything.
fn assert_has_everything(said: &[Value], peer_id: &str) -> Result<()> {
    let has = |line: &&Value| line["event"] == "served" && line["complete"] == true;
    let who: Vec<_> = said.iter().filter(has).map(|line| &line["peer"]).collect();
    ensure!(who == [peer_id], "{who:?} have everything, not {peer_id}: {said:?}");
    Ok(())
}

#[test]
fn a_share_ends_once_helia_has_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("a folder"), dir.path().join("got"));
    folder_with_holes(&source, 45)?;
    let peerage = Peerage::new()?;
    let share = peerage.share_once(&source)?;
    let mut helia = Helia::start()?;
    helia.connect(&share.addr()?)?;
    helia.fetch_folder(&share.cid()?, &dest)?;
    assert_has_everything(&share.finish()?, &helia.peer_id)?;
    data::assert_same(&source, &dest)
}

#[test]
fn a_share_ends_once_kubo_has_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("a folder"), dir.path().join("got"));
    folder_with_holes(&source, 46)?;
    let peerage = Peerage::new()?;
    let share = peerage.share_once(&source)?;
    let mut kubo = Kubo::start(Kind::Noise)?;
    kubo.connect(&share.addr()?)?;
    kubo.fetch(&share.cid()?, &dest)?;
    assert_has_everything(&share.finish()?, &kubo.peer_id)?;
    data::assert_same(&source, &dest)
}

#[test]
fn helia_identifies_and_pings_us() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("file");
    data::file(&source, 100, 50)?;
    let peerage = Peerage::new()?;
    let share = peerage.share(&source)?;
    let mut helia = Helia::start()?;
    let connection = helia.connect(&share.addr()?)?;
    assert_eq!(connection["encryption"], "/noise");
    assert_eq!(connection["muxer"], "/yamux/1.0.0");
    helia.ping(&share.peer_id()?)?;
    let info = helia.identify(&share.peer_id()?)?;
    let agent = info["agent"].as_str().unwrap_or_default();
    ensure!(agent.starts_with("peerage/"), "we call ourselves {agent:?}");
    let protocols = texts(&info, "protocols")?;
    for name in ["/ipfs/bitswap/1.2.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"] {
        ensure!(protocols.iter().any(|protocol| protocol == name), "{name} is not among {protocols:?}");
    }
    ensure!(!protocols.iter().any(|protocol| protocol.contains("/perf/")), "perf without --perf");
    Ok(())
}
