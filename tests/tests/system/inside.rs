//! Looking inside a link without fetching the rest.

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{number, text};
use peerage_tests::{MIB, Place, data};

#[test]
fn ls_stat_and_cat_by_link() -> Result<()> {
    let place = Place::new()?;
    let folder = place.path("folder");
    data::tree(&folder, 1)?;
    let big = folder.join("zz big");
    data::random(&big, 20 * MIB, 9)?;
    std::os::unix::fs::symlink("a\\b", folder.join("back"))?;
    let sharing = place.peer("a").share(&[text(&folder)])?;
    let (link, cid, addr) = (sharing.link()?, sharing.cid()?, sharing.addr()?);
    let peer = place.peer("b");
    let entries = peer.run(&["ls", &link])?.with_status(0)?.events()?;
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry["name"].as_str()).collect();
    ensure!(names == data::names(&folder)?, "{names:?}");
    let find = |name: &str| entries.iter().find(|entry| entry["name"] == name).context("no such entry");
    ensure!(find("-o")?["type"] == "file" && find("-o")?["size"] == 1, "{}", find("-o")?);
    ensure!(find("zz big")?["size"] == 20 * MIB && find("zz big")?["type"] == "file", "{}", find("zz big")?);
    ensure!(find("deep")?["type"] == "directory", "{}", find("deep")?);
    ensure!(
        find("dangling")?["type"] == "symlink" && find("dangling")?["target"] == "nowhere",
        "{}",
        find("dangling")?
    );

    let stat = peer.run(&["stat", &link])?.with_status(0)?.event("stat")?;
    ensure!(stat["type"] == "directory" && stat["entries"] == names.len(), "{stat}");
    ensure!(stat["size"].is_null() && number(&stat, "dag_size")? > 20 * MIB, "{stat}");
    let path = format!("{cid}/back");
    let stat = peer.run(&["stat", &path, "--from", &addr])?.with_status(0)?.event("stat")?;
    ensure!(stat["target"] == "a\\b" && stat["size"] == 3, "{stat}");
    let path = format!("{cid}/deep/er/exact");
    let stat = peer.run(&["stat", &path, "--from", &addr])?.with_status(0)?.event("stat")?;
    ensure!(stat["type"] == "file" && number(&stat, "size")? == MIB, "{stat}");

    let stat =
        peer.run(&["stat", &format!("{cid}/zz big"), "--from", &addr])?.with_status(0)?.event("stat")?;
    ensure!(number(&stat, "dag_size")? > 20 * MIB, "{stat}");
    let path = format!("{cid}/back");
    let error = peer.run(&["cat", &path, "--from", &addr])?.with_status(1)?.error("content")?;
    ensure!(error.contains("is a symlink to a\\\\b"), "{error}");

    let path = format!("{cid}/deep/er/and/deeper/still/blocks");
    let cat = peer.plain(&["cat", &path, "--from", &addr, "--listen", "/ip4/127.0.0.1/tcp/0"]).output()?;
    ensure!(cat.status.success(), "{}", String::from_utf8_lossy(&cat.stderr));
    let same = cat.stdout == std::fs::read(folder.join("deep/er/and/deeper/still/blocks"))?;
    ensure!(same, "cat printed {} other bytes", cat.stdout.len());
    peer.run(&["cat", &link])?.with_status(1)?.error("content")?;
    peer.run(&["cat", &format!("{cid}/no/such"), "--from", &addr])?.with_status(3)?.error("not_found")?;
    let error = peer.run(&["cat", &format!("{cid}/zz big"), "--offline"])?.with_status(3)?;
    ensure!(error.error("not_found")?.contains("leave out --offline"), "{}", error.stderr);
    // None of that moved the large file.
    let sent = number(&sharing.close()?, "sent_bytes")?;
    ensure!(sent < 6 * MIB, "{sent} bytes were sent");
    Ok(())
}

/// An empty folder, and a folder that is sharded.
#[test]
fn folders_of_no_and_of_many_entries() -> Result<()> {
    let place = Place::new()?;
    let (empty, many) = (place.path("empty"), place.path("many"));
    std::fs::create_dir(&empty)?;
    data::many(&many, 5000, 2, 1)?;
    let sharing = place.peer("a").share(&["--separate", text(&empty), text(&many)])?;
    for (i, count) in [(0, 0), (1, 5000)] {
        let link = peerage_tests::peer::field(&sharing.ready["shares"][i], "link")?;
        let entries = place.peer("b").run(&["ls", &link])?.with_status(0)?.events()?;
        ensure!(entries.len() == count, "{} entries", entries.len());
        let stat = place.peer("b").run(&["stat", &link])?.with_status(0)?.event("stat")?;
        ensure!(stat["entries"] == count && number(&stat, "dag_size")? >= count as u64, "{stat}");
    }
    sharing.close()?;
    Ok(())
}
