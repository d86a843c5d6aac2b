//! The end of a fetch: links, modes, one sync, and the rename that gives the
//! whole its name.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::Ordering;

use cap_std::fs::{Dir, MetadataExt as _};
use peerage_content::unixfs::Metadata;
use peerage_store::{Durability, FileId, Stat, TreeId, WriteError};
use rustix::fs::{Timespec, Timestamps, futimens};

use super::error::ExportError;
use super::existing::Found;
use super::staging::Staging;
use super::{Export, Folders, State, Symlink};

/// What a finished fetch came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished {
    /// Symlinks that leave the destination and were not made.
    pub(crate) unsafe_links: Vec<PathBuf>,
    /// The tree that holds what was written; none if its path leads elsewhere.
    pub(crate) tree: Option<TreeId>,
}

impl Export {
    /// Gives everything its name, and `keep` the tree that holds it, if its path leads
    /// there. Nothing at the destination has changed before this; afterwards all of it
    /// survives a power cut, also what `keep` has put into the store.
    pub(crate) fn complete(
        &self,
        keep: &dyn Fn(TreeId) -> Result<(), WriteError>,
    ) -> Result<Finished, ExportError> {
        self.check_collision()?;
        let (symlinks, files, folders) = {
            let mut state = self.state();
            let State { symlinks, finished, folders, .. } = &mut *state;
            (std::mem::take(symlinks), std::mem::take(finished), std::mem::take(folders))
        };
        let unsafe_links = self.make_symlinks(&symlinks)?;
        self.check_same()?;
        self.prune()?;
        self.finish_files(&files)?;
        self.store.commit(Durability::Buffered)?;
        let root = Path::new(&self.staging.name);
        sync(&self.staging).map_err(|error| self.io("sync", root, error))?;
        let renamed = self.rename(&folders)?;
        self.sync_names(&renamed)?;
        self.completed.store(true, Ordering::Relaxed);
        let tree = self.path_leads_here().then_some(self.staging.tree);
        if tree.is_some() {
            self.store.move_tree(self.staging.tree, &self.staging.parent_path)?;
            self.renew_root_stat()?;
        } else {
            self.store.remove_tree(self.staging.tree)?;
        }
        self.claims.trees_changed();
        tree.map_or(Ok(()), keep)?;
        self.store.end_download(self.staging.download)?;
        self.store.commit(Durability::Durable)?;
        self.staging.remove().map_err(|error| self.io("remove the staging folder of", root, error))?;
        Ok(Finished { unsafe_links, tree })
    }

    /// Removes what an earlier run staged and this one did not need: files
    /// with holes of which the whole stands at the destination by now, or
    /// symlinks that were allowed then.
    fn prune(&self) -> Result<(), ExportError> {
        if !self.staging.resumed {
            return Ok(());
        }
        let (dir, state) = (self.dir(), self.state());
        let mut paths = vec![PathBuf::from(&self.staging.name)];
        while let Some(path) = paths.pop() {
            let Ok(found) = dir.symlink_metadata(&path) else { continue };
            let hash = state.hasher.hash_one(&path);
            let pruned = if !found.is_dir() {
                if state.staged.contains(&hash) { Ok(()) } else { dir.remove_file(&path) }
            } else if state.claimed.contains(&hash) {
                names(dir, &path).map(|names| paths.extend(names.iter().map(|name| path.join(name))))
            } else {
                dir.remove_dir_all(&path)
            };
            pruned.map_err(|error| self.io("clear in staging", &path, error))?;
        }
        Ok(())
    }

    /// Gives files their modes and times, which a file that is still written to
    /// could not have: it may be read-only.
    fn finish_files(&self, files: &[(PathBuf, FileId, Metadata)]) -> Result<(), ExportError> {
        for (path, id, metadata) in files {
            let named = |error| self.io("finish", path, error);
            let file = self.dir().open(path).map_err(named)?.into_std();
            apply(&file, metadata).map_err(named)?;
            self.store.set_seen(*id, Stat::of(&file.metadata().map_err(named)?).into())?;
        }
        Ok(())
    }

    /// Gives a folder that now has its place, and those below it, their modes
    /// and times: a read-only one could not have been moved.
    fn finish_folders(&self, top: &Path, moved: &Dir, folders: &Folders) -> Result<(), ExportError> {
        let below: Vec<_> =
            folders.range(top.to_path_buf()..).take_while(|(path, _)| path.starts_with(top)).collect();
        for (path, metadata) in below.into_iter().rev() {
            let named = |error| self.io("finish", path, error);
            let inside = path.strip_prefix(top).ok().filter(|inside| !inside.as_os_str().is_empty());
            let folder = moved.open(inside.unwrap_or(Path::new("."))).map_err(named)?.into_std();
            apply(&folder, metadata).map_err(named)?;
        }
        Ok(())
    }

