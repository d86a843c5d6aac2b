//! Why an import failed. Each says which path, and what to do.

use std::io;
use std::path::PathBuf;

use peerage_content::name::NameError;
use peerage_content::profile::ProfileError;
use peerage_store::WriteError;

/// Why nothing was imported. What was registered on the way is forgotten
/// again; no file of the user's is touched.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file or folder cannot be read: the user's to mend.
    #[error("cannot read {path}: {source}; {}", remedy(source), path = shown(path))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Someone writes to the file; it was tried twice.
    #[error("{path} changed while it was read; try again when nothing writes to it, or leave it out", path = shown(path))]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A file that the system makes up when it is read, so that no place in it can be
    /// referred to.
    #[error("the size of {path} is not what it holds, so it cannot be served from where it is; copy it into a file first, \
             or have it copied (`peerage add --copy`)", path = shown(path))]
    Size {
        /// Which.
        path: PathBuf,
    },
    /// A path that was asked for is a socket, FIFO or device.
    #[error("{path} is neither a file nor a folder; copy what it gives into a file first", path = shown(path))]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Two of the paths would have one name in the folder around them.
    #[error("{first} and {second} have the same name; rename one, or give them one by one (--separate)",
        first = shown(first), second = shown(second))]
    SameName {
        /// The one.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The same path, given twice for one folder.
    #[error("{path} is given twice; leave one out", path = shown(path))]
    Twice {
        /// Which.
        path: PathBuf,
    },
    /// A path's own name cannot stand in the folder around it.
    #[error("{path} has {error}; rename it", path = shown(path))]
    Name {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: NameError,
    },
    /// More levels of folders than are followed.
    #[error("{path} is more than {limit} folders deep; import a part of it", path = shown(path))]
    TooDeep {
        /// The folder that is too deep.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The path below the tree's base is longer than the repository keeps.
    #[error("{path} is more than {limit} bytes below where the import began; import a part of it", path = shown(path))]
    PathTooLong {
        /// Which.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Two names in a large folder have the same 64-bit hash: no format holds both.
    #[error("{path} has two names that cannot be in one large folder; rename one or split it", path = shown(path))]
    HashCollision {
        /// The folder.
        path: PathBuf,
    },
    /// The entries of a large folder could not be sorted: the disk's.
    #[error("cannot sort the entries of {path} on disk: {source}; free some space, or set TMPDIR to where there is some",
        path = shown(path))]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is, or is inside, our own repository, which holds the peer's key.
    #[error("{path} is inside peerage's own repository, which is never shared", path = shown(path))]
    Repository {
        /// Which.
        path: PathBuf,
    },
    /// Parameters of which nothing could be made that can be read: the caller's to
    /// mend.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The repository's disk.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// A worker failed: a defect of this program.
    #[error("a worker failed while it read files; please report this")]
    WorkerLost,
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// What to do about what the system said.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the spelling of the path",
        io::ErrorKind::PermissionDenied => "make it readable (chmod, or run as its owner), or leave it out",
        io::ErrorKind::StorageFull => "free some space",
        io::ErrorKind::NotADirectory => {
            "something in the path is no folder; leave out a slash after a file's name"
        }
        // What the systems of files without a disk say, too.
        io::ErrorKind::InvalidInput => "it cannot be read as a file, leave it out",
        _ => "leave it out, or check the disk if it is on one",
    }
}

fn shown(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    peerage_content::name::escape_bytes(path.as_os_str().as_bytes())
}
