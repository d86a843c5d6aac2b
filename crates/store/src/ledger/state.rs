//! What the records add up to, and the shortest journal that says the same.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::facts::{Download, DownloadId, Fact, FileId, Pin, PinKind, Root, RootId, TreeId};
use crate::files::FileTable;
use crate::pack::dropped::Dropped;

/// The state that the journal's records add up to.
#[derive(Debug)]
pub(super) struct State {
    pub(super) trees: BTreeMap<TreeId, PathBuf>,
    pub(super) files: FileTable,
    pub(super) pins: BTreeMap<(Vec<u8>, PinKind), Pin>,
    pub(super) roots: BTreeMap<RootId, Root>,
    pub(super) downloads: BTreeMap<DownloadId, Download>,
    pub(super) dropped: Arc<Dropped>,
    pub(super) reserved: u64,
    /// The highest id in any record.
    pub(super) last_id: u64,
    /// Whether any file id was ever given up: then a reference may be dead.
    pub(super) any_removed: bool,
}

impl State {
    pub(super) fn new(files: FileTable) -> Self {
        Self {
            trees: BTreeMap::new(),
            files,
            pins: BTreeMap::new(),
            roots: BTreeMap::new(),
            downloads: BTreeMap::new(),
            dropped: Arc::default(),
            reserved: 0,
            last_id: 0,
            any_removed: false,
        }
    }

    /// Acts on a fact whose record begins at `at`.
    pub(super) fn apply(&mut self, fact: Fact, at: u64) -> io::Result<()> {
        if let Some(id) = new_id(&fact) {
            self.last_id = self.last_id.max(id);
        }
        match fact {
            Fact::IdsReserved(next) => self.reserved = self.reserved.max(next),
            Fact::TreeAdded(id, base) => drop(self.trees.insert(id, base)),
            Fact::TreeRemoved(id) => {
                self.any_removed = true;
                self.trees.remove(&id);
                self.files.end_tree(id, at);
            }
            Fact::FileAdded(id, tree, path, _) => self.files.add(id, tree, &path, at)?,
            Fact::FileSeen(id, _) => self.files.see(id, at)?,
            Fact::FileRemoved(id) => {
                self.any_removed = true;
                self.files.remove(id)?;
            }
            Fact::PinAdded(pin) => drop(self.pins.insert((pin.cid.to_bytes(), pin.kind), pin)),
            Fact::PinRemoved(cid, kind) => drop(self.pins.remove(&(cid.to_bytes(), kind))),
            Fact::RootAdded(id, root) => drop(self.roots.insert(id, root)),
            Fact::RootRemoved(id) => drop(self.roots.remove(&id)),
            Fact::DownloadStarted(id, download) => drop(self.downloads.insert(id, download)),
            Fact::DownloadEnded(id) => drop(self.downloads.remove(&id)),
            Fact::LocationDropped(pack, offset, key) => self.dropped.insert(pack, offset, key),
        }
        Ok(())
    }

    pub(super) fn records(&self) -> usize {
        self.trees.len()
            + self.files()
            + self.pins.len()
            + self.roots.len()
            + self.downloads.len()
            + self.dropped.len()
    }

    pub(super) fn files(&self) -> usize {
        usize::try_from(self.files.len()).unwrap_or(usize::MAX)
    }

    /// The shortest beginning of a journal that says the same, but for files and
    /// dropped locations.
    pub(super) fn facts_without_files(&self) -> impl Iterator<Item = Fact> + '_ {
        let trees = self.trees.iter().map(|(id, base)| Fact::TreeAdded(*id, base.clone()));
        // The removal of nothing keeps `any_removed`.
        let removed = self.any_removed.then_some(Fact::FileRemoved(FileId(u64::MAX)));
        let pins = self.pins.values().cloned().map(Fact::PinAdded);
        let roots = self.roots.iter().map(|(id, root)| Fact::RootAdded(*id, root.clone()));
        let downloads = self.downloads.iter().map(|(id, d)| Fact::DownloadStarted(*id, d.clone()));
        let first = std::iter::once(Fact::IdsReserved(self.reserved)).chain(removed).chain(trees);
        first.chain(pins).chain(roots).chain(downloads)
    }
}

/// The id that a fact gives a meaning to.
fn new_id(fact: &Fact) -> Option<u64> {
    match fact {
        Fact::TreeAdded(id, _) => Some(id.0),
        Fact::FileAdded(id, ..) => Some(id.0),
        Fact::RootAdded(id, _) => Some(id.0),
        Fact::DownloadStarted(id, _) => Some(id.0),
        _ => None,
    }
}
