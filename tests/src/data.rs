//! Files and folders to send, the same from the same seed, and their comparison.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::MIB;

/// Bytes that are made, and compared, at once.
const PIECE: u64 = MIB;

/// Writes `len` random bytes to `path`.
///
/// # Errors
/// If it cannot be written.
pub fn random(path: &Path, len: u64, seed: u64) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    pieces(path, len, |piece| rng.fill_bytes(piece))
}

/// Writes `len` zeros to `path`.
///
/// # Errors
/// If it cannot be written.
pub fn zeros(path: &Path, len: u64) -> Result<()> {
    pieces(path, len, |_| {})
}

fn pieces(path: &Path, len: u64, mut fill: impl FnMut(&mut [u8])) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("making {}", path.display()))?);
    let mut piece = vec![0; usize::try_from(PIECE.min(len))?];
    let mut left = len;
    while left > 0 {
        let some = usize::try_from(left.min(PIECE))?;
        fill(&mut piece[..some]);
        file.write_all(&piece[..some])?;
        left -= some as u64;
    }
    Ok(file.flush()?)
}

/// Writes a folder of `count` files of `len` random bytes each.
///
/// # Errors
/// If it cannot be written.
pub fn many(path: &Path, count: u64, len: u64, seed: u64) -> Result<()> {
    fs::create_dir(path)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; usize::try_from(len)?];
    (0..count).try_for_each(|i| {
        rng.fill_bytes(&mut bytes);
        fs::write(path.join(format!("{i:06}")), &bytes).context("writing one of many files")
    })
}

/// Writes a folder of all that a folder may hold: other scripts, long names,
/// names that look like options or paths, empty folders, symlinks, hidden
/// entries, files of no, one and several blocks.
///
/// # Errors
/// If it cannot be written.
pub fn tree(path: &Path, seed: u64) -> Result<()> {
    fs::create_dir_all(path.join("deep/er/and/deeper/still"))?;
    fs::create_dir(path.join("empty folder"))?;
    fs::create_dir(path.join(".hidden"))?;
    random(&path.join("empty"), 0, seed)?;
    random(&path.join("-o"), 1, seed + 1)?;
    random(&path.join("größe 大きさ 🎈"), 3000, seed + 2)?;
    random(&path.join("n".repeat(255)), 10, seed + 3)?;
    random(&path.join("ж".repeat(127)), 11, seed + 4)?;
    random(&path.join("\"quotes\" & = % ? * |"), 12, seed + 5)?;
    random(&path.join("back\\slash"), 15, seed + 10)?;
    random(&path.join(".hidden/file"), 13, seed + 6)?;
    random(&path.join(".profile"), 14, seed + 7)?;
    random(&path.join("deep/er/and/deeper/still/blocks"), 2 * MIB + 7, seed + 8)?;
    random(&path.join("deep/er/exact"), MIB, seed + 9)?;
    symlink("../../empty", path.join("deep/er/up"))?;
    symlink("deep/er", path.join("link to a folder"))?;
    symlink("nowhere", path.join("dangling"))?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    Link(PathBuf),
    File(u64, [u8; 32]),
}

/// Fails unless the two paths hold the same bytes under the same names.
///
/// # Errors
/// Says what differs.
pub fn assert_same(left: &Path, right: &Path) -> Result<()> {
    let (a, mut b) = (entries(left)?, entries(right)?);
    for (name, entry) in &a {
        let other = b.remove(name);
        let other = other.with_context(|| format!("{} has no {}", right.display(), name.display()))?;
        ensure!(*entry == other, "{}: {other:?}, not {entry:?}", right.join(name).display());
    }
    let more: Vec<_> = b.keys().collect();
    ensure!(more.is_empty(), "{} holds more: {more:?}", right.display());
    Ok(())
}

fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        // Joining the empty path would add a slash, which no file bears.
        let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(&relative) };
        let kind = fs::symlink_metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        let entry = if kind.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(relative.join(entry?.file_name()));
            }
            Entry::Folder
        } else if kind.is_symlink() {
            Entry::Link(fs::read_link(&path)?)
        } else {
            Entry::File(kind.len(), digest(&path)?)
        };
        found.insert(relative, entry);
    }
    Ok(found)
}

fn digest(path: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; usize::try_from(PIECE)?];
    loop {
        let some = file.read(&mut piece)?;
        if some == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&piece[..some]);
    }
}

/// Names in `folder`, sorted: to see that nothing else was left there.
///
/// # Errors
/// If it cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Numbers from `low` up to `high`, the same from the same seed.
pub fn draw(seed: u64, low: u64, high: u64) -> impl Iterator<Item = u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    std::iter::repeat_with(move || low + rng.next_u64() % (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        tree(&a, 1).unwrap();
        tree(&b, 1).unwrap();
        assert_same(&a, &b).unwrap();
        fs::write(b.join("-o"), b"??").unwrap();
        assert!(assert_same(&a, &b).unwrap_err().to_string().contains("-o"));
        fs::remove_file(b.join("-o")).unwrap();
        assert!(assert_same(&a, &b).is_err());
        assert!(assert_same(&b, &a).is_err());
        symlink("x", a.join("-o")).unwrap_err();
        fs::remove_file(a.join("-o")).unwrap();
        assert_same(&a, &b).unwrap();
        fs::remove_file(a.join("dangling")).unwrap();
        symlink("elsewhere", a.join("dangling")).unwrap();
        assert!(assert_same(&a, &b).is_err());
    }
}
