//! What is imported: the paths that the user named, and what is below them.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peerage_content::name::{self, NameError};
use peerage_content::{Metadata, symlink};
use peerage_store::Store;
use rustix::fs::FileType;

use super::build::{Builder, failure};
use super::error::ImportError;
use super::folder::{Facts, FileAt, Folder};
use super::hash::{Step, Trouble};
use super::limits::DEPTH_MAX;
use super::{ImportOptions, Imported, Remark};
use crate::files::{STAGING_LOCK, STAGING_SUFFIX};

/// A path that the user named, symlinks in it resolved.
struct Source {
    path: PathBuf,
    name: Result<String, NameError>,
    kind: FileType,
    /// Nothing comes after it.
    is_last: bool,
}

/// Imports `paths`; see [`super::import`].
pub(super) fn import(
    builder: &mut Builder<'_>,
    paths: &[PathBuf],
    options: &ImportOptions,
) -> Result<Vec<Imported>, ImportError> {
    let leave_out = LeftOut::new(builder.store(), &options.leave_out);
    let mut sources: Vec<Source> =
        paths.iter().map(|path| resolve(path, options, &leave_out)).collect::<Result<_, ImportError>>()?;
    if let Some(last) = sources.last_mut() {
        last.is_last = true;
    }
    let mut walk = Walk { builder, base: None, options, leave_out: &leave_out };
    if !options.wrap {
        return sources.into_iter().map(|source| walk.root(source)).collect();
    }
    let names = distinct_names(&sources)?;
    walk.builder.begin_root();
    let enter = Step::Enter { name: String::new(), path: PathBuf::new(), metadata: Metadata::default() };
    walk.builder.step(enter)?;
    for (source, name) in sources.iter().zip(names) {
        walk.source(source, name)?;
    }
    walk.builder.step(Step::Leave)?;
    let paths: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
    let root = walk.builder.end_root(paths, None)?;
    Ok(root.into_iter().collect())
}

/// Folders that are never included.
struct LeftOut {
    paths: Vec<PathBuf>,
    identities: Vec<(u64, u64)>,
}

impl LeftOut {
    fn new(store: Option<&Store>, more: &[PathBuf]) -> Self {
        let all = store.map(Store::dir).into_iter().chain(more.iter().map(PathBuf::as_path));
        // One that is not there cannot be met.
        let paths: Vec<PathBuf> = all.filter_map(|path| fs::canonicalize(path).ok()).collect();
        let identity = |path| fs::metadata(path).ok().map(|meta: fs::Metadata| (meta.dev(), meta.ino()));
        let identities = paths.iter().filter_map(identity).collect();
        Self { paths, identities }
    }
}

/// Whether an entry of this name is included.
fn permitted<'a>(name: &'a str, options: &ImportOptions) -> Result<&'a str, NameError> {
    if options.any_name { name::check_entry(name) } else { name::check(name) }
}

fn resolve(given: &Path, options: &ImportOptions, leave_out: &LeftOut) -> Result<Source, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: given.to_path_buf(), source };
    let kept = !options.follow && fs::symlink_metadata(given).map_err(unreadable)?.is_symlink();
    let path = match (given.parent(), given.file_name()) {
        // Of a symlink that is kept, only what leads to it is followed.
        (Some(parent), Some(name)) if kept => fs::canonicalize(parent).map_err(unreadable)?.join(name),
        _ => fs::canonicalize(given).map_err(unreadable)?,
    };
    let meta = fs::symlink_metadata(&path).map_err(unreadable)?;
    let kind = FileType::from_raw_mode(meta.mode());
    if !matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink) {
        return Err(ImportError::NotAFile { path });
    }
    if leave_out.paths.iter().any(|out| path.starts_with(out)) {
        return Err(ImportError::Repository { path });
    }
    let name = given.file_name().or(path.file_name()).unwrap_or_default().as_bytes();
    let name = std::str::from_utf8(name).map_err(|_| NameError::NotUtf8);
    let name = name.and_then(|name| permitted(name, options)).map(str::to_owned);
    Ok(Source { path, name, kind, is_last: false })
}

