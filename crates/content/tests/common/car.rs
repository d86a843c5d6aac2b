//! Reading whole CARs in memory, in pieces of any sizes, and making them.

use bytes::Bytes;
use peerage_content::car::{self, CarError, Event, Header, Index, IndexError, Options, Reader};
use peerage_content::{Block, Cid};

use super::Store;

/// A header without roots, as it stands in the file: 18 bytes.
pub(crate) const HEADER: &[u8] = b"\x11\xa2\x65roots\x80\x67version\x01";

/// A section of a CAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) cid: Cid,
    pub(crate) data: Bytes,
    pub(crate) offset: u64,
}

/// Everything that a CAR holds, up to its end or its fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) header: Option<Header>,
    pub(crate) sections: Vec<Section>,
    pub(crate) index: Vec<u8>,
    pub(crate) end: Result<(), CarError>,
}

impl Parsed {
    /// The blocks, each of which is checked.
    pub(crate) fn store(&self) -> Store {
        let mut store = Store::default();
        for section in &self.sections {
            store.put(Block { cid: section.cid, data: section.data.clone() });
        }
        store
    }

    pub(crate) fn roots(&self) -> Vec<Cid> {
        self.header.as_ref().unwrap().roots.clone()
    }
}

/// Everything in `bytes`, fed as fast as the reader takes it.
pub(crate) fn read(bytes: &[u8], options: Options) -> Parsed {
    read_by(bytes, options, &[usize::MAX])
}

/// Everything in `bytes`, fed in pieces of these lengths, again and again.
pub(crate) fn read_by(bytes: &[u8], options: Options, pieces: &[usize]) -> Parsed {
    let mut reader = Reader::new(options);
    let mut parsed = Parsed { header: None, sections: Vec::new(), index: Vec::new(), end: Ok(()) };
    let mut rest = bytes;
    let mut pieces = pieces.iter().cycle();
    loop {
        match reader.next() {
            Ok(None) if rest.is_empty() => reader.finish(),
            Ok(None) => {
                let piece = &rest[..rest.len().min(*pieces.next().unwrap())];
                let taken = reader.feed(piece);
                assert!(taken > 0, "a reader that waits has no space");
                rest = &rest[taken..];
            }
            Ok(Some(Event::Header(header))) => {
                assert_eq!(parsed.header, None);
                parsed.header = Some(header);
            }
            Ok(Some(Event::Block { cid, data, offset })) => {
                parsed.sections.push(Section { cid, data, offset });
            }
            Ok(Some(Event::Index { data, offset })) => {
                let at = parsed.header.as_ref().unwrap().v2.unwrap().index_offset.unwrap();
                assert_eq!(offset, at + parsed.index.len() as u64);
                parsed.index.extend_from_slice(&data);
            }
            Ok(Some(Event::End)) => {
                assert_eq!(reader.next(), Ok(Some(Event::End)));
                return parsed;
            }
            Err(error) => {
                assert_eq!(reader.next(), Err(error));
                assert_eq!(reader.feed(b"more"), 0);
                parsed.end = Err(error);
                return parsed;
            }
        }
    }
}

/// A version 1.
pub(crate) fn write(roots: &[Cid], blocks: &[(Cid, Bytes)]) -> Vec<u8> {
    let mut out = car::header(roots);
    for (cid, data) in blocks {
        out.extend_from_slice(&car::section_head(cid, data.len()));
        out.extend_from_slice(data);
    }
    out
}

/// The second header of a version 2, after the fixed beginning.
pub(crate) fn v2_head(data_offset: u64, data_size: u64, index_offset: u64) -> Vec<u8> {
    let mut out = b"\x0a\xa1\x67version\x02".to_vec();
    out.extend_from_slice(&[0; 16]);
    for number in [data_offset, data_size, index_offset] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out
}

/// An index of format 0x0401, of hash codes, digests and offsets.
pub(crate) fn write_index(mut entries: Vec<(u64, Vec<u8>, u64)>) -> Vec<u8> {
    entries.sort_by(|a, b| (a.0, a.1.len(), &a.1, a.2).cmp(&(b.0, b.1.len(), &b.1, b.2)));
    let count = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
    let lists: Vec<_> = entries.chunk_by(|a, b| a.0 == b.0).collect();
    let mut out = [&b"\x81\x08"[..], &count(lists.len())].concat();
    for list in lists {
        let buckets: Vec<_> = list.chunk_by(|a, b| a.1.len() == b.1.len()).collect();
        out.extend_from_slice(&list[0].0.to_le_bytes());
        out.extend_from_slice(&count(buckets.len()));
        for bucket in buckets {
            let width = bucket[0].1.len() + 8;
            out.extend_from_slice(&count(width));
            out.extend_from_slice(&((width * bucket.len()) as u64).to_le_bytes());
            for (_, digest, offset) in bucket {
                out.extend_from_slice(digest);
                out.extend_from_slice(&offset.to_le_bytes());
            }
        }
    }
    out
}

/// How many entries an index has, which comes in pieces.
pub(crate) fn index_entries(bytes: &[u8], offset: u64) -> Result<usize, IndexError> {
    let (mut index, mut count) = (Index::new(offset), 0);
    for mut piece in bytes.chunks(7) {
        while index.next(&mut piece)?.is_some() {
            count += 1;
        }
    }
    index.finish().map(|()| count)
}

/// What was read, written again, is what was read: nothing was passed over.
pub(crate) fn exact(bytes: &[u8], parsed: &Parsed) -> bool {
    let Some(first) = parsed.sections.first() else { return true };
    let blocks: Vec<_> = parsed.sections.iter().map(|s| (s.cid, s.data.clone())).collect();
    let sections = write(&[], &blocks)[HEADER.len()..].to_vec();
    bytes[usize::try_from(first.offset).unwrap()..].starts_with(&sections)
}
