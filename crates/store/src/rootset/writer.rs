//! Writing root sets: sorted keys into pages, and several sets into one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use super::room::{FilterRoom, SetFilter};
use super::{HEAD_BYTES, PAGE_BYTES, PAGE_KEYS, SetData, SetFile, encode_head};
use crate::disk::File;
use crate::key::RepoKey;

/// Writes sorted keys, without those that come twice.
pub(super) struct Writer {
    file: File,
    base: u64,
    page: Vec<u8>,
    fences: Vec<u64>,
    filter: SetFilter,
    last: Option<u64>,
    count: u64,
}

impl Writer {
    /// Into a file that is empty from `base` on, up to `room` keys.
    pub(super) fn new(file: File, base: u64, room: u64, filters: &Arc<FilterRoom>) -> Self {
        let (page, filter) = (Vec::with_capacity(PAGE_BYTES), SetFilter::new(filters, room));
        Self { file, base, page, fences: Vec::new(), filter, last: None, count: 0 }
    }

    pub(super) fn push(&mut self, key: u64) -> io::Result<()> {
        if self.last.replace(key) == Some(key) {
            return Ok(());
        }
        if self.page.is_empty() {
            self.fences.push(key);
        }
        self.page.extend_from_slice(&key.to_le_bytes());
        self.filter.insert(key);
        self.count += 1;
        if self.page.len() == PAGE_KEYS * 8 { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(self.page.len() / 8).unwrap_or(u32::MAX);
        self.page.resize(PAGE_BYTES - 8, 0);
        self.page.extend_from_slice(&count.to_le_bytes());
        let crc = crc32c::crc32c(&self.page);
        self.page.extend_from_slice(&crc.to_le_bytes());
        let at = self.base + HEAD_BYTES + ((self.fences.len() - 1) * PAGE_BYTES) as u64;
        self.file.write_at(at, &self.page)?;
        self.page.clear();
        Ok(())
    }

    pub(super) fn finish(mut self, key: RepoKey) -> io::Result<SetData> {
        self.end_page()?;
        self.file.write_at(self.base, &encode_head(self.count))?;
        let file = SetFile::Held(self.file);
        let Self { base, fences, filter, count, .. } = self;
        Ok(SetData { file, base, key, fences: fences.into(), filter, count })
    }
}

/// One sorted run, a page at a time.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    run: &'a SetData,
    page: usize,
    keys: Peekable<IntoIter<u64>>,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub(crate) fn new(run: &'a SetData) -> Self {
        Self { run, page: 0, keys: Vec::new().into_iter().peekable() }
    }

    /// Whether the run has the key, which is not below the one that was asked for before.
    pub(crate) fn has(&mut self, key: u64) -> io::Result<bool> {
        loop {
            while self.keys.next_if(|next| *next < key).is_some() {}
            match self.keys.peek() {
                Some(next) => return Ok(*next == key),
                None if self.page == self.run.fences.len() => return Ok(false),
                None => {
                    // The last page that may have it; those between are passed over.
                    let from = self.run.fences.partition_point(|first| *first <= key);
                    self.page = self.page.max(from.saturating_sub(1));
                    self.keys = self.run.page(self.page)?.into_iter().peekable();
                    self.page += 1;
                }
            }
        }
    }

    /// The next key.
    pub(crate) fn next(&mut self) -> io::Result<Option<u64>> {
        loop {
            if let Some(key) = self.keys.next() {
                return Ok(Some(key));
            }
            if self.page == self.run.fences.len() {
                return Ok(None);
            }
            self.keys = self.run.page(self.page)?.into_iter().peekable();
            self.page += 1;
        }
    }
}

/// Writes what runs and `recent` hold to a file that is empty from `base` on.
pub(super) fn merge(
    (file, base): (File, u64),
    runs: &[Arc<SetData>],
    recent: &[u64],
    key: RepoKey,
    filters: &Arc<FilterRoom>,
) -> io::Result<SetData> {
    let room = runs.iter().map(|run| run.count).sum::<u64>() + recent.len() as u64;
    let mut writer = Writer::new(file, base, room, filters);
    let mut cursors: Vec<Cursor<'_>> = runs.iter().map(|run| Cursor::new(run)).collect();
    let mut recent = recent.iter().copied();
    let mut heads = BinaryHeap::new();
    let last = cursors.len();
    for (at, cursor) in cursors.iter_mut().enumerate() {
        heads.extend(cursor.next()?.map(|key| Reverse((key, at))));
    }
    heads.extend(recent.next().map(|key| Reverse((key, last))));
    while let Some(Reverse((least, at))) = heads.pop() {
        writer.push(least)?;
        let next = match cursors.get_mut(at) {
            Some(cursor) => cursor.next()?,
            None => recent.next(),
        };
        heads.extend(next.map(|key| Reverse((key, at))));
    }
    writer.finish(key)
}
