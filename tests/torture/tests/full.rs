//! A disk on which there is no room at all.

use std::path::Path;
use std::sync::Arc;

use peerage_content::Cid;
use peerage_store::{CollectionStep, Config, Durability, Root, RootKind, Store};
use peerage_torture::disk::FaultyDisk;
use peerage_torture::index::FaultyIndex;
use peerage_torture::model::{block, multihash};

#[test]
fn a_collection_gives_back_what_is_wholly_dead_though_the_disk_is_full() {
    let disk = FaultyDisk::new(1);
    let config = Config {
        pack_records: 50,
        disk: Arc::new(disk.clone()),
        index: Arc::new(FaultyIndex::new(1)),
        ..Config::default()
    };
    let (store, _) = Store::open(Path::new("/repository"), config).expect("a new repository");
    let put = |n: u32| store.put_block(&multihash(&block(n)), &block(n)).expect("room");
    for n in 0..1000 {
        put(n);
    }
    // Every second pack lives, and half of one.
    let set = store.root_set_builder();
    let lives = |n: u32| (n / 50).is_multiple_of(2) || (900..925).contains(&n);
    for n in (0..1000).filter(|n| lives(*n)) {
        set.insert(&multihash(&block(n))).expect("memory");
    }
    let root = Root {
        cid: Cid::new_v1(0x55, multihash(b"root")),
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
    drop(set);
    store.commit(Durability::Durable).expect("a working disk");
    disk.set_room(Some(0));
    let before: u64 = disk.files().iter().map(|(_, len)| len).sum();
    let mut collection = store.collect().expect("a collection").expect("only one");
    let mut given_back = 0;
    // What there is no room for may end it.
    while let Ok(Some(step)) = collection.step() {
        if let CollectionStep::Sweeping { freed, .. } = step {
            given_back += freed;
        }
    }
    drop(collection);
    let after: u64 = disk.files().iter().map(|(_, len)| len).sum();
    assert!(given_back > 0 && after <= before - given_back, "{before} {after} {given_back}");
    let here = |n: u32| store.read(&multihash(&block(n))).expect("a working disk").is_some();
    assert!((0..1000).filter(|n| lives(*n)).all(here));
    let dead = (0..1000).filter(|n| !lives(*n) && here(*n)).count();
    assert!(dead < 100, "{dead} dead blocks are still here");
}