    /// The folders at the destination that got new names.
    fn rename(&self, folders: &Folders) -> Result<BTreeSet<PathBuf>, ExportError> {
        let (name, mut renamed) = (Path::new(&self.staging.name), BTreeSet::new());
        if self.dir().symlink_metadata(name).is_err() {
            // Everything was in place already.
            return Ok(renamed);
        }
        // First it is looked whether all of it can be moved.
        self.merge(name, None, &mut renamed)?;
        self.merge(name, Some(folders), &mut renamed)?;
        Ok(renamed)
    }

    /// Has a power cut leave the names in these folders.
    fn sync_names(&self, folders: &BTreeSet<PathBuf>) -> Result<(), ExportError> {
        // With one call for many, where there is such a call.
        #[cfg(target_os = "linux")]
        if folders.len() > 1 {
            let named = |error: rustix::io::Errno| {
                self.io("sync the names in", Path::new(&self.staging.name), error.into())
            };
            return rustix::fs::syncfs(&self.staging.lock).map_err(named);
        }
        for folder in folders {
            let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let synced = self.staging.parent.open(at).and_then(|folder| folder.into_std().sync_all());
            synced.map_err(|error| self.io("sync the names in", folder, error))?;
        }
        Ok(())
    }

    /// Moves what is staged to the destination, each file that has a folder
    /// there by its own rename; without `folders`, only says whether it can.
    fn merge(
        &self,
        path: &Path,
        folders: Option<&Folders>,
        renamed: &mut BTreeSet<PathBuf>,
    ) -> Result<(), ExportError> {
        let wrong = |error| self.io("complete", path, error);
        let (staging, dest) = (self.dir(), &self.staging.parent);
        let staged = staging.symlink_metadata(path).map_err(wrong)?;
        let there = dest.symlink_metadata(path).ok();
        let both = staged.is_dir() && there.as_ref().is_some_and(cap_std::fs::Metadata::is_dir);
        if both && (self.existing.is_present() || self.destination.overwrite) {
            let names = names(staging, path).map_err(wrong)?;
            let mut merge = |name| self.merge(&path.join(name), folders, renamed);
            return names.into_iter().try_for_each(&mut merge);
        }
        if let Some(there) = &there {
            if there.is_dir() && !staged.is_dir() {
                self.check_no_folder(path)?;
            }
            if !self.destination.overwrite && !self.may_replace(path) {
                return Err(ExportError::Changed(self.display(path)));
            }
        }
        let Some(folders) = folders else { return Ok(()) };
        let folder = if staged.is_dir() { Some(staging.open_dir(path).map_err(wrong)?) } else { None };
        match there {
            None => self.rename_new(path)?,
            Some(_) => {
                if staged.is_dir() {
                    // Only with --overwrite: without, this was found before.
                    dest.remove_file(path).map_err(wrong)?;
                }
                staging.rename(path, dest, path).map_err(wrong)?;
            }
        }
        renamed.extend(path.parent().map(Path::to_path_buf));
        folder.map_or(Ok(()), |folder| self.finish_folders(path, &folder, folders))
    }

    /// Whether the file at the destination is the one that was compared.
    fn may_replace(&self, path: &Path) -> bool {
        let seen = self.state().replaces.get(path).copied();
        match (seen, self.existing.find(&self.staging, path)) {
            (Some(seen), Found::File(there)) => there.stat == seen,
            _ => false,
        }
    }

