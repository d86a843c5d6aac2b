//! Sorted pairs of numbers on disk, written once and read by page: the parts
//! of an index that grows, and what a sort of more than memory should hold is
//! made of.
//!
//! A page is 256 pairs of 16 bytes; only the last one of a run is shorter. The
//! first key of each page and a filter are in memory: 11 bits a pair. There are
//! no checksums, since whoever finds a pair looks at what it leads to.

use std::borrow::Borrow;
use std::io;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::pack::filter::Filter;
use crate::scratch::{Scratch, ScratchRoom};

/// A key and what it leads to.
pub(crate) type Pair = (u64, u64);

const PAIR_BYTES: usize = 16;
const PAGE_PAIRS: usize = 256;
const PAGE_BYTES: usize = PAGE_PAIRS * PAIR_BYTES;
/// Bytes gathered for one write, and read at once when all are read.
const CHUNK_BYTES: usize = 4 * PAGE_BYTES;

/// Pairs in order, none of them twice.
#[derive(Debug)]
pub(crate) struct Run {
    file: Scratch,
    fences: Box<[u64]>,
    filter: Filter,
    count: u64,
}

impl Run {
    /// Pairs in it.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Adds to `out` what `key` leads to.
    pub(crate) fn find(&self, key: u64, out: &mut Vec<u64>) -> io::Result<()> {
        if !self.filter.may_contain(key) {
            return Ok(());
        }
        let first = self.fences.partition_point(|fence| *fence < key).saturating_sub(1);
        for page in (first..self.fences.len()).take_while(|page| self.fences[*page] <= key) {
            let bytes = self.read((page * PAGE_BYTES) as u64, PAGE_BYTES)?;
            let (pairs, _) = bytes.as_chunks();
            let from = pairs.partition_point(|pair| decode(pair).0 < key);
            out.extend(pairs[from..].iter().map(decode).take_while(|pair| pair.0 == key).map(|pair| pair.1));
        }
        Ok(())
    }

    /// Up to `len` bytes of pairs, fewer at the end.
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let left = (self.count * PAIR_BYTES as u64).saturating_sub(offset);
        let mut buf = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(len)];
        self.file.read_into(offset, &mut buf)?;
        Ok(buf)
    }
}

fn decode(pair: &[u8; PAIR_BYTES]) -> Pair {
    let number = u128::from_le_bytes(*pair);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    let key = number as u64;
    (key, (number >> 64) as u64)
}

/// Writes a run.
pub(crate) struct RunWriter<'a> {
    room: &'a ScratchRoom,
    file: Scratch,
    chunk: Vec<u8>,
    fences: Vec<u64>,
    filter: Filter,
    count: u64,
}

impl<'a> RunWriter<'a> {
    /// Of up to `count` pairs.
    pub(crate) fn new(room: &'a ScratchRoom, count: u64) -> Self {
        let filter = Filter::with_room_for(usize::try_from(count).unwrap_or(usize::MAX));
        let chunk = Vec::with_capacity(CHUNK_BYTES);
        Self { room, file: Scratch::default(), chunk, fences: Vec::new(), filter, count: 0 }
    }

    /// Adds a pair, which is more than the one before it.
    pub(crate) fn push(&mut self, (key, value): Pair) -> io::Result<()> {
        if self.count.is_multiple_of(PAGE_PAIRS as u64) {
            self.fences.push(key);
        }
        self.filter.insert(key);
        self.chunk.extend_from_slice(&key.to_le_bytes());
        self.chunk.extend_from_slice(&value.to_le_bytes());
        self.count += 1;
        if self.chunk.len() == CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let end = self.count * PAIR_BYTES as u64;
        self.file.write_at(self.room, end - self.chunk.len() as u64, &self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// The run.
    pub(crate) fn finish(mut self) -> io::Result<Run> {
        if !self.chunk.is_empty() {
            self.write()?;
        }
        Ok(Run { file: self.file, fences: self.fences.into(), filter: self.filter, count: self.count })
    }
}

/// One run, from its beginning.
#[derive(Debug)]
struct Cursor<R> {
    run: R,
    read: u64,
    pairs: Peekable<IntoIter<Pair>>,
}

impl<R: Borrow<Run>> Cursor<R> {
    fn new(run: R) -> Self {
        Self { run, read: 0, pairs: Vec::new().into_iter().peekable() }
    }

    fn peek(&mut self) -> io::Result<Option<Pair>> {
        if self.pairs.peek().is_none() {
            let bytes = self.run.borrow().read(self.read, CHUNK_BYTES)?;
            self.read += CHUNK_BYTES as u64;
            self.pairs = bytes.as_chunks().0.iter().map(decode).collect::<Vec<_>>().into_iter().peekable();
        }
        Ok(self.pairs.peek().copied())
    }
}

/// The pairs of a few runs in order, each once.
#[derive(Debug)]
struct Merge<R>(Vec<Cursor<R>>);

impl<R: Borrow<Run>> Merge<R> {
    fn next(&mut self) -> io::Result<Option<Pair>> {
        let mut least: Option<Pair> = None;
        for cursor in &mut self.0 {
            let head = cursor.peek()?;
            least = least.into_iter().chain(head).min();
        }
        for cursor in &mut self.0 {
            // Others may have it too.
            let _same = cursor.pairs.next_if(|pair| Some(*pair) == least);
        }
        Ok(least)
    }
}

/// Makes one run of a few.
pub(crate) fn merge(room: &ScratchRoom, runs: &[Run]) -> io::Result<Run> {
    let mut out = RunWriter::new(room, runs.iter().map(Run::len).sum());
    let mut merge = Merge(runs.iter().map(Cursor::new).collect());
    while let Some(pair) = merge.next()? {
        out.push(pair)?;
    }
    out.finish()
}

/// Sorts any number of pairs, few of which are in memory.
#[derive(Debug)]
pub(crate) struct Sorter<'a> {
    room: &'a ScratchRoom,
    recent: Vec<Pair>,
    runs: Vec<Run>,
    limit: usize,
}

impl<'a> Sorter<'a> {
    /// At most `limit` pairs in memory.
    pub(crate) fn new(room: &'a ScratchRoom, limit: usize) -> Self {
        Self { room, recent: Vec::new(), runs: Vec::new(), limit: limit.max(1) }
    }

