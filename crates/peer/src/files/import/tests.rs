//! The import against independent builds of the same trees and against
//! published CIDs, with a pool of two threads or work done on the spot.

mod known;
mod stream;
mod together;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use peerage_content::{Cid, DirectoryBuilder, Metadata, Multihash, Profile, Walk};
use peerage_store::{Config, Store};
use rustix::fs::{Mode, OFlags};

use super::limits::REMARKS_KEPT;
use super::*;

type Work = Box<dyn FnOnce() + Send>;

/// Two threads.
struct Threads(Mutex<Sender<Work>>);

impl Threads {
    fn new() -> Self {
        let (post, take) = channel::<Work>();
        let take = Arc::new(Mutex::new(take));
        for _ in 0..2 {
            let take = Arc::clone(&take);
            thread::spawn(move || {
                loop {
                    let work = take.lock().unwrap().recv();
                    let Ok(work) = work else { return };
                    work();
                }
            });
        }
        Self(Mutex::new(post))
    }
}

impl Workers for Threads {
    fn post(&self, work: Work) {
        self.0.lock().unwrap().send(work).unwrap();
    }
}

/// Does the work at once, after calling a hook with its number.
struct Inline<F: Fn(usize)>(Cell<usize>, F);

impl<F: Fn(usize)> Workers for Inline<F> {
    fn post(&self, work: Work) {
        self.1(self.0.get());
        self.0.set(self.0.get() + 1);
        work();
    }
}

fn run(paths: &[&Path], options: &ImportOptions, target: &Target) -> Result<Vec<Imported>, ImportError> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    import(&paths, options, target, &Threads::new(), &|_| {}, &AtomicBool::new(false))
}

fn one(path: &Path, options: &ImportOptions, target: &Target) -> Imported {
    run(&[path], options, target).unwrap().pop().unwrap()
}

fn both() -> [ImportOptions; 2] {
    [Profile::UNIXFS_V1_2025, Profile::UNIXFS_V0_2015]
        .map(|profile| ImportOptions { profile, ..ImportOptions::default() })
}

fn open_store(dir: &Path) -> Store {
    Store::open(&dir.join("repo"), Config::default()).unwrap().0
}

fn by_reference(store: &Store) -> Target {
    Target::Reference(Claims::new(store.clone()))
}

/// Bytes that differ everywhere.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// The CID and size of a file, built without this module.
fn file_cid(profile: &Profile, content: &[u8]) -> (Cid, u64) {
    let mut file = peerage_content::FileBuilder::new(profile);
    if content.is_empty() {
        file.push(&peerage_content::Leaf::new(profile, b""));
    }
    for chunk in content.chunks(profile.chunker.max_len()) {
        file.push(&peerage_content::Leaf::new(profile, chunk));
    }
    let built = file.finish().unwrap();
    (built.cid, built.tsize)
}

/// Every block below a root, read from the store, by multihash.
fn blocks(store: &Store, imported: &Imported) -> BTreeMap<Vec<u8>, usize> {
    let mut walk = Walk::new(imported.cid);
    let mut seen = BTreeMap::new();
    let set = imported.set.as_ref().unwrap();
    let empty = peerage_content::hash::digest(0x12, b"").unwrap();
    while let Some(visit) = walk.next() {
        let mh = visit.cid.hash();
        assert!(set.contains(mh), "{} is not in the set", visit.cid);
        if *mh == empty {
            // Needs no place.
            seen.insert(mh.to_bytes(), 0);
            continue;
        }
        let block = store.read(mh).unwrap().unwrap_or_else(|| panic!("{} is not in the store", visit.cid));
        if seen.insert(mh.to_bytes(), block.len()).is_none() && !visit.leaf {
            walk.enter(&visit, &block).unwrap();
        }
    }
    seen
}