fn distinct_names(sources: &[Source]) -> Result<Vec<&str>, ImportError> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut names = Vec::with_capacity(sources.len());
    for source in sources {
        let path = &source.path;
        let name = source.name.as_deref();
        let name = name.map_err(|error| ImportError::Name { path: path.clone(), error: *error })?;
        if let Some(first) = seen.insert(name, path) {
            if first == path {
                return Err(ImportError::Twice { path: path.clone() });
            }
            return Err(ImportError::SameName { first: first.to_path_buf(), second: path.clone() });
        }
        names.push(name);
    }
    Ok(names)
}

struct Walk<'a, 'b> {
    builder: &'a mut Builder<'b>,
    /// Of the tree that is walked: its absolute path and the folder there, open,
    /// so that many files of one folder open it once. One value: no file is ever
    /// read through the handle of another folder.
    base: Option<(PathBuf, Arc<Folder>)>,
    options: &'a ImportOptions,
    leave_out: &'a LeftOut,
}

impl Walk<'_, '_> {
    fn root(&mut self, source: Source) -> Result<Imported, ImportError> {
        self.builder.begin_root();
        if let Err(error) = source.name {
            self.builder.remark(source.path.clone(), Remark::Unwritable(error));
        }
        self.source(&source, source.name.as_deref().unwrap_or_default())?;
        let root = self.builder.end_root(vec![source.path.clone()], source.name.ok())?;
        root.ok_or(failure(Trouble::Gone, source.path))
    }

    /// One of the paths that the user named, to be called `name` in a folder around it.
    fn source(&mut self, source: &Source, name: &str) -> Result<(), ImportError> {
        let path = &source.path;
        let gone = || ImportError::NotAFile { path: path.clone() };
        if source.name.is_ok() {
            self.portable(path.clone(), name);
        }
        if source.kind == FileType::Directory {
            self.builder.begin_tree(path)?;
            let folder = self.begin_base(path)?;
            let facts = folder.own_facts().map_err(|error| unreadable(error, path))?;
            self.folder(&folder, name.to_owned(), &facts, 0)?;
            if source.is_last {
                self.builder.all_found();
            }
            return Ok(());
        }
        if source.is_last {
            self.builder.all_found();
        }
        let (Some(parent), Some(file)) = (path.parent(), path.file_name()) else { return Err(gone()) };
        self.builder.begin_tree(parent)?;
        let folder = match &self.base {
            Some((base, folder)) if base == parent => Arc::clone(folder),
            _ => self.begin_base(parent)?,
        };
        let file = CString::new(file.as_bytes()).map_err(|_| gone())?;
        let facts = folder.facts(&file).map_err(|error| unreadable(error, path))?;
        match facts.kind {
            kind if kind != source.kind => Err(gone()),
            FileType::Symlink => {
                let target = folder.read_link(&file).map_err(|error| unreadable(error, path))?;
                self.symlink(name.to_owned(), &target, &facts, path.clone())
            }
            _ => self.file(FileAt { folder, name: file, called: name.into(), facts, id: None }),
        }
    }

    /// Opens the folder that the tree to be walked lies in.
    fn begin_base(&mut self, path: &Path) -> Result<Arc<Folder>, ImportError> {
        let folder = Arc::new(Folder::open(path).map_err(|error| unreadable(error, path))?);
        self.base = Some((path.to_path_buf(), Arc::clone(&folder)));
        Ok(folder)
    }

    /// The absolute path of what lies at `path` below the base.
    fn absolute(&self, path: &Path) -> PathBuf {
        self.base.as_ref().map_or_else(|| path.to_path_buf(), |(base, _)| base.join(path))
    }

    fn folder(
        &mut self,
        folder: &Arc<Folder>,
        name: String,
        facts: &Facts,
        depth: usize,
    ) -> Result<(), ImportError> {
        let path = self.absolute(&folder.path);
        if depth > DEPTH_MAX {
            return Err(ImportError::TooDeep { path, limit: DEPTH_MAX });
        }
        let mut listing = folder.list().map_err(|error| unreadable(error, &path))?;
        let metadata = facts.metadata(self.options.preserve);
        let mut entries = listing.next_batch().map_err(|error| unreadable(error, &path))?;
        self.builder.step(Step::Enter { name, path: path.clone(), metadata })?;
        while !entries.is_empty() {
            for entry in entries {
                self.entry(folder, entry, depth)?;
            }
            entries = listing.next_batch().map_err(|error| unreadable(error, &path))?;
        }
        self.builder.step(Step::Leave)
    }

