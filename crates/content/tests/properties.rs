//! Properties: what is written reads back, layouts do not depend on how they
//! were made, and no bytes make a decoder panic.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Added, Form, Store, cids, file, folder, metadatas, profiles};
use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::hash::{self, Algorithm};
use peerage_content::resolve::{Lookup, Step};
use peerage_content::unixfs::{Data, Kind, Metadata, Mtime};
use peerage_content::{
    Chunker, Cid, Leaf, Listing, Node, Prefix, Profile, Walk, cid_text, codec, name, node,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// All entries of a folder, sharded or not.
fn list(store: &Store, root: Cid) -> BTreeMap<String, (Cid, u64)> {
    let mut out = BTreeMap::new();
    let mut listing = Listing::new(root);
    while let Some(cid) = listing.need() {
        for entry in listing.supply(node::decode(&cid, &store.0[&cid]).unwrap()).unwrap() {
            assert_eq!(out.insert(entry.name, (entry.cid, entry.tsize)), None);
        }
    }
    out
}

/// Every decoder, on the same bytes.
fn decode_everything(bytes: &[u8]) {
    let _ = dagpb::decode(bytes);
    let _ = Data::decode(bytes);
    let _ = Prefix::parse(bytes).map(|prefix| prefix.cid_of(bytes));
    let _ = cid_text::from_bytes(bytes).map(|cid| (hash::verify(&cid, bytes), hash::wire_allowed(&cid)));
    let _ = cid_text::parse(&String::from_utf8_lossy(bytes));
    let _ = name::check_bytes(bytes);
    let _ = name::escape_bytes(bytes);
    let cid = Cid::new_v1(codec::DAG_PB, Algorithm::Sha2_256.digest_parts(&[bytes]));
    if let Ok(node) = node::decode(&cid, bytes) {
        if let Node::Leaf { data, .. } | Node::File { data, .. } = &node {
            let _ = &bytes[data.clone()];
        }
        let _ = Lookup::new("name").step(&node);
        let _ = Listing::new(cid).supply(node);
        let mut reader = peerage_content::FileReader::new(cid, 1..u64::MAX);
        let _ = reader.supply(bytes);
        let _ = reader.supply(bytes);
    }
    let mut walk = Walk::new(cid);
    let visit = walk.next().unwrap();
    let _ = walk.enter(&visit, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        decode_everything(&bytes);
    }

    #[test]
    fn no_damage_to_a_block_makes_a_decoder_panic(
        names in btree_map("[a-c]{1,3}", cids(), 0..20),
        fanout in select(vec![2, 16, 256]),
        kind in 0..4,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let profile = Profile { hamt_fanout: fanout, chunker: Chunker::Size(3), max_links: 4, ..Profile::default() };
        let mut store = Store::default();
        let entries: Vec<_> = names.into_iter().map(|(name, cid)| (name, Added { cid, tsize: 300 })).collect();
        let root = match kind {
            0 => folder(&mut store, &profile, &entries, Form::Basic, Metadata::default()),
            1 => folder(&mut store, &profile, &entries, Form::Sharded, Metadata::default()),
            _ => file(&mut store, &profile, &[7; 40], Metadata { mode: Some(1), mtime: None }),
        };
        let mut bytes = store.0[&root.cid].to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_everything(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        decode_everything(&bytes);
    }

    #[test]
    fn dag_pb_reads_back(
        links in vec((cids(), proptest::option::of(vec(any::<u8>(), 0..9)), proptest::option::of(any::<u64>())), 0..9),
        data in proptest::option::of(vec(any::<u8>(), 0..300)),
    ) {
        let links = links.iter().map(|(cid, name, tsize)| Link { cid: *cid, name: name.as_deref(), tsize: *tsize });
        let node = PbNode { links: links.collect(), data: data.as_deref() };
        let block = dagpb::encode(&node);
        prop_assert_eq!(block.len(), dagpb::encoded_len(&node));
        prop_assert_eq!(dagpb::decode(&block), Ok(node));
    }

    #[test]
    fn unixfs_reads_back(
        kind in select(vec![Kind::Raw, Kind::Directory, Kind::File, Kind::Metadata, Kind::Symlink, Kind::HamtShard]),
        content in proptest::option::of(vec(any::<u8>(), 0..300)),
        filesize in any::<Option<u64>>(),
        blocksizes in vec(any::<u64>(), 0..9),
        hash_type in any::<Option<u64>>(),
        fanout in any::<Option<u64>>(),
        metadata in metadatas(),
    ) {
        let data = Data { kind, data: content.as_deref(), filesize, blocksizes, hash_type, fanout, metadata };
        let bytes = data.encode();
        prop_assert_eq!(Data::decode(&bytes), Ok(data.clone()));
    }

    #[test]
    fn cids_read_back(cid in cids()) {
        prop_assert_eq!(cid_text::parse(&cid.to_string()), Ok(cid));
        prop_assert_eq!(cid_text::parse(&cid_text::canonical(&cid)), Ok(cid_text::to_v1(&cid)));
        prop_assert_eq!(cid_text::from_bytes(&cid.to_bytes()), Ok(cid));
        prop_assert_eq!(Prefix::parse(&Prefix::of(&cid).encode()), Ok(Prefix::of(&cid)));
        prop_assert_eq!(hash::wire_allowed(&cid), Ok(()));
    }

    #[test]
    fn a_block_gets_its_cid_from_its_prefix(cid in cids(), data in vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>()) {
        let cid = Prefix::of(&cid).cid_of(&data).unwrap();
        prop_assert_eq!(hash::verify(&cid, &data), Ok(()));
        let (a, b) = data.split_at(at.index(data.len() + 1));
        prop_assert_eq!(hash::verify_parts(cid.hash(), &[a, b]), Ok(()));
        let mut wrong = data.clone();
        wrong.push(0);
        prop_assert_eq!(hash::verify(&cid, &wrong), Err(hash::VerifyError::Mismatch));
    }

    #[test]
    fn folders_list_find_and_do_not_depend_on_order(
        profile in profiles(),
        names in btree_map("[a-zäß.]{0,3}x[0-9]{0,3}", (cids(), 0..u64::from(u32::MAX)), 0..80),
        sharded in any::<bool>(),
        metadata in metadatas(),
        seed in any::<u64>(),
    ) {
        let form = if sharded { Form::Sharded } else { Form::Basic };
        let mut entries: Vec<_> =
            names.iter().map(|(name, &(cid, tsize))| (name.clone(), Added { cid, tsize })).collect();
        let mut store = Store::default();
        let root = folder(&mut store, &profile, &entries, form, metadata);
        entries.sort_by_key(|(name, _)| hash::digest(hash::SHA2_256, &[name.as_bytes(), &seed.to_le_bytes()].concat()).unwrap().to_bytes());
        prop_assert_eq!(folder(&mut Store::default(), &profile, &entries, form, metadata), root);
        prop_assert_eq!(&list(&store, root.cid), &names);
        prop_assert_eq!(node::decode(&root.cid, &store.0[&root.cid]).unwrap().metadata(), metadata);
        for (name, (cid, _)) in &names {
            let mut lookup = Lookup::new(name);
            let mut at = root.cid;
            let found = loop {
                match lookup.step(&node::decode(&at, &store.0[&at]).unwrap()).unwrap() {
                    Step::Found(entry) => break entry.cid,
                    Step::Descend(next) => at = next,
                }
            };
            prop_assert_eq!(found, *cid);
        }
        // A walk sees the folder's blocks and every entry.
        let mut walk = Walk::new(root.cid);
        let mut seen = BTreeSet::new();
        while let Some(visit) = walk.next() {
            if seen.insert(visit.cid) && let Some(block) = store.0.get(&visit.cid) {
                walk.enter(&visit, block).unwrap();
            }
        }
        let all: BTreeSet<_> = store.0.keys().copied().chain(names.values().map(|value| value.0)).collect();
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn a_checked_name_is_one_component(text in "\\PC{0,40}|[./\\\\a\0\x1b]{0,5}") {
        if name::check(&text).is_ok() {
            let path = std::path::Path::new(&text);
            let parts: Vec<_> = path.components().collect();
            prop_assert_eq!(parts, [std::path::Component::Normal(text.as_ref())]);
            prop_assert!(!text.chars().any(char::is_control));
        }
        prop_assert!(!name::escape(&text).chars().any(char::is_control));
    }
}

#[test]
fn the_longest_frame_fits() {
    let metadata =
        Metadata { mode: Some(u32::MAX), mtime: Some(Mtime { seconds: i64::MIN, nanoseconds: 999_999_999 }) };
    let frame = Leaf::frame(&Profile::default(), usize::MAX >> 8, metadata);
    assert!(frame.head.len() + frame.tail.len() <= 64, "{frame:?}");
}
