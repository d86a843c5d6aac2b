//! Blocks that somebody made to hurt: each is an error with a name, and costs
//! little.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{block, file_data, raw_block};
use peerage_content::block::Block;
use peerage_content::dagpb::{self, DagPbError, Link, PbNode};
use peerage_content::limits::{BLOCK_MAX, DEPTH_MAX, LINKS_MAX};
use peerage_content::name::NameError;
use peerage_content::node::{self, DecodeError};
use peerage_content::read::ReadError;
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::unixfs::{Data, Kind, Metadata};
use peerage_content::walk::WalkError;
use peerage_content::{
    Chunker, Cid, DirectoryBuilder, FileReader, Leaf, Multihash, Profile, Walk, codec, hash,
};

fn leaf(content: &[u8]) -> Cid {
    Leaf::new(&Profile::default(), content).cid
}

fn decode(block: &Block) -> Result<node::Node, DecodeError> {
    node::decode(&block.cid, &block.data)
}

#[test]
fn sizes_must_add_up() {
    let x = leaf(b"x");
    for (data, links) in [
        (file_data(Some(2), &[1]), vec![("", x)]),          // sum is 1
        (file_data(Some(1), &[1]), vec![("", x), ("", x)]), // one size, two links
        (file_data(Some(2), &[1, 1]), vec![("", x)]),       // two sizes, one link
        (file_data(Some(0), &[u64::MAX, 1]), vec![("", x), ("", x)]), // overflow
        (file_data(Some(5), &[]), vec![]),                  // no data, says five
    ] {
        assert_eq!(decode(&block(&data, &links)), Err(DecodeError::Sizes), "{data:?}");
    }
    assert!(decode(&block(&file_data(None, &[1]), &[("", x)])).is_ok());
}

#[test]
fn a_child_that_is_not_what_its_parent_says_ends_the_read() {
    let x = leaf(b"xy");
    let parent = block(&file_data(Some(1), &[1]), &[("", x)]);
    let mut reader = FileReader::new(parent.cid, 0..u64::MAX);
    assert_eq!(reader.supply(&parent.data), Ok(None));
    assert_eq!(reader.supply(b"xy"), Err(ReadError::Size { cid: x, is: 2, claimed: 1 }));

    let folder = DirectoryBuilder::new(&Profile::default()).finish_basic();
    let parent = block(&file_data(Some(1), &[1]), &[("", folder.cid)]);
    let mut reader = FileReader::new(parent.cid, 0..u64::MAX);
    assert_eq!(reader.supply(&parent.data), Ok(None));
    assert_eq!(reader.supply(&folder.blocks[0].data), Err(ReadError::NotAFile(folder.cid)));
}

#[test]
fn absurd_depth_ends_reads_and_walks() {
    let mut at = leaf(b"x");
    let mut store = BTreeMap::new();
    for _ in 0..DEPTH_MAX + 1 {
        let parent = block(&file_data(Some(1), &[1]), &[("", at)]);
        at = parent.cid;
        store.insert(parent.cid, parent.data);
    }
    let mut reader = FileReader::new(at, 0..1);
    let error = loop {
        if let Err(error) = reader.supply(&store[&reader.need().unwrap()]) {
            break error;
        }
    };
    assert_eq!(error, ReadError::TooDeep);

    let mut walk = Walk::new(at);
    let mut steps = 0;
    let error = loop {
        let visit = walk.next().unwrap();
        steps += 1;
        if let Err(error) = walk.enter(&visit, &store[&visit.cid]) {
            break error;
        }
    };
    assert!(matches!(error, WalkError::TooDeep(_)));
    assert_eq!(steps, DEPTH_MAX);
}

#[test]
fn a_dag_with_2_to_the_40_paths_is_walked_in_41_steps() {
    let mut at = leaf(b"");
    let mut store = BTreeMap::new();
    for _ in 0..40 {
        let parent = block(&Data::new(Kind::Directory), &[("a", at), ("b", at)]);
        at = parent.cid;
        store.insert(parent.cid, parent.data);
    }
    let mut walk = Walk::new(at);
    let mut seen = BTreeSet::new();
    while let Some(visit) = walk.next() {
        if seen.insert(visit.cid) && !visit.leaf {
            assert_eq!(walk.enter(&visit, &store[&visit.cid]), Ok(2));
        }
    }
    assert_eq!(seen.len(), 41);
}

#[test]
fn width_is_bounded() {
    // The smallest links there are: identity CIDs without data.
    let tiny = Cid::new_v1(codec::RAW, peerage_content::Multihash::wrap(0, &[]).unwrap());
    let links = |count| {
        let link = Link { cid: tiny, name: None, tsize: None };
        raw_block(&PbNode { links: vec![link; count], data: Some(b"\x08\x01") })
    };
    assert_eq!(decode(&links(LINKS_MAX + 1)), Err(DecodeError::DagPb(DagPbError::TooManyLinks)));

    let wide = links(LINKS_MAX);
    let mut walk = Walk::new(wide.cid);
    let visit = walk.next().unwrap();
    for _ in 0..4 {
        assert_eq!(walk.enter(&visit, &wide.data), Ok(LINKS_MAX));
    }
    assert_eq!(walk.enter(&visit, &wide.data), Err(WalkError::TooWide(wide.cid)));

    let huge = vec![0; BLOCK_MAX + 1];
    for code in [codec::RAW, codec::DAG_PB, codec::DAG_CBOR] {
        let cid = Cid::new_v1(code, *tiny.hash());
        assert_eq!(node::decode(&cid, &huge), Err(DecodeError::TooLarge(BLOCK_MAX + 1)));
    }
}

