//! What is noted of a CAR to be compared at its end: who is there, who is linked
//! to, and where the index says that blocks are. Sorted on disk, so that a file
//! of any size takes the same memory.

use std::io;

use peerage_content::car::IndexEntry;
use peerage_content::{Cid, cid_text, hash, node, verify};

use crate::keep::MISSING_NAMED;
use crate::sort::{Record, Run, Scratch, Sorter};

/// One note: marks of one key come together, in the order of their kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// A multihash, or an offset as a big-endian number.
    key: Vec<u8>,
    kind: u8,
    /// A CID, or what an index has of it: see [`Marks`].
    value: Vec<u8>,
}

/// The block is there; first of its key.
const THERE: u8 = 0;
/// Somebody says that it is there.
const NAMED: u8 = 1;

impl Record for Mark {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let len = |len: usize| u16::try_from(len).expect("CIDs and digests have at most some hundred bytes");
        out.extend_from_slice(&len(self.key.len()).to_le_bytes());
        out.extend_from_slice(&len(self.value.len()).to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.value);
    }

    fn read(run: &mut Run<'_>) -> io::Result<Self> {
        let (key, value) = (u16::from_le_bytes(run.array()?), u16::from_le_bytes(run.array()?));
        let [kind] = run.array()?;
        Ok(Self { key: run.take(key.into())?.to_vec(), kind, value: run.take(value.into())?.to_vec() })
    }
}

/// All that is noted.
#[derive(Debug)]
pub(super) struct Marks {
    /// By multihash. The value is a CID.
    links: Sorter<Mark>,
    /// By offset. The value is the hash function's code, or that there is none,
    /// and the digest.
    sections: Sorter<Mark>,
}

/// What the links say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ComparedLinks {
    pub(super) repeated: u64,
    pub(super) missing: u64,
    pub(super) first: Vec<Cid>,
}

/// What the index says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ComparedIndex {
    pub(super) entries: u64,
    pub(super) wrong: u64,
    pub(super) not_indexed: u64,
}

impl Marks {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new(None);
        Self { links: Sorter::new(&scratch), sections: Sorter::new(&scratch) }
    }

    /// The block is there.
    pub(super) fn have(&mut self, cid: &Cid) -> io::Result<()> {
        self.link(cid, THERE)
    }

    /// A block links to this one.
    pub(super) fn want(&mut self, cid: &Cid) -> io::Result<()> {
        self.link(cid, NAMED)
    }

    /// The header names it as a root; if the CID holds the block, what that links to.
    pub(super) fn want_root(&mut self, cid: &Cid) -> io::Result<()> {
        match hash::inline(cid) {
            None => self.want(cid),
            Some(block) => {
                node::links(cid, block).unwrap_or_default().iter().try_for_each(|link| self.want_root(link))
            }
        }
    }

    fn link(&mut self, cid: &Cid, kind: u8) -> io::Result<()> {
        self.links.push(Mark { key: cid.hash().to_bytes(), kind, value: cid.to_bytes() })
    }

    /// A section begins there, in bytes from the start of the data.
    pub(super) fn section(&mut self, offset: u64, cid: &Cid) -> io::Result<()> {
        self.place(offset, THERE, Some(cid.hash().code()), cid.hash().digest())
    }

    /// The index says so.
    pub(super) fn entry(&mut self, entry: &IndexEntry<'_>) -> io::Result<()> {
        self.place(entry.offset, NAMED, entry.code, entry.digest)
    }

    fn place(&mut self, offset: u64, kind: u8, code: Option<u64>, digest: &[u8]) -> io::Result<()> {
        let mut value = code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
        value.insert(0, u8::from(code.is_some()));
        value.extend_from_slice(digest);
        self.sections.push(Mark { key: offset.to_be_bytes().to_vec(), kind, value })
    }

    /// Which blocks are there twice, and which are linked to and not there.
    pub(super) fn compare_links(&mut self) -> io::Result<ComparedLinks> {
        let mut out = ComparedLinks::default();
        let mut last = Vec::new();
        for mark in self.links.sorted()? {
            let Mark { key, kind, value } = mark?;
            if key == last {
                out.repeated += u64::from(kind == THERE);
                continue;
            }
            last = key;
            // What is there comes first of its key.
            let cid = cid_text::from_bytes(&value).map_err(io::Error::other)?;
            // The block of no bytes nobody has to have.
            if kind == NAMED && verify(&cid, b"").is_err() {
                out.missing += 1;
                if out.first.len() < MISSING_NAMED {
                    out.first.push(cid);
                }
            }
        }
        Ok(out)
    }

    /// Whether the index leads to blocks, and to all of them.
    pub(super) fn compare_index(&mut self) -> io::Result<ComparedIndex> {
        let mut out = ComparedIndex::default();
        let mut section: Option<(Mark, bool)> = None;
        for mark in self.sections.sorted()? {
            let mark = mark?;
            if mark.kind == THERE {
                out.not_indexed += u64::from(section.replace((mark, false)).is_some_and(|(_, named)| !named));
                continue;
            }
            out.entries += 1;
            match &mut section {
                Some((at, named)) if at.key == mark.key && is_same(&at.value, &mark.value) => *named = true,
                _ => out.wrong += 1,
            }
        }
        out.not_indexed += u64::from(section.is_some_and(|(_, named)| !named));
        Ok(out)
    }
}

/// Whether an index means this block: some formats name no hash function.
fn is_same(section: &[u8], entry: &[u8]) -> bool {
    match entry.split_first() {
        Some((0, digest)) => section.get(9..) == Some(digest),
        _ => section == entry,
    }
}
