//! The index at the end of a sealed pack: pages of sorted entries, the first
//! key of each page, the filter, the ids of replaced packs, the footer.
//!
//! A page is 4,096 bytes: 255 entries of 16 bytes, padding, the number of
//! entries (u32 at 4,088), and the CRC32C of the page (u32 at 4,092). The footer
//! is the last 96 bytes and sums itself; the fences, the filter and the ids are
//! summed in it. So a look-up in an open pack reads one page.

use std::io;

use super::filter::Filter;
use super::record::{Entry, Kind};
use super::{FORMAT, HEAD_BYTES};
use crate::codec::Reader;
use crate::disk::{self, DiskFile};

pub(crate) const PAGE_BYTES: usize = 4096;
const PAGE_ENTRIES: usize = 255;
pub(crate) const FOOTER_BYTES: usize = 96;
/// Bytes of pages gathered for one write. 256 KiB: a merged pack's index has 16 MiB.
const WRITTEN_AT_ONCE: usize = 64 * PAGE_BYTES;
const FOOTER_MAGIC: &[u8; 8] = b"PRGPEND\n";

/// What the footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) id: u32,
    pub(crate) records: u32,
    pub(crate) references: u32,
    pages: u32,
    replaced: u32,
    pub(crate) records_end: u64,
    pub(crate) block_bytes: u64,
    index_at: u64,
    filter_bytes: u64,
    crc: u32,
}

impl Footer {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(FOOTER_MAGIC);
        for value in [FORMAT, self.id, self.records, self.references, self.pages, self.replaced] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.records_end, self.block_bytes, self.index_at, self.filter_bytes] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.resize(FOOTER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (summed, crc) = bytes.split_at_checked(FOOTER_BYTES - 4)?;
        let mut reader = Reader(summed);
        if crc != crc32c::crc32c(summed).to_le_bytes()
            || reader.take(8)? != FOOTER_MAGIC
            || reader.u32()? != FORMAT
        {
            return None;
        }
        Some(Self {
            id: reader.u32()?,
            records: reader.u32()?,
            references: reader.u32()?,
            pages: reader.u32()?,
            replaced: reader.u32()?,
            records_end: reader.u64()?,
            block_bytes: reader.u64()?,
            index_at: reader.u64()?,
            filter_bytes: reader.u64()?,
            crc: reader.u32()?,
        })
    }
}

/// The index of a sealed pack, as far as it is in memory.
#[derive(Debug)]
pub(crate) struct DiskIndex {
    pub(crate) footer: Footer,
    pub(crate) replaced: Vec<u32>,
    fences: Box<[u64]>,
    filter: Filter,
}

/// Writes the index of `count` sorted `entries` after the records of `file`, which
/// end at `records_end`, and cuts the file there. Returns it as it is in memory.
pub(crate) fn write(
    file: &dyn DiskFile,
    id: u32,
    entries: impl Iterator<Item = io::Result<Entry>>,
    count: usize,
    records_end: u64,
    replaced: &[u32],
) -> io::Result<DiskIndex> {
    let index_at = records_end.next_multiple_of(PAGE_BYTES as u64);
    let mut filter = Filter::with_room_for(count);
    let mut fences = Vec::new();
    let (mut records, mut references, mut block_bytes) = (0u32, 0u32, 0u64);
    let (mut page, mut pages, mut at) = (Vec::with_capacity(PAGE_ENTRIES), Vec::new(), index_at);
    let mut entries = entries.peekable();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if page.is_empty() {
            fences.push(entry.key);
        }
        filter.insert(entry.key);
        records += 1;
        match entry.kind() {
            Some(Kind::Block) => block_bytes += u64::from(entry.block_len()),
            _ => references += 1,
        }
        page.push(entry);
        let last = entries.peek().is_none();
        if last || page.len() == PAGE_ENTRIES {
            pages.extend_from_slice(&encode_page(&page));
            page.clear();
        }
        if last || pages.len() >= WRITTEN_AT_ONCE {
            file.write_at(at, &pages)?;
            at += pages.len() as u64;
            pages.clear();
        }
    }
    let fences: Box<[u64]> = fences.into();
    let mut rest: Vec<u8> = fences.iter().flat_map(|key| key.to_le_bytes()).collect();
    let filter_bytes = filter.to_bytes();
    rest.extend_from_slice(&filter_bytes);
    replaced.iter().for_each(|id| rest.extend_from_slice(&id.to_le_bytes()));
    let count = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let footer = Footer {
        id,
        records,
        references,
        pages: count(fences.len())?,
        replaced: count(replaced.len())?,
        records_end,
        block_bytes,
        index_at,
        filter_bytes: filter_bytes.len() as u64,
        crc: crc32c::crc32c(&rest),
    };
    rest.extend_from_slice(&footer.encode());
    file.write_at(at, &rest)?;
    file.set_len(at + rest.len() as u64)?;
    Ok(DiskIndex { footer, replaced: replaced.to_vec(), fences, filter })
}

