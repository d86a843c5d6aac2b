//! Folders of files whose bytes follow from two numbers, so that what anything
//! should hold is known without a copy of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_base::Rng;
use peerage_tests::MIB;

/// Files of a new folder, at most. 24: some megabytes in all.
const FILES: u64 = 24;
/// Bytes of the longest file: three blocks and a part of one.
const LONGEST: u64 = 3 * MIB + MIB / 2;
/// Bytes of a block of a file, by the default profile.
const BLOCK: u64 = MIB;

/// What a file holds. Of two with one seed the shorter begins the longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Data {
    seed: u64,
    len: u64,
}

impl Data {
    fn draw(rng: &mut Rng) -> Self {
        let len = match rng.below(20) {
            0 => 0,
            1 => MIB,
            2 => MIB + rng.below(LONGEST - MIB),
            3..7 => rng.below(200_000),
            _ => 1 + rng.below(5_000),
        };
        Self::of_len(rng, len)
    }

    /// Other bytes than any before.
    pub(super) fn of_len(rng: &mut Rng, len: u64) -> Self {
        Self { seed: rng.next_u64(), len }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(0)];
        Rng::new(self.seed).fill(&mut bytes);
        bytes
    }

    fn is_at(self, path: &Path) -> Result<bool> {
        let found = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(found.len() as u64 == self.len && found == self.bytes())
    }
}

/// Files by their paths below a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree(pub(super) BTreeMap<String, Data>);

impl Tree {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut tree = Self::default();
        for _ in 0..2 + rng.below(FILES) {
            tree.0.insert(path(rng), Data::draw(rng));
        }
        // The same bytes twice.
        let again = tree.any(rng).and_then(|old| tree.0.get(&old).copied());
        tree.0.extend(again.map(|data| (path(rng), data)));
        tree
    }

    /// What becomes of it while somebody works with it: files come, go, move, grow
    /// and change.
    pub(super) fn changed(&self, rng: &mut Rng) -> Self {
        let mut tree = self.clone();
        for _ in 0..1 + rng.below(5) {
            let Some(old) = tree.any(rng) else { break };
            match rng.below(5) {
                0 => drop(tree.0.insert(path(rng), Data::draw(rng))),
                1 if tree.0.len() > 2 => drop(tree.0.remove(&old)),
                2 => {
                    let moved = tree.0.remove(&old).map(|data| (path(rng), data));
                    tree.0.extend(moved);
                }
                3 => drop(tree.0.get_mut(&old).map(|data| data.len += rng.below(100_000))),
                _ => drop(tree.0.insert(old, Data::draw(rng))),
            }
        }
        tree
    }

    /// As much of it as somebody may have already: some files, and of some the beginning.
    pub(super) fn part(&self, rng: &mut Rng) -> Self {
        let mut tree = self.clone();
        tree.0.retain(|_, _| rng.below(2) == 0);
        if let Some(some) = tree.any(rng) {
            tree.0.entry(some).and_modify(|data| data.len = rng.below(data.len));
        }
        tree
    }

    fn any(&self, rng: &mut Rng) -> Option<String> {
        let paths: Vec<&String> = self.0.keys().collect();
        rng.pick(&paths).map(|path| (*path).clone())
    }

    pub(super) fn data(&self) -> BTreeSet<Data> {
        self.0.values().copied().collect()
    }

    /// Bytes of all its files.
    pub(super) fn len(&self) -> u64 {
        self.0.values().map(|data| data.len).sum()
    }

    /// Makes the folder, which holds `before`, hold this; a file that only has another
    /// path is moved.
    pub(super) fn write(&self, folder: &Path, before: &Self) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut left = before.0.clone();
        left.retain(|path, _| !self.0.contains_key(path));
        for (path, data) in self.0.iter().filter(|(path, data)| before.0.get(*path) != Some(data)) {
            let to = folder.join(path);
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            match left.iter().find(|(_, old)| *old == data).map(|(old, _)| old.clone()) {
                Some(old) => {
                    fs::rename(folder.join(&old), &to)?;
                    left.remove(&old);
                }
                None => fs::write(&to, data.bytes())?,
            }
        }
        left.keys().try_for_each(|path| fs::remove_file(folder.join(path)))?;
        Ok(())
    }

    /// Fails unless the folder holds just this.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let found = files(folder)?;
        let wanted: BTreeSet<String> = self.0.keys().cloned().collect();
        ensure!(found == wanted, "{} holds {found:?}, not {wanted:?}", folder.display());
        self.0.iter().try_for_each(|(path, data)| {
            ensure!(data.is_at(&folder.join(path))?, "{path} in {} has wrong bytes", folder.display());
            Ok(())
        })
    }

    /// What the folder holds that held `before`, and to which this was being fetched: each
    /// file is what it was, or what it is to be, and none of them went.
    pub(super) fn check_part(&self, folder: &Path, before: &Self) -> Result<Self> {
        let mut now = Self::default();
        for path in files(folder)? {
            let possible = [self.0.get(&path), before.0.get(&path)].into_iter().flatten();
            let mut found = None;
            for data in possible {
                if data.is_at(&folder.join(&path))? {
                    found = Some(*data);
                    break;
                }
            }
            let Some(found) = found else {
                bail!("{path} in {} is neither what it was nor what it is to be", folder.display());
            };
            now.0.insert(path, found);
        }
        let gone: Vec<&String> = before.0.keys().filter(|path| !now.0.contains_key(*path)).collect();
        ensure!(gone.is_empty(), "{} lost {gone:?}", folder.display());
        Ok(now)
    }

    /// Bytes of its files whose blocks lie neither in one of the folders, at their
    /// place, nor in another file of it that does.
    pub(super) fn missing(&self, folders: &[PathBuf]) -> u64 {
        let mut there = BTreeMap::new();
        for (path, data) in &self.0 {
            let bytes = data.bytes();
            let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
            for folder in folders {
                let Ok(found) = fs::read(folder.join(path)) else { continue };
                for (number, wanted) in bytes.chunks(block).enumerate() {
                    let from = number * block;
                    if found.get(from..from + wanted.len()) == Some(wanted) {
                        there.insert((*data, number), wanted.len() as u64);
                    }
                }
            }
        }
        let of_all: u64 = self.data().iter().map(|data| data.len).sum();
        of_all - there.values().sum::<u64>()
    }
}

