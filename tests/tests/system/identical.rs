//! What arrives is what was shared, whatever it is.

use anyhow::{Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Place, data};

/// Shares what `make` writes, fetches it with a fresh peer, compares; returns
/// the lines `done` and `closed`, and the bytes of the getter's repository.
fn there(
    make: impl Fn(&std::path::Path) -> Result<()>,
) -> Result<(serde_json::Value, serde_json::Value, u64)> {
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    make(&source)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let getter = place.peer("b");
    let done = getter.get(&sharing.link()?, &dest)?;
    data::assert_same(&source, &dest)?;
    ensure!(data::names(&place.path(""))? == ["a", "b", "dest", "source"], "something was left behind");
    Ok((done, sharing.close()?, getter.repo_bytes()?))
}

#[test]
fn files_of_every_edge_size() -> Result<()> {
    let place = Place::new()?;
    let sizes = [0, 1, MIB, MIB + 1];
    let paths: Vec<_> = sizes.iter().map(|size| place.path(&format!("{size}.bin"))).collect();
    for (path, size) in paths.iter().zip(sizes) {
        data::random(path, size, size)?;
    }
    let args: Vec<&str> = ["--separate"].into_iter().chain(paths.iter().map(|path| text(path))).collect();
    let sharing = place.peer("a").share(&args)?;
    let shares = sharing.ready["shares"].as_array().cloned().unwrap_or_default();
    ensure!(shares.len() == sizes.len(), "{}", sharing.ready);
    for ((share, path), size) in shares.iter().zip(&paths).zip(sizes) {
        ensure!(field(share, "path")? == text(path) && number(share, "size")? == size, "{share}");
        let dest = place.path(&format!("{size}.got"));
        let done = place.peer(&format!("b{size}")).get(&field(share, "link")?, &dest)?;
        ensure!(number(&done, "bytes")? == size && done["cid"] == share["cid"], "{done}");
        data::assert_same(path, &dest)?;
    }
    sharing.close()?;
    Ok(())
}

#[test]
fn a_large_file_held_once() -> Result<()> {
    let size = 64 * MIB;
    let (done, closed, repo) = there(|path| data::random(path, size, 1))?;
    ensure!(number(&done, "bytes")? == size && done["seconds"].as_f64() > Some(0.0), "{done}");
    let sources = done["sources"].as_object().cloned().unwrap_or_default();
    let from: u64 = sources.values().filter_map(serde_json::Value::as_u64).sum();
    let dag = size..size + size / 1000;
    ensure!(sources.len() == 1 && dag.contains(&from), "{done}");
    ensure!(number(&closed, "sent_bytes")? >= from && number(&closed, "received_bytes")? == 0, "{closed}");
    ensure!(repo <= size / 100 + 4_000_000, "the repository holds {repo} bytes");
    Ok(())
}

#[test]
fn zeros_are_one_block_on_the_wire() -> Result<()> {
    let (_, closed, _) = there(|path| data::zeros(path, 64 * MIB))?;
    let sent = number(&closed, "sent_bytes")?;
    ensure!((MIB..MIB + MIB / 16).contains(&sent), "{sent} bytes were sent");
    Ok(())
}

#[test]
fn a_tree_of_everything() -> Result<()> {
    there(|path| data::tree(path, 2))?;
    Ok(())
}

#[test]
fn a_flat_folder_of_9000() -> Result<()> {
    there(|path| data::many(path, 9000, 3, 3))?;
    Ok(())
}

#[test]
fn many_small_files() -> Result<()> {
    let count = 2000;
    let (_, _, repo) = there(|path| data::many(path, count, 4096, 4))?;
    ensure!(repo <= 400 * count + 4_000_000, "the repository holds {repo} bytes");
    Ok(())
}
