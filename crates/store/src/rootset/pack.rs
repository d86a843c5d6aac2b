//! The sets of roots that are added together, in one file, so that a thousand of them
//! cost one sync and not one each.
//!
//! A head (magic, format, number of sets; of each set its root's id and where it
//! begins; CRC32C), then the sets, each as it is in a file of its own. The file stays
//! until the last of its roots is gone: what the others took is little.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{OpenSets, RootSet, RootSetBuilder, SetData, SetFile};
use crate::codec::Reader;
use crate::config::ROOTS_AT_ONCE;
use crate::disk::{self, Access, Disk};
use crate::facts::RootId;

const MAGIC: &[u8; 8] = b"PRGSETS\n";
const FORMAT: u32 = 1;
/// Magic, format, number of sets.
const FIXED_LEN: usize = 16;
/// An id and an offset.
const ENTRY_LEN: usize = 16;

fn head_len(sets: usize) -> usize {
    FIXED_LEN + sets * ENTRY_LEN + 4
}

pub(crate) fn encode_head(sets: &[(RootId, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head_len(sets.len()));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&u32::try_from(sets.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (id, at) in sets {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&at.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Writes the sets of these roots to `path`, synced.
pub(crate) fn write(
    path: &Path,
    sets: &[(RootId, &RootSetBuilder)],
    open: &Arc<OpenSets>,
) -> io::Result<Vec<RootSet>> {
    let Some((first, _)) = sets.first() else { return Ok(Vec::new()) };
    let temp = path.with_extension("tmp");
    let written = open.disk.open(&temp, Access::Anew).and_then(|file| {
        let mut at = head_len(sets.len()) as u64;
        let (mut places, mut written) = (Vec::new(), Vec::new());
        for (id, builder) in sets {
            let set = builder.0.merged(Arc::clone(&file), at)?;
            places.push((*id, at));
            at = set.end();
            written.push(set);
        }
        file.write_at(0, &encode_head(&places))?;
        file.sync()?;
        open.disk.rename(&temp, path)?;
        Ok(written)
    });
    if written.is_err() {
        // It takes room that is perhaps wanting.
        drop(disk::remove_if_there(&*open.disk, &temp));
    }
    // They share one open file.
    let named = |set| {
        let file = SetFile::Named(path.to_path_buf(), *first, Arc::clone(open));
        RootSet(Arc::new(SetData { file, ..set }))
    };
    Ok(written?.into_iter().map(named).collect())
}

/// Whose sets a file that begins like this has, and where they begin.
pub(crate) fn decode(bytes: &[u8]) -> Option<BTreeMap<RootId, u64>> {
    let sets = decode_fixed(bytes)?;
    decode_head(bytes.get(..head_len(sets))?)
}

/// Whose sets are in the file at `path`, and where they begin; none if that is
/// damaged, and then nobody knows.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<BTreeMap<RootId, u64>> {
    let file = disk.open(path, Access::Read)?;
    let fixed = disk::read_up_to(&*file, 0, FIXED_LEN)?;
    let Some(sets) = decode_fixed(&fixed) else { return Ok(BTreeMap::new()) };
    Ok(decode(&disk::read_up_to(&*file, 0, head_len(sets))?).unwrap_or_default())
}

fn decode_fixed(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader(bytes);
    let (magic, format, sets) = (reader.take(8)?, reader.u32()?, reader.u32()? as usize);
    (magic == MAGIC && format == FORMAT && sets <= ROOTS_AT_ONCE).then_some(sets)
}

fn decode_head(bytes: &[u8]) -> Option<BTreeMap<RootId, u64>> {
    let (summed, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc != crc32c::crc32c(summed).to_le_bytes() {
        return None;
    }
    let mut reader = Reader(summed.get(FIXED_LEN..)?);
    let mut sets = BTreeMap::new();
    while let (Some(id), Some(at)) = (reader.u64(), reader.u64()) {
        sets.insert(RootId(id), at);
    }
    Some(sets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Multihash;
    use crate::key::RepoKey;

    fn mh(n: u64) -> Multihash {
        Multihash::wrap(0x12, &n.to_le_bytes()).unwrap()
    }

    #[test]
    fn each_set_is_found_in_the_file_and_damage_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (key, system) = (RepoKey([1; 16]), disk::system());
        let open = Arc::new(OpenSets::new(&system, 2, &Arc::default()));
        let path = dir.path().join("7.roots");
        // Of no block, of several pages, of one.
        let sizes = [0, 1500, 3];
        let builders = sizes.map(|size| {
            let builder = RootSetBuilder::new(&system, key, dir.path().join("scratch"), &Arc::default());
            (0..size).for_each(|n| builder.insert(&mh(size * 10_000 + n)).unwrap());
            builder
        });
        let ids = [7, 8, 12].map(RootId);
        let sets: Vec<_> = ids.into_iter().zip(&builders).collect();
        let is_right = |set: &RootSet, size: u64| {
            set.len() == size
                && (0..size).all(|n| set.contains(&mh(size * 10_000 + n)))
                && !set.contains(&mh(size * 10_000 + size))
        };
        let written = write(&path, &sets, &open).unwrap();
        assert!(written.iter().zip(sizes).all(|(set, size)| is_right(set, size)));
        let find = |id: RootId| {
            let at = *read(&*system, &path).unwrap().get(&id)?;
            RootSet::open_at(&path, (ids[0], at), key, &open).unwrap()
        };
        for (id, size) in ids.into_iter().zip(sizes) {
            assert!(is_right(&find(id).unwrap(), size), "{size}");
        }
        assert!(find(RootId(9)).is_none());
        let good = fs::read(&path).unwrap();
        let start = head_len(3);
        for at in 0..start {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(ids.iter().all(|id| find(*id).is_none()), "byte {at}");
        }
        // In the second set: the first has no page.
        for at in [start + 32, start + 32 + 40, good.len() - 32 - 4096 - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(find(ids[0]).is_some() && find(ids[1]).is_none() && find(ids[2]).is_some(), "byte {at}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(find(ids[1]).is_some() && find(ids[2]).is_none());
        fs::write(&path, &good[..10]).unwrap();
        assert!(find(ids[0]).is_none());
    }
}
