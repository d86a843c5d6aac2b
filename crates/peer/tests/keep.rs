//! Pins and kept roots: what they hold, and what takes the place of what.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Host;
use peerage_content::{Block, Cid, DirectoryBuilder, Leaf, Profile, codec};
use peerage_peer::{AddOptions, Sources};

/// A folder of these entries.
fn folder(entries: &[(&str, Cid)]) -> Block {
    let mut folder = DirectoryBuilder::new(&Profile::default());
    entries.iter().for_each(|(name, cid)| folder.add(name, *cid, 1).unwrap());
    folder.finish().unwrap().blocks.pop().unwrap()
}

/// The bytes of a folder as a file, and then as a folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_holds_what_is_below_a_block_that_came_as_raw_before() {
    let host = Host::start().await;
    let leaf = Leaf::new(&Profile::default(), b"below");
    let inner = folder(&[("leaf", leaf.cid)]);
    let raw = Cid::new_v1(codec::RAW, *inner.cid.hash());
    let root = folder(&[("a", raw), ("b", inner.cid)]);
    for (cid, data) in [(leaf.cid, &b"below"[..]), (inner.cid, &inner.data), (root.cid, &root.data)] {
        host.peer.store().put_block(cid.hash(), data).unwrap();
    }
    host.peer.pin(root.cid, "", true, Sources::default()).await.unwrap();
    let set = host.peer.shares().pop().unwrap().set.unwrap();
    assert!([root.cid, inner.cid, leaf.cid].iter().all(|cid| set.contains(cid.hash())));
    assert_eq!(set.len(), 3);
}
