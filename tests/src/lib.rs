//! The harness of the whole-system tests: the real program as processes, each
//! on a repository of its own, over loopback.
//!
//! Nothing here sleeps. What a process says is awaited under a deadline that
//! is there only so that a hang fails; whatever still runs when its handle is
//! dropped is killed. Other implementations are in `tests/interop`.

pub mod data;
pub mod liar;
pub mod peer;
pub mod process;
pub mod router;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

pub use peer::{Peer, Sharing};
pub use process::{Ended, Process};
pub use router::Router;

/// Names the program to test instead of the one that was built with the tests.
pub const BIN: &str = "PEERAGE_BIN";

/// 1 MiB, in bytes: a chunk of the default profile.
pub const MIB: u64 = 1 << 20;

/// Where Linux keeps files in memory: a test that syncs is not to wait for a disk.
const MEMORY: &str = "/dev/shm";

/// What the tests that run at once take at most, in bytes.
const ROOM: u64 = 4 << 30;

/// A folder for one test, removed when dropped.
#[derive(Debug)]
pub struct Place {
    bin: PathBuf,
    dir: TempDir,
}

impl Place {
    /// A new, empty one.
    ///
    /// # Errors
    /// If there is no program to test.
    pub fn new() -> Result<Self> {
        Self::with_room(ROOM)
    }

    /// A new, empty one in memory, if there is room for so many bytes; else on disk.
    ///
    /// # Errors
    /// If there is no program to test.
    pub fn with_room(bytes: u64) -> Result<Self> {
        let free = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let parent = if free >= bytes { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
        Ok(Self { bin: program()?, dir: TempDir::with_prefix_in("peerage-test-", parent)? })
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Leaves it there, for who wants to look into it; where that is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// The program: also a large file that is older than any test.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.bin
    }

    /// A peer whose repository is `name` in it, which need not exist yet.
    #[must_use]
    pub fn peer(&self, name: &str) -> Peer {
        Peer::new(self.bin.clone(), self.path(name))
    }
}

/// The program: `PEERAGE_BIN`, else the one in the target folder of this executable.
fn program() -> Result<PathBuf> {
    let path = match std::env::var_os(BIN) {
        Some(path) => PathBuf::from(path),
        None => {
            let here = std::env::current_exe().context("this executable has no path")?;
            // A test is in `<profile>/deps`, a binary in `<profile>`.
            let folders = here.ancestors().skip(1).take(2);
            let name = format!("peerage{}", std::env::consts::EXE_SUFFIX);
            let mut found = folders.map(|folder| folder.join(&name)).filter(|path| path.is_file());
            found.next().with_context(|| {
                format!(
                    "no {name} beside {}: run `cargo xtask test`, or `cargo build -p peerage-node` first, \
                     or name it in {BIN}",
                    here.display()
                )
            })?
        }
    };
    ensure!(path.is_file(), "there is no program at {}", path.display());
    Ok(path)
}
