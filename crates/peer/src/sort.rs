//! Sorting more than memory should hold, on disk.
//!
//! Sorted runs are appended to files without names and merged at the end. Before
//! they become too many to be read at once, runs of one tier become a run of the
//! next one, which is as many times as long: so a record is written once for
//! each tier, and there are few. What is in a run was made by this process, which
//! alone has the file, so damage is an error and nothing more.

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

/// Sorted runs of a tier that are merged into one of the next. 64: runs of 1 MiB,
/// 64 MiB and 4 GiB, so that 256 GiB of records are written four times at most,
/// and what is read of each run at a time takes 2 MiB in all.
const RUNS_MAX: usize = 64;

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
    /// The shortest runs first. Mostly there is none.
    tiers: Vec<Tier>,
    scratch: Scratch,
    limits: Limits,
}

/// Runs of like length, fewer than are merged.
#[derive(Debug, Default)]
struct Tier {
    /// Made when the first run is written, and left when they are merged: its
    /// place on the disk is free then.
    file: Option<File>,
    len: u64,
    runs: Vec<Range<u64>>,
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
        Self { buffer: Vec::new(), weight: 0, tiers: Vec::new(), scratch, limits }
    }

    pub(crate) fn push(&mut self, record: R) -> io::Result<()> {
        self.weight += record.weight();
        self.buffer.push(record);
        if self.weight >= self.limits.buffer {
            self.spill()?;
        }
        Ok(())
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        self.weight = 0;
        if self.tiers.is_empty() {
            self.tiers.push(Tier::default());
        }
        self.tiers[0].append(&self.scratch, self.buffer.drain(..).map(Ok))?;
        let mut tier = 0;
        while self.tiers[tier].runs.len() >= self.limits.runs {
            let full = std::mem::take(&mut self.tiers[tier]);
            tier += 1;
            if self.tiers.len() == tier {
                self.tiers.push(Tier::default());
            }
            self.tiers[tier].append(&self.scratch, merge(full.all(), Vec::<R>::new())?)?;
        }
        Ok(())
    }

    /// All records, sorted.
    pub(crate) fn sorted(&mut self) -> io::Result<impl Iterator<Item = io::Result<R>>> {
        let mut last = std::mem::take(&mut self.buffer);
        last.sort_unstable();
        merge(self.tiers.iter().flat_map(Tier::all), last)
    }
}

impl Tier {
    /// Appends a run of these records, which are sorted.
    fn append<R: Record>(
        &mut self,
        scratch: &Scratch,
        records: impl Iterator<Item = io::Result<R>>,
    ) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(scratch.file()?),
        };
        let start = self.len;
        self.len += write_all(file, records)?;
        self.runs.push(start..self.len);
        Ok(())
    }

    /// Its runs, from their beginnings.
    fn all(&self) -> impl Iterator<Item = Run<'_>> {
        let run = |file, range: &Range<u64>| Run { file, rest: range.clone(), piece: Vec::new(), at: 0 };
        self.file.iter().flat_map(move |file| self.runs.iter().map(move |range| run(file, range)))
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
    runs: impl Iterator<Item = Run<'a>>,
    last: Vec<R>,
) -> io::Result<impl Iterator<Item = io::Result<R>>> {
    let mut runs: Vec<Run<'_>> = runs.collect();
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
    use std::cell::Cell;

    thread_local! {
        static WRITTEN: Cell<u64> = const { Cell::new(0) };
    }

    impl Record for String {
        fn weight(&self) -> usize {
            self.len()
        }

        fn write(&self, out: &mut Vec<u8>) {
            WRITTEN.set(WRITTEN.get() + 1);
            out.push(u8::try_from(self.len()).unwrap());
            out.extend_from_slice(self.as_bytes());
        }

        fn read(run: &mut Run<'_>) -> io::Result<Self> {
            let [len] = run.array()?;
            Ok(Self::from_utf8(run.take(len.into())?.to_vec()).unwrap())
        }
    }

    /// Sorts so many records, and says how often one was written at most.
    fn sorted(count: u64) -> u64 {
        WRITTEN.set(0);
        let limits = Limits { buffer: 1000, runs: 5 };
        let mut sorter = Sorter::with_limits(&Scratch::new(None), limits);
        // 7 is prime to them, so that each number comes once.
        let mut want: Vec<String> = (0..count).map(|n| format!("record {:06}", n * 7 % count)).collect();
        for record in &want {
            sorter.push(record.clone()).unwrap();
            assert!(sorter.weight < limits.buffer);
            assert!(sorter.tiers.iter().all(|tier| tier.runs.len() < limits.runs));
        }
        assert!(sorter.tiers.len() > 1, "few came to the disk");
        want.sort();
        assert_eq!(sorter.sorted().unwrap().collect::<io::Result<Vec<_>>>().unwrap(), want);
        WRITTEN.get().div_ceil(count)
    }

    #[test]
    fn comes_out_sorted_from_many_runs() {
        sorted(2000);
    }

    #[test]
    fn a_record_is_written_once_for_each_tier() {
        // 13 bytes each: 77 in a run, 520 runs, which are 5^3 four times and some.
        assert_eq!(sorted(40_000), 4);
    }
}
