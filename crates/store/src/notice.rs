//! What the store tells its shell: at opening, and later as it notices things.

use std::path::PathBuf;

use crate::Multihash;

/// What opening found and mended. All zero and empty after a clean end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Sealed packs whose index was damaged and is being rebuilt from their records.
    pub rebuilt_packs: Vec<PathBuf>,
    /// Records that had to be read because no index covered them; after a
    /// crash the tail of the unsealed pack.
    pub scanned_records: u64,
    /// Bytes cut off the unsealed pack: a record that was being written.
    pub cut_bytes: u64,
    /// Bytes between records of packs that hold nothing readable.
    pub damaged_bytes: u64,
    /// Bytes cut off the journal: a record that was being written.
    pub journal_cut_bytes: u64,
    /// Where the journal was copied to before damaged records in its middle were left out.
    pub journal_copied_to: Option<PathBuf>,
    /// Whether one of the two files of the journal had lost what the other has.
    pub journal_restored: bool,
    /// Root sets that were missing or damaged; these roots are not served
    /// until they are added again.
    pub lost_root_sets: Vec<peerage_content::Cid>,
    /// An earlier process could not sync what it wrote, so that was written anew.
    pub settled: bool,
    /// What an earlier process could not sync could not be written anew either, and
    /// why: until it is, nothing is promised. Reading goes on.
    pub unsettled: Option<String>,
    /// Whether the index cache could not be used. Nothing of value was in it.
    pub index_lost: bool,
    /// Where it was moved then, if it could be.
    pub index_moved_to: Option<PathBuf>,
}

/// Work at opening that may take long, told before each part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// What an earlier process could not sync is written anew.
    WritingAnew {
        /// Packs that are done.
        done: usize,
        /// Packs in all.
        packs: usize,
    },
    /// All of a sealed pack is read, as its index is damaged.
    ReadingPack(PathBuf),
}

impl OpenReport {
    /// Whether there is something to tell the user: anything but a torn tail.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        !self.rebuilt_packs.is_empty()
            || self.damaged_bytes > 0
            || self.journal_copied_to.is_some()
            || !self.lost_root_sets.is_empty()
            || self.index_lost
            || self.journal_restored
            || self.settled
            || self.unsettled.is_some()
    }
}

/// What is wrong with a user's file that a block refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its bytes are others.
    Content,
    /// It ends before the piece does.
    Shrunk,
    /// A symlink, folder, FIFO or device stands where it or a folder above it was. It is
    /// looked for again at each read, as one that is missing.
    NotAFile,
    /// It is not there, or may not be read. It is looked for again at each read.
    Missing,
}

impl Change {
    /// Whether the file may be there again as it was: nothing is known of its bytes.
    pub(crate) fn may_be_undone(self) -> bool {
        matches!(self, Self::Missing | Self::NotAFile)
    }
}

/// Something that the user should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A shared file is not what it was; the block is not served from it.
    FileChanged {
        /// The file.
        path: PathBuf,
        /// The block, the first one of this file in the case of `Missing` or `NotAFile`.
        block: Multihash,
        /// How.
        change: Change,
    },
    /// A record of a pack is damaged; it is not served.
    RecordDamaged {
        /// The pack.
        pack: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The block, if that much can be read.
        block: Option<Multihash>,
    },
    /// A pack's index is damaged; its records were read instead, and
    /// [`Store::maintain`](crate::Store::maintain) rewrites it.
    PackIndexDamaged {
        /// The pack.
        pack: PathBuf,
    },
    /// The index cache failed and was set aside; nothing of value was in it.
    IndexLost {
        /// Where it is now, if it could be moved.
        moved_to: Option<PathBuf>,
    },
}
