//! Which blocks a root reaches: a sorted file of 8-byte keys, read by page.
//!
//! A head of 32 bytes (magic, format, number of keys, CRC32C, zeros), then
//! pages of 4,096 bytes: up to 511 keys, the number of keys (u32), the page's
//! CRC32C (u32). The first key of each page is in memory and, while there is room
//! ([`FilterRoom`]), a filter; the file is opened when a key passes both. While a fetch runs its set grows in a
//! [`RootSetBuilder`], which answers too.

mod builder;
pub(crate) mod pack;
mod room;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crate::Multihash;
use crate::codec::Reader;
use crate::disk::{self, Access, Disk, DiskFile, File};
use crate::facts::RootId;
use crate::key::RepoKey;
use crate::openfiles::OpenFiles;
use crate::pack::set::lock;

pub(crate) use builder::Living;
pub use builder::RootSetBuilder;
pub(crate) use room::FilterRoom;
use room::SetFilter;
pub(crate) use writer::Cursor;

const MAGIC: &[u8; 8] = b"PRGROOT\n";
const FORMAT: u32 = 1;
pub(crate) const HEAD_LEN: usize = 32;
const HEAD_BYTES: u64 = HEAD_LEN as u64;
const PAGE_BYTES: usize = 4096;
const PAGE_KEYS: usize = 511;

/// The blocks of one root. Cheap to share.
///
/// While a set that [`RootSetBuilder::seal`] gave lives, a collection takes none of
/// the blocks in it, as of one that is a root's.
#[derive(Debug, Clone)]
pub struct RootSet(Arc<SetData>);

/// What a set is made of.
#[derive(Debug)]
pub(crate) struct SetData {
    file: SetFile,
    /// Where it begins in its file.
    base: u64,
    key: RepoKey,
    fences: Box<[u64]>,
    filter: SetFilter,
    count: u64,
}

/// How the file of a set is come by.
#[derive(Debug)]
enum SetFile {
    /// Open as long as the set: a run that has no name.
    Held(File),
    /// By its path, when it is read. Open files go by the id of a root that no other
    /// file has.
    Named(PathBuf, RootId, Arc<OpenSets>),
}

impl SetFile {
    fn with<T>(&self, read: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        let (path, id, open) = match self {
            Self::Held(file) => return read(&**file),
            Self::Named(path, id, open) => (path, *id, open),
        };
        let kept = lock(&open.files).take(id);
        let file = kept.map_or_else(|| open.disk.open(path, Access::Read), Ok)?;
        let done = read(&*file)?;
        lock(&open.files).put(id, file);
        Ok(done)
    }
}

/// The sets of a repository that are open.
#[derive(Debug)]
pub(crate) struct OpenSets {
    pub(crate) disk: Arc<dyn Disk>,
    files: Mutex<OpenFiles<RootId, dyn DiskFile>>,
    filters: Arc<FilterRoom>,
}

impl OpenSets {
    /// At most `limit` of them.
    pub(crate) fn new(disk: &Arc<dyn Disk>, limit: usize, filters: &Arc<FilterRoom>) -> Self {
        let files = Mutex::new(OpenFiles::new(limit));
        Self { disk: Arc::clone(disk), files, filters: Arc::clone(filters) }
    }

    /// Closes the file of a set that is gone.
    pub(crate) fn forget(&self, id: RootId) {
        lock(&self.files).take(id);
    }
}

