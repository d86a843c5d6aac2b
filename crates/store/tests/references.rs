//! Blocks that are pieces of users' files: what happens when the files change.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of our own")]

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peerage_store::{
    Candidate, Change, Compared, Config, Durability, FileId, MAX_FILES_OF_BLOCK, MAX_LOCATIONS, Multihash,
    Notice, Reference, Seen, Stat, Store, TreeId,
};

fn hash(bytes: &[u8]) -> Multihash {
    peerage_content::hash::digest(0x12, bytes).unwrap()
}

fn content() -> Vec<u8> {
    (0..3000u32).map(|n| (n * n % 251) as u8).collect()
}

const PIECE: usize = 1000;

struct World {
    _temp: tempfile::TempDir,
    base: PathBuf,
    store: Store,
    tree: TreeId,
    file: FileId,
    blocks: Vec<(Multihash, Vec<u8>)>,
}

impl World {
    fn path(&self) -> PathBuf {
        self.base.join("sub/file")
    }

    /// Where the `n`th block lies.
    fn reference(&self, n: usize) -> Reference {
        reference(self.file, n)
    }
}

fn reference(file: FileId, n: usize) -> Reference {
    let (head, tail) = (b"head".to_vec(), b"tail!".to_vec());
    Reference { file, offset: (n * PIECE) as u64, len: PIECE as u32, head, tail }
}

/// A file of three pieces, with a head and a tail around each.
fn world() -> World {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("shared");
    fs::create_dir_all(base.join("sub")).unwrap();
    fs::write(base.join("sub/file"), content()).unwrap();
    let (store, _) = Store::open(&temp.path().join("repo"), Config::default()).unwrap();
    let tree = store.add_tree(&base).unwrap();
    let file = store.add_file(tree, Path::new("sub/file"), None).unwrap();
    let mut blocks = Vec::new();
    for (n, piece) in content().chunks(PIECE).enumerate() {
        let block = [&b"head"[..], piece, b"tail!"].concat();
        let reference = reference(file, n);
        assert!(store.put_reference(&hash(&block), &reference).unwrap());
        assert!(!store.put_reference(&hash(&block), &reference).unwrap());
        blocks.push((hash(&block), block));
    }
    World { _temp: temp, base, store, tree, file, blocks }
}

fn changes(store: &Store) -> Vec<(PathBuf, Multihash, Change)> {
    let notices = store.drain_notices().into_iter().map(|notice| match notice {
        Notice::FileChanged { path, block, change } => (path, block, change),
        other => panic!("{other:?}"),
    });
    notices.collect()
}

fn assert_all_right(w: &World) {
    for (mh, block) in &w.blocks {
        assert_eq!(w.store.len_of(mh).unwrap(), Some(block.len() as u32));
        assert_eq!(w.store.read(mh).unwrap().as_deref(), Some(&block[..]));
    }
    assert_eq!(w.store.drain_notices(), []);
}