#[test]
fn entries_without_a_usable_name_are_refused() {
    let x = leaf(b"x");
    let refused = |name: &str, error| Err(DecodeError::Name { name: name.to_owned(), error });
    for (name, shown, error) in [
        ("", "", NameError::Empty),
        ("a/../../b", "a/../../b", NameError::Separator),
        ("/etc", "/etc", NameError::Separator),
        ("a\0\x1b[2J", "a\\u{0}\\u{1b}[2J", NameError::Control),
    ] {
        let bad = block(&Data::new(Kind::Directory), &[(name, x)]);
        assert_eq!(decode(&bad), refused(shown, error), "{name:?}");
    }
    let data = Data::new(Kind::Directory).encode();
    let link = |name| Link { cid: x, name, tsize: None };
    for (name, shown, error) in
        [(None, "", NameError::Empty), (Some(&b"\xff"[..]), "\\xff", NameError::NotUtf8)]
    {
        let bad = raw_block(&PbNode { links: vec![link(name)], data: Some(&data) });
        assert_eq!(decode(&bad), refused(shown, error), "{name:?}");
    }
    // `..` is read, so that it can be reported by name; `name::check` refuses it.
    let dots = block(&Data::new(Kind::Directory), &[("..", x)]);
    let Ok(node::Node::Directory { entries, .. }) = decode(&dots) else { panic!() };
    assert_eq!(peerage_content::name::check(&entries[0].name), Err(NameError::Dots));
}

#[test]
fn impossible_shards_are_refused() {
    let x = leaf(b"x");
    let shard = |hash_type, fanout, names: &[&str]| {
        let mut data = Data::new(Kind::HamtShard);
        data.hash_type = hash_type;
        data.fanout = fanout;
        let links: Vec<_> = names.iter().map(|&name| (name, x)).collect();
        decode(&block(&data, &links))
    };
    assert!(shard(Some(0x22), Some(256), &["00a", "0Ab", "FFc"]).is_ok());
    for (hash_type, fanout, names) in [
        (Some(0x12), Some(256), &["00a"][..]),
        (None, Some(256), &["00a"]),
        (Some(0x22), None, &["00a"]),
        (Some(0x22), Some(0), &["00a"]),
        (Some(0x22), Some(1), &["0a"]),
        (Some(0x22), Some(100), &["00a"]),
        (Some(0x22), Some(2048), &["000a"]),
        (Some(0x22), Some(1 << 63), &["000a"]),
        (Some(0x22), Some(256), &["0"]),
        (Some(0x22), Some(256), &[""]),
        (Some(0x22), Some(256), &["0aa"]),
        (Some(0x22), Some(256), &["00a", "00b"]),
        (Some(0x22), Some(256), &["01a", "00b"]),
        (Some(0x22), Some(8), &["8a"]),
        (Some(0x22), Some(256), &["é"]),
    ] {
        assert_eq!(
            shard(hash_type, fanout, names),
            Err(DecodeError::Shard),
            "{hash_type:?} {fanout:?} {names:?}"
        );
    }
    let slash = DecodeError::Name { name: "a/b".to_owned(), error: NameError::Separator };
    assert_eq!(shard(Some(0x22), Some(256), &["00a/b"]), Err(slash));
}

#[test]
fn look_ups_end_in_shards_that_do_not_fit() {
    let shard = |fanout, names: &[&str], cid| {
        let mut data = Data::new(Kind::HamtShard);
        data.hash_type = Some(0x22);
        data.fanout = Some(fanout);
        let links: Vec<_> = names.iter().map(|&name| (name, cid)).collect();
        block(&data, &links)
    };
    // Buckets of "470.txt" by 256: 00, 6E, 88, DF, 58, 47, E6, 7C.
    let path = ["00", "6E", "88", "DF", "58", "47", "E6", "7C"];
    let mut lookup = Lookup::new("470.txt");
    for prefix in path {
        let node = decode(&shard(256, &[prefix], leaf(b"x"))).unwrap();
        assert_eq!(lookup.step(&node), Ok(Step::Descend(leaf(b"x"))));
    }
    let node = decode(&shard(256, &["00"], leaf(b"x"))).unwrap();
    assert_eq!(lookup.step(&node), Err(ResolveError::BadShard));

    let mut lookup = Lookup::new("470.txt");
    lookup.step(&node).unwrap();
    let other = decode(&shard(16, &["6"], leaf(b"x"))).unwrap();
    assert_eq!(lookup.step(&other), Err(ResolveError::BadShard));

    let mut lookup = Lookup::new("470.txt");
    lookup.step(&node).unwrap();
    let basic = decode(&block(&Data::new(Kind::Directory), &[("470.txt", leaf(b"x"))])).unwrap();
    assert_eq!(lookup.step(&basic), Err(ResolveError::BadShard));

    let file = node::decode(&leaf(b"x"), b"x").unwrap();
    assert_eq!(Lookup::new("a").step(&file), Err(ResolveError::NotAFolder));
    let other = decode(&shard(256, &["00other"], leaf(b"x"))).unwrap();
    assert_eq!(Lookup::new("470.txt").step(&other), Err(ResolveError::NotFound));
}

