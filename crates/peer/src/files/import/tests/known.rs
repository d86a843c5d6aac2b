//! Files that did not change since an earlier import. That none of their bytes
//! is read shows in the result: other bytes were put in their place, and the
//! store was told that this is how the files looked.

use std::time::Duration;

use peerage_content::Chunker;
use peerage_store::{FileId, Seen, Stat};

use super::*;

/// Leaves of 1,000 bytes, three links a node: deep at little cost.
fn deep() -> ImportOptions {
    let profile = Profile { chunker: Chunker::Size(1000), max_links: 3, ..Profile::UNIXFS_V0_2015 };
    ImportOptions { profile, ..ImportOptions::default() }
}

fn raw() -> ImportOptions {
    let profile = Profile { raw_leaves: true, ..deep().profile };
    ImportOptions { profile, ..deep() }
}

/// A store for which each file is old enough.
fn trusting(dir: &Path) -> Store {
    let config = Config { time_grain: Duration::ZERO, ..Config::default() };
    Store::open(&dir.join("repo"), config).unwrap().0
}

/// Writes other bytes over those of a file, as many; its mtime stays.
fn swap(path: &Path) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    let mut content = fs::read(path).unwrap();
    content.iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(path, content).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
}

fn ids(store: &Store, imported: &Imported) -> Vec<(PathBuf, FileId)> {
    let [tree] = imported.trees[..] else { panic!("one tree") };
    let files = store.files_of(tree).into_iter();
    files.map(|file| (imported.paths[0].parent().unwrap().join(file.path), file.id)).collect()
}

/// Tells the store that the file at `path` has always looked as it does now,
/// or nearly so.
fn backdate(store: &Store, file: FileId, path: &Path, change: impl Fn(Stat) -> Stat) {
    let root = store.seen(file).unwrap().root;
    assert!(root.is_some(), "nothing is known of {path:?}");
    let stat = Stat::of(&fs::metadata(path).unwrap());
    store.set_seen(file, Seen { stat: change(stat), root }).unwrap();
}

/// A file of `len` bytes that was imported, then swapped and backdated.
struct World {
    _temp: tempfile::TempDir,
    path: PathBuf,
    store: Store,
    file: FileId,
    first: Imported,
    /// The blocks of the first import.
    blocks: BTreeMap<Vec<u8>, usize>,
}

fn world(len: usize, options: &ImportOptions) -> World {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().canonicalize().unwrap().join("file");
    fs::write(&path, bytes(len)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let store = trusting(temp.path());
    let first = one(&path, options, &by_reference(&store));
    let blocks = blocks(&store, &first);
    let [(_, file)] = ids(&store, &first)[..] else { panic!("one file") };
    let world = World { _temp: temp, path, store, file, first, blocks };
    world.swap(|stat| stat);
    world
}

impl World {
    fn swap(&self, change: impl Fn(Stat) -> Stat) {
        swap(&self.path);
        backdate(&self.store, self.file, &self.path, change);
    }

    fn again(&self, options: &ImportOptions) -> Imported {
        one(&self.path, options, &by_reference(&self.store))
    }

    /// What hashing the file gives now.
    fn truth(&self, options: &ImportOptions) -> Cid {
        one(&self.path, options, &Target::OnlyHash).cid
    }

    fn assert_hashed(&self, options: &ImportOptions, why: &str) {
        let truth = self.truth(options);
        assert_ne!(truth, self.first.cid);
        assert_eq!(self.again(options).cid, truth, "{why}");
    }
}

#[test]
fn what_did_not_change_is_not_read() {
    for plain in [deep(), raw(), ImportOptions::default()] {
        for preserve in [Preserve::default(), Preserve::ALL] {
            let options = ImportOptions { preserve, ..plain.clone() };
            let chunk = options.profile.chunker.max_len();
            for len in [0, 1, chunk, chunk + 1, chunk * 3, chunk * 3 + 1, 9999, 10_000, 27_001] {
                let w = world(len, &options);
                let again = w.again(&options);
                let sum = |imported: &Imported| {
                    let Imported { cid, size, dag_size, files, executables, .. } = *imported;
                    (cid, size, dag_size, files, executables)
                };
                assert_eq!(sum(&again), sum(&w.first), "{len} bytes, {:?}", options.profile);
                assert_eq!(again.executables, 1);
                assert_eq!(again.trees, w.first.trees);
                let set = again.set.as_ref().unwrap();
                let held = |mh: &&Vec<u8>| set.contains(&Multihash::from_bytes(mh).unwrap());
                assert_eq!(w.blocks.keys().filter(held).count(), w.blocks.len());
            }
        }
    }
}

#[test]
fn a_known_tree_costs_no_job_but_its_small_files_and_adds_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap().join("tree");
    make_tree(&base);
    let store = trusting(temp.path());
    let first = one(&base, &deep(), &by_reference(&store));
    for (path, file) in ids(&store, &first) {
        let path = base.join(path.strip_prefix(temp.path().canonicalize().unwrap()).unwrap());
        swap(&path);
        backdate(&store, file, &path, |stat| stat);
    }
    let sizes = store.sizes();
    let workers = Inline(Cell::new(0), |_| {});
    let target = by_reference(&store);
    let again = import(&[base], &deep(), &target, &workers, &|_| {}, &AtomicBool::new(false));
    let again = again.unwrap().pop().unwrap();
    assert_eq!((again.cid, again.dag_size, again.files), (first.cid, first.dag_size, first.files));
    assert!(workers.0.get() <= 3, "{} jobs", workers.0.get());
    assert_eq!(store.sizes(), sizes);
}

