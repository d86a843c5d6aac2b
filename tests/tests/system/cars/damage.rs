//! CARs that are wrong: each fault has its place and exit status, and spoils
//! nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use peerage_content::{Cid, car, codec};
use peerage_tests::peer::{field, number, text};
use peerage_tests::process::Process;
use peerage_tests::{Peer, Place};
use serde_json::Value;

use super::{block, write_car};

/// A block that matches its hash and is no node.
fn malformed() -> Result<(Cid, Vec<u8>)> {
    block(codec::DAG_PB, vec![0xff, 0xff])
}

fn pinned(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter(|event| event["event"] == "pinned")
        .filter_map(|event| event["cid"].as_str())
        .collect()
}

#[test]
fn one_wrong_root_spoils_no_other() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (bad, good) = (malformed()?, block(codec::RAW, b"good".to_vec())?);
    let other = block(codec::RAW, b"of the other file".to_vec())?;
    let (m1, m2) = (place.path("m1.car"), place.path("m2.car"));
    write_car(&m1, &[bad.0, good.0, good.0], &[bad.clone(), good.clone()])?;
    write_car(&m2, &[other.0, good.0], std::slice::from_ref(&other))?;
    let nowhere = place.path("nowhere.car");
    let ended = peer.run(&["car", "import", text(&m1), text(&nowhere), text(&m2)])?.with_status(4)?;
    let message = ended.error("verification")?;
    ensure!(message.contains(&bad.0.to_string()) && message.contains("m1.car"), "{message}");
    ensure!(ended.stderr.contains("nowhere.car"), "{}", ended.stderr);
    // Each root once.
    ensure!(pinned(&ended.events()?) == [good.0.to_string(), other.0.to_string()], "{:?}", ended.lines);
    // `verify` says the same of it.
    let ended = peer.run(&["car", "verify", text(&m1)])?.with_status(4)?;
    let told = ended.event("bad")?;
    ensure!(told["cid"] == bad.0.to_string(), "{told}");
    ensure!(number(&told, "offset")? == car::header(&[bad.0, good.0, good.0]).len() as u64, "{told}");
    ensure!(ended.event("car")?["found"]["unreadable"] == 1);
    Ok(())
}

#[test]
fn a_root_that_is_not_whole_is_told_once() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let (here, gone) = (block(codec::RAW, b"here".to_vec())?, block(codec::RAW, b"gone".to_vec())?);
    let file = place.path("roots.car");
    write_car(&file, &[gone.0, here.0], &[here])?;
    let ended = peer.run(&["car", "import", text(&file)])?.with_status(3)?;
    ensure!(ended.error("not_found")?.contains(&gone.0.to_string()));
    ensure!(ended.stderr.matches("is not pinned").count() == 1, "{}", ended.stderr);
    Ok(())
}

/// What `car verify` says, whose exit status is 4.
fn faults(peer: &Peer, file: &Path) -> Result<(Vec<Value>, String)> {
    let ended = peer.run(&["car", "verify", text(file)])?.with_status(4)?;
    let message = ended.error("verification")?;
    let events = ended.events()?.into_iter().filter(|event| event["event"] == "bad").collect();
    Ok((events, message))
}

fn version_2(path: PathBuf, all: bool, data: &[u8], index: &[u8]) -> Result<PathBuf> {
    let len = data.len() as u64;
    let at = if index.is_empty() { 0 } else { 51 + len };
    let mut out = b"\x0a\xa1\x67version\x02".to_vec();
    out.push(if all { 0x80 } else { 0 });
    out.extend([0; 15]);
    out.extend([51, len, at].map(u64::to_le_bytes).concat());
    fs::write(&path, [&out, data, index].concat())?;
    Ok(path)
}

