//! Tests of what is found in a CAR.

use super::*;
use peerage_content::car;
use peerage_content::ipld::{Value, cbor};
use peerage_content::{codec, hash};

type Block = (Cid, Vec<u8>);

fn block(codec: u64, data: &[u8]) -> Block {
    (Cid::new_v1(codec, hash::digest(hash::SHA2_256, data).unwrap()), data.to_vec())
}

/// A version 1, and where its sections begin.
fn version_1(roots: &[Cid], blocks: &[Block]) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut starts) = (car::header(roots), Vec::new());
    for (cid, data) in blocks {
        starts.push(bytes.len() as u64);
        bytes.extend(car::section_head(cid, data.len()));
        bytes.extend_from_slice(data);
    }
    (bytes, starts)
}

/// A version 2 whose data begins at byte 51, and which says or does not say that all is indexed.
fn version_2(data: &[u8], index: Option<Vec<u8>>, all: bool) -> Vec<u8> {
    let len = data.len() as u64;
    let at = index.as_ref().map_or(0, |_| 51 + len);
    let mut out = b"\x0a\xa1\x67version\x02".to_vec();
    out.push(if all { 0x80 } else { 0 });
    out.extend([0; 15]);
    out.extend([51, len, at].map(u64::to_le_bytes).concat());
    out.extend_from_slice(data);
    out.extend(index.unwrap_or_default());
    out
}

/// An index of digests of 32 bytes.
fn index(entries: &[(&Cid, u64)]) -> Vec<u8> {
    let entries = entries.iter().map(|(cid, at)| [cid.hash().digest(), &at.to_le_bytes()].concat());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    let entries = entries.concat();
    [&b"\x80\x08\x01\0\0\0\x28\0\0\0"[..], &(entries.len() as u64).to_le_bytes(), &entries].concat()
}

async fn verify(bytes: Vec<u8>) -> (CarSummary, Result<(), CarReadError>) {
    check_car(io::Cursor::new(bytes), CarCheck::Verify, |_| {}).await
}

async fn whole(bytes: Vec<u8>) -> CarSummary {
    let (summary, result) = verify(bytes).await;
    result.unwrap();
    summary
}

#[tokio::test]
async fn a_root_that_cannot_be_read_is_a_fault_with_a_place() {
    let root = block(codec::DAG_CBOR, b"\x82\x01");
    let (bytes, starts) = version_1(&[root.0], std::slice::from_ref(&root));
    let summary = whole(bytes).await;
    let [CarFault { cid, offset, problem: CarProblem::Unreadable(_) }] = &summary.faults[..] else {
        panic!("{:?}", summary.faults);
    };
    assert_eq!((*cid, *offset), (Some(root.0), Some(starts[0])));
    let found = summary.found.unwrap();
    assert_eq!((found.unreadable, found.missing, found.is_good()), (1, 0, false));

    // The same in the header itself.
    let held = peerage_content::Multihash::wrap(hash::IDENTITY, b"\x82\x01").unwrap();
    let root = Cid::new_v1(codec::DAG_CBOR, held);
    let summary = whole(version_1(&[root], &[]).0).await;
    assert_eq!((summary.faults[0].cid, summary.faults[0].offset), (Some(root), Some(0)));
    assert!(!summary.found.unwrap().is_good());
}

#[tokio::test]
async fn raw_bytes_of_a_node_are_not_the_node() {
    let child = block(codec::RAW, b"x");
    let node = cbor::encode(&Value::from(child.0)).unwrap();
    let (root, as_raw) = (block(codec::DAG_CBOR, &node), block(codec::RAW, &node));
    let found = whole(version_1(&[root.0], std::slice::from_ref(&as_raw)).0).await;
    assert_eq!(found.found.as_ref().unwrap().missing, 1);
    let missing = CarFault { cid: Some(root.0), offset: None, problem: CarProblem::Missing };
    assert_eq!(found.faults, [missing]);
    let found = whole(version_1(&[root.0], &[root, as_raw, child]).0).await;
    assert!(found.found.unwrap().is_good());
}

