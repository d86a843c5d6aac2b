//! Users' files and folders to UnixFS: the import behind `share` and `add`.
//!
//! One blocking thread walks the folders, in order, and hands pieces of work
//! to the peer's workers: a run of small files, or a mebibyte of a large one.
//! It takes the results back in the same order and builds the nodes above the
//! leaves, so memory does not depend on the size of a file. Nor does it on that
//! of a folder: what is too much for one block is sorted on disk.
//!
//! - [`folder`]: opening beneath a base, no symlink followed.
//! - [`hash`]: what the workers do.
//! - [`known`]: which files need no hashing, since they did not change.
//! - [`walk`]: what is in a tree, and what is left out.
//! - [`entries`]: the entries of folders that are too large for one block.
//! - [`cut`]: the pieces of large files.
//! - [`ignored`]: patterns of what is left out.
//! - [`build`]: results to DAG, store and root set.
//!
//! What is in a share: regular files, folders (empty ones too) and symlinks,
//! these as they are. Sockets, FIFOs, devices and names that are not UTF-8 are
//! left out and told, as are files that vanish between listing and reading.
//! Names with control characters, which no getter writes, are left out of a
//! share, and told; `add` includes them, as its CIDs are to be those of other
//! programs. A backslash is a separator on some systems: included, and told.
//!
//! Importing twice adds nothing to the store: files keep their ids in it.
//!
//! A file whose size is not what it holds, as many below `/proc`, is read to its end
//! where its blocks are stored or only hashed, as what comes by a pipe is; a reference
//! to it would lead nowhere.
//!
//! Left out on purpose: following symlinks below the given paths, sparse files,
//! extended attributes.

mod build;
mod cut;
mod entries;
mod error;
mod folder;
mod hash;
mod ignored;
mod known;
mod limits;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use peerage_content::name::NameError;
use peerage_content::{Cid, Metadata, Mtime, Profile};
use peerage_store::{RootSetBuilder, Store, TreeId};

pub use error::ImportError;
pub use ignored::{IgnoreError, Ignored};

use super::claims::Claims;

/// Who does the reading and hashing: the peer's pool.
pub(crate) trait Workers {
    /// Does `work` soon, on some thread. At most 16 of an import wait at once.
    fn post(&self, work: Box<dyn FnOnce() + Send>);
}

/// What is kept of files and folders besides their content (UnixFS 1.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preserve {
    /// Permissions.
    pub mode: bool,
    /// Times of the last change.
    pub mtime: bool,
}

impl Preserve {
    /// Both.
    pub const ALL: Self = Self { mode: true, mtime: true };

    /// What is kept of these.
    fn of(self, mode: u32, mtime: Mtime) -> Metadata {
        Metadata { mode: self.mode.then_some(mode & 0o7777), mtime: self.mtime.then_some(mtime) }
    }
}

/// How to import.
#[derive(Debug, Clone)]
pub(crate) struct ImportOptions {
    /// Decides the CIDs. Default `unixfs-v1-2025`.
    pub(crate) profile: Profile,
    /// Whether entries below the given paths whose names begin with a dot are
    /// included; the given paths always are. Default yes, as `share` does.
    pub(crate) hidden: bool,
    /// Whether mode and time are kept. Default no: the CID then depends on
    /// content alone.
    pub(crate) preserve: Preserve,
    /// Entries below the given paths that are left out. Default none.
    pub(crate) ignored: Ignored,
    /// Whether a given path that is a symlink is followed, or else imported as
    /// the symlink that it is. Default yes.
    pub(crate) follow: bool,
    /// Whether entries are included whose names no `get` writes. Default no.
    pub(crate) any_name: bool,
    /// One folder around all paths, and so one root; else a root each. Default no.
    pub(crate) wrap: bool,
    /// Folders that are never included, absolute: the repository, when the
    /// target does not name it. The target's own always is left out.
    pub(crate) leave_out: Vec<PathBuf>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            hidden: true,
            preserve: Preserve::default(),
            ignored: Ignored::default(),
            follow: true,
            any_name: false,
            wrap: false,
            leave_out: Vec::new(),
        }
    }
}

/// What becomes of the blocks.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Nothing: only the CIDs are of interest.
    OnlyHash,
    /// Leaves become references to the files, other blocks are stored.
    Reference(Claims),
    /// All blocks are stored.
    Copy(Store),
}

impl Target {
    /// Where blocks go.
    pub(crate) fn store(&self) -> Option<&Store> {
        match self {
            Self::OnlyHash => None,
            Self::Reference(claims) => Some(claims.store()),
            Self::Copy(store) => Some(store),
        }
    }
}