    /// A rename that never replaces anything, as far as the file system can do that.
    fn rename_new(&self, path: &Path) -> Result<(), ExportError> {
        let (staging, dest) = (self.dir(), &self.staging.parent);
        let wrong = |error| self.io("rename to", path, error);
        match rename_noreplace(staging, dest, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.destination.overwrite {
                    return staging.rename(path, dest, path).map_err(wrong);
                }
                Err(ExportError::Changed(self.display(path)))
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// A rename changes the ctime of what is renamed, which for a single file is the file.
    fn renew_root_stat(&self) -> Result<(), ExportError> {
        let Ok(found) = self.staging.parent.open(&self.staging.name) else { return Ok(()) };
        let found = found.into_std().metadata();
        if let Ok(found) = found.as_ref().map(Stat::of) {
            let root = self.store.file_by_path(self.staging.tree, Path::new(&self.staging.name))?;
            if let Some(root) = root {
                self.store.set_seen(root, found.into())?;
            }
        }
        Ok(())
    }

    fn make_symlinks(&self, symlinks: &[Symlink]) -> Result<Vec<PathBuf>, ExportError> {
        let mut left_out = Vec::new();
        let links: HashSet<&Path> = symlinks.iter().map(|link| link.path.as_path()).collect();
        for Symlink { path, target } in symlinks {
            let target = Path::new(OsStr::from_bytes(target));
            if !self.destination.unsafe_symlinks && !stays(path, target, &links) {
                if path == Path::new(&self.staging.name) {
                    let (path, target) = (self.display(path), target.to_path_buf());
                    return Err(ExportError::UnsafeRoot { path, target });
                }
                left_out.push(self.display(path));
                continue;
            }
            let there = self.staging.parent.read_link_contents(path).ok();
            if self.existing.is_present() && there.as_deref() == Some(target) {
                continue;
            }
            if self.existing.is_present()
                && let Ok(there) = self.staging.parent.symlink_metadata(path)
            {
                if there.is_dir() {
                    self.check_no_folder(path)?;
                }
                if !self.destination.overwrite {
                    self.differs(path);
                    continue;
                }
            }
            let named = |error| self.io("make the symlink", path, error);
            if let Some(parent) = path.parent() {
                self.dir().create_dir_all(parent).map_err(named)?;
            }
            self.staging.fill();
            if let Ok(there) = self.dir().symlink_metadata(path) {
                let ours = self.state().inodes.contains(&(there.dev(), there.ino()));
                if ours || !there.is_symlink() {
                    return Err(ExportError::Collision(self.display(path)));
                }
                // One that an earlier run made.
                self.dir().remove_file(path).map_err(named)?;
            }
            self.dir().symlink_contents(target, path).map_err(named)?;
            let made = self.dir().symlink_metadata(path).map_err(named)?;
            self.staged(path, (made.dev(), made.ino()))?;
        }
        Ok(left_out)
    }
}

/// Names of what is in a folder.
fn names(dir: &Dir, path: &Path) -> io::Result<Vec<OsString>> {
    dir.read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Makes durable what is staged: with one call where there is such a call.
#[cfg(target_os = "linux")]
fn sync(staging: &Staging) -> io::Result<()> {
    Ok(rustix::fs::syncfs(&staging.lock)?)
}

/// Makes durable what is staged, file by file.
#[cfg(not(target_os = "linux"))]
fn sync(staging: &Staging) -> io::Result<()> {
    let mut folders = vec![staging.dir.try_clone()?];
    while let Some(folder) = folders.pop() {
        for entry in folder.entries()? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.open_dir()?);
            } else if kind.is_file() {
                entry.open()?.sync_all()?;
            }
        }
        folder.into_std_file().sync_all()?;
    }
    Ok(())
}

/// Renames to a name that nobody has; a file system without such a call is asked before.
fn rename_noreplace(from: &Dir, to: &Dir, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        use rustix::io::Errno;
        // The paths' folders are opened beneath their handles first, since
        // this call follows symlinks on the way.
        let (from, to, name) = at_parents(from, to, path)?;
        match renameat_with(&from, name, &to, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
    }
    if to.symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    from.rename(path, to, path)
}

/// The folders of one path below two handles, and its last component.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn at_parents<'a>(from: &Dir, to: &Dir, path: &'a Path) -> io::Result<(Dir, Dir, &'a Path)> {
    let name = path.file_name().map(Path::new).ok_or(io::ErrorKind::InvalidInput)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => Ok((from.open_dir(parent)?, to.open_dir(parent)?, name)),
        None => Ok((from.try_clone()?, to.try_clone()?, name)),
    }
}

/// Whether a link at `path`, whose first component is the destination's own
/// name, leads to something inside the destination. `links` are all links of
/// the fetch: `..` behind one of them would lead elsewhere than it seems.
fn stays(path: &Path, target: &Path, links: &HashSet<&Path>) -> bool {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        // The destination is the link: whatever it names is outside.
        return false;
    };
    let mut at = folder.to_path_buf();
    for component in target.components() {
        match component {
            Component::Normal(name) => at.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                let inside = at.components().count() > 1;
                if !inside || at.ancestors().any(|above| links.contains(above)) {
                    return false;
                }
                at.pop();
            }
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Applies mode and mtime, if the DAG keeps them. No set-user-id or like.
fn apply(file: &File, metadata: &Metadata) -> io::Result<()> {
    if let Some(mode) = metadata.mode {
        file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))?;
    }
    if let Some(time) = metadata.mtime {
        let nanos = i64::from(time.nanoseconds);
        let stamp = Timespec { tv_sec: time.seconds, tv_nsec: nanos };
        futimens(file, &Timestamps { last_access: stamp, last_modification: stamp })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        for (path, target, inside) in [
            ("dest/a", "b", true),
            ("dest/a", "./b/../c", true),
            ("dest/a", "../x", false),
            ("dest/d/a", "../x", true),
            ("dest/d/a", "../../x", false),
            ("dest/d/a", "..", true),
            ("dest/a", "/etc/passwd", false),
            ("dest/a", "b/../../x", false),
            ("dest", "x", false),
            ("dest", ".", false),
            ("dest/a", "link/b", true),
            ("dest/a", "d/link", true),
            // The link may lead to the destination itself.
            ("dest/a", "link/..", false),
            ("dest/a", "link/b/..", false),
        ] {
            let links = HashSet::from([Path::new("dest/link"), Path::new(path)]);
            assert_eq!(stays(Path::new(path), Path::new(target), &links), inside, "{path} -> {target}");
        }
    }
}
