//! CAR files: ours are imported by Helia, Helia's by us, and both give back
//! what was in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use peerage_interop::dag::Dag;
use peerage_interop::inputs;
use peerage_interop::{Helia, Peerage, Profile, data};
use serde_json::json;

/// The orders of blocks, and whether they are repeated.
const FORMS: [[&str; 2]; 3] = [["unk", "n"], ["dfs", "n"], ["dfs", "y"]];

/// A file, a folder, and one that is sharded in both profiles.
fn sources(dir: &Path, seed: u64) -> Result<[PathBuf; 3]> {
    fs::create_dir(dir)?;
    let [file, folder, sharded] = ["a file", "a folder", "a sharded folder"].map(|name| dir.join(name));
    data::file(&file, data::FILE_LEN, seed)?;
    data::folder(&folder, seed)?;
    inputs::sharded(&sharded)?;
    Ok([file, folder, sharded])
}

/// Compares what Helia has of `cid` with its source.
fn assert_in_helia(helia: &mut Helia, cid: &str, source: &Path) -> Result<()> {
    let dest = source.with_extension("of Helia");
    if source.is_dir() { helia.fetch_folder(cid, &dest) } else { helia.fetch_file(cid, &dest) }?;
    data::assert_same(source, &dest)
}

fn export(peerage: &Peerage, cid: &str, car: &Path, [order, dups]: [&str; 2]) -> Result<()> {
    let car = car.to_str().context("a UTF-8 path")?;
    let args = ["car", "export", cid, "-o", car, "--order", order, "--dups", dups, "--offline"];
    peerage.run(&args).map(|_| ())
}

/// Imports a CAR with one root, which is to be `cid`.
fn import(peerage: &Peerage, cid: &str, car: &Path) -> Result<()> {
    let lines = peerage.run(&["car", "import", car.to_str().context("a UTF-8 path")?])?;
    let imported = lines.iter().find(|line| line["event"] == "imported");
    let imported = imported.context("`car import` succeeded without the event `imported`")?;
    ensure!(imported["blocks"].as_u64() > Some(1) && imported["bad"] == 0, "{imported}");
    assert_eq!(imported["roots"], json!([cid]));
    Ok(())
}

#[test]
fn helia_imports_ours() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for profile in Profile::ALL {
        // Nobody is connected to it: what it has is from the CARs.
        let (mut helia, peerage) = (Helia::start()?, Peerage::new()?);
        for (source, form) in sources(&dir.path().join(profile.name()), 300)?.iter().zip(FORMS) {
            let car = source.with_extension("car");
            let cid = peerage.add(source, profile)?;
            export(&peerage, &cid, &car, form)?;
            assert_eq!(helia.import_car(&car)?, [&*cid]);
            assert_in_helia(&mut helia, &cid, source)?;
        }
    }
    Ok(())
}

#[test]
fn helia_imports_what_we_write_to_stdout() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, car) = (dir.path().join("file"), dir.path().join("file.car"));
    data::file(&source, data::FILE_LEN, 310)?;
    let (mut helia, peerage) = (Helia::start()?, Peerage::new()?);
    let cid = peerage.add(&source, Profile::V1)?;
    fs::write(&car, peerage.bytes(&["car", "export", &cid, "--offline"])?)?;
    assert_eq!(helia.import_car(&car)?, [&*cid]);
    assert_in_helia(&mut helia, &cid, &source)
}

#[test]
fn we_import_helias() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for profile in Profile::ALL {
        let (mut helia, peerage) = (Helia::start()?, Peerage::new()?);
        let mut cids = Vec::new();
        for source in sources(&dir.path().join(profile.name()), 320)? {
            let (car, dest) = (source.with_extension("car"), source.with_extension("ours"));
            let cid = helia.add(&source, profile)?;
            helia.export_car(&cid, &car)?;
            import(&peerage, &cid, &car)?;
            peerage.get_offline(&cid, &dest)?;
            data::assert_same(&source, &dest)?;
            cids.push(cid);
        }
        let mut pins = peerage.pins()?;
        pins.sort();
        cids.sort();
        assert_eq!(pins, cids);
    }
    Ok(())
}

#[test]
fn a_dag_of_other_codecs_goes_to_us_and_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let [file, theirs, ours] = ["file", "theirs.car", "ours.car"].map(|name| dir.path().join(name));
    data::file(&file, data::FILE_LEN, 330)?;
    let mut helia = Helia::start()?;
    let dag = Dag::new(&mut helia, &file)?;
    helia.export_car(&dag.cbor, &theirs)?;
    let peerage = Peerage::new()?;
    import(&peerage, &dag.cbor, &theirs)?;
    export(&peerage, &dag.cbor, &ours, FORMS[1])?;

    let mut other = Helia::start()?;
    assert_eq!(other.import_car(&ours)?, [&*dag.cbor]);
    assert_eq!([other.node(&dag.cbor)?, other.node(&dag.json)?], dag.nodes);
    assert_in_helia(&mut other, &dag.file, &file)
}