impl RootSet {
    /// Blocks in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.count
    }

    /// Whether it has no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// Whether the root reaches the block (or, once in 2^64, one like it). A
    /// page that cannot be read contains nothing: not served is the safe side.
    #[must_use]
    pub fn contains(&self, mh: &Multihash) -> bool {
        self.position(mh).is_some()
    }

    /// Where the block is in the order of the set, from 0 to below [`len`](Self::len);
    /// `None` if the set [does not contain](Self::contains) it.
    #[must_use]
    pub fn position(&self, mh: &Multihash) -> Option<u64> {
        self.0.find(self.0.key.of(mh)).ok()?
    }

    pub(crate) fn data(&self) -> &SetData {
        &self.0
    }

    /// For those who have to know of it while it lives.
    pub(crate) fn downgrade(&self) -> Weak<SetData> {
        Arc::downgrade(&self.0)
    }

    /// Opens a set that has a file of its own and checks all of it; `None` if it is
    /// damaged.
    pub(crate) fn open(
        path: &Path,
        id: RootId,
        key: RepoKey,
        open: &Arc<OpenSets>,
    ) -> io::Result<Option<Self>> {
        let file = open.disk.open(path, Access::Read)?;
        let (set, len) = (Self::load(&*file, path, (id, 0), key, open)?, file.len()?);
        Ok(set.filter(|set| set.0.end() == len))
    }

    /// The same of a set that begins at `base` in a file, which is open as that of `id`.
    pub(crate) fn open_at(
        path: &Path,
        at: (RootId, u64),
        key: RepoKey,
        open: &Arc<OpenSets>,
    ) -> io::Result<Option<Self>> {
        Self::load(&*open.disk.open(path, Access::Read)?, path, at, key, open)
    }

    fn load(
        file: &dyn DiskFile,
        path: &Path,
        (id, base): (RootId, u64),
        key: RepoKey,
        open: &Arc<OpenSets>,
    ) -> io::Result<Option<Self>> {
        let (head, len) = (disk::read_up_to(file, base, HEAD_LEN)?, file.len()?);
        let Some(count) = decode_head(&head) else { return Ok(None) };
        let pages = count.div_ceil(PAGE_KEYS as u64);
        if end_of(base, count).is_none_or(|end| end > len) {
            return Ok(None);
        }
        let mut buf = [0; PAGE_BYTES];
        let mut fences = Vec::new();
        // The file is that long, so the count is no damaged one.
        let mut filter = SetFilter::new(&open.filters, count);
        for page in 0..pages {
            disk::read_into(file, base + HEAD_BYTES + page * PAGE_BYTES as u64, &mut buf)?;
            let Some(keys) = decode_page(&buf) else { return Ok(None) };
            let Some(first) = keys.first() else { return Ok(None) };
            fences.push(*first);
            keys.iter().for_each(|key| filter.insert(*key));
        }
        let file = SetFile::Named(path.to_path_buf(), id, Arc::clone(open));
        Ok(Some(Self(Arc::new(SetData { file, base, key, fences: fences.into(), filter, count }))))
    }
}

/// Where a set of so many keys ends that begins at `base`.
fn end_of(base: u64, count: u64) -> Option<u64> {
    base.checked_add(HEAD_BYTES + count.div_ceil(PAGE_KEYS as u64) * PAGE_BYTES as u64)
}

impl SetData {
    /// Where it ends in its file.
    fn end(&self) -> u64 {
        end_of(self.base, self.count).unwrap_or(u64::MAX)
    }

    /// The file that it is in, and the root that this is open as; none if it has no name.
    pub(crate) fn path(&self) -> Option<(&Path, RootId)> {
        match &self.file {
            SetFile::Held(_) => None,
            SetFile::Named(path, id, _) => Some((path, *id)),
        }
    }

    /// Whether it has the key; what cannot be read is an error.
    pub(crate) fn has_key(&self, key: u64) -> io::Result<bool> {
        Ok(self.find(key)?.is_some())
    }

    fn find(&self, key: u64) -> io::Result<Option<u64>> {
        if !self.filter.may_contain(key) {
            return Ok(None);
        }
        let page = self.fences.partition_point(|first| *first <= key).checked_sub(1);
        let Some(page) = page else { return Ok(None) };
        let within = self.page(page)?.binary_search(&key).ok();
        // Every page but the last is full.
        Ok(within.map(|within| (page * PAGE_KEYS + within) as u64))
    }