/// Reads the index of a sealed pack of `len` bytes; `None` if any of it is damaged.
pub(crate) fn open(file: &dyn DiskFile, id: u32, len: u64) -> io::Result<Option<DiskIndex>> {
    let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let Some(footer) = Footer::decode(&disk::read_at(file, footer_at, FOOTER_BYTES)?) else {
        return Ok(None);
    };
    let fences_at = footer.index_at.saturating_add(u64::from(footer.pages) * PAGE_BYTES as u64);
    let fence_bytes = u64::from(footer.pages) * 8;
    let replaced_bytes = u64::from(footer.replaced) * 4;
    let rest_bytes = fence_bytes.saturating_add(footer.filter_bytes).saturating_add(replaced_bytes);
    let fits = footer.id == id
        && (HEAD_BYTES..=footer.index_at).contains(&footer.records_end)
        && fences_at.saturating_add(rest_bytes) == footer_at
        && u64::from(footer.records).div_ceil(PAGE_ENTRIES as u64) == u64::from(footer.pages);
    if !fits {
        return Ok(None);
    }
    let rest = disk::read_at(file, fences_at, usize::try_from(rest_bytes).map_err(io::Error::other)?)?;
    if crc32c::crc32c(&rest) != footer.crc {
        return Ok(None);
    }
    Ok(parse_rest(&rest, footer))
}

fn parse_rest(rest: &[u8], footer: Footer) -> Option<DiskIndex> {
    let mut reader = Reader(rest);
    let fences = (0..footer.pages).map(|_| reader.u64()).collect::<Option<_>>()?;
    let filter = Filter::from_bytes(reader.take(usize::try_from(footer.filter_bytes).ok()?)?)?;
    let replaced = (0..footer.replaced).map(|_| reader.u32()).collect::<Option<_>>()?;
    reader.end()?;
    Some(DiskIndex { footer, replaced, fences, filter })
}

fn encode_page(entries: &[Entry]) -> Vec<u8> {
    let mut page: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
    page.resize(PAGE_BYTES - 8, 0);
    page.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    let crc = crc32c::crc32c(&page);
    page.extend_from_slice(&crc.to_le_bytes());
    page
}

/// The entries of a page, if its sum is right.
fn decode_page(page: &[u8]) -> Option<&[u8]> {
    let (summed, crc) = page.split_at_checked(PAGE_BYTES - 4)?;
    if crc != crc32c::crc32c(summed).to_le_bytes() {
        return None;
    }
    let count = usize::try_from(Reader(&summed[PAGE_BYTES - 8..]).u32()?).ok()?;
    (count <= PAGE_ENTRIES).then(|| &page[..count * Entry::BYTES])
}

impl DiskIndex {
    /// Whether the pack may hold the key: memory only.
    pub(crate) fn may_contain(&self, key: u64) -> bool {
        self.filter.may_contain(key)
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.fences.len() * 8 + self.footer.filter_bytes.try_into().unwrap_or(0)
    }

    fn page(&self, file: &dyn DiskFile, page: usize, buf: &mut [u8; PAGE_BYTES]) -> io::Result<()> {
        disk::read_into(file, self.footer.index_at + (page * PAGE_BYTES) as u64, buf)
    }

