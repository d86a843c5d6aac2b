//! A source that corrupts blocks: the fetch completes from another source, and
//! without one fails as unverified, with nothing at the destination.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Host, random};
use peerage_content::Profile;
use peerage_peer::{GetError, JobError};
use peerage_tests::liar::Liar;

/// 32 leaves and a root: enough bad blocks for a ban.
const SIZE: usize = 32 << 20;

/// Serves a file of random bytes; gives these, too.
fn liar() -> (Liar, Vec<u8>) {
    let content = random(SIZE, 1);
    (Liar::start(&content, &Profile::default()).unwrap(), content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_source_makes_up_for_a_liar() {
    let (liar, content) = liar();
    let (sharer, getter) = (Host::start().await, Host::start().await);
    std::fs::write(sharer.path("file"), &content).unwrap();
    let share = sharer.share("file").await;
    assert_eq!(share.roots()[0].cid, liar.root());
    let done = getter.get(liar.root(), "out", &[liar.addr().clone(), sharer.addr()]).await.unwrap();
    assert_eq!(done.progress.fetch.bytes, SIZE as u64);
    assert!(std::fs::read(getter.path("out")).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_alone_gives_nothing_a_name() {
    let (liar, _) = liar();
    let getter = Host::start().await;
    match getter.get(liar.root(), "out", std::slice::from_ref(liar.addr())).await {
        Err(GetError::Job(JobError::Unverified(liars))) => assert_eq!(liars, [liar.peer()]),
        other => panic!("{other:?}"),
    }
    assert!(!getter.path("out").exists(), "no partial file takes the name of a whole one");
}
