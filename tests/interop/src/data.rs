//! Files and folders to send, the same from the same seed, and their comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A file of 5 MiB and a bit: several blocks in every profile, the last one short.
pub const FILE_LEN: usize = (5 << 20) + 123;

/// Fills `bytes` from `seed`.
pub fn fill(seed: u64, bytes: &mut [u8]) {
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(bytes);
}

/// Writes a file of `len` random bytes.
///
/// # Errors
/// If it cannot be written.
pub fn file(path: &Path, len: usize, seed: u64) -> Result<()> {
    let mut bytes = vec![0; len];
    fill(seed, &mut bytes);
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Writes a folder of some depth: empty, small and multi-block files, a name
/// in another script and one with a space.
///
/// # Errors
/// If it cannot be written.
pub fn folder(path: &Path, seed: u64) -> Result<()> {
    fs::create_dir_all(path.join("inner/deeper"))?;
    file(&path.join("empty"), 0, seed)?;
    file(&path.join("one byte"), 1, seed)?;
    file(&path.join("inner/größe"), 3000, seed + 1)?;
    file(&path.join("inner/deeper/blocks.bin"), (2 << 20) + 7, seed + 2)?;
    file(&path.join("inner/deeper/exact.bin"), 1 << 20, seed + 3)
}

/// Writes `count` files of `len` bytes into one folder.
///
/// # Errors
/// If they cannot be written.
pub fn many(path: &Path, count: usize, len: usize, seed: u64) -> Result<()> {
    fs::create_dir_all(path)?;
    (0..count).try_for_each(|i| file(&path.join(format!("{i:05}")), len, seed + i as u64))
}

/// Fails unless the two paths hold the same bytes under the same names.
///
/// # Errors
/// Says which entry differs.
pub fn assert_same(left: &Path, right: &Path) -> Result<()> {
    let (a, b) = (entries(left)?, entries(right)?);
    let names = |map: &BTreeMap<PathBuf, Option<Vec<u8>>>| map.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(&a) == names(&b),
        "{} holds {:?} but {} holds {:?}",
        left.display(),
        names(&a),
        right.display(),
        names(&b)
    );
    for (name, bytes) in &a {
        ensure!(b.get(name) == Some(bytes), "{} differs in {}", right.display(), name.display());
    }
    Ok(())
}

/// Every entry below `root` by its relative path, with its bytes if it is a file.
fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        // Joining the empty path would add a slash, which no file bears.
        let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(&relative) };
        let kind = fs::symlink_metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        if kind.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(relative.join(entry?.file_name()));
            }
            found.insert(relative, None);
        } else {
            found.insert(relative, Some(fs::read(&path)?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        folder(&a, 1).unwrap();
        folder(&b, 1).unwrap();
        assert_same(&a, &b).unwrap();
        fs::write(b.join("one byte"), b"??").unwrap();
        assert!(assert_same(&a, &b).unwrap_err().to_string().contains("one byte"));
        fs::remove_file(b.join("one byte")).unwrap();
        assert!(assert_same(&a, &b).is_err());
    }
}
