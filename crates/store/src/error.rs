//! Errors, one small enum per kind of operation, each saying whose fault it is.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::disk::{Closed, FailedSync};

/// Why a repository could not be opened. Damage is repaired, not reported here.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk or its permissions: nothing is wrong with the repository itself.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a newer program; opening it could lose what we do not know.
    #[error("{path} was written by a newer version (format {found}); upgrade peerage or use another --repo", path = path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Why something was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The disk: full, failing, read-only.
    #[error("cannot write to the repository: {0}")]
    Io(#[source] io::Error),
    /// The disk's: it could not keep what it had taken. What was synced before is
    /// safe; what came since may not be, so nothing is promised any more until the
    /// repository is opened again.
    #[error(
        "the disk did not keep what was written to the repository ({0}): check the disk, then start again"
    )]
    Unsynced(String),
    /// The caller's: the store was [closed](crate::Store::close), and the repository
    /// may be another's by now.
    #[error("the store is closed: nothing more is written to the repository; open it again")]
    Closed,
    /// The user's limit, [`Config::max_bytes`](crate::Config::max_bytes), and a
    /// collection made no room.
    #[error(
        "the store may take {limit} bytes, and this needs {missing} more: unpin or forget something, or allow more"
    )]
    Full {
        /// Bytes beyond the limit.
        missing: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The caller's: a block, path, name or value over its limit.
    #[error("{what} of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller's: no such tree, file, root or download.
    #[error("no {what} with id {id}")]
    Unknown {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: u64,
    },
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        let cause = error.get_ref();
        if let Some(FailedSync(cause)) = cause.and_then(|cause| cause.downcast_ref()) {
            return Self::Unsynced(cause.clone());
        }
        match cause.and_then(|cause| cause.downcast_ref()) {
            Some(Closed) => Self::Closed,
            None => Self::Io(error),
        }
    }
}

/// Why a block that may be here could not be read. What is merely absent or
/// wrong is `Ok(None)` and a [`Notice`](crate::Notice).
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk: nothing is known about the block.
    #[error("cannot read from the disk: {0}")]
    Io(#[from] io::Error),
}
