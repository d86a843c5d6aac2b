//! `peerage-store`: what it reads of its own files after a crash, or after
//! somebody wrote into them.

use std::io::Write as _;

use peerage_content::{Multihash, hash};
use peerage_store::{FileId, Reference, fuzzing};

use crate::input::Values;
use crate::{Decoder, hexes, io, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "journal-record", run: fuzzing::fact, seeds: facts },
    Decoder { name: "journal", run: journal, seeds: journal_seeds },
    Decoder { name: "pack-record", run: fuzzing::record, seeds: || records().to_vec() },
    Decoder { name: "pack", run: pack, seeds: pack_seeds },
    Decoder { name: "pack-index", run: index, seeds: index_seeds },
    Decoder { name: "root-set", run: root_set, seeds: root_set_seeds },
    Decoder { name: "root-sets", run: fuzzing::root_sets, seeds: root_sets_seeds },
    Decoder {
        name: "cache-value",
        run: fuzzing::cache_value,
        seeds: || hexes(&["07000000 0010000000000000 0300000000000000", "00"]),
    },
    Decoder {
        name: "lock-file",
        run: |bytes| fuzzing::owner(&mut io::file("lock", bytes)).pid.is_some(),
        seeds: || texts(&["4711\npeerage up\n", "4711", "x\ny"]),
    },
];

const DONE: &str = "the disk does what it is told";

