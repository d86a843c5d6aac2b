//! What is noted of a CAR to be compared at its end: who is there, who is linked
//! to, and where the index says that blocks are. Sorted on disk, so that a file
//! of any size takes the same memory.

use std::io;

use peerage_content::car::IndexEntry;
use peerage_content::{Cid, Multihash, Version, cid_text, codec, verify};

use super::fault::{CarFault, CarProblem};
use super::links::Links;
use crate::sort::{Record, Run, Scratch, Sorter};

/// One note: marks of one key come together, in the order of their kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// A block, or an offset: see [`Marks`]. Numbers are big-endian.
    key: Vec<u8>,
    kind: u8,
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
    /// By codec and multihash: the same bytes may be there as raw ones, and be
    /// linked to as a node with children. The value is the CID's version.
    links: Sorter<Mark>,
    /// By offset, from the start of the data. The value is the CID of the block
    /// that is there, or what the index has of it: whether it names the hash
    /// function, its code, and the digest.
    sections: Sorter<Mark>,
}

/// What the links say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ComparedLinks {
    pub(super) repeated: u64,
    pub(super) missing: u64,
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

    /// The header or a block links to these.
    pub(super) fn want(&mut self, links: &Links) -> io::Result<()> {
        links.iter().try_for_each(|cid| self.link(&cid_text::from_bytes(cid).map_err(damaged)?, NAMED))
    }

    fn link(&mut self, cid: &Cid, kind: u8) -> io::Result<()> {
        let mut key = cid.codec().to_be_bytes().to_vec();
        key.extend_from_slice(&cid.hash().to_bytes());
        self.links.push(Mark { key, kind, value: vec![u8::from(cid.version() == Version::V1)] })
    }

    /// A section begins there, in bytes from the start of the data.
    pub(super) fn section(&mut self, offset: u64, cid: &Cid) -> io::Result<()> {
        self.place(offset, THERE, cid.to_bytes())
    }

    /// The index says so.
    pub(super) fn entry(&mut self, entry: &IndexEntry<'_>) -> io::Result<()> {
        let mut value = vec![u8::from(entry.code.is_some())];
        value.extend_from_slice(&entry.code.unwrap_or_default().to_be_bytes());
        value.extend_from_slice(entry.digest);
        self.place(entry.offset, NAMED, value)
    }

    fn place(&mut self, offset: u64, kind: u8, value: Vec<u8>) -> io::Result<()> {
        self.sections.push(Mark { key: offset.to_be_bytes().to_vec(), kind, value })
    }

    /// Which blocks are there twice, and which are linked to and not there: the
    /// latter are told.
    pub(super) fn compare_links(&mut self, tell: &mut dyn FnMut(CarFault)) -> io::Result<ComparedLinks> {
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
            if kind == THERE {
                continue;
            }
            let cid = linked(&last, &value)?;
            // The block of no bytes nobody has to have.
            if verify(&cid, b"").is_err() {
                out.missing += 1;
                tell(CarFault { cid: Some(cid), offset: None, problem: CarProblem::Missing });
            }
        }
        Ok(out)
    }

    /// Whether the index leads to blocks, and to all of them; what is wrong with
    /// it is told. The data begins at `base`, in bytes from the start of the file.
    pub(super) fn compare_index(
        &mut self,
        base: u64,
        has_all: bool,
        tell: &mut dyn FnMut(CarFault),
    ) -> io::Result<ComparedIndex> {
        let mut out = ComparedIndex::default();
        let mut section: Option<Section> = None;
        // One more at the end, for the last section.
        for mark in self.sections.sorted()?.map(Some).chain([None]) {
            let mark = mark.transpose()?;
            if let Some(entry) = mark.as_ref().filter(|mark| mark.kind == NAMED) {
                let (offset, code, digest) = entry_of(entry)?;
                out.entries += 1;
                match &mut section {
                    Some(at) if at.offset == offset && is_same(&at.cid, code, digest) => at.named = true,
                    _ => {
                        out.wrong += 1;
                        let hash = code.and_then(|code| Multihash::wrap(code, digest).ok());
                        let cid = hash.map(|hash| Cid::new_v1(codec::RAW, hash));
                        let offset = Some(base.saturating_add(offset));
                        tell(CarFault { cid, offset, problem: CarProblem::IndexWrong });
                    }
                }
                continue;
            }
            let next = mark.map(|mark| Section::of(&mark)).transpose()?;
            let before = std::mem::replace(&mut section, next);
            if let Some(Section { offset, cid, .. }) = before.filter(|section| has_all && !section.named) {
                out.not_indexed += 1;
                let offset = Some(base.saturating_add(offset));
                tell(CarFault { cid: Some(cid), offset, problem: CarProblem::NotIndexed });
            }
        }
        Ok(out)
    }
}

/// A section, and whether the index has it.
struct Section {
    offset: u64,
    cid: Cid,
    named: bool,
}