#[tokio::test]
async fn what_an_index_says_is_checked() {
    let (a, b) = (block(codec::RAW, b"a"), block(codec::RAW, b"b"));
    let (data, at) = version_1(&[a.0], &[a.clone(), b.clone()]);
    let right = index(&[(&a.0, at[0]), (&b.0, at[1])]);
    assert!(whole(version_2(&data, Some(right.clone()), true)).await.found.unwrap().is_good());

    let one = index(&[(&a.0, at[0])]);
    assert!(whole(version_2(&data, Some(one.clone()), false)).await.found.unwrap().is_good());
    let summary = whole(version_2(&data, Some(one), true)).await;
    let absent = CarFault { cid: Some(b.0), offset: Some(51 + at[1]), problem: CarProblem::NotIndexed };
    assert_eq!((&summary.faults[..], summary.found.unwrap().not_indexed), (&[absent][..], 1));

    let summary = whole(version_2(&data, Some(index(&[(&a.0, at[1])])), false)).await;
    let wrong = CarFault { cid: None, offset: Some(51 + at[1]), problem: CarProblem::IndexWrong };
    assert_eq!((&summary.faults[..], summary.found.unwrap().index_wrong), (&[wrong][..], 1));

    // A promise without an index.
    assert!(whole(version_2(&data, None, false)).await.found.unwrap().is_good());
    let summary = whole(version_2(&data, None, true)).await;
    let none = CarFault { cid: None, offset: Some(11), problem: CarProblem::NoIndex };
    assert_eq!((&summary.faults[..], summary.found.unwrap().is_good()), (&[none][..], false));

    // Cut, its last entries are not called wrong.
    let mut cut = version_2(&data, Some(right), true);
    cut.truncate(cut.len() - 1);
    let summary = whole(cut).await;
    assert!(matches!(summary.faults[0].problem, CarProblem::Index(_)), "{:?}", summary.faults);
    assert!(!summary.found.unwrap().is_good());
}

/// Bytes, and then zeros, of which so many are asked for at most.
struct Zeros(io::Cursor<Vec<u8>>, usize);

impl Read for Zeros {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => {
                self.1 = self.1.checked_sub(1).expect("it goes on reading");
                into.fill(0);
                Ok(into.len())
            }
            len => Ok(len),
        }
    }
}

#[tokio::test]
async fn behind_damage_in_an_index_nothing_is_read() {
    let a = block(codec::RAW, b"a");
    let (data, _) = version_1(&[a.0], std::slice::from_ref(&a));
    let bytes = version_2(&data, Some(b"\x01".to_vec()), false);
    let at = bytes.len() as u64 - 1;
    let (summary, result) = check_car(Zeros(io::Cursor::new(bytes), 2), CarCheck::Verify, |_| {}).await;
    result.unwrap();
    assert_eq!((summary.faults.len(), summary.faults[0].offset), (1, Some(at)));
    assert!(summary.found.unwrap().index_damaged);
}

#[tokio::test]
async fn what_was_not_read_is_not_said_to_be_there() {
    let a = block(codec::RAW, b"a");
    let (data, at) = version_1(&[a.0], std::slice::from_ref(&a));
    let mut cut = version_2(&data, Some(index(&[(&a.0, at[0])])), true);
    cut.truncate(data.len() + 50);
    let (summary, result) = verify(cut).await;
    assert!(matches!(result, Err(CarReadError::Car(_))));
    let found = summary.found.unwrap();
    // Of the index, which was not reached, nothing is said.
    assert_eq!((found.missing, found.not_indexed, found.index_damaged), (1, 0, false));

    struct Fails(io::Cursor<Vec<u8>>);
    impl Read for Fails {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::Error::other("the disk")),
                len => Ok(len),
            }
        }
    }
    let (summary, result) = check_car(Fails(io::Cursor::new(data)), CarCheck::Verify, |_| {}).await;
    assert!(matches!(result, Err(CarReadError::Io(_))));
    assert_eq!((summary.blocks, summary.found), (1, None));
}

#[tokio::test]
async fn a_hash_function_that_is_not_supported_says_nothing_about_the_data() {
    // SHA3-512.
    let unknown = Cid::new_v1(codec::RAW, peerage_content::Multihash::wrap(0x14, &[7; 64]).unwrap());
    let (good, bad) = (block(codec::RAW, b"good"), (block(codec::RAW, b"bad").0, b"worse".to_vec()));
    let blocks = [good.clone(), (unknown, b"unknown".to_vec()), bad];
    let (bytes, starts) = version_1(&[good.0, unknown], &blocks);
    let summary = whole(bytes).await;
    let [told, CarFault { problem: CarProblem::Hash(_), .. }] = &summary.faults[..] else {
        panic!("{:?}", summary.faults);
    };
    let problem = CarProblem::Unchecked(peerage_content::UnsupportedHash(0x14));
    assert_eq!(*told, CarFault { cid: Some(unknown), offset: Some(starts[1]), problem });
    assert_eq!(told.problem.to_string(), "hash function 0x14 is not supported");
    let found = summary.found.unwrap();
    assert_eq!((found.unchecked, found.bad_blocks, found.missing), (1, 1, 0));
    // Nor is all well where nothing else is wrong.
    let found = whole(version_1(&[good.0], &blocks[..2]).0).await.found.unwrap();
    assert_eq!(found, CarFound { unchecked: 1, ..CarFound::default() });
    assert!(!found.is_good());
}
