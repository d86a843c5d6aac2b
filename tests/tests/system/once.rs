//! `share --once` ends by itself.

use std::fs;

use anyhow::{Result, ensure};
use peerage_tests::peer::{number, text};
use peerage_tests::{MIB, Place, data};

#[test]
fn an_empty_file_needs_nobody() -> Result<()> {
    let place = Place::new()?;
    let (file, dest) = (place.path("file"), place.path("dest"));
    fs::write(&file, "")?;
    let sharing = place.peer("a").share(&["--once", text(&file)])?;
    let link = sharing.link()?;
    let closed = sharing.process.finish()?.with_status(0)?.event("closed")?;
    ensure!(number(&closed, "sent_bytes")? == 0, "{closed}");
    // The link was enough.
    place.peer("b").get(&link, &dest)?;
    data::assert_same(&file, &dest)
}

#[test]
fn a_folder_is_enough_if_its_files_are_empty() -> Result<()> {
    let place = Place::new()?;
    let (folder, dest) = (place.path("folder"), place.path("dest"));
    fs::create_dir_all(folder.join("empty"))?;
    fs::write(folder.join("file"), "")?;
    let sharing = place.peer("a").share(&["--once", text(&folder)])?;
    place.peer("b").get(&sharing.link()?, &dest)?;
    data::assert_same(&folder, &dest)?;
    let served = sharing.process.finish()?.with_status(0)?.events()?;
    ensure!(served.iter().any(|line| line["event"] == "served" && line["complete"] == true), "{served:?}");
    Ok(())
}

/// One who reads says nothing of what he has; he is known to have everything
/// by what he was sent, on whatever connection.
#[test]
fn whoever_was_sent_everything_has_it() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    for (name, seed) in [("one", 1), ("two", 2)] {
        data::random(&folder.join(name), 2 * MIB, seed)?;
    }
    let sharing = place.peer("a").share(&["--once", text(&folder)])?;
    let (cid, addr, reader) = (sharing.cid()?, sharing.addr()?, place.peer("b"));
    for name in ["one", "two"] {
        reader.run(&["cat", &format!("{cid}/{name}"), "--from", &addr])?.with_status(0)?;
    }
    let served = sharing.process.finish()?.with_status(0)?.events()?;
    let complete: Vec<_> = served.iter().filter(|line| line["complete"] == true).collect();
    ensure!(complete.len() == 1 && number(complete[0], "bytes")? > 4 * MIB, "{served:?}");
    Ok(())
}
