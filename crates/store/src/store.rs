//! The store: blocks in, blocks out, each checked before it leaves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;

use crate::Multihash;
use crate::cache::{Cache, PAGE_ENTRIES};
use crate::collect::Touched;
use crate::commit::{Commits, Durability, Failure};
use crate::config::{Config, MAX_BLOCK_BYTES, MAX_EDGE_BYTES, MAX_FILES_OF_BLOCK, MAX_LOCATIONS};
use crate::disk::{self, Disk, GuardedDisk};
use crate::error::{OpenError, ReadError, WriteError};
use crate::facts::{Fact, FileId};
use crate::files::Tuning;
use crate::journal::JournalError;
use crate::key::RepoKey;
use crate::ledger::Ledger;
use crate::notice::{Change, Notice, OpenReport};
use crate::pack::active::Source;
use crate::pack::open::{find_key, open as open_packs};
use crate::pack::record::{Kind, Record, Reference};
use crate::pack::set::{Located, PackSet, lock};
use crate::quota::MakeRoom;
use crate::repeats::Repeats;
use crate::roots::Roots;
use crate::userfile::{Notices, Outcome, UserFiles, shown};

/// A repository's content. Cheap to clone; every method may be called from any
/// thread and may block on the disk.
///
/// Whoever opens it holds the repository's [`RepoLock`](crate::RepoLock).
///
/// ```
/// use peerage_store::{Config, RepoLock, Store};
/// let temp = tempfile::tempdir()?;
/// let lock = RepoLock::acquire(&temp.path().join("repo"), "example")?;
/// let (store, report) = Store::open(lock.dir(), Config::default())?;
/// assert!(!report.is_notable());
/// let hash = peerage_content::hash::digest(0x12, b"hello")?;
/// store.put_block(&hash, b"hello")?;
/// assert_eq!(store.len_of(&hash)?, Some(5));
/// assert_eq!(store.read(&hash)?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) key: RepoKey,
    pub(crate) config: Config,
    /// The disk of `config`.
    pub(crate) guard: Arc<GuardedDisk>,
    pub(crate) packs: PackSet,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) users: UserFiles,
    pub(crate) roots: Roots,
    pub(crate) notices: Notices,
    pub(crate) cache: Cache,
    pub(crate) commits: Commits,
    pub(crate) make_room: MakeRoom,
    pub(crate) touched: Touched,
    pub(crate) repeats: Repeats,
    /// Pack and number of entries of the last checkpoint, zeros if it was of no use.
    pub(crate) checkpointed: Mutex<(u32, usize)>,
}

/// Bytes that a record takes beyond its block, at most, with its part of an index: 256.
const MAX_OVERHEAD: usize = 256;

/// Records between two checkpoints of the unsealed pack's index. 1,024: to
/// read them takes milliseconds, and sled's log grows with each checkpoint.
const CHECKPOINT_STEP: usize = 1024;

