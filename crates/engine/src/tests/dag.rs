//! Trees of files as real DAGs, made by the builders of `content`.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_base::Rng;
use peerage_content::unixfs::Metadata;
use peerage_content::{Chunker, Cid, DirectoryBuilder, FileBuilder, Leaf, Multihash, Profile, symlink};

/// What is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    File(Vec<u8>),
    Dir(BTreeMap<String, Tree>),
    Link(String),
}

/// What a fetch makes of it: by path, a file's bytes, a folder or a link.
pub(super) type Flat = BTreeMap<Vec<String>, Tree>;

impl Tree {
    pub(super) fn dir<N: Into<String>>(entries: impl IntoIterator<Item = (N, Tree)>) -> Self {
        Self::Dir(entries.into_iter().map(|(name, tree)| (name.into(), tree)).collect())
    }

    pub(super) fn flat(&self) -> Flat {
        let mut flat = Flat::new();
        self.flatten(&mut Vec::new(), &mut flat);
        flat
    }

    fn flatten(&self, path: &mut Vec<String>, flat: &mut Flat) {
        match self {
            Self::Dir(entries) => {
                flat.insert(path.clone(), Self::Dir(BTreeMap::new()));
                for (name, tree) in entries {
                    path.push(name.clone());
                    tree.flatten(path, flat);
                    path.pop();
                }
            }
            other => drop(flat.insert(path.clone(), other.clone())),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(bytes) => bytes.len() as u64,
            Self::Dir(entries) => entries.values().map(Self::bytes).sum(),
            Self::Link(_) => 0,
        }
    }

    /// Some tree of a few levels; its files share pieces now and then.
    pub(super) fn random(rng: &mut Rng, depth: u32) -> Self {
        match rng.below(if depth == 0 { 3 } else { 5 }) {
            0 => Self::Link("elsewhere".to_owned()),
            1 | 2 => {
                let len = usize::try_from(rng.below(2_000)).unwrap();
                let mut bytes = vec![0; len];
                if rng.below(3) > 0 {
                    rng.fill(&mut bytes);
                }
                Self::File(bytes)
            }
            _ => {
                let count = rng.below(9);
                Self::dir((0..count).map(|n| (format!("entry {n}"), Self::random(rng, depth - 1))))
            }
        }
    }
}

/// Blocks by what they hash to.
pub(super) type Blocks = BTreeMap<Multihash, Bytes>;

/// A DAG: its root, its blocks, the bytes of all links under it.
#[derive(Debug, Clone)]
pub(super) struct Dag {
    pub(super) root: Cid,
    pub(super) blocks: Blocks,
    pub(super) tsize: u64,
}

/// A profile whose DAGs are deep at small sizes.
pub(super) fn small() -> Profile {
    Profile {
        chunker: Chunker::Size(64),
        max_links: 3,
        shard_above: 400,
        hamt_fanout: 8,
        ..Profile::default()
    }
}

/// The same with leaves in dag-pb and CIDs of version 0.
pub(super) fn small_v0() -> Profile {
    Profile {
        chunker: Chunker::Size(64),
        max_links: 3,
        shard_above: 400,
        hamt_fanout: 8,
        ..Profile::UNIXFS_V0_2015
    }
}

pub(super) fn build(tree: &Tree, profile: &Profile) -> Dag {
    let mut blocks = Blocks::new();
    let (root, tsize) = add(tree, profile, &mut blocks);
    Dag { root, blocks, tsize }
}

impl Dag {
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.values().map(|block| block.len() as u64).sum()
    }

    /// A folder with these entries, whatever they are.
    pub(super) fn folder<'a>(entries: impl IntoIterator<Item = (String, &'a Dag)>) -> Self {
        let mut blocks = Blocks::new();
        let mut folder = DirectoryBuilder::new(&Profile::default());
        for (name, dag) in entries {
            folder.add(&name, dag.root, dag.tsize).unwrap();
            blocks.extend(dag.blocks.clone());
        }
        let built = folder.finish_basic();
        blocks.extend(built.blocks.into_iter().map(|block| (*block.cid.hash(), block.data)));
        Self { root: built.cid, blocks, tsize: built.tsize }
    }
}

fn add(tree: &Tree, profile: &Profile, blocks: &mut Blocks) -> (Cid, u64) {
    match tree {
        Tree::Link(target) => {
            let block = symlink(profile, target.as_bytes(), Metadata::default()).unwrap();
            let len = block.data.len() as u64;
            blocks.insert(*block.cid.hash(), block.data);
            (block.cid, len)
        }
        Tree::File(bytes) => {
            let mut file = FileBuilder::new(profile);
            let chunks = bytes.chunks(profile.chunker.max_len());
            for chunk in chunks.chain(bytes.is_empty().then_some(&[][..])) {
                let leaf = Leaf::new(profile, chunk);
                let block = [&leaf.head[..], chunk, &leaf.tail[..]].concat();
                blocks.insert(*leaf.cid.hash(), block.into());
                for block in file.push(&leaf) {
                    blocks.insert(*block.cid.hash(), block.data);
                }
            }
            let built = file.finish().unwrap();
            blocks.extend(built.blocks.into_iter().map(|block| (*block.cid.hash(), block.data)));
            (built.cid, built.tsize)
        }
        Tree::Dir(entries) => {
            let mut folder = DirectoryBuilder::new(profile);
            for (name, tree) in entries {
                let (cid, tsize) = add(tree, profile, blocks);
                folder.add(name, cid, tsize).unwrap();
            }
            let built = folder.finish().unwrap();
            blocks.extend(built.blocks.into_iter().map(|block| (*block.cid.hash(), block.data)));
            (built.cid, built.tsize)
        }
    }
}
