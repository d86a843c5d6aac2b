//! CAR files: out of one peer and into another, looked at, cut and damaged.

mod damage;
mod interrupted;
mod pipes;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use peerage_content::ipld::{Value as Ipld, cbor, json};
use peerage_content::{Cid, Leaf, Profile, car, codec, hash};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{Peer, Place, data};
use serde_json::Value;

/// Adds a path by copy, and returns its CID.
fn add(peer: &Peer, path: &Path) -> Result<String> {
    field(&peer.run(&["add", "--copy", "--hidden", text(path)])?.with_status(0)?.event("added")?, "cid")
}

fn export(peer: &Peer, cid: &str, file: &Path) -> Result<Value> {
    peer.run(&["car", "export", "--offline", cid, "-o", text(file)])?.with_status(0)?.event("exported")
}

fn block(codec: u64, data: Vec<u8>) -> Result<(Cid, Vec<u8>)> {
    Ok((Cid::new_v1(codec, hash::digest(hash::SHA2_256, &data)?), data))
}

fn write_car(path: &Path, roots: &[Cid], blocks: &[(Cid, Vec<u8>)]) -> Result<()> {
    let sections = blocks.iter().map(|(cid, data)| [&car::section_head(cid, data.len()), &data[..]].concat());
    Ok(fs::write(path, [vec![car::header(roots)], sections.collect()].concat().concat())?)
}

#[test]
fn a_tree_travels_in_a_file() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let (tree, file) = (place.path("tree"), place.path("tree.car"));
    data::tree(&tree, 1)?;
    let cid = add(&a, &tree)?;
    let exported = export(&a, &cid, &file)?;
    ensure!(number(&exported, "bytes")? == fs::metadata(&file)?.len(), "{exported}");
    // The name is taken now, and what has it stays.
    a.run(&["car", "export", "--offline", &cid, "-o", text(&file)])?.with_status(1)?.error("exists")?;

    for command in ["inspect", "verify"] {
        let held = b.run(&["car", command, text(&file)])?.with_status(0)?.event("car")?;
        ensure!(held["roots"][0] == cid && held["blocks"] == exported["blocks"], "{held}");
        ensure!(held["found"].is_object() == (command == "verify"), "{held}");
    }
    ensure!(!b.repo().exists(), "that needed no repository");

    let imported = b.run(&["car", "import", text(&file), "--name", "mine"])?.with_status(0)?;
    let event = imported.event("imported")?;
    ensure!(event["blocks"] == exported["blocks"] && event["bad"] == 0, "{event}");
    ensure!(number(&event, "new_blocks")? > 0, "{event}");
    ensure!(imported.event("pinned")?["cid"] == cid);
    ensure!(b.run(&["pin", "ls"])?.event("pin")?["name"] == "mine");
    let dest = place.path("out");
    b.run(&["get", "--offline", &cid, "-o", text(&dest)])?.with_status(0)?;
    data::assert_same(&tree, &dest)?;
    // A second time nothing is new, and what comes out is the same file.
    let again = b.run(&["car", "import", text(&file)])?.with_status(0)?.event("imported")?;
    ensure!(again["new_blocks"] == 0 && again["blocks"] == exported["blocks"], "{again}");
    let copy = place.path("copy.car");
    export(&b, &cid, &copy)?;
    ensure!(fs::read(&copy)? == fs::read(&file)?, "the same DAG makes the same file");
    Ok(())
}

#[test]
fn a_file_travels_through_pipes_and_another_owner() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let (source, file) = (place.path("source"), place.path("piped.car"));
    data::random(&source, 3 << 20, 7)?;
    let cid = add(&a, &source)?;
    // Both commands go through the process that owns the repository.
    let (up_a, up_b) = (a.up()?, b.up()?);
    let status = a.plain(&["car", "export", "--offline", &cid]).stdout(File::create(&file)?).status()?;
    ensure!(status.success(), "{status}");
    let mut import = b.plain(&["--json", "car", "import", "-"]);
    let output = import.stdin(File::open(&file)?).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(String::from_utf8_lossy(&output.stdout).contains("\"path\":\"-\""));
    let dest = place.path("out");
    b.run_attached(&["get", "--offline", &cid, "-o", text(&dest)])?.with_status(0)?;
    data::assert_same(&source, &dest)?;
    up_a.close()?;
    up_b.close()?;
    let mut verify = Command::new(place.program());
    let held = output_of(verify.args(["--json", "car", "verify", "-"]).stdin(File::open(&file)?))?;
    ensure!(held["found"]["missing"] == 0, "{held}");
    Ok(())
}

