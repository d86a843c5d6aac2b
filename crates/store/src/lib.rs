//! The content store of a Peerage repository. Blocking, `Send + Sync`.
//!
//! - **Packs** hold blocks, and references to pieces of users' files; each
//!   sealed pack carries its own index. They are the truth about blocks.
//! - **The journal** holds trees, files, pins, roots and unfinished downloads.
//!   Where in it each file is stands in scratch files, made anew at opening.
//! - **Root sets** say which blocks a root reaches: what may be served.
//! - **The index cache** (`sled`) only spares work and may be lost at any time.
//! - **[`RepoLock`]** makes one process the owner of a repository.
//!
//! It knows nothing of sockets, tasks or DAGs, and hashes only to verify.
//! Deliberately absent: compression, an order of blocks.

mod beneath;
mod cache;
mod check;
mod codec;
mod collect;
mod commit;
mod config;
pub mod disk;
mod error;
mod facts;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
mod journal;
mod key;
mod ledger;
mod lock;
mod missing;
mod moved;
mod notice;
mod openfiles;
mod pack;
mod quota;
mod repeats;
mod roots;
mod rootset;
mod runs;
mod scratch;
mod stat;
mod store;
mod trees;
mod unsynced;
mod userfile;
mod verify;

pub use peerage_content::Multihash;

pub use check::{Checked, Sizes, Verified};
pub use collect::{Collection, CollectionStep};
pub use commit::Durability;
pub use config::{
    Config, MAX_BLOCK_BYTES, MAX_EDGE_BYTES, MAX_FILES_OF_BLOCK, MAX_LOCATIONS, MAX_NOTE_BYTES,
    MAX_PATH_BYTES, MAX_TABLE_VALUE, OpeningFn, VerifyFn,
};
pub use error::{OpenError, ReadError, WriteError};
pub use facts::{Download, DownloadId, FileId, Pin, PinKind, Root, RootId, RootKind, Seen, TreeId};
pub use lock::{LockError, Owner, RepoLock};
pub use moved::{Candidate, Compared, LostFile};
pub use notice::{Change, Notice, OpenReport, Opening};
pub use pack::record::Reference;
pub use quota::MakeRoomFn;
pub use roots::RootEntry;
pub use rootset::{RootSet, RootSetBuilder};
pub use stat::Stat;
pub use store::Store;
pub use trees::{FileRecord, FilesIn};
pub use userfile::append_at;
pub use verify::verify;