#[test]
fn nodes_that_are_no_unixfs_are_walked_but_not_read() {
    let x = leaf(b"x");
    let link = Link { cid: x, name: None, tsize: None };
    let plain = raw_block(&PbNode { links: vec![link], data: None });
    assert_eq!(decode(&plain), Err(DecodeError::NoData));
    assert_eq!(node::links(&plain.cid, &plain.data), Ok(vec![x]));
    let metadata = block(&Data::new(Kind::Metadata), &[]);
    assert_eq!(decode(&metadata), Err(DecodeError::MetadataNode));
    for (data, links) in [(None, vec![]), (Some(&b"t"[..]), vec![("", x)]), (Some(&[b'a'; 4097][..]), vec![])]
    {
        let mut symlink = Data::new(Kind::Symlink);
        symlink.data = data;
        assert_eq!(decode(&block(&symlink, &links)), Err(DecodeError::Symlink));
    }
    // Data of other codecs is no file either, whether its links are known or not.
    for (code, known) in [(codec::DAG_CBOR, true), (codec::DAG_JSON, true), (0x51, false)] {
        let cid = Cid::new_v1(code, *x.hash());
        assert_eq!(node::decode(&cid, b"x"), Ok(node::Node::Opaque { codec: code }));
        let links = node::links(&cid, b"x");
        assert!(if known { matches!(links, Err(DecodeError::Ipld(_))) } else { links == Ok(vec![]) });
    }
}

#[test]
fn a_reader_wants_only_what_the_range_touches() {
    let profile = Profile { chunker: Chunker::Size(2), max_links: 2, ..Profile::default() };
    let mut store = common::Store::default();
    let root = common::file(&mut store, &profile, b"abcdefghijklmnop", Metadata::default());
    for (range, want) in [(0..0, 1), (16..20, 1), (5..6, 4), (0..16, 15), (0..4, 5)] {
        let mut reader = FileReader::new(root.cid, range.clone());
        let mut steps = 0;
        while let Some(cid) = reader.need() {
            reader.supply(&store.0[&cid]).unwrap();
            steps += 1;
        }
        assert_eq!((steps, reader.size()), (want, Some(16)), "{range:?}");
    }
    let mut reader = FileReader::new(root.cid, 0..u64::MAX);
    while reader.ahead(10).len() < 3 {
        reader.supply(&store.0[&reader.need().unwrap()]).unwrap();
    }
    let ahead = reader.ahead(10);
    assert_eq!(ahead[0], reader.need().unwrap());
    reader.supply(&store.0[&ahead[0]]).unwrap();
    while reader.need().is_some() {
        reader.supply(&store.0[&reader.need().unwrap()]).unwrap();
    }
    assert_eq!(reader.supply(b""), Err(ReadError::NotNeeded));
}

/// A file in CIDs alone: each node links to the one inside of it, and all of them
/// are in the outermost CID's few bytes. Such nests are as deep as 128 bytes allow.
#[test]
fn nested_identity_cids_end() {
    let mut cid = Cid::new_v1(codec::RAW, Multihash::wrap(hash::IDENTITY, b"x").unwrap());
    let mut nested = 0;
    let root = loop {
        let data = file_data(None, &[1]).encode();
        let links = vec![Link { cid, name: None, tsize: None }];
        let node = dagpb::encode(&PbNode { links, data: Some(&data) });
        let Ok(hash) = Multihash::wrap(hash::IDENTITY, &node) else { break cid };
        (cid, nested) = (Cid::new_v1(codec::DAG_PB, hash), nested + 1);
    };
    assert!(nested >= 5, "{nested}");
    let mut reader = FileReader::new(root, 0..u64::MAX);
    let mut content = Vec::new();
    while let Some(cid) = reader.need() {
        let block = hash::inline(&cid).unwrap();
        if let Some(piece) = reader.supply(block).unwrap() {
            content.extend_from_slice(&block[piece.range]);
        }
    }
    assert_eq!(content, b"x");
    let mut walk = Walk::new(root);
    let mut steps = 0;
    while let Some(visit) = walk.next() {
        steps += 1;
        walk.enter(&visit, hash::inline(&visit.cid).unwrap()).unwrap();
    }
    assert_eq!(steps, nested + 1);
    // A longer one is no CID.
    let long = [&[1, 0x70, 0, 129, 1][..], &[0; 129]].concat();
    assert!(peerage_content::cid_text::from_bytes(&long).is_err());
}
