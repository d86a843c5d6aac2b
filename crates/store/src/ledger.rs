//! What the journal says, in memory, and every change to it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use peerage_content::Cid;

use crate::error::WriteError;
use crate::facts::{Download, DownloadId, Fact, FileId, Pin, PinKind, Root, RootId, Seen, TreeId};
use crate::io::{Stat, path_bytes, path_from};
use crate::journal::{Journal, JournalError};
use crate::key::RepoKey;
use crate::notice::OpenReport;

/// Ids reserved at a time. 4,096: one small record per that many files.
const ID_STEP: u64 = 4096;

/// Dead records beyond which the journal is rewritten, if they are also most of it.
const MIN_DEAD: usize = 4096;

#[derive(Debug)]
struct FileEntry {
    tree: TreeId,
    path: Box<[u8]>,
    stat: Option<Stat>,
    /// As bytes: a third of what a `Cid` takes, and there are many files.
    root: Option<Box<[u8]>>,
}

impl FileEntry {
    fn see(&mut self, seen: Seen) {
        self.stat = Some(seen.stat);
        self.root = seen.root.map(|root| root.to_bytes().into());
    }

    fn seen(&self) -> Option<Seen> {
        let root = self.root.as_deref().and_then(|root| Cid::try_from(root).ok());
        Some(Seen { stat: self.stat?, root })
    }
}

/// The state that the journal's records add up to.
#[derive(Debug, Default)]
pub(crate) struct State {
    trees: BTreeMap<TreeId, PathBuf>,
    files: BTreeMap<FileId, FileEntry>,
    pins: BTreeMap<(Vec<u8>, PinKind), Pin>,
    roots: BTreeMap<RootId, Root>,
    downloads: BTreeMap<DownloadId, Download>,
    dropped: BTreeMap<(u32, u32), u64>,
    reserved: u64,
    /// Whether any file id was ever given up: then a reference may be dead.
    any_removed: bool,
}

impl State {
    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::IdsReserved(next) => self.reserved = self.reserved.max(next),
            Fact::TreeAdded(id, base) => drop(self.trees.insert(id, base)),
            Fact::TreeRemoved(id) => {
                self.any_removed = true;
                self.trees.remove(&id);
                self.files.retain(|_, file| file.tree != id);
            }
            Fact::FileAdded(id, tree, path, seen) => {
                let path = path_bytes(&path).into();
                let mut file = FileEntry { tree, path, stat: None, root: None };
                if let Some(seen) = seen {
                    file.see(seen);
                }
                self.files.insert(id, file);
            }
            Fact::FileSeen(id, seen) => {
                if let Some(file) = self.files.get_mut(&id) {
                    file.see(seen);
                }
            }
            Fact::FileRemoved(id) => {
                self.any_removed = true;
                self.files.remove(&id);
            }
            Fact::PinAdded(pin) => drop(self.pins.insert((pin.cid.to_bytes(), pin.kind), pin)),
            Fact::PinRemoved(cid, kind) => drop(self.pins.remove(&(cid.to_bytes(), kind))),
            Fact::RootAdded(id, root) => drop(self.roots.insert(id, root)),
            Fact::RootRemoved(id) => drop(self.roots.remove(&id)),
            Fact::DownloadStarted(id, download) => drop(self.downloads.insert(id, download)),
            Fact::DownloadEnded(id) => drop(self.downloads.remove(&id)),
            Fact::LocationDropped(pack, offset, key) => drop(self.dropped.insert((pack, offset), key)),
        }
    }

    fn records(&self) -> usize {
        self.trees.len()
            + self.files.len()
            + self.pins.len()
            + self.roots.len()
            + self.downloads.len()
            + self.dropped.len()
    }

    /// The shortest journal that says the same.
    fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        let trees = self.trees.iter().map(|(id, base)| Fact::TreeAdded(*id, base.clone()));
        let files = self
            .files
            .iter()
            .map(|(id, file)| Fact::FileAdded(*id, file.tree, path_from(file.path.to_vec()), file.seen()));
        let pins = self.pins.values().cloned().map(Fact::PinAdded);
        let roots = self.roots.iter().map(|(id, root)| Fact::RootAdded(*id, root.clone()));
        let downloads = self.downloads.iter().map(|(id, d)| Fact::DownloadStarted(*id, d.clone()));
        let dropped = self.dropped.iter().map(|((p, o), key)| Fact::LocationDropped(*p, *o, *key));
        // The removal of nothing keeps `any_removed`.
        let removed = self.any_removed.then_some(Fact::FileRemoved(FileId(u64::MAX)));
        std::iter::once(Fact::IdsReserved(self.reserved))
            .chain(removed)
            .chain(trees)
            .chain(files)
            .chain(pins)
            .chain(roots)
            .chain(downloads)
            .chain(dropped)
    }
}

/// Journal and state, changed together.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    state: State,
    next_id: u64,
    appended: usize,
}