/// A record of each kind, as the journal holds it.
fn facts() -> Vec<Vec<u8>> {
    const CID: &str = "24 01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let seen = "8210 c0a9a504 8020 0000000000000010 fbffffffffffffff";
    let cid = CID.split_once(' ').map_or("", |(_, cid)| cid);
    let all = [
        "01 8020".to_owned(),
        "02 ffffffffffffffffff01 02 2f61".to_owned(),
        "02 01 02 2f61".to_owned(),
        "03 01".to_owned(),
        format!("04 02 01 01 61 {seen}"),
        format!("04 02 01 01 61 {seen} {cid}"),
        format!("05 02 {seen}"),
        "06 02".to_owned(),
        format!("07 01 {CID} 03 70696e"),
        format!("08 01 {CID}"),
        format!("09 03 {CID} 01 07 02 2f61 01 61 10 02 80e0ba8406"),
        "0a 03".to_owned(),
        format!("0b 04 {CID} 02 2f61 02 2f62 02 01 00"),
        "0c 04".to_owned(),
        "0d 01 28 0102030405060708".to_owned(),
    ];
    hexes(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A journal: runs of records with their sums, and of bytes as they are.
fn journal(input: &[u8]) -> bool {
    let mut values = Values(input);
    let mut file = if values.u8() < 240 { fuzzing::journal_head() } else { Vec::new() };
    while !values.is_empty() {
        let raw = values.u8() >= 240;
        let bytes = values.bytes();
        if raw {
            file.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            fuzzing::put_journal_record(&mut file, bytes);
        }
    }
    io::file("journal", &file);
    let read = fuzzing::journal(&io::path("journal")).expect(DONE);
    assert!(read <= file.len());
    read > 0
}

/// Input of a list of pieces with a byte in front, each with its length.
fn listed(first: u8, pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = vec![first];
    for (kind, piece) in pieces {
        out.extend([*kind, u8::try_from(piece.len()).unwrap_or(0)]);
        out.extend_from_slice(piece);
    }
    out
}

fn journal_seeds() -> Vec<Vec<u8>> {
    let facts = facts();
    let whole: Vec<(u8, &[u8])> = facts.iter().map(|fact| (0, &fact[..])).collect();
    let mut damaged = whole.clone();
    damaged.insert(3, (255, b"damage"));
    vec![listed(0, &whole), listed(0, &damaged), listed(255, &whole[..3]), listed(0, &[(255, b"\x05torn")])]
}

fn sha256(data: &[u8]) -> Multihash {
    hash::digest(hash::SHA2_256, data).expect("a function of ours")
}

fn records() -> [Vec<u8>; 2] {
    let reference = Reference {
        file: FileId(70_000),
        offset: 9 << 30,
        len: 1 << 18,
        head: vec![1; 14],
        tail: vec![2; 4],
    };
    let body = fuzzing::reference(&reference);
    [
        fuzzing::pack_record(true, &sha256(b"hello"), b"hello"),
        fuzzing::pack_record(false, &sha256(b"far"), &body),
    ]
}

/// A pack: blocks under their hash or another, references, and bytes as they are.
fn pack(input: &[u8]) -> bool {
    let mut values = Values(input);
    let mut file = fuzzing::pack_head();
    assert!(fuzzing::is_pack_head(&file));
    let (mut sound, mut damaged) = (0, false);
    while !values.is_empty() {
        let (kind, bytes) = (values.u8() % 8, values.bytes());
        let reference = Reference {
            file: FileId(1),
            offset: 7,
            len: u32::from(kind),
            head: bytes[..bytes.len().min(64)].to_vec(),
            tail: Vec::new(),
        };
        sound += usize::from(kind < 4);
        damaged |= kind >= 4;
        match kind {
            0 | 1 => file.extend(fuzzing::pack_record(true, &sha256(bytes), bytes)),
            2 | 3 => {
                file.extend(fuzzing::pack_record(false, &sha256(bytes), &fuzzing::reference(&reference)));
            }
            4 => file.extend(fuzzing::pack_record(true, &sha256(b"another"), bytes)),
            5 => file.extend(fuzzing::pack_record(false, &sha256(bytes), bytes)),
            _ => file.extend_from_slice(bytes),
        }
    }
    let _ = fuzzing::is_pack_head(input);
    let found = fuzzing::scan(&io::file("pack", &file)).expect(DONE);
    assert!(damaged || found.len() == sound, "every record is found");
    assert!(found.len() <= file.len());
    !found.is_empty()
}

fn pack_seeds() -> Vec<Vec<u8>> {
    let [block, _] = records();
    let list = |pieces: &[(u8, &[u8])]| listed(0, pieces)[1..].to_vec();
    vec![
        list(&[(0, b"one"), (2, b"two"), (0, b"three")]),
        list(&[(0, b"one"), (7, b"damage"), (0, b"three"), (7, &block), (4, b"four")]),
        list(&[(5, b"\x01\x02\x03\x00\x00"), (7, &block[..20])]),
    ]
}

/// An index of entries as the input says, with changes; or one made of nothing.
fn index(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (count, sums) = (u64::from(values.u16() % 600), values.u8() < 128);
    let spread = values.u64() | 1;
    let entries = (0..count).map(|at| (at.wrapping_mul(spread) >> 1, 40, 1 << 30 | 5));
    let mut entries: Vec<fuzzing::IndexEntry> = entries.collect();
    entries.sort_unstable();
    let replaced: Vec<u32> = (0..values.u8() % 3).map(u32::from).collect();
    let file = io::file("index", &[]);
    fuzzing::write_index(&file, &entries, 5000, &replaced).expect(DONE);
    let path = io::path("index");
    let before = std::fs::read(&path).expect(DONE);
    let mut bytes = before.clone();
    while !values.is_empty() {
        // Counted from the end: there is the footer.
        let (from_end, change) = (usize::from(values.u16()), values.bytes());
        let at = bytes.len().saturating_sub(from_end + 1);
        for (byte, change) in bytes[at..].iter_mut().zip(change) {
            *byte ^= change;
        }
    }
    if sums {
        fuzzing::reseal_index(&mut bytes);
    }
    let mut file = io::file("index", &bytes);
    file.flush().expect(DONE);
    let found = fuzzing::read_index(&file).expect(DONE);
    // What lies between records and pages is nobody's.
    if bytes[8192..] == before[8192..] {
        assert_eq!(found.as_ref(), Some(&entries));
    } else if !sums {
        assert!(found.is_none_or(|found| found == entries), "damage does not go unnoticed");
        return false;
    }
    found.is_some()
}

fn index_seeds() -> Vec<Vec<u8>> {
    let head = |count: u16, sums: u8| [&count.to_le_bytes()[..], &[sums], &[0x95; 8], &[2]].concat();
    vec![
        head(3, 0),
        head(599, 0),
        [head(300, 0), vec![71, 0, 1, 1]].concat(),
        [head(300, 255), vec![9, 0, 2, 1, 7]].concat(),
        [head(2, 0), vec![39, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255]].concat(),
    ]
}

/// A root set of blocks as the input says, with changes.
fn root_set(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (count, sums) = (values.u16() % 1_100, values.u8() < 128);
    let blocks: Vec<Multihash> = (0..count).map(|at| sha256(&at.to_le_bytes())).collect();
    let path = io::path("root-set");
    fuzzing::write_root_set(&path, &blocks).expect(DONE);
    let before = std::fs::read(&path).expect(DONE);
    let mut bytes = before.clone();
    while !values.is_empty() {
        let (at, change) = (usize::from(values.u16()), values.bytes());
        let at = at.min(bytes.len());
        for (byte, change) in bytes[at..].iter_mut().zip(change) {
            *byte ^= change;
        }
    }
    if sums {
        fuzzing::reseal_root_set(&mut bytes);
    }
    io::file("root-set", &bytes);
    let Some(set) = fuzzing::read_root_set(&path).expect(DONE) else {
        assert_ne!(bytes, before);
        return false;
    };
    let held = blocks.iter().step_by(37).filter(|block| set.contains(block)).count();
    let places = blocks.iter().step_by(37).filter_map(|block| set.position(block));
    assert_eq!(places.count(), held);
    assert!(bytes != before || held == blocks.len().div_ceil(37));
    true
}

/// Heads of files of several.
fn root_sets_seeds() -> Vec<Vec<u8>> {
    let head = |ids: &[u64]| {
        let mut head = b"PRGSETS\n\x01\0\0\0\0\0\0\0".to_vec();
        for id in ids {
            head.extend_from_slice(&id.to_le_bytes());
            head.extend_from_slice(&(id * 4096).to_le_bytes());
        }
        [head, vec![0; 4]].concat()
    };
    vec![head(&[]), head(&[7]), head(&[7, 8, 12]), head(&[1])[..15].to_vec()]
}

fn root_set_seeds() -> Vec<Vec<u8>> {
    let head = |count: u16, sums: u8| [&count.to_le_bytes()[..], &[sums]].concat();
    vec![
        head(0, 0),
        head(600, 0),
        [head(600, 0), vec![12, 0, 1, 3]].concat(),
        [head(3, 255), vec![40, 0, 2, 1, 7]].concat(),
        [head(3, 0), vec![24, 16, 2, 0, 7]].concat(),
    ]
}
