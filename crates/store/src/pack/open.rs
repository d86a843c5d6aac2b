//! Opening the packs of a repository after a clean end, a crash or damage.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::active::Active;
use super::file::{Pack, Scanned, path_of, scan};
use super::record::Entry;
use super::set::PackSet;
use super::{FORMAT, HEAD_BYTES, HEAD_LEN, decode_head, encode_head, index};
use crate::config::Config;
use crate::disk::{self, Access, Disk};
use crate::error::OpenError;
use crate::key::RepoKey;
use crate::notice::{OpenReport, Opening};

/// The index of the active pack as the cache remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) pack: u32,
    /// Bytes of the pack that it covers.
    pub(crate) end: u64,
    pub(crate) entries: Vec<Entry>,
}

struct Listing {
    sealed: BTreeSet<u32>,
    active: BTreeSet<u32>,
}

fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Listing> {
    let mut out = Listing { sealed: BTreeSet::new(), active: BTreeSet::new() };
    for (name, _) in disk.list(dir)? {
        let path = dir.join(name);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        let Some(id) = u32::from_str_radix(stem, 16).ok().filter(|_| stem.len() == 8) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("pack") => drop(out.sealed.insert(id)),
            Some("active") => drop(out.active.insert(id)),
            Some("tmp") => disk.remove(&path)?,
            _ => {}
        }
    }
    Ok(out)
}

/// The key in the head of any pack: for when the journal is gone. If none can be read
/// that is a failure, as the packs may have one.
pub(crate) fn find_key(disk: &dyn Disk, dir: &Path) -> io::Result<Option<RepoKey>> {
    let listing = match list(disk, dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let names = listing.sealed.iter().map(|id| (*id, "pack"));
    let mut failed = None;
    for (id, extension) in names.chain(listing.active.iter().map(|id| (*id, "active"))) {
        let file = disk.open(&path_of(dir, id, extension), Access::Read);
        match file.and_then(|file| disk::read_up_to(&*file, 0, HEAD_LEN)) {
            Ok(head) => {
                if let Some((_, _, key)) = decode_head(&head) {
                    return Ok(Some(key));
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Opens all packs below `dir`. Damage is got around and told in `report`. Also
/// returns the pack and the number of entries for which the checkpoint was used.
pub(crate) fn open(
    dir: &Path,
    key: RepoKey,
    config: &Config,
    checkpoint: Option<Checkpoint>,
    report: &mut OpenReport,
) -> Result<(PackSet, (u32, usize)), OpenError> {
    let failed = |source| OpenError::Io { path: dir.to_path_buf(), source };
    disk::create_dirs(&*config.disk, dir).map_err(failed)?;
    let listing = list(&*config.disk, dir).map_err(failed)?;
    let mut packs = Vec::new();
    for id in &listing.sealed {
        packs.push(open_sealed(dir, *id, key, config, report)?);
    }
    let replaced: BTreeSet<u32> =
        packs.iter().filter_map(|pack| pack.disk.as_ref()).flat_map(|disk| disk.replaced.clone()).collect();
    packs.retain(|pack| !replaced.contains(&pack.id));
    let mut next_id = listing.sealed.iter().chain(&listing.active).max().map_or(1, |id| id.saturating_add(1));
    let mut checkpoint = checkpoint;
    let (mut active, mut checkpointed) = (None, (0, 0));
    // A power cut may have taken the last name of a pack that was replaced: what it took
    // now would go with it.
    let actives: Vec<u32> = listing.active.difference(&replaced).copied().collect();
    for id in &actives {
        let checkpoint = checkpoint.take_if(|c| c.pack == *id);
        let (found, known) = open_active(dir, *id, key, config, checkpoint, report)?;
        if Some(id) == actives.last() {
            active = Some(found);
            checkpointed = if known > 0 { (*id, known) } else { (0, 0) };
        } else {
            packs.push(Arc::new(found.freeze(config.verify)));
        }
    }
    let active = match active {
        Some(active) => active,
        None => {
            next_id += 1;
            Active::create(&*config.disk, dir, next_id - 1, key).map_err(failed)?
        }
    };
    packs.sort_by_key(|pack| pack.id);
    let mut set = PackSet::new(dir, key, config, active, packs.into_iter().collect(), next_id);
    let named = [(&listing.sealed, "pack"), (&listing.active, "active")];
    let old =
        named.map(|(ids, extension)| ids.intersection(&replaced).map(move |id| path_of(dir, *id, extension)));
    set.replaced = old.into_iter().flatten().collect();
    // A disk too full for the index of an old pack keeps no one from reading.
    drop(set.seal_all());
    Ok((set, checkpointed))
}

fn open_sealed(
    dir: &Path,
    id: u32,
    key: RepoKey,
    config: &Config,
    report: &mut OpenReport,
) -> Result<Arc<Pack>, OpenError> {
    let path = path_of(dir, id, "pack");
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let file = config.disk.open(&path, Access::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let head = disk::read_up_to(&*file, 0, HEAD_LEN).map_err(failed)?;
    let head = decode_head(&head);
    if let Some((found, ..)) = head
        && found > FORMAT
    {
        return Err(OpenError::TooNew { path, found });
    }
    // A damaged head leaves the index in doubt only if the key could be another.
    let ours = head.is_none_or(|(_, _, found)| found == key);
    if ours && let Some(disk) = index::open(&*file, id, len).map_err(failed)? {
        return Ok(Arc::new(Pack::sealed(id, file, disk, false, config.verify)));
    }
    (config.opening)(&Opening::ReadingPack(path.clone()));
    let Scanned { entries, damage, end } =
        scan(&*file, key, HEAD_BYTES, len, config.verify).map_err(failed)?;
    report.rebuilt_packs.push(path);
    report.scanned_records += entries.len() as u64;
    report.damaged_bytes += damage.iter().map(|(from, to)| to - from).sum::<u64>();
    let mut pack = Pack::frozen(id, file, entries, end, config.verify);
    pack.damaged = true;
    Ok(Arc::new(pack))
}

/// The unsealed pack, and how many of its entries come from the checkpoint.
fn open_active(
    dir: &Path,
    id: u32,
    key: RepoKey,
    config: &Config,
    checkpoint: Option<Checkpoint>,
    report: &mut OpenReport,
) -> Result<(Active, usize), OpenError> {
    let path = path_of(dir, id, "active");
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let file = config.disk.open(&path, Access::Write).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let head = disk::read_up_to(&*file, 0, HEAD_LEN).map_err(failed)?;
    match decode_head(&head) {
        Some((found, ..)) if found > FORMAT => return Err(OpenError::TooNew { path, found }),
        Some((_, found, found_key)) if found == id && found_key == key => {}
        _ => file.write_at(0, &encode_head(id, key)).map_err(failed)?,
    }
    let known = checkpoint.filter(|c| (HEAD_BYTES..=len).contains(&c.end)).unwrap_or_default();
    let from = known.end.max(HEAD_BYTES);
    let scanned = scan(&*file, key, from, len, config.verify).map_err(failed)?;
    report.scanned_records += scanned.entries.len() as u64;
    report.damaged_bytes += scanned.damage.iter().map(|(from, to)| to - from).sum::<u64>();
    if len > scanned.end {
        file.set_len(scanned.end).map_err(failed)?;
        report.cut_bytes += len - scanned.end;
    }
    let mut entries = known.entries;
    let of_checkpoint = entries.len();
    entries.extend(scanned.entries);
    Ok((Active::with_entries(id, file, entries, scanned.end), of_checkpoint))
}