/// Makes the file's times old, so that the store may trust them.
fn settle(path: &Path) {
    let old = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn an_untouched_file_is_served_and_survives_reopening() {
    let w = world();
    assert_all_right(&w);
    w.store.commit(Durability::Buffered).unwrap();
    let dir = w.store.dir().to_path_buf();
    let World { store, blocks, _temp, .. } = w;
    drop(store);
    let (store, report) = Store::open(&dir, Config::default()).unwrap();
    assert!(!report.is_notable());
    for (mh, block) in &blocks {
        assert_eq!(store.read(mh).unwrap().as_deref(), Some(&block[..]));
    }
}

#[test]
fn a_changed_piece_is_dropped_and_told_and_the_others_stay() {
    for settled in [false, true] {
        let w = world();
        if settled {
            settle(&w.path());
        }
        assert_all_right(&w);
        File::options().write(true).open(w.path()).unwrap().write_all_at(b"!", 1500).unwrap();
        if settled {
            settle(&w.path());
        }
        assert_eq!(w.store.read(&w.blocks[1].0).unwrap(), None);
        assert_eq!(changes(&w.store), [(w.path(), w.blocks[1].0, Change::Content)]);
        assert_eq!(w.store.len_of(&w.blocks[1].0).unwrap(), None);
        assert_eq!(w.store.read(&w.blocks[1].0).unwrap(), None);
        assert_eq!(changes(&w.store), []);
        assert!(w.store.read(&w.blocks[0].0).unwrap().is_some());
        assert!(w.store.read(&w.blocks[2].0).unwrap().is_some());
        // What was dropped stays dropped, but the block may come back.
        assert!(w.store.put_block(&w.blocks[1].0, &w.blocks[1].1).unwrap());
        assert_all_right(&w);
    }
}

#[test]
fn a_file_that_shrank_keeps_what_is_left() {
    let w = world();
    assert_all_right(&w);
    File::options().write(true).open(w.path()).unwrap().set_len(2500).unwrap();
    assert_eq!(w.store.read(&w.blocks[2].0).unwrap(), None);
    assert_eq!(changes(&w.store), [(w.path(), w.blocks[2].0, Change::Shrunk)]);
    assert!(w.store.read(&w.blocks[1].0).unwrap().is_some());
}

#[test]
fn a_file_that_is_away_is_served_again_when_it_is_back() {
    let w = world();
    assert_all_right(&w);
    let away = w.base.join("away");
    let (store, _) = (w.store.clone(), ());
    fs::rename(w.path(), &away).unwrap();
    fs::copy(&away, w.base.join("copy")).unwrap();
    fs::remove_file(&away).unwrap();
    for (mh, _) in &w.blocks {
        assert_eq!(store.read(mh).unwrap(), None);
        assert_eq!(store.len_of(mh).unwrap(), None);
    }
    assert_eq!(changes(&store), [(w.path(), w.blocks[0].0, Change::Missing)]);
    fs::rename(w.base.join("copy"), w.path()).unwrap();
    assert!(store.read(&w.blocks[2].0).unwrap().is_some());
    assert_all_right(&w);
}

/// Who shares it again has just read it.
#[test]
fn a_missing_file_that_is_shared_again_is_there_at_once() {
    for by_stat in [false, true] {
        let w = world();
        fs::rename(w.path(), w.base.join("away")).unwrap();
        assert_eq!(w.store.read(&w.blocks[0].0).unwrap(), None);
        assert_eq!(w.store.len_of(&w.blocks[1].0).unwrap(), None);
        fs::rename(w.base.join("away"), w.path()).unwrap();
        if by_stat {
            let stat = Stat::of(&fs::metadata(w.path()).unwrap());
            w.store.set_seen(w.file, stat.into()).unwrap();
        } else {
            let (head, tail) = (b"head".to_vec(), b"tail!".to_vec());
            let reference = Reference { file: w.file, offset: 0, len: PIECE as u32, head, tail };
            assert!(!w.store.put_reference(&w.blocks[0].0, &reference).unwrap());
        }
        assert_eq!(w.store.len_of(&w.blocks[1].0).unwrap(), Some(1009));
    }
}

#[test]
fn nothing_is_read_through_a_symlink() {
    for folder in [false, true] {
        let w = world();
        let (link, real) =
            if folder { (w.base.join("sub"), w.base.join("real")) } else { (w.path(), w.base.join("real")) };
        fs::rename(&link, &real).unwrap();
        symlink(&real, &link).unwrap();
        for (mh, _) in &w.blocks {
            assert_eq!(w.store.read(mh).unwrap(), None);
        }
        assert_eq!(changes(&w.store), [(w.path(), w.blocks[0].0, Change::NotAFile)]);
        assert_eq!(w.store.len_of(&w.blocks[0].0).unwrap(), None);
        // It is known as long as nobody says otherwise.
        fs::remove_file(&link).unwrap();
        fs::rename(&real, &link).unwrap();
        // A read looks for it at once.
        assert!(w.store.read(&w.blocks[0].0).unwrap().is_some());
        assert_all_right(&w);
        assert_eq!(w.store.sizes().dropped, 0);
    }
}

#[test]
fn a_fifo_or_folder_in_its_place_blocks_nothing() {
    for fifo in [false, true] {
        let w = world();
        fs::remove_file(w.path()).unwrap();
        if fifo {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, w.path(), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        } else {
            fs::create_dir(w.path()).unwrap();
        }
        assert_eq!(w.store.read(&w.blocks[0].0).unwrap(), None);
        assert_eq!(changes(&w.store), [(w.path(), w.blocks[0].0, Change::NotAFile)]);
        assert_eq!(w.store.lost_files(peerage_store::FileId(0), 9).unwrap().0.len(), 0, "no stat was noted");
        assert_eq!(w.store.sizes().dropped, 0);
    }
}

#[test]
fn a_replaced_file_with_other_bytes_is_never_served() {
    let w = world();
    settle(&w.path());
    assert_all_right(&w);
    fs::write(w.base.join("new"), vec![7; 3000]).unwrap();
    fs::rename(w.base.join("new"), w.path()).unwrap();
    for (mh, _) in &w.blocks {
        assert_eq!(w.store.read(mh).unwrap(), None);
    }
    assert_eq!(changes(&w.store).len(), 3);
}

#[test]
fn a_touched_file_with_the_same_bytes_is_served() {
    let w = world();
    settle(&w.path());
    assert_all_right(&w);
    fs::write(w.path(), content()).unwrap();
    assert_all_right(&w);
}

#[test]
fn a_moved_tree_is_one_record() {
    let w = world();
    let moved = w.base.with_extension("moved");
    fs::rename(&w.base, &moved).unwrap();
    w.store.move_tree(w.tree, &moved).unwrap();
    assert_all_right(&w);
    let stat = Stat::of(&fs::metadata(moved.join("sub/file")).unwrap());
    let seen = Seen { stat, root: None };
    w.store.set_seen(w.file, seen).unwrap();
    assert_eq!(w.store.seen(w.file), Some(seen));
    assert_eq!(w.store.file_path(w.file), Some((moved, "sub/file".into())));
}

#[test]
fn what_was_seen_of_a_file_survives_reopening_and_compaction() {
    let w = world();
    let stat = Stat::of(&fs::metadata(w.path()).unwrap());
    let root = Some(peerage_content::Cid::new_v1(0x55, w.blocks[0].0));
    let other = Stat { mtime: stat.mtime + 1, ..stat };
    let dir = w.store.dir().to_path_buf();
    let mut store = w.store;
    for seen in [Seen { stat, root }, Seen { stat: other, root: None }, Seen { stat, root }] {
        store.set_seen(w.file, seen).unwrap();
        let bytes = store.sizes().journal_bytes;
        store.set_seen(w.file, seen).unwrap();
        store.set_seen(w.file, Seen { root: None, ..seen }).unwrap();
        assert_eq!(store.sizes().journal_bytes, bytes, "said twice");
        store.commit(Durability::Buffered).unwrap();
        drop(store);
        store = Store::open(&dir, Config::default()).unwrap().0;
        assert_eq!(store.seen(w.file), Some(seen));
    }
    // So many dead records that the journal is rewritten.
    let gone = store.add_tree(Path::new("/nowhere")).unwrap();
    for n in 0..5000 {
        store.add_file(gone, Path::new(&n.to_string()), None).unwrap();
    }
    store.remove_tree(gone).unwrap();
    let before = store.sizes().journal_bytes;
    while store.maintain().unwrap() {}
    assert!(store.sizes().journal_bytes * 10 < before);
    drop(store);
    let store = Store::open(&dir, Config::default()).unwrap().0;
    assert_eq!(store.seen(w.file), Some(Seen { stat, root }));
    assert!(store.set_seen(FileId(1 << 40), Seen { stat, root }).is_err());
}

#[test]
fn many_wrong_places_are_forgotten_with_their_pack() {
    const MANY: usize = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let config = || Config { pack_records: MANY * 3 / 4, ..Config::default() };
    let (store, _) = Store::open(&dir, config()).unwrap();
    let path = temp.path().join("file");
    let tree = store.add_tree(&path).unwrap();
    let file = store.add_file(tree, Path::new(""), None).unwrap();
    let piece = |n: usize| (n as u64).to_be_bytes();
    for n in 0..MANY {
        let reference = Reference { file, offset: n as u64 * 8, len: 8, head: vec![], tail: vec![] };
        assert!(store.put_reference(&hash(&piece(n)), &reference).unwrap());
    }
    // One of ten is as it was.
    let new: Vec<u8> = (0..MANY).flat_map(|n| if n % 10 == 0 { piece(n) } else { [1; 8] }).collect();
    fs::write(&path, new).unwrap();
    let readable = |store: &Store| {
        (0..MANY).filter(|n| store.read(&hash(&piece(*n))).unwrap().is_some()).eq((0..MANY).step_by(10))
    };
    assert!(readable(&store));
    assert_eq!(store.sizes().dropped, MANY * 9 / 10);
    drop(store);
    let (store, _) = Store::open(&dir, config()).unwrap();
    assert_eq!(store.sizes().dropped, MANY * 9 / 10);
    while store.maintain().unwrap() {}
    // Those of the pack that takes new records stay.
    assert_eq!((store.sizes().dropped, store.sizes().references), (4500, 1500 + 5000));
    assert!(readable(&store));
    let journal = store.sizes().journal_bytes;
    drop(store);
    let (store, _) = Store::open(&dir, config()).unwrap();
    assert_eq!((store.sizes().dropped, store.sizes().journal_bytes), (4500, journal));
    assert!(readable(&store));
}

#[test]
fn a_file_is_settled_when_its_times_are_old() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    fs::write(&path, "new").unwrap();
    let stat = Stat::of(&fs::metadata(&path).unwrap());
    let open = |dir: &str, config| Store::open(&temp.path().join(dir), config).unwrap().0;
    let usual = open("usual", Config::default());
    let old = stat.ctime - 3_000_000_000;
    assert!(!usual.is_settled(&stat));
    assert!(
        !usual.is_settled(&Stat { mtime: old, ..stat }) && !usual.is_settled(&Stat { ctime: old, ..stat })
    );
    assert!(usual.is_settled(&Stat { mtime: old, ctime: old, ..stat }));
    assert!(open("fine", Config { time_grain: Duration::ZERO, ..Config::default() }).is_settled(&stat));
}

