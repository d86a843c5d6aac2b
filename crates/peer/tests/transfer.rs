//! Sharing and fetching between whole peers, and what stands at the destination.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use common::{Host, random};
use peerage_identity::Multiaddr;
use peerage_peer::{ExportError, GetError, GetOptions};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn files_of_all_kinds_of_sizes_arrive() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    for len in [0, 1, MIB, MIB + 1, 5 * MIB + 17] {
        let bytes = random(len, len as u64);
        fs::write(sharer.path("file"), &bytes).unwrap();
        let share = sharer.share("file").await;
        let name = format!("copy{len}");
        let done = getter.get(share.roots()[0].cid, &name, &[sharer.addr()]).await.unwrap();
        assert_eq!(done.progress.fetch.bytes, len as u64);
        assert!(fs::read(getter.path(&name)).unwrap() == bytes, "{len}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_arrives_with_all_that_is_in_it() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    let tree = sharer.path("tree");
    fs::create_dir_all(tree.join("sub/empty")).unwrap();
    fs::write(tree.join("sub/.hidden"), b"hidden").unwrap();
    fs::write(tree.join("größe"), random(2 * MIB, 1)).unwrap();
    fs::write(tree.join("again"), random(2 * MIB, 1)).unwrap();
    symlink("../again", tree.join("sub/link")).unwrap();
    let share = sharer.share("tree").await;
    let root = share.roots()[0].cid;
    let done = getter.get(root, "copy", &[sharer.addr()]).await.unwrap();
    assert!(done.unsafe_links.is_empty());
    let copy = getter.path("copy");
    assert_eq!(fs::read(copy.join("sub/.hidden")).unwrap(), b"hidden");
    assert!(copy.join("sub/empty").is_dir());
    assert!(fs::read(copy.join("sub/link")).unwrap() == random(2 * MIB, 1));
    assert!(fs::read(copy.join("größe")).unwrap() == random(2 * MIB, 1));

    // Again: equal, so nothing is fetched, and nobody needs to be there.
    fs::write(copy.join("mine"), b"mine").unwrap();
    let again = getter.get(root, "copy", &[]).await.unwrap();
    assert!(again.progress.received.is_empty());
    // One entry gone, one cut short: completed from what is here.
    fs::remove_file(copy.join("again")).unwrap();
    fs::write(copy.join("sub/.hidden"), b"hid").unwrap();
    getter.get(root, "copy", &[sharer.addr()]).await.unwrap();
    assert!(fs::read(copy.join("again")).unwrap() == random(2 * MIB, 1));
    assert_eq!(fs::read(copy.join("sub/.hidden")).unwrap(), b"hidden");
    assert_eq!(fs::read(copy.join("mine")).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_file_of_one_block_is_not_fetched_even_by_a_stranger() {
    let getter = Host::start().await;
    fs::write(getter.path("file"), b"one block").unwrap();
    let root = Host::start().await;
    fs::write(root.path("file"), b"one block").unwrap();
    let cid = root.share("file").await.roots()[0].cid;
    let done = getter.get(cid, "file", &[]).await.unwrap();
    assert!(done.progress.received.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_folder_is_written_to_wherever_its_path_leads() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    fs::write(sharer.path("file"), random(2 * MIB + 5, 4)).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    let (before, after) = (getter.path("before"), getter.path("after"));
    for moved in [false, true] {
        fs::create_dir(&before).unwrap();
        let folder = Some(Arc::new(fs::File::open(&before).unwrap().into()));
        if moved {
            fs::rename(&before, &after).unwrap();
        }
        let change = |options: &mut GetOptions| (options.folder, options.keep) = (folder, true);
        let done = getter.get_with(root, "before/copy", &[sharer.addr()], change).await.unwrap();
        let copy = if moved { &after } else { &before }.join("copy");
        assert!(fs::read(copy).unwrap() == random(2 * MIB + 5, 4));
        assert_eq!(done.path, before.join("copy"));
        // What is kept can be found by its path.
        assert_eq!((done.astray, getter.peer.shares().len()), (moved, usize::from(!moved)));
        if !moved {
            let share = getter.peer.shares().remove(0);
            assert_eq!(share.root.path.as_deref(), Some(&*done.path));
            getter.peer.forget(share.id).await.unwrap();
            fs::remove_dir_all(&before).unwrap();
        }
    }
    // What is no folder is an error.
    let file = Some(Arc::new(fs::File::open(after.join("copy")).unwrap().into()));
    let change = |options: &mut GetOptions| options.folder = file;
    let error = getter.get_with(root, "x", &[sharer.addr()], change).await.unwrap_err();
    assert!(matches!(error, GetError::Export(ExportError::Io { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_named_and_overwrite_replaces_it() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    let bytes = random(3 * MIB, 3);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    let mut other = bytes.clone();
    other[2 * MIB] ^= 1;
    for there in [&other[..], &bytes[1..], &[&bytes[..], b"x"].concat(), b"", &bytes[..MIB + 5]] {
        fs::write(getter.path("copy"), there).unwrap();
        let prefix = bytes.starts_with(there);
        let got = getter.get(root, "copy", &[sharer.addr()]).await;
        match got {
            Err(GetError::Export(ExportError::Differs(paths))) if !prefix => {
                assert_eq!(paths, [getter.path("copy")]);
                assert!(fs::read(getter.path("copy")).unwrap() == there, "nothing is changed");
            }
            Ok(_) if prefix => assert!(fs::read(getter.path("copy")).unwrap() == bytes),
            other => panic!("{} bytes: {other:?}", there.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_never_answer_do_not_hold_up_the_one_that_does() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    fs::write(sharer.path("file"), b"here").unwrap();
    let share = sharer.share("file").await;
    // They accept, and say nothing: one after the other they would take two minutes.
    let dead: Vec<_> = (0..8).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut hints: Vec<Multiaddr> = dead
        .iter()
        .map(|dead| format!("/ip4/127.0.0.1/tcp/{}", dead.local_addr().unwrap().port()))
        .map(|addr| addr.parse::<Multiaddr>().unwrap().with_peer(sharer.peer.id()))
        .collect();
    hints.push(sharer.addr());
    getter.get(share.roots()[0].cid, "copy", &hints).await.unwrap();
    assert_eq!(fs::read(getter.path("copy")).unwrap(), b"here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_served_on_while_the_sharer_is_gone() {
    let (sharer, getter, third) = (Host::start().await, Host::start().await, Host::start().await);
    let bytes = random(2 * MIB + 1, 9);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    getter.get_with(root, "copy", &[sharer.addr()], |options| options.keep = true).await.unwrap();
    drop(share);
    sharer.peer.shutdown().await;
    let _served = getter.peer.serve_kept();
    third.get(root, "copy", &[getter.addr()]).await.unwrap();
    assert!(fs::read(third.path("copy")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_dropped_leaves_its_place_to_the_next() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    let bytes = random(16 * MIB, 5);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    for _ in 0..5 {
        let options = getter.options("copy", &[sharer.addr()]);
        drop(getter.peer.get(root, options).await.unwrap());
    }
    getter.get(root, "copy", &[sharer.addr()]).await.unwrap();
    assert!(fs::read(getter.path("copy")).unwrap() == bytes);
    let beside = fs::read_dir(getter.path("")).unwrap().count();
    assert_eq!(beside, 2, "the repository and the copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fetches_to_one_destination_do_not_mix() {
    let (sharer, getter) = (Host::start().await, Host::start().await);
    fs::write(sharer.path("file"), random(MIB, 5)).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    // Of the first nothing is asked, so it holds its place.
    let _first = getter.peer.get(root, getter.options("copy", &[])).await.unwrap();
    let second = getter.get(root, "copy", &[sharer.addr()]).await;
    assert!(matches!(second, Err(GetError::Export(ExportError::Busy { .. }))));
}