#[test]
fn small_files_have_the_published_cids() {
    let dir = tempfile::tempdir().unwrap();
    let [v1, v0] = both();
    for (content, cids) in [
        (
            &b"hello world"[..],
            [
                "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
                "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
            ],
        ),
        (
            b"",
            [
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
                "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
            ],
        ),
    ] {
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        for (options, cid) in [&v1, &v0].into_iter().zip(cids) {
            let imported = one(&path, options, &Target::OnlyHash);
            assert_eq!(imported.cid.to_string(), cid);
            assert_eq!((imported.size, imported.files), (content.len() as u64, 1));
            assert_eq!(imported.name.as_deref(), Some("file"));
            assert!(imported.set.is_none() && imported.trees.is_empty());
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only-hash made something");
}

#[test]
fn files_of_every_length_equal_a_build_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    for options in both() {
        let chunk = options.profile.chunker.max_len();
        for len in [1, chunk - 1, chunk, chunk + 1, 5 * chunk, (1 << 20) * 3 + 7] {
            let path = dir.path().join("file");
            let content = bytes(len);
            fs::write(&path, &content).unwrap();
            let imported = one(&path, &options, &Target::OnlyHash);
            assert_eq!((imported.cid, imported.dag_size), file_cid(&options.profile, &content), "{len}");
            assert_eq!(imported.size, len as u64);
        }
    }
}

/// A tree with everything that can be in one.
fn make_tree(base: &Path) {
    fs::create_dir_all(base.join("sub/deeper/empty")).unwrap();
    fs::write(base.join("ünï 日本語.txt"), "unicode").unwrap();
    fs::write(base.join("x".repeat(255)), "long name").unwrap();
    fs::write(base.join("sub/big"), bytes((5 << 20) + 3)).unwrap();
    fs::write(base.join("sub/deeper/nothing"), "").unwrap();
    fs::write(base.join("sub/.hidden"), "secret").unwrap();
    symlink("../nowhere", base.join("sub/link")).unwrap();
}

#[test]
fn a_tree_is_what_the_builders_make_of_it_and_reads_back() {
    for options in both() {
        for hidden in [true, false] {
            let options = ImportOptions { hidden, ..options.clone() };
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("tree");
            make_tree(&base);
            let profile = &options.profile;
            let folder = |entries: &[(&str, Cid, u64)]| {
                let mut builder = DirectoryBuilder::new(profile);
                entries.iter().for_each(|(name, cid, tsize)| builder.add(name, *cid, *tsize).unwrap());
                let built = builder.finish().unwrap();
                (built.cid, built.tsize)
            };
            let file = |name, content: &[u8]| {
                let (cid, tsize) = file_cid(profile, content);
                (name, cid, tsize)
            };
            let empty = folder(&[]);
            let deeper = folder(&[("empty", empty.0, empty.1), file("nothing", b"")]);
            let link = peerage_content::symlink(profile, b"../nowhere", Metadata::default()).unwrap();
            let mut sub = vec![
                ("deeper", deeper.0, deeper.1),
                file("big", &bytes((5 << 20) + 3)),
                ("link", link.cid, link.data.len() as u64),
            ];
            sub.extend(hidden.then(|| file(".hidden", b"secret")));
            let sub = folder(&sub);
            let long = "x".repeat(255);
            let root = folder(&[
                file("ünï 日本語.txt", b"unicode"),
                file(&long, b"long name"),
                ("sub", sub.0, sub.1),
            ]);

            let store = open_store(dir.path());
            for target in [Target::OnlyHash, by_reference(&store), Target::Copy(store.clone())] {
                let imported = one(&base, &options, &target);
                assert_eq!((imported.cid, imported.dag_size), root);
                assert_eq!(imported.files, if hidden { 5 } else { 4 });
                assert_eq!(imported.remarks.hidden, u64::from(!hidden));
                if target.store().is_some() {
                    assert!(blocks(&store, &imported).len() > 10);
                }
            }
        }
    }
}

#[test]
fn references_read_back_and_nothing_is_copied() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let content = bytes((4 << 20) + 1);
        fs::write(&path, &content).unwrap();
        let store = open_store(dir.path());
        let imported = one(&path, &options, &by_reference(&store));
        let found = blocks(&store, &imported);
        assert_eq!(found.values().sum::<usize>() as u64, imported.dag_size);
        let packs: u64 = fs::read_dir(store.dir().join("packs"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(packs < 16 << 10, "{packs} bytes in the packs");
        // They lead to the file: without it only the root's own block is left.
        let [tree] = imported.trees[..] else { panic!("one tree") };
        assert_eq!(store.files_of(tree).len(), 1);
        assert!(store.seen(store.files_of(tree)[0].id).is_some());
        fs::remove_file(&path).unwrap();
        drop(store);
        let store = open_store(dir.path());
        let readable = |mh: &Vec<u8>| store.read(&Multihash::from_bytes(mh).unwrap()).unwrap().is_some();
        assert_eq!(found.keys().filter(|mh| readable(mh)).count(), 1);
    }
}

#[test]
fn importing_again_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("tree");
    make_tree(&base);
    let store = open_store(dir.path());
    let target = by_reference(&store);
    let size = || fs::metadata(store.dir().join("journal")).unwrap().len();
    let first = one(&base, &ImportOptions::default(), &target);
    let (journal, files) = (size(), store.files_of(first.trees[0]));
    let second = one(&base, &ImportOptions::default(), &target);
    assert_eq!((second.cid, &second.trees), (first.cid, &first.trees));
    assert_eq!((size(), store.files_of(first.trees[0])), (journal, files));
}

