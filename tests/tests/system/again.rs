//! Sharing what was shared before.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use peerage_tests::peer::text;
use peerage_tests::{MIB, Place, data};

/// What did not change since is not read again, and arrives whole.
#[test]
fn an_unchanged_path_is_shared_again_without_being_read() -> Result<()> {
    let place = Place::new()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let args = [text(place.program()), text(&folder)];
    let size = fs::metadata(place.program())?.len();
    let peer = place.peer("a");
    let first = peer.share(&args)?;
    let (cid, read) = (first.cid()?, first.process.bytes_read()?);
    ensure!(read >= size, "{read} bytes were read");
    first.close()?;
    let again = peer.share(&args)?;
    let read = again.process.bytes_read()?;
    ensure!(read < size / 4, "{read} bytes of {size} were read again");
    ensure!(again.cid()? == cid, "{} is not {cid}", again.cid()?);
    let dest = place.path("dest");
    place.peer("b").get(&again.link()?, &dest)?;
    for path in [place.program(), &folder] {
        data::assert_same(path, &dest.join(path.file_name().unwrap_or_default()))?;
    }
    again.close()?;
    Ok(())
}

/// What is shared again is what is there now.
#[test]
fn a_changed_path_is_shared_as_it_is_now() -> Result<()> {
    let place = Place::new()?;
    let source = place.path("source");
    data::tree(&source, 1)?;
    let peer = place.peer("a");
    let first = peer.share(&[text(&source)])?;
    let cid = first.cid()?;
    first.close()?;
    data::random(&source.join("deep/er/exact"), MIB, 100)?;
    data::random(&source.join("-o"), 1, 101)?;
    fs::remove_file(source.join(".profile"))?;
    fs::rename(source.join("empty"), source.join(".profile"))?;
    let again = peer.share(&[text(&source)])?;
    ensure!(again.cid()? != cid, "nothing changed");
    let dest = place.path("dest");
    place.peer("b").get(&again.link()?, &dest)?;
    data::assert_same(&source, &dest)?;
    again.close()?;
    Ok(())
}
