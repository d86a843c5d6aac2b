//! Sorting more than memory should hold, on disk.
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
use std::path::{Path, PathBuf};

/// Bytes of records that are sorted in memory. 1 MiB: some thousands, so that a
/// million make a few hundred runs.
const BUFFER: usize = 1 << 20;

/// Sorted runs that are merged into one. 256: what is read of each at a time then
/// takes 2 MiB, and only some millions of records are written twice.
const RUNS_MAX: usize = 256;

/// Bytes of a run that are read at a time. 8 KiB: two pages.
const READ_BYTES: usize = 8 << 10;

/// What can be sorted.
pub(crate) trait Record: Ord + Sized {
    /// Bytes that it takes in memory, about.
    fn weight(&self) -> usize;

    /// Appends it to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it back.
    fn read(run: &mut Run<'_>) -> io::Result<Self>;
}

/// Takes records in any order and gives them back sorted.
#[derive(Debug)]
pub(crate) struct Sorter<R> {
    buffer: Vec<R>,
    weight: usize,
    /// Made when the first run is written: mostly there is none.
    file: Option<File>,
    len: u64,
    runs: Vec<Range<u64>>,
    scratch: Scratch,
    limits: Limits,
}

/// What is held in memory.
#[derive(Debug, Clone, Copy)]
struct Limits {
    buffer: usize,
    runs: usize,
}

/// Where files without a name are made.
#[derive(Debug, Clone)]
pub(crate) struct Scratch(Option<PathBuf>);

impl Scratch {
    /// In the repository's folder, or where the system keeps what is temporary.
    pub(crate) fn new(repository: Option<&Path>) -> Self {
        Self(repository.map(Path::to_path_buf))
    }

    fn file(&self) -> io::Result<File> {
        self.0.as_deref().map_or_else(tempfile::tempfile, tempfile::tempfile_in)
    }
}

impl<R: Record> Sorter<R> {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self::with_limits(scratch, Limits { buffer: BUFFER, runs: RUNS_MAX })
    }

    fn with_limits(scratch: &Scratch, limits: Limits) -> Self {
        let scratch = scratch.clone();
        Self { buffer: Vec::new(), weight: 0, file: None, len: 0, runs: Vec::new(), scratch, limits }
    }

    pub(crate) fn push(&mut self, record: R) -> io::Result<()> {
        self.weight += record.weight();
        self.buffer.push(record);
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
        self.len = write_all(&into, merge(Some(file), &self.runs, Vec::<R>::new())?)?;
        self.file = Some(into);
        self.runs = std::iter::once(0..self.len).collect();
        Ok(())
    }

    /// All records, sorted.
    pub(crate) fn sorted(&mut self) -> io::Result<impl Iterator<Item = io::Result<R>>> {
        let mut last = std::mem::take(&mut self.buffer);
        last.sort_unstable();
        merge(self.file.as_ref(), &self.runs, last)
    }
}

/// Appends records to a file; returns how many bytes they took.
fn write_all<R: Record>(file: &File, records: impl Iterator<Item = io::Result<R>>) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    let (mut bytes, mut len) = (Vec::new(), 0);
    for record in records {
        bytes.clear();
        record?.write(&mut bytes);
        out.write_all(&bytes)?;
        len += bytes.len() as u64;
    }
    out.flush()?;
    Ok(len)
}

/// A run that is read, a piece at a time.
pub(crate) struct Run<'a> {
    file: &'a File,
    rest: Range<u64>,
    piece: Vec<u8>,
    at: usize,
}

impl Run<'_> {
    /// The next bytes.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.piece.len() - self.at < len {
            self.piece.drain(..self.at);
            self.at = 0;
            let have = self.piece.len();
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let more = left.min(READ_BYTES.max(len) - have);
            self.piece.resize(have + more, 0);
            self.file.read_exact_at(&mut self.piece[have..], self.rest.start)?;
            self.rest.start += more as u64;
        }
        let taken = self.piece.get(self.at..self.at + len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += len;
        Ok(taken)
    }

    /// The next bytes, as many as the array has.
    pub(crate) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn next<R: Record>(&mut self) -> io::Result<Option<R>> {
        if self.at == self.piece.len() && self.rest.is_empty() {
            return Ok(None);
        }
        R::read(self).map(Some)
    }
}

/// The records of sorted runs and of `last`, which is sorted too.
fn merge<'a, R: Record>(
    file: Option<&'a File>,
    runs: &[Range<u64>],
    last: Vec<R>,
) -> io::Result<impl Iterator<Item = io::Result<R>> + use<'a, R>> {
    let run =
        |(file, run): (&'a File, &Range<u64>)| Run { file, rest: run.clone(), piece: Vec::new(), at: 0 };
    let mut runs: Vec<Run<'_>> =
        file.into_iter().flat_map(|file| runs.iter().map(move |run| (file, run))).map(run).collect();
    let mut last = last.into_iter();
    let mut heads = BinaryHeap::with_capacity(runs.len() + 1);
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(run.next()?.map(|record| Reverse((record, number))));
    }
    heads.extend(last.next().map(|record| Reverse((record, usize::MAX))));
    Ok(std::iter::from_fn(move || {
        let Reverse((least, number)) = heads.pop()?;
        let next = match runs.get_mut(number) {
            Some(run) => run.next(),
            None => Ok(last.next()),
        };
        match next {
            Ok(next) => heads.extend(next.map(|record| Reverse((record, number)))),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(least))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record for String {
        fn weight(&self) -> usize {
            self.len()
        }

        fn write(&self, out: &mut Vec<u8>) {
            out.push(u8::try_from(self.len()).unwrap());
            out.extend_from_slice(self.as_bytes());
        }

        fn read(run: &mut Run<'_>) -> io::Result<Self> {
            let [len] = run.array()?;
            Ok(Self::from_utf8(run.take(len.into())?.to_vec()).unwrap())
        }
    }

    #[test]
    fn comes_out_sorted_from_many_runs() {
        let limits = Limits { buffer: 1000, runs: 5 };
        let mut sorter = Sorter::with_limits(&Scratch::new(None), limits);
        // 7 is prime to 2,000, so that each number comes once.
        let mut want: Vec<String> = (0..2000).map(|n| format!("record {}", n * 7 % 2000)).collect();
        for record in &want {
            sorter.push(record.clone()).unwrap();
            assert!(sorter.runs.len() < limits.runs && sorter.weight < limits.buffer);
        }
        assert!(sorter.file.is_some(), "it all stayed in memory");
        want.sort();
        assert_eq!(sorter.sorted().unwrap().collect::<io::Result<Vec<_>>>().unwrap(), want);
    }
}