#[test]
fn any_change_of_the_stat_means_that_it_is_hashed() {
    for len in [10, 4000] {
        let changes: [fn(Stat) -> Stat; 5] = [
            |stat| Stat { device: stat.device + 1, ..stat },
            |stat| Stat { inode: stat.inode + 1, ..stat },
            |stat| Stat { size: stat.size + 1, ..stat },
            |stat| Stat { mtime: stat.mtime + 1, ..stat },
            |stat| Stat { ctime: stat.ctime + 1, ..stat },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let w = world(len, &deep());
            backdate(&w.store, w.file, &w.path, change);
            w.assert_hashed(&deep(), &format!("field {number}"));
        }
    }
}

#[test]
fn a_file_that_grew_or_was_replaced_is_hashed_and_then_known() {
    let w = world(4000, &deep());
    let before = fs::metadata(&w.path).unwrap().modified().unwrap();
    let other = w.path.with_extension("other");
    fs::write(&other, [7; 4000]).unwrap();
    File::options().write(true).open(&other).unwrap().set_modified(before).unwrap();
    fs::rename(&other, &w.path).unwrap();
    w.assert_hashed(&deep(), "another inode");
    fs::write(&w.path, [7; 4001]).unwrap();
    w.assert_hashed(&deep(), "another size");
    let cid = w.truth(&deep());
    w.swap(|stat| stat);
    assert_eq!(w.again(&deep()).cid, cid);
}

#[test]
fn lost_blocks_mean_that_it_is_hashed() {
    // Two nodes of three leaves below the root, and a file that is its only leaf.
    for len in [6000, 600] {
        let count = world(len, &deep()).blocks.len();
        assert_eq!(count, if len == 600 { 1 } else { 9 });
        for lost in 0..count {
            let mut w = world(len, &deep());
            // While it lives nothing of it is collected.
            w.first.set = None;
            let lost = Multihash::from_bytes(w.blocks.keys().nth(lost).unwrap()).unwrap();
            // Much that is dead, so that the pack is worth collecting.
            let filler = bytes(1 << 20);
            let other = peerage_content::hash::digest(0x12, &filler).unwrap();
            w.store.put_block(&other, &filler).unwrap();
            let rest = w.store.root_set_builder();
            let all = w.blocks.keys().map(|mh| Multihash::from_bytes(mh).unwrap());
            all.filter(|mh| *mh != lost).for_each(|mh| rest.insert(&mh).unwrap());
            let mut collection = w.store.collect().unwrap().unwrap();
            while collection.step().unwrap().is_some() {}
            drop(collection);
            assert_eq!(w.store.len_of(&lost).unwrap(), None);
            w.assert_hashed(&deep(), &format!("without {lost:?}"));
        }
    }
    let w = world(6000, &deep());
    let found_wrong = |mh: &&Vec<u8>| w.store.read(&Multihash::from_bytes(mh).unwrap()).unwrap().is_none();
    assert_eq!(w.blocks.keys().filter(found_wrong).count(), 6, "the leaves");
    w.assert_hashed(&deep(), "a reader has found that it changed");

    let w = world(6000, &deep());
    fs::remove_dir_all(w.store.dir().join("packs")).unwrap();
    let World { store, _temp, path, first, .. } = w;
    drop(store);
    let store = trusting(_temp.path());
    assert_ne!(one(&path, &deep(), &by_reference(&store)).cid, first.cid, "all packs are gone");
}

