//! Two imports of one tree at once, of which one ends early: it forgets what it
//! added, but nothing that the other relies on.

use super::*;

/// Runs an import that is cancelled once `files` files are registered and
/// `meanwhile` is done.
fn cut_short(base: &Path, target: &Target, files: u64, meanwhile: impl Fn()) {
    let cancelled = AtomicBool::new(false);
    let progress = |now: ImportProgress| {
        if now.files >= files && !cancelled.swap(true, Ordering::Relaxed) {
            meanwhile();
        }
    };
    let options = ImportOptions::default();
    let workers = Inline(Cell::new(0), |_| ());
    let result = import(&[base.to_path_buf()], &options, target, &workers, &progress, &cancelled);
    assert!(matches!(result, Err(ImportError::Cancelled)), "{result:?}");
}

struct World {
    _dir: tempfile::TempDir,
    base: PathBuf,
    store: Store,
    target: Target,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap().join("tree");
    make_tree(&base);
    // So that unchanged files are known at once.
    let config = Config { time_grain: std::time::Duration::ZERO, ..Config::default() };
    let store = Store::open(&dir.path().join("repo"), config).unwrap().0;
    let target = by_reference(&store);
    World { _dir: dir, base, store, target }
}

impl World {
    /// All blocks are there, and the store knows each file once.
    fn assert_whole(&self, imported: &Imported) {
        assert!(blocks(&self.store, imported).len() > 10);
        let [(tree, _)] = self.store.trees()[..] else { panic!("one tree") };
        assert_eq!(imported.trees, [tree]);
        assert_eq!(self.store.files_of(tree).len(), 5);
    }
}

#[test]
fn one_that_ends_well_keeps_what_another_had_added() {
    for files in 1..=2 {
        let w = world();
        let other = RefCell::new(None);
        cut_short(&w.base, &w.target, files, || {
            *other.borrow_mut() = Some(one(&w.base, &ImportOptions::default(), &w.target));
        });
        w.assert_whole(&other.take().unwrap());
    }
}

#[test]
fn one_that_ends_early_leaves_what_another_goes_on_with() {
    let w = world();
    let cut = Cell::new(false);
    let progress = |now: ImportProgress| {
        if now.files >= 2 && !cut.replace(true) {
            cut_short(&w.base, &w.target, 2, || ());
        }
    };
    let workers = Inline(Cell::new(0), |_| ());
    let paths = std::slice::from_ref(&w.base);
    let options = ImportOptions::default();
    let imported = import(paths, &options, &w.target, &workers, &progress, &AtomicBool::new(false));
    assert!(cut.get());
    w.assert_whole(&imported.unwrap()[0]);
}

/// The one that goes on has found the tree and the first files when the other, which
/// had added them, ends; it has not put anything into them yet.
fn found_and_then_forgotten_by_the_other(w: &World, cancel: bool) -> Result<Vec<Imported>, ImportError> {
    let (registered, is_registered) = channel();
    let (found, is_found) = channel();
    thread::scope(|scope| {
        let early = scope.spawn(move || {
            cut_short(&w.base, &w.target, 2, || {
                registered.send(()).unwrap();
                is_found.recv().unwrap();
            });
        });
        is_registered.recv().unwrap();
        let early = Cell::new(Some(early));
        let cancelled = AtomicBool::new(false);
        let workers = Inline(Cell::new(0), |_| {
            if let Some(early) = early.take() {
                found.send(()).unwrap();
                early.join().unwrap();
                cancelled.store(cancel, Ordering::Relaxed);
            }
        });
        let paths = std::slice::from_ref(&w.base);
        import(paths, &ImportOptions::default(), &w.target, &workers, &|_| {}, &cancelled)
    })
}

#[test]
fn one_that_has_found_a_tree_puts_its_files_there_whatever_becomes_of_the_other() {
    let w = world();
    let imported = found_and_then_forgotten_by_the_other(&w, false);
    w.assert_whole(&imported.unwrap()[0]);
}

#[test]
fn the_last_one_to_end_early_forgets_all() {
    let w = world();
    let result = found_and_then_forgotten_by_the_other(&w, true);
    assert!(matches!(result, Err(ImportError::Cancelled)), "{result:?}");
    assert_eq!((w.store.trees(), w.store.sizes().files), (Vec::new(), 0));
}