fn path(rng: &mut Rng) -> String {
    let folder = ["", "deep/", "deep/er/", "other/"][usize::try_from(rng.below(4)).unwrap_or(0)];
    format!("{folder}{:04}", rng.below(10_000))
}

/// Paths of the files below a folder, which need not be there.
fn files(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&relative)) else { continue };
        for entry in entries {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                found.insert(path.to_str().context("a name that is not ours")?.to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_what_is_written_and_a_difference_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        let (mut rng, mut now) = (Rng::new(1), Tree::default());
        for round in 0..20 {
            let next = if round % 5 == 0 { Tree::draw(&mut rng) } else { now.changed(&mut rng) };
            next.write(&folder, &now).unwrap();
            next.check(&folder).unwrap();
            now = next;
        }
        assert_eq!(now.missing(std::slice::from_ref(&folder)), 0);
        let (path, data) = now.0.iter().find(|(_, data)| data.len > 0).map(|(p, d)| (p.clone(), *d)).unwrap();
        let mut bytes = data.bytes();
        bytes[0] ^= 1;
        fs::write(folder.join(&path), bytes).unwrap();
        assert!(now.check(&folder).is_err() && now.check_part(&folder, &now).is_err());
        assert!(now.missing(std::slice::from_ref(&folder)) > 0);
        fs::remove_file(folder.join(&path)).unwrap();
        assert!(now.check(&folder).is_err() && now.check_part(&folder, &now).is_err());
        assert!(now.check_part(&folder, &Tree::default()).is_ok(), "it has not come yet");
    }
}
