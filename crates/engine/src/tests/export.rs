//! What a fetch writes, and that it writes it once.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dag::{Flat, Tree};
use crate::FileKey;

#[derive(Debug, Default)]
struct File {
    path: Vec<String>,
    bytes: Vec<u8>,
    ranges: BTreeMap<u64, u64>,
    finished: bool,
}

/// A destination in memory.
#[derive(Debug, Default)]
pub(super) struct Export {
    files: BTreeMap<FileKey, File>,
    others: Flat,
    /// Blocks that were kept as such.
    pub(super) kept: u64,
}

impl Export {
    pub(super) fn add(&mut self, path: Vec<String>, tree: Tree) {
        assert!(self.others.insert(path, tree).is_none(), "made twice");
    }

    pub(super) fn open(&mut self, key: FileKey, path: Vec<String>, size: u64) {
        assert!(size < 1 << 30, "a file that no test makes");
        let bytes = vec![0xee; usize::try_from(size).unwrap()];
        let file = File { path, bytes, ..File::default() };
        assert!(self.files.insert(key, file).is_none(), "opened twice");
    }

    pub(super) fn write(&mut self, key: FileKey, offset: u64, data: &[u8]) {
        let file = self.files.get_mut(&key).expect("written before it was opened");
        assert!(!file.finished, "written after its end");
        let end = offset + data.len() as u64;
        let before = file.ranges.range(..end).next_back();
        assert!(before.is_none_or(|(_, &stop)| stop <= offset), "{offset}..{end} is written again");
        if end > offset {
            file.ranges.insert(offset, end);
        }
        let range = Range { start: usize::try_from(offset).unwrap(), end: usize::try_from(end).unwrap() };
        file.bytes[range].copy_from_slice(data);
    }

    pub(super) fn finish(&mut self, key: FileKey) {
        let file = self.files.get_mut(&key).expect("finished before it was opened");
        let written: u64 = file.ranges.iter().map(|(start, end)| end - start).sum();
        assert_eq!(written, file.bytes.len() as u64, "finished before all is written");
        assert!(!std::mem::replace(&mut file.finished, true), "finished twice");
    }

    /// Everything that is finished.
    pub(super) fn flat(&self) -> Flat {
        let mut flat = self.others.clone();
        for file in self.files.values().filter(|file| file.finished) {
            flat.insert(file.path.clone(), Tree::File(file.bytes.clone()));
        }
        flat
    }
}
