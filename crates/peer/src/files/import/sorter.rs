//! Folders of any number of entries in bounded memory: once a folder is too
//! large for one block its entries only have to be in the order of their hashes,
//! and are sorted for that on disk.
//!
//! Sorted runs are appended to a file without a name and merged at the end. What
//! is in a run was made by this process, which alone has the file, so damage is
//! an error and nothing more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use peerage_content::{Cid, cid_text, hamt};

use super::limits::{SORT_BUFFER, SORT_READ_BYTES, SORT_RUNS_MAX};

/// An entry of a folder; ordered as shards need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    hash: u64,
    pub(super) name: String,
    pub(super) cid: Cid,
    pub(super) tsize: u64,
}

impl Item {
    fn new(name: String, cid: Cid, tsize: u64) -> Self {
        Self { hash: hamt::hash(name.as_bytes()), name, cid, tsize }
    }

    /// Bytes that it takes in memory, about.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len()
    }

    fn write(&self, out: &mut impl io::Write) -> io::Result<u64> {
        let cid = self.cid.to_bytes();
        let len = |len: usize| u16::try_from(len).map_err(io::Error::other);
        out.write_all(&self.hash.to_le_bytes())?;
        out.write_all(&self.tsize.to_le_bytes())?;
        out.write_all(&len(self.name.len())?.to_le_bytes())?;
        out.write_all(&len(cid.len())?.to_le_bytes())?;
        out.write_all(self.name.as_bytes())?;
        out.write_all(&cid)?;
        Ok((8 + 8 + 2 + 2 + self.name.len() + cid.len()) as u64)
    }

    fn read(run: &mut Run<'_>) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let hash = u64::from_le_bytes(run.array()?);
        let tsize = u64::from_le_bytes(run.array()?);
        let (name, cid) = (u16::from_le_bytes(run.array()?), u16::from_le_bytes(run.array()?));
        let name = String::from_utf8(run.take(name.into())?.to_vec()).map_err(|_| wrong())?;
        let cid = cid_text::from_bytes(run.take(cid.into())?).map_err(|_| wrong())?;
        Ok(Self { hash, name, cid, tsize })
    }
}

/// Takes entries in any order and gives them back in that of their hashes.
#[derive(Debug)]
pub(super) struct Sorter {
    buffer: Vec<Item>,
    weight: usize,
    /// Made when the first run is written: most folders have none.
    file: Option<File>,
    len: u64,
    runs: Vec<Range<u64>>,
    scratch: Scratch,
    limits: Limits,
}

/// What is held of a folder.
#[derive(Debug, Clone, Copy)]
struct Limits {
    buffer: usize,
    runs: usize,
}

/// Where files without a name are made.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Option<std::path::PathBuf>);

impl Scratch {
    /// In the repository's folder, or where the system keeps what is temporary.
    pub(super) fn new(repository: Option<&Path>) -> Self {
        Self(repository.map(Path::to_path_buf))
    }

    fn file(&self) -> io::Result<File> {
        self.0.as_deref().map_or_else(tempfile::tempfile, tempfile::tempfile_in)
    }
}

impl Sorter {
    pub(super) fn new(scratch: &Scratch) -> Self {
        Self::with_limits(scratch, Limits { buffer: SORT_BUFFER, runs: SORT_RUNS_MAX })
    }

    fn with_limits(scratch: &Scratch, limits: Limits) -> Self {
        let scratch = scratch.clone();
        Self { buffer: Vec::new(), weight: 0, file: None, len: 0, runs: Vec::new(), scratch, limits }
    }