#[test]
fn another_profile_means_that_it_is_hashed() {
    let other = |change: fn(&mut Profile)| {
        let mut options = deep();
        change(&mut options.profile);
        options
    };
    for (len, options) in [
        (600, ImportOptions::default()),
        (600, raw()),
        (600, other(|profile| profile.cid_version = peerage_content::Version::V1)),
        (600, other(|profile| profile.hash = peerage_content::hash::Algorithm::Blake3)),
        (6000, ImportOptions::default()),
        (6000, raw()),
        (6000, other(|profile| profile.chunker = Chunker::Size(2000))),
        (6000, other(|profile| profile.chunker = Chunker::Size(500))),
        (6000, other(|profile| profile.max_links = 2)),
        (6000, other(|profile| profile.max_links = 6)),
        (6000, other(|profile| profile.hash = peerage_content::hash::Algorithm::Blake3)),
        (6000, other(|profile| profile.cid_version = peerage_content::Version::V1)),
    ] {
        world(len, &deep()).assert_hashed(&options, &format!("{:?}", options.profile));
        // And back again.
        world(len, &options).assert_hashed(&deep(), &format!("not {:?}", options.profile));
    }
    // One that makes the same of this file is as good.
    let w = world(600, &deep());
    assert_eq!(w.again(&other(|profile| profile.chunker = Chunker::Size(2000))).cid, w.first.cid);
}

#[test]
fn keeping_mode_and_time_is_another_root() {
    let kept = |options| ImportOptions { preserve: Preserve::ALL, ..options };
    for plain in [deep(), raw(), ImportOptions::default()] {
        for len in [600, 6000, (1 << 20) + 1] {
            world(len, &plain).assert_hashed(&kept(plain.clone()), "not kept before");
            world(len, &kept(plain.clone())).assert_hashed(&plain, "kept before");
            // The store is told that they always were so.
            let w = world(len, &kept(plain.clone()));
            fs::set_permissions(&w.path, fs::Permissions::from_mode(0o600)).unwrap();
            backdate(&w.store, w.file, &w.path, |stat| stat);
            w.assert_hashed(&kept(plain.clone()), "another mode");
            let w = world(len, &kept(plain.clone()));
            let time = std::time::UNIX_EPOCH + Duration::from_secs(9);
            File::options().write(true).open(&w.path).unwrap().set_modified(time).unwrap();
            backdate(&w.store, w.file, &w.path, |stat| stat);
            w.assert_hashed(&kept(plain.clone()), "another time");
        }
    }
}

#[test]
fn copies_and_bare_hashes_are_of_what_is_there() {
    let w = world(6000, &deep());
    let truth = w.truth(&deep());
    assert_ne!(truth, w.first.cid);
    let copied = one(&w.path, &deep(), &Target::Copy(w.store.clone()));
    assert_eq!(copied.cid, truth);
    fs::remove_file(&w.path).unwrap();
    assert!(blocks(&w.store, &copied).len() > 6);
}

#[test]
fn only_what_is_older_than_the_grain_of_times_is_known() {
    let temp = tempfile::tempdir().unwrap();
    let store = open_store(temp.path());
    let fresh = temp.path().join("fresh");
    fs::write(&fresh, "just now").unwrap();
    // Older than the build of this test.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for (path, known) in [(&fresh, false), (&old, true)] {
        let imported = one(path, &ImportOptions::default(), &by_reference(&store));
        let [(_, file)] = ids(&store, &imported)[..] else { panic!("one file") };
        let seen = store.seen(file).unwrap();
        assert_eq!(seen.stat, Stat::of(&fs::metadata(path).unwrap()));
        assert_eq!(seen.root, known.then_some(imported.cid));
    }
}

#[test]
fn what_waits_for_its_turn_is_bounded() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap().join("tree");
    fs::create_dir(&base).unwrap();
    for number in 0..3 * limits::QUEUE_MAX {
        fs::write(base.join(number.to_string()), bytes(1001)).unwrap();
    }
    let store = trusting(temp.path());
    let first = one(&base, &deep(), &by_reference(&store));
    let most = Cell::new(0);
    let count = |now: ImportProgress| most.set(most.get().max(now.files_found - now.files));
    let target = by_reference(&store);
    let again = import(&[base], &deep(), &target, &Threads::new(), &count, &AtomicBool::new(false));
    assert_eq!(again.unwrap()[0].cid, first.cid);
    assert!(most.get() <= limits::QUEUE_MAX as u64, "{} files wait", most.get());
}

#[test]
fn cancelling_ends_the_look_at_a_known_file() {
    let w = world(6000, &deep());
    let target = by_reference(&w.store);
    let run = |cancelled| {
        let workers = Inline(Cell::new(0), |_| panic!("it is not to be hashed"));
        let paths = std::slice::from_ref(&w.path);
        import(paths, &deep(), &target, &workers, &|_| {}, &AtomicBool::new(cancelled))
    };
    assert_eq!(run(false).unwrap()[0].cid, w.first.cid);
    assert!(matches!(run(true), Err(ImportError::Cancelled)));
}