impl Section {
    fn of(mark: &Mark) -> io::Result<Self> {
        let cid = cid_text::from_bytes(&mark.value).map_err(damaged)?;
        Ok(Self { offset: number(&mark.key)?, cid, named: false })
    }
}

/// The notes are ours, so it is the disk that changed them.
fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn number(bytes: &[u8]) -> io::Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(damaged)
}

/// The CID of a note of links.
fn linked(key: &[u8], version: &[u8]) -> io::Result<Cid> {
    let (codec, hash) = key.split_at_checked(8).ok_or(io::ErrorKind::InvalidData)?;
    let hash = Multihash::from_bytes(hash).map_err(damaged)?;
    if version == [0] { Cid::new_v0(hash).map_err(damaged) } else { Ok(Cid::new_v1(number(codec)?, hash)) }
}

/// Where an entry of the index leads, to which hash function if it says so, and digest.
fn entry_of(mark: &Mark) -> io::Result<(u64, Option<u64>, &[u8])> {
    let (head, digest) = mark.value.split_at_checked(9).ok_or(io::ErrorKind::InvalidData)?;
    let code = number(&head[1..])?;
    Ok((number(&mark.key)?, (head[0] == 1).then_some(code), digest))
}

/// Whether an index means this block: some formats name no hash function.
fn is_same(cid: &Cid, code: Option<u64>, digest: &[u8]) -> bool {
    code.is_none_or(|code| code == cid.hash().code()) && digest == cid.hash().digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_content::hash;

    fn raw(content: &[u8]) -> Cid {
        Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, content).unwrap())
    }

    fn missing(have: &[Cid], want: &[Cid]) -> (ComparedLinks, Vec<Cid>) {
        let mut marks = Marks::new();
        for cid in want {
            marks.want(&Links::of_root(cid).unwrap()).unwrap();
        }
        have.iter().for_each(|cid| marks.have(cid).unwrap());
        let mut told = Vec::new();
        let compared = marks.compare_links(&mut |fault| told.extend(fault.cid)).unwrap();
        (compared, told)
    }

    #[test]
    fn bytes_that_are_there_as_others_are_not_there() {
        let raw = raw(b"x");
        let node = Cid::new_v1(codec::DAG_PB, *raw.hash());
        let old = Cid::new_v0(*raw.hash()).unwrap();
        assert_eq!(missing(&[raw], &[node]), (ComparedLinks { repeated: 0, missing: 1 }, vec![node]));
        assert_eq!(missing(&[raw], &[old]), (ComparedLinks { repeated: 0, missing: 1 }, vec![old]));
        // The versions of a CID mean the same.
        assert_eq!(missing(&[old], &[node]), (ComparedLinks::default(), vec![]));
        assert_eq!(missing(&[node, old], &[]), (ComparedLinks { repeated: 1, missing: 0 }, vec![]));
        assert_eq!(missing(&[node, raw], &[old, raw, raw]), (ComparedLinks::default(), vec![]));
    }

    #[test]
    fn an_index_is_compared_with_what_is_there() {
        let (a, b, c) = (raw(b"a"), raw(b"b"), raw(b"c"));
        let told = |entries: &[(u64, Option<u64>, &Cid)], has_all| {
            let mut marks = Marks::new();
            for (offset, code, cid) in entries {
                let entry = IndexEntry { code: *code, digest: cid.hash().digest(), offset: *offset };
                marks.entry(&entry).unwrap();
            }
            marks.section(10, &a).unwrap();
            marks.section(300, &b).unwrap();
            let mut told = Vec::new();
            let compared = marks.compare_index(51, has_all, &mut |fault| told.push(fault)).unwrap();
            let told = told.into_iter().map(|fault| (fault.cid, fault.offset, fault.problem));
            (compared, told.collect::<Vec<_>>())
        };
        let sha = Some(hash::SHA2_256);
        let counts = |entries, wrong, not_indexed| ComparedIndex { entries, wrong, not_indexed };
        assert_eq!(told(&[(10, None, &a), (300, sha, &b)], true), (counts(2, 0, 0), vec![]));
        assert_eq!(told(&[(10, None, &a)], false), (counts(1, 0, 0), vec![]));
        let absent = |cid, offset| (Some(cid), Some(offset), CarProblem::NotIndexed);
        assert_eq!(told(&[(10, None, &a)], true), (counts(1, 0, 1), vec![absent(b, 351)]));
        let wrong = |cid, offset| (cid, Some(offset), CarProblem::IndexWrong);
        let entries =
            [(9, sha, &a), (10, None, &c), (10, Some(0x1e), &a), (300, sha, &b), (u64::MAX, sha, &b)];
        let other = Cid::new_v1(codec::RAW, Multihash::wrap(0x1e, a.hash().digest()).unwrap());
        let (compared, found) = told(&entries, true);
        assert_eq!(compared, counts(5, 4, 1));
        let expected = [
            wrong(Some(a), 60),
            wrong(None, 61),
            wrong(Some(other), 61),
            absent(a, 61),
            wrong(Some(b), u64::MAX),
        ];
        assert_eq!(found, expected);
    }
}
