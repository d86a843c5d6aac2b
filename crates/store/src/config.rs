//! What a caller may tune, and every limit of the store: name, unit, default, reason.

use std::sync::Arc;
use std::time::Duration;

use crate::Multihash;
use crate::disk::{self, Disk};
use crate::index::{self, IndexSource};
use crate::notice::Opening;
use crate::verify::verify;

/// Decides whether the pieces, one after another, hash to the multihash.
pub type VerifyFn = fn(&Multihash, &[&[u8]]) -> bool;

/// Told what opening does that may take long.
pub type OpeningFn = fn(&Opening);

/// Tunables of a [`Store`](crate::Store). The defaults suit a desktop; tests use small ones.
///
/// None of them is part of the format: a repository may be opened with other
/// values than it was written with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of records after which a pack is sealed. 64 MiB: a scan of the
    /// unsealed pack after a crash stays well under a second.
    pub pack_bytes: u64,
    /// Records after which a pack is sealed. 65,536: the index of the unsealed
    /// pack, which is in memory, stays near 2 MiB.
    pub pack_records: usize,
    /// Bytes up to which packs are merged. 1 GiB: a tenth of a large store is
    /// rewritten at most, and offsets fit 32 bits.
    pub merged_bytes: u64,
    /// Records up to which packs are merged. 1,048,576: a tenth of a
    /// large store, as above; their index takes 16 MiB of disk while it is sorted.
    pub merged_records: usize,
    /// Packs of one size class that are merged together. 8: each record is
    /// rewritten once per class, and the number of packs stays logarithmic.
    pub merge_fan: usize,
    /// Bytes of records that wait in memory for one write. 256 KiB: past that
    /// a larger write is no faster.
    pub write_buffer: usize,
    /// Bytes that the repository may take: packs, root sets and the journal. None by
    /// default: the disk is the limit. While packs are rewritten it takes one pack more.
    pub max_bytes: Option<u64>,
    /// Open files of users kept for serving. 64: far below the usual limit of
    /// 1,024 descriptors a process.
    pub open_files: usize,
    /// Open files of root sets. 16: a want is looked up in few of them, and
    /// there is one for each root that was ever kept.
    pub open_root_sets: usize,
    /// How long a changed file's times may not show another change. 2 s: the
    /// coarsest common file system, FAT.
    pub time_grain: Duration,
    /// How long one answer of the index cache may take before the cache counts
    /// as lost. 5 s: a disk that is merely busy answers sooner.
    pub index_deadline: Duration,
    /// Where the repository's files are: the machine's file system.
    pub disk: Arc<dyn Disk>,
    /// What keeps the index cache: sled.
    pub index: Arc<dyn IndexSource>,
    /// Whether blocks match their multihash.
    pub verify: VerifyFn,
    /// Who hears of long work at opening: nobody.
    pub opening: OpeningFn,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pack_bytes: 64 << 20,
            pack_records: 65_536,
            merged_bytes: 1 << 30,
            merged_records: 1 << 20,
            merge_fan: 8,
            write_buffer: 256 << 10,
            max_bytes: None,
            open_files: 64,
            open_root_sets: 16,
            time_grain: Duration::from_secs(2),
            index_deadline: Duration::from_secs(5),
            disk: disk::system(),
            index: index::usual(),
            verify,
            opening: |_| {},
        }
    }
}

/// Bytes that are left free when packs are rewritten. 64 MiB: room for a pack
/// that a fetch fills meanwhile.
pub(crate) const REWRITE_SPARE: u64 = 64 << 20;

/// Bytes of the longest block. 4 MiB: twice the 2 MiB that Bitswap carries,
/// since a CAR may bring larger ones; also what a damaged length may make us read.
pub const MAX_BLOCK_BYTES: usize = 4 << 20;

/// Bytes of a reference's head, and of its tail. 64: a dag-pb leaf puts at most
/// some 20 bytes before its data and 15 after.
pub const MAX_EDGE_BYTES: usize = 64;

