//! Limits of the import: name, unit, default and reason.

/// Bytes of files in one job for a worker. 1 MiB: under a millisecond of
/// hashing, so that the peer's other work is not kept waiting, and enough for
/// the hand-over between threads not to show.
pub(super) const JOB_BYTES: usize = 1 << 20;

/// Files in one job. 64: small files cost a few system calls each, about as
/// much as 16 KiB of hashing.
pub(super) const JOB_FILES: usize = 64;

/// Folders that the files of one job may be in. 8: each is an open descriptor
/// while the job waits.
pub(super) const JOB_FOLDERS: usize = 8;

/// Jobs that are posted and not taken back. 16: two for each of eight cores;
/// what was hashed ahead of its turn is some kilobytes a job.
pub(super) const JOBS_IN_FLIGHT: usize = 16;

/// What waits for its turn: jobs that are posted, and files that need none. 64:
/// each file holds its folder open.
pub(super) const QUEUE_MAX: usize = 64;

/// Deepest folder below the imported one, in levels. 480: what is imported is to be
/// fetched, and walks over DAGs go 512 nodes deep, of which files and the shards of
/// folders need some. Each level is an open descriptor while the walk is below it, of
/// the usual 1,024 a process, and about a kilobyte of its thread's stack.
pub(super) const DEPTH_MAX: usize = 480;

/// Entries told by name that were left out or may give trouble. 1,000: no one
/// reads more lines, the rest is counted.
pub(super) const REMARKS_KEPT: usize = 1000;

/// Milliseconds between looks at the cancellation while a worker is busy.
/// 100: far below the second in which Ctrl-C must end.
pub(super) const CANCEL_LOOK_MS: u64 = 100;

/// Patterns of what is left out. 10,000: the largest `.gitignore` that people
/// pass around has some hundred.
pub(super) const IGNORE_PATTERNS_MAX: usize = 10_000;

/// Entries of a folder that are listed before the first of them is read. 4,096:
/// some hundred kilobytes for each level of folders; larger folders are read
/// piece by piece.
pub(super) const LISTED_AT_ONCE: usize = 4096;