    /// Adds the entries of `key` to `out`; false if a page is damaged.
    pub(crate) fn find(&self, file: &dyn DiskFile, key: u64, out: &mut Vec<Entry>) -> io::Result<bool> {
        let after = self.fences.partition_point(|first| *first < key);
        let first = after.saturating_sub(1);
        let mut buf = [0; PAGE_BYTES];
        for page in first..self.fences.len() {
            if self.fences[page] > key {
                break;
            }
            self.page(file, page, &mut buf)?;
            let Some(entries) = decode_page(&buf) else { return Ok(false) };
            let (entries, _) = entries.as_chunks::<16>();
            let from = entries.partition_point(|entry| key_of(entry) < key);
            let equal = entries[from..].iter().take_while(|entry| key_of(entry) == key);
            out.extend(equal.filter_map(|entry| Entry::decode(entry)));
        }
        Ok(true)
    }

    /// Shows all entries in order; false if a page is damaged, and then not all were shown.
    pub(crate) fn for_each(
        &self,
        file: &dyn DiskFile,
        show: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut buf = [0; PAGE_BYTES];
        for page in 0..self.fences.len() {
            self.page(file, page, &mut buf)?;
            let Some(entries) = decode_page(&buf) else { return Ok(false) };
            let (entries, _) = entries.as_chunks::<16>();
            entries.iter().filter_map(|entry| Entry::decode(entry)).try_for_each(&mut *show)?;
        }
        Ok(true)
    }
}

fn key_of(entry: &[u8; 16]) -> u64 {
    let (key, _) = entry.split_at(8);
    key.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_key_and_all_entries_of_equal_keys() {
        let file = tempfile::tempfile().unwrap();
        let mut entries: Vec<Entry> =
            (0..2000u32).map(|n| Entry::new(u64::from(n) << 40, 100 + n, Kind::Block, n)).collect();
        // One key over more than a page.
        entries.extend((0..600).map(|n| Entry::new(1000 << 40, 90_000 + n, Kind::Reference, 5)));
        entries.sort_unstable();
        write(&file, 7, entries.iter().copied().map(Ok), entries.len(), 5000, &[3, 4]).unwrap();
        let len = file.metadata().unwrap().len();
        assert!(open(&file, 8, len).unwrap().is_none(), "another pack's index");
        let index = open(&file, 7, len).unwrap().unwrap();
        assert_eq!(index.replaced, [3, 4]);
        let mut all = Vec::new();
        let mut show = |entry| {
            all.push(entry);
            Ok(())
        };
        assert!(index.for_each(&file, &mut show).unwrap());
        assert_eq!(all, entries);
        for n in 0..2000u64 {
            let mut out = Vec::new();
            assert!(index.may_contain(n << 40));
            assert!(index.find(&file, n << 40, &mut out).unwrap());
            assert_eq!(out.len(), if n == 1000 { 601 } else { 1 });
            out.clear();
            index.find(&file, (n << 40) + 1, &mut out).unwrap();
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_footer_of_absurd_sizes_is_none() {
        let file = tempfile::tempfile().unwrap();
        let footer = write(&file, 1, std::iter::empty(), 0, HEAD_BYTES, &[3]).unwrap().footer;
        let len = file.metadata().unwrap().len();
        assert!(open(&file, 1, len).unwrap().is_some());
        for absurd in [
            Footer { filter_bytes: u64::MAX, ..footer },
            Footer { filter_bytes: u64::MAX - 3, replaced: u32::MAX, ..footer },
            Footer { index_at: u64::MAX, ..footer },
        ] {
            DiskFile::write_at(&file, len - FOOTER_BYTES as u64, &absurd.encode()).unwrap();
            assert!(open(&file, 1, len).unwrap().is_none(), "{absurd:?}");
        }
    }

    #[test]
    fn an_empty_index_opens() {
        let file = tempfile::tempfile().unwrap();
        write(&file, 1, std::iter::empty(), 0, HEAD_BYTES, &[]).unwrap();
        let index = open(&file, 1, file.metadata().unwrap().len()).unwrap().unwrap();
        let mut out = Vec::new();
        assert!(index.find(&file, 9, &mut out).unwrap() && out.is_empty());
    }
}