fn output_of(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn bad_blocks_are_named_and_good_ones_kept() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let (source, file) = (place.path("source"), place.path("whole.car"));
    data::random(&source, 5 << 20, 3)?;
    let cid = add(&a, &source)?;
    export(&a, &cid, &file)?;
    let whole = fs::read(&file)?;
    // In the last mebibyte there is only the last leaf.
    let mut bad = whole.clone();
    let end = bad.len() - 1000;
    bad[end] ^= 1;
    let damaged = place.path("damaged.car");
    fs::write(&damaged, &bad)?;
    let verified = b.run(&["car", "verify", text(&damaged)])?.with_status(4)?;
    verified.error("verification")?;
    let told = verified.event("bad")?;
    let offset = usize::try_from(number(&told, "offset")?)?;
    ensure!(offset > bad.len() - (1 << 20) - 100 && offset < end, "{told}");
    let imported = b.run(&["car", "import", text(&damaged)])?.with_status(4)?;
    let event = imported.event("imported")?;
    ensure!(event["bad"] == 1 && event["blocks"] == 5, "{event}");
    ensure!(imported.event("bad")?["offset"] == told["offset"]);
    ensure!(b.run(&["pin", "ls"])?.with_status(0)?.events()?.is_empty(), "the DAG is not whole");
    // The good ones are there: with the missing one the root can be pinned.
    let leaf = place.path("leaf.car");
    fs::write(&leaf, [car::header(&[cid.parse()?]), whole[offset..].to_vec()].concat())?;
    let rest = b.run(&["car", "import", text(&leaf)])?.with_status(0)?;
    ensure!(rest.event("imported")?["blocks"] == 1);
    ensure!(rest.event("pinned")?["cid"] == cid);
    b.run(&["verify"])?.with_status(0)?;

    // Cut: what came before it is kept, and the place is named.
    let cut = place.path("cut.car");
    fs::write(&cut, &whole[..whole.len() - 10])?;
    let c = place.peer("c");
    let message = c.run(&["car", "import", text(&cut)])?.with_status(4)?.error("verification")?;
    ensure!(message.contains("at byte"), "{message}");
    c.run(&["car", "verify", text(&cut)])?.with_status(4)?.error("verification")?;
    c.run(&["car", "import", text(&source)])?.with_status(1)?.error("content")?;
    c.run(&["car", "import", text(&place.path("nowhere"))])?.with_status(1)?.error("path")?;
    Ok(())
}

#[test]
fn a_car_that_lacks_blocks_is_not_whole() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let leaf = Leaf::new(&Profile::default(), b"a leaf");
    let root = cbor::encode(&Ipld::Map([("leaf", Ipld::from(leaf.cid))].into()))?;
    let root = block(codec::DAG_CBOR, root)?;
    let file = place.path("lacking.car");
    write_car(&file, &[root.0], &[root.clone(), root.clone()])?;
    let verified = peer.run(&["car", "verify", text(&file)])?.with_status(4)?;
    let found = verified.event("car")?["found"].clone();
    ensure!(found["missing"] == 1 && found["repeated"] == 1 && found["bad"] == 0, "{found}");
    let imported = peer.run(&["car", "import", text(&file)])?.with_status(3)?;
    let message = imported.error("not_found")?;
    ensure!(message.contains(&leaf.cid.to_string()), "{message}");
    peer.run(&["car", "import", "--no-pin", text(&file)])?.with_status(0)?;
    Ok(())
}