#[test]
fn a_reference_counts_until_its_location_is_lost() {
    let w = world();
    let referred = |n: usize, change: fn(&mut Reference)| {
        let mut reference = w.reference(n);
        change(&mut reference);
        w.store.is_referred(&w.blocks[n].0, &reference).unwrap()
    };
    assert!((0..3).all(|n| referred(n, |_| {}) && referred(n, |place| place.offset += 1)));
    for change in [
        (|place| place.len += 1) as fn(&mut Reference),
        |place| place.head.push(b'x'),
        |place| place.tail.push(b'x'),
    ] {
        assert!(!referred(0, change));
    }
    // A copy in a pack is no reference.
    w.store.put_block(&hash(b"copy"), b"copy").unwrap();
    let copy = Reference { len: 4, head: vec![], tail: vec![], ..w.reference(0) };
    assert!(!w.store.is_referred(&hash(b"copy"), &copy).unwrap());
    // Found wrong when it is read.
    File::options().write(true).open(w.path()).unwrap().write_all_at(b"!", 10).unwrap();
    assert_eq!(w.store.read(&w.blocks[0].0).unwrap(), None);
    assert!(!referred(0, |_| {}) && referred(1, |_| {}));
    // While packs are being collected only new records are sure to stay.
    let collection = w.store.collect().unwrap().unwrap();
    assert!(!referred(1, |_| {}));
    assert!(w.store.put_reference(&w.blocks[1].0, &w.reference(1)).unwrap());
    assert!(referred(1, |_| {}) && !referred(2, |_| {}));
    drop(collection);
    assert!(referred(2, |_| {}));
}

