//! What the tests of this crate share: vectors, ChaCha20 input, profiles, and
//! adding and reading whole files and trees in memory.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::allow_attributes, reason = "unused in some binaries, used in others")]

pub(crate) mod car;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::hash::Algorithm;
use peerage_content::ipld::Value;
use peerage_content::unixfs::{Data, Kind, Metadata, Mtime};
use peerage_content::{
    Block, Chunker, Cid, DirectoryBuilder, FileBuilder, FileReader, Leaf, Profile, Splitter, Version,
    cid_text, codec, hash,
};
use proptest::prelude::*;
use proptest::sample::select;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

/// A file of the vectors' folder.
pub(crate) fn vector(path: &str) -> Vec<u8> {
    let path = PathBuf::from(VECTORS).join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names in a folder of the vectors, sorted.
pub(crate) fn list(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(PathBuf::from(VECTORS).join(path)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The CID that Kubo gives a block by default.
pub(crate) fn cid_of(codec: u64, block: &[u8]) -> Cid {
    Cid::new_v1(codec, hash::digest(hash::SHA2_256, block).unwrap())
}

/// The value's links with the components that lead to them, maps in the order
/// of the codec.
pub(crate) fn links_of(code: u64, value: &Value, path: &[String], out: &mut Vec<(Vec<String>, Cid)>) {
    let below = |component: &str| [path, &[component.to_owned()]].concat();
    match value {
        Value::Link(cid) => out.push((path.to_vec(), **cid)),
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                links_of(code, item, &below(&n.to_string()), out);
            }
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            if code == codec::DAG_CBOR {
                entries.sort_by_key(|(key, _)| (key.as_bytes().len(), *key));
            }
            for (key, item) in entries {
                links_of(code, item, &below(&key.to_string()), out);
            }
        }
        _ => {}
    }
}

/// CIDs of both versions, several codecs and hash functions.
pub(crate) fn cids() -> impl Strategy<Value = Cid> {
    let codes = select(vec![codec::RAW, codec::DAG_PB, codec::DAG_CBOR, 0x3f_ffff]);
    let algorithms =
        select(vec![Algorithm::Sha2_256, Algorithm::Sha2_512, Algorithm::Blake3, Algorithm::Sha1]);
    (any::<u64>(), codes, algorithms, any::<bool>()).prop_map(|(seed, code, algorithm, old)| {
        let hash = algorithm.digest_parts(&[&seed.to_le_bytes()]);
        let cid = Cid::new_v1(code, hash);
        if old { cid_text::to_v0(&cid).unwrap_or(cid) } else { cid }
    })
}

/// The ChaCha20 key stream under SHA-256 of a seed.
pub(crate) struct Keystream(ChaCha20Rng);

impl Keystream {
    pub(crate) fn new(seed: &str) -> Self {
        let key = hash::digest(hash::SHA2_256, seed.as_bytes()).unwrap();
        Self(ChaCha20Rng::from_seed(key.digest().try_into().unwrap()))
    }

    /// The next bytes, a multiple of 4 save at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        rand_core::Rng::fill_bytes(&mut self.0, buffer);
    }
}

/// Its first `len` bytes.
pub(crate) fn keystream(seed: &str, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    Keystream::new(seed).fill(&mut out);
    out
}

/// Any mode and time, or one of them. Not the mode 0, which files do not keep.
pub(crate) fn metadatas() -> impl Strategy<Value = Metadata> {
    let mtime = (any::<i64>(), 0..1_000_000_000_u32);
    let mtime = mtime.prop_map(|(seconds, nanoseconds)| Mtime { seconds, nanoseconds });
    let metadata = (proptest::option::of(1..=u32::MAX), proptest::option::of(mtime));
    metadata.prop_map(|(mode, mtime)| Metadata { mode, mtime })
}

/// Small numbers, so that small inputs have deep trees.
pub(crate) fn profiles() -> impl Strategy<Value = Profile> {
    let fanouts = select(vec![2, 4, 8, 16, 64, 256, 1024]);
    (any::<bool>(), any::<bool>(), 1..40_usize, 2..5_usize, fanouts).prop_map(
        |(old, raw_leaves, size, max_links, hamt_fanout)| Profile {
            cid_version: if old { Version::V0 } else { Version::V1 },
            raw_leaves,
            chunker: Chunker::Size(size),
            max_links,
            hamt_fanout,
            ..Profile::default()
        },
    )
}

