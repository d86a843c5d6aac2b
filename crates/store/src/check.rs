//! Looking at everything: sizes, and whether each block is what it should be.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::Multihash;
use crate::disk;
use crate::error::ReadError;
use crate::notice::{Change, Notice};
use crate::pack::active::Source;
use crate::pack::dropped::is_dropped;
use crate::pack::file::Pack;
use crate::pack::record::{Entry, Kind, Record, Reference, multihash_of};
use crate::pack::scan::Window;
use crate::pack::set::{Located, lock};
use crate::store::{Inner, Store};
use crate::userfile::{Outcome, shown};

/// What a repository holds and takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of all that counts against the limit, and the limit, if there is one.
    pub used_bytes: u64,
    /// [`Config::max_bytes`](crate::Config::max_bytes).
    pub max_bytes: Option<u64>,
    /// Packs, the unsealed one too.
    pub packs: usize,
    /// Bytes of their files.
    pub pack_bytes: u64,
    /// Blocks with their payload in a pack.
    pub blocks: usize,
    /// References to pieces of users' files.
    pub references: usize,
    /// Locations known to be wrong, until their pack is rewritten.
    pub dropped: usize,
    /// Files of users that are known.
    pub files: usize,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes of the root sets.
    pub root_bytes: u64,
    /// Bytes of the index cache.
    pub index_bytes: u64,
    /// Bytes of memory that the packs' indexes and filters take.
    pub memory_bytes: usize,
}

/// Something that [`Store::verify_all`] came across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// So many bytes of blocks of so many were looked at; told often enough to
    /// stop soon.
    Progress {
        /// Bytes looked at.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A record of a pack is damaged.
    BadRecord {
        /// The pack.
        pack: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The block, if that much can be read.
        block: Option<Multihash>,
    },
    /// A user's file does not have the bytes of a block.
    BadFile {
        /// The file.
        path: PathBuf,
        /// The block.
        block: Multihash,
        /// How it changed.
        change: Change,
    },
    /// A user's file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The block.
        block: Multihash,
        /// What the system says.
        error: String,
    },
    /// A pack's index is damaged; its records were read instead.
    BadIndex {
        /// The pack.
        pack: PathBuf,
    },
}

/// What [`Store::verify_all`] counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records that were right.
    pub good: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Records that were wrong; none of them is served any more.
    pub bad: u64,
}

/// Bytes between two tellings of progress. 16 MiB: some hundredths of a second.
const PROGRESS_STEP: u64 = 16 << 20;

/// What became of a record.
enum Judged {
    Right,
    Wrong(Checked),
    /// It is no one's concern: nothing that is kept needs it.
    Left,
}

impl Store {
    /// What the repository holds now.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let inner = &*self.inner;
        let (records, references, memory_bytes) = inner.packs.counts();
        let used_bytes = inner.used_bytes();
        let ledger = lock(&inner.ledger);
        Sizes {
            used_bytes,
            max_bytes: inner.config.max_bytes,
            packs: inner.packs.all_ids().len(),
            pack_bytes: inner.packs.bytes(),
            blocks: records - references,
            references,
            dropped: inner.packs.dropped.len(),
            files: ledger.files(),
            journal_bytes: ledger.bytes(),
            root_bytes: inner.roots.bytes(),
            index_bytes: inner.cache.bytes(),
            memory_bytes,
        }
    }

    /// Reads and hashes all blocks that are here, and those in users' files that
    /// a root reaches, and tells what is wrong; wrong locations are dropped, and
    /// no harm if the block is right at another. Stops early if `tell` breaks.
    ///
    /// # Errors
    /// The disk's, but for users' files.
    pub fn verify_all(
        &self,
        tell: &mut dyn FnMut(Checked) -> ControlFlow<()>,
    ) -> Result<Verified, ReadError> {
        let inner = &*self.inner;
        let active = inner.packs.active_snapshot()?;
        let packs = inner.packs.packs();
        // One that was sealed in between is looked at once.
        let active = Some(&active).filter(|active| packs.iter().all(|pack| pack.id != active.id));
        let (mut done, mut total, mut told) = (0, 0, 0);
        for pack in packs.iter().map(AsRef::as_ref).chain(active) {
            total += pack.block_bytes(inner.key)?;
        }
        let roots: Vec<_> = self.roots().into_iter().filter_map(|entry| entry.set).collect();
        let reached = |mh: &Multihash| roots.iter().any(|set| set.contains(mh));
        let mut sum = Verified::default();
        for pack in packs.iter().map(AsRef::as_ref).chain(active) {
            let entries = pack.entries(inner.key, &inner.packs.scratch)?;
            if pack.needs_rewrite() && tell(Checked::BadIndex { pack: inner.packs.path(pack.id) }).is_break()
            {
                return Ok(sum);
            }
            let dropped = inner.packs.dropped.of(pack.id);
            let mut window = Window::new(&*pack.file, pack.records_end);
            for entry in entries {
                let entry = entry?;
                let len = u64::from(entry.block_len());
                done += len;
                if is_dropped(&dropped, entry) {
                    continue;
                }
                let mut flow = ControlFlow::Continue(());
                match inner.check(pack, entry, &mut window, &reached)? {
                    Judged::Right => {
                        sum.good += 1;
                        sum.bytes += len;
                    }
                    Judged::Wrong(found) => {
                        sum.bad += 1;
                        flow = tell(found);
                    }
                    Judged::Left => {}
                }
                if done - told >= PROGRESS_STEP {
                    told = done;
                    flow = if flow.is_break() { flow } else { tell(Checked::Progress { done, total }) };
                }
                if flow.is_break() {
                    return Ok(sum);
                }
            }
        }
        // Whether it breaks or not, this is the end.
        let _end = tell(Checked::Progress { done, total });
        Ok(sum)
    }
}