#[test]
fn a_place_in_another_file_counts_if_it_reads_right() {
    let w = world();
    fs::write(w.base.join("copy"), content()).unwrap();
    let copy = w.store.add_file(w.tree, Path::new("copy"), None).unwrap();
    let referred = || w.store.is_referred(&w.blocks[0].0, &reference(copy, 0)).unwrap();
    assert!(referred());
    File::options().write(true).open(w.path()).unwrap().write_all_at(b"!", 10).unwrap();
    assert!(!referred());
    w.store.put_reference(&w.blocks[0].0, &reference(copy, 0)).unwrap();
    assert!(referred());
}

#[test]
fn files_are_found_by_their_paths_and_listed() {
    let w = world();
    let add = |tree, path: &str| w.store.add_file(tree, Path::new(path), None).unwrap();
    let found = |tree, path: &str| w.store.file_by_path(tree, Path::new(path)).unwrap();
    let other = w.store.add_tree(Path::new("/elsewhere")).unwrap();
    assert!(!w.store.has_files_in(other) && found(other, "sub/file").is_none());
    let many: Vec<FileId> = (0..1000).map(|n| add(other, &format!("file{n}"))).collect();
    assert_eq!((found(w.tree, "sub/file"), found(w.tree, "file7")), (Some(w.file), None));
    assert_eq!(found(other, "file7"), Some(many[7]));
    let again = add(other, "file7");
    assert_eq!(found(other, "file7"), Some(again));
    w.store.remove_file(again).unwrap();
    assert_eq!(found(other, "file7"), Some(many[7]));
    w.store.remove_file(many[7]).unwrap();
    assert_eq!(found(other, "file7"), None);
    let listed: Vec<FileId> = w.store.files_in(other).map(|file| file.unwrap().id).collect();
    let expected: Vec<FileId> = many.iter().copied().filter(|id| *id != many[7]).collect();
    assert_eq!(listed, expected);
    assert!(w.store.files_of(other).into_iter().map(|file| file.id).eq(expected));
    // What goes while it is listed may still be told, what comes is.
    let mut listing = w.store.files_in(other);
    listing.next().unwrap().unwrap();
    let last = add(other, "last");
    assert_eq!(listing.last().unwrap().unwrap().id, last);
    let listing = w.store.files_in(other);
    w.store.remove_tree(other).unwrap();
    assert_eq!((listing.count(), w.store.files_of(other).len(), found(other, "last")), (0, 0, None));
    assert_eq!(w.store.sizes().files, 1);
}

