//! Finding users' files again that were moved: which of them are not where they
//! were, and whether what lies elsewhere has every byte that references speak of.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Multihash;
use crate::beneath::open_beneath;
use crate::error::{ReadError, WriteError};
use crate::facts::{Fact, FileId, Seen, TreeId};
use crate::ledger::check_path;
use crate::openfiles::OpenFiles;
use crate::pack::dropped::is_dropped;
use crate::pack::record::{Entry, Kind, Record, Reference};
use crate::pack::scan::Window;
use crate::pack::set::lock;
use crate::stat::Stat;
use crate::store::{Inner, Store};
use crate::userfile::read_block;

/// Candidates that are open at a time. 64: pieces of one file mostly follow one another.
const OPEN_CANDIDATES: usize = 64;

/// Files that are looked at while others wait for the journal. 256: as long as
/// [`files_in`](Store::files_in) takes.
const FILES_AT_ONCE: usize = 256;

/// References between two tellings of progress. 1,024: with megabytes each, a second.
const TOLD_EACH: u64 = 1024;

/// A file of the user's that cannot be opened where it was, or has another size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// Its id.
    pub id: FileId,
    /// Its tree.
    pub tree: TreeId,
    /// The base of the tree, absolute.
    pub base: PathBuf,
    /// Where it was, relative to the base; empty if the base is the file.
    pub path: PathBuf,
    /// What it was when its blocks were known to be right.
    pub seen: Stat,
}

/// A place where a lost file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The lost file.
    pub file: FileId,
    /// The place, absolute. Its last component is not followed if it is a symlink.
    pub path: PathBuf,
}

/// What [`Store::compare_lost`] found of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The candidate.
    pub candidate: Candidate,
    /// What the system says of the file there, if it did not change meanwhile and
    /// has every piece that a reference to the lost file speaks of; there is one.
    pub right: Option<Stat>,
}

/// A candidate while it is compared.
struct Trial {
    candidate: Candidate,
    /// When it was opened first.
    stat: Option<Stat>,
    pieces: u64,
    wrong: bool,
}

impl Trial {
    fn open(&self) -> io::Result<(File, Stat)> {
        let file = open_beneath(&self.candidate.path, Path::new(""))?;
        let stat = Stat::of(&file.metadata()?);
        Ok((file, stat))
    }

    fn end(self) -> Compared {
        let right = self.stat.filter(|_| self.pieces > 0 && !self.wrong);
        let still = |stat: &Stat| self.open().is_ok_and(|(_, now)| now == *stat);
        let right = right.filter(still);
        Compared { right, candidate: self.candidate }
    }
}

impl Store {
    /// Files, from the id `from` on, that cannot be opened where they were or have
    /// another size, at most `limit`, and the id from which to look on. Empty ones,
    /// which nobody needs, are left out, and those of which nothing was recorded, as
    /// of a fetch that was not finished.
    ///
    /// # Errors
    /// The disk's, but for users' files.
    pub fn lost_files(
        &self,
        from: FileId,
        limit: usize,
    ) -> Result<(Vec<LostFile>, Option<FileId>), ReadError> {
        let (mut lost, mut next) = (Vec::new(), Some(from));
        while let Some(from) = next.filter(|_| lost.len() < limit) {
            let found = lock(&self.inner.ledger).files_from(from, FILES_AT_ONCE.min(limit - lost.len()))?;
            next = found.last().and_then(|file| file.id.0.checked_add(1)).map(FileId);
            lost.extend(found.into_iter().filter(|file| self.is_lost(file)));
        }
        Ok((lost, next))
    }

    fn is_lost(&self, file: &LostFile) -> bool {
        if file.seen.size == 0 {
            return false;
        }
        let opened = open_beneath(&file.base, &file.path).and_then(|opened| opened.metadata());
        opened.map_or(true, |meta| meta.len() != file.seen.size)
    }

