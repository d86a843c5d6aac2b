//! Finding users' files again that were moved, when pointed at folders.
//!
//! What lies in the folders is a candidate for a lost file if it is the same file by
//! device, inode, size and time, or else if it has the size and, better, the name.
//! Which candidate it is, its bytes decide: the store compares each with every piece
//! that it refers to. No file of the user's is written to.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use peerage_store::{Candidate, Durability, FileId, LostFile, RootId, Seen, Stat, Store, TreeId};
use walkdir::WalkDir;

use crate::files::claims::{Claim, Claims};
use crate::peer::Peer;
use crate::places::RootChanges;
use crate::verify::VerifyError;

/// Lost files that are looked for at a time. 16,384: some megabytes, and one walk
/// through the folders and one pass over all references for each so many.
const LOST_AT_ONCE: usize = 16_384;

/// Places that are compared for one lost file. 4: one is right mostly, and all are read.
const PLACES_MAX: usize = 4;

/// Lost files of one size, or of one size and name, that a place is offered to. 16:
/// thousands of files may have the same size.
const OFFERED_MAX: usize = 16;

/// Folders within folders that are walked. 256: as deep as a tree may be to be shared.
const DEPTH_MAX: usize = 256;

/// Folders that are open at a time. 16: deeper ones are listed into memory.
const OPEN_FOLDERS: usize = 16;

/// Places between two tellings of progress.
const TOLD_EACH: u64 = 1024;

/// Something that [`Peer::find_moved`] came across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// So many files of the folders were looked at, or pieces compared.
    Progress {
        /// Files or pieces.
        done: u64,
    },
    /// A file, or a folder of so many, is elsewhere now.
    Moved {
        /// Where it was.
        from: PathBuf,
        /// Where it is.
        to: PathBuf,
        /// Files in it that were found.
        files: u64,
    },
    /// A folder of those to look in cannot be read.
    Unreadable {
        /// The folder, or what is in it.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
}

/// What [`Peer::find_moved`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoundAgain {
    /// Files that are read at their new places from now on.
    pub found: u64,
    /// Files that are in none of the folders.
    pub lost: u64,
}

impl Peer {
    /// Looks in `folders`, absolute and without symlinks, for files of the user's that
    /// are not where they were, and reads what it finds there from now on. Durable when
    /// this returns. Stops early if `tell` breaks.
    ///
    /// # Errors
    /// The disk's, but for users' files.
    pub async fn find_moved(
        &self,
        folders: Vec<PathBuf>,
        mut tell: impl FnMut(Finding) -> ControlFlow<()> + Send + 'static,
    ) -> Result<FoundAgain, VerifyError> {
        let claims = self.inner().claims.clone();
        let work = move || find_moved(&claims, &folders, &mut tell);
        let (sum, roots) = tokio::task::spawn_blocking(work).await.map_err(|_| VerifyError::Stopped)??;
        let moved = |changes: &mut RootChanges<'_>| {
            roots.into_iter().try_for_each(|(id, path)| changes.move_root(id, path))
        };
        self.with_roots(moved).await?;
        self.commit(Durability::Durable).await?;
        Ok(sum)
    }
}

/// Roots, and where they are now.
type MovedRoots = Vec<(RootId, PathBuf)>;

type Tell<'a> = &'a mut dyn FnMut(Finding) -> ControlFlow<()>;

fn find_moved(
    claims: &Claims,
    folders: &[PathBuf],
    tell: Tell<'_>,
) -> Result<(FoundAgain, MovedRoots), VerifyError> {
    let store = claims.store();
    let (mut sum, mut roots) = (FoundAgain::default(), Vec::new());
    let mut next = Some(FileId(0));
    while let Some(from) = next {
        let (lost, on) = store.lost_files(from, LOST_AT_ONCE)?;
        next = on;
        if lost.is_empty() {
            continue;
        }
        sum.lost += lost.len() as u64;
        let mut search = Search::of(&lost);
        if search.walk(folders, store.dir(), tell).is_break() {
            break;
        }
        let mut stopped = false;
        let compared = store.compare_lost(search.into_candidates(), &mut |done| {
            let flow = tell(Finding::Progress { done });
            stopped |= flow.is_break();
            flow
        })?;
        if stopped {
            break;
        }
        let mut found: BTreeMap<FileId, (PathBuf, Stat)> = BTreeMap::new();
        for one in compared {
            if let Some(stat) = one.right {
                found.entry(one.candidate.file).or_insert((one.candidate.path, stat));
            }
        }
        sum.lost -= found.len() as u64;
        sum.found += found.len() as u64;
        let files = lost.into_iter().filter_map(|lost| {
            let (path, stat) = found.remove(&lost.id)?;
            Some(Again { lost, path, stat })
        });
        let mut moving = Moving::new(claims);
        moving.all(files.collect(), tell)?;
        roots.extend(moving.end());
    }
    Ok((sum, roots))
}