#[test]
fn a_removed_tree_is_gone_and_its_ids_are_not_given_again() {
    let w = world();
    w.store.remove_tree(w.tree).unwrap();
    for (mh, _) in &w.blocks {
        assert_eq!(w.store.len_of(mh).unwrap(), None);
        assert_eq!(w.store.read(mh).unwrap(), None);
    }
    assert_eq!(w.store.drain_notices(), []);
    w.store.commit(Durability::Buffered).unwrap();
    let dir = w.store.dir().to_path_buf();
    let World { store, blocks, file, base, _temp, .. } = w;
    drop(store);
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    let tree = store.add_tree(&base).unwrap();
    assert!(tree.0 > file.0);
    assert!(store.add_file(tree, Path::new("sub/file"), None).unwrap().0 > file.0);
    assert_eq!(store.len_of(&blocks[0].0).unwrap(), None);
}

#[test]
fn a_file_being_written_is_read_through_its_handle() {
    let temp = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&temp.path().join("repo"), Config::default()).unwrap();
    let tree = store.add_tree(&temp.path().join("part")).unwrap();
    let file = store.add_file(tree, Path::new(""), None).unwrap();
    let path = temp.path().join("part");
    let handle = Arc::new(File::options().read(true).write(true).create_new(true).open(&path).unwrap());
    store.attach_handle(file, Arc::clone(&handle));
    let piece = vec![5; 700];
    handle.write_all_at(&piece, 300).unwrap();
    let reference = Reference { file, offset: 300, len: 700, head: vec![], tail: vec![] };
    store.put_reference(&hash(&piece), &reference).unwrap();
    assert_eq!(store.read(&hash(&piece)).unwrap().as_deref(), Some(&piece[..]));
    // The file takes its final name, and the base is the file.
    let done = temp.path().join("done");
    fs::rename(&path, &done).unwrap();
    store.move_tree(tree, &done).unwrap();
    store.detach_handle(file);
    assert_eq!(store.read(&hash(&piece)).unwrap().as_deref(), Some(&piece[..]));
    assert_eq!(store.drain_notices(), []);
}