/// Live locations of one block from which on a file that has one adds no other.
/// 16: more copies add nothing, and a block of zeros would otherwise collect
/// one for each piece of a file.
pub const MAX_LOCATIONS: usize = 16;

/// Live locations of one block from which on no file adds one. 64: that many
/// files do not all go at once, and each put looks at all locations.
pub const MAX_FILES_OF_BLOCK: usize = 64;

/// Bytes of a path, a name or a table's key. 4,096: the usual PATH_MAX.
pub const MAX_PATH_BYTES: usize = 4096;

/// Bytes of a value in a table of the index cache. 1,024: sled is for what is small.
pub const MAX_TABLE_VALUE: usize = 1024;

/// Bytes of what a caller may keep with an unfinished download. 4,096: a few paths.
pub const MAX_NOTE_BYTES: usize = 4096;

/// Bytes of one journal record. 64 KiB: the longest has three paths and a note.
pub(crate) const MAX_JOURNAL_RECORD: usize = 64 << 10;

/// Bytes of journal records that wait in memory for one write. 64 KiB: some
/// 700 file records.
pub(crate) const JOURNAL_BUFFER: usize = 64 << 10;

/// Bytes that are read ahead when records are read back from the journal. 16
/// KiB: some 150 file records, of which the next ones are often wanted next.
pub(crate) const JOURNAL_AHEAD: usize = 16 << 10;

/// Pages of the table of users' files that are in memory. 64: 256 KiB, 10,880
/// files, which are added and looked at again in about the same order.
pub(crate) const HELD_SLOT_PAGES: usize = 64;

/// Paths of users' files whose index is in memory, the others' being on disk.
/// 32,768: near 1 MiB, and half a megabyte in each write.
pub(crate) const RECENT_PATHS: usize = 1 << 15;

/// Parts of one size of the index of paths that become one. 8: each path is
/// rewritten about once per eightfold of the files, and a million are in ten parts.
pub(crate) const RUNS_OF_A_SIZE: usize = 8;

/// Index entries of packs that are sorted in memory. 65,536: 1 MiB; those of an
/// unmerged pack need no disk.
pub(crate) const SORTED_ENTRIES: usize = 1 << 16;

/// Removed trees that are remembered until the journal is rewritten. 16,384:
/// half a megabyte at most.
pub(crate) const MAX_ENDED_TREES: usize = 1 << 14;

/// Locations known to be wrong beyond which a pack is rewritten without them.
/// 16,384: half a megabyte.
pub(crate) const MAX_DROPPED: usize = 1 << 14;

/// Packs that the mark of a failed sync names. 16,384: 64 KiB; of more it means all.
pub(crate) const MAX_MARKED_PACKS: usize = 1 << 14;

/// Keys remembered as asked for during one step of a collection. 131,072: 2 MiB.
/// Beyond that all count as asked for, and the step keeps what it looks at.
pub(crate) const MAX_TOUCHED: usize = 1 << 17;

/// Missing files of which it is remembered when they were looked for. 4,096: more
/// are hardly asked for within a second.
pub(crate) const MAX_LOOKED_FOR: usize = 4096;

/// Notices kept until the shell takes them. 1,024: a folder that vanished is
/// told once per file, and no one reads more lines.
pub(crate) const MAX_NOTICES: usize = 1024;

/// References remembered as hashed in this process: 262,144 slots of 8 bytes,
/// 2 MiB, 256 GiB of 1 MiB blocks. One that was displaced is hashed again.
pub(crate) const CHECKED_SLOTS: usize = 1 << 18;

/// Bytes of the filters of all root sets. 8 MiB: for some six million blocks; who asks
/// for a block of a set without one reads a page of its file.
pub(crate) const ROOT_FILTER_BYTES: usize = 8 << 20;

/// Prefixes that a growing root set holds before it spills. 131,072: 4 MiB at most.
pub(crate) const ROOT_SET_BUFFER: usize = 1 << 17;

/// Roots that are added together, and so sets in one file. 65,536: as many as one
/// command pins; what is more is added in several steps.
pub(crate) const ROOTS_AT_ONCE: usize = 1 << 16;