/// Lost files by what is known of them, and the places where they may be.
struct Search<'a> {
    lost: &'a [LostFile],
    by_inode: HashMap<(u64, u64), Vec<usize>>,
    by_name: HashMap<(u64, OsString), Vec<usize>>,
    by_size: HashMap<u64, Vec<usize>>,
    /// Of each lost file, the likeliest first: what speaks for a place, and the place.
    places: Vec<Vec<(Likeness, PathBuf)>>,
}

/// What speaks for a place, the likeliest least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// The system says that it is the same file.
    SameFile,
    /// Size and name.
    Name,
    /// The size.
    Size,
}

impl<'a> Search<'a> {
    fn of(lost: &'a [LostFile]) -> Self {
        let mut search = Self {
            lost,
            by_inode: HashMap::new(),
            by_name: HashMap::new(),
            by_size: HashMap::new(),
            places: vec![Vec::new(); lost.len()],
        };
        for (number, file) in lost.iter().enumerate() {
            let Stat { device, inode, size, .. } = file.seen;
            search.by_inode.entry((device, inode)).or_default().push(number);
            search.by_size.entry(size).or_default().push(number);
            let name = file.path.file_name().or(file.base.file_name());
            if let Some(name) = name {
                search.by_name.entry((size, name.to_owned())).or_default().push(number);
            }
        }
        search
    }