#[test]
fn a_wide_folder_is_sharded() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("wide");
    fs::create_dir(&base).unwrap();
    let profile = Profile::default();
    let mut builder = DirectoryBuilder::new(&profile);
    for number in 0..9000 {
        let name = format!("file-{number:05}");
        fs::write(base.join(&name), &name).unwrap();
        let (cid, tsize) = file_cid(&profile, name.as_bytes());
        builder.add(&name, cid, tsize).unwrap();
    }
    let built = builder.finish().unwrap();
    assert!(built.blocks.len() > 1);
    let last = RefCell::new(ImportProgress::default());
    let imported = import(
        &[base],
        &ImportOptions::default(),
        &Target::OnlyHash,
        &Threads::new(),
        &|now| *last.borrow_mut() = now,
        &AtomicBool::new(false),
    );
    let [imported] = &imported.unwrap()[..] else { panic!("one root") };
    assert_eq!((imported.cid, imported.dag_size, imported.files), (built.cid, built.tsize, 9000));
    let total = 9000 * 10;
    let all =
        ImportProgress { bytes: total, bytes_found: total, files: 9000, files_found: 9000, all_found: true };
    assert_eq!(*last.borrow(), all);
}

#[test]
fn several_paths_make_a_root_each_or_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "one").unwrap();
    fs::create_dir(&b).unwrap();
    symlink(&a, dir.path().join("c")).unwrap();
    let c = dir.path().join("c");
    let store = open_store(dir.path());
    let target = by_reference(&store);
    let each = run(&[&a, &b], &ImportOptions::default(), &target).unwrap();
    let wrapped = ImportOptions { wrap: true, ..ImportOptions::default() };
    let [around] = &run(&[&a, &b, &c], &wrapped, &target).unwrap()[..] else { panic!("one root") };
    let mut folder = DirectoryBuilder::new(&Profile::default());
    folder.add("a", each[0].cid, each[0].dag_size).unwrap();
    folder.add("b", each[1].cid, each[1].dag_size).unwrap();
    folder.add("c", each[0].cid, each[0].dag_size).unwrap();
    assert_eq!(around.cid, folder.finish().unwrap().cid);
    assert_eq!((around.name.as_deref(), around.paths.len()), (None, 3));
    assert_eq!(blocks(&store, around).len(), 3);

    fs::create_dir(dir.path().join("d")).unwrap();
    let other = dir.path().join("d/a");
    fs::write(&other, "two").unwrap();
    match run(&[&a, &other], &wrapped, &target) {
        Err(error @ ImportError::SameName { .. }) => {
            let text = error.to_string();
            assert!(text.contains(a.canonicalize().unwrap().to_str().unwrap()) && text.contains("d/a"));
        }
        other => panic!("{other:?}"),
    }
}