#[test]
fn whatever_is_wrong_behind_the_header_is_wrong_data() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let good = block(codec::RAW, b"good".to_vec())?;
    let file = place.path("a.car");
    write_car(&file, &[good.0], std::slice::from_ref(&good))?;
    let data = fs::read(&file)?;
    let header = car::header(&[good.0]).len();
    // Zeros behind the last section; a codec of 2^63, which no CID has.
    let codec = [&[16, 1][..], &[0x80; 9], &[1, 0, 0, 0, 0, 0]].concat();
    for (tail, place) in [(&[0; 8][..], data.len()), (&codec, data.len())] {
        fs::write(&file, [&data, tail].concat())?;
        let (told, message) = faults(&peer, &file)?;
        ensure!(told.is_empty() && message.contains(&format!("at byte {place}:")), "{message}");
        peer.run(&["car", "import", text(&file)])?.with_status(4)?.error("verification")?;
    }
    // What is no CAR is another thing.
    fs::write(&file, &data[..header - 1])?;
    peer.run(&["car", "verify", text(&file)])?.with_status(1)?.error("content")?;
    peer.run(&["car", "import", text(&file)])?.with_status(1)?.error("content")?;

    let damaged = version_2(place.path("damaged.car"), false, &data, b"\x01")?;
    let (told, _) = faults(&peer, &damaged)?;
    ensure!(told.len() == 1 && number(&told[0], "offset")? == 51 + data.len() as u64, "{told:?}");
    let promised = version_2(place.path("promised.car"), true, &data, b"")?;
    let (told, _) = faults(&peer, &promised)?;
    ensure!(told.len() == 1 && field(&told[0], "problem")?.contains("there is none"), "{told:?}");
    // An index with an entry that leads nowhere, and without the one block.
    let entry = [&[7; 32][..], &5u64.to_le_bytes()].concat();
    let index = [&b"\x80\x08\x01\0\0\0\x28\0\0\0\x28\0\0\0\0\0\0\0"[..], &entry].concat();
    let wrong = version_2(place.path("wrong.car"), true, &data, &index)?;
    let (told, _) = faults(&peer, &wrong)?;
    let offsets: Vec<u64> = told.iter().map(|told| number(told, "offset")).collect::<Result<_>>()?;
    ensure!(offsets == [56, 51 + header as u64], "{told:?}");
    // To import it nobody needs the index.
    peer.run(&["car", "import", text(&wrong)])?.with_status(0)?;
    Ok(())
}

/// What could not be compared is not said to be right.
#[test]
fn without_a_disk_to_sort_on_nothing_is_said_of_links() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let blocks = (0..20_000_u32).map(|n| block(codec::RAW, n.to_be_bytes().to_vec()));
    let blocks = blocks.collect::<Result<Vec<_>>>()?;
    let file = place.path("many.car");
    write_car(&file, &[blocks[0].0], &blocks)?;
    let mut command = peer.command(&["car", "verify", text(&file)]);
    command.env("TMPDIR", place.path("nowhere"));
    let ended = Process::spawn(command, "")?.finish()?.with_status(1)?;
    ensure!(ended.error("path")?.contains("TMPDIR"));
    let car = ended.event("car")?;
    ensure!(car.get("found").is_none(), "{car}");
    let mut command = peer.plain(&["car", "verify", text(&file)]);
    let output = command.env("TMPDIR", place.path("nowhere")).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!said.contains("is there"), "{said}");
    peer.run(&["car", "verify", text(&file)])?.with_status(0)?.event("car").context("it is right")?;
    Ok(())
}

/// Blocks that may be right, but whose hash function nobody here has: told apart from
/// bad ones, not kept, and not called right.
#[test]
fn what_cannot_be_checked_is_not_kept_and_not_called_bad() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let good = block(codec::RAW, b"good".to_vec())?;
    // SHA3-512.
    let unknown = Cid::new_v1(codec::RAW, peerage_content::Multihash::wrap(0x14, &[7; 64])?);
    let file = place.path("unknown.car");
    write_car(&file, &[good.0], &[good.clone(), (unknown, b"unknown".to_vec())])?;
    let offset = (car::header(&[good.0]).len() + car::section_head(&good.0, 4).len() + 4) as u64;
    let ended = peer.run(&["car", "import", text(&file)])?.with_status(4)?;
    let message = ended.error("verification")?;
    ensure!(message.contains("not supported") && !message.contains("bad"), "{message}");
    let imported = ended.event("imported")?;
    ensure!(imported["blocks"] == 1 && imported["bad"] == 0 && imported["unchecked"] == 1, "{imported}");
    let told = ended.event("unchecked")?;
    ensure!(told["cid"] == unknown.to_string() && number(&told, "offset")? == offset, "{told}");
    ensure!(field(&told, "problem")?.ends_with("hash function 0x14 is not supported"), "{told}");
    ensure!(pinned(&ended.events()?) == [good.0.to_string()], "{:?}", ended.lines);
    peer.run(&["cat", "--offline", &good.0.to_string()])?.with_status(0)?;
    ensure!(!peer.run(&["cat", "--offline", &unknown.to_string()])?.status.success());

    let ended = peer.run(&["car", "verify", text(&file)])?.with_status(4)?;
    let message = ended.error("verification")?;
    ensure!(message.ends_with("nothing is wrong, but 1 block could not be checked"), "{message}");
    let found = &ended.event("car")?["found"];
    ensure!(found["bad"] == 0 && found["unchecked"] == 1 && found["missing"] == 0, "{found}");
    ensure!(number(&ended.event("unchecked")?, "offset")? == offset);
    ensure!(ended.event("bad").is_err(), "{:?}", ended.lines);
    let shown = peer.plain(&["car", "verify", text(&file)]).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    ensure!(shown.contains(&format!("unchecked: {unknown}")), "{shown}");
    ensure!(shown.contains("1 block, whose hash functions are not supported"), "{shown}");
    Ok(())
}