#[test]
fn what_was_hashed_while_it_was_imported_is_hashed_again_only_if_the_file_changed() {
    let temp = tempfile::tempdir().unwrap();
    // Nothing that is hashed passes, so what is read was not.
    let config = Config { verify: |_, _| false, ..Config::default() };
    let (store, _) = Store::open(&temp.path().join("repo"), config).unwrap();
    let path = temp.path().join("file");
    fs::write(&path, [5; 1000]).unwrap();
    let tree = store.add_tree(&path).unwrap();
    let file = store.add_file(tree, Path::new(""), None).unwrap();
    let put = |offset: u64| {
        let reference = Reference { file, offset, len: 400, head: vec![1], tail: vec![2, 3] };
        let mh = hash(&offset.to_be_bytes());
        store.put_reference(&mh, &reference).unwrap();
        (mh, reference)
    };
    let (trusted, reference) = put(0);
    store.trust_hashed(&trusted, &reference, &Stat::of(&fs::metadata(&path).unwrap()));
    let block = [&[1][..], &[5; 400], &[2, 3]].concat();
    assert_eq!(store.read(&trusted).unwrap().as_deref(), Some(&block[..]));
    let (unknown, _) = put(500);
    assert_eq!(store.read(&unknown).unwrap(), None);
    let (trusted, reference) = put(600);
    store.trust_hashed(&trusted, &reference, &Stat::of(&fs::metadata(&path).unwrap()));
    fs::write(&path, [5; 1001]).unwrap();
    assert_eq!(store.read(&trusted).unwrap(), None);
}

#[test]
fn a_reference_that_was_not_put_through_the_handle_is_hashed() {
    let w = world();
    File::options().write(true).open(w.path()).unwrap().write_all_at(b"!", 10).unwrap();
    w.store.attach_handle(w.file, Arc::new(File::open(w.path()).unwrap()));
    assert_eq!(w.store.read(&w.blocks[0].0).unwrap(), None);
    assert_eq!(changes(&w.store), [(w.path(), w.blocks[0].0, Change::Content)]);
    assert!(w.store.read(&w.blocks[1].0).unwrap().is_some());
}

#[test]
fn limits_are_refused() {
    let w = world();
    let reference = |head: usize, len: u32, file: FileId| Reference {
        file,
        offset: 0,
        len,
        head: vec![0; head],
        tail: vec![],
    };
    let mh = hash(b"x");
    assert!(w.store.put_reference(&mh, &reference(65, 1, w.file)).is_err());
    assert!(w.store.put_reference(&mh, &reference(0, 5 << 20, w.file)).is_err());
    assert!(w.store.put_reference(&mh, &reference(0, 1, FileId(1 << 40))).is_err());
    assert!(w.store.put_block(&mh, &vec![0; (4 << 20) + 1]).is_err());
    assert!(w.store.add_file(TreeId(1 << 40), Path::new("x"), None).is_err());
    assert_eq!(w.store.len_of(&mh).unwrap(), None);
}

/// A file of one block again and again, and references to all of it.
fn repeated(store: &Store, path: &Path, block: &[u8], times: usize) -> usize {
    fs::write(path, block.repeat(times)).unwrap();
    let tree = store.add_tree(path).unwrap();
    let file = store.add_file(tree, Path::new(""), None).unwrap();
    let put = |n: &usize| {
        let offset = (n * block.len()) as u64;
        let reference = Reference { file, offset, len: block.len() as u32, head: vec![], tail: vec![] };
        store.put_reference(&hash(block), &reference).unwrap()
    };
    (0..times).filter(put).count()
}

