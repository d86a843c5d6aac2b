//! Properties of files: both layouts are what their definitions say, they read
//! back, and a range costs the blocks that it touches and no other.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::ops::Range;
use std::slice::Iter;

use common::{Store, chunks, file, metadatas, profiles};
use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::unixfs::{Data, Kind, Metadata};
use peerage_content::{
    Chunker, Cid, FileBuilder, FileReader, Layout, Leaf, Node, Profile, Version, codec, hash, node,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Profiles of files, in all that matters to them.
fn file_profiles() -> impl Strategy<Value = Profile> {
    let chunker = prop_oneof![
        3 => (1..40_usize).prop_map(Chunker::Size),
        1 => (16..30_usize, 1..40_usize, 1..90_usize)
            .prop_map(|(min, avg, max)| Chunker::Rabin { min, avg: min + avg, max: min + avg + max }),
    ];
    let inline = prop_oneof![2 => Just(0), 1 => 1..40_usize, 1 => 1..129_usize];
    (profiles(), chunker, any::<bool>(), inline).prop_map(|(profile, chunker, trickle, inline_max)| Profile {
        chunker,
        layout: if trickle { Layout::Trickle } else { Layout::Balanced },
        inline_max,
        ..profile
    })
}

/// A node of the definitions below.
struct Part {
    cid: Cid,
    size: u64,
    tsize: u64,
}

/// The part whose block is `block`, with `size` bytes of the file, above `children`.
fn part(profile: &Profile, codec: u64, block: &[u8], size: u64, children: &[Part]) -> Part {
    let tsize = block.len() as u64 + children.iter().map(|child| child.tsize).sum::<u64>();
    let cid = if (1..=profile.inline_max).contains(&block.len().max(1)) {
        // An identity CID, a byte at a time.
        let len = u8::try_from(block.len()).unwrap();
        let len = if len < 128 { vec![len] } else { vec![128, 1] };
        Cid::try_from([&[1, u8::try_from(codec).unwrap(), 0], &len[..], block].concat()).unwrap()
    } else {
        let hash = profile.hash.digest_parts(&[block]);
        if profile.cid_version == Version::V0 && codec == codec::DAG_PB {
            Cid::new_v0(hash).unwrap()
        } else {
            Cid::new_v1(codec, hash)
        }
    };
    Part { cid, size, tsize }
}

fn leaf(profile: &Profile, kind: Kind, chunk: &[u8], metadata: Metadata) -> Part {
    let size = chunk.len() as u64;
    if profile.raw_leaves && metadata.is_empty() {
        return part(profile, codec::RAW, chunk, size, &[]);
    }
    let mut data = Data::new(kind);
    data.data = (!chunk.is_empty()).then_some(chunk);
    data.filesize = Some(size);
    data.metadata = metadata;
    let block = dagpb::encode(&PbNode { links: vec![], data: Some(&data.encode()) });
    part(profile, codec::DAG_PB, &block, size, &[])
}

fn inner(profile: &Profile, children: &[Part], metadata: Metadata) -> Part {
    let mut data = Data::new(Kind::File);
    data.blocksizes = children.iter().map(|child| child.size).collect();
    data.filesize = Some(data.blocksizes.iter().sum());
    data.metadata = metadata;
    let links =
        children.iter().map(|child| Link { cid: child.cid, name: Some(b""), tsize: Some(child.tsize) });
    let block = dagpb::encode(&PbNode { links: links.collect(), data: Some(&data.encode()) });
    part(profile, codec::DAG_PB, &block, data.filesize.unwrap(), children)
}

/// The balanced layout by its definition: group by width until one remains.
fn balanced(profile: &Profile, chunks: &[&[u8]], metadata: Metadata) -> Part {
    if let [only] = chunks {
        return leaf(profile, Kind::File, only, metadata);
    }
    let none = Metadata::default();
    let mut row: Vec<Part> = chunks.iter().map(|chunk| leaf(profile, Kind::File, chunk, none)).collect();
    while row.len() > profile.max_links {
        row = row.chunks(profile.max_links).map(|group| inner(profile, group, none)).collect();
    }
    inner(profile, &row, metadata)
}

/// The trickle layout by its definition: leaves, then four nodes of each
/// depth below that of the node, as long as there are chunks.
fn trickle(profile: &Profile, chunks: &mut Iter<'_, &[u8]>, depth: usize, metadata: Metadata) -> Part {
    let none = Metadata::default();
    let leaves = chunks.by_ref().take(profile.max_links);
    let mut children: Vec<Part> = leaves.map(|chunk| leaf(profile, Kind::Raw, chunk, none)).collect();
    for step in 4..4 * depth {
        if chunks.len() > 0 {
            children.push(trickle(profile, chunks, step / 4, none));
        }
    }
    inner(profile, &children, metadata)
}

fn defined(profile: &Profile, content: &[u8], metadata: Metadata) -> Part {
    let chunks = chunks(profile, content);
    match profile.layout {
        Layout::Balanced => balanced(profile, &chunks, metadata),
        Layout::Trickle if content.is_empty() => inner(profile, &[], metadata),
        Layout::Trickle => trickle(profile, &mut chunks.iter(), 1000, metadata),
    }
}

/// Blocks below and with `cid`, at `span` of the file, that `range` touches.
fn touched(store: &Store, cid: Cid, span: Range<u64>, range: &Range<u64>) -> usize {
    if span.start >= range.end || span.end <= range.start || span.is_empty() {
        return 0;
    }
    let mut sum = 1;
    if let Node::File { children, data, .. } = node::decode(&cid, store.block(&cid)).unwrap() {
        assert!(data.is_empty());
        let mut at = span.start;
        for child in children {
            sum += touched(store, child.cid, at..at + child.size, range);
            at += child.size;
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn files_read_back_and_have_the_layout_of_the_definition(
        profile in file_profiles(),
        content in vec(any::<u8>(), 0..1500),
        metadata in prop_oneof![Just(Metadata::default()), metadatas()],
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let mut store = Store::default();
        let added = file(&mut store, &profile, &content, metadata);
        let want = defined(&profile, &content, metadata);
        prop_assert_eq!((added.cid, added.tsize), (want.cid, want.tsize));
        prop_assert_eq!(want.size, content.len() as u64);
        prop_assert_eq!(&store.read(added.cid, 0..u64::MAX), &content);
        let (a, b) = (a.index(content.len() + 1), b.index(content.len() + 1));
        let range = a.min(b)..a.max(b);
        let part = store.read(added.cid, range.start as u64..range.end as u64);
        prop_assert_eq!(&part, &content[range]);
        let root = node::decode(&added.cid, store.block(&added.cid)).unwrap();
        prop_assert_eq!(root.metadata(), metadata);
        prop_assert_eq!(root.file_size(), Some(content.len() as u64));
        // What is small enough is in its CID and nowhere else.
        prop_assert!(store.0.values().all(|block| !profile.inlines(block.len())));
    }

    #[test]
    fn a_range_costs_the_blocks_that_it_touches(
        profile in file_profiles(),
        content in vec(any::<u8>(), 1..1500),
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let mut store = Store::default();
        let root = file(&mut store, &profile, &content, Metadata::default()).cid;
        let (a, b) = (a.index(content.len() + 1) as u64, b.index(content.len() + 1) as u64);
        let range = a.min(b)..a.max(b);
        let mut reader = FileReader::new(root, range.clone());
        let mut supplied = 0;
        while let Some(cid) = reader.need() {
            reader.supply(store.block(&cid)).unwrap();
            supplied += 1;
        }
        // The root tells the size, so it is needed even for nothing.
        let want = touched(&store, root, 0..content.len() as u64, &range).max(1);
        prop_assert_eq!(supplied, want);
    }

    #[test]
    fn a_leaf_is_its_payload_in_a_frame(
        profile in file_profiles(),
        content in vec(any::<u8>(), 0..200),
        metadata in metadatas(),
    ) {
        let leaf = Leaf::only(&profile, &content, metadata);
        let frame = Leaf::frame(&profile, content.len(), metadata);
        prop_assert_eq!((frame.head, frame.tail), (leaf.head, leaf.tail));
        let block = [&leaf.head[..], &content, &leaf.tail[..]].concat();
        prop_assert_eq!(leaf.block_len(), block.len());
        prop_assert_eq!(hash::verify(&leaf.cid, &block), Ok(()));
        prop_assert_eq!(leaf.is_inline(), profile.inlines(block.len()));
        let known = Leaf::with_hash(&profile, *leaf.cid.hash(), content.len(), metadata);
        prop_assert_eq!(known, leaf);
        let Ok(Node::Leaf { data, metadata: kept }) = node::decode(&leaf.cid, &block) else { panic!() };
        prop_assert_eq!(kept, leaf.metadata);
        prop_assert_eq!(&block[data.clone()], &content[..]);
        prop_assert!(content.is_empty() || data.start == leaf.head.len());
    }
}

#[test]
fn nodes_go_out_as_soon_as_they_are_full() {
    for layout in [Layout::Balanced, Layout::Trickle] {
        let profile = Profile { layout, max_links: 2, ..Profile::default() };
        let mut builder = FileBuilder::new(&profile);
        let mut out = 0;
        for number in 0..1000_u32 {
            out += builder.push(&Leaf::new(&profile, &number.to_le_bytes())).len();
        }
        let left = builder.finish().unwrap().blocks.len();
        // In both layouts 500 nodes have the leaves. At most two wait at each of ten levels.
        assert!(out + left >= 500 && left <= 20, "{layout:?} {out} {left}");
    }
}
