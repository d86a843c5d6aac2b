//! The folder in memory where transfers are measured, and what is sent.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// How many copies exist at once: the source and what a getter wrote, plus
/// repositories, staging and the margin that keeps the machine alive.
const COPIES: u64 = 4;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// One file of so many bytes.
    File(u64),
    /// A folder of so many files of so many bytes each.
    Folder(u64, u64),
}

impl Payload {
    /// Bytes of content.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::File(len) => len,
            Self::Folder(count, len) => count * len,
        }
    }
}

/// Makes a temporary folder in memory if there is room, else on disk.
pub(crate) fn folder(payload: Payload) -> Result<TempDir> {
    let room = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if room >= payload.bytes() * COPIES {
        return Ok(tempfile::Builder::new().prefix("peerage-bench-").tempdir_in(MEMORY)?);
    }
    let dir = tempfile::Builder::new().prefix("peerage-bench-").tempdir()?;
    eprintln!("{MEMORY} has no room for {COPIES} copies: measuring on disk, in {}", dir.path().display());
    Ok(dir)
}

/// Writes the payload into `folder` and returns its path.
pub(crate) fn make(payload: Payload, folder: &Path) -> Result<PathBuf> {
    make_from(payload, folder, 2)
}

/// The same; with each seed it is another.
pub(crate) fn make_from(payload: Payload, folder: &Path, seed: u64) -> Result<PathBuf> {
    let path = folder.join("payload");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    match payload {
        Payload::File(len) => write(&path, len, &mut rng)?,
        Payload::Folder(count, len) => {
            fs::create_dir(&path)?;
            (0..count).try_for_each(|i| write(&path.join(format!("{i:06}")), len, &mut rng))?;
        }
    }
    Ok(path)
}

fn write(path: &Path, len: u64, rng: &mut ChaCha8Rng) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("making {}", path.display()))?);
    let mut piece = vec![0; 1 << 20];
    let mut left = len;
    while left > 0 {
        let some = usize::try_from(left)?.min(piece.len());
        rng.fill_bytes(&mut piece[..some]);
        file.write_all(&piece[..some])?;
        left -= some as u64;
    }
    Ok(file.flush()?)
}

/// Fails unless two files, or the files of two flat folders, are equal.
pub(crate) fn assert_same(left: &Path, right: &Path) -> Result<()> {
    if !left.is_dir() {
        return same_file(left, right);
    }
    let (names, others) = (names(left)?, names(right)?);
    ensure!(names == others, "{} holds {} entries, not {}", right.display(), others.len(), names.len());
    names.iter().try_for_each(|name| same_file(&left.join(name), &right.join(name)))
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn same_file(left: &Path, right: &Path) -> Result<()> {
    let open = |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (mut a, mut b) = (open(left)?, open(right)?);
    ensure!(a.metadata()?.len() == b.metadata()?.len(), "{} has another length", right.display());
    let (mut one, mut two) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let some = a.read(&mut one)?;
        if some == 0 {
            return Ok(());
        }
        b.read_exact(&mut two[..some])?;
        ensure!(one[..some] == two[..some], "{} differs", right.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_made_and_compared() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        for payload in [Payload::File(1_500_000), Payload::Folder(3, 10)] {
            let (left, right) = (make(payload, &a).unwrap(), make(payload, &b).unwrap());
            assert_same(&left, &right).unwrap();
            let inside = if left.is_dir() { right.join("000001") } else { right.clone() };
            let mut bytes = fs::read(&inside).unwrap();
            bytes[5] ^= 1;
            fs::write(&inside, bytes).unwrap();
            assert!(assert_same(&left, &right).is_err());
            if left.is_dir() {
                fs::remove_file(&inside).unwrap();
                assert!(assert_same(&left, &right).is_err());
            } else {
                fs::remove_file(&left).unwrap();
                fs::remove_file(&right).unwrap();
            }
        }
    }
}