    /// Compares candidates with the references to the lost files, byte by byte, and
    /// tells how many references it has looked at. Stops early if `tell` breaks, and
    /// then nothing is right.
    ///
    /// # Errors
    /// The disk's, but for users' files.
    pub fn compare_lost(
        &self,
        candidates: Vec<Candidate>,
        tell: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Compared>, ReadError> {
        let trial = |candidate| Trial { candidate, stat: None, pieces: 0, wrong: false };
        let mut trials = Trials {
            of_file: HashMap::new(),
            trials: candidates.into_iter().map(trial).collect(),
            open: OpenFiles::new(OPEN_CANDIDATES),
        };
        for (number, trial) in trials.trials.iter().enumerate() {
            trials.of_file.entry(trial.candidate.file).or_default().push(number);
        }
        let stopped = self.inner.for_each_reference(&mut trials, tell)?.is_break();
        if stopped {
            trials.trials.iter_mut().for_each(|trial| trial.wrong = true);
        }
        Ok(trials.trials.into_iter().map(Trial::end).collect())
    }

    /// Says that a file is elsewhere now, in this tree by this path relative to its
    /// base. Buffered until [`commit`](Self::commit).
    ///
    /// # Errors
    /// An unknown file or tree, a path over 4,096 bytes, or the disk's.
    pub fn move_file(
        &self,
        file: FileId,
        tree: TreeId,
        path: &Path,
        seen: Option<Seen>,
    ) -> Result<(), WriteError> {
        check_path(path)?;
        let mut ledger = lock(&self.inner.ledger);
        if !ledger.has_tree(tree) {
            return Err(WriteError::Unknown { what: "tree", id: tree.0 });
        }
        if !ledger.has_file(file)? {
            return Err(WriteError::Unknown { what: "file", id: file.0 });
        }
        ledger.add(Fact::FileAdded(file, tree, path.to_path_buf(), seen))?;
        self.inner.users.close(file);
        Ok(())
    }
}

struct Trials {
    /// Numbers of the candidates of each lost file.
    of_file: HashMap<FileId, Vec<usize>>,
    trials: Vec<Trial>,
    open: OpenFiles<usize, File>,
}

impl Trials {
    /// Compares what the candidates have of one piece.
    fn compare(&mut self, inner: &Inner, mh: &Multihash, reference: &Reference) {
        let Some(numbers) = self.of_file.get(&reference.file) else { return };
        for number in numbers {
            let trial = &mut self.trials[*number];
            if trial.wrong {
                continue;
            }
            let file = match self.open.take(*number) {
                Some(file) => file,
                None => match trial.open() {
                    Ok((file, stat)) if *trial.stat.get_or_insert(stat) == stat => Arc::new(file),
                    _ => {
                        trial.wrong = true;
                        continue;
                    }
                },
            };
            let right = read_block(&file, reference)
                .is_ok_and(|block| block.is_some_and(|block| (inner.config.verify)(mh, &[&block])));
            if right {
                trial.pieces += 1;
                self.open.put(*number, file);
            } else {
                trial.wrong = true;
            }
        }
    }
}

impl Inner {
    fn for_each_reference(
        &self,
        trials: &mut Trials,
        tell: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let active = self.packs.active_snapshot()?;
        let packs = self.packs.packs();
        // One that was sealed in between is looked at once.
        let active = Some(&active).filter(|active| packs.iter().all(|pack| pack.id != active.id));
        let mut seen = 0;
        for pack in packs.iter().map(AsRef::as_ref).chain(active) {
            let mut chosen = |entry: Entry| Ok(entry.kind() == Some(Kind::Reference));
            let dropped = self.packs.dropped.of(pack.id);
            let mut window = Window::new(&*pack.file, pack.records_end);
            for entry in pack.entries_that(self.key, &self.packs.scratch, &mut chosen)? {
                let entry = entry?;
                seen += 1;
                if seen % TOLD_EACH == 0 && tell(seen).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if is_dropped(&dropped, entry) {
                    continue;
                }
                let Some(record) = Record::decode(window.record(u64::from(entry.offset))?) else { continue };
                if let Some(reference) = Reference::decode(record.body) {
                    trials.compare(self, &record.mh, &reference);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
