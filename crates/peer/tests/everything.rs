//! Who has everything of a share, told or counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Host, random};
use peerage_content::Cid;
use peerage_peer::Sources;

const MIB: usize = 1 << 20;

/// Reads the file `root` as one who does not speak of what he has: no fetch,
/// so nothing is said by the swarm protocol.
async fn read(reader: &Host, sharer: &Host, root: Cid) -> usize {
    let sources = Sources { hints: vec![sharer.addr()], ..Sources::default() };
    let mut query = reader.peer.query(root, sources);
    let mut reading = query.read(root, 0..u64::MAX);
    let mut len = 0;
    while let Some(bytes) = reading.next().await.unwrap() {
        len += bytes.len();
    }
    len
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_sent_each_block_has_everything() {
    let (sharer, reader) = (Host::start().await, Host::start().await);
    // Two of the chunks are the same block.
    let chunk = random(MIB, 1);
    fs::write(sharer.path("file"), [&chunk[..], &chunk, &random(MIB, 2)].concat()).unwrap();
    let mut share = sharer.share("file").await;
    assert!(!share.sends_nothing());
    let root = share.roots()[0].cid;
    assert_eq!(read(&reader, &sharer, root).await, 3 * MIB);
    let (told, who, progress) = share.next_progress().await.unwrap();
    assert_eq!((told, who), (root, reader.peer.id()));
    assert!(progress.complete && progress.held == progress.total, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_what_it_has_is_believed() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    fs::write(sharer.path("file"), random(3 * MIB, 3)).unwrap();
    let mut share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    getter.get(root, "copy", &[sharer.addr()]).await.unwrap();
    // At first that it has nothing, at last that it has everything, and nothing after that.
    let mut complete = Vec::new();
    while complete.last() != Some(&true) {
        complete.push(share.next_progress().await.unwrap().2.complete);
    }
    assert_eq!(complete.first(), Some(&false));
    // Someone else, whose blocks are counted, is told next.
    let reader = Host::start().await;
    read(&reader, &sharer, root).await;
    let (_, who, progress) = share.next_progress().await.unwrap();
    assert_eq!((who, progress.complete), (reader.peer.id(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_needs_no_sending() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    fs::write(sharer.path("file"), b"").unwrap();
    fs::create_dir(sharer.path("folder")).unwrap();
    let share = sharer.share("file").await;
    assert!(share.sends_nothing());
    assert!(!sharer.share("folder").await.sends_nothing());
    getter.get(share.roots()[0].cid, "copy", &[]).await.unwrap();
    assert!(fs::read(getter.path("copy")).unwrap().is_empty());
}
