//! Pins and kept roots: what they hold, and what takes the place of what.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::PathBuf;

use peerage_content::{Block, Cid, DirectoryBuilder, Leaf, Profile, codec};
use peerage_peer::{AddOptions, CollectError, Collected, Config, Peer, PinOptions, Repaired, Sources};
use peerage_store::PinKind;
use tempfile::TempDir;

/// A peer that listens nowhere.
async fn start() -> (Peer, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Peer::start(Config::new(dir.path().join("repo"))).await.unwrap(), dir)
}

/// A folder of these entries.
fn folder(entries: &[(&str, Cid)]) -> Block {
    let mut folder = DirectoryBuilder::new(&Profile::default());
    entries.iter().for_each(|(name, cid)| folder.add(name, *cid, 1).unwrap());
    folder.finish().unwrap().blocks.pop().unwrap()
}

/// The bytes of a folder as a file, and then as a folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_holds_what_is_below_a_block_that_came_as_raw_before() {
    let (peer, _dir) = start().await;
    let leaf = Leaf::new(&Profile::default(), b"below");
    let inner = folder(&[("leaf", leaf.cid)]);
    let raw = Cid::new_v1(codec::RAW, *inner.cid.hash());
    let root = folder(&[("a", raw), ("b", inner.cid)]);
    for (cid, data) in [(leaf.cid, &b"below"[..]), (inner.cid, &inner.data), (root.cid, &root.data)] {
        peer.store().put_block(cid.hash(), data).unwrap();
    }
    let options = PinOptions { name: "", rename: false, recursive: true, announce: true };
    peer.pin(root.cid, options, Sources::default()).await.unwrap();
    let set = peer.shares().pop().unwrap().set.unwrap();
    assert!([root.cid, inner.cid, leaf.cid].iter().all(|cid| set.contains(cid.hash())));
    assert_eq!(set.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_removed_by_its_cid_in_any_version() {
    let (peer, dir) = start().await;
    std::fs::write(dir.path().join("file"), "hello world").unwrap();
    let options = AddOptions { profile: Profile::UNIXFS_V0_2015, ..AddOptions::default() };
    let added = peer.add(vec![dir.path().join("file")], options, None, |_| {}).await.unwrap();
    let cid = added[0].cid;
    assert!(cid.to_string().starts_with("Qm"));
    assert!(peer.unpin(&Cid::new_v1(codec::DAG_PB, *cid.hash())).await.unwrap());
    assert!(peer.pins().is_empty() && peer.shares().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_keeps_its_name_unless_it_is_given_another() {
    let (peer, dir) = start().await;
    std::fs::write(dir.path().join("file"), "hello world").unwrap();
    let add = async |name: Option<&str>| {
        let (paths, name) = (vec![dir.path().join("file")], name.map(str::to_owned));
        peer.add(paths, AddOptions::default(), name, |_| {}).await.unwrap()[0].cid
    };
    let names = || peer.pins().into_iter().map(|pin| pin.name).collect::<Vec<_>>();
    let cid = add(None).await;
    assert_eq!(names(), ["file"]);
    add(Some("mine")).await;
    assert_eq!(names(), ["mine"]);
    add(None).await;
    let pin = async |name, rename| {
        let options = PinOptions { name, rename, recursive: true, announce: true };
        peer.pin(cid, options, Sources::default()).await.unwrap()
    };
    assert_eq!(pin("", false).await, "mine");
    assert_eq!(pin("of the link", false).await, "mine");
    assert_eq!(names(), ["mine"]);
    assert_eq!(peer.shares()[0].root.name, "mine");
    assert_eq!(pin("other", true).await, "other");
    assert_eq!(pin("", true).await, "");
    assert_eq!(pin("of the link", false).await, "of the link");
    assert_eq!(names(), ["of the link"]);
}

fn files(dir: &TempDir, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path().join("repo").join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A folder with one of two files in it, pinned, whose set of blocks is lost, and the inner
/// folder damaged; the peer is started anew. The inner folder, and the CIDs of all four blocks.
async fn damaged(recursive: bool) -> (Peer, TempDir, Block, [Cid; 4]) {
    let (peer, dir) = start().await;
    let leaves = [Leaf::new(&Profile::default(), b"one"), Leaf::new(&Profile::default(), b"two")];
    let inner = folder(&[("one", leaves[0].cid), ("two", leaves[1].cid)]);
    let root = folder(&[("inner", inner.cid)]);
    let blocks = [
        (root.cid, &root.data[..]),
        (inner.cid, &inner.data),
        (leaves[0].cid, b"one"),
        (leaves[1].cid, b"two"),
    ];
    for (cid, data) in blocks {
        peer.store().put_block(cid.hash(), data).unwrap();
    }
    let options = PinOptions { name: "", rename: false, recursive, announce: true };
    peer.pin(root.cid, options, Sources::default()).await.unwrap();
    peer.shutdown().await;
    for path in files(&dir, "roots") {
        std::fs::remove_file(path).unwrap();
    }
    // A byte of the inner node is flipped, wherever it lies.
    for path in files(&dir, "packs") {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(inner.data.len()).position(|window| *window == *inner.data) {
            bytes[at + 2] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let peer = Peer::start(Config::new(dir.path().join("repo"))).await.unwrap();
    let all = blocks.map(|(cid, _)| cid);
    (peer, dir, inner, all)
}

async fn collect(peer: &Peer) -> Result<Collected, CollectError> {
    peer.collect(false, |_| ControlFlow::Continue(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_without_its_set_loses_nothing_that_is_below_a_missing_node() {
    let (peer, _dir, node, [root, inner, one, two]) = damaged(true).await;
    let refused = collect(&peer).await.unwrap_err();
    assert!(matches!(&refused, CollectError::Unknown { root: at, node } if (**at, **node) == (root, inner)));
    peer.store().put_block(inner.hash(), &node.data).unwrap();
    assert_eq!(collect(&peer).await.unwrap().mended_roots, 1);
    for cid in [root, inner, one, two] {
        assert!(peer.store().read(cid.hash()).unwrap().is_some(), "{cid}");
    }
    assert_eq!(peer.shares()[0].set.as_ref().unwrap().len(), 4);
    assert_eq!(collect(&peer).await.unwrap().mended_roots, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_direct_pin_one_block_is_kept_verified_and_mended() {
    let (peer, _dir, _, [root, ..]) = damaged(false).await;
    let sum = peer.verify(|_| ControlFlow::Continue(())).await.unwrap();
    assert_eq!((sum.missing, sum.incomplete_roots), (0, 0));
    assert_eq!(collect(&peer).await.unwrap().mended_roots, 1);
    assert_eq!(peer.shares()[0].set.as_ref().unwrap().len(), 1);
    assert!(peer.store().read(root.hash()).unwrap().is_some());
    let repaired = peer.repair(root, Sources::default(), |_| {}).await.unwrap();
    assert_eq!(repaired, Repaired::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_pin_takes_nothing_from_a_recursive_one() {
    let (peer, _dir) = start().await;
    let leaf = Leaf::new(&Profile::default(), b"below");
    let root = folder(&[("leaf", leaf.cid)]);
    peer.store().put_block(leaf.cid.hash(), b"below").unwrap();
    peer.store().put_block(root.cid.hash(), &root.data).unwrap();
    let pin = async |recursive, name, rename| {
        let options = PinOptions { name, rename, recursive, announce: true };
        peer.pin(root.cid, options, Sources::default()).await.unwrap();
        let kinds: Vec<_> = peer.pins().into_iter().map(|pin| (pin.kind, pin.name)).collect();
        let shares = peer.shares();
        assert_eq!((shares.len(), kinds.len()), (1, 1));
        assert_eq!(shares[0].root.name, kinds[0].1);
        (kinds[0].clone(), shares[0].set.as_ref().unwrap().len())
    };
    assert_eq!(pin(false, "one", false).await, ((PinKind::Direct, "one".into()), 1));
    assert_eq!(pin(true, "", false).await, ((PinKind::Recursive, "one".into()), 2));
    assert_eq!(pin(false, "", false).await, ((PinKind::Recursive, "one".into()), 2));
    assert_eq!(pin(false, "two", true).await, ((PinKind::Recursive, "two".into()), 2));
    collect(&peer).await.unwrap();
    assert!(peer.store().read(leaf.cid.hash()).unwrap().is_some());
}