    /// Looks at everything in the folders, but for the repository.
    fn walk(&mut self, folders: &[PathBuf], repository: &Path, tell: Tell<'_>) -> ControlFlow<()> {
        let mut done = 0;
        for folder in folders {
            let walk = WalkDir::new(folder).max_depth(DEPTH_MAX).max_open(OPEN_FOLDERS);
            for entry in walk.into_iter().filter_entry(|entry| entry.path() != repository) {
                done += 1;
                if done % TOLD_EACH == 0 {
                    tell(Finding::Progress { done })?;
                }
                let meta = entry.and_then(|entry| {
                    let meta = if entry.file_type().is_file() { Some(entry.metadata()?) } else { None };
                    Ok((entry.into_path(), meta))
                });
                match meta {
                    Ok((path, Some(meta))) => self.offer(&path, &Stat::of(&meta)),
                    Ok((_, None)) => {}
                    Err(error) => {
                        let path = error.path().unwrap_or(folder).to_path_buf();
                        let error = error.io_error().map_or_else(|| error.to_string(), io::Error::to_string);
                        tell(Finding::Unreadable { path, error })?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn offer(&mut self, path: &Path, stat: &Stat) {
        let (lost, places) = (self.lost, &mut self.places);
        let mut offer = |numbers: Option<&Vec<usize>>, likeness, fits: &dyn Fn(&Stat) -> bool| {
            for number in numbers.into_iter().flatten().take(OFFERED_MAX) {
                let places = &mut places[*number];
                let known = places.iter().any(|(_, place)| place == path);
                if !known && fits(&lost[*number].seen) {
                    places.push((likeness, path.to_path_buf()));
                    places.sort_by_key(|(likeness, _)| *likeness);
                    places.truncate(PLACES_MAX);
                }
            }
        };
        let same = |seen: &Stat| (seen.size, seen.mtime) == (stat.size, stat.mtime);
        offer(self.by_inode.get(&(stat.device, stat.inode)), Likeness::SameFile, &same);
        let name = path.file_name().unwrap_or_default().to_owned();
        offer(self.by_name.get(&(stat.size, name)), Likeness::Name, &|_| true);
        offer(self.by_size.get(&stat.size), Likeness::Size, &|_| true);
    }

    /// The likeliest first for each file. What the system calls the same file is the
    /// only place to look at.
    fn into_candidates(self) -> Vec<Candidate> {
        let of_file = |(file, places): (&LostFile, Vec<(Likeness, PathBuf)>)| {
            let same = places.first().is_some_and(|(likeness, _)| *likeness == Likeness::SameFile);
            let (file, some) = (file.id, if same { 1 } else { places.len() });
            places.into_iter().take(some).map(move |(_, path)| Candidate { file, path })
        };
        self.lost.iter().zip(self.places).flat_map(of_file).collect()
    }
}

/// A lost file, and where it is.
struct Again {
    lost: LostFile,
    path: PathBuf,
    stat: Stat,
}

impl Again {
    /// Where its tree's base is now, if it lies there by the same path as before.
    fn base(&self) -> Option<&Path> {
        let depth = self.lost.path.components().count();
        let base = self.path.ancestors().nth(depth).filter(|_| self.path.ends_with(&self.lost.path))?;
        (!self.lost.path.as_os_str().is_empty()).then_some(base)
    }

    /// The path that the user knew it by.
    fn was(&self) -> PathBuf {
        if self.lost.path.as_os_str().is_empty() {
            self.lost.base.clone()
        } else {
            self.lost.base.join(&self.lost.path)
        }
    }

    /// As it is now. The root of its DAG, of which nothing was compared, stays with
    /// what was not touched.
    fn seen(&self, known: Option<Seen>) -> Seen {
        known.filter(|known| known.stat == self.stat).unwrap_or(self.stat.into())
    }
}

/// Changes to what the store says of files, trees and roots.
struct Moving<'a> {
    store: &'a Store,
    claims: &'a Claims,
    claim: Claim,
    /// Roots whose place on the disk is gone.
    astray: BTreeMap<PathBuf, Vec<RootId>>,
    moved_roots: MovedRoots,
}

impl<'a> Moving<'a> {
    fn new(claims: &'a Claims) -> Self {
        let store = claims.store();
        let mut astray: BTreeMap<PathBuf, Vec<RootId>> = BTreeMap::new();
        for entry in store.roots() {
            if let Some(path) = entry.root.path.filter(|path| is_gone(path)) {
                astray.entry(path).or_default().push(entry.id);
            }
        }
        Self { store, claims, claim: claims.begin(), astray, moved_roots: Vec::new() }
    }

    fn all(&mut self, files: Vec<Again>, tell: Tell<'_>) -> Result<(), VerifyError> {
        let mut by_tree: BTreeMap<TreeId, Vec<Again>> = BTreeMap::new();
        for file in files {
            by_tree.entry(file.lost.tree).or_default().push(file);
        }
        for (tree, files) in by_tree {
            let moved = self.tree(tree, &files)?;
            let (mut together, mut first) = (0, None);
            for file in files {
                let known = self.store.seen(file.lost.id);
                if moved.as_deref().is_some_and(|base| file.base() == Some(base)) {
                    self.store.set_seen(file.lost.id, file.seen(known))?;
                    together += 1;
                    first.get_or_insert(file.lost.base);
                    continue;
                }
                self.file(&file, known)?;
                let (from, to) = (file.was(), file.path);
                self.roots(&from, &to);
                // Whoever looks on has seen enough once it breaks; what was found stays found.
                let _found = tell(Finding::Moved { from, to, files: 1 });
            }
            if let (Some(to), Some(from)) = (moved, first) {
                self.roots_below(&from, &to);
                let _found = tell(Finding::Moved { from, to, files: together });
            }
        }
        Ok(())
    }

    /// If the base of a tree is gone, moves it to where most of these files say that it is.
    fn tree(&self, tree: TreeId, files: &[Again]) -> Result<Option<PathBuf>, VerifyError> {
        if !files.first().is_some_and(|file| is_gone(&file.lost.base)) {
            return Ok(None);
        }
        let mut votes: BTreeMap<&Path, u64> = BTreeMap::new();
        files.iter().filter_map(Again::base).for_each(|base| *votes.entry(base).or_default() += 1);
        let Some((base, _)) = votes.into_iter().max_by_key(|(_, votes)| *votes) else { return Ok(None) };
        // Imports look for one tree of each base.
        if self.store.trees().iter().any(|(_, known)| known == base) {
            return Ok(None);
        }
        self.store.move_tree(tree, base)?;
        self.claims.trees_changed();
        Ok(Some(base.to_path_buf()))
    }

    /// Into the tree where an import of what lies around it would look for it.
    fn file(&self, file: &Again, known: Option<Seen>) -> Result<(), VerifyError> {
        let (base, path) = match (file.base(), file.path.parent(), file.path.file_name()) {
            (Some(base), ..) => (base, file.lost.path.as_path()),
            (None, Some(parent), Some(name)) => (parent, Path::new(name)),
            (None, ..) => return Ok(()),
        };
        let tree = self.claim.tree(base)?;
        Ok(self.store.move_file(file.lost.id, tree, path, Some(file.seen(known)))?)
    }

    /// Roots of what was moved, and of what is around it.
    fn roots(&mut self, from: &Path, to: &Path) {
        if self.astray.is_empty() {
            return;
        }
        for around in from.ancestors() {
            let within = from.strip_prefix(around).unwrap_or(Path::new(""));
            let new = to.ancestors().nth(within.components().count());
            if let Some(new) = new.filter(|_| to.ends_with(within)) {
                self.root(around, new);
            }
        }
    }

    /// Roots of a folder that was moved, and of what is in it.
    fn roots_below(&mut self, from: &Path, to: &Path) {
        let below = |path: &&PathBuf| path.starts_with(from);
        let paths: Vec<PathBuf> = self.astray.keys().filter(below).cloned().collect();
        for path in paths {
            let within = path.strip_prefix(from).unwrap_or(Path::new(""));
            let new = if within.as_os_str().is_empty() { to.to_path_buf() } else { to.join(within) };
            self.root(&path, &new);
        }
    }

    fn root(&mut self, path: &Path, new: &Path) {
        if self.astray.contains_key(path) && !is_gone(new) {
            let ids = self.astray.remove(path).unwrap_or_default();
            self.moved_roots.extend(ids.into_iter().map(|id| (id, new.to_path_buf())));
        }
    }

    fn end(self) -> MovedRoots {
        self.claim.keep();
        self.moved_roots
    }
}

/// Nothing of this name is there.
fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