/// How far an import is. Totals grow while folders are listed; the total of
/// one file is known at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Content bytes hashed, or known.
    pub bytes: u64,
    /// Content bytes found so far.
    pub bytes_found: u64,
    /// Files hashed, or known.
    pub files: u64,
    /// Files found so far.
    pub files_found: u64,
    /// Whether all that there is was found, so that the sums of it are final.
    pub all_found: bool,
}

/// What the user should hear of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// Left out: hidden, and hidden entries were not wanted.
    #[error("hidden, left out")]
    Hidden,
    /// Left out.
    #[error("a socket, left out")]
    Socket,
    /// Left out.
    #[error("a FIFO, left out")]
    Fifo,
    /// Left out.
    #[error("a device, left out")]
    Device,
    /// Left out: folders hold text.
    #[error("a name that is not UTF-8, left out")]
    NotUtf8,
    /// Left out: longer than 255 bytes, which few systems can write, or with a
    /// control character.
    #[error("{0}, left out")]
    BadName(NameError),
    /// Left out: it was there when its folder was listed, not when it was read.
    #[error("vanished meanwhile, left out")]
    Vanished,
    /// Left out: the repository that holds the peer's key.
    #[error("peerage's own repository, left out")]
    Repository,
    /// Left out: what `get` has staged, which is not whole.
    #[error("a download that is not finished, left out")]
    Unfinished,
    /// Included, but `get` refuses a folder with such an entry.
    #[error("{0}: included, but `peerage get` will not write it")]
    Unwritable(NameError),
    /// Included, but `get` refuses it on systems where a backslash separates folders.
    #[error("a name with a backslash: included, but some systems cannot write it")]
    Backslash,
}

/// Remarks about the entries of a root: the first 1,000, the rest counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Path and remark, in the order of the walk. Paths are absolute.
    pub listed: Vec<(PathBuf, Remark)>,
    /// How many more there were.
    pub more: u64,
    /// Entries left out for being hidden, listed or not; what is below a
    /// hidden folder is not counted.
    pub hidden: u64,
    /// Entries left out by patterns, counted likewise, never listed.
    pub ignored: u64,
}

/// A root that was imported.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What it was made of, absolute, no symlink in them; several for a
    /// folder around them.
    pub(crate) paths: Vec<PathBuf>,
    /// Its own name; none of a folder around several, or of `/`. It may be
    /// one that no getter writes.
    pub(crate) name: Option<String>,
    /// The root.
    pub(crate) cid: Cid,
    /// Bytes of all files.
    pub(crate) size: u64,
    /// Bytes of all blocks, repetitions counted again.
    pub(crate) dag_size: u64,
    /// Regular files.
    pub(crate) files: u64,
    /// Files that someone may execute.
    pub(crate) executables: u64,
    /// What the user should hear.
    pub(crate) remarks: Remarks,
    /// The trees that references lead to, one a path; none but with
    /// [`Target::Reference`]. A tree may be of an earlier import of the same
    /// base, so another root may need it, too.
    pub(crate) trees: Vec<TreeId>,
    /// Every block of the root; none with [`Target::OnlyHash`].
    pub(crate) set: Option<RootSetBuilder>,
}

/// Imports `paths`: all as one root, or each as one, in order.
///
/// Blocks the calling thread, which should be one of its own: not a worker.
/// On return the blocks are in the
/// kernel ([`Store::commit`]); the caller adds root or pin, and syncs before it
/// reports success of something that must outlive a power cut. `progress` is
/// called on this thread after each piece of work; `cancelled` is looked at at
/// least ten times a second.
///
/// # Errors
/// See [`ImportError`]. Files and trees that were registered are forgotten, but
/// for those that another import has found meanwhile.
pub(crate) fn import(
    paths: &[PathBuf],
    options: &ImportOptions,
    target: &Target,
    workers: &dyn Workers,
    progress: &dyn Fn(ImportProgress),
    cancelled: &AtomicBool,
) -> Result<Vec<Imported>, ImportError> {
    options.profile.check()?;
    let mut builder = build::Builder::new(options, target, workers, progress, cancelled);
    let result = walk::import(&mut builder, paths, options);
    builder.end(result)
}

/// Imports what comes from `file`, a pipe perhaps, as one file that is called `name`.
/// Nothing can refer to it: the target is no [`Target::Reference`].
///
/// # Errors
/// As [`import`].
pub(crate) fn import_stream(
    file: File,
    name: Option<String>,
    options: &ImportOptions,
    target: &Target,
    workers: &dyn Workers,
    progress: &dyn Fn(ImportProgress),
    cancelled: &AtomicBool,
) -> Result<Vec<Imported>, ImportError> {
    let mut builder = build::Builder::new(options, target, workers, progress, cancelled);
    let result = builder.stream_root(file, name);
    builder.end(result.map(|imported| vec![imported]))
}
