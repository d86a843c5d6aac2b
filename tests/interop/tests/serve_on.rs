//! What was fetched as CIDv0 is served on, from the one copy on disk, to a
//! third peer while the first is gone.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::{Helia, Peerage, Profile, data};

/// A listen address with a port that was free a moment ago: `get` does not
/// print where it listens.
fn listen_addr() -> Result<String> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!("/ip4/127.0.0.1/tcp/{port}"))
}

#[test]
fn a_file_of_helias_goes_on_to_another_helia() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, copy, dest) = (dir.path().join("file"), dir.path().join("copy"), dir.path().join("got"));
    data::file(&source, data::FILE_LEN, 90)?;
    let mut first = Helia::start()?;
    let cid = first.add(&source, Profile::V0)?;

    let peerage = Peerage::new()?;
    let listen = listen_addr()?;
    let peer_id = peerage.peer_id()?;
    let serving = peerage.get_and_seed(&cid, &first.addr, &copy, &listen)?;
    drop(first);
    data::assert_same(&source, &copy)?;

    let mut third = Helia::start()?;
    third.connect(&format!("{listen}/p2p/{peer_id}"))?;
    third.fetch_file(&cid, &dest)?;
    data::assert_same(&source, &dest)?;
    drop(serving);
    Ok(())
}

#[test]
fn a_file_of_kubos_goes_on_to_another_kubo() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, copy, dest) = (dir.path().join("file"), dir.path().join("copy"), dir.path().join("got"));
    data::file(&source, data::FILE_LEN, 93)?;
    let mut first = Kubo::start(Kind::Noise)?;
    let cid = first.add(&source)?;

    let peerage = Peerage::new()?;
    let listen = listen_addr()?;
    let peer_id = peerage.peer_id()?;
    let serving = peerage.get_and_seed(&cid, &first.addr, &copy, &listen)?;
    drop(first);

    let mut third = Kubo::start(Kind::RsaTlsFirst)?;
    third.connect(&format!("{listen}/p2p/{peer_id}"))?;
    third.fetch(&cid, &dest)?;
    data::assert_same(&source, &dest)?;
    drop(serving);
    Ok(())
}

#[test]
fn a_folder_of_kubos_goes_on_to_helia_from_a_single_copy() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, copy, dest) = (dir.path().join("folder"), dir.path().join("copy"), dir.path().join("got"));
    data::folder(&source, 95)?;
    let mut first = Kubo::start(Kind::Noise)?;
    let cid = first.add(&source)?;

    let peerage = Peerage::new()?;
    let listen = listen_addr()?;
    let peer_id = peerage.peer_id()?;
    let serving = peerage.get_and_seed(&cid, &first.addr, &copy, &listen)?;
    drop(first);
    let held = size_of(peerage.repo())?;
    ensure!(held < 2 << 20, "the repository holds {held} bytes: a second copy of the content?");

    let mut third = Helia::start()?;
    third.connect(&format!("{listen}/p2p/{peer_id}"))?;
    third.fetch_folder(&cid, &dest)?;
    data::assert_same(&source, &dest)?;
    drop(serving);
    Ok(())
}

/// Bytes of all files below `folder`.
fn size_of(folder: &std::path::Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.metadata()?;
        total += if kind.is_dir() { size_of(&entry.path())? } else { kind.len() };
    }
    Ok(total)
}
