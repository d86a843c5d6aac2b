//! What the store calls the files that stand at the destination already.

use std::path::{Path, PathBuf};

use peerage_store::{FileId, TreeId};

use super::ExportError;
use crate::files::claims::Claims;

/// Where the store looks for them: each is looked up when it is used, since a
/// folder may hold any number of files.
pub(super) struct InPlace {
    claims: Claims,
    /// The destination's folder.
    base: PathBuf,
    /// The trees with that base, the one first in which a file was found last: the
    /// files of one fetch are in one tree. Read when the first file is used.
    trees: Option<Vec<TreeId>>,
    /// Where files are added that no tree has.
    add_to: Option<TreeId>,
}

impl InPlace {
    pub(super) const fn new(claims: Claims, base: PathBuf) -> Self {
        Self { claims, base, trees: None, add_to: None }
    }

    /// The file at this path below the base, which is added if it is not known.
    pub(super) fn file(&mut self, path: &Path) -> Result<FileId, ExportError> {
        let Self { claims, base, trees, add_to } = self;
        let store = claims.store();
        let trees = trees.get_or_insert_with(|| {
            let all = store.trees().into_iter();
            all.filter(|(_, known)| known == base).map(|(id, _)| id).collect()
        });
        for nth in 0..trees.len() {
            if let Some(file) = claims.keep_file(trees[nth], path)? {
                trees[..=nth].rotate_right(1);
                *add_to = trees.first().copied();
                return Ok(file);
            }
        }
        let tree = match *add_to {
            Some(tree) => tree,
            None => {
                let tree = store.add_tree(base)?;
                claims.trees_changed();
                trees.insert(0, tree);
                *add_to.insert(tree)
            }
        };
        Ok(store.add_file(tree, path, None)?)
    }
}

#[cfg(test)]
mod tests {
    use peerage_store::{Config, Store};

    use super::*;

    #[test]
    fn files_are_found_in_whatever_tree_they_are_and_added_beside_those_found_last() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Config::default()).unwrap().0;
        let base = Path::new("/out");
        let [_, one, two] =
            ["/elsewhere", "/out", "/out"].map(|base| store.add_tree(Path::new(base)).unwrap());
        let a = store.add_file(one, Path::new("dest/a"), None).unwrap();
        let b = store.add_file(two, Path::new("dest/b"), None).unwrap();
        let mut there = InPlace::new(Claims::new(store.clone()), base.to_path_buf());
        for _ in 0..2 {
            assert_eq!(there.file(Path::new("dest/b")).unwrap(), b);
            assert_eq!(there.file(Path::new("dest/a")).unwrap(), a);
        }
        let c = there.file(Path::new("dest/c")).unwrap();
        assert_eq!(there.file(Path::new("dest/c")).unwrap(), c);
        assert_eq!(store.files_of(one).iter().map(|file| file.id).collect::<Vec<_>>(), [a, c]);
        assert_eq!(store.files_of(two).len(), 1);

        let mut nothing_yet = InPlace::new(Claims::new(store.clone()), PathBuf::from("/new"));
        let d = nothing_yet.file(Path::new("d")).unwrap();
        let e = nothing_yet.file(Path::new("e")).unwrap();
        let new = store.trees().pop().unwrap();
        assert_eq!(new.1, Path::new("/new"));
        assert_eq!(store.files_of(new.0).iter().map(|file| file.id).collect::<Vec<_>>(), [d, e]);
    }
}