impl Store {
    /// Opens the repository in `dir`, creating what is not there. After a
    /// crash or damage it mends what it can and says so in the report.
    ///
    /// # Errors
    /// Only what no repair helps against: permissions, a failing disk, a newer format.
    pub fn open(dir: &Path, mut config: Config) -> Result<(Self, OpenReport), OpenError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| OpenError::Io { path, source }
        };
        disk::create_dirs(&*config.disk, dir).map_err(failed(dir))?;
        let guard = Arc::new(GuardedDisk::new(&config.disk, dir));
        config.disk = Arc::clone(&guard) as Arc<dyn Disk>;
        let mut report = OpenReport::default();
        let pack_dir = dir.join("packs");
        let journal_path = dir.join("journal");
        let known_key = || find_key(&*config.disk, &pack_dir)?.map_or_else(RepoKey::random, Ok);
        let (ledger, key) = Ledger::open(&config.disk, dir, Tuning::default(), known_key, &mut report)
            .map_err(|error| match error {
                JournalError::Io(source) => failed(&journal_path)(source),
                JournalError::TooNew(found) => OpenError::TooNew { path: journal_path.clone(), found },
            })?;
        let cache = Cache::open(dir, &config, &mut report);
        let checkpoint = cache.checkpoint();
        let (mut packs, checkpointed) = open_packs(&pack_dir, key, &config, checkpoint, &mut report)?;
        packs.dropped = ledger.dropped();
        // A pack whose name was lost with its records may have had wrong locations.
        // No other may have its id, or they would be taken for its own.
        let counts = packs.dropped.counts();
        counts.iter().for_each(|(pack, _)| packs.pass_over_ids(*pack));
        let there = packs.all_ids();
        packs.dropped.retain(|pack| there.contains(&pack));
        // What is put next might lie where a wrong location was that is lost, and be
        // taken for it.
        let (active, end) = packs.active_end();
        if packs.dropped.of(active).keys().next_back().is_some_and(|offset| u64::from(*offset) >= end) {
            packs.begin_another().map_err(failed(&pack_dir))?;
        }
        let roots =
            Roots::open(&config.disk, &dir.join("roots"), key, config.open_root_sets, &ledger, &mut report)
                .map_err(failed(&dir.join("roots")))?;
        let users = UserFiles::new(key, &config);
        let inner = Inner {
            dir: dir.to_path_buf(),
            key,
            config,
            guard,
            packs,
            ledger: Mutex::new(ledger),
            users,
            roots,
            notices: Notices::default(),
            cache,
            commits: Commits::default(),
            make_room: MakeRoom::default(),
            touched: Touched::default(),
            repeats: Repeats::default(),
            checkpointed: Mutex::new(checkpointed),
        };
        match inner.settle() {
            Ok(settled) => {
                report.settled = settled;
                // What stays is removed the next time.
                drop(inner.packs.remove_replaced());
            }
            // Reading goes on; the mark stays.
            Err(error) => {
                inner.commits.break_off(&error);
                report.unsettled = Some(error.to_string());
            }
        }
        inner.remove_stale_sets();
        Ok((Self { inner: Arc::new(inner) }, report))
    }

    /// Ends all work and makes everything durable, before the repository is left to
    /// another. When it returns, upkeep and collections have ended, and nothing is
    /// written any more, whoever still has a clone: every write is refused with
    /// [`WriteError::Closed`], tables of the index cache are lost. Blocks may still be read.
    ///
    /// # Errors
    /// As of [`commit`](Self::commit); it is closed all the same. Once it is closed, nothing.
    pub fn close(&self) -> Result<(), WriteError> {
        let inner = &*self.inner;
        if inner.guard.is_closed() {
            return Ok(());
        }
        inner.packs.close();
        lock(&inner.ledger).close();
        let committed = self.commit(Durability::Durable);
        inner.cache.close();
        inner.guard.close();
        committed
    }

    /// The repository's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Keeps a block whose hash the caller has checked. True if it was not
    /// there as a copy before. Visible at once; see [`commit`](Self::commit) for when
    /// it survives what.
    ///
    /// # Errors
    /// A block over 4 MiB, or the disk's; then nothing was added.
    pub fn put_block(&self, mh: &Multihash, block: &[u8]) -> Result<bool, WriteError> {
        check_len("block", block.len(), MAX_BLOCK_BYTES)?;
        let len = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let inner = &*self.inner;
        let collecting = inner.touched.touch(inner.key.of(mh));
        for at in inner.find(mh)?.iter().filter(|at| !collecting || inner.packs.is_active(at.pack)) {
            if at.entry.kind() == Some(Kind::Block) && inner.record(at, mh)?.is_some() {
                return Ok(false);
            }
        }
        self.find_room(block.len() + MAX_OVERHEAD)?;
        inner.packs.put(Kind::Block, mh, block, len)?;
        Ok(true)
    }

    /// Notes that a block, whose hash the caller has checked, is a piece of a
    /// user's file. True if that is a new location. It is not taken if the block
    /// has [`MAX_LOCATIONS`] others, this file among them, or
    /// [`MAX_FILES_OF_BLOCK`], and can be read at one of these. If the file has a handle
    /// [attached](Self::attach_handle), what is read through it needs no second hash.
    ///
    /// # Errors
    /// A file that is not known, a block or an edge over its limit, or the disk's.
    pub fn put_reference(&self, mh: &Multihash, reference: &Reference) -> Result<bool, WriteError> {
        check_len("block", reference.block_len(), MAX_BLOCK_BYTES)?;
        check_len("head of a reference", reference.head.len(), MAX_EDGE_BYTES)?;
        check_len("tail of a reference", reference.tail.len(), MAX_EDGE_BYTES)?;
        let inner = &*self.inner;
        if !lock(&inner.ledger).has_file(reference.file)? {
            return Err(WriteError::Unknown { what: "file", id: reference.file.0 });
        }
        let collecting = inner.touched.touch(inner.key.of(mh));
        inner.users.set_there(reference.file);
        inner.users.trust_written(mh, reference);
        let (mut live, mut limit) = (Vec::new(), MAX_FILES_OF_BLOCK);
        let found = inner.find(mh)?;
        let counts = |at: &&Located| !collecting || inner.packs.is_active(at.pack);
        for at in found.iter().filter(|at| at.entry.kind() == Some(Kind::Reference)).filter(counts) {
            let Some((_, body)) = inner.record(at, mh)? else { continue };
            let Some(known) = Reference::decode(&body) else { continue };
            if known == *reference {
                return Ok(false);
            }
            if lock(&inner.ledger).has_file(known.file)? && !inner.users.was_missing(known.file) {
                live.push(at);
                if known.file == reference.file {
                    limit = MAX_LOCATIONS;
                }
            }
        }
        // Places may be of files that have changed or gone since.
        let readable = |at: &&Located| matches!(inner.read_at(at, mh), Ok(Some(_)));
        let look = || live.iter().any(readable);
        if live.len() >= limit && inner.repeats.is_readable(mh, Instant::now(), look) {
            return Ok(false);
        }
        let len = u32::try_from(reference.block_len()).unwrap_or(u32::MAX);
        self.find_room(MAX_OVERHEAD)?;
        inner.packs.put(Kind::Reference, mh, &reference.encode(), len)?;
        Ok(true)
    }

    /// Bytes of a block that is here, without reading it: filters and one
    /// index page. A file that changed since may still make [`read`](Self::read) fail.
    ///
    /// # Errors
    /// The disk's.
    pub fn len_of(&self, mh: &Multihash) -> Result<Option<u32>, ReadError> {
        let inner = &*self.inner;
        inner.touched.touch(inner.key.of(mh));
        let found = inner.find(mh)?;
        let doubtful = inner.users.any_missing() || (!found.is_empty() && lock(&inner.ledger).any_removed());
        for at in &found {
            if doubtful && at.entry.kind() == Some(Kind::Reference) && !inner.may_be_read(at, mh)? {
                continue;
            }
            return Ok(Some(at.entry.block_len()));
        }
        Ok(None)
    }

    /// Whether a block has a place like this one: in the same file, whatever
    /// the offset, which is not looked at; or else in a file that still has
    /// the right bytes. While packs are being collected, only new records
    /// count, as for [`put_reference`](Self::put_reference).
    ///
    /// # Errors
    /// The disk's.
    pub fn is_referred(&self, mh: &Multihash, reference: &Reference) -> Result<bool, ReadError> {
        let inner = &*self.inner;
        let collecting = inner.touched.touch(inner.key.of(mh));
        let mut elsewhere = Vec::new();
        for at in inner.find(mh)? {
            if at.entry.kind() != Some(Kind::Reference) || (collecting && !inner.packs.is_active(at.pack)) {
                continue;
            }
            let Some((_, body)) = inner.record(&at, mh)? else { continue };
            let Some(known) = Reference::decode(&body) else { continue };
            let frame = (known.len, &known.head, &known.tail);
            if frame != (reference.len, &reference.head, &reference.tail) {
                continue;
            }
            if known.file == reference.file {
                return Ok(true);
            }
            elsewhere.push(at);
        }
        Ok(elsewhere.iter().any(|at| matches!(inner.read_at(at, mh), Ok(Some(_)))))
    }

    /// A block, verified: from a pack by its checksum, from a user's file as
    /// ARCHITECTURE says of references. `None` if it is not here or no location has
    /// the right bytes; what was found wrong is told by [`drain_notices`](Self::drain_notices).
    ///
    /// # Errors
    /// The disk's, if no location gave the block.
    pub fn read(&self, mh: &Multihash) -> Result<Option<Bytes>, ReadError> {
        let inner = &*self.inner;
        inner.touched.touch(inner.key.of(mh));
        let mut failed = None;
        for at in inner.find(mh)? {
            match inner.read_at(&at, mh) {
                Ok(Some(block)) => return Ok(Some(block)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// What the user should hear of since the last call; at most 1,024.
    #[must_use]
    pub fn drain_notices(&self) -> Vec<Notice> {
        self.inner.cache.take_loss().into_iter().for_each(|notice| self.inner.notices.push(notice));
        self.inner.notices.drain()
    }

    /// Makes everything that was put before this durable to a degree. Who asks for
    /// [`Durability::Durable`] while others sync shares the next sync with them.
    ///
    /// # Errors
    /// The disk's; nothing is lost while the process lives, but with
    /// [`WriteError::Unsynced`] the disk may have lost what it had taken, and then so
    /// says every later commit that is to be durable.
    pub fn commit(&self, durability: Durability) -> Result<(), WriteError> {
        let inner = &*self.inner;
        match durability {
            Durability::Buffered => {
                // The journal first: a reference means nothing without its file.
                lock(&inner.ledger).flush()?;
                Ok(inner.packs.flush()?)
            }
            Durability::Durable => {
                inner.commit()?;
                inner.write_checkpoint();
                Ok(())
            }
        }
    }
}

impl Inner {
    /// A sync of one's own, or one that others share.
    pub(crate) fn commit(&self) -> Result<(), WriteError> {
        let synced = self.commits.commit(|| self.sync());
        if let Err(WriteError::Unsynced(_)) = &synced {
            self.mark_unsynced();
        }
        synced
    }

    fn sync(&self) -> Result<(), Failure> {
        let journal = lock(&self.ledger).flushed_handles().map_err(|error| match error {
            WriteError::Unsynced(cause) => Failure::Within(io::Error::other(cause)),
            error => Failure::Before(error),
        })?;
        self.packs.flush().map_err(|error| Failure::Before(error.into()))?;
        journal.iter().try_for_each(|file| file.sync()).map_err(Failure::Within)?;
        self.packs.sync().map_err(Failure::Within)?;
        self.config.disk.sync_dir(&self.dir).map_err(Failure::Within)
    }

    /// Every location of the block, and of blocks of the same key.
    pub(crate) fn find(&self, mh: &Multihash) -> io::Result<Vec<Located>> {
        let (found, damaged) = self.packs.find(self.key.of(mh))?;
        for id in damaged {
            self.notices.push(Notice::PackIndexDamaged { pack: self.packs.path(id) });
        }
        Ok(found)
    }

    /// Kind and body of a record; `None` if it is another block's or damaged,
    /// and then it is not found again.
    pub(crate) fn record(&self, at: &Located, mh: &Multihash) -> io::Result<Option<(Kind, Bytes)>> {
        let bytes = match &at.source {
            Source::Memory(bytes) => bytes.clone(),
            Source::File(file) => {
                disk::read_up_to(&**file, u64::from(at.entry.offset), at.entry.read_len(mh))?.into()
            }
        };
        let Some(record) = Record::decode(&bytes) else {
            self.drop_location(at);
            self.tell_damaged(at, mh);
            return Ok(None);
        };
        if record.mh != *mh {
            return Ok(None);
        }
        let (kind, from, to) = (record.kind, record.total - record.body.len(), record.total);
        Ok(Some((kind, bytes.slice(from..to))))
    }

    fn may_be_read(&self, at: &Located, mh: &Multihash) -> io::Result<bool> {
        let file = self.record(at, mh)?.and_then(|(_, body)| Reference::decode(&body)).map(|r| r.file);
        let Some(file) = file else { return Ok(false) };
        if !lock(&self.ledger).has_file(file)? {
            return Ok(false);
        }
        Ok(!self.users.is_missing(file, Instant::now(), || lock(&self.ledger).file(file)))
    }

    /// The block at one location; `None` if that is not right, which is then
    /// noted and, but for a file that may come back, not tried again.
    pub(crate) fn read_at(&self, at: &Located, mh: &Multihash) -> io::Result<Option<Bytes>> {
        let Some((kind, body)) = self.record(at, mh)? else { return Ok(None) };
        if kind == Kind::Block {
            return Ok(Some(body));
        }
        let Some(reference) = Reference::decode(&body) else { return Ok(None) };
        let path = || lock(&self.ledger).file(reference.file);
        if !lock(&self.ledger).has_file(reference.file)? {
            return Ok(None);
        }
        let read = self.users.read(mh, &reference, path, false);
        match read.map_err(|error| self.of_file(reference.file, error))? {
            Outcome::Right(block) => Ok(Some(block)),
            Outcome::Wrong(change) => {
                let new = !change.may_be_undone() || self.users.set_missing(reference.file);
                if !change.may_be_undone() {
                    self.drop_location(at);
                }
                if new {
                    self.tell_changed(reference.file, mh, change);
                }
                Ok(None)
            }
        }
    }

    /// The error, with the file that it is about.
    fn of_file(&self, file: FileId, error: io::Error) -> io::Error {
        match lock(&self.ledger).file(file) {
            Ok(Some((base, relative))) => {
                let path = shown(&base, &relative);
                io::Error::new(error.kind(), format!("the shared file {}: {error}", path.display()))
            }
            _ => error,
        }
    }

    fn tell_changed(&self, file: FileId, mh: &Multihash, change: Change) {
        // If the journal cannot be read, there are worse things to tell.
        if let Ok(Some((base, relative))) = lock(&self.ledger).file(file) {
            self.notices.push(Notice::FileChanged { path: shown(&base, &relative), block: *mh, change });
        }
    }

    /// Never finds this location again.
    pub(crate) fn drop_location(&self, at: &Located) {
        let (offset, key) = (at.entry.offset, at.entry.key);
        self.packs.dropped.insert(at.pack, offset, key);
        // If this cannot be written, the next process finds out for itself.
        drop(lock(&self.ledger).add(Fact::LocationDropped(at.pack, offset, key)));
    }

    /// Tells the cache what is new in the active pack, once it is on disk.
    pub(crate) fn write_checkpoint(&self) {
        let mut last = lock(&self.checkpointed);
        if self.packs.is_active(last.0) && self.packs.active_len() < last.1 + CHECKPOINT_STEP {
            return;
        }
        let (pack, end, from, entries) = self.packs.checkpoint(last.0, last.1 - last.1 % PAGE_ENTRIES);
        if self.cache.write_checkpoint(pack, end, from, &entries) {
            *last = (pack, from + entries.len());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.guard.is_closed() {
            return;
        }
        // The last chance for what no one flushed; there is no one to tell.
        drop(lock(&self.ledger).flush());
        drop(self.packs.flush());
    }
}

fn check_len(what: &'static str, len: usize, limit: usize) -> Result<(), WriteError> {
    if len > limit { Err(WriteError::TooLong { what, len, limit }) } else { Ok(()) }
}
