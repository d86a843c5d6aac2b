//! `peerage get --from` and `peerage ping` against Helia and Kubo.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::{Helia, Peerage, Profile, data};

/// What a `get` may have resident: twice what a fast one has, of a build that
/// is not optimised. Nothing in it grows with the number of files.
const MEMORY: u64 = 96 << 20;

/// Fetches `cid` from `from` with a fresh repository and compares.
fn get_and_compare(cid: &str, from: &str, source: &Path, dest: &Path) -> Result<()> {
    let done = Peerage::new()?.get(cid, from, dest)?;
    data::assert_same(source, dest)?;
    ensure!(done["cid"].is_string() && done["path"].is_string(), "`done` lacks fields: {done}");
    Ok(())
}

#[test]
fn a_file_and_a_folder_from_helia() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, folder) = (dir.path().join("file.bin"), dir.path().join("a folder"));
    data::file(&file, data::FILE_LEN, 60)?;
    data::folder(&folder, 61)?;
    let mut helia = Helia::start()?;
    for (name, profile) in [("1", Profile::V1), ("0", Profile::V0)] {
        let cid = helia.add(&file, profile)?;
        ensure!(cid.starts_with("Qm") == (profile == Profile::V0), "{cid} is of the wrong version");
        get_and_compare(&cid, &helia.addr, &file, &dir.path().join(format!("file {name}")))?;
        let cid = helia.add(&folder, profile)?;
        get_and_compare(&cid, &helia.addr, &folder, &dir.path().join(format!("folder {name}")))?;
    }
    Ok(())
}

#[test]
fn a_file_and_a_folder_from_kubo() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, folder) = (dir.path().join("file.bin"), dir.path().join("a folder"));
    data::file(&file, data::FILE_LEN, 70)?;
    data::folder(&folder, 71)?;
    for kind in [Kind::Noise, Kind::RsaTlsFirst] {
        let mut kubo = Kubo::start(kind)?;
        let cid = kubo.add(&file)?;
        get_and_compare(&cid, &kubo.addr, &file, &dir.path().join(format!("file {kind:?}")))?;
        let cid = kubo.add(&folder)?;
        get_and_compare(&cid, &kubo.addr, &folder, &dir.path().join(format!("folder {kind:?}")))?;
    }
    Ok(())
}

#[test]
fn two_thousand_small_files_from_kubo() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("many");
    data::many(&source, 2000, 700, 80)?;
    let mut kubo = Kubo::start(Kind::Noise)?;
    let cid = kubo.add(&source)?;
    get_and_compare(&cid, &kubo.addr, &source, &dir.path().join("got"))?;

    // Kubo sends as fast as it can what our workers are slow to take.
    let (dest, peerage) = (dir.path().join("got slowly"), Peerage::with_slow_workers(10)?);
    let got = peerage.get_and_seed(&cid, &kubo.addr, &dest, "/ip4/127.0.0.1/tcp/0")?;
    data::assert_same(&source, &dest)?;
    assert_eq!(got.line["duplicate_bytes"], 0, "a want was asked again: {}", got.line);
    if let Some(peak) = got.peak_memory()? {
        ensure!(peak < MEMORY, "{} MiB at the peak", peak >> 20);
    }
    Ok(())
}

#[test]
fn the_sources_of_a_fetch_are_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, dest) = (dir.path().join("file.bin"), dir.path().join("got"));
    data::file(&source, data::FILE_LEN, 85)?;
    let mut helia = Helia::start()?;
    let cid = helia.add(&source, Profile::V1)?;
    let done = Peerage::new()?.get(&cid, &helia.addr, &dest)?;
    assert_eq!(done["bytes"], data::FILE_LEN);
    let from_helia = done["sources"][&helia.peer_id].as_u64().unwrap_or(0);
    ensure!(from_helia >= data::FILE_LEN as u64, "`done` counts {from_helia} bytes from Helia: {done}");
    Ok(())
}

#[test]
fn a_file_of_many_blocks_is_printed_as_it_comes_from_helia() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("file.bin");
    data::file(&source, 20 << 20, 88)?;
    let mut helia = Helia::start()?;
    let cid = helia.add(&source, Profile::V1)?;
    let bytes = Peerage::new()?.bytes(&["cat", &cid, "--from", &helia.addr])?;
    ensure!(bytes == fs::read(&source)?, "{} bytes, not those of the file", bytes.len());
    Ok(())
}

#[test]
fn helia_and_kubo_answer_our_ping() -> Result<()> {
    let helia = Helia::start()?;
    let kubo = Kubo::start(Kind::RsaTlsFirst)?;
    let peerage = Peerage::new()?;
    for addr in [&helia.addr, &kubo.addr] {
        let pongs = peerage.ping(addr)?;
        ensure!(pongs.iter().any(|line| line["event"] == "pong"), "no answer in {pongs:?}");
    }
    Ok(())
}

#[test]
fn helia_and_kubo_say_who_they_are() -> Result<()> {
    let helia = Helia::start()?;
    let kubo = Kubo::start(Kind::RsaTlsFirst)?;
    let peerage = Peerage::new()?;
    for (addr, peer_id, name) in [(&helia.addr, &helia.peer_id, "helia"), (&kubo.addr, &kubo.peer_id, "kubo")]
    {
        let connected = peerage.connect(addr)?;
        assert_eq!(connected["peer_id"], peer_id.as_str());
        let agent = connected["agent"].as_str().unwrap_or_default();
        ensure!(agent.contains(name), "{name} calls itself {agent:?}");
    }
    Ok(())
}

#[test]
fn an_address_that_answers_as_another_peer_is_refused() -> Result<()> {
    let (one, two) = (Helia::start()?, Helia::start()?);
    let wrong = one.addr.replace(&one.peer_id, &two.peer_id);
    ensure!(Peerage::new()?.ping(&wrong).is_err(), "{wrong} was accepted");
    Ok(())
}
