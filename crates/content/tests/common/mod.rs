//! What the tests of this crate share: vectors, ChaCha20 input, and adding
//! and reading whole files and trees in memory.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::allow_attributes, reason = "unused in some binaries, used in others")]

pub(crate) mod car;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use peerage_content::unixfs::Metadata;
use peerage_content::{Block, Cid, DirectoryBuilder, FileBuilder, FileReader, Leaf, Profile, hash};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A file of the vectors' folder.
pub(crate) fn vector(path: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"));
    let path = root.join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first `len` bytes of the ChaCha20 key stream under SHA-256 of `seed`.
pub(crate) fn keystream(seed: &str, len: usize) -> Vec<u8> {
    let key = hash::digest(hash::SHA2_256, seed.as_bytes()).unwrap();
    let mut out = vec![0; len];
    ChaCha20Rng::from_seed(key.digest().try_into().unwrap()).fill_bytes(&mut out);
    out
}

/// Blocks by CID; every one is checked as it comes in.
#[derive(Default)]
pub(crate) struct Store(pub(crate) BTreeMap<Cid, Bytes>);

impl Store {
    pub(crate) fn put(&mut self, block: Block) {
        assert_eq!(hash::verify(&block.cid, &block.data), Ok(()));
        self.0.insert(block.cid, block.data);
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
            let block = &self.0[&cid];
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

/// Adds a file.
pub(crate) fn file(store: &mut Store, profile: &Profile, content: &[u8], metadata: Metadata) -> Added {
    let mut builder = FileBuilder::with_metadata(profile, metadata);
    if content.len() <= profile.chunk_size {
        let leaf = Leaf::only(profile, content, metadata);
        store.leaf(&leaf, content);
        assert!(builder.push(&leaf).is_empty());
    } else {
        for chunk in content.chunks(profile.chunk_size) {
            let leaf = Leaf::new(profile, chunk);
            store.leaf(&leaf, chunk);
            for block in builder.push(&leaf) {
                store.put(block);
            }
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