impl Ledger {
    /// From a journal's file, which is created if it is not there. `known_key` is
    /// the repository's key if that is new or damaged.
    pub(crate) fn open(
        path: &Path,
        known_key: impl FnOnce() -> io::Result<RepoKey>,
        report: &mut OpenReport,
    ) -> Result<(Self, RepoKey), JournalError> {
        let take = |state: &mut State, _at, payload: &[u8]| {
            let fact = Fact::decode(payload);
            Ok(fact.map(|fact| state.apply(fact)).is_some())
        };
        let (journal, key, replay) = Journal::open(path, known_key, |_| State::default(), take)?;
        report.journal_cut_bytes = replay.cut_bytes;
        report.journal_copied_to = replay.copied_to;
        let state = replay.state;
        // A damaged reservation must not lead to an id given twice.
        let used = [
            state.trees.last_key_value().map(|(id, _)| id.0),
            state.files.last_key_value().map(|(id, _)| id.0),
            state.roots.last_key_value().map(|(id, _)| id.0),
            state.downloads.last_key_value().map(|(id, _)| id.0),
        ];
        let next_id =
            used.into_iter().flatten().map(|id| id + 1).max().unwrap_or(1).max(state.reserved).max(1);
        Ok((Self { journal, state, next_id, appended: replay.records }, key))
    }

    /// Records a fact and acts on it. It waits in memory; see [`flush`](Self::flush).
    pub(crate) fn add(&mut self, fact: Fact) -> Result<(), WriteError> {
        let payload = fact.encode();
        let limit = crate::config::MAX_JOURNAL_RECORD;
        if payload.len() > limit {
            return Err(WriteError::TooLong { what: "record", len: payload.len(), limit });
        }
        self.journal.append(&payload)?;
        self.appended += 1;
        self.state.apply(fact);
        Ok(())
    }

    /// An id that no repository with this journal has given before.
    pub(crate) fn new_id(&mut self) -> Result<u64, WriteError> {
        if self.next_id >= self.state.reserved {
            self.add(Fact::IdsReserved(self.next_id + ID_STEP))?;
            // Before anything can refer to such an id from a pack.
            self.journal.flush()?;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.journal.flush()?)
    }

    /// Flushes and gives a handle to sync.
    pub(crate) fn flushed_handle(&mut self) -> Result<std::fs::File, WriteError> {
        self.journal.flush()?;
        Ok(self.journal.handle()?)
    }

    /// Rewrites the journal if it is mostly dead.
    pub(crate) fn compact_if_dead(&mut self) -> Result<bool, WriteError> {
        let live = self.state.records();
        let dead = self.appended.saturating_sub(live);
        if dead < MIN_DEAD || dead < live {
            return Ok(false);
        }
        self.compact()?;
        Ok(true)
    }

    /// Rewrites the journal.
    pub(crate) fn compact(&mut self) -> Result<(), WriteError> {
        let mut rewrite = self.journal.rewrite()?;
        self.state.facts().try_for_each(|fact| rewrite.append(&fact.encode()))?;
        self.journal.replace(rewrite)?;
        self.appended = self.state.records();
        Ok(self.journal.sync_name()?)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    pub(crate) fn has_tree(&self, id: TreeId) -> bool {
        self.state.trees.contains_key(&id)
    }

    pub(crate) fn has_file(&self, id: FileId) -> bool {
        self.state.files.contains_key(&id)
    }

    pub(crate) fn has_files_in(&self, tree: TreeId) -> bool {
        self.state.files.values().any(|file| file.tree == tree)
    }

    pub(crate) fn any_removed(&self) -> bool {
        self.state.any_removed
    }

    /// Base and relative path of a file.
    pub(crate) fn file(&self, id: FileId) -> Option<(PathBuf, PathBuf)> {
        let file = self.state.files.get(&id)?;
        let base = self.state.trees.get(&file.tree)?;
        Some((base.clone(), path_from(file.path.to_vec())))
    }

    pub(crate) fn seen(&self, id: FileId) -> Option<Seen> {
        self.state.files.get(&id)?.seen()
    }

    pub(crate) fn files_of(&self, tree: TreeId) -> Vec<(FileId, PathBuf)> {
        let files = self.state.files.iter().filter(|(_, file)| file.tree == tree);
        files.map(|(id, file)| (*id, path_from(file.path.to_vec()))).collect()
    }

    pub(crate) fn trees(&self) -> Vec<(TreeId, PathBuf)> {
        self.state.trees.iter().map(|(id, base)| (*id, base.clone())).collect()
    }

    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.state.pins.values().cloned().collect()
    }

    pub(crate) fn has_pin(&self, cid: &Cid, kind: PinKind) -> bool {
        self.state.pins.contains_key(&(cid.to_bytes(), kind))
    }

    pub(crate) fn roots(&self) -> Vec<(RootId, Root)> {
        self.state.roots.iter().map(|(id, root)| (*id, root.clone())).collect()
    }

    pub(crate) fn root(&self, id: RootId) -> Option<&Root> {
        self.state.roots.get(&id)
    }

    pub(crate) fn downloads(&self) -> Vec<(DownloadId, Download)> {
        self.state.downloads.iter().map(|(id, download)| (*id, download.clone())).collect()
    }

    pub(crate) fn has_download(&self, id: DownloadId) -> bool {
        self.state.downloads.contains_key(&id)
    }

    pub(crate) fn dropped(&self) -> &BTreeMap<(u32, u32), u64> {
        &self.state.dropped
    }

    /// Forgets dropped locations of packs that are gone; at the next rewrite
    /// of the journal their records go too.
    pub(crate) fn forget_dropped(&mut self, gone: impl Fn(u32) -> bool) {
        self.state.dropped.retain(|(pack, _), _| !gone(*pack));
    }

    pub(crate) fn files(&self) -> usize {
        self.state.files.len()
    }
}

/// Checks what a caller gave as a path.
pub(crate) fn check_path(path: &Path) -> Result<(), WriteError> {
    let (len, limit) = (path_bytes(path).len(), crate::config::MAX_PATH_BYTES);
    if len > limit { Err(WriteError::TooLong { what: "path", len, limit }) } else { Ok(()) }
}