    fn page(&self, page: usize) -> io::Result<Vec<u64>> {
        let mut buf = [0; PAGE_BYTES];
        let at = self.base + HEAD_BYTES + (page * PAGE_BYTES) as u64;
        self.file.with(|file| disk::read_into(file, at, &mut buf))?;
        decode_page(&buf).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a damaged root set"))
    }
}

fn encode_head(count: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.resize(HEAD_LEN, 0);
    out
}

fn decode_head(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader(bytes);
    let (magic, format, count) = (reader.take(8)?, reader.u32()?, reader.u64()?);
    let good = magic == MAGIC && format == FORMAT && reader.u32()? == crc32c::crc32c(&bytes[..20]);
    (good && count <= 1 << 40).then_some(count)
}

fn decode_page(page: &[u8; PAGE_BYTES]) -> Option<Vec<u64>> {
    let (summed, crc) = page.split_at(PAGE_BYTES - 4);
    if crc != crc32c::crc32c(summed).to_le_bytes() {
        return None;
    }
    let count = Reader(&summed[PAGE_BYTES - 8..]).u32()? as usize;
    let (keys, _) = summed[..PAGE_BYTES - 8].as_chunks::<8>();
    Some(keys.get(..count)?.iter().map(|key| u64::from_le_bytes(*key)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::ROOT_SET_BUFFER;

    const ID: RootId = RootId(1);

    fn open_sets() -> Arc<OpenSets> {
        Arc::new(OpenSets::new(&disk::system(), 2, &Arc::default()))
    }

    fn mh(n: u64) -> Multihash {
        Multihash::wrap(0x12, &n.to_le_bytes()).unwrap()
    }

    #[test]
    fn spilled_runs_and_the_final_file_hold_every_block() {
        let dir = tempfile::tempdir().unwrap();
        let key = RepoKey([1; 16]);
        let builder = RootSetBuilder::new(&disk::system(), key, dir.path().join("scratch"), &Arc::default());
        let total = ROOT_SET_BUFFER as u64 * 2 + 500;
        for n in 0..total {
            builder.insert(&mh(n)).unwrap();
            builder.insert(&mh(n / 2)).unwrap();
        }
        let probes = || (0..total).step_by(997);
        assert!(probes().all(|n| builder.contains(&mh(n))));
        assert!(!builder.contains(&mh(total)));
        let path = dir.path().join("set");
        let sealed = builder.seal().unwrap();
        let mut positions: Vec<_> = (0..total).filter_map(|n| sealed.position(&mh(n))).collect();
        positions.sort_unstable();
        assert!(positions.iter().copied().eq(0..sealed.len()), "each block has a place of its own");
        assert_eq!(sealed.position(&mh(total)), None);
        let set = builder.write(&path, ID, &open_sets()).unwrap();
        assert_eq!((set.len(), sealed.len()), (total, total));
        drop(set);
        let set = RootSet::open(&path, ID, key, &open_sets()).unwrap().unwrap();
        assert!(probes().all(|n| set.contains(&mh(n))));
        assert!((total..total + 1000).all(|n| !set.contains(&mh(n))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "scratch files stay behind");
    }

    #[test]
    fn an_empty_set_opens_and_damage_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let key = RepoKey([1; 16]);
        let path = dir.path().join("set");
        let builder = RootSetBuilder::new(&disk::system(), key, dir.path().join("scratch"), &Arc::default());
        assert!(builder.write(&path, ID, &open_sets()).unwrap().is_empty());
        assert!(!RootSet::open(&path, ID, key, &open_sets()).unwrap().unwrap().contains(&mh(1)));
        builder.insert(&mh(1)).unwrap();
        builder.write(&path, ID, &open_sets()).unwrap();
        let good = fs::read(&path).unwrap();
        for at in (0..24).chain([40, 41, 4000, good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(RootSet::open(&path, ID, key, &open_sets()).unwrap().is_none(), "byte {at}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(RootSet::open(&path, ID, key, &open_sets()).unwrap().is_none());
    }
}
