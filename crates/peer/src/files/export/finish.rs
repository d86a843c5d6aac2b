//! The end of a fetch: links, modes, one sync, and the rename that gives the
//! whole its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use peerage_content::unixfs::Metadata;
use peerage_store::Stat;
use rustix::fs::{Timespec, Timestamps, futimens, syncfs};

use super::error::ExportError;
use super::{Export, Symlink};

/// What a finished fetch came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished {
    /// Symlinks that leave the destination and were not made.
    pub(crate) unsafe_links: Vec<PathBuf>,
    /// The tree that holds what was written.
    pub(crate) tree: Option<peerage_store::TreeId>,
}

impl Export {
    /// Gives everything its name. Nothing at the destination has changed before this.
    pub(crate) fn complete(&self) -> Result<Finished, ExportError> {
        self.check_collision()?;
        let (symlinks, folders) = {
            let mut state = self.state();
            (std::mem::take(&mut state.symlinks), std::mem::take(&mut state.folders))
        };
        let unsafe_links = self.make_symlinks(&symlinks)?;
        for (path, metadata) in folders.iter().rev() {
            let named = |error| self.io("finish", path, error);
            let dir = self.dir().open(path).map_err(named)?.into_std();
            apply(&dir, metadata).map_err(named)?;
        }
        self.store.flush()?;
        let root = Path::new(&self.staging.name);
        syncfs(&self.staging.lock).map_err(|error| self.io("sync", root, error.into()))?;
        self.rename()?;
        self.store.move_tree(self.staging.tree, &self.staging.parent_path)?;
        self.renew_root_stat()?;
        self.store.end_download(self.staging.download)?;
        self.store.sync()?;
        self.staging.remove().map_err(|error| self.io("remove the staging folder of", root, error))?;
        Ok(Finished { unsafe_links, tree: Some(self.staging.tree) })
    }

    fn rename(&self) -> Result<(), ExportError> {
        let name = Path::new(&self.staging.name);
        if !self.dir().exists(name) && self.dir().symlink_metadata(name).is_err() {
            // Everything was in place already.
            return Ok(());
        }
        if self.existing.is_present() {
            return self.merge(name);
        }
        self.dir().rename(name, &self.staging.parent, name).map_err(|error| self.io("rename to", name, error))
    }

    /// Moves what is staged into the folder that is there, each file by its own rename.
    fn merge(&self, path: &Path) -> Result<(), ExportError> {
        let wrong = |error| self.io("complete", path, error);
        let (staging, dest) = (self.dir(), &self.staging.parent);
        let staged = staging.symlink_metadata(path).map_err(wrong)?;
        let there = dest.symlink_metadata(path).ok();
        if staged.is_dir() && there.as_ref().is_some_and(cap_std::fs::Metadata::is_dir) {
            let names: Vec<_> = staging
                .read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>())
                .map_err(wrong)?;
            return names.into_iter().try_for_each(|name| self.merge(&path.join(name)));
        }
        if there.is_some_and(|there| there.is_dir() != staged.is_dir()) {
            // Only with --overwrite: without, this was found before.
            let removed = if staged.is_dir() { dest.remove_file(path) } else { dest.remove_dir_all(path) };
            removed.map_err(wrong)?;
        }
        staging.rename(path, dest, path).map_err(wrong)
    }

    /// A rename changes the ctime of what is renamed, which for a single file is the file.
    fn renew_root_stat(&self) -> Result<(), ExportError> {
        let Ok(found) = self.staging.parent.open(&self.staging.name) else { return Ok(()) };
        let found = found.into_std().metadata();
        if let Ok(found) = found.as_ref().map(Stat::of) {
            let files = self.store.files_of(self.staging.tree);
            let root = files.iter().find(|file| file.path == Path::new(&self.staging.name));
            if let Some(root) = root {
                self.store.set_stats(&[(root.id, found)])?;
            }
        }
        Ok(())
    }

    fn make_symlinks(&self, symlinks: &[Symlink]) -> Result<Vec<PathBuf>, ExportError> {
        let mut left_out = Vec::new();
        for Symlink { path, target } in symlinks {
            let target = std::str::from_utf8(target).ok().map(Path::new);
            let Some(target) =
                target.filter(|target| self.destination.unsafe_symlinks || stays(path, target))
            else {
                left_out.push(self.display(path));
                continue;
            };
            let there = self.staging.parent.read_link_contents(path).ok();
            if self.existing.is_present() && there.as_deref() == Some(target) {
                continue;
            }
            if self.existing.is_present()
                && !self.destination.overwrite
                && self.staging.parent.symlink_metadata(path).is_ok()
            {
                return Err(ExportError::Differs(vec![self.display(path)]));
            }
            let named = |error| self.io("make the symlink", path, error);
            if let Some(parent) = path.parent() {
                self.dir().create_dir_all(parent).map_err(named)?;
            }
            // One that an earlier run made.
            drop(self.dir().remove_file(path));
            self.dir().symlink_contents(target, path).map_err(named)?;
        }
        Ok(left_out)
    }
}

/// Whether a link at `path`, whose first component is the destination's own
/// name, leads to something inside the destination.
fn stays(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            // Depth 1 is the destination itself; above it is outside.
            Component::ParentDir if depth > 1 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    depth >= 1
}

/// Applies mode and mtime, if the DAG keeps them. No set-user-id or like.
pub(super) fn apply(file: &File, metadata: &Metadata) -> io::Result<()> {
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
        ] {
            assert_eq!(stays(Path::new(path), Path::new(target)), inside, "{path} -> {target}");
        }
    }
}
