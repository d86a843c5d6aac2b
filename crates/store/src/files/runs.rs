//! Sorted pairs of numbers on disk, written once and read by page: the parts
//! of an index that grows.
//!
//! A page is 256 pairs of 16 bytes; only the last one of a run is shorter. The
//! first key of each page and a filter are in memory: 11 bits a pair. There are
//! no checksums, since whoever finds a pair looks at what it leads to.

use std::io;

use crate::pack::filter::Filter;
use crate::scratch::{Scratch, ScratchRoom};

/// A key and what it leads to.
pub(super) type Pair = (u64, u64);

const PAIR_BYTES: usize = 16;
const PAGE_PAIRS: usize = 256;
const PAGE_BYTES: usize = PAGE_PAIRS * PAIR_BYTES;
/// Bytes gathered for one write, and read at once when all are read.
const CHUNK_BYTES: usize = 4 * PAGE_BYTES;

/// Pairs in order, none of them twice.
#[derive(Debug)]
pub(super) struct Run {
    file: Scratch,
    fences: Box<[u64]>,
    filter: Filter,
    count: u64,
}

impl Run {
    /// Pairs in it.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Adds to `out` what `key` leads to.
    pub(super) fn find(&self, key: u64, out: &mut Vec<u64>) -> io::Result<()> {
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
pub(super) struct RunWriter<'a> {
    room: &'a ScratchRoom,
    file: Scratch,
    chunk: Vec<u8>,
    fences: Vec<u64>,
    filter: Filter,
    count: u64,
}

impl<'a> RunWriter<'a> {
    /// Of up to `count` pairs.
    pub(super) fn new(room: &'a ScratchRoom, count: u64) -> Self {
        let filter = Filter::with_room_for(usize::try_from(count).unwrap_or(usize::MAX));
        let chunk = Vec::with_capacity(CHUNK_BYTES);
        Self { room, file: Scratch::default(), chunk, fences: Vec::new(), filter, count: 0 }
    }

    /// Adds a pair, which is more than the one before it.
    pub(super) fn push(&mut self, (key, value): Pair) -> io::Result<()> {
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
    pub(super) fn finish(mut self) -> io::Result<Run> {
        if !self.chunk.is_empty() {
            self.write()?;
        }
        Ok(Run { file: self.file, fences: self.fences.into(), filter: self.filter, count: self.count })
    }
}

/// One run, from its beginning.
struct Cursor<'a> {
    run: &'a Run,
    read: u64,
    pairs: std::iter::Peekable<std::vec::IntoIter<Pair>>,
}

impl Cursor<'_> {
    fn peek(&mut self) -> io::Result<Option<Pair>> {
        if self.pairs.peek().is_none() {
            let bytes = self.run.read(self.read, CHUNK_BYTES)?;
            self.read += CHUNK_BYTES as u64;
            self.pairs = bytes.as_chunks().0.iter().map(decode).collect::<Vec<_>>().into_iter().peekable();
        }
        Ok(self.pairs.peek().copied())
    }
}

/// Makes one run of a few.
pub(super) fn merge(room: &ScratchRoom, runs: &[Run]) -> io::Result<Run> {
    let mut out = RunWriter::new(room, runs.iter().map(Run::len).sum());
    let start = |run| Cursor { run, read: 0, pairs: Vec::new().into_iter().peekable() };
    let mut cursors: Vec<Cursor<'_>> = runs.iter().map(start).collect();
    loop {
        let mut least: Option<Pair> = None;
        for cursor in &mut cursors {
            let head = cursor.peek()?;
            least = least.into_iter().chain(head).min();
        }
        let Some(pair) = least else { return out.finish() };
        out.push(pair)?;
        // Others may have it too.
        for cursor in &mut cursors {
            let _same = cursor.pairs.next_if_eq(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
        merge_some(&ScratchRoom::new(&dir.path().join("scratch")));
        // As well where no file can be.
        merge_some(&ScratchRoom::new(&dir.path().join("nowhere/scratch")));
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
        let room = ScratchRoom::new(&dir.path().join("scratch"));
        let mut pairs: BTreeSet<Pair> = (0..1000).map(|value| (7, value)).collect();
        pairs.extend([(6, 1), (8, 1)]);
        let run = run(&room, &pairs);
        assert!(found(&run, 7).into_iter().eq(0..1000));
        assert_eq!((found(&run, 6), found(&run, 8), found(&run, 5)), (vec![1], vec![1], vec![]));
    }
}