/// A file, a folder, and a file that lies directly in that folder and has a namesake
/// beside the first.
#[test]
fn a_file_is_read_in_its_own_folder_whatever_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (name, content) in [("a/x", "x"), ("a/id_rsa", "secret"), ("b/id_rsa", "public"), ("b/z", "z")] {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), content).unwrap();
    }
    let store = open_store(dir.path());
    let profile = Profile::default();
    let (x, public) = (file_cid(&profile, b"x"), file_cid(&profile, b"public"));
    let mut b = DirectoryBuilder::new(&profile);
    b.add("id_rsa", public.0, public.1).unwrap();
    b.add("z", file_cid(&profile, b"z").0, 1).unwrap();
    let b = b.finish().unwrap().cid;
    let sources = [path("a/x"), path("b"), path("b/id_rsa"), path("a"), path("b/id_rsa")];
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    for target in [Target::OnlyHash, Target::Copy(store.clone()), by_reference(&store)] {
        let imported = run(&sources, &ImportOptions::default(), &target).unwrap();
        let cids: Vec<Cid> = imported.iter().map(|imported| imported.cid).collect();
        assert_eq!((cids[0], cids[1], cids[2], cids[4]), (x.0, b, public.0, public.0));
        if target.store().is_some() {
            imported.iter().for_each(|imported| drop(blocks(&store, imported)));
        }
    }
}

#[test]
fn what_cannot_be_in_a_folder_is_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap().join("tree");
    fs::create_dir(&base).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, base.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(base.join("socket")).unwrap();
    fs::write(base.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
    fs::write(base.join("a\tb"), "tab").unwrap();
    fs::write(base.join("a\\b"), "backslash").unwrap();
    let store = Store::open(&base.join("repo"), Config::default()).unwrap().0;
    let target = by_reference(&store);
    let imported = one(&base, &ImportOptions::default(), &target);
    let included = one(&base, &ImportOptions { any_name: true, ..ImportOptions::default() }, &target);
    drop(socket);
    let remarks = |imported: &Imported| -> Vec<_> {
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        imported.remarks.listed.iter().map(|(path, remark)| (name(path), *remark)).collect()
    };
    assert_eq!(
        remarks(&imported),
        [
            ("a\tb".into(), Remark::BadName(NameError::Control)),
            ("a\\b".into(), Remark::Backslash),
            ("fifo".into(), Remark::Fifo),
            ("repo".into(), Remark::Repository),
            ("socket".into(), Remark::Socket),
            (std::ffi::OsStr::from_bytes(b"\xff").to_owned(), Remark::NotUtf8),
        ]
    );
    assert_eq!(remarks(&included)[0], ("a\tb".into(), Remark::Unwritable(NameError::Control)));
    assert_eq!((imported.files, included.files), (1, 2));
    let store = open_store(dir.path());
    let inside = run(&[&store.dir().join("packs")], &ImportOptions::default(), &by_reference(&store));
    assert!(matches!(inside, Err(ImportError::Repository { .. })), "{inside:?}");
    let fifo = run(&[&base.join("fifo")], &ImportOptions::default(), &Target::OnlyHash);
    assert!(matches!(fifo, Err(ImportError::NotAFile { .. })), "{fifo:?}");
}

#[test]
fn remarks_are_bounded_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..REMARKS_KEPT + 5 {
        fs::write(dir.path().join(format!(".{number}")), "").unwrap();
    }
    let options = ImportOptions { hidden: false, ..ImportOptions::default() };
    let remarks = one(dir.path(), &options, &Target::OnlyHash).remarks;
    assert_eq!((remarks.listed.len(), remarks.more), (REMARKS_KEPT, 5));
    assert_eq!(remarks.hidden, REMARKS_KEPT as u64 + 5);
}

/// Imports a large file into which `hook` writes when the job of that number is posted.
fn import_while(store: &Store, path: &Path, hook: impl Fn(usize)) -> Result<Vec<Imported>, ImportError> {
    let workers = Inline(Cell::new(0), hook);
    let target = by_reference(store);
    let options = ImportOptions::default();
    import(&[path.to_path_buf()], &options, &target, &workers, &|_| {}, &AtomicBool::new(false))
}

