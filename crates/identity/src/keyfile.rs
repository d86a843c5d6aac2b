//! The file that holds our own key: libp2p's protobuf form and nothing else,
//! readable by its owner only.
//!
//! It is put in place whole or not at all, and of two processes that make it
//! at the same time both end with the same key. Left out on purpose: a
//! passphrase (the peer must start unattended), and on systems without Unix
//! modes the check of who can read it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::limits::KEY_MAX_BYTES;
use crate::{EntropyError, Keypair, PrivateKeyError};

/// An unfinished key file this old belongs to nobody: making one takes milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Why there is no key to use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The disk's fault, or that of missing rights.
    #[error("cannot {doing} the key file {path:?}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can read or change the file.
    #[error(
        "others can read the key file {path:?} (mode {mode:04o}). Run `chmod 600` on it; if someone may \
         have copied it, move it away instead, and a new key will be made"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a device or the like.
    #[error("the key file {0:?} is not a regular file")]
    NotAFile(PathBuf),
    /// Not a key. It is never overwritten: it may be one that someone wants back.
    #[error("the key file {path:?} holds no key for us: {source}. Move it away, and a new key will be made")]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PrivateKeyError,
    },
    /// No randomness for a new key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The key in the file at `path`; if there is no such file, a new key, which
/// is then in it (mode 0600). The folder must exist.
///
/// ```
/// use peerage_identity::keyfile;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("key");
/// let first = keyfile::load_or_create(&path)?;
/// assert_eq!(keyfile::load_or_create(&path)?.peer_id(), first.peer_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`KeyFileError`]. A file that is refused stays as it is.
pub fn load_or_create(path: &Path) -> Result<Keypair, KeyFileError> {
    sweep(path);
    if let Some(keypair) = load(path)? {
        return Ok(keypair);
    }
    let keypair = Keypair::generate()?;
    if create(path, &keypair)? {
        return Ok(keypair);
    }
    // Someone else was faster; theirs is whole, since it was put in place at once.
    load(path)?.ok_or_else(|| failed("read", path)(io::ErrorKind::NotFound.into()))
}

/// The key in the file at `path`, or `None` if there is no such file.
///
/// # Errors
/// See [`KeyFileError`].
pub fn load(path: &Path) -> Result<Option<Keypair>, KeyFileError> {
    // Asked before opening, since opening a pipe would wait for a writer.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(KeyFileError::NotAFile(path.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    }
    let file = File::open(path).map_err(failed("read", path))?;
    check_private(&file, path)?;
    // The whole capacity at once: a buffer that grew would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_MAX_BYTES + 2));
    file.take(KEY_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Keypair::from_protobuf(&bytes)
        .map(Some)
        .map_err(|source| KeyFileError::Contents { path: path.into(), source })
}

/// Refuses an open file that others can read or change.
#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyFileError::Exposed { path: path.into(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_file: &File, _path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

/// Puts `keypair` into a new file at `path`; false if there is one by now.
fn create(path: &Path, keypair: &Keypair) -> Result<bool, KeyFileError> {
    let staging = staging_path(path)?;
    let placed = write_new(&staging, &keypair.to_protobuf())
        .map_err(failed("write", &staging))
        .and_then(|()| place(&staging, path).map_err(failed("create", path)));
    // Gone already if it was renamed; if it cannot be removed, its mode keeps it private.
    let _ = fs::remove_file(&staging);
    let placed = placed?;
    sync_folder(path).map_err(failed("sync", path))?;
    Ok(placed)
}

/// A name beside `path` that no other process uses.
fn staging_path(path: &Path) -> Result<PathBuf, KeyFileError> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(EntropyError::from)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:016x}.tmp", u64::from_le_bytes(nonce)));
    Ok(path.with_file_name(name))
}

/// Removes what others began beside `path` and did not finish: a crash leaves
/// it. Files of the last hour stay, as their makers may be at work.
fn sweep(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten().filter(|entry| is_staging_name(path, &entry.file_name())) {
        let age = entry.metadata().ok().filter(fs::Metadata::is_file).and_then(|it| it.modified().ok());
        if age.and_then(|made| made.elapsed().ok()).is_some_and(|age| age >= LEFT_BEHIND) {
            // Not being able to is no reason to go without a key.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether [`staging_path`] could have made `name` for `path`.
fn is_staging_name(path: &Path, name: &OsStr) -> bool {
    let middle = || {
        let rest = name.to_str()?.strip_prefix(path.file_name()?.to_str()?)?;
        rest.strip_prefix('.')?.strip_suffix(".tmp")
    };
    middle().is_some_and(|nonce| nonce.len() == 16 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn write_new(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

/// Gives the whole file `staging` the name `path`; false if that is taken.
fn place(staging: &Path, path: &Path) -> io::Result<bool> {
    // A link, unlike a rename, never replaces what is there.
    match fs::hard_link(staging, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // File systems without links (FAT, some network ones). Between the
        // question and the rename another process could come; there the last
        // one wins, and the file is still whole.
        Err(_) if path.try_exists()? => Ok(false),
        Err(_) => fs::rename(staging, path).map(|()| true),
    }
}

/// Makes the new name last. Only Unix can open a folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
            // What file systems that sync no folders say: there is nothing to wait for.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
            synced => synced?,
        }
    }
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    move |source| KeyFileError::Io { doing, path: path.into(), source }
}
