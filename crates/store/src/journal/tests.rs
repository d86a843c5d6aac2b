//! Cut at every byte, flipped at every byte.

use std::fs;

use super::head::{FORMAT, HEAD_BYTES, Head};
use super::open::Replay;
use super::*;

type Payloads = Vec<Vec<u8>>;

fn open(path: &Path) -> (Journal, Replay<Payloads>) {
    let take = |payloads: &mut Payloads, _at, payload: &[u8]| {
        payloads.push(payload.to_vec());
        Ok(true)
    };
    let opened = Journal::open(&disk::lazy(), path, || Ok(RepoKey([5; 16])), |_| Payloads::new(), take);
    let (journal, key, replay) = opened.unwrap();
    assert_eq!(replay.records, replay.state.len());
    assert_eq!(key, RepoKey([5; 16]));
    (journal, replay)
}

/// The only file, without a twin.
fn write_alone(path: &Path, bytes: &[u8]) {
    drop(fs::remove_file(path.with_extension("mirror")));
    fs::write(path, bytes).unwrap();
}

fn sample() -> (Vec<Vec<u8>>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut journal, _) = open(&path);
    let payloads: Vec<Vec<u8>> = (1..10u8).map(|n| vec![n; usize::from(n)]).collect();
    for payload in &payloads {
        let at = journal.append(payload).unwrap();
        assert_eq!(journal.read(at).unwrap(), payload);
    }
    journal.flush().unwrap();
    (payloads, fs::read(&path).unwrap())
}

#[test]
fn a_cut_at_any_byte_keeps_all_before_it() {
    let (payloads, bytes) = sample();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for cut in 0..=bytes.len() {
        write_alone(&path, &bytes[..cut]);
        let (mut journal, replay) = open(&path);
        let mut end = HEAD_BYTES;
        let whole = payloads.iter().take_while(|p| {
            end += 5 + p.len();
            end <= cut
        });
        assert_eq!(replay.state, whole.cloned().collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(replay.copied_to, None);
        journal.append(b"after").unwrap();
        journal.flush().unwrap();
        let (_, again) = open(&path);
        assert_eq!(again.state.last().unwrap(), b"after");
        assert_eq!(again.state.len(), replay.state.len() + 1);
        assert_eq!(again.cut_bytes, 0);
    }
}

#[test]
fn format_1_becomes_the_present_one() {
    let (payloads, bytes) = sample();
    let mut old = [&bytes[..8], &1u32.to_le_bytes(), &bytes[12..28]].concat();
    old.extend_from_slice(&crc32c::crc32c(&old).to_le_bytes());
    old.extend_from_slice(&bytes[HEAD_BYTES..]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    write_alone(&path, &old);
    for _ in 0..2 {
        let (_, replay) = open(&path);
        assert_eq!(replay.state, payloads);
        assert_eq!((replay.cut_bytes, replay.copied_to), (0, None));
        assert_eq!(Head::decode(&fs::read(&path).unwrap()).unwrap().format, FORMAT);
    }
}

#[test]
fn a_flipped_byte_costs_one_record() {
    let (payloads, bytes) = sample();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        write_alone(&path, &bad);
        let (_, replay) = open(&path);
        assert!(replay.state.len() >= payloads.len() - 1, "byte {at}");
        assert!(replay.state.iter().all(|payload| payloads.contains(payload)), "byte {at}");
        let (_, again) = open(&path);
        assert_eq!(again.state, replay.state);
        assert_eq!((again.cut_bytes, again.copied_to), (0, None));
    }
}
