//! Sharded folders: of many entries, one in another, with names that fall
//! into the same buckets level after level.

use anyhow::{Result, ensure};

use super::{Folder, Inputs, Size, long_name};

/// Entries with names of 240 bytes that make a folder be sharded in both
/// profiles.
const ENOUGH: usize = 1000;

/// Names that are tried in search of those that fall into the same buckets:
/// among 2^21 some two should have 40 bits of the hash in common.
const TRIED: u32 = 1 << 21;

/// Levels at which names share the bucket.
const LEVELS: u32 = 5;

pub(super) fn generate(inputs: &mut Inputs<'_>) -> Result<()> {
    let mut numbered = inputs.folder("7000 numbered files", Size::Any)?;
    for i in 0..7000 {
        numbered.file(&format!("{i:05}"), &vec![b'x'; i % 20])?;
    }
    let mut wide = inputs.folder("sharded with wide names", Size::Any)?;
    for i in 0..ENOUGH {
        let first = ['豈', '😀', 'é', 'z'][i % 4];
        wide.file(&format!("{first}{}{i}", "語".repeat(78)), b"")?;
    }
    let links = inputs.folder("sharded symlinks", Size::Any)?;
    for i in 0..ENOUGH {
        links.symlink(&long_name(i, 240), &format!("{}", i / 2))?;
    }
    let mut outer = inputs.folder("sharded in sharded", Size::Any)?;
    large(&mut outer)?;
    for i in 0..100 {
        outer.folder(&format!("folder {i}"))?.file("inside", &[b'x'; 100])?;
    }
    large(&mut outer.folder("inner")?.folder("and once more")?)?;
    let mut collisions = inputs.folder("buckets within buckets", Size::Any)?;
    large(&mut collisions)?;
    for (one, other) in collisions_by_level()? {
        collisions.names([&*one, &other])?;
    }
    let subfolders = inputs.folder("1000 folders", Size::Subfolders)?;
    for i in 0..ENOUGH {
        subfolders.folder(&long_name(i, 240))?.file("inside", b"")?;
    }
    Ok(())
}

pub(super) fn large(folder: &mut Folder) -> Result<()> {
    (0..ENOUGH).try_for_each(|i| folder.file(&long_name(i, 240), &vec![b'x'; i % 30 * 10]))
}

/// Two names for each number of levels, whose hashes have that many bytes in
/// common and not one more.
fn collisions_by_level() -> Result<Vec<(String, String)>> {
    let name = |i: u32| format!("collides {i}");
    let mut hashes: Vec<(u64, u32)> = (0..TRIED).map(|i| (hash(&name(i)), i)).collect();
    hashes.sort_unstable();
    let mut found: Vec<(String, String)> = Vec::new();
    for level in 1..=LEVELS {
        let pair = hashes.windows(2).find(|pair| (pair[0].0 ^ pair[1].0).leading_zeros() / 8 == level);
        found.extend(pair.map(|pair| (name(pair[0].1), name(pair[1].1))));
    }
    ensure!(found.len() == LEVELS as usize, "only {} levels of collisions", found.len());
    Ok(found)
}

/// The 64 bits that place a name, the first level by the highest eight.
fn hash(name: &str) -> u64 {
    let wide = murmur3::murmur3_x64_128(&mut name.as_bytes(), 0).expect("memory can be read");
    let [a, b, c, d, e, f, g, h, ..] = wide.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