#[test]
fn a_repeated_block_is_found_in_the_new_file_when_the_old_one_moved() {
    let temp = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&temp.path().join("repo"), Config::default()).unwrap();
    let block = [0; 500];
    let path = |name: &str| temp.path().join(name);
    assert_eq!(repeated(&store, &path("old"), &block, 100), MAX_LOCATIONS);
    fs::rename(path("old"), path("elsewhere")).unwrap();
    assert!(repeated(&store, &path("new"), &block, 100) > 0);
    assert_eq!(store.read(&hash(&block)).unwrap().as_deref(), Some(&block[..]));
    // The old one may also go after the new one came.
    assert!(repeated(&store, &path("newest"), &block, 100) > 0);
    fs::remove_file(path("new")).unwrap();
    assert_eq!(store.read(&hash(&block)).unwrap().as_deref(), Some(&block[..]));
    // Many files of the same bytes do not each add a location, as long as one is right.
    let added = (0..200).map(|n| repeated(&store, &path(&format!("copy {n}")), &block, 1)).sum::<usize>();
    assert!(added <= MAX_FILES_OF_BLOCK, "{added}");
    (0..200).for_each(|n| fs::remove_file(path(&format!("copy {n}"))).unwrap());
    ["elsewhere", "newest"].into_iter().for_each(|name| fs::remove_file(path(name)).unwrap());
    assert_eq!(store.read(&hash(&block)).unwrap(), None);
    assert_eq!(repeated(&store, &path("last"), &block, 1), 1);
    assert!(store.read(&hash(&block)).unwrap().is_some());
}

#[test]
fn a_file_that_was_moved_is_found_by_its_bytes_and_read_there() {
    let w = world();
    let stat = |path: &Path| Stat::of(&fs::metadata(path).unwrap());
    w.store.set_seen(w.file, stat(&w.path()).into()).unwrap();
    let lost = |from, limit| w.store.lost_files(FileId(from), limit).unwrap();
    assert_eq!(lost(0, 10).0, []);
    // A copy with one byte wrong, one that is shorter, the right one, and a symlink to it.
    let folder = w.base.parent().unwrap().join("elsewhere");
    fs::create_dir(&folder).unwrap();
    let place = |name: &str| folder.join(name);
    let mut wrong = content();
    wrong[2500] ^= 1;
    fs::write(place("wrong"), wrong).unwrap();
    fs::write(place("short"), &content()[..2999]).unwrap();
    fs::rename(w.path(), place("right")).unwrap();
    symlink(place("right"), place("link")).unwrap();
    let (found, next) = lost(0, 1);
    let [file] = &found[..] else { panic!("{found:?}") };
    assert_eq!((file.id, file.tree, file.base.as_path()), (w.file, w.tree, w.base.as_path()));
    assert_eq!((file.path.as_path(), file.seen.size), (Path::new("sub/file"), 3000));
    assert_eq!(lost(next.unwrap().0, 1), (Vec::new(), None));
    let candidates = ["wrong", "short", "link", "nothing", "right"]
        .map(|name| Candidate { file: w.file, path: place(name) });
    let stopped = w.store.compare_lost(candidates.to_vec(), &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(stopped.len(), 5);
    let compared = w.store.compare_lost(candidates.to_vec(), &mut |_| ControlFlow::Continue(())).unwrap();
    let right: Vec<_> = compared.iter().filter(|one| one.right.is_some()).collect();
    assert_eq!(right, [&Compared { candidate: candidates[4].clone(), right: Some(stat(&place("right"))) }]);
    let tree = w.store.add_tree(&folder).unwrap();
    let seen = right[0].right.map(Seen::from);
    w.store.move_file(w.file, tree, Path::new("right"), seen).unwrap();
    assert_all_right(&w);
    assert_eq!(w.store.file_by_path(tree, Path::new("right")).unwrap(), Some(w.file));
    assert_eq!(w.store.file_by_path(w.tree, Path::new("sub/file")).unwrap(), None);
    assert_eq!((lost(0, 10).0.len(), w.store.sizes().files), (0, 1));
    assert!(w.store.move_file(w.file, TreeId(99), Path::new("right"), None).is_err());
    assert!(w.store.move_file(FileId(99), tree, Path::new("right"), None).is_err());
    // And so it is when the journal is read again.
    w.store.remove_tree(w.tree).unwrap();
    let World { _temp, store, blocks, file, .. } = w;
    let dir = store.dir().to_path_buf();
    drop(store);
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    assert_eq!(store.file_path(file), Some((folder.clone(), PathBuf::from("right"))));
    for (mh, block) in &blocks {
        assert_eq!(store.read(mh).unwrap().as_deref(), Some(&block[..]));
    }
}