#[test]
fn a_file_that_changes_once_is_read_again_and_twice_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for len in [10, 3 << 20] {
        let path = dir.path().join(format!("file{len}"));
        let before = bytes(len);
        fs::write(&path, &before).unwrap();
        let store = open_store(dir.path());
        // Grows just before it is read for the first time.
        let grow = || {
            let mut file = File::options().append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, b"more").unwrap();
        };
        let imported = import_while(&store, &path, |job| {
            if job == 0 && len > 10 {
                grow();
            }
        })
        .unwrap();
        let now = fs::read(&path).unwrap();
        assert_eq!(imported[0].cid, file_cid(&Profile::default(), &now).0);
        assert_eq!(imported[0].size, now.len() as u64);
        assert!(blocks(&store, &imported[0]).len() <= 5);
        assert_eq!(
            store.files_of(imported[0].trees[0]).iter().filter(|file| path.ends_with(&file.path)).count(),
            1
        );
        if len > 10 {
            // Before the first of three jobs of each try.
            let error = import_while(&store, &path, |_| grow()).unwrap_err();
            assert!(matches!(&error, ImportError::Changed { path: told } if told.ends_with("file3145728")));
        }
    }
}

#[test]
fn a_file_swapped_for_a_symlink_or_removed_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("tree");
    fs::create_dir(&base).unwrap();
    let (path, secret) = (base.join("file"), dir.path().join("secret"));
    fs::write(&secret, "secret").unwrap();
    fs::write(&path, "public").unwrap();
    let store = open_store(dir.path());
    let swapped = import_while(&store, &base, |_| {
        fs::remove_file(&path).ok();
        symlink(&secret, &path).ok();
    });
    assert!(matches!(swapped, Err(ImportError::Changed { .. })), "{swapped:?}");
    assert!(store.trees().is_empty(), "a failed import leaves its tree behind");

    fs::remove_file(&path).unwrap();
    fs::write(&path, "public").unwrap();
    let imported = import_while(&store, &base, |_| fs::remove_file(&path).unwrap()).unwrap();
    assert_eq!(imported[0].files, 0);
    assert_eq!(imported[0].remarks.listed[0].1, Remark::Vanished);
}

#[test]
fn an_error_names_the_path_and_registers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let missing = dir.path().join("missing");
    let error = run(&[&missing], &ImportOptions::default(), &by_reference(&store)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("missing") && text.contains("spelling"), "{text}");

    let base = dir.path().join("deep");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("a"), "a").unwrap();
    let mut path = base.clone();
    for _ in 0..=limits::DEPTH_MAX {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let deep = run(&[&base], &ImportOptions::default(), &by_reference(&store));
    assert!(matches!(deep, Err(ImportError::TooDeep { .. })), "{deep:?}");
    assert!(store.trees().is_empty());
}

#[test]
fn cancelling_ends_it_and_registers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("tree");
    make_tree(&base);
    let store = open_store(dir.path());
    let cancelled = AtomicBool::new(false);
    let workers = Inline(Cell::new(0), |job| cancelled.store(job == 1, Ordering::Relaxed));
    let target = by_reference(&store);
    let result = import(&[base], &ImportOptions::default(), &target, &workers, &|_| {}, &cancelled);
    assert!(matches!(result, Err(ImportError::Cancelled)), "{result:?}");
    assert!(store.trees().is_empty());
}

#[test]
fn a_cancelled_import_leaves_the_files_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    let store = open_store(dir.path());
    let target = by_reference(&store);
    let cancelled = AtomicBool::new(false);
    let other = RefCell::new(None);
    let workers = Inline(Cell::new(0), |_| {
        *other.borrow_mut() = Some(one(&b, &ImportOptions::default(), &target));
        cancelled.store(true, Ordering::Relaxed);
    });
    let result = import(&[a], &ImportOptions::default(), &target, &workers, &|_| {}, &cancelled);
    assert!(matches!(result, Err(ImportError::Cancelled)), "{result:?}");
    let other = other.take().unwrap();
    assert_eq!(store.read(other.cid.hash()).unwrap().unwrap(), &b"b"[..]);
    let files = store.files_of(other.trees[0]);
    assert_eq!(files.iter().map(|file| file.path.as_path()).collect::<Vec<_>>(), [Path::new("b")]);
}