    fn entry(&mut self, folder: &Arc<Folder>, entry: CString, depth: usize) -> Result<(), ImportError> {
        let path = self.absolute(&folder.path_of(&entry));
        if !self.options.hidden && entry.to_bytes().starts_with(b".") {
            self.builder.remark(path, Remark::Hidden);
            return Ok(());
        }
        let name = match entry.to_str().map_err(|_| Remark::NotUtf8) {
            Ok(name) => permitted(name, self.options).map_err(Remark::BadName),
            Err(remark) => Err(remark),
        };
        let name = match name {
            Ok(name) => name.to_owned(),
            Err(remark) => {
                self.builder.remark(path, remark);
                return Ok(());
            }
        };
        let Some(facts) = self.there(folder.facts(&entry), &path)? else { return Ok(()) };
        if self.options.ignored.matches(&folder.path_of(&entry), facts.kind == FileType::Directory) {
            self.builder.ignored();
            return Ok(());
        }
        match facts.kind {
            FileType::RegularFile => {
                self.portable(path, &name);
                let called = name.into();
                self.file(FileAt { folder: Arc::clone(folder), name: entry, called, facts, id: None })
            }
            FileType::Directory => self.below(folder, &entry, name, path, depth),
            FileType::Symlink => {
                let Some(target) = self.there(folder.read_link(&entry), &path)? else { return Ok(()) };
                self.portable(path.clone(), &name);
                self.symlink(name, &target, &facts, path)
            }
            kind => {
                self.builder.remark(
                    path,
                    match kind {
                        FileType::Socket => Remark::Socket,
                        FileType::Fifo => Remark::Fifo,
                        _ => Remark::Device,
                    },
                );
                Ok(())
            }
        }
    }

    fn below(
        &mut self,
        folder: &Folder,
        entry: &CStr,
        name: String,
        path: PathBuf,
        depth: usize,
    ) -> Result<(), ImportError> {
        let Some(inner) = self.there(folder.open_folder(entry), &path)? else { return Ok(()) };
        let facts = inner.own_facts().map_err(|error| unreadable(error, &path))?;
        if self.leave_out.identities.contains(&facts.identity()) {
            self.builder.remark(path, Remark::Repository);
            return Ok(());
        }
        let staging = name.starts_with('.') && name.ends_with(STAGING_SUFFIX);
        let lock = CString::new(STAGING_LOCK).unwrap_or_default();
        if staging && inner.facts(&lock).is_ok() {
            self.builder.remark(path, Remark::Unfinished);
            return Ok(());
        }
        self.portable(path, &name);
        self.folder(&Arc::new(inner), name, &facts, depth + 1)
    }

    fn file(&mut self, mut at: FileAt) -> Result<(), ImportError> {
        let path = at.path();
        at.id = self.builder.id_of(&path);
        if at.facts.stat.size <= self.builder.shared().profile.chunker.single_max() as u64 {
            return self.builder.step(Step::File(at));
        }
        let path = self.absolute(&path);
        self.builder.large_file(at, path)
    }

    fn symlink(
        &mut self,
        name: String,
        target: &CStr,
        facts: &Facts,
        path: PathBuf,
    ) -> Result<(), ImportError> {
        // Its mode means nothing.
        let metadata = Metadata { mode: None, ..facts.metadata(self.options.preserve) };
        let block = symlink(&self.builder.shared().profile, target.to_bytes(), metadata);
        let bad = |_| ImportError::Unreadable { path, source: io::ErrorKind::InvalidData.into() };
        self.builder.step(Step::Symlink { name, block: block.map_err(bad)? })
    }

    /// `None` if the entry vanished since its folder was listed.
    fn there<T>(&mut self, result: io::Result<T>, path: &Path) -> Result<Option<T>, ImportError> {
        match result.map_err(Trouble::from) {
            Ok(value) => Ok(Some(value)),
            Err(Trouble::Gone) => {
                self.builder.remark(path.to_path_buf(), Remark::Vanished);
                Ok(None)
            }
            Err(trouble) => Err(failure(trouble, path.to_path_buf())),
        }
    }

    fn portable(&mut self, path: PathBuf, name: &str) {
        if let Err(error) = name::check(name) {
            self.builder.remark(path, Remark::Unwritable(error));
        } else if name.contains('\\') {
            self.builder.remark(path, Remark::Backslash);
        }
    }
}

fn unreadable(source: io::Error, path: &Path) -> ImportError {
    ImportError::Unreadable { path: path.to_path_buf(), source }
}