impl Inner {
    /// Looks at a record, and drops it if it is wrong.
    fn check(
        &self,
        pack: &Pack,
        entry: Entry,
        window: &mut Window<'_>,
        reached: &dyn Fn(&Multihash) -> bool,
    ) -> Result<Judged, ReadError> {
        let bytes = window.record(u64::from(entry.offset))?;
        let at = || Located { pack: pack.id, entry, source: Source::File(pack.file.clone()) };
        let bad_record = |block| {
            self.drop_location(&at());
            let pack = self.packs.path(pack.id);
            Checked::BadRecord { pack, offset: u64::from(entry.offset), block }
        };
        let Some(record) = Record::decode(bytes) else {
            let raw = disk::read_up_to(&*pack.file, u64::from(entry.offset), 128)?;
            let block = multihash_of(&raw).filter(|mh| self.key.of(mh) == entry.key);
            return Ok(Judged::Wrong(bad_record(block)));
        };
        let mh = record.mh;
        if record.kind == Kind::Block {
            let right = (self.config.verify)(&mh, &[record.body]);
            return Ok(if right { Judged::Right } else { Judged::Wrong(bad_record(Some(mh))) });
        }
        let Some(reference) = Reference::decode(record.body) else {
            return Ok(Judged::Wrong(bad_record(Some(mh))));
        };
        // A reference to a removed file is no one's any more.
        let file = lock(&self.ledger).file(reference.file)?;
        let Some((base, relative)) = file else { return Ok(Judged::Left) };
        // Nor is what was shared once and not kept.
        if !reached(&mh) {
            return Ok(Judged::Left);
        }
        let path = shown(&base, &relative);
        let wrong = match self.users.read(&mh, &reference, || Ok(Some((base, relative))), true) {
            Ok(Outcome::Right(_)) => return Ok(Judged::Right),
            Ok(Outcome::Wrong(change)) => {
                if change.may_be_undone() {
                    self.users.set_missing(reference.file);
                } else {
                    self.drop_location(&at());
                }
                Checked::BadFile { path, block: mh, change }
            }
            Err(error) => Checked::Unreadable { path, block: mh, error: error.to_string() },
        };
        let elsewhere = self.find(&mh)?.iter().any(|at| matches!(self.read_at(at, &mh), Ok(Some(_))));
        Ok(if elsewhere { Judged::Left } else { Judged::Wrong(wrong) })
    }

    /// Tells the shell of a damaged record.
    pub(crate) fn tell_damaged(&self, at: &Located, block: &Multihash) {
        let pack = self.packs.path(at.pack);
        let offset = u64::from(at.entry.offset);
        self.notices.push(Notice::RecordDamaged { pack, offset, block: Some(*block) });
    }
}
