//! The readers of this crate's files, as the fuzzer reaches them
//! (`tests/decoders`). Behind the feature `fuzzing`; no part of the crate's interface.
//!
//! Sums keep chance away from what is behind them, and so would they keep the
//! fuzzer: the `reseal_*` functions make them right again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::Multihash;
use crate::cache;
use crate::codec::Reader;
use crate::disk;
use crate::facts::{Fact, FileId, RootId};
use crate::files::Tuning;
use crate::journal::{self, JournalError};
use crate::key::RepoKey;
use crate::ledger::Ledger;
use crate::lock;
use crate::notice::OpenReport;
use crate::pack::index::{self, PAGE_BYTES};
use crate::pack::record::{Entry, Kind, Record, Reference, encode_prefix};
use crate::pack::scan::{Found, Scan};
use crate::pack::{HEAD_BYTES, HEAD_LEN, decode_head, encode_head};
use crate::rootset::{self, OpenSets, RootSet, RootSetBuilder};
use crate::verify::verify;

const KEY: RepoKey = RepoKey([7; 16]);
const ID: u32 = 7;
/// Files of a tree that are compared: more than any input of the fuzzer has.
const FILES_COMPARED: usize = 1 << 16;

/// One record of the journal.
#[must_use]
pub fn fact(bytes: &[u8]) -> bool {
    let Some(fact) = Fact::decode(bytes) else { return false };
    assert_eq!(Fact::decode(&fact.encode()), Some(fact));
    true
}

/// The head of a journal.
#[must_use]
pub fn journal_head() -> Vec<u8> {
    journal::encode_head(KEY)
}

/// Appends a record to a journal.
pub fn put_journal_record(out: &mut Vec<u8>, payload: &[u8]) {
    journal::put_frame(out, payload);
}

/// Opens the journal at `path`, which is called so, and says how many records
/// it held. What they add up to survives that it is rewritten.
///
/// # Errors
/// The disk's.
pub fn journal(path: &Path) -> io::Result<usize> {
    let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
    // The twin of another input.
    let [_, twin] = journal::twins(path);
    disk::remove_if_there(&*disk::system(), &twin)?;
    let open = || match Ledger::open(
        &disk::system(),
        dir,
        Tuning::default(),
        || Ok(KEY),
        &mut OpenReport::default(),
    ) {
        Ok((ledger, _)) => Ok(Some(ledger)),
        Err(JournalError::TooNew(_)) => Ok(None),
        Err(JournalError::Io(error)) => Err(error),
    };
    let state = |it: &mut Ledger| -> io::Result<_> {
        let trees = it.trees();
        let mut files = Vec::new();
        for (tree, _) in &trees {
            for (id, path) in it.files_of(*tree, FileId(0), FILES_COMPARED)? {
                files.push((id, path, it.seen(id)?));
            }
        }
        let dropped = format!("{:?}", it.dropped());
        Ok((trees, files, it.files(), it.pins(), it.roots(), it.downloads(), dropped))
    };
    let Some(mut ledger) = open()? else { return Ok(0) };
    let records = ledger.appended;
    let before = state(&mut ledger)?;
    let id = ledger.new_id().map_err(io::Error::other)?;
    assert!(!ledger.has_file(FileId(id))?, "an id is never given twice");
    ledger.compact().map_err(io::Error::other)?;
    drop(ledger);
    let mut again = open()?.ok_or(io::ErrorKind::InvalidData)?;
    assert_eq!(state(&mut again)?, before, "after it was rewritten");
    Ok(records)
}

/// A record of a pack.
#[must_use]
pub fn pack_record(block: bool, mh: &Multihash, body: &[u8]) -> Vec<u8> {
    let kind = if block { Kind::Block } else { Kind::Reference };
    let mut record = encode_prefix(kind, mh, body);
    record.extend_from_slice(body);
    record
}

/// The body of a record that is a reference.
#[must_use]
pub fn reference(reference: &Reference) -> Vec<u8> {
    reference.encode()
}