    pub(super) fn push(&mut self, name: String, cid: Cid, tsize: u64) -> io::Result<()> {
        let item = Item::new(name, cid, tsize);
        self.weight += item.weight();
        self.buffer.push(item);
        if self.weight >= self.limits.buffer {
            self.spill()?;
        }
        if self.runs.len() >= self.limits.runs {
            self.merge_runs()?;
        }
        Ok(())
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.scratch.file()?),
        };
        let start = self.len;
        self.len += write_all(file, self.buffer.drain(..).map(Ok))?;
        self.weight = 0;
        self.runs.push(start..self.len);
        Ok(())
    }

    /// Makes one run of all.
    fn merge_runs(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let into = self.scratch.file()?;
        self.len = write_all(&into, merge(Some(file), &self.runs, Vec::new())?)?;
        self.file = Some(into);
        self.runs = std::iter::once(0..self.len).collect();
        Ok(())
    }

    /// All entries, in the order of their hashes.
    pub(super) fn sorted(&mut self) -> io::Result<impl Iterator<Item = io::Result<Item>>> {
        let mut last = std::mem::take(&mut self.buffer);
        last.sort_unstable();
        merge(self.file.as_ref(), &self.runs, last)
    }
}

/// Appends entries to a file; returns how many bytes they took.
fn write_all(file: &File, items: impl Iterator<Item = io::Result<Item>>) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    let mut len = 0;
    for item in items {
        len += item?.write(&mut out)?;
    }
    out.flush()?;
    Ok(len)
}

/// A run that is read, a piece at a time.
struct Run<'a> {
    file: &'a File,
    rest: Range<u64>,
    piece: Vec<u8>,
    at: usize,
}

impl Run<'_> {
    fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.piece.len() - self.at < len {
            self.piece.drain(..self.at);
            self.at = 0;
            let have = self.piece.len();
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let more = left.min(SORT_READ_BYTES.max(len) - have);
            self.piece.resize(have + more, 0);
            self.file.read_exact_at(&mut self.piece[have..], self.rest.start)?;
            self.rest.start += more as u64;
        }
        let taken = self.piece.get(self.at..self.at + len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn next(&mut self) -> io::Result<Option<Item>> {
        if self.at == self.piece.len() && self.rest.is_empty() {
            return Ok(None);
        }
        Item::read(self).map(Some)
    }
}

/// The entries of sorted runs and of `last`, which is sorted too.
fn merge<'a>(
    file: Option<&'a File>,
    runs: &[Range<u64>],
    last: Vec<Item>,
) -> io::Result<impl Iterator<Item = io::Result<Item>> + use<'a>> {
    let run =
        |(file, run): (&'a File, &Range<u64>)| Run { file, rest: run.clone(), piece: Vec::new(), at: 0 };
    let mut runs: Vec<Run<'_>> =
        file.into_iter().flat_map(|file| runs.iter().map(move |run| (file, run))).map(run).collect();
    let mut last = last.into_iter();
    let mut heads = BinaryHeap::with_capacity(runs.len() + 1);
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(run.next()?.map(|item| Reverse((item, number))));
    }
    heads.extend(last.next().map(|item| Reverse((item, usize::MAX))));
    Ok(std::iter::from_fn(move || {
        let Reverse((least, number)) = heads.pop()?;
        let next = match runs.get_mut(number) {
            Some(run) => run.next(),
            None => Ok(last.next()),
        };
        match next {
            Ok(next) => heads.extend(next.map(|item| Reverse((item, number)))),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(least))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_out_in_the_order_of_the_hashes_from_many_runs() {
        let cid: Cid = peerage_content::Leaf::new(&peerage_content::Profile::default(), b"x").cid;
        let limits = Limits { buffer: 10_000, runs: 5 };
        let mut sorter = Sorter::with_limits(&Scratch::new(None), limits);
        let total = 2000;
        for n in 0..total {
            sorter.push(format!("entry {n}"), cid, n as u64).unwrap();
            assert!(sorter.runs.len() < limits.runs && sorter.weight < limits.buffer);
        }
        assert!(sorter.file.is_some(), "it all stayed in memory");
        let mut seen = vec![false; total];
        let mut before = 0;
        for item in sorter.sorted().unwrap() {
            let item = item.unwrap();
            assert!(item.hash >= before);
            before = item.hash;
            let n = usize::try_from(item.tsize).unwrap();
            assert_eq!((item.name, item.cid), (format!("entry {n}"), cid));
            assert!(!std::mem::replace(&mut seen[n], true), "{n} twice");
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
