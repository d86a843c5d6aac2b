//! Reading files that no builder here makes: inner nodes with bytes of their own,
//! and blocks that are made to cost memory or time.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::{Store, block, file_data, raw_block};
use peerage_content::block::Block;
use peerage_content::dagpb::{Link, PbNode};
use peerage_content::hash::Algorithm;
use peerage_content::limits::{
    BLOCK_MADE_MAX, LINKS_MAX, READ_OVERHEAD_MAX, READ_OVERHEAD_PER_BYTE, WALK_PENDING_MAX,
};
use peerage_content::read::ReadError;
use peerage_content::{Cid, FileReader, Leaf, Multihash, Profile, codec, dagpb, hash};

fn raw(content: &[u8]) -> Cid {
    Cid::new_v1(codec::RAW, Multihash::wrap(hash::IDENTITY, content).unwrap())
}

#[test]
fn bytes_of_an_inner_node_come_before_those_of_its_children() {
    let mut store = Store::default();
    let leaf = Leaf::new(&Profile::default(), b"fgh");
    store.leaf(&leaf, b"fgh");
    let mut data = file_data(Some(5), &[3, 0]);
    data.data = Some(b"de");
    let inner = block(&data, &[("", leaf.cid), ("", raw(b""))]);
    let mut data = file_data(Some(10), &[5, 2]);
    data.data = Some(b"abc");
    let root = block(&data, &[("", inner.cid), ("", raw(b"ij"))]);
    let cid = root.cid;
    store.put(inner);
    store.put(root);
    let content = b"abcdefghij";
    for from in 0..=content.len() {
        for to in from..=content.len() {
            assert_eq!(store.read(cid, from as u64..to as u64), content[from..to], "{from}..{to}");
        }
    }
}

/// A node of as many pieces of one byte as there can be, the first of which is
/// `first`, with `size` bytes.
fn wide((first, size): (Cid, u64)) -> (Block, u64) {
    let mut sizes = vec![1; LINKS_MAX];
    sizes[0] = size;
    let byte = Link { cid: raw(b"x"), name: None, tsize: None };
    let mut links = vec![byte; LINKS_MAX];
    links[0].cid = first;
    let data = file_data(None, &sizes).encode();
    let node = raw_block(&PbNode { links, data: Some(&data) });
    (node, size + LINKS_MAX as u64 - 1)
}

#[test]
fn a_reader_remembers_a_bounded_number_of_children() {
    let mut nodes = vec![wide((raw(b"x"), 1))];
    // Twice as many children as are remembered.
    while nodes.len() * LINKS_MAX < 2 * WALK_PENDING_MAX {
        let (below, size) = nodes.last().unwrap();
        let next = wide((below.cid, *size));
        nodes.push(next);
    }
    let mut reader = FileReader::new(nodes.last().unwrap().0.cid, 0..u64::MAX);
    let mut refused = None;
    for (node, _) in nodes.iter().rev() {
        assert_eq!(reader.need(), Some(node.cid));
        let result = reader.supply(&node.data);
        assert!(reader.ahead(usize::MAX).len() <= WALK_PENDING_MAX);
        if let Err(error) = result {
            refused = Some((error, node.cid));
            break;
        }
    }
    let (error, cid) = refused.unwrap();
    assert_eq!(error, ReadError::TooWide(cid));
}

/// Supplies the same block for all that is below a root until the reader has enough;
/// returns how many bytes of the file it gave until then.
fn read_up_to_the_error(root: &Block, below: &Block) -> (usize, ReadError) {
    let mut reader = FileReader::new(root.cid, 0..u64::MAX);
    let mut given = 0;
    let mut supply = |reader: &mut FileReader| {
        let cid = reader.need().unwrap();
        let inline = hash::inline(&cid);
        let data = inline.unwrap_or(if cid == root.cid { &root.data } else { &below.data });
        reader.supply(data).map(|piece| given += piece.map_or(0, |piece| piece.range.len()))
    };
    let error = loop {
        if let Err(error) = supply(&mut reader) {
            break error;
        }
    };
    (given, error)
}

fn repeated(below: &Block) -> Block {
    let links = vec![Link { cid: below.cid, name: None, tsize: None }; LINKS_MAX];
    let data = file_data(None, &vec![1; LINKS_MAX]).encode();
    raw_block(&PbNode { links, data: Some(&data) })
}

#[test]
fn nodes_that_lead_to_next_to_nothing_end_the_read() {
    // One byte, and as many pieces without any as there can be.
    let links = [vec![raw(b""); LINKS_MAX - 1], vec![raw(b"x")]].concat();
    let sizes = [vec![0; LINKS_MAX - 1], vec![1]].concat();
    let links = links.iter().map(|&cid| Link { cid, name: None, tsize: None }).collect();
    let below = raw_block(&PbNode { links, data: Some(&file_data(None, &sizes).encode()) });
    let (given, error) = read_up_to_the_error(&repeated(&below), &below);
    assert_eq!(error, ReadError::TooSparse(below.cid));
    assert!(given as u64 <= READ_OVERHEAD_MAX / below.data.len() as u64, "{given}");

    // One byte, and a field that no reader knows.
    let junk = [&b"\x08\x02\x12\x01x\x7a\x80\x80\x7e"[..], &vec![0; 126 << 14]].concat();
    let below = raw_block(&PbNode { links: Vec::new(), data: Some(&junk) });
    assert!(below.data.len() < BLOCK_MADE_MAX);
    let (given, error) = read_up_to_the_error(&repeated(&below), &below);
    assert_eq!(error, ReadError::TooSparse(below.cid));
    assert!(given as u64 <= READ_OVERHEAD_MAX / below.data.len() as u64, "{given}");
}

/// The most that a file is spread over blocks: bytes one by one, under nodes of
/// two links with the longest digests. All of them are alike, so that few have to
/// be made.
#[test]
fn a_file_of_single_bytes_is_read_to_its_end() {
    let profile = Profile { hash: Algorithm::Sha2_512, raw_leaves: false, ..Profile::default() };
    let leaf = Leaf::new(&profile, b"x");
    let mut store = Store::default();
    store.leaf(&leaf, b"x");
    let (mut cid, mut size, mut tsize) = (leaf.cid, 1_u64, leaf.block_len() as u64);
    // As large as need be to see that bytes account for blocks.
    while tsize < 2 * READ_OVERHEAD_MAX {
        let link = Link { cid, name: Some(b""), tsize: Some(tsize) };
        let data = file_data(Some(2 * size), &[size, size]).encode();
        let node = dagpb::encode(&PbNode { links: vec![link, link], data: Some(&data) });
        (size, tsize) = (2 * size, 2 * tsize + node.len() as u64);
        cid = Cid::new_v1(codec::DAG_PB, Algorithm::Sha2_512.digest_parts(&[&node]));
        store.put(Block { cid, data: node.into() });
    }
    assert!(tsize / size < READ_OVERHEAD_PER_BYTE, "{tsize} {size}");
    let mut reader = FileReader::new(cid, 0..u64::MAX);
    let mut read = 0;
    while let Some(cid) = reader.need() {
        read += reader.supply(store.block(&cid)).unwrap().map_or(0, |piece| piece.range.len() as u64);
    }
    assert_eq!(read, size);
}