    pub(crate) fn push(&mut self, pair: Pair) -> io::Result<()> {
        if self.recent.len() >= self.limit {
            self.recent.sort_unstable();
            // Nobody asks these for a key.
            let mut run = RunWriter::new(self.room, 0);
            self.recent.iter().try_for_each(|pair| run.push(*pair))?;
            self.runs.push(run.finish()?);
            self.recent.clear();
        }
        self.recent.push(pair);
        Ok(())
    }

    /// Pairs that came, those that came twice counted twice.
    pub(crate) fn len(&self) -> u64 {
        self.recent.len() as u64 + self.runs.iter().map(Run::len).sum::<u64>()
    }

    /// The pairs in order, each once.
    pub(crate) fn sorted(mut self) -> io::Result<Sorted> {
        self.recent.sort_unstable();
        let mut cursors: Vec<Cursor<Run>> = self.runs.into_iter().map(Cursor::new).collect();
        let mut last = Cursor::new(RunWriter::new(self.room, 0).finish()?);
        last.pairs = self.recent.into_iter().peekable();
        cursors.push(last);
        Ok(Sorted(Merge(cursors)))
    }
}

/// What a [`Sorter`] sorted.
#[derive(Debug)]
pub(crate) struct Sorted(Merge<Run>);

impl Iterator for Sorted {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<io::Result<Pair>> {
        self.0.next().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::disk;

    fn run(room: &ScratchRoom, pairs: &BTreeSet<Pair>) -> Run {
        let mut writer = RunWriter::new(room, pairs.len() as u64);
        pairs.iter().for_each(|pair| writer.push(*pair).unwrap());
        writer.finish().unwrap()
    }

    fn found(run: &Run, key: u64) -> Vec<u64> {
        let mut out = Vec::new();
        run.find(key, &mut out).unwrap();
        out
    }

    #[test]
    fn merged_runs_hold_the_pairs_of_all() {
        let dir = tempfile::tempdir().unwrap();
        merge_some(&ScratchRoom::new(&disk::system(), &dir.path().join("scratch")));
        // As well where no file can be.
        merge_some(&ScratchRoom::new(&disk::system(), &dir.path().join("nowhere/scratch")));
    }

    fn merge_some(room: &ScratchRoom) {
        // Of different lengths, one of them a whole number of chunks; some pairs in several.
        let lens = [1, 256, 1024, 3000u64];
        let sets: Vec<BTreeSet<Pair>> =
            (0u64..).zip(lens).map(|(n, len)| (0..len).map(|i| (i * (n + 1), i % 3)).collect()).collect();
        let runs: Vec<Run> = sets.iter().map(|set| run(room, set)).collect();
        let all: BTreeSet<Pair> = sets.into_iter().flatten().collect();
        let merged = merge(room, &runs).unwrap();
        assert_eq!(merged.len(), all.len() as u64);
        for key in 0..13_000 {
            let expected: Vec<u64> = all.range((key, 0)..=(key, u64::MAX)).map(|pair| pair.1).collect();
            assert_eq!(found(&merged, key), expected, "key {key}");
        }
        assert!(found(&merge(room, &[]).unwrap(), 1).is_empty());
    }

    #[test]
    fn one_key_may_fill_pages() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        let mut pairs: BTreeSet<Pair> = (0..1000).map(|value| (7, value)).collect();
        pairs.extend([(6, 1), (8, 1)]);
        let run = run(&room, &pairs);
        assert!(found(&run, 7).into_iter().eq(0..1000));
        assert_eq!((found(&run, 6), found(&run, 8), found(&run, 5)), (vec![1], vec![1], vec![]));
    }

    #[test]
    fn sorts_more_than_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        for (count, limit) in [(0, 10), (10, 10), (11, 10), (5000, 300)] {
            let pairs = (0..count).map(|n: u64| (n * 7919 % 5003, n));
            let mut sorter = Sorter::new(&room, limit);
            pairs.clone().for_each(|pair| sorter.push(pair).unwrap());
            assert_eq!(sorter.len(), count);
            let sorted: Vec<Pair> = sorter.sorted().unwrap().map(Result::unwrap).collect();
            assert_eq!(sorted, pairs.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        }
    }
}