#[test]
fn many_paths_in_one_folder_are_hashed_together() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..100).map(|nth| dir.path().join(format!("f{nth}"))).collect();
    for path in &paths {
        fs::write(path, path.as_os_str().as_bytes()).unwrap();
    }
    let store = open_store(dir.path());
    let target = by_reference(&store);
    let options = ImportOptions { wrap: true, ..ImportOptions::default() };
    let workers = Inline(Cell::new(0), |_| ());
    let imported = import(&paths, &options, &target, &workers, &|_| {}, &AtomicBool::new(false)).unwrap();
    // One for the folder around them, before its first tree.
    assert_eq!(workers.0.get(), 1 + paths.len().div_ceil(limits::JOB_FILES));
    assert_eq!((imported[0].files, imported[0].trees.len()), (100, 1));
    assert_eq!(store.files_of(imported[0].trees[0]).len(), 100);
}

#[test]
fn a_fetch_that_is_not_finished_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("tree");
    let (part, named_so) = (base.join(".x.abcdefgh.peerage-part"), base.join(".y.abcdefgh.peerage-part"));
    for folder in [&part, &named_so] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
    }
    fs::write(part.join(".peerage-lock"), "1\n").unwrap();
    let imported = one(&base, &ImportOptions::default(), &Target::OnlyHash);
    assert_eq!(imported.files, 1, "a folder without a lock is the user's own");
    assert_eq!(imported.remarks.listed, [(fs::canonicalize(&part).unwrap(), Remark::Unfinished)]);
}

#[test]
fn names_and_paths_that_cannot_be_are_told_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::write(&path, "x").unwrap();
    let imported = one(&path, &ImportOptions::default(), &Target::OnlyHash);
    assert_eq!(imported.remarks.listed.len(), 1);
    assert_eq!(imported.remarks.listed[0].1, Remark::Unwritable(NameError::NotUtf8));

    let twice = dir.path().join("twice");
    fs::write(&twice, "x").unwrap();
    let wrap = ImportOptions { wrap: true, ..ImportOptions::default() };
    let error = run(&[&twice, &twice], &wrap, &Target::OnlyHash).unwrap_err();
    assert!(matches!(error, ImportError::Twice { .. }), "{error}");

    let base = dir.path().join("long");
    fs::create_dir(&base).unwrap();
    let mut folder = rustix::fs::open(&base, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "x".repeat(255);
    for _ in 0..16 {
        rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(rustix::fs::openat(&folder, &name, OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap());
    let error = run(&[&base], &ImportOptions::default(), &by_reference(&open_store(dir.path()))).unwrap_err();
    assert!(matches!(error, ImportError::PathTooLong { .. }), "{error}");
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn a_lost_worker_is_an_error() {
    struct Lazy;
    impl Workers for Lazy {
        fn post(&self, work: Work) {
            drop(work);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let paths = [dir.path().to_path_buf()];
    let cancelled = AtomicBool::new(false);
    let result = import(&paths, &ImportOptions::default(), &Target::OnlyHash, &Lazy, &|_| {}, &cancelled);
    assert!(matches!(result, Err(ImportError::WorkerLost)), "{result:?}");
}

#[test]
fn mode_and_time_are_kept_if_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.sh");
    fs::write(&path, "#!/bin/sh").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 5);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let mtime = peerage_content::Mtime { seconds: 1_700_000_000, nanoseconds: 5 };
    let kept = Metadata { mode: Some(0o751), mtime: Some(mtime) };
    for options in both() {
        let plain = one(&path, &options, &Target::OnlyHash);
        assert_eq!((plain.cid, plain.executables), (file_cid(&options.profile, b"#!/bin/sh").0, 1));
        let options = ImportOptions { preserve: Preserve::ALL, ..options };
        let store = open_store(dir.path());
        let imported = one(&path, &options, &by_reference(&store));
        assert_eq!(imported.cid, peerage_content::Leaf::only(&options.profile, b"#!/bin/sh", kept).cid);
        assert_eq!(blocks(&store, &imported).len(), 1);
    }
}

#[test]
fn parameters_that_make_nothing_to_read_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let profile = Profile { hamt_fanout: 1, shard_above: 1, ..Profile::default() };
    let result =
        run(&[dir.path()], &ImportOptions { profile, ..ImportOptions::default() }, &Target::OnlyHash);
    assert!(matches!(result, Err(ImportError::Profile(_))), "{result:?}");
}
