//! Which roots of the store a new one takes the place of: looked up by path, or by
//! CID, and not among all roots, of which many are added in a row.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;

use peerage_content::Cid;
use peerage_store::{Durability, Root, RootId, RootKind, RootSetBuilder, Store, WriteError};

/// Roots of one place say the same, or of one path what is no longer there. The
/// CID counts only where there is no path.
type Place = (RootKind, Option<PathBuf>, Option<Cid>);

fn place(root: &Root) -> Place {
    (root.kind, root.path.clone(), Some(root.cid).filter(|_| root.path.is_none()))
}

/// The store's roots by their places; read when they are first asked for, and
/// again after a change that does not say of what.
#[derive(Debug, Default)]
pub(crate) struct Places(Option<BTreeMap<Place, Vec<RootId>>>);

/// The store, for whoever changes its roots.
pub(crate) struct RootChanges<'a> {
    store: &'a Store,
    places: &'a mut Places,
}

impl<'a> RootChanges<'a> {
    pub(crate) const fn new(store: &'a Store, places: &'a mut Places) -> Self {
        Self { store, places }
    }

    /// See [`Store::remove_root`].
    pub(crate) fn remove_root(&mut self, id: RootId) -> Result<bool, WriteError> {
        self.places.0 = None;
        self.store.remove_root(id)
    }

    /// Says that a root is at another path of the user's; nothing if it is gone.
    pub(crate) fn move_root(&mut self, id: RootId, path: PathBuf) -> Result<(), WriteError> {
        self.places.0 = None;
        let Some(entry) = self.store.roots().into_iter().find(|entry| entry.id == id) else { return Ok(()) };
        self.store.update_root(id, &Root { path: Some(path), ..entry.root })
    }
}

impl Deref for RootChanges<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        self.store
    }
}

/// Adds a root, in the place of those that say the same, and of what was at
/// its path before: that is gone from there.
pub(crate) fn replace_root(
    changes: &mut RootChanges<'_>,
    root: &Root,
    set: &RootSetBuilder,
) -> Result<RootId, WriteError> {
    Ok(replace_roots(changes, &[(root, set)])?[0])
}

/// The same of many, for the syncs of one; ids in the same order.
pub(crate) fn replace_roots(
    changes: &mut RootChanges<'_>,
    roots: &[(&Root, &RootSetBuilder)],
) -> Result<Vec<RootId>, WriteError> {
    let RootChanges { store, places } = changes;
    // After an error they are read anew.
    let mut by_place = places.0.take().unwrap_or_else(|| {
        let mut by_place: BTreeMap<Place, Vec<RootId>> = BTreeMap::new();
        for entry in store.roots() {
            by_place.entry(place(&entry.root)).or_default().push(entry.id);
        }
        by_place
    });
    let ids = store.add_roots(roots)?;
    let placed = roots.iter().zip(&ids);
    let old = placed.filter_map(|((root, _), id)| by_place.insert(place(root), vec![*id]));
    let old: Vec<RootId> = old.flatten().collect();
    store.remove_roots(&old)?;
    store.commit(Durability::Buffered)?;
    places.0 = Some(by_place);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use peerage_content::{Leaf, Profile};
    use peerage_store::Config;

    use super::*;

    fn root(kind: RootKind, path: Option<&str>, content: &str) -> Root {
        Root {
            cid: Leaf::new(&Profile::default(), content.as_bytes()).cid,
            kind,
            path: path.map(PathBuf::from),
            name: content.to_owned(),
            announce: false,
            keep: true,
            size: 0,
            tree: None,
            added: 0,
        }
    }

    #[test]
    fn many_take_the_places_of_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Config::default()).unwrap().0;
        let set = store.root_set_builder();
        let roots: Vec<Root> = ["a", "b", "c"].map(|content| root(RootKind::Pin, None, content)).into();
        let other = root(RootKind::Pin, None, "other");
        let mut places = Places::default();
        let mut changes = RootChanges::new(&store, &mut places);
        replace_root(&mut changes, &roots[1], &set).unwrap();
        replace_root(&mut changes, &other, &set).unwrap();
        for _ in 0..2 {
            let pairs: Vec<_> = roots.iter().map(|root| (root, &set)).collect();
            let ids = replace_roots(&mut changes, &pairs).unwrap();
            let entries = store.roots();
            let named: Vec<_> = entries.iter().map(|entry| &*entry.root.name).collect();
            assert_eq!(named, ["other", "a", "b", "c"]);
            assert!(entries[1..].iter().map(|entry| entry.id).eq(ids));
        }
    }

    #[test]
    fn a_root_takes_the_place_of_what_was_at_its_path_or_of_its_own_cid() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Config::default()).unwrap().0;
        let set = store.root_set_builder();
        let names = || store.roots().into_iter().map(|entry| entry.root.name).collect::<Vec<_>>();
        // One that was there before, and twice.
        store.add_root(&root(RootKind::Pin, None, "a"), &set).unwrap();
        store.add_root(&root(RootKind::Pin, None, "a"), &set).unwrap();
        let mut places = Places::default();
        let mut changes = RootChanges::new(&store, &mut places);
        let mut replace = |root: &Root| replace_root(&mut changes, root, &set).unwrap();
        replace(&root(RootKind::Pin, None, "b"));
        assert_eq!(names(), ["a", "a", "b"]);
        let a = replace(&root(RootKind::Pin, None, "a"));
        assert_eq!(names(), ["b", "a"]);
        replace(&root(RootKind::Shared, None, "a"));
        replace(&root(RootKind::Kept, Some("/x"), "a"));
        replace(&root(RootKind::Kept, Some("/y"), "a"));
        assert_eq!(names(), ["b", "a", "a", "a", "a"], "another kind, other paths");
        replace(&root(RootKind::Kept, Some("/x"), "c"));
        assert_eq!(names(), ["b", "a", "a", "a", "c"]);
        assert!(
            store
                .roots()
                .iter()
                .all(|entry| entry.root.name != "c" || entry.root.path.as_deref() == Some(Path::new("/x")))
        );

        assert!(changes.remove_root(a).unwrap() && !changes.remove_root(a).unwrap());
        replace_root(&mut changes, &root(RootKind::Pin, None, "a"), &set).unwrap();
        assert_eq!(names(), ["b", "a", "a", "c", "a"]);
    }

    /// Nobody else adds roots, so one that was added behind its back is not seen: that
    /// is how it shows that not all of them are read for each.
    #[test]
    fn the_roots_are_read_once_for_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Config::default()).unwrap().0;
        let set = store.root_set_builder();
        let mut places = Places::default();
        let mut changes = RootChanges::new(&store, &mut places);
        replace_root(&mut changes, &root(RootKind::Pin, None, "a"), &set).unwrap();
        let behind = store.add_root(&root(RootKind::Pin, None, "b"), &set).unwrap();
        replace_root(&mut changes, &root(RootKind::Pin, None, "b"), &set).unwrap();
        assert_eq!(store.roots().iter().filter(|entry| entry.root.name == "b").count(), 2);
        changes.remove_root(behind).unwrap();
        replace_root(&mut changes, &root(RootKind::Pin, None, "b"), &set).unwrap();
        assert_eq!(store.roots().len(), 2);
    }
}