/// A dag-cbor root, a dag-json node below it, a file below that; and an identity
/// CID that holds a node which links to a block.
#[test]
fn nodes_of_other_codecs_are_walked() -> Result<()> {
    let place = Place::new()?;
    let (a, b) = (place.peer("a"), place.peer("b"));
    let content = b"the file at the end".to_vec();
    let leaf = block(codec::RAW, content.clone())?;
    let hidden = block(codec::RAW, b"linked from inside of a CID".to_vec())?;
    let inner = cbor::encode(&Ipld::from(hidden.0))?;
    let inline = Cid::new_v1(codec::DAG_CBOR, peerage_content::Multihash::wrap(hash::IDENTITY, &inner)?);
    let node = json::encode(&Ipld::Map([("file", Ipld::from(leaf.0)), ("n", Ipld::Integer(1))].into()))?;
    let node = block(codec::DAG_JSON, node)?;
    let list = Ipld::List(vec![Ipld::from(node.0), Ipld::from(inline)]);
    let root = block(codec::DAG_CBOR, cbor::encode(&Ipld::Map([("list", list)].into()))?)?;
    let file = place.path("nodes.car");
    write_car(&file, &[root.0], &[root.clone(), node.clone(), leaf.clone(), hidden.clone()])?;
    a.run(&["car", "verify", text(&file)])?.with_status(0)?;
    a.run(&["car", "import", text(&file)])?.with_status(0)?;

    let cid = root.0.to_string();
    let up = a.up()?;
    let from = up.addr()?;
    let ask = |args: &[&str]| b.run(&[args, &["--from", &from]].concat());
    let entries = ask(&["ls", &cid])?.with_status(0)?.events()?;
    let names: Vec<_> = entries.iter().filter_map(|entry| entry["name"].as_str()).collect();
    ensure!(names == ["list/0", "list/1"] && entries[0]["type"] == "node", "{entries:?}");
    let stat = ask(&["stat", &cid])?.with_status(0)?.event("stat")?;
    ensure!(stat["codec"] == "dag-cbor" && stat["links"] == 2 && stat["type"] == "node", "{stat}");
    let printed = b.plain(&["cat", "--from", &from, &format!("/ipfs/{cid}/list/0/file")]).output()?;
    ensure!(printed.stdout == content, "{}", String::from_utf8_lossy(&printed.stderr));
    let part = format!("{cid}/list/0/file");
    let printed = b.plain(&["cat", "--from", &from, "--offset", "4", "--length", "4", &part]).output()?;
    ensure!(printed.stdout == b"file", "{:?}", printed.stdout);
    let message = ask(&["cat", &format!("{cid}/list/0/n")])?.with_status(1)?.error("content")?;
    ensure!(message.contains("an integer"), "{message}");
    ask(&["cat", &format!("{cid}/list/2")])?.with_status(3)?.error("not_found")?;
    ask(&["cat", &cid])?.with_status(1)?.error("content")?;
    let dest = place.path("root");
    ask(&["get", &cid, "-o", text(&dest)])?.with_status(0)?;
    ensure!(fs::read(&dest)? == root.1, "the block as it is");
    // A pin has all four, and so has what is exported of it.
    ask(&["pin", "add", &cid])?.with_status(0)?;
    up.close()?;
    let copy = place.path("copy.car");
    let exported = export(&b, &cid, &copy)?;
    ensure!(exported["blocks"] == 4, "{exported}");
    ensure!(fs::read(&copy)? == fs::read(&file)?, "depth first, as it was written");
    Ok(())
}

/// Every CAR that others made and that is whole is taken.
#[test]
fn cars_of_other_software_are_imported() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/car");
    for (name, blocks) in [("ipld-spec/carv1-basic.car", 8), ("ipld-spec/carv2-basic.car", 5)] {
        let path = vectors.join(name);
        let imported = peer.run(&["car", "import", text(&path)])?.event("imported").context(name)?;
        ensure!(number(&imported, "blocks")? == blocks && imported["bad"] == 0, "{name}: {imported}");
    }
    Ok(())
}