/// A block with these links, of a tsize that nobody looks at.
pub(crate) fn block(data: &Data<'_>, links: &[(&str, Cid)]) -> Block {
    let data = data.encode();
    let links = links.iter().map(|&(name, cid)| Link { cid, name: Some(name.as_bytes()), tsize: Some(1) });
    raw_block(&PbNode { links: links.collect(), data: Some(&data) })
}

/// Any dag-pb block.
pub(crate) fn raw_block(node: &PbNode<'_>) -> Block {
    let data = dagpb::encode(node);
    let cid = Cid::new_v1(codec::DAG_PB, hash::digest(hash::SHA2_256, &data).unwrap());
    Block { cid, data: data.into() }
}

/// What an inner node of a file says.
pub(crate) fn file_data(filesize: Option<u64>, blocksizes: &[u64]) -> Data<'static> {
    let mut data = Data::new(Kind::File);
    data.filesize = filesize;
    data.blocksizes = blocksizes.to_vec();
    data
}

/// Blocks by CID; every one is checked as it comes in. Blocks that their CIDs
/// hold are not kept.
#[derive(Default)]
pub(crate) struct Store(pub(crate) BTreeMap<Cid, Bytes>);

impl Store {
    pub(crate) fn put(&mut self, block: Block) {
        assert_eq!(hash::verify(&block.cid, &block.data), Ok(()));
        if hash::inline(&block.cid).is_none() {
            self.0.insert(block.cid, block.data);
        }
    }

    pub(crate) fn block<'a>(&'a self, cid: &'a Cid) -> &'a [u8] {
        hash::inline(cid).unwrap_or_else(|| &self.0[cid])
    }

    pub(crate) fn leaf(&mut self, leaf: &Leaf, payload: &[u8]) {
        let data = [&leaf.head[..], payload, &leaf.tail[..]].concat();
        assert_eq!(data.len(), leaf.block_len());
        self.put(Block { cid: leaf.cid, data: data.into() });
    }

    /// All bytes of `range` of a file.
    pub(crate) fn read(&self, root: Cid, range: std::ops::Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = range.start;
        let mut reader = FileReader::new(root, range);
        while let Some(cid) = reader.need() {
            assert_eq!(reader.ahead(1), [cid]);
            let block = self.block(&cid);
            if let Some(piece) = reader.supply(block).unwrap() {
                assert_eq!((piece.cid, piece.offset), (cid, at));
                at += piece.range.len() as u64;
                out.extend_from_slice(&block[piece.range]);
            }
        }
        out
    }
}

/// A CID and the bytes under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) cid: Cid,
    pub(crate) tsize: u64,
}

/// The payloads of a file's leaves.
pub(crate) fn chunks<'a>(profile: &Profile, mut content: &'a [u8]) -> Vec<&'a [u8]> {
    let mut splitter = Splitter::new(profile.chunker);
    let mut chunks = if content.is_empty() { vec![content] } else { Vec::new() };
    while let Some(len) = splitter.next_cut(content, true) {
        let (chunk, rest) = content.split_at(len);
        chunks.push(chunk);
        content = rest;
    }
    chunks
}

/// Adds a file.
pub(crate) fn file(store: &mut Store, profile: &Profile, content: &[u8], metadata: Metadata) -> Added {
    let mut builder = FileBuilder::with_metadata(profile, metadata);
    let chunks = chunks(profile, content);
    for chunk in &chunks {
        let in_leaf = if chunks.len() == 1 { metadata } else { Metadata::default() };
        let leaf = Leaf::only(profile, chunk, in_leaf);
        store.leaf(&leaf, chunk);
        for block in builder.push(&leaf) {
            store.put(block);
        }
    }
    let built = builder.finish().unwrap();
    assert_eq!(built.size, content.len() as u64);
    for block in built.blocks {
        store.put(block);
    }
    Added { cid: built.cid, tsize: built.tsize }
}

/// How to make a folder's blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    ByRule,
    Basic,
    Sharded,
}

/// Adds a folder.
pub(crate) fn folder(
    store: &mut Store,
    profile: &Profile,
    entries: &[(String, Added)],
    form: Form,
    metadata: Metadata,
) -> Added {
    let mut builder = DirectoryBuilder::with_metadata(profile, metadata);
    for (name, added) in entries {
        builder.add(name, added.cid, added.tsize).unwrap();
    }
    let built = match form {
        Form::ByRule => builder.finish().unwrap(),
        Form::Basic => builder.finish_basic(),
        Form::Sharded => builder.finish_sharded().unwrap(),
    };
    for block in built.blocks {
        store.put(block);
    }
    Added { cid: built.cid, tsize: built.tsize }
}
