//! DAGs of blocks that fit together, or nearly: the reader of files, the walk,
//! and the search for a name, over blocks that claim what they like.

use std::collections::{BTreeMap, BTreeSet};

use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::resolve::{Lookup, Step};
use peerage_content::unixfs::{Data, Kind};
use peerage_content::{Cid, FileReader, Walk, codec, hash, node};

use crate::Decoder;
use crate::input::Values;

pub(crate) const DECODERS: &[Decoder] = &[Decoder { name: "dag", run: dag, seeds }];

/// Blocks of a DAG. Few: what is repeated is what makes DAGs large.
const BLOCKS: usize = 24;
/// Steps of a reader after which it is left: a file of 2^60 bytes has few blocks.
const STEPS: usize = 2_000;

struct Dag {
    blocks: BTreeMap<Cid, Vec<u8>>,
    /// Each with the bytes of the file under it, in the order that they were made.
    made: Vec<(Cid, u64)>,
}

impl Dag {
    /// What the input describes, the leaves first; the last one is the root.
    fn of(values: &mut Values<'_>) -> Self {
        let mut dag = Self { blocks: BTreeMap::new(), made: Vec::new() };
        while dag.made.len() < BLOCKS && !values.is_empty() {
            dag.add(values);
        }
        dag
    }

    fn add(&mut self, values: &mut Values<'_>) {
        let kind = values.u8() % 8;
        let content = values.bytes();
        let links: Vec<(Cid, u64)> = match kind {
            0 | 1 | 4 | 7 => Vec::new(),
            _ => (0..values.u8() % 5).filter_map(|_| values.pick(&self.made).copied()).collect(),
        };
        let mut data = Data::new(match kind {
            0..=2 => Kind::File,
            3 => Kind::Directory,
            4 => Kind::Symlink,
            5 => Kind::HamtShard,
            _ => Kind::Raw,
        });
        data.data = Some(content).filter(|content| !content.is_empty());
        if kind == 5 {
            (data.hash_type, data.fanout) = (Some(0x22), Some(8));
        }
        if matches!(kind, 2 | 6) {
            // What a parent says of a child is now and then a lie.
            let size = |&(_, size): &(Cid, u64)| if values.u8() % 16 == 15 { values.u64() } else { size };
            data.blocksizes = links.iter().map(size).collect();
        }
        let sum = data.blocksizes.iter().fold(content.len() as u64, |sum, size| sum.saturating_add(*size));
        let (codec, block) = match kind {
            0 => (codec::RAW, content.to_vec()),
            7 => (codec::DAG_PB, content.to_vec()),
            _ => {
                let names = [&b""[..], b"a", b"b", b"0", b"0a", b"1b", b".."];
                let name = |at: usize| names.get((at + usize::from(kind == 5) * 3) % names.len()).copied();
                let links = links.iter().enumerate();
                let links =
                    links.map(|(at, &(cid, size))| Link { cid, name: name(at + 1), tsize: Some(size) });
                let encoded = data.encode();
                (codec::DAG_PB, dagpb::encode(&PbNode { links: links.collect(), data: Some(&encoded) }))
            }
        };
        let digest = hash::digest(hash::SHA2_256, &block).expect("a function of ours");
        let cid = Cid::new_v1(codec, digest);
        self.blocks.insert(cid, block);
        self.made.push((cid, sum));
    }

    fn read(&self, root: Cid, from: u64, to: u64) -> bool {
        let mut reader = FileReader::new(root, from..to);
        let (mut next, mut read) = (from, 0);
        for _ in 0..STEPS {
            let Some(cid) = reader.need() else {
                // All of it, and nothing else.
                let size = reader.size().expect("the root was read");
                assert_eq!(read, to.min(size).saturating_sub(from));
                return true;
            };
            assert_eq!(reader.ahead(3).first(), Some(&cid));
            let Some(block) = self.blocks.get(&cid) else { return false };
            match reader.supply(block) {
                Ok(None) => {}
                Ok(Some(piece)) => {
                    let len = block.get(piece.range).expect("a piece lies in its block").len() as u64;
                    assert!((piece.cid, piece.offset) == (cid, next) && len > 0, "pieces follow each other");
                    (next, read) = (next + len, read + len);
                }
                Err(_) => return false,
            }
        }
        read > 0
    }

    fn walk(&self, root: Cid) {
        let (mut walk, mut seen) = (Walk::new(root), BTreeSet::new());
        let (mut visits, mut links) = (0, 1);
        while let Some(visit) = walk.next() {
            visits += 1;
            if seen.insert(visit.cid)
                && let Some(block) = self.blocks.get(&visit.cid)
            {
                links += walk.enter(&visit, block).unwrap_or(0);
            }
            assert!(visits <= links, "a walk ends");
        }
        assert_eq!(visits, links);
    }

    fn look(&self, root: Cid, name: &str) {
        let (mut lookup, mut at) = (Lookup::new(name), root);
        // Deeper than any hash has digits.
        for _ in 0..=22 {
            let Some(node) = self.blocks.get(&at).and_then(|block| node::decode(&at, block).ok()) else {
                return;
            };
            match lookup.step(&node) {
                Ok(Step::Descend(cid)) => at = cid,
                Ok(Step::Found(entry)) => {
                    assert_eq!(entry.name, name);
                    return;
                }
                Err(_) => return,
            }
        }
        panic!("a search ends");
    }
}

fn dag(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (from, len) = (u64::from(values.u16()), u64::from(values.u16()));
    let dag = Dag::of(&mut values);
    let Some(&(root, _)) = dag.made.last() else { return false };
    dag.walk(root);
    for name in ["a", "b", ".."] {
        dag.look(root, name);
    }
    let whole = dag.read(root, 0, u64::MAX);
    dag.read(root, from, from + len) || whole
}

fn seeds() -> Vec<Vec<u8>> {
    let leaf = b"\x00\x05hello";
    let pb_leaf = b"\x01\x05world";
    vec![
        [&[1, 0, 3, 0][..], leaf].concat(),
        // Two leaves under a file, and that twice under another.
        [&[2, 0, 9, 0][..], leaf, pb_leaf, b"\x02\x00\x02\x00\x01\x00\x00", b"\x02\x01x\x02\x02\x02\x00\x00"]
            .concat(),
        // A folder, a symlink, a shard.
        [&[0, 0, 0, 0][..], leaf, b"\x03\x00\x02\x00\x00", b"\x04\x04a/..", b"\x05\x01\x07\x02\x00\x01"]
            .concat(),
        // A child that is not as large as its parent says.
        [&[0, 0, 9, 0][..], leaf, b"\x02\x00\x01\x00\x0f\x09\0\0\0\0\0\0\0"].concat(),
    ]
}
