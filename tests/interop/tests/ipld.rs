//! DAGs of dag-cbor and dag-json: what Helia made is fetched, looked into and
//! pinned, and then served to Helia and Kubo.

use std::fs;

use anyhow::{Result, ensure};
use peerage_interop::dag::Dag;
use peerage_interop::kubo::Kind;
use peerage_interop::{Helia, Kubo, Peerage, data};

#[test]
fn a_node_is_fetched_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file.bin");
    data::file(&file, data::FILE_LEN, 200)?;
    let mut helia = Helia::start()?;
    let dag = Dag::new(&mut helia, &file)?;
    for (name, cid) in [("cbor", &dag.cbor), ("json", &dag.json)] {
        let (block, got) = (dir.path().join(name), dir.path().join(format!("got {name}")));
        helia.fetch_block(cid, &block)?;
        Peerage::new()?.get(cid, &helia.addr, &got)?;
        data::assert_same(&block, &got)?;
    }
    Ok(())
}

#[test]
fn a_path_follows_the_links_of_nodes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, dest) = (dir.path().join("file.bin"), dir.path().join("got"));
    data::file(&file, data::FILE_LEN, 210)?;
    let mut helia = Helia::start()?;
    let dag = Dag::new(&mut helia, &file)?;
    let (peerage, content) = (Peerage::new()?, fs::read(&file)?);
    for path in dag.paths() {
        let bytes = peerage.bytes(&["cat", &path, "--from", &helia.addr])?;
        ensure!(bytes == content, "{} bytes at {path}, not the {} of the file", bytes.len(), content.len());
    }
    Peerage::new()?.get(&dag.paths()[0], &helia.addr, &dest)?;
    data::assert_same(&file, &dest)
}

#[test]
fn a_pin_keeps_all_that_is_linked_and_serves_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file.bin");
    data::file(&file, data::FILE_LEN, 220)?;
    let mut helia = Helia::start()?;
    let dag = Dag::new(&mut helia, &file)?;
    let peerage = Peerage::new()?;
    peerage.run(&["pin", "add", &dag.cbor, "--from", &helia.addr])?;
    drop(helia);
    assert_eq!(peerage.pins()?, [&*dag.cbor]);
    let content = fs::read(&file)?;
    for path in dag.paths() {
        ensure!(peerage.bytes(&["cat", &path, "--offline"])? == content, "another file is at {path}");
    }

    let up = peerage.up()?;
    let (mut other, mut kubo) = (Helia::start()?, Kubo::start(Kind::Noise)?);
    other.connect(&up.addr()?)?;
    assert_eq!([other.node(&dag.cbor)?, other.node(&dag.json)?], dag.nodes);
    other.fetch_file(&dag.file, &dir.path().join("to Helia"))?;
    data::assert_same(&file, &dir.path().join("to Helia"))?;

    kubo.connect(&up.addr()?)?;
    kubo.pin(&dag.cbor)?;
    // From now on Kubo gives what it has itself.
    up.close()?;
    kubo.fetch(&dag.file, &dir.path().join("to Kubo"))?;
    data::assert_same(&file, &dir.path().join("to Kubo"))
}