/// A record that `bytes` begin with, once its sum is right.
#[must_use]
pub fn record(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if let Some(prefix) = crate::pack::record::Prefix::decode(&bytes)
        && let Some(summed) = bytes.get(8..prefix.total())
    {
        let crc = crc32c::crc32c(summed);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    let Some(record) = Record::decode(&bytes) else { return false };
    assert!(record.total <= bytes.len());
    let again = pack_record(record.kind == Kind::Block, &record.mh, record.body);
    let again = Record::decode(&again).expect("what was decoded is a record");
    assert_eq!((again.kind, again.mh, again.body), (record.kind, record.mh, record.body));
    if record.kind == Kind::Reference
        && let Some(reference) = Reference::decode(record.body)
    {
        assert_eq!(Reference::decode(&reference.encode()), Some(reference));
    }
    record.block_len().is_some()
}

/// The head of a pack.
#[must_use]
pub fn pack_head() -> Vec<u8> {
    encode_head(ID, KEY)
}

/// Whether `bytes` begin with the head of a pack.
#[must_use]
pub fn is_pack_head(bytes: &[u8]) -> bool {
    let Some((format, id, key)) = decode_head(bytes) else { return false };
    format != crate::pack::FORMAT || encode_head(id, key)[..HEAD_LEN - 4] == bytes[..HEAD_LEN - 4]
}

/// Where records of a pack begin, past damage.
///
/// # Errors
/// The disk's.
pub fn scan(file: &File) -> io::Result<Vec<u64>> {
    let end = file.metadata()?.len();
    let mut scan = Scan::new(file, HEAD_BYTES, end, verify);
    let (mut at, mut records) = (HEAD_BYTES, Vec::new());
    loop {
        match scan.next()? {
            Found::Record(from, record) => {
                assert_eq!(from, at, "nothing is left out");
                at += record.total as u64;
                records.push(from);
            }
            Found::Damage(from, to) => {
                assert!(from == at && to > from);
                at = to;
            }
            Found::End => break,
        }
        assert!(at <= end);
    }
    Ok(records)
}

/// An entry of an index: key, offset, and length with the kind in the two high bits.
pub type IndexEntry = (u64, u32, u32);

/// Writes the index of a pack of which the records end at `end`; entries are sorted.
///
/// # Errors
/// The disk's.
pub fn write_index(file: &File, entries: &[IndexEntry], end: u64, replaced: &[u32]) -> io::Result<()> {
    let count = entries.len();
    let entries = entries.iter().map(|&(key, offset, info)| Ok(Entry { key, offset, info }));
    index::write(file, ID, entries, count, end, replaced).map(drop)
}

/// All entries of the index that is at the end of a pack, if it is whole.
///
/// # Errors
/// The disk's.
pub fn read_index(file: &File) -> io::Result<Option<Vec<IndexEntry>>> {
    let Some(index) = index::open(file, ID, file.metadata()?.len())? else { return Ok(None) };
    let mut all = Vec::new();
    let whole = index.for_each(file, &mut |entry| {
        all.push(entry);
        Ok(())
    })?;
    if !whole {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in all.iter().take(8) {
        // Of a damaged order nothing is said but that it does no harm.
        index.find(file, entry.key, &mut found)?;
        let _ = (index.may_contain(entry.key), entry.kind(), index.memory());
    }
    Ok(Some(all.iter().map(|entry| (entry.key, entry.offset, entry.info)).collect()))
}

/// Makes the sums of an index right, as far as its footer says where they are.
pub fn reseal_index(bytes: &mut [u8]) {
    let Some(footer_at) = bytes.len().checked_sub(index::FOOTER_BYTES) else { return };
    let mut reader = Reader(&bytes[footer_at + 24..]);
    let pages = reader.u32().map_or(0, |pages| pages as usize);
    let mut reader = Reader(&bytes[footer_at + 48..]);
    let index_at = reader.u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
    let mut at = index_at;
    for _ in 0..pages.min(64) {
        let Some(page) = bytes.get_mut(at..at.saturating_add(PAGE_BYTES)) else { break };
        seal(page, PAGE_BYTES - 4, 0);
        at += PAGE_BYTES;
    }
    if at <= footer_at {
        let crc = crc32c::crc32c(&bytes[at..footer_at]);
        bytes[footer_at + 64..footer_at + 68].copy_from_slice(&crc.to_le_bytes());
    }
    seal(&mut bytes[footer_at..], index::FOOTER_BYTES - 4, 0);
}

/// Puts the sum of `bytes` from `from` to `at` at `at`.
fn seal(bytes: &mut [u8], at: usize, from: usize) {
    let crc = crc32c::crc32c(&bytes[from..at]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Writes a root set of these blocks to `path`.
///
/// # Errors
/// The disk's.
pub fn write_root_set(path: &Path, blocks: &[Multihash]) -> io::Result<()> {
    let builder = RootSetBuilder::new(&disk::system(), KEY, path.with_extension("scratch"), &Arc::default());
    blocks.iter().try_for_each(|block| builder.insert(block)).map_err(io::Error::other)?;
    builder.write(path, RootId(1), &Arc::new(OpenSets::new(&disk::system(), 1, &Arc::default()))).map(drop)
}

/// The root set at `path`, if it is whole.
///
/// # Errors
/// The disk's.
pub fn read_root_set(path: &Path) -> io::Result<Option<RootSet>> {
    RootSet::open(path, RootId(1), KEY, &Arc::new(OpenSets::new(&disk::system(), 1, &Arc::default())))
}

/// Makes the sums of a root set right.
pub fn reseal_root_set(bytes: &mut [u8]) {
    let Some((head, pages)) = bytes.split_at_mut_checked(rootset::HEAD_LEN) else { return };
    seal(head, 20, 0);
    pages.chunks_exact_mut(PAGE_BYTES).for_each(|page| seal(page, PAGE_BYTES - 4, 0));
}

/// The head of a file of several root sets, once its sum is right.
#[must_use]
pub fn root_sets(bytes: &[u8]) -> bool {
    use rootset::pack::{decode, encode_head};
    // As one that says how many there are, and has that many.
    let mut head = bytes.to_vec();
    if let Some(count) = head.get_mut(12..16) {
        let sets = bytes.len().saturating_sub(20) / 16;
        count.copy_from_slice(&u32::try_from(sets).unwrap_or(u32::MAX).to_le_bytes());
        head.truncate(20 + sets * 16);
        let at = head.len().saturating_sub(4);
        seal(&mut head, at, 0);
    }
    for bytes in [bytes, &head] {
        if let Some(sets) = decode(bytes) {
            let places: Vec<_> = sets.iter().map(|(id, at)| (*id, *at)).collect();
            assert_eq!(decode(&encode_head(&places)), Some(sets));
        }
    }
    decode(&head).is_some()
}

/// A value of the cache, once its sum is right; as what stands beside a checkpoint.
#[must_use]
pub fn cache_value(bytes: &[u8]) -> bool {
    let _ = cache::unseal(b"key", bytes).map(<[u8]>::len);
    let sealed = cache::seal(b"key", bytes);
    assert_eq!(cache::unseal(b"key", &sealed), Some(bytes));
    assert_eq!(cache::unseal(b"other", &sealed), None);
    cache::parse_meta(bytes).is_some()
}

/// What a lock file says.
#[must_use]
pub fn owner(file: &mut File) -> crate::Owner {
    lock::read_owner(file)
}
