//! Who owns a repository: one process at a time, by `flock` on a file that
//! names it. The kernel gives the lock back however the owner ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::disk::{NOFOLLOW, SystemDisk, create_dirs};

/// Bytes of the lock file that are read. 4 KiB: a pid and a command line, cut.
const MAX_LOCK_BYTES: usize = 4096;

/// Attempts while the lock is held by no one that says so. 1,000: some milliseconds.
const MAX_TRIES: usize = 1000;

/// Who holds a repository, as far as its lock file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its process id; `None` in the instant between locking and writing.
    pub pid: Option<u32>,
    /// Its command line, cut to 4 KiB; from a file, so escape it before printing.
    pub command: String,
}

/// Why the repository is not ours.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process owns it; its control socket is at [`RepoLock::control_path`].
    #[error("the repository is in use by process {pid} ({command})", pid = .0.pid.unwrap_or(0), command = .0.command)]
    Held(Owner),
    /// The folder or the lock file cannot be used.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Ownership of a repository, until dropped.
#[derive(Debug)]
pub struct RepoLock {
    dir: PathBuf,
    file: File,
}

impl RepoLock {
    /// Creates `dir` (mode 0700), and the folders above it, if need be and takes its lock without waiting.
    pub fn acquire(dir: &Path, command: &str) -> Result<Self, LockError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| LockError::Io { path, source }
        };
        create_dirs(&SystemDisk, dir).map_err(failed(dir))?;
        let path = dir.join("lock");
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOFOLLOW)
            .clone();
        let mut file = options.open(&path).map_err(failed(&path))?;
        let mut tries = 0;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(&path)(error.into()));
            }
            let owner = read_owner(&mut file);
            // Without a pid it may be someone asking `holder`, for an instant.
            if owner.pid.is_some() || tries >= MAX_TRIES {
                return Err(LockError::Held(owner));
            }
            tries += 1;
            std::thread::yield_now();
        }
        let line: String = command.chars().take(MAX_LOCK_BYTES / 8).collect();
        let text = format!("{}\n{line}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed(&path))?;
        Ok(Self { dir: dir.to_path_buf(), file })
    }

    /// Who holds `dir` now, if anyone. Takes nothing and creates nothing.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<Owner> {
        let mut file = File::open(dir.join("lock")).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => Some(read_owner(&mut file)),
        }
    }

    /// The repository's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the owner of `dir` listens for the commands of others.
    #[must_use]
    pub fn control_path(dir: &Path) -> PathBuf {
        dir.join("control")
    }
}

impl Drop for RepoLock {
    fn drop(&mut self) {
        // Nothing depends on it: the next owner overwrites what is left.
        drop(self.file.set_len(0));
    }
}

pub(crate) fn read_owner(file: &mut File) -> Owner {
    let mut bytes = Vec::new();
    drop(file.rewind());
    drop(file.take(MAX_LOCK_BYTES as u64).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let (pid, command) = text.split_once('\n').unwrap_or((&text, ""));
    Owner { pid: pid.trim().parse().ok(), command: command.trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_owner_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/repo");
        assert_eq!(RepoLock::holder(&dir), None);
        let lock = RepoLock::acquire(&dir, "peerage up").unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let owner = Owner { pid: Some(std::process::id()), command: "peerage up".into() };
        assert_eq!(RepoLock::holder(&dir), Some(owner.clone()));
        match RepoLock::acquire(&dir, "peerage get") {
            Err(LockError::Held(found)) => assert_eq!(found, owner),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(RepoLock::holder(&dir), None);
        RepoLock::acquire(&dir, "again").unwrap();
    }
}
