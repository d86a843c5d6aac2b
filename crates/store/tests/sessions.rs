//! A store over many sessions: how each ends, and what many of them leave; and
//! several threads that write to one that is full.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;

use peerage_content::Cid;
use peerage_store::{Config, Durability, Multihash, Pin, PinKind, Root, RootKind, Store, WriteError};

fn hash(bytes: &[u8]) -> Multihash {
    peerage_content::hash::digest(0x12, bytes).expect("a known hash")
}

fn block(n: u32) -> Vec<u8> {
    [&n.to_le_bytes()[..], &[7; 10_000]].concat()
}

fn put(store: &Store, n: u32) -> Result<bool, WriteError> {
    store.put_block(&hash(&block(n)), &block(n))
}

fn keep(store: &Store, numbers: std::ops::Range<u32>) {
    let set = store.root_set_builder();
    numbers.for_each(|n| set.insert(&hash(&block(n))).expect("memory"));
    let root = Root {
        cid: Cid::new_v1(0x55, hash(b"root")),
        kind: RootKind::Kept,
        path: None,
        name: String::new(),
        announce: false,
        keep: true,
        size: 0,
        tree: None,
        added: 0,
    };
    store.add_root(&root, &set).expect("room");
}

#[test]
fn a_closed_store_refuses_every_write_and_lost_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let (store, _) = Store::open(&dir, Config::default()).unwrap();
    put(&store, 1).unwrap();
    let cid = Cid::new_v1(0x55, hash(&block(1)));
    let pin = |name: &str| Pin { cid, kind: PinKind::Recursive, name: name.into() };
    store.add_pin(&pin("before")).unwrap();
    let tree = store.add_tree(temp.path()).unwrap();
    let set = store.root_set_builder();
    set.insert(&hash(&block(1))).unwrap();
    let mut collection = store.collect().unwrap().unwrap();
    let other = store.clone();
    store.close().unwrap();
    store.close().unwrap();
    let closed = |result: Result<(), WriteError>| {
        assert!(matches!(result, Err(WriteError::Closed)), "{result:?}");
    };
    closed(put(&other, 2).map(drop));
    closed(other.add_pin(&pin("after")));
    closed(other.remove_pin(&cid, PinKind::Recursive).map(drop));
    closed(other.add_tree(temp.path()).map(drop));
    closed(other.add_file(tree, Path::new("file"), None).map(drop));
    closed(other.remove_tree(tree));
    closed(set.seal().map(drop));
    closed(collection.step().map(drop));
    assert!(!other.table_put("peers", b"a", b"b").unwrap());
    assert!(!other.flush_tables());
    assert_eq!(other.read(&hash(&block(1))).unwrap().as_deref(), Some(&block(1)[..]));
    // Whoever has the repository now is not disturbed, nor when the clones go.
    let (next, report) = Store::open(&dir, Config::default()).unwrap();
    assert!(!report.is_notable() && report.cut_bytes == 0, "{report:?}");
    put(&next, 3).unwrap();
    drop((collection, set, store, other));
    next.commit(Durability::Durable).unwrap();
    drop(next);
    let (next, report) = Store::open(&dir, Config::default()).unwrap();
    assert!(!report.is_notable() && report.cut_bytes == 0, "{report:?}");
    assert_eq!(next.pins(), [pin("before")]);
    assert!([1, 3].iter().all(|n| next.read(&hash(&block(*n))).unwrap().is_some()));
    assert_eq!(next.read(&hash(&block(2))).unwrap(), None);
}

/// Each session collects once, which seals a pack, and none is long enough for upkeep.
#[test]
fn short_sessions_leave_few_packs() {
    const SESSIONS: u32 = 60;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    let config = Config::default();
    for n in 0..SESSIONS {
        let (store, _) = Store::open(&dir, config.clone()).unwrap();
        put(&store, n).unwrap();
        keep(&store, n..n + 1);
        let mut collection = store.collect().unwrap().unwrap();
        while collection.step().unwrap().is_some() {}
        store.close().unwrap();
    }
    let (store, _) = Store::open(&dir, config.clone()).unwrap();
    assert!((0..SESSIONS).all(|n| store.read(&hash(&block(n))).unwrap().is_some()));
    // Fewer than eight of a size, and sizes are eightfold.
    let most = (config.merge_fan - 1) * 4 + 1;
    let packs = store.sizes().packs;
    assert!(packs <= most, "{packs} packs after {SESSIONS} sessions");
}

#[test]
fn who_puts_while_a_collection_makes_room_waits_for_it() {
    let temp = tempfile::tempdir().unwrap();
    let config = Config { max_bytes: Some(300_000), pack_records: 5, ..Config::default() };
    let (store, _) = Store::open(&temp.path().join("repo"), config).unwrap();
    let refused = (0..).find(|n| put(&store, *n).is_err()).unwrap();
    keep(&store, 0..3);
    let mut collection = store.collect().unwrap().unwrap();
    // Here nothing can be collected, as in the program while a collection runs.
    let (begun, begins) = channel();
    let writer = store.clone();
    store.on_full(Box::new(|store| assert!(store.collect().unwrap().is_some(), "two collections")));
    let putting = thread::spawn(move || {
        begun.send(()).unwrap();
        put(&writer, refused)
    });
    begins.recv().unwrap();
    // Others read meanwhile, and put what is here.
    assert!(store.read(&hash(&block(0))).unwrap().is_some());
    while collection.step().unwrap().is_some() {}
    drop(collection);
    assert!(putting.join().unwrap().unwrap());
    assert!((0..3).all(|n| store.read(&hash(&block(n))).unwrap().is_some()));
}
