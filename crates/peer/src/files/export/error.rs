//! Why a fetch cannot be written. Always this side's: the disk, the
//! destination, or what the user asked for.

use std::io;
use std::path::PathBuf;

use peerage_content::name;

/// Why a fetch cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The system said no.
    #[error("cannot {what} {}: {source}{}", shown(.path), advice(.source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is something else at the destination; nothing was written.
    #[error("{} is there already and differs; choose another -o, or --overwrite", list(.0))]
    Differs(Vec<PathBuf>),
    /// The folder that it is to go into does not exist.
    #[error("the folder {} is not there; make it first", shown(.0))]
    NoFolder(PathBuf),
    /// A folder stands where the file, or symlink, itself would be.
    #[error("{path} is a folder; write `-o {path}/` to put it inside", path = shown(.0))]
    Folder(PathBuf),
    /// A folder stands where an entry of the fetched folder is none. Not even
    /// `--overwrite` removes folders.
    #[error("{} is a folder where something else would have to be, and is left alone; move it away, or choose another -o", shown(.0))]
    FolderInTheWay(PathBuf),
    /// Someone else made or changed this while it was being fetched; it was left alone.
    #[error("{} was changed meanwhile by someone else and is left alone; what has come is kept: look at it, then run it again", shown(.0))]
    Changed(PathBuf),
    /// Another process is fetching to this destination.
    #[error("{} is being fetched already, by process {pid}", shown(.path))]
    Busy {
        /// The destination.
        path: PathBuf,
        /// Who does.
        pid: u32,
    },
    /// Not enough room for what is to come.
    #[error("{} needs {needed} bytes and {free} are free; make room or choose another -o", shown(.path))]
    NoSpace {
        /// The destination's folder.
        path: PathBuf,
        /// Bytes that are to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// What is fetched is itself a symlink that leads away from where it would
    /// be. Its maker's, unless the user wants it so.
    #[error(
        "{} would be a symlink to {}, which may lead anywhere, and was not made; see --unsafe-symlinks",
        shown(path),
        shown(target)
    )]
    UnsafeRoot {
        /// The destination.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Two entries of the folder have one name here. Its maker's fault, or a
    /// file system's that does not tell case apart.
    #[error("two entries of the folder would both be {}", shown(.0))]
    Collision(PathBuf),
    /// The repository cannot take what it should.
    #[error("the repository: {0}")]
    Store(#[from] peerage_store::WriteError),
    /// The repository cannot tell what it knows of the files.
    #[error("the repository: {0}")]
    Unread(#[from] peerage_store::ReadError),
    /// The file of a write is not there: the fetch has ended.
    #[error("the fetch has ended")]
    Gone,
}

/// A path, safe to print.
pub(super) fn shown(path: &std::path::Path) -> String {
    name::escape(&path.to_string_lossy())
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().take(10).map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; what has come is kept: make room and run it again"
        }
        io::ErrorKind::PermissionDenied => "; choose a folder that you may write to with -o",
        _ => "",
    }
}
